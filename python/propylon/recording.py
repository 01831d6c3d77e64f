"""Recordings of what a gateway heard: read them, and hand their events to listeners again, without any network.

They are made by `Gateway.record`, `ShardManager.record` and ``propylon record``. Of `propylon.testing`, `replay` hands
one to listeners on a virtual clock, and `Simulator` sends one to clients. The format: docs/recording.md.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, cast

import propylon._core as _core
from propylon._arguments import frame_of_user
from propylon._arrow import batches_of, schema_of, stream_of
from propylon._fleet.manager import ShardManager
from propylon._gateway.gateway import Gateway
from propylon._playback import Line, TornRecordingWarning, chunks, factor_of, paced, warn_of_torn
from propylon._recording.recorder import Recorder

__all__ = ["Recorded", "Recorder", "Recording", "TornRecordingWarning", "replay"]

_ROWS: Final = 16_384
"""Most events of a record batch."""
_TEXT: Final = 8 * 1024 * 1024
"""Bytes of payloads at which a record batch is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One event of a recording."""

    type: str
    """Name of the event, such as ``MESSAGE_CREATE``."""
    sequence: int | None
    """``s`` of the payload; None where the server sent none."""
    shard: tuple[int, int]
    """``(shard_id, shard_count)`` of the connection that it came on; ``(0, 1)`` without sharding."""
    at: float
    """When it was received: Unix time in seconds."""
    raw: bytes
    """The JSON text of ``d``, byte for byte as it came, less what `redacted` names."""
    guild_change: Literal["available", "joined", "unavailable", "removed"] | None = None
    """As of `Dispatch`."""
    redacted: tuple[str, ...] = ()
    """Dotted paths of secrets that were left out; ``("*",)``: the payload could not be looked through, and is null."""

    @property
    def dispatch(self) -> _core.Dispatch[Any]:
        """A `Dispatch` of it, made anew each time; its ``received_time`` is that of the recording.

        Raises OverflowError or ValueError where `at` is beyond the year 9999, or before the year 1.
        """
        return _core.Dispatch(
            self.type,
            self.raw,
            shard_id=self.shard[0],
            sequence=self.sequence,
            guild_change=self.guild_change,
            received_time=datetime.fromtimestamp(self.at, UTC),
        )


class Recording:
    """A recording on disk: iterate over it for its events, oldest first, any number of times.

    ::

        for event in Recording("day.jsonl.zst"):
            print(event.at, event.type, event.raw)

    Files that were set aside because they were full (``day.000001.jsonl.zst``) are read before the one that is named;
    one of those that is named itself is read alone. A file may be uncompressed too.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises OSError where there is no such file."""
        self._path: Final = Path(path)
        chunks(self._path)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def __fspath__(self) -> str:
        """The file, for whatever takes a path."""
        return os.fspath(self._path)

    def __repr__(self) -> str:
        """Where it is."""
        return f"Recording({str(self._path)!r})"

    def __iter__(self) -> Iterator[Recorded]:
        """Read it. Of a file that ends within a line, all whole lines are given.

        Raises:
            ValueError: What is there is no recording, or damaged; the text says where. What stands before that has been
                given.
            OSError: A file cannot be read.

        Warns:
            TornRecordingWarning: A file ends within a frame or a line, because its writer was killed.
        """
        for lines in chunks(self._path):
            for kind, sequence, shard, at, change, redacted, raw in lines:
                yield Recorded(
                    type=kind,
                    sequence=sequence,
                    shard=shard,
                    at=at,
                    raw=raw,
                    guild_change=cast("_core.GuildChange | None", change),
                    redacted=tuple(redacted),
                )

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Its events as a stream of Arrow record batches, for whatever speaks Arrow's PyCapsule interface.

        ::

            reader = pyarrow.RecordBatchReader.from_stream(Recording("day.jsonl.zst"))

        The columns: docs/recording.md. It is read while the stream is: a batch has 16,384 events at most, and is full
        when its payloads have reached 8 MiB. Errors and the warning are those of iteration, at the same place; who
        reads the stream gets the errors as its own: pyarrow as ``ArrowInvalid``, a ValueError, and OSError.

        Args:
            requested_schema: A capsule of the schema that is asked for, as the interface has it.

        Raises:
            ImportError: The extra ``arrow`` is not installed.
        """
        batches = batches_of(self._facts(), rows=_ROWS, size=_TEXT)
        return stream_of(schema_of(recorded=True), batches, requested_schema)

    def _facts(self) -> Iterator[Line]:
        def warn(path: Path) -> None:
            # Who reads the stream is C, or a library of Python's.
            _, level = frame_of_user()
            warn_of_torn(path, level + 1)

        for lines in chunks(self._path, warn):
            yield from lines


async def replay(
    bot: Gateway | ShardManager,
    recording: Recording | str | os.PathLike[str],
    *,
    speed: float | Literal["max"] = "max",
    drain: float = 10.0,
) -> int:
    """Hand the events of a recording to the listeners of a bot, in order, without any network; returns how many.

    ::

        counted = await replay(bot.gateway, "day.jsonl.zst")

    The bot must not be open. Its lifespan is around the replay, as around `Gateway.serve`. Events go the way of those
    of a connection: filters, ``concurrency=``, ``max_pending`` and `Gateway.metrics` work, and what a listener raises
    goes to `Gateway.on_error`. Commands raise `NotConnected`. `Dispatch.received_at` is the time of the replay; the
    session, its store and the status are left alone.

    Args:
        bot: The gateway or shard manager.
        recording: A `Recording`, or where it is.
        speed: 1: as long as it took, 10: in a tenth of that; ``"max"``: as fast as the listeners take it. A gap of more
            than a day counts as a day, and time never goes back.
        drain: Seconds that calls have to finish after the last event; then they are cancelled. Who waits for an event
            then gets `NotConnected`.

    Raises:
        RuntimeError: The bot is open.
        ValueError: ``speed`` or ``drain`` is impossible, or the file is no recording, or damaged; the events before
            that have been handed out.
        OSError: The file cannot be read.
    """
    factor, source = factor_of(speed), chunks(recording)
    life = bot._life  # pyright: ignore[reportPrivateUsage]
    return await life.replay(paced(source, factor), drain)
