"""Events that are awaited instead of listened to: `wait_for`, `stream`, `collect`.

Each is a listener that is there for a while. Owns when it comes and goes, and what of the events it keeps; what an
event is decoded to, in which order, and what becomes of errors is as for any listener.
"""

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar, overload

from propylon import _core
from propylon._filters.expression import Filter, Where
from propylon._filters.where import narrowed
from propylon._gateway.settings import check_seconds, count_of
from propylon._listening.buffered import Buffered
from propylon._listening.face import Listening
from propylon._listening.listener import ALL, Listener, wanted_from
from propylon.errors import NotConnected, PropylonError
from propylon.events import Event

if TYPE_CHECKING:
    # Part of every type checker; not needed at run time.
    from typing_extensions import TypeForm

__all__ = ["Consuming", "Stream"]

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
        add: Callable[[Listener[..., Any]], None],
        hearing: Callable[[Callable[[Any], None]], Listener[..., Any]],
    ) -> None:
        """Made by `Gateway.stream`; ``hearing`` makes the listener that puts into it."""
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
    """A `wait_for` or `collect` under way."""

    def __init__(self) -> None:
        """In the running loop."""
        self._done: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        self.ended = False
        """Whether the gateway's end made it return."""
        self.cause: PropylonError | None = None
        """What the gateway ended with, if that was an error."""

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

    async def over(
        self, *, timeout: float | None, idle: float | None = None, heard: Callable[[], float] | None
    ) -> None:
        """Return when it is finished, when the time is over, or ``idle`` seconds after what ``heard`` tells."""
        loop = self._done.get_loop()
        timers: dict[str, asyncio.TimerHandle] = {}
        if timeout is not None and math.isfinite(timeout):
            timers["timeout"] = loop.call_later(timeout, self.finish)

        def look() -> None:
            # Set once per `idle` and not once per event, of which there may be thousands in between.
            assert idle is not None
            assert heard is not None
            due = heard() + idle
            if loop.time() >= due:
                self.finish()
            else:
                timers["idle"] = loop.call_at(due, look)

        if idle is not None and math.isfinite(idle):
            look()
        try:
            await self._done
        finally:
            for timer in timers.values():
                timer.cancel()


class Consuming(Listening):
    """Base of what has listeners and whose events can be awaited."""

    def __init__(self, shard: _core.Shard, max_pending: int) -> None:
        """At most ``max_pending`` listener calls may be unfinished."""
        super().__init__(shard, max_pending)
        self._waits: Final[set[Wait]] = set()
        self._ending = False
        """Whether the gateway has ended but is not closed yet: what begins to wait now waits for nothing."""
        self._cause: PropylonError | None = None

    def _check_usable(self) -> None:
        """Raise where this process or loop must not use it."""
        raise NotImplementedError

    @overload
    async def wait_for(
        self, event: type[E], *, where: Filter | Callable[[E], object] | None = None, timeout: float | None = None
    ) -> E: ...
    @overload
    async def wait_for(
        self, event: "TypeForm[E]", *, where: Filter | Callable[[E], object] | None = None, timeout: float | None = None
    ) -> E: ...
    async def wait_for(self, event: Any, *, where: Where | None = None, timeout: float | None = None) -> Any:
        """Return the first event of a kind that comes from now on.

        ::

            answer = await gateway.wait_for(MessageCreate, where=lambda message: message.author.id == user, timeout=30)

        Inside a listener it counts as that call's unfinished work, so give it a timeout there: ``max_pending`` calls
        that wait for events keep every event from being handed out. A listener that leaves with the `NotConnected` of a
        closed gateway has not failed: it is not reported. Listeners get the event too, and so do all others that wait
        for it. It may be called before `open`.

        Args:
            event: An event class, a union of them, or ``Dispatch[MessageCreate]`` for the holder.
            where: A condition made from `field`, which Rust evaluates, or a function of the event; the first event that
                fits is returned. What a function raises goes to `on_error`, and the waiting goes on.
            timeout: Seconds. None: as long as the gateway is open.

        Raises:
            TimeoutError: No such event came in time.
            NotConnected: The gateway was closed, or ended; ``__cause__`` is then the error that ended it.
            TypeError: ``event`` is no event, or ``where`` does not fit it.
            RuntimeError: The gateway is open in another event loop.
        """
        found: list[Any] = []

        def take(event: Any) -> None:
            if not wait.done:
                found.append(event)
                wait.finish()
                listener.remove()

        who = "wait_for()"
        check_seconds(who, timeout=timeout)
        self._check_usable()
        wait = Wait()
        listener = self._hearing(who, event, where, take)
        await self._wait(wait, listener, timeout=timeout)
        if found:
            return found[0]
        what = _names(listener, where)
        if wait.ended:
            error = NotConnected(f"the gateway was closed before {what} came")
            self._consumer.excused.add(error)
            raise error from wait.cause
        raise TimeoutError(f"no {what} came within {timeout} s")

    @overload
    async def collect(
        self,
        event: type[E],
        *,
        where: Filter | Callable[[E], object] | None = None,
        count: int | None = None,
        timeout: float | None = None,
        idle: float | None = None,
    ) -> list[E]: ...
    @overload
    async def collect(
        self,
        event: "TypeForm[E]",
        *,
        where: Filter | Callable[[E], object] | None = None,
        count: int | None = None,
        timeout: float | None = None,
        idle: float | None = None,
    ) -> list[E]: ...
    async def collect(
        self,
        event: Any,
        *,
        where: Where | None = None,
        count: int | None = None,
        timeout: float | None = None,
        idle: float | None = None,
    ) -> list[Any]:
        """Return the events of a kind that come from now on, in order, as soon as one of the limits is reached.

        At least one limit must be given. When the gateway is closed or ends, what has come so far is returned.

        Args:
            event: As in `wait_for`.
            where: As in `wait_for`.
            count: So many events.
            timeout: So many seconds.
            idle: So many seconds without such an event, from the call on.

        Raises:
            TypeError: No limit is given, ``event`` is no event, or ``where`` does not fit it.
            ValueError: A limit is impossible.
            RuntimeError: The gateway is open in another event loop.
        """
        who = "collect()"
        if count is None and timeout is None and idle is None:
            raise TypeError(f"{who} would never return: give it count=, timeout= or idle=")
        if count is not None:
            count_of("count", count, 1)
        check_seconds(who, timeout=timeout, idle=idle)
        if idle == 0:
            raise ValueError(f"{who}: idle must be more than 0 s, or it would return before anything can come")
        self._check_usable()
        clock = asyncio.get_running_loop().time
        last = clock()
        found: list[Any] = []

        def take(event: Any) -> None:
            nonlocal last
            if not wait.done:
                found.append(event)
                last = clock()
                if len(found) == count:
                    wait.finish()
                    listener.remove()

        wait = Wait()
        listener = self._hearing(who, event, where, take)
        await self._wait(wait, listener, timeout=timeout, idle=idle, heard=lambda: last)
        return found

    @overload
    def stream(
        self, event: type[E], *, where: Filter | Callable[[E], object] | None = None, buffer: int = 1000
    ) -> Stream[E]: ...
    @overload
    def stream(
        self, event: "TypeForm[E]", *, where: Filter | Callable[[E], object] | None = None, buffer: int = 1000
    ) -> Stream[E]: ...
    def stream(self, event: Any, *, where: Where | None = None, buffer: int = 1000) -> Stream[Any]:
        """Hear events one by one where they are wanted::

            async with gateway.stream(MessageCreate) as messages:
                async for message in messages:
                    ...

        It holds nothing back: what a slow reader misses is dropped, oldest first, and counted in `Stream.dropped`.
        Where nothing may be lost use `batches`, or an async listener with ``concurrency=1``. An event that does not fit
        its class goes to `on_error` and not into the stream.

        Args:
            event: As in `wait_for`.
            where: As in `wait_for`.
            buffer: Events that are kept for the reader.

        Raises:
            TypeError: ``event`` is no event, or ``where`` does not fit it.
            ValueError: ``buffer`` is less than 1.
        """
        limit = count_of("buffer", buffer, 1)

        def enter(listener: Listener[..., Any]) -> None:
            self._check_usable()
            self._attach(listener)

        def hearing(put: Callable[[Any], None]) -> Listener[..., Any]:
            return self._hearing("stream()", event, where, put)

        stream: Stream[Any] = Stream(limit, enter, hearing)
        self._streams.add(stream)
        return stream

    def _hearing(self, who: str, event: Any, where: Where | None, take: Callable[[Any], None]) -> Listener[..., Any]:
        """A listener, not there yet, that takes the events of which ``where`` is true."""
        wanted, guard = narrowed(wanted_from(event, who=who), where, who=who)
        return Listener(take, wanted, take, self._remove, guard=guard, name=who)

    async def _wait(
        self,
        wait: Wait,
        listener: Listener[..., Any],
        *,
        timeout: float | None,
        idle: float | None = None,
        heard: Callable[[], float] | None = None,
    ) -> None:
        self._attach(listener)
        self._waits.add(wait)
        self._consumer.waits(len(self._waits))
        if self._ending:
            wait.end(self._cause)
        try:
            await wait.over(timeout=timeout, idle=idle, heard=heard)
        finally:
            self._waits.discard(wait)
            self._consumer.waits(len(self._waits))
            listener.remove()

    def _end_consuming(self, cause: PropylonError | None) -> None:
        """The gateway has ended: who reads streams and batches gets what is buffered, who waits is told."""
        self._ending, self._cause = True, cause
        for stream in list(self._streams):
            stream.close()
        for wait in list(self._waits):
            wait.end(cause)


def _names(listener: Listener[..., Any], where: object) -> str:
    names = ["event" if wanted.event == ALL else wanted.event for wanted in listener.wanted]
    return " or ".join(dict.fromkeys(names)) + (" that fits `where`" if where is not None else "")
