"""An entry of the register: the events that are wanted, what is called for them, and the options that it has.

This is what the engine and the consumer see of a listener, a wait or a stream; users hold a `Listener`.
"""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, cast

from propylon._core import Dispatch
from propylon._filters.expression import Filter, Where, fitted
from propylon._filters.where import is_async
from propylon.events import Event
from propylon.events._decoding import decoder_for

__all__ = ["ALL", "Entry", "ErrorHandler", "Options", "Tally", "Wanted", "name_of"]

ALL: Final = "*"
"""In `Wanted.event`: every event."""

ErrorHandler: TypeAlias = tuple[Callable[..., Any], str | None, str | None]
"""A function, and its parameters that take the gateway and the `Dispatch`."""


class Wanted:
    """One event that a listener wants: which, as what, and where. ``kind`` None: the `Dispatch` itself."""

    __slots__ = ("change", "event", "kind", "where")

    def __init__(
        self, event: str, kind: type[Event] | None, where: Filter | None = None, change: str | None = None
    ) -> None:
        """``event`` is a name on the wire, or `ALL`; ``change`` the one meaning of it that is wanted."""
        self.event = event
        self.kind = kind
        self.where = where
        self.change = change

    def raw(self) -> "Wanted":
        """The same as a `Dispatch`."""
        return Wanted(self.event, None, self.where, self.change)

    def narrowed(self, where: Filter | None) -> "Wanted":
        """The same, where a filter holds. Raises TypeError or ValueError where the filter does not fit the event."""
        return (
            self if where is None else Wanted(self.event, self.kind, fitted(where, self.event, self.kind), self.change)
        )


@dataclass(frozen=True, slots=True)
class Options:
    """What ``listen`` was told besides the events; explained at `Gateway.listen`."""

    priority: int = 0
    once: bool = False
    concurrency: int | None = None
    where: Where | None = None

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError where an option is impossible."""
        numbers: dict[str, object] = {"priority": self.priority}
        if self.concurrency is not None:
            numbers["concurrency"] = self.concurrency
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be a whole number, not {value!r}")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {self.concurrency}")

    def check(self, function: Callable[..., Any]) -> None:
        """Raise TypeError where the function cannot have them."""
        if self.concurrency is not None and _is_plainly_sync(function):
            raise TypeError(
                f"{name_of(function)}: concurrency= is for async listeners; a plain function has finished when it "
                "returns, so its calls never overlap. Make it `async def`, annotate what it returns where that is "
                "awaitable, or leave concurrency= out"
            )


class Tally:
    """The calls of one entry that are to be told to the engine; apart from it, because it may be gone by then."""

    __slots__ = ("calls", "errors", "name", "number", "seconds", "watch")

    def __init__(self, name: str) -> None:
        """None yet. ``name`` has its module: whoever reads it elsewhere knows several."""
        self.name: Final = name
        self.watch: object = None
        """The loop's, as the engine knows it, in whose table it has a `number`."""
        self.number: int = 0
        self.calls: int = 0
        """Since they were told last, except for calls that were told by themselves."""
        self.seconds: float = 0.0
        """What these took of the loop's time."""
        self.errors: int = 0
        """What was raised since then."""


class Entry:
    """What is called for which events, from when on, and in which order."""

    __slots__ = (
        "_guard",
        "_remove",
        "call",
        "inject",
        "isolated",
        "name",
        "on_error",
        "order",
        "removed",
        "since",
        "take_all",
        "tally",
        "unguarded",
        "wanted",
    )

    def __init__(
        self,
        call: Callable[..., Any],
        wanted: list[Wanted],
        remove: Callable[["Entry"], None],
        *,
        name: str,
        inject: str | None = None,
        isolated: bool = False,
        guard: Callable[[Any], object] | None = None,
        options: Options | None = None,
    ) -> None:
        """``call`` takes the event, and the `Dispatch` as ``inject``; ``isolated``: in a context of its own.

        ``guard`` is asked first, before ``once`` is used up and before a turn is waited for. ``name`` stands in logs
        and errors. Raises TypeError where a class of ``wanted`` cannot be decoded.
        """
        module = getattr(call, "__module__", None) or ""
        qualified = name if module.partition(".")[0] in ("", "functools", "propylon") else f"{module}.{name}"
        _check_reachable(wanted, who=name)
        for want in wanted:
            # Here and not at its first event, which would then reach nobody.
            _check_decodes(want.kind, who=name)
        priority = 0
        if options is not None:
            priority = options.priority
            if options.once:
                call = self._once(call)
            if options.concurrency is not None:
                call = self._in_turn(call, options.concurrency)
        self._guard: Final = guard
        self.unguarded: Final = call
        """What is called where ``guard`` is true of the event."""
        self.name: Final = name
        self.isolated: Final = isolated or guard is not None
        self.inject: Final = inject
        self.wanted: Final = wanted
        self.call: Final = self.guarded(call)
        self.order: tuple[int, int] = (-priority, 0)
        """Whoever has the least is called first: the second number counts the adding."""
        self.since: int = 0
        """The generation of the engine's subscriptions from which on events are for it."""
        self.removed: bool = False
        """Whether it is off its face; what waits for it is skipped."""
        self.on_error: ErrorHandler | None = None
        """Who hears of its errors in place of the face's handlers."""
        self.take_all: Callable[[list[Dispatch[Any]]], None] | None = None
        """Takes several events at once, where nobody else listens."""
        self.tally: Final = Tally(qualified)
        self._remove: Final = remove

    def guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, made only for events of which its ``guard`` is true, where it has one."""
        return call if self._guard is None else _guarded(call, self._guard)

    def remove(self) -> None:
        """Take it off; events that already wait for it are skipped. May be called inside a call of it."""
        if not self.removed:
            self._remove(self)

    def _once(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, for the first event only: what waits is skipped, because the entry is removed before."""

        def once(event: Any, **extra: Any) -> Any:
            self.remove()
            return call(event, **extra)

        return once

    def _in_turn(self, call: Callable[..., Any], limit: int) -> Callable[..., Any]:
        """``call``, at most ``limit`` at a time; the others wait as coroutines, in order, and so count as pending."""
        # Of the loop in which it is used: calls that one loop left unfinished hold nobody back in the next.
        turns: asyncio.Semaphore | None = None
        of_loop: asyncio.AbstractEventLoop | None = None

        async def in_turn(event: Any, **extra: Any) -> None:
            nonlocal turns, of_loop
            loop = asyncio.get_running_loop()
            if turns is None or of_loop is not loop:
                turns, of_loop = asyncio.Semaphore(limit), loop
            async with turns:
                if not self.removed:
                    result = call(event, **extra)
                    # A wrapper need not be async to return what an async function gave it.
                    if inspect.isawaitable(result):
                        await result

        return in_turn

    def __repr__(self) -> str:
        """Name it and its events."""
        return f"<{self.name} of {', '.join(wanted.event for wanted in self.wanted)}>"


def _check_reachable(wanted: list[Wanted], *, who: str) -> None:
    """Each event goes to a listener once, as the first class that takes it; the second one would never come."""
    for number, later in enumerate(wanted):
        for earlier in wanted[:number]:
            takes_it = earlier.event in (ALL, later.event) and earlier.change in (None, later.change)
            if takes_it and earlier.kind is not later.kind:
                first, second = (want.kind.__qualname__ if want.kind else "Dispatch" for want in (earlier, later))
                raise TypeError(
                    f"{who}: {first} takes every {later.event}, so {second} would never come; name one of them, or add "
                    "a listener for each"
                )


def _check_decodes(kind: type[Event] | None, *, who: str) -> None:
    if kind is None:
        return
    try:
        decoder_for(kind)
    # A TypeError of msgspec's, or whatever a name in an annotation raises.
    except Exception as error:
        raise TypeError(
            f"{who}: {kind.__qualname__} cannot be decoded ({error or type(error).__name__}); annotate its fields with "
            "names of its module that exist when the listener is added, outside functions and `if TYPE_CHECKING:`, and "
            "with unions that JSON can tell apart; or listen to Dispatch[...] and decode it yourself"
        ) from None


def _is_plainly_sync(function: Any) -> bool:
    """Whether calling it gives nothing to await, as far as can be seen.

    An object, what `functools.wraps` made, and a function of ``*args``, as wrappers are, may return a coroutine; and so
    does one that says it returns something.
    """
    while isinstance(function, partial):
        function = cast("Any", function.func)
    function = getattr(function, "__func__", function)
    if is_async(function) or not inspect.isfunction(function) or hasattr(function, "__wrapped__"):
        return False
    if function.__code__.co_flags & inspect.CO_VARARGS:
        return False
    try:
        returned: object = function.__annotations__.get("return")
    except NameError:
        # Python 3.14 looks names up here: one that cannot be looked up is not None.
        return False
    return returned in (None, "None")


def name_of(function: Any) -> str:
    """What a function is called in logs, errors and metrics; never with the arguments that it holds."""
    while isinstance(function, partial):
        function = cast("Any", function.func)
    name: str = getattr(function, "__qualname__", None) or type(function).__qualname__
    return name


def _guarded(call: Callable[..., Any], guard: Callable[[Any], object]) -> Callable[..., Any]:
    """``call``, made only for events of which ``guard`` is true. What ``guard`` raises is the listener's error."""

    def call_where(event: Any, /, **extra: Any) -> Any:
        return call(event, **extra) if guard(event) else None

    return call_where
