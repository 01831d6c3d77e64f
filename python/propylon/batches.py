"""Raw batches: events as lists of `Dispatch`, for harnesses and brokers."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

from propylon._core import Dispatch
from propylon.listeners import Listener, Wanted

__all__ = ["Batches"]


class Batches:
    """An asynchronous iterator of ``list[Dispatch]``, in order, each with 1 to ``size`` events.

    Use it as a context manager: it hears from entering to leaving. Nothing is dropped here: a slow reader holds the
    engine's queue back, where the gateway's overflow policy decides. Listeners get their events too. The iteration ends
    when the gateway is closed and everything has been read.
    """

    def __init__(
        self,
        wanted: list[Wanted],
        size: int,
        add: Callable[[Listener[..., Any]], None],
        remove: Callable[[Listener[..., Any]], None],
        block: Callable[[bool], None],
    ) -> None:
        """Made by `Gateway.batches`."""
        if size < 1:
            raise ValueError("size must be 1 or more")
        self._size: Final = size
        self._limit: Final = max(2 * size, 512)
        self._buffer: Final[deque[Dispatch[Any]]] = deque()
        self._add: Final = add
        self._listener: Final[Listener[..., Any]] = Listener(self._put, wanted, self._put, remove)
        self._listener.take_all = self._put_all
        self._block: Final = block
        self._blocking = False
        self._reader: asyncio.Future[None] | None = None
        self._closed = False
        self._entered = False

    async def __aenter__(self) -> Self:
        """Begin to hear."""
        if self._entered:
            raise RuntimeError("batches() is entered once; call it again for another stream")
        self._entered = True
        if not self._closed:
            self._add(self._listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop hearing; what was not read is let go."""
        self._buffer.clear()
        self.close()

    def close(self) -> None:
        """No more will come; what is buffered can still be read."""
        self._closed = True
        self._listener.remove()
        self._unblock()
        self._wake()

    def waiting(self) -> Iterable[Dispatch[Any]]:
        """The events that its reader has not taken yet, in their order."""
        return self._buffer

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

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

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> list[Dispatch[Any]]:
        """Return the next events, as soon as there is one."""
        if not self._entered:
            raise RuntimeError("use it as a context manager: async with gateway.batches() as batches")
        buffer = self._buffer
        while not buffer:
            if self._closed:
                raise StopAsyncIteration
            if self._reader is not None:
                raise RuntimeError("another task reads these batches already; call batches() once for each")
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if len(buffer) <= self._size:
            batch = list(buffer)
            buffer.clear()
        else:
            batch = [buffer.popleft() for _ in range(self._size)]
        if len(buffer) * 2 <= self._limit:
            self._unblock()
        return batch
