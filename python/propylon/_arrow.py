"""Events as Arrow record batches: the one place that knows pyarrow, which comes with the extra ``arrow``.

Which columns there are, and what stands in them, is documented in docs/recording.md. pyarrow is imported by the first
call that needs it. It is `Any` here, since its type stubs are a package of their own.
"""

import contextlib
import importlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final, TypeAlias

import msgspec

from propylon._core import Dispatch
from propylon._playback import Line

__all__ = ["batch_of", "batches_of", "parquet_writer", "schema_of", "stream_of"]

_Raw: TypeAlias = bytes | Dispatch[Any]
"""The JSON text of ``d``, or what gives it as a buffer."""

_GUILDS: Final = frozenset({"GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"})
"""Whose ``id`` is a guild's."""
_CHANNELS: Final = ("CHANNEL_", "THREAD_", "VOICE_CHANNEL_")
"""How events begin whose ``id`` is a channel's."""
_MICROSECONDS: Final = 1_000_000
_REPEATED: Final = ["type", "guild_change", "guild_id", "channel_id", "user_id", "redacted.list.element"]
"""Columns of Parquet that gain by a dictionary. The text never does, and would fill one in vain first."""


class _Who(msgspec.Struct):
    id: int | None = None


class _Member(msgspec.Struct):
    user: _Who | None = None


class _Top(msgspec.Struct):
    """What is read of a payload."""

    id: int | None = None
    guild_id: int | None = None
    channel_id: int | None = None
    user_id: int | None = None
    author: _Who | None = None
    user: _Who | None = None
    member: _Member | None = None


# Not strict: ids are numbers in texts.
_TOP: Final = msgspec.json.Decoder(_Top, strict=False)
_ID: Final["msgspec.json.Decoder[int | None]"] = msgspec.json.Decoder(int | None, strict=False)
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MISFITS: Final = (msgspec.MsgspecError, ValueError, RecursionError)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError('Arrow and Parquet need pyarrow: pip install "propylon[arrow]"') from error


def schema_of(*, recorded: bool) -> Any:
    """The columns: of a recording's events, or of a `Dispatch`, which knows no ``shard_count`` and leaves nothing out.

    Raises ImportError without the extra ``arrow``.
    """
    pa = _import("pyarrow")
    text = pa.dictionary(pa.int32(), pa.string())
    fields: list[tuple[str, Any]] = [
        ("type", text),
        ("sequence", pa.int64()),
        ("shard_id", pa.int32()),
        ("shard_count", pa.int32()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("guild_change", text),
        ("guild_id", pa.uint64()),
        ("channel_id", pa.uint64()),
        ("user_id", pa.uint64()),
        ("redacted", pa.list_(pa.string())),
        # Bytes and not text: a payload need not be UTF-8. Large: their sum may be beyond 2 GiB.
        ("d", pa.large_binary()),
    ]
    return pa.schema(
        [
            pa.field(name, kind, nullable=name not in ("type", "d"))
            for name, kind in fields
            if recorded or name not in ("shard_count", "redacted")
        ]
    )


def batch_of(dispatches: Sequence[Dispatch[Any]]) -> Any:
    """A record batch of events as they were heard. Raises ImportError without the extra ``arrow``."""
    columns: dict[str, list[Any]] = {
        "type": [dispatch.type for dispatch in dispatches],
        "sequence": [_below(dispatch.sequence, 63) for dispatch in dispatches],
        "shard_id": [_below(dispatch.shard_id, 31) for dispatch in dispatches],
        "at": [dispatch.received_time for dispatch in dispatches],
        "guild_change": [dispatch.guild_change for dispatch in dispatches],
    }
    return _made(schema_of(recorded=False), columns, dispatches)


def batches_of(events: Iterable[Line], *, rows: int, size: int) -> Iterator[Any]:
    """Record batches of a recording's events, each of ``rows`` or until its payloads have reached ``size`` bytes.

    What `events` raises is raised when all before that has been given.
    """
    schema = schema_of(recorded=True)
    kept: list[Line] = []
    length = 0
    failure: Exception | None = None
    try:
        for event in events:
            kept.append(event)
            length += len(event[6])
            if len(kept) >= rows or length >= size:
                full, kept, length = kept, [], 0
                yield _recorded(schema, full)
    except Exception as error:
        failure = error
    if kept:
        yield _recorded(schema, kept)
    if failure is not None:
        raise failure


def stream_of(schema: Any, batches: Iterable[Any], requested_schema: object) -> object:
    """What ``__arrow_c_stream__`` gives: a capsule from which the batches are read one by one, when asked for."""
    pa = _import("pyarrow")
    return pa.RecordBatchReader.from_batches(schema, batches).__arrow_c_stream__(requested_schema)


def parquet_writer(file: object) -> Any:
    """A ``pyarrow.parquet.ParquetWriter`` for the batches of a recording. Raises ImportError without the extra."""
    schema = schema_of(recorded=True)
    compared = [name for name in schema.names if name not in ("redacted", "d")]
    return _import("pyarrow.parquet").ParquetWriter(
        file, schema, compression="zstd", use_dictionary=_REPEATED, write_statistics=compared
    )


def _recorded(schema: Any, events: list[Line]) -> Any:
    types, sequences, shards, times, changes, redacted, raws = zip(*events, strict=True)
    columns: dict[str, Sequence[Any]] = {
        "type": types,
        "sequence": [_below(sequence, 63) for sequence in sequences],
        "shard_id": [_below(shard_id, 31) for shard_id, _ in shards],
        "shard_count": [_below(count, 31) for _, count in shards],
        "at": [_microseconds(at) for at in times],
        "guild_change": changes,
        "redacted": redacted,
    }
    return _made(schema, columns, raws)


def _made(schema: Any, columns: dict[str, Any], raws: Sequence[_Raw]) -> Any:
    pa = _import("pyarrow")
    named = [_named(kind, raw) for kind, raw in zip(columns["type"], raws, strict=True)]
    columns["guild_id"], columns["channel_id"], columns["user_id"] = zip(*named, strict=True) if named else ((), (), ())
    # In one piece each, since a value at a time would be a copy more.
    ends = array("q", accumulate(map(len, raws), initial=0))
    texts = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(raws))]
    arrays = [
        pa.Array.from_buffers(field.type, len(raws), texts)
        if field.name == "d"
        else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _below(value: int | None, bits: int) -> int | None:
    """The value, where so many bits hold it; lines that somebody else wrote may say anything."""
    return value if value is not None and 0 <= value < 1 << bits else None


def _microseconds(seconds: float) -> int | None:
    # Compared before it is rounded, which infinity cannot be.
    time = seconds * _MICROSECONDS
    return round(time) if abs(time) < 1 << 63 else None


def _named(kind: str, raw: _Raw) -> tuple[int | None, int | None, int | None]:
    """The ids of guild, channel and user that a payload names at its top; of an odd one what fits."""
    try:
        top = _TOP.decode(raw)
    except _MISFITS:
        top = _top_of(raw)
    guild, channel, user = top.guild_id, top.channel_id, top.user_id
    if guild is None and kind in _GUILDS:
        guild = top.id
    if channel is None and kind.startswith(_CHANNELS):
        channel = top.id
    if user is None:
        if kind == "USER_UPDATE":
            user = top.id
        elif top.author is not None and top.author.id is not None:
            user = top.author.id
        elif top.user is not None and top.user.id is not None:
            user = top.user.id
        elif top.member is not None and top.member.user is not None:
            user = top.member.user.id
    return _below(guild, 64), _below(channel, 64), _below(user, 64)


def _top_of(raw: _Raw) -> _Top:
    """Field by field, for a payload of which one does not fit, or which is no object."""
    fields: dict[str, msgspec.Raw] = {}
    with contextlib.suppress(*_MISFITS):
        fields = _OBJECT.decode(raw)

    def at(key: str, *rest: str) -> int | None:
        try:
            value = fields[key]
            for name in rest:
                value = _OBJECT.decode(value)[name]
            return _ID.decode(value)
        except (KeyError, *_MISFITS):
            return None

    return _Top(
        id=at("id"),
        guild_id=at("guild_id"),
        channel_id=at("channel_id"),
        user_id=at("user_id"),
        author=_Who(at("author", "id")),
        user=_Who(at("user", "id")),
        member=_Member(_Who(at("member", "user", "id"))),
    )
