"""`Recording`: what can be read of files that are whole, torn, damaged, or no recordings at all."""

import os
import warnings
from pathlib import Path

import pytest

from propylon import Dispatch
from propylon.events import MessageCreate
from propylon.recording import Recorded, Recording, TornRecordingWarning

LINE = b'{"t":"MESSAGE_CREATE","s":%d,"shard":[1,4],"at":1764347000.25,"d":{"id":"%d"}}\n'
LINES = b"".join(LINE % (number, number) for number in range(5))


def written(folder: Path, text: bytes, name: str = "day.jsonl") -> Path:
    path = folder / name
    path.write_bytes(text)
    return path


def test_lines_that_are_not_compressed_are_read_too(tmp_path: Path) -> None:
    path = written(tmp_path, LINES + b"\n  \n" + LINE % (9, 9))
    events = list(Recording(path))
    assert [event.sequence for event in events] == [0, 1, 2, 3, 4, 9]
    assert events[0] == Recorded(
        type="MESSAGE_CREATE", sequence=0, shard=(1, 4), at=1764347000.25, raw=b'{"id":"0"}', redacted=()
    )
    assert list(Recording(path)) == events, "as often as one likes"


def test_an_event_gives_a_dispatch(tmp_path: Path) -> None:
    (event,) = Recording(written(tmp_path, LINE % (7, 7)))
    dispatch: Dispatch[MessageCreate] = event.dispatch
    assert (dispatch.type, dispatch.sequence, dispatch.shard_id, dispatch.raw) == (
        *("MESSAGE_CREATE", 7, 1, b'{"id":"7"}'),
    )
    assert dispatch.received_time.timestamp() == 1764347000.25


def test_a_torn_end_is_read_up_to_the_last_whole_line_and_told(tmp_path: Path) -> None:
    for cut in range(2, len(LINE % (4, 4))):
        path = written(tmp_path, LINES[:-cut])
        with pytest.warns(TornRecordingWarning, match="day.jsonl ends within a line"):
            assert [event.sequence for event in Recording(path)] == [0, 1, 2, 3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(Recording(written(tmp_path, LINES)))) == 5
        # Other tools need not end the last line.
        assert len(list(Recording(written(tmp_path, LINES[:-1])))) == 5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"PK\x03\x04 and so on", "is no recording"),
        (b"[1,2,3]\n", "is no recording"),
        (LINES + b"{}\n", "after line 5: missing field"),
        (LINES + b'{"t":1,"s":1,"at":1,"d":{}}\n', "after line 5: invalid type"),
        (LINES + b"plain text\n", "after line 5"),
        (b"\x28\xb5\x2f\xfd" + os.urandom(0) + b"\xff" * 40, "is no recording"),
    ],
)
def test_what_is_no_recording_says_where_and_why(text: bytes, why: str, tmp_path: Path) -> None:
    got = []
    with pytest.raises(ValueError, match=why) as error:
        got.extend(event.sequence for event in Recording(written(tmp_path, text)))
    assert "day.jsonl" in str(error.value)


def test_what_stands_before_the_damage_is_given(tmp_path: Path) -> None:
    events = iter(Recording(written(tmp_path, LINES + b"damage\n" + LINES)))
    assert [next(events).sequence for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="after line 5"):
        next(events)


def test_an_empty_file_has_no_events(tmp_path: Path) -> None:
    assert list(Recording(written(tmp_path, b""))) == []


def test_a_file_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Recording(tmp_path / "none" / "x")
    with pytest.raises(FileNotFoundError):
        Recording(tmp_path / "x")
    with pytest.raises(IsADirectoryError):
        list(Recording(tmp_path))


def test_files_that_were_set_aside_come_first_and_in_order(tmp_path: Path) -> None:
    for number, name in enumerate(
        ["day.000002.jsonl.zst", "day.000010.jsonl.zst", "day.1000000.jsonl.zst", "day.jsonl.zst"]
    ):
        written(tmp_path, LINE % (number, number), name)
    for other in ("day.2.jsonl.zst", "days.000001.jsonl.zst", "day.000003.jsonl", "day.x00003.jsonl.zst"):
        written(tmp_path, b"not of it", other)
    path = tmp_path / "day.jsonl.zst"
    assert [event.sequence for event in Recording(path)] == [0, 1, 2, 3]
    path.unlink()
    assert [event.sequence for event in Recording(path)] == [0, 1, 2], "killed between two files"


def test_what_is_set_aside_while_it_is_read_is_read_in_its_turn(tmp_path: Path) -> None:
    for number, name in enumerate(["day.000001.jsonl.zst", "day.jsonl.zst"]):
        # More than is read in one go.
        written(tmp_path, b"".join(LINE % (number, each) for each in range(600)), name)
    path = tmp_path / "day.jsonl.zst"
    events = iter(Recording(path))
    first = [next(events)]
    path.rename(tmp_path / "day.000002.jsonl.zst")
    written(tmp_path, LINE % (2, 0), "day.jsonl.zst")
    found = [event.sequence for event in [*first, *events]]
    assert found == [0] * 600 + [1] * 600 + [2]


def test_a_meaning_that_nobody_knows_yet_is_none(tmp_path: Path) -> None:
    line = b'{"t":"GUILD_CREATE","s":1,"at":1,"guild_change":"sold","d":{"id":"1"}}\n'
    (event,) = Recording(written(tmp_path, line))
    assert event.guild_change is None
    assert event.dispatch.guild_change is None
