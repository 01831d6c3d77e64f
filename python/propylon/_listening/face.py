"""The listener face: who listens to what, and what becomes of their errors.

A `Gateway` is one; whatever else has listeners has this face too. Calling them is `propylon._delivery.consumer`'s,
events that are awaited instead are `propylon._listening.waiting`'s.
"""

import asyncio
import inspect
import logging
import re
import sys
import weakref
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, ParamSpec, TypeAlias, TypeGuard, TypeVar, overload

from propylon import _core
from propylon._delivery.consumer import Consumer
from propylon._filters.expression import Where
from propylon._filters.where import narrowed
from propylon._gateway.logs import one_line, payload_writer
from propylon._listening.batches import Batches
from propylon._listening.buffered import Buffered
from propylon._listening.groups import Listeners, added, handler_of, marked_methods
from propylon._listening.listener import (
    ALL,
    EventForm,
    Listener,
    Options,
    Wanted,
    is_async,
    is_event,
    wanted_from,
    wants_of,
)
from propylon.errors import ModelError
from propylon.events import _decoding as decoding

__all__ = ["Listening", "is_task"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
G = TypeVar("G", bound=Listeners)

_CloseHandler: TypeAlias = tuple[Callable[..., Any], str | None]
"""A function, and its parameter that takes the gateway."""
_ErrorHandler: TypeAlias = tuple[Callable[..., Any], str | None, str | None]
"""The same, and its parameter that takes the `Dispatch`."""

_log: Final = logging.getLogger("propylon")

_EVENT_NAME: Final = re.compile("[A-Z][A-Z0-9_]*")


class Listening:
    """Base of what has listeners."""

    def __init__(self, shard: _core.Shard, max_pending: int) -> None:
        """At most ``max_pending`` listener calls may be unfinished."""
        self._shard: Final = shard
        self._consumer: Final = Consumer(shard, max_pending, self._report)
        self._listeners: tuple[Listener[..., Any], ...] = ()
        self._streams: Final[weakref.WeakSet[Buffered[Any]]] = weakref.WeakSet()
        self._close_handlers: Final[list[_CloseHandler]] = []
        self._error_handlers: Final[list[_ErrorHandler]] = []
        self._background: Final[set[asyncio.Task[Any]]] = set()

    # Classes are callable too, so this one comes first.
    @overload
    def listen(  # type: ignore[overload-overlap]  # a class is a callable too, but the first fits it
        self,
        *events: EventForm,
        priority: int = 0,
        once: bool = False,
        concurrency: int | None = None,
        where: Where | None = None,
    ) -> Callable[[Callable[P, R]], Listener[P, R]]: ...
    @overload
    def listen(self, function: Callable[P, R], /) -> Listener[P, R]: ...
    def listen(
        self,
        *arguments: Any,
        priority: int = 0,
        once: bool = False,
        concurrency: int | None = None,
        where: Where | None = None,
    ) -> Any:
        """Add a listener: ``@gateway.listen``, ``@gateway.listen()`` or ``@gateway.listen(MessageCreate)``.

        The annotation of the first parameter (or the classes named) says what it gets: an event class or a union of
        them, a narrow class of yours, `Dispatch` (every event, raw) or ``Dispatch[MessageCreate]``. Further parameters
        annotated `Gateway` or `Dispatch` receive those. Sync or async; events of one shard come in order, and an async
        listener runs up to its first suspension before the next event is handed out.

        Args:
            events: What it gets, instead of the annotation.
            priority: Listeners with a higher one are called first; those with the same in the order of adding.
            once: Call it for one event, then remove it.
            concurrency: At most so many unfinished calls of this (async) listener; further events wait for their turn,
                in order, and count as pending. 1: an event is done with before the next one is begun.
            where: A condition made from `field`: Rust drops other events, and Python never hears of them. Or a function
                that is called with the event before the listener, in Python; what it raises counts as the listener's.

        Raises:
            TypeError: The signature does not say which event (the text shows the explicit form), ``concurrency`` is
                given for a function that is not async, or ``where`` does not fit a field.
            ValueError: ``concurrency`` is less than 1, or ``where`` names a field that an event does not have.
        """
        names = _names_of_caller()
        options = Options(priority, once, concurrency, where)
        if len(arguments) == 1 and not is_event(arguments[0]):
            return self._add(arguments[0], None, names, options)
        who = "listen()"
        explicit = [wanted for argument in arguments for wanted in wanted_from(argument, who=who)] or None

        def decorate(function: Callable[P, R]) -> Listener[P, R]:
            return self._add(function, explicit, names, options)

        return decorate

    def _add(
        self, function: Callable[P, R], explicit: list[Wanted] | None, names: dict[str, Any], options: Options
    ) -> Listener[P, R]:
        listener = self._listener_of(function, explicit, names, options)
        self._attach(listener)
        return listener

    def _listener_of(
        self, function: Callable[P, R], explicit: list[Wanted] | None, names: dict[str, Any], options: Options
    ) -> Listener[P, R]:
        if isinstance(function, Listener):
            function = function.__wrapped__
        wanted, takes_gateway, takes_dispatch = wants_of(function, explicit, names, type(self))
        wanted, guard = narrowed(wanted, options.where, who="listen()")
        options.check(function)
        call: Callable[..., Any] = function
        if takes_gateway is not None:
            call = partial(call, **{takes_gateway: self})
        isolated = not is_async(function)
        return Listener(
            function, wanted, call, self._remove, takes_dispatch, isolated=isolated, guard=guard, options=options
        )

    def add(self, group: G) -> G:
        """Add the methods of a group that are marked with ``@listen``, all at once or, after an error, none of them.

        Returns the group, whose `Listeners.remove` takes them off again.

        Raises:
            TypeError: It is no `Listeners` object, or a method's signature does not say which event.
            ValueError: It has no method that listens, or is here already.
        """
        if not isinstance(group, Listeners):  # pyright: ignore[reportUnnecessaryIsInstance]
            made = (
                f"make one: add({group.__name__}())" if isinstance(group, type) else "derive its class from Listeners"
            )
            raise TypeError(f"add() takes an object of a class that derives from Listeners, not {group!r}; {made}")
        if any(place is self for place, _ in added(group)):
            raise ValueError(f"{group!r} has been added already; make another object, or remove() it first")
        listeners = [
            self._listener_of(method, mark.explicit, mark.names, mark.options) for method, mark in marked_methods(group)
        ]
        on_error, on_close = handler_of(group, "on_error"), handler_of(group, "on_close")
        if not (listeners or on_close):
            raise ValueError(f"{type(group).__qualname__} has no method that is marked with @listen")
        if on_error is not None:
            handler = self._error_handler(on_error, {})
            for listener in listeners:
                listener.on_error = handler
        closing = None if on_close is None else self._close_handler(on_close, {})

        def remove() -> None:
            added(group).remove(place)
            self._remove_all(listeners)
            if closing is not None:
                self._close_handlers.remove(closing)

        place = (self, remove)
        self._attach(*listeners)
        if closing is not None:
            self._close_handlers.append(closing)
        added(group).append(place)
        return group

    def _attach(self, *listeners: Listener[..., Any]) -> None:
        # Sorting keeps the order of adding among equals.
        every = (*self._listeners, *listeners)
        self._listeners = tuple(sorted(every, key=lambda listener: listener.priority, reverse=True))
        self._consumer.subscribe(self._listeners)

    def _remove(self, listener: Listener[..., Any]) -> None:
        self._remove_all([listener])

    def _remove_all(self, listeners: Sequence[Listener[..., Any]]) -> None:
        for listener in listeners:
            # What waits for them is skipped.
            listener.removed = True
        gone = set(map(id, listeners))
        self._listeners = tuple(listener for listener in self._listeners if id(listener) not in gone)
        self._consumer.subscribe(self._listeners)

    def on_close(self, function: F, /) -> F:
        """Call ``function(closed: Closed)`` at every end of a connection, the user's own close included.

        Sync or async. Reconnecting does not wait for it; returning False stops it. ``open`` and ``wait_closed`` finish
        after it; handlers of which none finishes for 5 s are cancelled then. What a handler awaits of an ended gateway
        ends at once. A second parameter annotated `Gateway` receives the gateway.
        """
        self._close_handlers.append(self._close_handler(function, _names_of_caller()))
        return function

    def _close_handler(self, function: Callable[..., Any], names: dict[str, Any]) -> _CloseHandler:
        _, gateway_parameter, dispatch_parameter = wants_of(function, [], names, type(self))
        if dispatch_parameter is not None:
            raise TypeError(f"on_close: a close has no event, so no Dispatch can be passed for {dispatch_parameter!r}")
        return function, gateway_parameter

    def on_error(self, function: F, /) -> F:
        """Call ``function(error: Exception)`` for what a listener raised and for each `ModelError`, instead of logging.

        Sync or async. Further parameters annotated `Dispatch` or `Gateway` receive the event and the gateway.
        """
        self._error_handlers.append(self._error_handler(function, _names_of_caller()))
        return function

    def _error_handler(self, function: Callable[..., Any], names: dict[str, Any]) -> _ErrorHandler:
        _, gateway_parameter, dispatch_parameter = wants_of(function, [], names, type(self))
        return function, gateway_parameter, dispatch_parameter

    def batches(self, *events: EventForm, where: Where | None = None, size: int = 256) -> Batches:
        """Hear events as lists of `Dispatch`, at most ``size`` at a time; no event named: all of them.

        ``where`` as for `listen`; a function gets the `Dispatch`.

        ::

            async with gateway.batches(MessageCreate) as batches:
                async for batch in batches:
                    ...
        """
        wanted = [want for event in events for want in wanted_from(event, who="batches()")] or [Wanted(ALL, None)]
        wanted, guard = narrowed(wanted, where, who="batches()")
        wanted = [want.raw() for want in wanted]
        stream = Batches(wanted, size, self._attach, self._remove, self._consumer.block, guard)
        self._streams.add(stream)
        return stream

    def log_payloads(self, *events: "EventForm | str") -> Listener[..., None]:
        """Write events as they come to the log, at DEBUG of ``propylon.payload``; no event named: all of them.

        Events are classes or names (``"MESSAGE_CREATE"``). Tokens and session ids are hidden, 2,048 characters are
        written of each. This is a listener like any other: what is logged reaches Python; `Listener.remove` ends it.
        """
        wanted: list[Wanted] = []
        for event in events:
            if not isinstance(event, str):
                wanted += [want.raw() for want in wanted_from(event, who="log_payloads()")]
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
        handlers = self._error_handlers
        if listener is not None and listener.on_error is not None:
            handlers = [listener.on_error]
        if not handlers:
            if listener is None:
                _log.error("%s", error)
            else:
                _log.error("listener %s of %s failed", listener.name, one_line(dispatch.type), exc_info=error)
            return
        for function, gateway_parameter, dispatch_parameter in tuple(handlers):
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
