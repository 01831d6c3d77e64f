"""Which events of a reader are not finished with, by the shard that they are of: what holds its finished mark.

Owns the numbering of what a reader gets. What an event does to the mark is `propylon._sessions.keeping`'s.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from propylon._core import Dispatch, owner

__all__ = ["Unfinished"]


class Unfinished:
    """The events of one reader, numbered from 0 as they come; they are taken, and later finished with, in that order.

    Nothing is done for an event until somebody asks for its shard, and then once. So a fleet of a thousand shards, each
    of which asks once a second, does not look through a full buffer a thousand times.
    """

    def __init__(self, buffer: deque[Dispatch[Any]]) -> None:
        """``buffer`` has what was not taken yet."""
        self._buffer: Final = buffer
        self.taken = 0
        """Events that have left the buffer; counted by its reader."""
        self.finished = 0
        """Those that are over and done with; where that is when they are taken, counted by its reader too."""
        self._seen = 0
        """Events that have been looked at, or left the buffer without."""
        self._order: Final[deque[tuple[int, int | None]]] = deque()
        """Of each event that was looked at its number, and the key of its shard."""
        self._of: Final[dict[int | None, deque[tuple[int, int, float]]]] = {}
        """By shard: number, sequence and time of receipt of its events."""

    def look(self, count: int) -> None:
        """Look at the next so many events of the buffer, which are about to leave it unfinished."""
        self._look(self.taken + count)

    def finish(self, number: int) -> None:
        """Those below ``number`` are finished with."""
        self.finished = number
        self._forget()

    def clear(self) -> None:
        """The buffer has been emptied, and nobody asks for any of it again."""
        self.finished = self._seen = self.taken
        self._order.clear()
        self._of.clear()

    def first(self, key: int, since: float) -> int | None:
        """The sequence number of the first one of a shard that was received at ``since`` or later; None: none is there.

        What came earlier is of an earlier session, which no mark is about.
        """
        self._forget()
        while True:
            mine = self._of.setdefault(key, deque())
            while mine and mine[0][2] < since:
                mine.popleft()
            if mine:
                return mine[0][1]
            if not self._look(self.taken + len(self._buffer), until=key):
                return None

    def _look(self, end: int, *, until: int | None = None) -> bool:
        """Look at those below ``end`` that nobody has looked at; whether one of the shard ``until`` was the last."""
        begin = max(self._seen, self.taken)
        if begin >= end:
            return False
        for number, dispatch in enumerate(self._between(begin - self.taken, end - self.taken), begin):
            # No session repeats its READY, nor news of the fleet's, which have no number. Were READY to hold the mark
            # back, there would be nothing to go on from, and what comes behind it would be lost with it.
            if dispatch.sequence is None or dispatch.type == "READY":
                continue
            key = owner(dispatch)
            self._order.append((number, key))
            self._of.setdefault(key, deque()).append((number, dispatch.sequence, dispatch.received_at))
            if until is not None and key == until:
                self._seen = number + 1
                return True
        self._seen = max(end, begin)
        return False

    def _between(self, begin: int, end: int) -> Iterable[Dispatch[Any]]:
        """Those of the buffer from ``begin`` to ``end``, from the nearer side: what is skipped is walked too."""
        buffer = self._buffer
        if begin <= len(buffer) - end:
            return islice(buffer, begin, end)
        few = list(islice(reversed(buffer), len(buffer) - end, len(buffer) - begin))
        few.reverse()
        return few

    def _forget(self) -> None:
        order = self._order
        while order and order[0][0] < self.finished:
            number, key = order.popleft()
            mine = self._of[key]
            if mine and mine[0][0] == number:
                mine.popleft()
