"""What `Batches` and `Stream` share: a buffer that an entry fills and one task reads.

Owns entering and leaving, waiting for something to read, and the end. What is buffered, and what happens when it is
full, is up to the two.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from propylon._listening.entry import Entry

__all__ = ["Buffered", "end", "let_go"]

# Outside the class, so that users are not offered what is this package's.
# pyright: reportPrivateUsage=false

T = TypeVar("T")


class Buffered(Generic[T]):
    """A buffer between an entry of the register and a reader."""

    _made_by: ClassVar[str]
    """The gateway's method that makes one, for errors."""

    def __init__(self, entry: Entry, add: Callable[[Entry], None]) -> None:
        """``entry`` puts into the buffer; ``add`` puts it on its face."""
        self._buffer: Final[deque[T]] = deque()
        self._entry: Final = entry
        self._add: Final = add
        self._reader: asyncio.Future[None] | None = None
        self._closed = False
        self._ended = False
        self._entered = False

    async def __aenter__(self) -> Self:
        """Begin to hear."""
        if self._entered:
            raise RuntimeError(f"{self._made_by}() is entered once; call it again for another one")
        self._entered = True
        if not self._closed:
            self._add(self._entry)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop hearing; what was not read is let go."""
        self._buffer.clear()
        self.close()

    def close(self) -> None:
        """No more will come; what is buffered can still be read."""
        self._closed = True
        if not self._ended:
            self._entry.remove()
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def _filled(self) -> None:
        """Return when there is something to read. Raises StopAsyncIteration when nothing more comes."""
        if not self._entered:
            raise RuntimeError(f"use it as a context manager: async with gateway.{self._made_by}() as …")
        while not self._buffer:
            if self._closed:
                raise StopAsyncIteration
            await self._woken()

    async def _woken(self, seconds: float = math.inf) -> None:
        """Return when `_wake` was called, or after so many seconds."""
        if self._reader is not None:
            raise RuntimeError(f"another task reads here already; call {self._made_by}() once for each")
        loop = asyncio.get_running_loop()
        self._reader = loop.create_future()
        timer = loop.call_later(seconds, self._wake) if math.isfinite(seconds) else None
        try:
            await self._reader
        finally:
            self._reader = None
            if timer is not None:
                timer.cancel()


def end(buffered: Buffered[Any]) -> None:
    """Its owner hands out no more. What the engine still reads is kept for it, so that it does not count as unheard."""
    buffered._ended = True
    buffered.close()


def let_go(buffered: Buffered[Any]) -> None:
    """Where `end` was called: it hears nothing any more."""
    if buffered._ended:
        buffered._entry.remove()
