"""Raw batches: events as lists of `Dispatch`, for harnesses and brokers."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

from propylon._arguments import count_of
from propylon._core import Dispatch
from propylon._listening.buffered import Buffered
from propylon._listening.entry import Entry, Wanted

__all__ = ["Batches", "unread"]


class Batches(Buffered[Dispatch[Any]]):
    """An asynchronous iterator of ``list[Dispatch]``, in order, each with 1 to ``size`` events.

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
    ) -> None:
        """Made by `Gateway.batches`."""
        self._size: Final = count_of("size", size, 1)
        self._limit: Final = max(2 * size, 512)
        entry = Entry(self._put, wanted, remove, name="batches()", guard=guard)
        entry.take_all = self._put_all if guard is None else None
        super().__init__(entry, add)
        self._block: Final = block
        self._blocking = False

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

    def _after_put(self) -> None:
        buffer = self._buffer
        self._wake()
        if len(buffer) >= self._limit and not (self._blocking or self._closed):
            self._blocking = True
            self._block(True)

    def _unblock(self) -> None:
        if self._blocking:
            self._blocking = False
            self._block(False)

    async def __anext__(self) -> list[Dispatch[Any]]:
        """Return the next events, as soon as there is one."""
        buffer = self._buffer
        if not buffer:
            await self._filled()
        if len(buffer) <= self._size:
            batch = list(buffer)
            buffer.clear()
        else:
            batch = [buffer.popleft() for _ in range(self._size)]
        if len(buffer) * 2 <= self._limit:
            self._unblock()
        return batch


def unread(batches: Batches) -> Iterable[Dispatch[Any]]:
    """The events that its reader has not taken yet, in their order."""
    return batches._buffer  # pyright: ignore[reportPrivateUsage]
