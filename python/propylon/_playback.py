"""How a recording is played: its events as they are read, and when each of them is due.

To whom they go is for those who play them. It stands on the engine alone, so that `propylon.testing`, which knows no
gateway, plays by the same rules as `propylon.recording`.
"""

import asyncio
import contextlib
import math
import os
import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

import propylon._core as _core

__all__ = ["Line", "Pace", "TornRecordingWarning", "chunks", "factor_of", "paced", "warn_of_torn"]

_CHUNK: Final = 256
"""Events that are read in one go."""

_LONGEST_GAP: Final = 86_400.0
"""Seconds between two events that are kept; a longer gap counts as this. A recording that was appended to months later
has those months in it, and a clock that was wrong may have written anything."""

_DISORDER: Final = 10.0
"""Seconds by which events may be out of order, since the shards of a fleet write in turns. Where a time is further
back, a clock was set, or another run has begun: there the distances go on from that event."""

Line: TypeAlias = tuple[str, int | None, tuple[int, int], float, str | None, list[str], bytes]
"""``(type, sequence, shard, at, guild_change, redacted, raw)``, as the engine reads it."""


class TornRecordingWarning(UserWarning):
    """A file of a recording ends within a line, as after a kill. What stands before that was read."""


def warn_of_torn(path: Path, level: int = 4) -> None:
    """Warn whoever reads a recording, so many calls up."""
    warnings.warn(
        f"{path} ends within a line, as after a kill; all before that was read", TornRecordingWarning, stacklevel=level
    )


def factor_of(speed: float | Literal["max"]) -> float:
    """The speed as a factor: infinity for ``"max"``. Raises ValueError where it is none."""
    if speed == "max":
        return math.inf
    if not 0 < speed < math.inf:
        raise ValueError(f'speed must be above 0, or "max", not {speed!r:.100}')
    return speed


def chunks(path: str | os.PathLike[str], torn: Callable[[Path], object] = warn_of_torn) -> Iterator[list[Line]]:
    """Read a recording, some events at a time; `torn` is told each file that ends within a line.

    Raises OSError at once where there is no such file; while it is read, ValueError for what is no recording, or
    damaged, and OSError. What stands before has been given then.
    """
    with _named(path):
        return _chunks(_core.RecordingReader(Path(path)), path, torn)


def _chunks(
    reader: _core.RecordingReader, path: str | os.PathLike[str], torn: Callable[[Path], object]
) -> Iterator[list[Line]]:
    while True:
        with _named(path):
            lines = reader.read(_CHUNK)
        if not lines:
            break
        yield lines
    for file in reader.torn:
        torn(file)


@contextlib.contextmanager
def _named(path: str | os.PathLike[str]) -> Generator[None]:
    """The engine's error does not say which file it is about."""
    try:
        yield
    except OSError as error:
        raise type(error)(f"{os.fspath(path)}: {error}") from None


class Pace:
    """When the events of a recording are due. Time never goes back, and no gap is longer than a day."""

    def __init__(self, factor: float) -> None:
        """``factor``: so many times faster than it was recorded; infinity: all at once."""
        self._factor: Final = factor
        self._latest: float | None = None
        self._elapsed = 0.0

    def due(self, at: float) -> float:
        """Seconds after the first event at which the next one, which was received at ``at``, is due."""
        if self._latest is None or at < self._latest - _DISORDER:
            self._latest = at
        elif at > self._latest:
            self._elapsed += min(at - self._latest, _LONGEST_GAP)
            self._latest = at
        return self._elapsed / self._factor


async def paced(recording: Iterator[list[Line]], factor: float) -> "AsyncIterator[list[_core.Fed]]":
    """Give events when they are due, by the clock of the running loop, as many at a time as are."""
    loop, pace = asyncio.get_running_loop(), Pace(factor)
    began: float | None = None
    for lines in recording:
        due: list[_core.Fed] = []
        for kind, sequence, shard, at, change, _, raw in lines:
            if began is None:
                began = loop.time()
            wait = began + pace.due(at) - loop.time()
            if wait > 0:
                if due:
                    yield due
                    due = []
                await asyncio.sleep(wait)
            due.append((kind, raw, sequence, shard[0], cast("_core.GuildChange | None", change)))
        yield due
