"""A recording for each session of a simulator, from its READY on: what ``Simulator(recording=...)`` does.

It is a thread of Python's, ``propylon-play``: a simulator may be used without any event loop, and the server's own
threads do not know of recordings. One for all sessions; each reads the file for itself, since each has begun at another
time. A session is ahead of what its client has taken by some 16,000 events at most: what waits is in memory.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

import propylon._core as _core
from propylon._playback import Line, Pace, chunks

__all__ = ["OF_THE_SESSION", "Player", "check"]

_log: Final = logging.getLogger("propylon.recording")

OF_THE_SESSION: Final = frozenset({"READY", "RESUMED"})
"""Events of a recording that are not sent: each session has its own."""

_SLICE: Final = 0.05
"""Seconds of one wait, so that the end of the simulator is heard of."""
_LOOK: Final = 1.0
"""Seconds between two looks at which sessions have ended."""
_TURN: Final = 256
"""Events that one session is sent before the others have their turn."""
_AHEAD: Final = 16_384
"""Events that a client may be behind; then its session is not sent any further for a while."""


def check(path: str | os.PathLike[str]) -> None:
    """Look whether it is there and begins as a recording does. Raises OSError or ValueError."""
    next(chunks(path), None)


_Due: TypeAlias = tuple[float, str | None, bytes]
"""When (seconds of `time.monotonic`), event and payload. Without an event: the others have their turn."""


class _Session:
    """One session's way through the recording."""

    def __init__(self, identity: str, events: Iterator[_Due]) -> None:
        self.id: Final = identity
        self._events: Final = events
        self._next: _Due | None = None
        self.due = 0.0
        """When it has its next turn: seconds of `time.monotonic`."""
        self.ahead = 0
        """Of its client, when last looked at, and what was sent since."""

    def send(self, core: _core.Simulator) -> bool:
        """Send what is due. False: it has had everything, or has ended."""
        now = time.monotonic()
        for _ in range(_TURN):
            event = self._next or next(self._events, None)
            if event is None:
                return False
            self._next = event
            self.due, kind, raw = event
            if self.due > now:
                return True
            self._next = None
            if kind is None:
                return True
            if not core.dispatch(kind, raw, self.id):
                return False
            self.ahead += 1
        return True


class Player:
    """Plays a recording to all sessions that come, until it is stopped."""

    def __init__(self, core: _core.Simulator, path: str | os.PathLike[str], factor: float) -> None:
        """Begin; see `check`."""
        self._core: Final = core
        self._path: Final = path
        self._factor: Final = factor
        self._known: Final[set[str]] = set()
        self._came = 0
        self._playing: Final[dict[str, _Session]] = {}
        self._totals: Final[dict[int, bool]] = {}
        """Of a number of shards: whether any event of the recording has it."""
        self._looked_at = 0.0
        # No lock and no event: a fork may come at any moment, and a child has to be able to close what it has.
        self._is_stopping = False
        self.error: Exception | None = None
        """What the recording ended with, where it is damaged."""
        self._thread: Final = threading.Thread(target=self._run, name="propylon-play", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more, and wait for the thread. Nothing the second time, nor in a forked child."""
        self._is_stopping = True
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def is_over(self, count: int) -> bool:
        """Whether so many sessions have come, and each has had everything or has ended."""
        # In this order: who is playing is noted before it counts as come.
        came = self._came
        return came >= count and not self._playing and not self._more(came, 0.0)

    def _more(self, came: int, timeout: float) -> bool:
        """Whether more sessions have come than so many, within seconds."""
        return self._core.wait(orjson.dumps({"until": "ready", "count": came + 1}).decode(), timeout)

    def _run(self) -> None:
        while not self._is_stopping:
            due = min((session.due for session in self._playing.values()), default=math.inf)
            if self._more(self._came, min(max(0.0, due - time.monotonic()), _SLICE)):
                self._welcome()
            self._turn(time.monotonic())

    def _sessions(self) -> list[dict[str, Any]]:
        sessions: list[dict[str, Any]] = orjson.loads(self._core.record(False))["sessions"]
        return sessions

    def _welcome(self) -> None:
        sessions = self._sessions()
        for session in sessions:
            identity: str = session["id"]
            if identity not in self._known and not session["dead"]:
                shard: tuple[int, int] = (session["shard"][0], session["shard"][1])
                self._playing[identity] = _Session(identity, self._events(shard))
            self._known.add(identity)
        self._came = len(sessions)

    def _turn(self, now: float) -> None:
        due = [session for session in self._playing.values() if session.due <= now]
        behind = any(session.ahead >= _AHEAD for session in due)
        if behind or (self._playing and now >= self._looked_at + _LOOK):
            self._look(now)
        for session in due:
            if session.id not in self._playing:
                continue
            if session.ahead >= _AHEAD:
                session.due = now + _SLICE
                continue
            try:
                goes_on = session.send(self._core)
            except (OSError, ValueError) as error:
                self._failed(error)
                goes_on = False
            if not goes_on:
                del self._playing[session.id]

    def _look(self, now: float) -> None:
        """See which sessions have ended, and how far the others are ahead of their clients."""
        self._looked_at = now
        for each in self._sessions():
            session = self._playing.get(each["id"])
            if session is None:
                continue
            if each["dead"]:
                del self._playing[session.id]
            session.ahead = each["sequence"] - each["sent_sequence"]

    def _failed(self, error: Exception) -> None:
        # Each session comes to the same place.
        if str(error) != str(self.error):
            _log.warning("%s; what stands before has been sent", error)
        self.error = error

    def _told_torn(self, path: Path) -> None:
        _log.warning("%s ends within a line, as after a kill; all before that has been sent", path)

    def _events(self, shard: tuple[int, int]) -> Iterator[_Due]:
        """What a session is sent, with the others' turns in between: a recording is searched, and read, for long."""
        for _ in self._search(shard[1]):
            yield 0.0, None, b""
        is_own = self._totals[shard[1]]
        pace, began, due = Pace(self._factor), time.monotonic(), 0.0
        for lines in chunks(self._path, self._told_torn):
            for kind, _, came_on, at, _, _, raw in lines:
                if kind in OF_THE_SESSION:
                    continue
                due = began + pace.due(at)
                if came_on == shard or not is_own:
                    yield due, kind, raw
            yield due, None, b""

    def _search(self, total: int) -> Iterator[None]:
        """Note whether any event came on a shard of so many."""

        def has(lines: list[Line]) -> bool:
            return any(shard[1] == total for _, _, shard, _, _, _, _ in lines)

        if total in self._totals:
            return
        found = False
        try:
            for lines in chunks(self._path, lambda _: None):
                found = has(lines)
                if found or total in self._totals:
                    break
                yield
        except ValueError:
            # It is told when what stands before has been sent.
            pass
        self._totals.setdefault(total, found)
