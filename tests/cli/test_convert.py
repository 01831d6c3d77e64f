"""``propylon convert``: a recording into a Parquet file, whole or not at all."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from propylon import field
from propylon.recording import Recording
from propylon.testing import Simulator

from .processes import SECONDS, Finish, Start

pa: Any = pytest.importorskip("pyarrow", reason="needs pyarrow")
pq: Any = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")

LINE = b'{"t":"MESSAGE_CREATE","s":%d,"shard":[1,4],"at":1764347000.25,"d":{"id":"%d"}}\n'


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a gateway heard of the simulator's mix."""
    path = tmp_path_factory.mktemp("recorded") / "day.jsonl.zst"
    with Simulator(guilds=1, rate=2_000, identify_interval=0) as simulator:
        command = ["record", str(path), "--gateway-url", simulator.url, "--intents", "all", "--seconds", "3"]
        subprocess.run([sys.executable, "-m", "propylon", *command], check=True, capture_output=True, timeout=SECONDS)
    return path


def written(folder: Path, text: bytes) -> Path:
    path = folder / "day.jsonl"
    path.write_bytes(text)
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_events_are_in_the_file(finished: Finish, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "day.parquet"
    done = finished("convert", str(recording), str(out))
    assert (done.returncode, done.stderr) == (0, "")
    table = pq.read_table(out)
    expected = pa.RecordBatchReader.from_stream(Recording(recording)).read_all()
    assert table.schema == expected.schema
    # Not `equals`: the batches of the two have dictionaries of their own.
    assert table.to_pylist() == expected.to_pylist()
    assert table.column("d").to_pylist() == [event.raw for event in Recording(recording)]
    assert table.num_rows > 500
    assert done.stdout == f"{table.num_rows:,} rows, {out.stat().st_size:,} bytes in {out}\n"
    assert names_in(tmp_path) == ["day.parquet"]
    # As a recording: it holds what users wrote.
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    metadata = pq.ParquetFile(out).metadata.row_group(0)
    columns = {metadata.column(n).path_in_schema: metadata.column(n) for n in range(metadata.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert not columns["d"].is_stats_set
    assert columns["at"].is_stats_set


def test_events_and_conditions_are_those_of_record(finished: Finish, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "some.parquet"
    condition = field("author.id") > "1000"
    wanted = [
        event.raw
        for event in Recording(recording)
        if event.type == "MESSAGE_CREATE" and (condition & (field("channel_id") != 5)).matches(event.raw)
    ]
    assert 0 < len(wanted) < len(list(Recording(recording)))
    options = ["--where", "author.id > 1000", "--where", "channel_id != 5"]
    done = finished("convert", str(recording), str(out), "--events", "message_create", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert pq.read_table(out).column("d").to_pylist() == wanted
    # Of an event that has no such field no recording would be made.
    done = finished(
        "convert", str(recording), str(out), "--force", "--events", "MESSAGE_CREATE", "--where", "autor.id == 1"
    )
    assert done.returncode == 1
    assert "author" in done.stderr
    assert "Traceback" not in done.stderr
    assert pq.read_table(out).num_rows == len(wanted)


def test_a_condition_without_events_is_asked_of_all(finished: Finish, tmp_path: Path) -> None:
    lines = [
        LINE % (1, 7),
        b'{"t":"GUILD_CREATE","s":2,"shard":[0,1],"at":1,"d":{"id":7}}\n',
        b'{"t":"RESUMED","s":3,"shard":[0,1],"at":1,"d":null}\n',
    ]
    out = tmp_path / "x.parquet"
    done = finished("convert", str(written(tmp_path, b"".join(lines))), str(out), "--where", "id == 7")
    assert done.stdout.startswith("2 rows, ")
    assert pq.read_table(out).column("sequence").to_pylist() == [1, 2]


def test_no_events_are_a_file_with_the_columns(finished: Finish, tmp_path: Path) -> None:
    done = finished("convert", str(written(tmp_path, b"")), str(tmp_path / "x.parquet"))
    assert done.stdout.startswith("0 rows, ")
    assert "channel_id" in pq.read_table(tmp_path / "x.parquet").schema.names


def test_large_recordings_are_row_groups(finished: Finish, tmp_path: Path) -> None:
    line = b'{"t":"X","s":1,"shard":[0,1],"at":1,"d":"%s"}\n' % (b"x" * 1_000_000)
    out = tmp_path / "x.parquet"
    finished("convert", str(written(tmp_path, line * 40)), str(out))
    metadata = pq.ParquetFile(out).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [34, 6]


def test_what_is_there_is_replaced_only_when_asked_for(finished: Finish, tmp_path: Path) -> None:
    source, out = written(tmp_path, LINE % (1, 1)), tmp_path / "x.parquet"
    out.write_bytes(b"mine")
    done = finished("convert", str(source), str(out))
    assert (done.returncode, done.stdout) == (1, "")
    assert "is there already: give another name, or --force to replace it" in done.stderr
    assert out.read_bytes() == b"mine"
    assert finished("convert", str(source), str(out), "--force").returncode == 0
    assert pq.read_table(out).num_rows == 1
    assert names_in(tmp_path) == ["day.jsonl", "x.parquet"]


@pytest.mark.parametrize("name", ["x", "x.csv", "parquet"])
def test_another_format_is_refused(finished: Finish, tmp_path: Path, name: str) -> None:
    done = finished("convert", str(written(tmp_path, LINE % (1, 1))), str(tmp_path / name))
    assert done.returncode == 2
    assert "give it a name that ends in .parquet" in done.stderr
    assert names_in(tmp_path) == ["day.jsonl"]


@pytest.mark.parametrize("there", [False, True])
def test_a_damaged_recording_gives_no_file(finished: Finish, tmp_path: Path, there: bool) -> None:
    """What stands before the damage is not taken for the whole."""
    source = written(tmp_path, b"".join(LINE % (n, n) for n in range(5)) + b"damage\n")
    out = tmp_path / "x.parquet"
    if there:
        out.write_bytes(b"mine")
    done = finished("convert", str(source), str(out), "--force")
    assert (done.returncode, done.stdout) == (1, "")
    assert "after line 5" in done.stderr
    assert done.stderr.count("\n") == 1
    assert names_in(tmp_path) == (["day.jsonl", "x.parquet"] if there else ["day.jsonl"])
    assert not there or out.read_bytes() == b"mine"


def test_a_torn_end_is_told_and_all_before_is_there(finished: Finish, tmp_path: Path) -> None:
    source = written(tmp_path, b"".join(LINE % (n, n) for n in range(5))[:-3])
    done = finished("convert", str(source), str(tmp_path / "x.parquet"))
    assert done.returncode == 0
    assert done.stderr == f"propylon: {source} ends within a line, as after a kill; all before that was read\n"
    assert done.stdout.startswith("4 rows, ")


def test_what_is_no_recording_or_not_there_is_one_line(finished: Finish, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("plain text")
    for source, out, why in (
        ("x", "x.parquet", "x is no recording, or damaged"),
        ("y", "x.parquet", "FileNotFoundError"),
        ("x", "none/x.parquet", "FileNotFoundError"),
    ):
        done = finished("convert", source, out, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert why in done.stderr
        assert done.stderr.count("\n") == 1
    assert names_in(tmp_path) == ["x"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_one_that_is_broken_off_gives_no_file(propylon: Start, tmp_path: Path, number: signal.Signals) -> None:
    source = written(tmp_path, b"".join(LINE % (n, n) for n in range(300_000)))
    process = propylon("convert", str(source), str(tmp_path / "x.parquet"))
    end = time.monotonic() + SECONDS
    while names_in(tmp_path) == ["day.jsonl"]:
        assert process.poll() is None
        assert time.monotonic() < end
        os.sched_yield()
    process.send_signal(number)
    output, errors = process.communicate(timeout=SECONDS)
    killed = number == signal.SIGKILL
    assert (process.returncode, output, errors) == (-number if killed else 128 + number, "", "")
    assert "x.parquet" not in names_in(tmp_path)
    # Nobody can tidy up behind a kill; the name says what it is.
    assert [name for name in names_in(tmp_path) if name != "day.jsonl" and not name.endswith(".part")] == []
    assert killed or names_in(tmp_path) == ["day.jsonl"]


def test_without_the_extra_it_says_what_to_install(start: Start, tmp_path: Path) -> None:
    source = written(tmp_path, LINE % (1, 1))
    command = ["propylon", "convert", str(source), str(tmp_path / "x.parquet")]
    code = f"import sys; sys.modules['pyarrow'] = None; sys.argv = {command!r}; from propylon.cli import main; main()"
    process = start("-c", code)
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (1, "")
    assert errors == 'propylon: Arrow and Parquet need pyarrow: pip install "propylon[arrow]"\n'
    assert names_in(tmp_path) == ["day.jsonl"]
