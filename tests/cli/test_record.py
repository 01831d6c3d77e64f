"""``propylon record`` and ``propylon replay``: into a file and out of it, as processes."""

import asyncio
import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from face.support import eventually
from propylon import Gateway
from propylon.events import MessageCreate
from propylon.recording import Recording
from propylon.testing import Simulator
from recording.support import line, written

from .processes import SECONDS, Finish, Start


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(guilds=1, rate=1_000, identify_interval=0) as simulator:
        yield simulator


def test_it_records_what_is_asked_for_until_a_signal(propylon: Start, sim: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl.zst"
    command = ["record", str(path), "--gateway-url", sim.url, "--intents", "all"]
    process = propylon(*command, "--events", "typing_start,MESSAGE_CREATE", "--where", "channel_id != 5")
    sim.wait("dispatched", count=1_000)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    events = list(Recording(path))
    assert {event.type for event in events} == {"TYPING_START", "MESSAGE_CREATE"}
    assert f"{len(events):,} events recorded, 0 dropped" in told


def test_a_condition_that_is_none_says_how_one_looks(finished: Finish, tmp_path: Path) -> None:
    for wrong in ("author.id", "author.id ~ 7", "author.id == "):
        done = finished("record", str(tmp_path / "x"), "--gateway-url", "ws://127.0.0.1:9", "--where", wrong)
        assert done.returncode == 2
        assert "is no condition: write FIELD OPERATOR VALUE" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_line(finished: Finish, sim: Simulator, tmp_path: Path) -> None:
    done = finished("record", str(tmp_path / "none" / "x"), "--gateway-url", sim.url)
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr
    assert "Traceback" not in done.stderr


BOT = """
from propylon import Dispatch, Gateway
gateway = Gateway("token")

@gateway.listen
def listener(dispatch: Dispatch) -> None:
    print(dispatch.type, dispatch.sequence)
    if dispatch.sequence == WRONG:
        raise ValueError("not this one")
"""


@pytest.fixture
def recording(finished: Finish, sim: Simulator, tmp_path: Path) -> Path:
    path = tmp_path / "day.jsonl.zst"
    done = finished("record", str(path), "--gateway-url", sim.url, "--seconds", "3", "--secrets", "--intents", "all")
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("wrong", [0, 5])
def test_a_bot_hears_a_recording(finished: Finish, recording: Path, tmp_path: Path, wrong: int) -> None:
    (tmp_path / "bot.py").write_text(BOT.replace("WRONG", str(wrong)))
    done = finished("replay", str(recording), "--listen", "bot", "--speed", "max", cwd=tmp_path)
    *lines, told = done.stdout.splitlines()
    assert lines == [f"{event.type} {event.sequence}" for event in Recording(recording)]
    assert told.startswith(f"{len(lines):,} events handed out in ")
    assert told.endswith(f"; {int(wrong > 0)} listener calls failed")
    assert done.returncode == int(wrong > 0)


def test_a_client_gets_a_recording(propylon: Start, finished: Finish, recording: Path) -> None:
    server = propylon("replay", str(recording), "--speed", "max")
    assert server.stdout is not None
    url = server.stdout.readline().split()[1]
    expected = [(event.type, event.raw.decode()) for event in Recording(recording) if event.type != "READY"]
    done = finished("events", "--gateway-url", url, "--intents", "all", "--count", str(len(expected) + 1))
    lines = done.stdout.splitlines()[1:]
    got = [(json.loads(line)["type"], line.partition(',"data":')[2].removesuffix("}")) for line in lines]
    assert got == expected
    # The client has gone, and it was the only one.
    assert server.wait(SECONDS) == 0


def test_shards_that_come_late_get_theirs_too(propylon: Start, tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line(f"{number}", 0.0, (number % 2, 2)) for number in range(100)])
    server = propylon("replay", str(path), "--speed", "max")
    assert server.stdout is not None
    url = server.stdout.readline().split()[1]

    async def main() -> None:
        async with contextlib.AsyncExitStack() as open_ones:
            for shard in (1, 0):
                gateway, heard = Gateway(f"late-{shard}", gateway_url=url, shard=(shard, 2)), list[str]()

                @gateway.listen
                def listener(message: MessageCreate, heard: list[str] = heard) -> None:
                    heard.append(message.content)

                await open_ones.enter_async_context(gateway)
                await eventually(lambda heard=heard: len(heard) == 50)
                assert heard == [f"{number}" for number in range(shard, 100, 2)]
            assert server.poll() is None, "somebody is connected"

    asyncio.run(main())
    assert server.wait(SECONDS) == 0
    assert "2 sessions in " in server.stdout.read()


def test_damage_is_told_when_clients_have_what_stands_before(propylon: Start, finished: Finish, tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line(f"{number}", 0.0) for number in range(300)])
    path.write_text(path.read_text() + "damage\n")
    server = propylon("replay", str(path))
    assert server.stdout is not None
    url = server.stdout.readline().split()[1]
    done = finished("events", "--gateway-url", url, "--intents", "all", "--count", "301")
    assert [json.loads(text)["data"]["content"] for text in done.stdout.splitlines()[1:]] == [
        f"{number}" for number in range(300)
    ]
    _, told = server.communicate(timeout=SECONDS)
    assert server.returncode == 1
    *_, last = told.splitlines()
    assert last.startswith("propylon: ValueError: ")
    assert "x is no recording, or damaged, after line 300" in last
    assert "Traceback" not in told


def test_what_cannot_be_served_is_one_line(finished: Finish, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("plain text")
    for name, told in (("x", "x is no recording, or damaged"), ("y", "FileNotFoundError")):
        done = finished("replay", name, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("speed", ["0", "fast", "nan"])
def test_a_speed_that_is_none_is_refused(finished: Finish, recording: Path, speed: str) -> None:
    done = finished("replay", str(recording), "--speed", speed)
    assert done.returncode == 2
    assert "is no speed: write 1, 10 or max" in done.stderr


def test_what_is_no_recording_is_one_line(finished: Finish, tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(BOT)
    (tmp_path / "x").write_text("plain text")
    done = finished("replay", "x", "--listen", "bot", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "x is no recording, or damaged" in done.stderr
    assert done.stderr.count("\n") == 1
    done = finished("replay", "y", "--listen", "bot", cwd=tmp_path)
    assert "FileNotFoundError" in done.stderr
    done = finished("replay", "x", "--listen", "nobody", cwd=tmp_path)
    assert "there is no module 'nobody'" in done.stderr
