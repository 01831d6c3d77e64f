"""An event loop whose clock stands still while something is to be done, and leaps where nothing is.

As trio's `MockClock` with autojump: https://trio.readthedocs.io/en/stable/reference-testing.html#time-and-timeouts
"""

import asyncio
import math
import selectors
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple, Unpack

__all__ = ["VirtualLoop"]

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")

_JOB_PATIENCE: Final = 5.0
"""Real seconds for which the clock stands still for one job of an executor. One that takes longer may be waiting for
the clock itself."""

_RESOLUTION: Final = time.get_clock_info("monotonic").resolution
"""asyncio calls a timer when the clock is beyond its moment by more than this is short of it."""

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


class _Leaping(selectors.BaseSelector):
    """A selector that leaves waiting to whoever owns it."""

    def __init__(self, wait: "Callable[[selectors.BaseSelector, float | None], list[_Ready]]") -> None:
        self._inner: Final = selectors.DefaultSelector()
        self._wait: Final = wait

    def register(self, fileobj: "FileDescriptorLike", events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: "FileDescriptorLike") -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: "FileDescriptorLike", events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> "list[_Ready]":
        return self._wait(self._inner, timeout)

    def close(self) -> None:
        self._inner.close()

    def get_map(self) -> "Mapping[FileDescriptorLike, selectors.SelectorKey]":
        return self._inner.get_map()


_Ready = tuple[selectors.SelectorKey, int]


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time` begins at 0 and leaps to the next timer as soon as nothing else is to be done.

    What has happened comes first: a descriptor that is ready, and the end of a job of an executor, for which the clock
    stands still. What other threads, sockets and processes will do is not known, and not waited for, unless there is no
    timer to leap to.
    """

    def __init__(self) -> None:
        """Made for `asyncio.Runner`, which closes it."""
        self._now = 0.0
        self._jobs: Final[dict[asyncio.Future[Any], float]] = {}
        self._is_ending = False
        self._at_rest: Final[list[asyncio.Event]] = []
        super().__init__(_Leaping(self._wait))

    def time(self) -> float:
        """Seconds of the virtual clock."""
        return self._now

    async def rest(self) -> None:
        """Return when nothing is left to do before the clock leaps."""
        at_rest = asyncio.Event()
        self._at_rest.append(at_rest)
        await at_rest.wait()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Args]], _T], *args: *_Args
    ) -> asyncio.Future[_T]:
        """As ever; the clock waits for it."""
        job = super().run_in_executor(executor, func, *args)
        self._jobs[job] = time.monotonic() + _JOB_PATIENCE
        job.add_done_callback(self._jobs.pop)
        return job

    async def shutdown_default_executor(self, *args: Any, **options: Any) -> None:
        """As ever, and as long as it really takes."""
        self._is_ending = True
        await super().shutdown_default_executor(*args, **options)

    def _wait(self, selector: selectors.BaseSelector, timeout: float | None) -> list[_Ready]:
        ready = selector.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None and not self._at_rest:
            return selector.select()
        patience = max(self._jobs.values(), default=0.0) - time.monotonic()
        if self._is_ending and timeout is not None:
            patience = timeout
        if patience > 0:
            ready = selector.select(patience)
            if ready:
                return ready
        if self._at_rest:
            while self._at_rest:
                self._at_rest.pop().set()
            return ready
        assert timeout is not None
        now = self._now + timeout
        # Far from 0 a float is no finer than the resolution, and the timer would never be due.
        self._now = now if now + _RESOLUTION > now else math.nextafter(now, math.inf)
        return ready
