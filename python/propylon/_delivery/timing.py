"""What the calls of listeners take of the loop's time: counted by the consumer, told to the engine once a second.

On the way of events a call costs an addition. Calls that take longer are told one by one, as they come, and those that
hold the loop are named in the log.
"""

import logging
from dataclasses import dataclass
from time import monotonic
from typing import Final

import propylon._core as _core
from propylon._listening.entry import Tally

__all__ = ["NOTABLE", "Timing"]

_log: Final = logging.getLogger("propylon")

NOTABLE: Final = 0.00025
"""Seconds from which on a call is told by itself; quicker ones count as equally long."""
_SLOW: Final = 0.1
"""Seconds from which on a call is one that holds the loop."""
_PAUSE: Final = 60.0
"""Seconds between two lines about one listener."""


@dataclass(slots=True)
class _Slow:
    told: float
    """When the last line was written."""
    count: int = 0
    """Calls since."""
    longest: float = 0.0


class Run:
    """Calls in a row of an entry that nobody else has part in."""

    __slots__ = ("begun", "calls", "tally", "then")

    def __init__(self, now: float) -> None:
        """Of nobody yet. Times are those of `time.perf_counter`."""
        self.tally: Tally | None = None
        self.calls: int = 0
        self.begun: float = now
        self.then: float = now
        """What comes from this time on is the next call's."""

    def skip(self, then: float, now: float) -> float:
        """What was done between the two is nobody's; the later one."""
        self.begun += now - then
        return now


class Timing:
    """The calls of one consumer's listeners."""

    def __init__(self) -> None:
        """Nobody was called yet."""
        self.watch: _core.Watch | None = None
        """That of the loop, while there is one."""
        self.called: Final[list[Tally]] = []
        """Those that have something to tell."""
        self._slow: Final[dict[str, _Slow]] = {}

    def number(self, tally: Tally) -> int:
        """That of a listener in the engine's table."""
        assert self.watch is not None
        if tally.watch is not self.watch:
            tally.watch = self.watch
            tally.number = self.watch.listener(tally.name)
        return tally.number

    def begin(self, run: Run, tally: Tally | None) -> None:
        """The calls in a row are over, and those of another begin; None: of several, or of nobody."""
        if run.calls and run.tally is not None:
            self.add(run.tally, run.calls, run.then - run.begun)
        run.tally = tally
        run.calls = 0
        run.begun = run.then
        watch = self.watch
        if watch is not None:
            # For who asks while it blocks. Which of several it is shows the stack.
            if tally is None:
                watch.done()
            else:
                watch.running(tally.number if tally.watch is watch else self.number(tally))

    def add(self, tally: Tally, calls: int, seconds: float) -> None:
        """So many calls took so many seconds in all."""
        if not (tally.calls or tally.errors):
            self.called.append(tally)
        tally.calls += calls
        tally.seconds += seconds

    def notable(self, run: Run, tally: Tally, seconds: float) -> None:
        """A call took so long that it is told by itself."""
        run.begun += seconds
        if self.watch is not None:
            self.watch.record(self.number(tally), seconds)
        if seconds >= _SLOW:
            self._tell_slow(tally.name, seconds)

    def failed(self, tally: Tally) -> None:
        """A call has raised something."""
        if not (tally.calls or tally.errors):
            self.called.append(tally)
        tally.errors += 1

    def tell(self) -> None:
        """Tell the engine of what was counted."""
        for tally in self.called:
            if self.watch is not None:
                self.watch.record(self.number(tally), tally.seconds, tally.calls, tally.errors)
            tally.calls = tally.errors = 0
            tally.seconds = 0.0
        self.called.clear()

    def _tell_slow(self, name: str, seconds: float) -> None:
        slow = self._slow.get(name)
        now = monotonic()
        if slow is None:
            _log.warning(
                "listener %s held the event loop for %.2f s: no other event is handled meanwhile; call what blocks by "
                "asyncio.to_thread()",
                name,
                seconds,
            )
            self._slow[name] = _Slow(now)
            return
        slow.count += 1
        slow.longest = max(slow.longest, seconds)
        if now - slow.told >= _PAUSE:
            _log.warning(
                "listener %s held the event loop %d more times in %.0f s, for up to %.2f s",
                name,
                slow.count,
                now - slow.told,
                slow.longest,
            )
            self._slow[name] = _Slow(now)
