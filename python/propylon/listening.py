"""The listener face: who listens to what, and what becomes of their errors.

A `Gateway` is one; whatever else has listeners has this face too. Calling them is `propylon.consumer`'s.
"""

import asyncio
import inspect
import logging
import re
import sys
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, ParamSpec, TypeGuard, TypeVar, cast, overload

from propylon import _core, decoding
from propylon.batches import Batches
from propylon.consumer import Consumer
from propylon.errors import ModelError
from propylon.events import Event
from propylon.filters import Where
from propylon.listeners import ALL, Listener, Wanted, is_async, wanted_from, wants_of
from propylon.logs import payload_writer
from propylon.where import guarded, narrowed

__all__ = ["Listening", "is_task"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_log: Final = logging.getLogger("propylon")

_EVENT_NAME: Final = re.compile("[A-Z][A-Z0-9_]*")


class Listening:
    """Base of what has listeners."""

    def __init__(self, shard: _core.Shard, max_pending: int) -> None:
        """At most ``max_pending`` listener calls may be unfinished."""
        self._shard: Final = shard
        self._consumer: Final = Consumer(shard, max_pending, self._report)
        self._listeners: tuple[Listener[..., Any], ...] = ()
        self._streams: Final[weakref.WeakSet[Batches]] = weakref.WeakSet()
        self._close_handlers: list[tuple[Callable[..., Any], str | None]] = []
        self._error_handlers: list[tuple[Callable[..., Any], str | None, str | None]] = []
        self._background: Final[set[asyncio.Task[Any]]] = set()

    # Classes are callable too, so this one comes first.
    @overload
    def listen(  # type: ignore[overload-overlap]
        self, *events: type[Event] | type[_core.Dispatch[Any]], where: Where | None = None
    ) -> Callable[[Callable[P, R]], Listener[P, R]]: ...
    @overload
    def listen(self, function: Callable[P, R], /, *, where: Where | None = None) -> Listener[P, R]: ...
    def listen(self, *arguments: Any, where: Where | None = None) -> Any:
        """Add a listener: ``@gateway.listen``, ``@gateway.listen()`` or ``@gateway.listen(MessageCreate)``.

        The annotation of the first parameter (or the classes named) says what it gets: an event class or a union of
        them, a narrow class of yours, `Dispatch` (every event, raw) or ``Dispatch[MessageCreate]``. Further parameters
        annotated `Gateway` or `Dispatch` receive those. Sync or async; listeners are called in the order in which they
        were added, those of one shard event by event. An async listener runs up to its first suspension before the
        next event is handed out.

        Args:
            where: A condition made from `field`: Rust drops other events, and Python never hears of them. Or a function
                that is called with the event before the listener, in Python; what it raises counts as the listener's.

        Raises:
            TypeError: The signature does not say which event (the text shows the explicit form), or ``where`` does not
                fit a field.
            ValueError: ``where`` names a field that an event does not have.
        """
        names = _names_of_caller()
        if len(arguments) == 1 and not _is_event(arguments[0]):
            return self._add(arguments[0], None, names, where)
        who = "listen()"
        explicit = [wanted for argument in arguments for wanted in wanted_from(argument, who=who)] or None

        def decorate(function: Callable[P, R]) -> Listener[P, R]:
            return self._add(function, explicit, names, where)

        return decorate

    def _add(
        self, function: Callable[P, R], explicit: list[Wanted] | None, names: dict[str, Any], where: Where | None
    ) -> Listener[P, R]:
        if isinstance(function, Listener):
            function = function.__wrapped__
        wanted, takes_gateway, takes_dispatch = wants_of(function, explicit, names, type(self))
        wanted, guard = narrowed(wanted, where, who="listen()")
        call: Callable[..., Any] = function
        if takes_gateway is not None:
            call = partial(call, **{takes_gateway: self})
        if guard is not None:
            call = guarded(call, guard)
        isolated = guard is not None or not is_async(function)
        listener: Listener[P, R] = Listener(function, wanted, call, self._remove, takes_dispatch, isolated=isolated)
        self._attach(listener)
        return listener

    def _attach(self, listener: Listener[..., Any]) -> None:
        self._listeners = (*self._listeners, listener)
        self._consumer.subscribe(self._listeners)

    def _remove(self, listener: Listener[..., Any]) -> None:
        self._listeners = tuple(other for other in self._listeners if other is not listener)
        self._consumer.subscribe(self._listeners)

    def on_close(self, function: F, /) -> F:
        """Call ``function(closed: Closed)`` at every end of a connection, the user's own close included.

        Sync or async. Reconnecting does not wait for it; returning False stops it. ``open`` and ``wait_closed`` finish
        after it. A second parameter annotated `Gateway` receives the gateway.
        """
        _, gateway_parameter, dispatch_parameter = wants_of(function, [], _names_of_caller(), type(self))
        if dispatch_parameter is not None:
            raise TypeError(f"on_close: a close has no event, so no Dispatch can be passed for {dispatch_parameter!r}")
        self._close_handlers.append((function, gateway_parameter))
        return function

    def on_error(self, function: F, /) -> F:
        """Call ``function(error: Exception)`` for what a listener raised and for each `ModelError`, instead of logging.

        Sync or async. Further parameters annotated `Dispatch` or `Gateway` receive the event and the gateway.
        """
        _, gateway_parameter, dispatch_parameter = wants_of(function, [], _names_of_caller(), type(self))
        self._error_handlers.append((function, gateway_parameter, dispatch_parameter))
        return function

    def batches(
        self, *events: type[Event] | type[_core.Dispatch[Any]], where: Where | None = None, size: int = 256
    ) -> Batches:
        """Hear events as lists of `Dispatch`, at most ``size`` at a time; no event named: all of them.

        ``where`` as for `listen`; a function gets the `Dispatch`.

        ::

            async with gateway.batches(MessageCreate) as batches:
                async for batch in batches:
                    ...
        """
        wanted = [want for event in events for want in wanted_from(event, who="batches()")] or [Wanted(ALL, None)]
        wanted, guard = narrowed(wanted, where, who="batches()")
        wanted = [Wanted(want.event, None, want.where) for want in wanted]
        stream = Batches(wanted, size, self._attach, self._remove, self._consumer.block, guard)
        self._streams.add(stream)
        return stream

    def log_payloads(self, *events: type[Event] | type[_core.Dispatch[Any]] | str) -> Listener[..., None]:
        """Write events as they come to the log, at DEBUG of ``propylon.payload``; no event named: all of them.

        Events are classes or names (``"MESSAGE_CREATE"``). Tokens and session ids are hidden, 2,048 characters are
        written of each. This is a listener like any other: what is logged reaches Python; `Listener.remove` ends it.
        """
        wanted: list[Wanted] = []
        for event in events:
            if not isinstance(event, str):
                wanted += [Wanted(want.event, None) for want in wanted_from(event, who="log_payloads()")]
            elif _EVENT_NAME.fullmatch(event):
                wanted.append(Wanted(event, None))
            else:
                raise ValueError(f"log_payloads(): {event!r} is no name of an event, such as MESSAGE_CREATE")
        write = payload_writer()
        listener: Listener[..., None] = Listener(write, wanted or [Wanted(ALL, None)], write, self._remove)
        self._attach(listener)
        return listener

    def _report(self, error: Exception, dispatch: _core.Dispatch[Any], listener: Listener[..., Any] | None) -> None:
        """An error of a listener (or, without one, of a payload): to the handlers, else to the log."""
        if isinstance(error, ModelError):
            error = error if error.dispatch is not None else ModelError(str(error), dispatch)
        elif listener is None:
            error = decoding.model_error(dispatch, error, dispatch)
        if not self._error_handlers:
            if listener is None:
                _log.error("%s", error)
            else:
                _log.error("listener %s of %s failed", listener.name, dispatch.type, exc_info=error)
            return
        for function, gateway_parameter, dispatch_parameter in self._error_handlers:
            extra: dict[str, Any] = {}
            if gateway_parameter is not None:
                extra[gateway_parameter] = self
            if dispatch_parameter is not None:
                extra[dispatch_parameter] = dispatch
            result = self._call_handler("on_error", function, error, extra)
            if is_task(result):
                # As the listener's own: a flood of errors is held back too.
                self._consumer.track(result)

    def _call_handler(self, name: str, function: Callable[..., Any], argument: object, extra: dict[str, Any]) -> object:
        """Calls a handler; its own failure goes to the log. The task of an async one, else its result."""
        try:
            result = function(argument, **extra)
        except Exception:
            _log.exception("%s handler failed", name)
            return None
        if not inspect.isawaitable(result):
            return result
        awaitable: Awaitable[Any] = result

        async def guarded() -> Any:
            try:
                return await awaitable
            except Exception:
                _log.exception("%s handler failed", name)

        return self._spawn(guarded())

    def _spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def _names_of_caller() -> dict[str, Any]:
    """The local names where a decorator stands: its annotations may name classes that are local there."""
    return sys._getframe(2).f_locals  # pyright: ignore[reportPrivateUsage]


def is_task(result: object) -> TypeGuard[asyncio.Task[Any]]:
    """Whether a handler is still at work."""
    return isinstance(result, asyncio.Task)


def _is_event(argument: Any) -> bool:
    """Whether an argument of ``listen`` names events rather than being the function to decorate."""
    if isinstance(argument, type) and (issubclass(argument, Event) or argument is _core.Dispatch):
        return True
    return not callable(cast("object", argument)) or hasattr(cast("object", argument), "__args__")
