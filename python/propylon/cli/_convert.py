"""``propylon convert``: a recording into a Parquet file, which is there when it is whole and not before."""

import asyncio
import contextlib
import os
import tempfile
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import propylon._core as _core
from propylon import Filter
from propylon._arrow import batches_of, parquet_writer, schema_of
from propylon._filters.expression import compiled, fitted
from propylon._listening.entry import ALL
from propylon._playback import Line
from propylon._signals import Stoppable
from propylon.cli._process import complain
from propylon.recording import Recording, TornRecordingWarning

__all__ = ["convert"]

_ROWS: Final = 131_072
"""Most rows of a row group, which is what readers of Parquet skip or take as a whole."""
_TEXT: Final = 32 * 1024 * 1024
"""Bytes of payloads at which a row group is full. They are in memory at once, some of them twice."""


async def convert(
    source: Path, target: Path, signals: Stoppable, *, events: Sequence[str], where: Filter | None, force: bool
) -> int:
    """Write it. 1 where it is not written.

    A torn end is told and no reason for that: what is missing there is nowhere.

    Raises:
        ValueError: ``where`` names a field that an event does not have, or the recording is none, or damaged.
        OSError: A file cannot be read or written.
    """
    # Nothing else runs in this loop: it may wait for the disk.
    return _convert(source, target, signals, events, where, force=force)


def _convert(
    source: Path, target: Path, signals: Stoppable, events: Sequence[str], where: Filter | None, *, force: bool
) -> int:
    if target.exists() and not force:
        complain(f"{target} is there already: give another name, or --force to replace it")
        return 1
    try:
        schema_of(recorded=True)
        filters = _filters(events, where)
    except (ImportError, TypeError) as error:
        complain(str(error))
        return 1
    recording = Recording(source)
    chosen = _chosen(recording._facts(), filters, signals)  # pyright: ignore[reportPrivateUsage]
    rows = 0
    with warnings.catch_warnings(record=True) as told, _whole(target) as part:
        warnings.simplefilter("always", TornRecordingWarning)
        with parquet_writer(str(part)) as writer:
            for batch in batches_of(chosen, rows=_ROWS, size=_TEXT):
                writer.write_batch(batch)
                rows += batch.num_rows
    for warning in told:
        complain(str(warning.message))
    print(f"{rows:,} rows, {target.stat().st_size:,} bytes in {target}")
    return 0


def _filters(events: Sequence[str], where: Filter | None) -> dict[str, _core.Filter | None]:
    """What a recording with the same options asks, by event. Raises TypeError and ValueError as that does."""
    return {event: None if where is None else compiled(fitted(where, event)) for event in events or [ALL]}


def _chosen(facts: Iterable[Line], filters: dict[str, _core.Filter | None], signals: Stoppable) -> Iterator[Line]:
    every = ALL in filters
    for event in facts:
        # It is no coroutine that could be cancelled.
        if signals.caught is not None:
            raise asyncio.CancelledError
        kind = ALL if every else event[0]
        if kind in filters:
            condition = filters[kind]
            if condition is None or condition.matches(event[6]):
                yield event


@contextlib.contextmanager
def _whole(target: Path) -> Generator[Path]:
    """A file beside it, readable by its owner only as a recording is, that takes its name when all went well."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    part = Path(name)
    try:
        try:
            yield part
            # Before the name: power that fails must not leave an empty file under it.
            os.fsync(handle)
        finally:
            # Windows renames no file that is open.
            os.close(handle)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
