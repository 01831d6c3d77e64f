"""Listeners: what a decorated function wants, read from its signature, and the options it was given.

Owns the meaning of annotations. Calling the listeners is `propylon._delivery.consumer`'s.
"""

import asyncio
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeAlias, TypeVar, cast, get_args, get_origin

from propylon._core import Dispatch
from propylon._filters.expression import Filter, Where
from propylon.events import Event
from propylon.events._decoding import decoder_for

if TYPE_CHECKING:
    # Part of every type checker; not needed at run time.
    from typing_extensions import TypeForm

__all__ = [
    "ALL",
    "EventForm",
    "Listener",
    "Options",
    "Wanted",
    "is_async",
    "is_event",
    "name_of",
    "wanted_from",
    "wants_of",
]

P = ParamSpec("P")
R = TypeVar("R")

EventForm: TypeAlias = "type[Event] | type[Dispatch[Any]] | TypeForm[Event | Dispatch[Any]]"
"""What names events in a call: an event class, `Dispatch`, ``Dispatch[MessageCreate]``, or a union of those."""

ALL: Final = "*"
"""In `Wanted.event`: every event."""

_EXPLICIT: Final = "name it explicitly instead: @gateway.listen(MessageCreate)"
_IMPORT: Final = "import the name where it exists at run time, outside `if TYPE_CHECKING:`"

# From Python 3.12 on: the type of `type Chat = MessageCreate | MessageUpdate`.
_ALIAS: Final[tuple[type, ...]] = tuple(filter(None, [getattr(typing, "TypeAliasType", None)]))


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
        if self.concurrency is not None and not is_async(function):
            raise TypeError(
                f"{name_of(function)}: concurrency= is for async listeners; a plain function has finished when it "
                "returns, so its calls never overlap. Make it `async def`, or leave concurrency= out"
            )


class Listener(Generic[P, R]):
    """A function that listens; still callable as itself. `remove` takes it off its gateway."""

    __slots__ = (
        "__wrapped__",
        "_name",
        "_remove",
        "call",
        "inject",
        "isolated",
        "on_error",
        "priority",
        "removed",
        "take_all",
        "wanted",
    )

    def __init__(
        self,
        function: Callable[P, R],
        wanted: list[Wanted],
        call: Callable[..., Any],
        remove: Callable[["Listener[Any, Any]"], None],
        inject: str | None = None,
        *,
        isolated: bool = False,
        guard: Callable[[Any], object] | None = None,
        options: Options | None = None,
        name: str | None = None,
    ) -> None:
        """``call`` takes the event, and the `Dispatch` as ``inject``; ``isolated``: in a context of its own.

        ``guard`` is asked first, before ``once`` is used up and before a turn is waited for. ``name`` is that of the
        function, unless given. Raises TypeError where a class of ``wanted`` cannot be decoded.
        """
        _check_reachable(wanted, who=name or name_of(function))
        for want in wanted:
            # Here and not at its first event, which would then reach nobody.
            _check_decodes(want.kind, who=name or name_of(function))
        options = options or Options()
        if options.once:
            call = self._once(call)
        if options.concurrency is not None:
            call = self._in_turn(call, options.concurrency)
        if guard is not None:
            call = _guarded(call, guard)
        self.__wrapped__ = function
        self._name = name
        self.isolated: Final = isolated or guard is not None
        self.inject: Final = inject
        self.wanted: Final = wanted
        self.call: Final = call
        self.priority: Final[int] = options.priority
        """Those with a higher one are called first."""
        self.on_error: tuple[Callable[..., Any], str | None, str | None] | None = None
        """Who hears of its errors in place of the gateway's handlers, as `Listening` keeps those."""
        self.removed = False
        """Whether it is off its gateway."""
        self.take_all: Callable[[list[Dispatch[Any]]], None] | None = None
        self._remove = remove

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, as in a test."""
        return self.__wrapped__(*args, **kwargs)

    def remove(self) -> None:
        """Take it off the gateway; events that already wait for it are skipped. May be called inside a listener."""
        if not self.removed:
            self.removed = True
            self._remove(self)

    def _once(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, for the first event only: what waits is skipped, because the listener is removed before."""

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
                    await call(event, **extra)

        return in_turn

    @property
    def name(self) -> str:
        """What it is called in logs and errors."""
        return self._name or name_of(self.__wrapped__)

    def __repr__(self) -> str:
        """Name the function and its events."""
        return f"<Listener {self.name} of {', '.join(wanted.event for wanted in self.wanted)}>"


def wanted_from(annotation: Any, *, who: str) -> list[Wanted]:
    """What an annotation (or an argument of ``listen``) asks for. Raises TypeError where it is no event."""
    if annotation is Dispatch:
        return [Wanted(ALL, None)]
    origin = get_origin(annotation)
    if origin is Dispatch:
        (inner,) = get_args(annotation)
        if inner is Any:
            return [Wanted(ALL, None)]
        return [wanted.raw() for wanted in wanted_from(inner, who=who)]
    if origin in (typing.Union, types.UnionType):
        return [wanted for member in get_args(annotation) for wanted in wanted_from(member, who=who)]
    if origin is typing.Annotated:
        return wanted_from(get_args(annotation)[0], who=who)
    if isinstance(annotation, _ALIAS):
        return wanted_from(annotation.__value__, who=who)  # type: ignore[attr-defined]
    if isinstance(annotation, type) and issubclass(annotation, Event):
        if annotation is Event:
            raise TypeError(f"{who}: Event is no event by itself; listen to a class of propylon.events or to Dispatch")
        return [Wanted(annotation.__event_name__, annotation, change=annotation.__guild_change__)]
    raise TypeError(
        f"{who}: {annotation!r} is no event. Annotate the first parameter with an event class such as MessageCreate, "
        f"a union of them, Dispatch, or Dispatch[MessageCreate]; or {_EXPLICIT}"
    )


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


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it only makes a coroutine, which runs in a context of its own anyway."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def is_event(argument: Any) -> bool:
    """Whether an argument of ``listen`` names events rather than being the function to decorate."""
    if isinstance(argument, type) and (issubclass(argument, Event) or argument is Dispatch):
        return True
    return not callable(cast("object", argument)) or hasattr(cast("object", argument), "__args__")


def name_of(function: Any) -> str:
    """What a function is called in logs and errors."""
    return getattr(function, "__qualname__", None) or repr(function)


def _guarded(call: Callable[..., Any], guard: Callable[[Any], object]) -> Callable[..., Any]:
    """``call``, made only for events of which ``guard`` is true. What ``guard`` raises is the listener's error."""

    def call_where(event: Any, /, **extra: Any) -> Any:
        return call(event, **extra) if guard(event) else None

    return call_where


def _definition(function: Any) -> Any:
    """The function under partials, methods, decorators and callable objects: its names are those of the annotations."""
    while not inspect.isfunction(function):
        if isinstance(function, partial):
            function = function.func
        elif hasattr(function, "__func__"):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(function, type):
            function = inspect.getattr_static(function, "__init__")
        elif inspect.isroutine(function) or function is type(function).__call__:
            break
        else:
            function = type(function).__call__
    return inspect.unwrap(function)


def _resolve(
    annotation: Any, function: Any, local_names: dict[str, Any], *, who: str, parameter: str, advice: str
) -> Any:
    if not isinstance(annotation, str):
        return annotation
    inner = _definition(function)
    code_globals: dict[str, Any] = getattr(inner, "__globals__", {})
    names = dict(local_names)
    code = getattr(inner, "__code__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), getattr(inner, "__closure__", None) or (), strict=False):
        # A cell is empty while the enclosing function has not assigned it yet.
        try:
            names[name] = cell.cell_contents
        except ValueError:
            continue
    kind: Any = annotation
    try:
        # Twice where a quoted annotation is postponed too.
        while isinstance(kind, str):
            kind = eval(kind, code_globals, names)
    except Exception as error:
        raise TypeError(
            f"{who}: the annotation {annotation!r} of parameter {parameter!r} cannot be resolved ({error}); {advice}"
        ) from None
    return kind


def wants_of(
    function: Callable[..., Any],
    explicit: list[Wanted] | None,
    local_names: dict[str, Any],
    gateway_class: type,
) -> tuple[list[Wanted], str | None, str | None]:
    """What a function listens to, and the names of its parameters that take the gateway and the `Dispatch`.

    Only the annotations of its parameters are resolved, with the globals and the closure of the function and the
    names of the caller. Raises TypeError, with the explicit form, where that fails.
    """
    who = name_of(function)
    if not callable(function):
        raise TypeError(f"listen() takes a function or event classes, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{who} is a generator: its body would never run; take out the yield")
    try:
        signature = inspect.signature(function)
    except (NameError, TypeError, ValueError) as error:
        # A builtin tells no signature; on Python 3.14 a name is looked up here.
        if explicit is None:
            raise TypeError(f"{who}: its signature cannot be read ({error}); {_EXPLICIT}") from None
        return explicit, None, None
    parameters = [
        parameter for parameter in signature.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise TypeError(f"{who}() takes no positional parameter; the first one receives the event")
    first, *others = parameters
    wanted = explicit
    if wanted is None:
        if first.annotation is inspect.Parameter.empty:
            raise TypeError(f"{who}: parameter {first.name!r} has no annotation that says which event; {_EXPLICIT}")
        annotation = _resolve(first.annotation, function, local_names, who=who, parameter=first.name, advice=_EXPLICIT)
        wanted = wanted_from(annotation, who=who)
    gateway_parameter = dispatch_parameter = None
    for parameter in others:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            continue
        kind = None
        if parameter.annotation is not inspect.Parameter.empty:
            kind = _resolve(
                parameter.annotation, function, local_names, who=who, parameter=parameter.name, advice=_IMPORT
            )
        if isinstance(kind, type) and kind is not object and issubclass(gateway_class, kind):
            gateway_parameter = parameter.name
        elif kind is Dispatch or get_origin(kind) is Dispatch:
            dispatch_parameter = parameter.name
        elif parameter.default is inspect.Parameter.empty:
            raise TypeError(
                f"{who}: nothing can be passed for parameter {parameter.name!r}; annotate it Gateway or Dispatch, "
                "or give it a default"
            )
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and parameter.name in (
            gateway_parameter,
            dispatch_parameter,
        ):
            raise TypeError(f"{who}: parameter {parameter.name!r} must not be positional-only, it is passed by name")
    return wanted, gateway_parameter, dispatch_parameter
