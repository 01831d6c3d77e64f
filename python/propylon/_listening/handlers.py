"""Who hears of errors and of closed connections: `on_error` and `on_close`. Their own failures go to the log.

How often the same failure is logged is `propylon._listening.failures`'s.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias, TypeGuard

from propylon._base import one_line
from propylon._core import Dispatch
from propylon._listening.entry import ALL, Entry, ErrorHandler, name_of
from propylon._listening.failures import FailureLog
from propylon._listening.lifespan import Lifespan
from propylon._listening.signature import wants_of
from propylon.errors import ModelError
from propylon.events import Event
from propylon.events._decoding import model_error

__all__ = ["CloseHandler", "Handlers", "is_task"]

CloseHandler: TypeAlias = tuple[Callable[..., Any], str | None]
"""A function, and its parameter that takes the gateway."""

_log: Final = logging.getLogger("propylon")


class Handlers:
    """The handlers of one face."""

    def __init__(self, owner: object, lifespan: Lifespan) -> None:
        """``owner`` is what parameters annotated with its class receive; ``lifespan`` gives its value."""
        self._owner: Final = owner
        self._lifespan: Final = lifespan
        self._of_ends: Final[list[CloseHandler]] = []
        self._of_errors: Final[list[ErrorHandler]] = []
        self._background: Final[set[asyncio.Task[Any]]] = set()
        self._failures: Final = FailureLog()
        self._misfitting: Final[set[tuple[str, type[Event] | None]]] = set()
        """Classes that an event did not fit: told once each."""

    def close_handler(self, function: Callable[..., Any], names: dict[str, Any]) -> CloseHandler:
        """A function as `on_close` takes it; ``names`` are those that its annotations may use besides globals."""
        call, gateway_parameter, dispatch_parameter = self._read(function, names)
        if dispatch_parameter is not None:
            raise TypeError(f"on_close: a close has no event, so no Dispatch can be passed for {dispatch_parameter!r}")
        return call, gateway_parameter

    def error_handler(self, function: Callable[..., Any], names: dict[str, Any]) -> ErrorHandler:
        """A function as `on_error` takes it."""
        return self._read(function, names)

    def _read(self, function: Callable[..., Any], names: dict[str, Any]) -> ErrorHandler:
        _, gateway_parameter, dispatch_parameter, value_parameter = wants_of(
            function, [], names, type(self._owner), self._lifespan.gives
        )
        call = self._lifespan.given_to(function, value_parameter, name_of(function))
        return call, gateway_parameter, dispatch_parameter

    def add_of_ends(self, handler: CloseHandler) -> None:
        """Tell it of each end."""
        self._of_ends.append(handler)

    def remove_of_ends(self, handler: CloseHandler) -> None:
        """No more."""
        self._of_ends.remove(handler)

    def add_of_errors(self, handler: ErrorHandler) -> None:
        """Tell it of each error, instead of the log."""
        self._of_errors.append(handler)

    def closed(self, closed: object) -> list[object]:
        """A connection has ended: what the handlers return, or the tasks of those that are async."""
        results: list[object] = []
        for function, gateway_parameter in tuple(self._of_ends):
            extra = {} if gateway_parameter is None else {gateway_parameter: self._owner}
            results.append(self._call("on_close", function, closed, extra))
        return results

    def ended(self) -> None:
        """The owner has ended: what is counted for the log goes there."""
        self._failures.flush()

    def report(
        self, error: Exception, dispatch: Dispatch[Any], entries: Sequence[Entry], *, misfit: bool = False
    ) -> list[asyncio.Task[Any]]:
        """An error of an entry: to the handlers, else to the log. Or of a payload that ``entries`` do not get for it.

        Returns the handlers that are still at work.
        """
        if isinstance(error, ModelError):
            error = error if error.dispatch is not None else ModelError(str(error), dispatch)
        elif misfit:
            error = model_error(dispatch, error, dispatch)
        entry = entries[0]
        handlers = self._of_errors if misfit or entry.on_error is None else [entry.on_error]
        if not handlers:
            if misfit:
                self._log_misfit(error, dispatch, entries)
            else:
                self._failures.tell(f"listener {entry.name}", error, one_line(dispatch.type))
        tasks: list[asyncio.Task[Any]] = []
        for function, gateway_parameter, dispatch_parameter in tuple(handlers):
            extra: dict[str, Any] = {}
            if gateway_parameter is not None:
                extra[gateway_parameter] = self._owner
            if dispatch_parameter is not None:
                extra[dispatch_parameter] = dispatch
            result = self._call("on_error", function, error, extra)
            if is_task(result):
                tasks.append(result)
        return tasks

    def _log_misfit(self, error: Exception, dispatch: Dispatch[Any], entries: Sequence[Entry]) -> None:
        """Once for each class: what one event has, all of them may."""
        wanted = (want for want in entries[0].wanted if want.event in (dispatch.type, ALL))
        kind = next((want.kind for want in wanted), None)
        if (dispatch.type, kind) in self._misfitting:
            return
        self._misfitting.add((dispatch.type, kind))
        _log.error(
            "%s (class %s of listener %s). Further events that do not fit this class are counted in "
            "metrics().undecodable, and not logged; on_error hears of each",
            error,
            "?" if kind is None else kind.__qualname__,
            ", ".join(dict.fromkeys(entry.name for entry in entries)),
            extra={"shard": dispatch.shard_id, "event": one_line(dispatch.type)},
        )

    def _call(self, name: str, function: Callable[..., Any], argument: object, extra: dict[str, Any]) -> object:
        """Calls a handler; its own failure goes to the log. The task of an async one, else its result."""
        try:
            result = function(argument, **extra)
        except Exception as error:
            self._failures.tell(f"{name} handler", error)
            return None
        if not inspect.isawaitable(result):
            return result
        awaitable: Awaitable[Any] = result

        async def guarded() -> Any:
            try:
                return await awaitable
            except Exception as error:
                self._failures.tell(f"{name} handler", error)

        task = asyncio.get_running_loop().create_task(guarded())
        # The loop itself would let it be collected.
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def is_task(result: object) -> TypeGuard[asyncio.Task[Any]]:
    """Whether a handler is still at work."""
    return isinstance(result, asyncio.Task)
