"""What the log hears of listeners and handlers that fail: the first traceback, then a count once a minute.

A listener that fails fails for every event, thousands of times in a second. Counting all of them is the consumer's.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, TypeAlias

from propylon._base import one_line

__all__ = ["FailureLog"]

_log: Final = logging.getLogger("propylon")

_PAUSE: Final = 60.0
"""Seconds between two lines of one failure."""
_MAX_TEXT: Final = 200
"""Characters of the last error in a line with a count."""

_Key: TypeAlias = tuple[str, type[BaseException], str, int]
"""Who failed, with what, and the line that raised it: another error of the same listener is another failure."""


@dataclass(slots=True)
class _Failing:
    told: float = field(default_factory=monotonic)
    """When the last line was written."""
    count: int = 0
    """Failures since."""
    last: str = ""
    timer: asyncio.TimerHandle | None = None


class FailureLog:
    """Writes failures to the log of one face; call it in the running loop."""

    def __init__(self) -> None:
        """Nothing fails yet."""
        self._failing: Final[dict[_Key, _Failing]] = {}

    def tell(self, who: str, error: Exception, event: str = "") -> None:
        """``who`` failed, at an event: with the traceback where it did not fail like this in the minute before.

        The event is no part of what is the same: a server may make up any number of names.
        """
        key = (who, type(error), *_raised_at(error))
        failing = self._failing.get(key)
        if failing is None:
            extra = {"event": event} if event else None
            _log.error("%s%s failed", who, event and f" of {event}", exc_info=error, extra=extra)
            self._failing[key] = failing = _Failing()
            self._wait(key, failing)
            return
        failing.count += 1
        failing.last = one_line(f"{type(error).__name__}: {error}")[:_MAX_TEXT]
        # Its timer may have been of a loop that has ended.
        if monotonic() - failing.told > 2 * _PAUSE:
            self._look(key)

    def flush(self) -> None:
        """The gateway has ended: tell what has been counted, and forget it."""
        for key, failing in self._failing.items():
            if failing.timer is not None:
                failing.timer.cancel()
            self._tell_count(key[0], failing)
        self._failing.clear()

    def _wait(self, key: _Key, failing: _Failing) -> None:
        failing.timer = asyncio.get_running_loop().call_later(_PAUSE, self._look, key)

    def _look(self, key: _Key) -> None:
        failing = self._failing.get(key)
        if failing is None:
            return
        if not failing.count:
            # A minute without: the next one is news again, and nothing is kept of what is over.
            del self._failing[key]
            return
        self._tell_count(key[0], failing)
        self._wait(key, failing)

    @staticmethod
    def _tell_count(who: str, failing: _Failing) -> None:
        if failing.count:
            since = monotonic() - failing.told
            _log.error("%s failed like this %d more times in %.0f s: %s", who, failing.count, since, failing.last)
        failing.told, failing.count = monotonic(), 0


def _raised_at(error: Exception) -> tuple[str, int]:
    place = error.__traceback__
    if place is None:
        return "", 0
    while place.tb_next is not None:
        place = place.tb_next
    return place.tb_frame.f_code.co_filename, place.tb_lineno
