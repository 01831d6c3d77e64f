"""What the workers of ``propylon demo --cluster`` write down, and what their records come to.

Each writes a line when a listener is called, and one when it is done, in one write each: what is in the file has
happened, however the process ended. The clock is the machine's: lines of several workers can be put in order.
"""

import heapq
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["ClusterTally", "Note", "Progress", "Recorder", "read_notes", "tally"]


class Note(NamedTuple):
    """A line of a record."""

    at: float
    """Seconds of `time.monotonic`."""
    done: bool
    """Whether the listener has finished; otherwise it was called."""
    nonce: str
    """``"4:17"``: the 17th event of guild 4."""


class Recorder:
    """Writes a record."""

    def __init__(self, path: Path) -> None:
        """Append to this file."""
        self._file: Final = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, what: str, nonce: str) -> None:
        """One line: ``"called"`` or ``"done"``."""
        os.write(self._file, f"{time.monotonic():.6f} {what} {nonce}\n".encode())


def _note(line: bytes) -> Note:
    at, what, nonce = line.split()
    return Note(float(at), what == b"done", nonce.decode())


def read_notes(path: Path) -> Iterator[Note]:
    """The lines of a record; one that the end of the process cut off is none."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield _note(line)


class Progress:
    """How far the workers are; each line is read once."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._offsets: Final[dict[Path, int]] = {}
        self._done: Final[set[str]] = set()
        self.by_worker: Final[Counter[str]] = Counter()
        """Events that are done, by the name of the worker's file."""

    def look(self, paths: Iterable[Path]) -> None:
        """Read what is new."""
        for path in paths:
            if not path.exists():
                continue
            begin = self._offsets.get(path, 0)
            with path.open("rb") as file:
                file.seek(begin)
                data = file.read()
            end = data.rfind(b"\n") + 1
            self._offsets[path] = begin + end
            for line in data[:end].splitlines():
                note = _note(line)
                if note.done:
                    self._done.add(note.nonce)
                    self.by_worker[path.stem] += 1

    @property
    def done(self) -> int:
        """Different events that listeners are done with."""
        return len(self._done)


@dataclass(frozen=True, slots=True)
class ClusterTally:
    """What the records of all workers come to."""

    made: int
    done: int
    """Different events."""
    lost: int
    late: int
    """Events that were first handed out after a later one of their guild."""
    again: int
    """Calls for an event that had been handed out before: what was under way where a worker was killed."""


def tally(records: Sequence[Iterable[Note]], made: Sequence[int]) -> ClusterTally:
    """Hold the records against how many events were made for each guild, by its number."""
    highest: Counter[int] = Counter()
    missing: defaultdict[int, set[int]] = defaultdict(set)
    done: defaultdict[int, set[int]] = defaultdict(set)
    late = again = 0
    for note in heapq.merge(*records):
        guild, number = map(int, note.nonce.split(":"))
        if note.done:
            done[guild].add(number)
        elif number > highest[guild]:
            missing[guild].update(range(highest[guild] + 1, number))
            highest[guild] = number
        elif number in missing[guild]:
            missing[guild].discard(number)
            late += 1
        else:
            again += 1
    finished = sum(len(done[guild] & set(range(1, count + 1))) for guild, count in enumerate(made))
    return ClusterTally(made=sum(made), done=finished, lost=sum(made) - finished, late=late, again=again)
