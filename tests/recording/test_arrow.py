"""Recordings and batches as Arrow tables: the columns, odd payloads, errors in the middle, bounded memory."""

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propylon import Batch, Dispatch, _arrow
from propylon.recording import Recording, TornRecordingWarning

pa: Any = pytest.importorskip("pyarrow", reason="needs pyarrow")

LINE = b'{"t":"MESSAGE_CREATE","s":%d,"shard":[1,4],"at":1764347000.123456,"d":{"id":"%d"}}\n'
AT = datetime(2025, 11, 28, 16, 23, 20, 123456, tzinfo=UTC)


def written(folder: Path, text: bytes, name: str = "day.jsonl") -> Path:
    path = folder / name
    path.write_bytes(text)
    return path


def table_of(source: Path | Batch) -> Any:
    stream = Recording(source) if isinstance(source, Path) else source
    return pa.RecordBatchReader.from_stream(stream).read_all()


def ids_of(kind: str, payload: object) -> tuple[int | None, int | None, int | None]:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return _arrow._named(kind, raw)


def test_the_columns_of_a_recording(tmp_path: Path) -> None:
    lines = [
        LINE % (7, 9),
        b'{"t":"GUILD_CREATE","s":8,"shard":[0,1],"at":1764347000,"guild_change":"joined","d":{"id":"41"}}\n',
        b'{"t":"READY","s":null,"shard":[0,1],"at":1764347000.5,"redacted":["session_id","a.b"],"d":{ "v" : 10 }}\n',
        b'{"t":"ODD","s":9,"shard":[0,1],"at":1764347000.5,"d64":"/w=="}\n',
    ]
    table = table_of(written(tmp_path, b"".join(lines)))
    text = pa.dictionary(pa.int32(), pa.string())
    assert table.schema == pa.schema(
        [
            pa.field("type", text, nullable=False),
            ("sequence", pa.int64()),
            ("shard_id", pa.int32()),
            ("shard_count", pa.int32()),
            ("at", pa.timestamp("us", "UTC")),
            ("guild_change", text),
            ("guild_id", pa.uint64()),
            ("channel_id", pa.uint64()),
            ("user_id", pa.uint64()),
            ("redacted", pa.list_(pa.string())),
            pa.field("d", pa.large_binary(), nullable=False),
        ]
    )
    table.validate(full=True)
    rows = table.to_pylist()
    assert rows[0] == {
        "type": "MESSAGE_CREATE",
        "sequence": 7,
        "shard_id": 1,
        "shard_count": 4,
        "at": AT,
        "guild_change": None,
        "guild_id": None,
        "channel_id": None,
        "user_id": None,
        "redacted": [],
        "d": b'{"id":"9"}',
    }
    assert [row["guild_change"] for row in rows] == [None, "joined", None, None]
    assert [row["guild_id"] for row in rows] == [None, 41, None, None]
    assert [row["redacted"] for row in rows] == [[], [], ["session_id", "a.b"], []]
    assert [row["sequence"] for row in rows] == [7, 8, None, 9]
    assert [row["d"] for row in rows[2:]] == [b'{ "v" : 10 }', b"\xff"]


def test_the_columns_of_a_batch() -> None:
    batch = Batch(
        [
            Dispatch("GUILD_DELETE", b'{"id":"41"}', shard_id=3, sequence=5, guild_change="removed", received_time=AT),
            Dispatch("MESSAGE_CREATE", b"\xff", received_time=AT),
        ]
    )
    made = table_of(batch)
    whole = [name for name in _arrow.schema_of(recorded=True).names if name not in ("shard_count", "redacted")]
    assert made.schema.names == whole
    made.validate(full=True)
    first, second = made.to_pylist()
    assert first == {
        "type": "GUILD_DELETE",
        "sequence": 5,
        "shard_id": 3,
        "at": AT,
        "guild_change": "removed",
        "guild_id": 41,
        "channel_id": None,
        "user_id": None,
        "d": b'{"id":"41"}',
    }
    assert (second["sequence"], second["d"]) == (None, b"\xff")
    assert table_of(Batch()).num_rows == 0


def test_another_schema_can_be_asked_for() -> None:
    batch = Batch([Dispatch("MESSAGE_CREATE", b"{}", sequence=5, received_time=AT)])
    asked = pa.schema(
        [field.with_type(pa.string()) if field.name == "type" else field for field in _arrow.schema_of(recorded=False)]
    )
    table = pa.RecordBatchReader.from_stream(batch, schema=asked).read_all()
    assert table.schema.field("type").type == pa.string()
    assert table.column("type").to_pylist() == ["MESSAGE_CREATE"]


ID = 2**63 + 5


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("MESSAGE_CREATE", {"id": "1", "guild_id": "2", "channel_id": "3", "author": {"id": "4"}}, (2, 3, 4)),
        ("MESSAGE_CREATE", {"guild_id": 2, "channel_id": ID, "author": {"id": 4}}, (2, ID, 4)),
        ("GUILD_CREATE", {"id": "2", "owner_id": "9"}, (2, None, None)),
        ("GUILD_UPDATE", {"id": "2"}, (2, None, None)),
        ("GUILD_DELETE", {"id": "2", "unavailable": True}, (2, None, None)),
        ("GUILD_ROLE_CREATE", {"id": "1", "guild_id": "2"}, (2, None, None)),
        ("CHANNEL_CREATE", {"id": "3", "guild_id": "2"}, (2, 3, None)),
        ("CHANNEL_PINS_UPDATE", {"channel_id": "3"}, (None, 3, None)),
        ("THREAD_MEMBER_UPDATE", {"id": "3", "user_id": "4", "guild_id": "2"}, (2, 3, 4)),
        ("VOICE_CHANNEL_STATUS_UPDATE", {"id": "3", "guild_id": "2"}, (2, 3, None)),
        ("USER_UPDATE", {"id": "4"}, (None, None, 4)),
        ("PRESENCE_UPDATE", {"user": {"id": "4"}, "guild_id": "2"}, (2, None, 4)),
        ("INTERACTION_CREATE", {"member": {"user": {"id": "4"}}, "channel_id": "3"}, (None, 3, 4)),
        ("TYPING_START", {"user_id": "4", "member": {"user": {"id": "5"}}}, (None, None, 4)),
        # What is odd is null, and costs nothing else its value.
        ("MESSAGE_CREATE", {"guild_id": None, "channel_id": "3", "author": None}, (None, 3, None)),
        ("MESSAGE_CREATE", {"guild_id": "two", "channel_id": "3", "author": {"id": "4"}}, (None, 3, 4)),
        ("MESSAGE_CREATE", {"guild_id": {"id": "2"}, "author": "me", "user": {"id": "4"}}, (None, None, 4)),
        ("MESSAGE_CREATE", {"guild_id": "-2", "channel_id": str(2**64), "author": {"id": True}}, (None, None, None)),
        ("MESSAGE_CREATE", {"guild_id": 1e300, "channel_id": "3" * 500}, (None, None, None)),
        ("MESSAGE_CREATE", b'{"guild_id":"1","guild_id":"2"}', (2, None, None)),
        ("MESSAGE_CREATE", b'{"guild_id":"2","x":"\xff"}', (2, None, None)),
        ("MESSAGE_CREATE", b'{"guild_id":"2"', (None, None, None)),
        ("MESSAGE_CREATE", b"", (None, None, None)),
        ("MESSAGE_CREATE", b"null", (None, None, None)),
        ("RESUMED", b"[]", (None, None, None)),
        ("MESSAGE_CREATE", b"[" * 200_000, (None, None, None)),
    ],
)  # fmt: skip
def test_the_ids_that_a_payload_names(
    kind: str, payload: object, expected: tuple[int | None, int | None, int | None]
) -> None:
    assert ids_of(kind, payload) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
    | st.integers(-5, 2**65).map(str),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["id", "user", "author", "member", "guild_id", "channel_id", "user_id"]), inner),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(payload=JSON, kind=st.sampled_from(["MESSAGE_CREATE", "GUILD_CREATE", "CHANNEL_CREATE", "USER_UPDATE"]))
def test_any_payload_makes_a_row_and_both_ways_of_reading_agree(payload: object, kind: str) -> None:
    raw = json.dumps(payload).encode()
    made = table_of(Batch([Dispatch(kind, raw, received_time=AT)]))
    made.validate(full=True)
    assert made.column("d").to_pylist() == [raw]
    try:
        quick = _arrow._TOP.decode(raw)
    except msgspec.MsgspecError:
        return
    slow = _arrow._top_of(raw)
    for name in ("id", "guild_id", "channel_id", "user_id"):
        assert getattr(quick, name) == getattr(slow, name)


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=40))
def test_any_bytes_make_a_row(raw: bytes) -> None:
    made = table_of(Batch([Dispatch("MESSAGE_CREATE", raw, received_time=AT)]))
    assert made.column("d").to_pylist() == [raw]


@pytest.mark.parametrize(
    "line",
    [
        b'{"t":"X","s":18446744073709551615,"shard":[4294967295,4294967295],"at":1e300,"d":{}}\n',
        b'{"t":"X","s":1,"shard":[0,1],"at":-1e15,"d":{}}\n',
    ],
)
def test_what_somebody_else_wrote_into_a_line_is_null_where_it_does_not_fit(tmp_path: Path, line: bytes) -> None:
    (row,) = table_of(written(tmp_path, line)).to_pylist()
    assert row["at"] is None
    assert (row["shard_id"] is None) == (row["shard_count"] is None) == (row["sequence"] is None) == (b"4294" in line)


def test_batches_are_bounded_and_read_when_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propylon.recording._ROWS", 100)
    monkeypatch.setattr("propylon.recording._TEXT", 1_000)
    given: list[int] = []

    def counted(self: Recording) -> Iterator[_arrow.Line]:
        for facts in facts_of(self):
            given.append(1)
            yield facts

    facts_of = Recording._facts
    monkeypatch.setattr(Recording, "_facts", counted)
    small, large = b'{"id":"123456"}', b'{"a":"' + b"x" * 5_000 + b'"}'
    head = b'{"t":"X","s":1,"shard":[0,1],"at":1,"d":'
    lines = [head + raw + b"}\n" for raw in [small] * 150 + [large, small] + [b"{}"] * 250]
    reader = pa.RecordBatchReader.from_stream(Recording(written(tmp_path, b"".join(lines))))
    assert given == []
    assert reader.read_next_batch().num_rows == 67
    assert len(given) == 67
    assert [batch.num_rows for batch in reader] == [67, 17, 100, 100, 51]


def test_a_torn_end_is_told_as_in_iteration(tmp_path: Path) -> None:
    path = written(tmp_path, b"".join(LINE % (n, n) for n in range(5))[:-3])
    with pytest.warns(TornRecordingWarning, match="day.jsonl ends within a line") as caught:
        assert table_of(path).num_rows == 4
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert table_of(written(tmp_path, LINE % (1, 1))).num_rows == 1


def test_damage_is_an_error_when_what_stands_before_it_was_given(tmp_path: Path) -> None:
    path = written(tmp_path, b"".join(LINE % (n, n) for n in range(5)) + b"damage\n")
    reader = pa.RecordBatchReader.from_stream(Recording(path))
    assert reader.read_next_batch().column("sequence").to_pylist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="after line 5"):
        reader.read_next_batch()


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, LINE % (1, 1))
    recording = Recording(path)
    path.unlink()
    with pytest.raises(OSError, match=r"day\.jsonl|No such file"):
        pa.RecordBatchReader.from_stream(recording).read_all()


def test_an_empty_recording_has_the_columns(tmp_path: Path) -> None:
    table = table_of(written(tmp_path, b""))
    assert (table.num_rows, table.schema) == (0, _arrow.schema_of(recorded=True))


def test_without_the_extra_it_says_what_to_install_and_nothing_else_needs_it(tmp_path: Path) -> None:
    written(tmp_path, LINE % (1, 1))
    code = """
import sys
from propylon import Batch, Dispatch
from propylon.recording import Recording

assert "pyarrow" not in sys.modules
sys.modules["pyarrow"] = None
recording, batch = Recording("day.jsonl"), Batch([Dispatch("RESUMED", b"{}")])
assert len(list(recording)) == len(batch) == 1
for one in (recording, batch):
    try:
        one.__arrow_c_stream__()
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stderr in ("", done.stderr if "debug build" in done.stderr else "")
    assert done.stdout.splitlines() == ['Arrow and Parquet need pyarrow: pip install "propylon[arrow]"'] * 2
