"""Whether an event loop takes turns, and what holds it where it does not.

The engine goes on beating whatever Python does, so that a bot whose listener blocks looks well from outside. So each
loop with an open gateway says once a second that it lives (`LoopWatch`), to the engine, which tells it on while Python
is blocked. And one daemon thread, ``propylon-watch``, looks after the loops: only another thread can say in the log
what a blocked loop is at. It needs the GIL for that; where C code keeps it, the line comes afterwards.
"""

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final
from weakref import WeakKeyDictionary, WeakSet, ref

import propylon._core as _core

__all__ = ["LoopWatch"]

_log: Final = logging.getLogger("propylon")

_INTERVAL: Final = 1.0
"""Seconds between two beats of a loop, and between two looks of the thread."""
_PATIENCE: Final = 1.0
"""Seconds by which the thread's look may be late because the machine is busy."""
_WARN_AFTER = 10.0
"""Seconds without a turn after which the log is told, and then each time that they have doubled."""

_ASYNCIO: Final = str(Path(asyncio.__file__).parent) + os.sep
_OURS: Final = str(Path(__file__).parents[1]) + os.sep


def _culprit(frame: FrameType) -> str | None:
    """The listener, or whatever else the loop has called, by the stack of the loop's thread.

    It is the outermost function called by the loop that is neither asyncio's nor ours.
    """
    frames: list[FrameType] = []
    step: FrameType | None = frame
    while step is not None:
        frames.append(step)
        step = step.f_back
    name: str | None = None
    # From the innermost out, as far as the event loop, which is what all that it runs was called by.
    for each in frames:
        file = each.f_code.co_filename
        if file.startswith(_ASYNCIO):
            break
        if not file.startswith(_OURS):
            name = f"{each.f_globals.get('__name__', '?')}.{each.f_code.co_qualname}"
    else:
        return None
    return name


class LoopWatch:
    """One event loop, for as long as gateways are open in it."""

    # Weak on both sides, as a loop's `Delivery` is; its timer in the loop holds it.
    _of_loop: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, ref["LoopWatch"]]] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Made by `current`."""
        self.watch: Final = _core.Watch()
        self._loop: Final = ref(loop)
        self._thread = threading.get_ident()
        self._gateways = 0
        self._reports: Final[set[Callable[[], None]]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._warn_at = _WARN_AFTER
        self._blocked_by: str | None = None
        self._looked_at = time.monotonic()

    @classmethod
    def current(cls) -> "LoopWatch":
        """The watch of the running loop."""
        loop = asyncio.get_running_loop()
        known = cls._of_loop.get(loop)
        watch = None if known is None else known()
        if watch is None:
            watch = cls(loop)
            cls._of_loop[loop] = ref(watch)
        return watch

    def enter(self, report: Callable[[], None]) -> None:
        """A gateway is open in this loop; ``report`` tells the engine what it has counted, once a second."""
        self._gateways += 1
        self._reports.add(report)
        if self._timer is None:
            self._turned(asyncio.get_running_loop(), 0.0)
            _watcher.add(self)

    def leave(self, report: Callable[[], None]) -> None:
        """It is closed, or has gone to another loop. With the last one this ends."""
        self._gateways -= 1
        self._reports.discard(report)
        report()
        if self._gateways == 0 and self._timer is not None:
            loop = self._loop()
            if loop is not None and not loop.is_closed():
                self._timer.cancel()
            self._timer = None
            _watcher.remove(self)

    def _turned(self, loop: asyncio.AbstractEventLoop, lag: float) -> None:
        self._thread = threading.get_ident()
        self.watch.beat(lag)
        self._warn_at = _WARN_AFTER
        self._blocked_by = None
        self._due = loop.time() + _INTERVAL
        self._timer = loop.call_later(_INTERVAL, self._turn)

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        lag = max(0.0, loop.time() - self._due)
        try:
            if self._warn_at > _WARN_AFTER:
                _log.warning("the event loop takes turns again, after %.0f s", lag + _INTERVAL)
            elif lag + _INTERVAL >= _WARN_AFTER:
                # The thread has not come to it: it looks once in a second, or could not.
                what = self.watch.running_name or self._blocked_by or "something"
                held = time.monotonic() - self._looked_at > 2 * _INTERVAL + _PATIENCE
                _log.warning(
                    "the event loop has taken no turn for %.0f s: %s blocked it%s",
                    lag + _INTERVAL,
                    what,
                    ", and kept the GIL, so that no other thread of Python ran either" if held else "",
                )
            for report in self._reports:
                report()
        finally:
            # Whatever the log's own handlers raise: the loop lives.
            self._turned(loop, lag)

    def look(self) -> None:
        """See whether the loop takes turns, from another thread; say so in the log where it does not."""
        self._looked_at = time.monotonic()
        blocked = self.watch.blocked_seconds
        loop = self._loop()
        if loop is None or loop.is_closed():
            # It died with an open gateway, which whoever opened it may hold for ever.
            _watcher.remove(self)
            return
        if not blocked or not loop.is_running():
            return
        frame = sys._current_frames().get(self._thread)  # pyright: ignore[reportPrivateUsage]
        if self.watch.running_name is None and self._blocked_by is None and frame is not None:
            self._blocked_by = _culprit(frame)
            if self._blocked_by is not None:
                # For who asks the engine meanwhile.
                self.watch.held_by(self._blocked_by)
        if blocked < self._warn_at:
            return
        while self._warn_at <= blocked:
            self._warn_at *= 2
        stack = "" if frame is None else "".join(traceback.format_stack(frame))
        _log.warning(
            "the event loop has taken no turn for %.0f s, and no event is handled: %s blocks it. Call what blocks by "
            "asyncio.to_thread(), or give the loop its turn by `await`. It is here:\n%s",
            blocked,
            self.watch.running_name or "something",
            stack,
        )


class _Watcher:
    """The thread that looks after all loops of the process; there while there is one."""

    def __init__(self) -> None:
        self._changed: Final = threading.Condition()
        self._watched: Final[WeakSet[LoopWatch]] = WeakSet()
        self._thread: threading.Thread | None = None

    def add(self, watch: LoopWatch) -> None:
        with self._changed:
            self._watched.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="propylon-watch", daemon=True)
                self._thread.start()

    def remove(self, watch: LoopWatch) -> None:
        with self._changed:
            self._watched.discard(watch)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._watched:
                    self._changed.wait(_INTERVAL)
                if not self._watched:
                    self._thread = None
                    return
                watched = list(self._watched)
            for watch in watched:
                try:
                    watch.look()
                # What a filter or handler of the user's log raises; nobody is here to take it.
                except Exception:
                    continue
            del watched


_watcher = _Watcher()


def _forked() -> None:
    """The child has neither the thread nor, for certain, a lock that is free."""
    global _watcher
    _watcher = _Watcher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
