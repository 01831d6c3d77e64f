"""Raw batches: events as lists of `Dispatch`, for harnesses, brokers and pipelines.

Owns when a batch is full, what holds the gateway back meanwhile, and what is acknowledged.
"""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from time import monotonic
from typing import Any, ClassVar, Final, cast

from propylon._arguments import check_seconds, count_of
from propylon._arrow import batch_of, schema_of, stream_of
from propylon._core import Dispatch
from propylon._listening.buffered import Buffered
from propylon._listening.entry import Entry, Wanted
from propylon._listening.unfinished import Unfinished

__all__ = ["Batch", "Batches", "acknowledged", "unfinished"]

_log: Final = logging.getLogger("propylon")

_PATIENCE: Final = 10.0
"""Seconds for which events that nobody acknowledges may hold everything back before the log tells."""

# A batch and its reader know each other.
# pyright: reportPrivateUsage=false


class Batch(list[Dispatch[Any]]):
    """Events in their order, as a list; ``pyarrow.RecordBatchReader.from_stream(batch)`` has them as a table.

    Its columns: docs/recording.md. A copy, and what is pickled, has the events and cannot be acknowledged.
    """

    _source: "Batches | None" = None
    _end: int = 0
    """The number behind its last event."""

    def ack(self) -> None:
        """Say that these events, and those of all batches before, are dealt with: no restart needs to repeat them.

        A second time does no harm, nor does it after the end of the gateway. Once the batches have been left it comes
        too late, and does nothing.

        Raises:
            RuntimeError: The batches were asked for without ``ack=True``, this is a copy, or this is not the thread of
                the event loop.
        """
        if self._source is None:
            raise RuntimeError(
                "nothing can be acknowledged: ask for batches(ack=True), and call ack() on the batch that it gives, "
                "not on a copy"
            )
        self._source._acknowledge(self._end)

    def __reduce__(self) -> "tuple[type[Batch], tuple[list[Dispatch[Any]]]]":
        """Pickle as the events."""
        return Batch, (list(self),)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Its events as an Arrow stream of one record batch, for whatever speaks Arrow's PyCapsule interface.

        Raises:
            ImportError: The extra ``arrow`` is not installed.
        """
        return stream_of(schema_of(recorded=False), [batch_of(self)], requested_schema)


class Batches(Buffered[Dispatch[Any]]):
    """An asynchronous iterator of `Batch`, lists of `Dispatch` in order, each with 1 to ``size`` events.

    Use it as a context manager: it hears from entering to leaving. Nothing is dropped here: a slow reader holds the
    engine's queue back, where the gateway's overflow policy decides. Listeners get their events too. The iteration ends
    when the gateway is closed and everything has been read.
    """

    _made_by: ClassVar[str] = "batches"

    def __init__(
        self,
        wanted: list[Wanted],
        size: int,
        add: Callable[[Entry], None],
        remove: Callable[[Entry], None],
        block: Callable[[bool], None],
        guard: Callable[[Any], object] | None = None,
        *,
        bytes: int | None = None,
        seconds: float | None = None,
        ack: bool = False,
        leave: Callable[["Batches"], None] | None = None,
    ) -> None:
        """Made by `Gateway.batches`. ``leave`` is told when it is left with events that are not acknowledged."""
        self._size: Final = count_of("size", size, 1)
        self._bytes: Final = None if bytes is None else count_of("bytes", bytes, 1)
        check_seconds("batches()", seconds=seconds)
        self._seconds: Final = seconds
        self._ack: Final = ack
        self._leave: Final = leave
        # Another batch can fill while one is at work.
        self._limit: Final = max(2 * size, 512)
        self._most_bytes: Final = sys.maxsize if bytes is None else 2 * bytes
        put, put_all = (self._put, self._put_all) if bytes is None else (self._put_measured, self._put_all_measured)
        entry = Entry(put, wanted, remove, name="batches()", guard=guard)
        entry.take_all = put_all if guard is None else None
        super().__init__(entry, add)
        self._block: Final = block
        self._blocking = False
        self._marks: Final = Unfinished(self._buffer)
        self._room = self._limit
        """Events that the buffer may have: fewer, where others are not acknowledged."""
        self._given: Final[deque[tuple[int, int]]] = deque()
        """Of each batch that is not acknowledged: the number behind its last event, and its bytes."""
        self._buffer_bytes = 0
        self._given_bytes = 0
        """Both stay 0 where ``bytes`` is None."""
        self._gathering = False
        """Whether its reader waits for more than the first event."""
        self._left = False
        self._moved: Final = asyncio.Event()
        """Set when something was acknowledged, or it was left."""
        self._due: float | None = None
        """When the first event of the buffer has waited for long enough, where a time was asked for."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """That of its reader."""
        self._task: asyncio.Task[Any] | None = None
        """Who read last, where that acknowledges."""
        self._complaint: asyncio.TimerHandle | None = None

    async def __aexit__(self, *_: object) -> None:
        """Stop hearing. What was not read is let go; with ``ack=True`` it counts as unacknowledged, as what was."""
        if self._unacknowledged and not self._left:
            if self._leave is not None:
                self._leave(self)
            if not self._closed:
                _log.warning(
                    "batches(ack=True) were left with %d events that nobody acknowledged: for 5 minutes the saved "
                    "session stays before them, so that they come again after a restart",
                    self._unacknowledged,
                )
        self._left = True
        await super().__aexit__()
        self._marks.clear()
        self._moved.set()

    def close(self) -> None:
        """No more will come; what is buffered can still be read."""
        super().close()
        self._unblock()

    def _put(self, dispatch: Dispatch[Any]) -> None:
        self._buffer.append(dispatch)
        self._after_put()

    def _put_all(self, dispatches: list[Dispatch[Any]]) -> None:
        """What a drain gave, where nobody else listens: in one go, 0.5 µs less for each."""
        self._buffer.extend(dispatches)
        self._after_put()

    def _put_measured(self, dispatch: Dispatch[Any]) -> None:
        self._weigh(len(dispatch))
        self._put(dispatch)

    def _put_all_measured(self, dispatches: list[Dispatch[Any]]) -> None:
        self._weigh(sum(map(len, dispatches)))
        self._put_all(dispatches)

    def _weigh(self, length: int) -> None:
        self._buffer_bytes += length
        if self._buffer_bytes + self._given_bytes >= self._most_bytes:
            self._hold_back()

    def _after_put(self) -> None:
        if len(self._buffer) >= self._room:
            self._hold_back()
        if self._seconds is not None and self._due is None:
            self._note_due(self._seconds)
        if not self._gathering or self._is_full():
            self._wake()

    def _hold_back(self) -> None:
        if not (self._blocking or self._closed):
            self._blocking = True
            self._block(True)
            if self._ack:
                self._complain_later(self._marks.finished)

    def _is_full(self) -> bool:
        """Whether a batch can be given that more events would not make larger."""
        return (
            self._blocking
            or len(self._buffer) >= self._size
            or (self._bytes is not None and self._buffer_bytes >= self._bytes)
        )

    def _relieve(self) -> None:
        """Let the engine go on where there is room again."""
        unacknowledged = self._marks.taken - self._marks.finished
        self._room = self._limit - unacknowledged
        if (
            self._blocking
            and (len(self._buffer) + unacknowledged) * 2 <= self._limit
            and (self._buffer_bytes + self._given_bytes) * 2 <= self._most_bytes
        ):
            self._unblock()

    def _unblock(self) -> None:
        if self._blocking:
            self._blocking = False
            self._block(False)
            if self._complaint is not None:
                self._complaint.cancel()
                self._complaint = None

    def _complain_later(self, finished: int) -> None:
        self._complaint = asyncio.get_running_loop().call_later(_PATIENCE, self._complain, finished)

    def _complain(self, finished: int) -> None:
        if self._marks.finished > finished or not self._given:
            # Its reader is at work, or slow in taking them.
            self._complain_later(self._marks.finished)
            return
        self._complaint = None
        _log.warning(
            "%d events of batches(ack=True) have been taken and none was acknowledged for %g s: further events are "
            "held back until you call ack() on a batch",
            self._marks.taken - finished,
            _PATIENCE,
        )

    async def __anext__(self) -> Batch:
        """Return the next events: as soon as there is one, or as ``seconds`` says."""
        while True:
            if not self._buffer:
                await self._filled()
            if self._seconds is None or self._is_full() or self._closed:
                break
            if self._due is None:
                # Its batch was too full for it.
                self._note_due(self._seconds)
            rest = cast("float", self._due) - asyncio.get_running_loop().time()
            if rest <= 0:
                break
            self._gathering = True
            try:
                await self._woken(rest)
            finally:
                self._gathering = False
        # In one piece: of events that come one by one, each is a batch.
        buffer, marks = self._buffer, self._marks
        count, length = min(len(buffer), self._size), 0
        if self._bytes is not None:
            count, length = self._fitting(count, self._bytes)
            self._buffer_bytes -= length
        if self._ack:
            # They cannot be looked at later.
            marks.look(count)
        self._due = None
        if count == len(buffer):
            batch = Batch(buffer)
            buffer.clear()
        else:
            batch = Batch([buffer.popleft() for _ in range(count)])
        marks.taken += count
        if self._ack:
            batch._source, batch._end = self, marks.taken
            self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
            self._given.append((marks.taken, length))
            self._given_bytes += length
            self._relieve()
        else:
            marks.finished = marks.taken
            if self._blocking:
                self._relieve()
        return batch

    def _note_due(self, seconds: float) -> None:
        """Until when the batch of the first event may be waited for: by the clock of the loop, which may leap."""
        self._due = asyncio.get_running_loop().time() + seconds - (monotonic() - self._buffer[0].received_at)

    def _fitting(self, most: int, limit: int) -> tuple[int, int]:
        """How many of the next ``most`` events have at most ``limit`` bytes together, one at least; and their bytes."""
        count = length = 0
        for dispatch in islice(self._buffer, most):
            if count and length + len(dispatch) > limit:
                break
            count += 1
            length += len(dispatch)
        return count, length

    def _acknowledge(self, end: int) -> None:
        """All events below the number ``end`` are dealt with."""
        if self._left or end <= self._marks.finished:
            return
        # It may set the consumer going, or wake who waits for it.
        if self._loop is not None and not self._loop.is_closed() and _running_loop() is not self._loop:
            raise RuntimeError(
                "ack() is called in the thread of the event loop: when what runs in another thread has returned"
            )
        self._marks.finish(end)
        while self._given and self._given[0][0] <= end:
            _, length = self._given.popleft()
            self._given_bytes -= length
        self._relieve()
        self._moved.set()

    @property
    def _unacknowledged(self) -> int:
        return self._marks.taken - self._marks.finished + len(self._buffer) if self._ack else 0


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def unfinished(batches: Batches) -> Unfinished:
    """What its reader has not finished with: not taken, or taken and not acknowledged."""
    return batches._marks


async def acknowledged(several: Sequence[Batches], seconds: float) -> None:
    """Return when nothing more will come of them and all of it is acknowledged, or they are left; in so many seconds.

    Those that the task of the caller reads are not waited for.
    """
    task = asyncio.current_task()
    waiting = [batches for batches in several if batches._task is not task]
    try:
        async with asyncio.timeout(seconds):
            for batches in waiting:
                while batches._unacknowledged:
                    batches._moved.clear()
                    await batches._moved.wait()
    except TimeoutError:
        left = sum(batches._unacknowledged for batches in waiting)
        _log.warning("%d events of batches(ack=True) were not acknowledged: they come again after a restart", left)
