"""What waits for events: a `wait_for` or `collect` under way, and the buffer behind `stream`.

Each is an entry of the register for a while; when it comes and goes is `propylon._listening.face`'s.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any, ClassVar, Final, Generic, TypeVar

import propylon._core as _core
from propylon._listening.buffered import Buffered
from propylon._listening.entry import Entry
from propylon.errors import PropylonError
from propylon.events import Event

__all__ = ["Stream", "Wait"]


E = TypeVar("E", bound=Event | _core.Dispatch[Any])


class Stream(Buffered[E], Generic[E]):
    """An asynchronous iterator of events, in order, that holds nothing back.

    Use it as a context manager: it hears from entering to leaving. Of the events that its reader has not taken yet the
    newest ``buffer`` are kept; the older ones are let go, counted in `dropped`. The iteration ends when the gateway is
    closed and everything has been read.
    """

    _made_by: ClassVar[str] = "stream"

    def __init__(
        self,
        limit: int,
        add: Callable[[Entry], None],
        hearing: Callable[[Callable[[Any], None]], Entry],
    ) -> None:
        """Made by `Gateway.stream`; ``hearing`` makes the entry that puts into it."""
        super().__init__(hearing(self._put), add)
        self._limit: Final = limit
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Events that were let go unread because the buffer was full."""
        return self._dropped

    def _put(self, event: E) -> None:
        if len(self._buffer) >= self._limit:
            self._buffer.popleft()
            self._dropped += 1
        self._buffer.append(event)
        self._wake()

    async def __anext__(self) -> E:
        """Return the next event, as soon as there is one."""
        if not self._buffer:
            await self._filled()
        return self._buffer.popleft()


class Wait:
    """A `wait_for` or `collect` under way: takes events until it has enough, is told to end, or its time is over."""

    __slots__ = ("_done", "_idle", "_last", "_looking", "_most", "_timeout", "cause", "ended", "entry", "found")

    def __init__(self, most: int | None) -> None:
        """In the running loop. It has enough with ``most`` events."""
        loop = asyncio.get_running_loop()
        self._done: Final[asyncio.Future[None]] = loop.create_future()
        self._most: Final = most
        self._last = loop.time()
        self._idle: float | None = None
        self._timeout: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self.found: Final[list[Any]] = []
        """What has come, in order."""
        self.entry: Entry | None = None
        """What takes events for it, while it is under way."""
        self.ended = False
        """Whether the gateway's end made it return."""
        self.cause: PropylonError | None = None
        """What the gateway ended with, if that was an error."""

    def take(self, event: Any) -> None:
        """An event has come."""
        if self._done.done():
            return
        self.found.append(event)
        if len(self.found) == self._most:
            self.finish()
            assert self.entry is not None
            self.entry.remove()
        elif self._idle is not None:
            self._last = self._done.get_loop().time()

    @property
    def done(self) -> bool:
        """Whether it takes nothing more."""
        return self._done.done()

    def finish(self) -> None:
        """Let `over` return."""
        # A loop that has been closed has nobody left who could be told.
        if not (self._done.done() or self._done.get_loop().is_closed()):
            self._done.set_result(None)

    def end(self, cause: PropylonError | None) -> None:
        """The gateway has ended."""
        if not self._done.done():
            self.ended, self.cause = True, cause
            self.finish()

    def over(self, timeout: float | None, idle: float | None = None) -> asyncio.Future[None]:
        """What is done when it is finished, when the time is over, or ``idle`` seconds after the last event."""
        if timeout is not None and math.isfinite(timeout):
            self._timeout = self._done.get_loop().call_later(timeout, self.finish)
        if idle is not None and math.isfinite(idle):
            self._idle = idle
            self._look()
        return self._done

    def _look(self) -> None:
        """Whether nothing has come for so long; else another look when that may be."""
        # Set once per `idle` and not once per event, of which there may be thousands in between.
        assert self._idle is not None
        loop = self._done.get_loop()
        due = self._last + self._idle
        if loop.time() >= due:
            self.finish()
        else:
            self._looking = loop.call_at(due, self._look)

    def leave(self) -> None:
        """Nobody waits any more."""
        for timer in (self._timeout, self._looking):
            if timer is not None:
                timer.cancel()
        # Each holds this, and the collector would have to find that.
        self._timeout = self._looking = None
