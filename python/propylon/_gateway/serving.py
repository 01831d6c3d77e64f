"""`Gateway.serve` and `Gateway.run`: open, until a signal or an end, drain, close; the lifespan is around it.

Owns the order of these steps, and what a signal means at each. Taking signals over is `propylon._signals`'s.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, Protocol, TypeAlias

from propylon._arguments import check_seconds
from propylon._listening.lifespan import Lifespan
from propylon._signals import Stoppable, WakingLoop
from propylon.errors import SessionTakenOver

__all__ = ["Servable", "Step", "run", "serve"]

_log: Final = logging.getLogger("propylon.gateway")

Step: TypeAlias = Literal["READY", "STOPPING"]
"""What a supervisor wants to know: that it is open, and that its end has begun. Each comes once at most."""


class Servable(Protocol):
    """What can be served: the life of a gateway, or of a fleet."""

    @property
    def lifespan(self) -> Lifespan:
        """What is around it."""
        ...

    was_served: bool

    def check_process(self) -> None:
        """Raise ForkedError where it belongs to the parent process."""

    def is_open(self) -> bool:
        """Whether it is open, in this loop."""
        ...

    async def open(self, timeout: float | None) -> None:
        """Open it."""

    async def close(self, code: int | None, *, drain: float | None = None) -> None:
        """Close it."""

    async def wait_closed(self) -> None:
        """Return when it is closed."""

    async def settle(self, seconds: float) -> None:
        """Let calls of listeners finish for so many seconds, then cancel them and wait until they have ended."""


class _Serving:
    """One run."""

    def __init__(self, life: Servable, drain: float, tell: Callable[[Step], object]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._life: Final = life
        self._drain: Final = drain
        self._tell: Final = tell
        self._task: Final = task
        self._loop: Final = asyncio.get_running_loop()
        self._signals: Final = Stoppable(lambda: self._loop.call_soon_threadsafe(self._stop))
        self._starting = True
        self._stopped = False
        self._cancelling = False
        self._left = False
        """Whether nobody waits for the closing any more."""
        self._told_end = False
        self._closing: asyncio.Task[None] | None = None

    def _stop(self) -> None:
        """The first signal."""
        if self._stopped:
            # It came when all was over.
            return
        self._stopped = True
        self._tell_end()
        if self._starting:
            # Into whatever is awaited: the lifespan's own beginning, the store, the connection.
            self._cancelling = True
            self._task.cancel()
        else:
            self._closing = self._loop.create_task(self._life.close(None, drain=self._drain))
            self._closing.add_done_callback(self._closed)
        # Not before: a second signal that broke off the making of the task would leave it where the loop's end does not
        # look.
        name = self._signals.caught.name if self._signals.caught else "a signal"
        _log.info("%s: closing; listeners have %g s to finish, and a second signal breaks them off", name, self._drain)

    def _tell_end(self) -> None:
        if not self._told_end:
            self._told_end = True
            self._tell("STOPPING")

    def _closed(self, task: asyncio.Task[None]) -> None:
        """The KeyboardInterrupt of a second signal has left through the loop; nobody is left to take it from here."""
        error = None if task.cancelled() else task.exception()
        if self._left and isinstance(error, Exception):
            self._loop.call_exception_handler({"message": "closing failed", "exception": error, "task": task})

    def _taken_back(self) -> bool:
        """Whether the cancellation that has come is that of `_stop`, and nobody else's; then it is over."""
        if not self._cancelling:
            return False
        self._cancelling = False
        return self._task.uncancel() == 0

    async def run(self) -> None:
        with self._signals, WakingLoop():
            try:
                async with self._life.lifespan.entered():
                    await self._served()
            except SessionTakenOver:
                # Not a failure: the new version of the bot goes on with the session.
                pass
            except asyncio.CancelledError:
                if not self._taken_back():
                    raise
            finally:
                # A signal that comes this late has nothing to stop, and a lifespan may have swallowed an earlier one:
                # the task is its owner's again, with no cancellation of ours left on it.
                self._starting = False
                self._stopped = True
                self._taken_back()

    async def _served(self) -> None:
        life, patience = self._life, self._drain
        try:
            if not (self._stopped or life.is_open()):
                await life.open(None)
            self._starting = False
            if not self._stopped:
                self._tell("READY")
                await life.wait_closed()
            if self._closing is not None:
                patience = 0.0
                await self._closing
        except asyncio.CancelledError:
            # After a signal the calls that have begun meanwhile have their time all the same.
            if not self._taken_back():
                patience = 0.0
                self._left = True
                raise
        finally:
            self._starting = False
            self._tell_end()
            # Where all is over this has nothing to do. What listeners use of the lifespan is there until they end.
            await life.close(None)
            await life.settle(patience)


def run(life: Servable, serve: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Serve in an event loop of its own; ``name`` is what users call the owner."""
    life.check_process()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # Left before anything runs: what the bot raises would name this one as its context.
        pass
    else:
        raise RuntimeError(f"run() starts an event loop; inside one, use `await {name}.serve()`")
    asyncio.run(serve())


async def serve(life: Servable, drain: float, tell: Callable[[Step], object] = lambda _: None) -> None:
    """Serve until the gateway is closed, or a signal closes it; ``tell`` hears in the loop how far it is."""
    life.check_process()
    check_seconds("serve()", drain=drain)
    life.was_served = True
    await _Serving(life, drain, tell).run()
