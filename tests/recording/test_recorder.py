"""`Gateway.record`: which events are in the file, how they stand there, and what a bad disk does to the bot."""

import asyncio
import base64
import itertools
import json
import logging
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face.support import eventually, message
from propylon import Dispatch, Gateway, Intents, ShardManager, field
from propylon.events import GuildCreate, MessageCreate
from propylon.recording import Recorded, Recorder, Recording, TornRecordingWarning
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]


def events_of(path: Path) -> list[Recorded]:
    return list(Recording(path))


async def test_what_nobody_hears_is_recorded_as_it_came(
    propylon_simulator: Start, gateway_to: Any, tmp_path: Path
) -> None:
    sim = propylon_simulator(guilds=2, rate=2000)
    gateway: Gateway = gateway_to(sim)
    heard: list[tuple[str, int | None, bytes]] = []

    @gateway.listen
    def listener(dispatch: Dispatch[MessageCreate]) -> None:
        heard.append((dispatch.type, dispatch.sequence, dispatch.raw))

    path = tmp_path / "day.jsonl.zst"
    async with gateway.record(path, secrets=True) as recorder:
        await gateway.open(timeout=10)
        await eventually(lambda: gateway.metrics().received > 1_000 and len(heard) > 100)
        await gateway.close()
        assert not recorder.complete
    metrics = gateway.metrics()
    events = events_of(path)
    assert recorder.complete
    assert recorder.events == len(events) == metrics.received
    assert recorder.dropped == 0
    assert recorder.error is None
    assert recorder.bytes == path.stat().st_size
    assert metrics.unheard > 100, "nothing of it came to Python"
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    # What is still queued when it is closed is recorded, and not heard.
    assert [(e.type, e.sequence, e.raw) for e in events if e.type == "MESSAGE_CREATE"][: len(heard)] == heard
    assert {event.shard for event in events} == {(0, 1)}
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600
    times = [event.at for event in events]
    assert all(abs(later - earlier) < 10 for earlier, later in itertools.pairwise(times))
    assert abs(times[-1] - path.stat().st_mtime) < 5


async def test_events_and_where(propylon_simulator: Start, gateway_to: Any, tmp_path: Path) -> None:
    sim = propylon_simulator(guilds=1)
    gateway: Gateway = gateway_to(sim)
    asked = {
        "ada": gateway.record(tmp_path / "ada", events=[MessageCreate], where=field("author.id") == 7),
        "both": gateway.record(tmp_path / "both", events=["TYPING_START", MessageCreate | GuildCreate]),
        "new": gateway.record(tmp_path / "new", events=["GUILD_TOMORROW"]),
    }
    async with asked["ada"], asked["both"], asked["new"], gateway:
        sim.dispatch("MESSAGE_CREATE", message("yes"))
        sim.dispatch("MESSAGE_CREATE", message("no", author={**message()["author"], "id": "8"}))
        sim.dispatch("TYPING_START", {"n": 1})
        sim.dispatch("GUILD_TOMORROW", {"n": 2})
        sim.dispatch("PRESENCE_UPDATE", {"n": 3})
        await eventually(lambda: gateway.metrics().received_by_type.get("PRESENCE_UPDATE"))
    assert [json.loads(event.raw)["content"] for event in events_of(tmp_path / "ada")] == ["yes"]
    assert [event.type for event in events_of(tmp_path / "both")] == [
        *("GUILD_CREATE", "MESSAGE_CREATE", "MESSAGE_CREATE", "TYPING_START")
    ]
    assert [(event.type, event.raw) for event in events_of(tmp_path / "new")] == [("GUILD_TOMORROW", b'{"n":2}')]
    (created,) = (event for event in events_of(tmp_path / "both") if event.type == "GUILD_CREATE")
    assert created.guild_change == "available"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"where": lambda _: True}, TypeError),
        ({"events": [int]}, TypeError),
        ({"events": ["message_create"]}, ValueError),
        ({"events": [MessageCreate], "where": field("autor.id") == 7}, ValueError),
        ({"max_bytes": 0}, ValueError),
        ({"queue_bytes": 0}, ValueError),
    ],
)
async def test_what_cannot_be_recorded_is_refused(options: Any, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises((error, TypeError)):
        Gateway("token").record(tmp_path / "x", **options)
    assert not list(tmp_path.iterdir())


async def test_secrets_are_left_out_and_nothing_else(
    propylon_simulator: Start, gateway_to: Any, tmp_path: Path
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    odd = b'{ "content" : "\\"token\\":\\"x\\"", "n":1.50e3 }'
    async with gateway.record(tmp_path / "x.jsonl.zst") as recorder, gateway:
        assert gateway.session is not None
        session = gateway.session.id
        sim.dispatch("VOICE_SERVER_UPDATE", b'{"t\\u006fken":"hush","guild_id":"1","endpoint":null}')
        sim.dispatch("INTERACTION_CREATE", {"id": "1", "token": "hush", "data": {"options": [{"name": "token"}]}})
        sim.dispatch("GUILD_TOMORROW", {"webhooks": [{"token": "hush"}, {"token": "hush"}]})
        sim.dispatch("MESSAGE_CREATE", odd)
        sim.dispatch("GUILD_TOMORROW", b"[" * 300 + b'{"token":"hush"}' + b"]" * 300)
        await eventually(lambda: gateway.metrics().received == 6)
    ready, voice, interaction, webhooks, untouched, deep = events_of(tmp_path / "x.jsonl.zst")
    assert ready.redacted == ("session_id",)
    assert voice.raw == b'{"t\\u006fken":"","guild_id":"1","endpoint":null}'
    assert voice.redacted == interaction.redacted == ("token",)
    assert json.loads(interaction.raw) == {"id": "1", "token": "", "data": {"options": [{"name": "token"}]}}
    assert webhooks.redacted == ("webhooks.token",)
    assert (untouched.raw, untouched.redacted) == (odd, ())
    assert (deep.raw, deep.redacted) == (b"null", ("*",))
    assert recorder.redacted == 5
    everything = b"".join(event.raw for event in events_of(tmp_path / "x.jsonl.zst"))
    assert b"hush" not in everything
    assert session.encode() not in everything


async def test_secrets_are_kept_where_they_are_asked_for(
    propylon_simulator: Start, gateway_to: Any, tmp_path: Path
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    async with gateway.record(tmp_path / "x", secrets=True) as recorder, gateway:
        sim.dispatch("INTERACTION_CREATE", {"token": "hush"})
        await eventually(lambda: gateway.metrics().received == 2)
    assert events_of(tmp_path / "x")[1].raw == b'{"token":"hush"}'
    assert recorder.redacted == 0


async def test_a_payload_that_is_no_line_comes_back_byte_for_byte(
    propylon_simulator: Start, gateway_to: Any, tmp_path: Path
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    odd = [b'{\n "a": 1,\r\n "b": [] }', b'"\xff"', b'{"d":1,"x":",\\"d\\":"}', b"[1e999x]"]
    async with gateway.record(tmp_path / "x"), gateway:
        for raw in odd:
            sim.dispatch("GUILD_TOMORROW", raw)
        await eventually(lambda: gateway.metrics().received == 1 + len(odd))
    assert [event.raw for event in events_of(tmp_path / "x")[1:]] == odd


async def test_a_second_run_appends(propylon_simulator: Start, gateway_to: Any, tmp_path: Path) -> None:
    sim, path = propylon_simulator(guilds=0), tmp_path / "x.jsonl.zst"
    for number in range(3):
        gateway: Gateway = gateway_to(sim)
        async with gateway.record(path, events=["GUILD_TOMORROW"]), gateway:
            sim.dispatch("GUILD_TOMORROW", {"run": number}, session=gateway.session.id if gateway.session else None)
            await eventually(lambda g=gateway: g.metrics().received == 2)
    assert [json.loads(event.raw)["run"] for event in events_of(path)] == [0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


async def test_a_full_file_is_set_aside(propylon_simulator: Start, gateway_to: Any, tmp_path: Path) -> None:
    sim, path = propylon_simulator(guilds=0), tmp_path / "day.jsonl.zst"
    gateway: Gateway = gateway_to(sim)
    # Frames of a quarter of this queue: many, without waiting for the half second of each.
    async with gateway.record(path, max_bytes=40_000, queue_bytes=200_000) as recorder, gateway:
        for number in range(100):
            sim.dispatch("GUILD_TOMORROW", {"number": number, "noise": base64.b64encode(os.urandom(3_000)).decode()})
            # With READY.
            await eventually(lambda number=number: gateway.metrics().received == number + 2)
            # The writer keeps up: frames are of what waits.
            await eventually(lambda number=number: number + 2 - recorder.events <= 16)
    assert recorder.dropped == 0
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [*(f"day.{number:06}.jsonl.zst" for number in range(1, len(names))), path.name]
    assert len(names) > 3
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    numbers = [json.loads(event.raw)["number"] for event in events_of(path)[1:]]
    assert numbers == list(range(100)), "all files, in their order"
    # A frame is the least that a file may hold.
    assert max(sizes.values()) < 70_000
    first = events_of(tmp_path / names[0])
    assert 0 < len(first) < 100, "a file that is set aside can be read alone"


async def test_a_file_with_a_torn_end_is_set_aside_and_nothing_is_lost(
    propylon_simulator: Start, gateway_to: Any, tmp_path: Path
) -> None:
    sim, path = propylon_simulator(guilds=0), tmp_path / "day.jsonl.zst"
    gateway: Gateway = gateway_to(sim)
    async with gateway.record(path), gateway:
        await eventually(lambda: gateway.metrics().received == 1)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-5])
    other: Gateway = gateway_to(sim)
    async with other.record(path), other:
        await eventually(lambda: other.metrics().received == 1)
    assert (tmp_path / "day.000001.jsonl.zst").read_bytes() == whole + whole[:-5]
    with pytest.warns(TornRecordingWarning, match=r"day\.000001\.jsonl\.zst ends within a line"):
        assert [event.type for event in Recording(path)] == ["READY", "READY"]


async def test_all_shards_write_to_one_file(propylon_simulator: Start, tmp_path: Path) -> None:
    sim, path = propylon_simulator(guilds=8, rate=200, max_concurrency=16), tmp_path / "x.jsonl.zst"
    manager = ShardManager("fleet", shards=4, api_url=sim.api_url, intents=Intents.ALL)
    async with manager.record(path) as recorder, manager:
        await eventually(lambda: manager.metrics().received > 400)
        await manager.close()
        received = manager.metrics().received
    assert recorder.events == received
    events = events_of(path)
    assert {event.shard for event in events} == {(number, 4) for number in range(4)}
    for number in range(4):
        sequences = [event.sequence for event in events if event.shard == (number, 4)]
        assert sequences == list(range(1, len(sequences) + 1))


async def test_two_recordings_do_not_share_a_file(tmp_path: Path) -> None:
    gateway = Gateway("token")
    async with gateway.record(tmp_path / "x"):
        with pytest.raises(OSError, match="another recording"):
            async with gateway.record(tmp_path / "x"):
                raise AssertionError("it began")


async def test_a_recorder_is_used_once(tmp_path: Path) -> None:
    recorder = Gateway("token").record(tmp_path / "x")
    async with recorder:
        with pytest.raises(RuntimeError, match="already"):
            await recorder.__aenter__()
    assert isinstance(recorder, Recorder)
    assert repr(recorder) == f"<Recorder {str(tmp_path / 'x')!r} events=0 bytes=0 dropped=0>"


async def test_a_folder_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with Gateway("token").record(tmp_path / "none" / "x"):
            raise AssertionError("it began")


@pytest.mark.skipif(sys.platform != "linux", reason="sets the size of a pipe")
async def test_a_disk_that_stands_still_drops_and_counts_and_holds_nothing_up(
    propylon_simulator: Start, gateway_to: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import fcntl

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Somebody has it open, and does not read.
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    try:
        sim = propylon_simulator(guilds=4, rate=4000)
        gateway: Gateway = gateway_to(sim)
        async with gateway.record(pipe, queue_bytes=100_000) as recorder, gateway:
            await eventually(lambda: recorder.dropped > 2_000)
            # Beats that are asked for: those of a short interval would make a zombie of a busy machine.
            for count in (1, 2, 3):
                sim.act(steps.request_heartbeats())
                await eventually(lambda count=count: gateway.metrics().heartbeats >= count)
            metrics = gateway.metrics()
            assert metrics.reconnects == 0
            assert metrics.pauses == 0
            await gateway.close()
            received = gateway.metrics().received
            recorded = asyncio.get_running_loop().run_in_executor(None, _read_all, reader)
    finally:
        os.close(reader)
    await recorded
    assert not recorder.complete
    assert recorder.events + recorder.dropped == received
    assert f"{recorder.dropped:d} events are not in the recording" in caplog.text


def _read_all(reader: int) -> None:
    """Until the other end is closed, or nothing comes for a second."""
    os.set_blocking(reader, True)
    try:
        while os.read(reader, 1 << 20):
            pass
    except OSError:
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
async def test_a_full_disk_is_told_once_and_does_not_stop_the_bot(
    propylon_simulator: Start, gateway_to: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "propylon.recording")
    path = tmp_path / "full"
    path.symlink_to("/dev/full")
    sim = propylon_simulator(guilds=4, rate=2000)
    gateway: Gateway = gateway_to(sim)
    heard = 0

    @gateway.listen
    def listener(dispatch: Dispatch[MessageCreate]) -> None:
        nonlocal heard
        heard += 1

    def told() -> list[logging.LogRecord]:
        # Without the warning that a listener holds the loop, which a busy machine brings.
        return [record for record in caplog.records if record.name == "propylon.recording"]

    async with gateway.record(path, queue_bytes=200_000) as recorder, gateway:
        await eventually(lambda: recorder.dropped > 1_000)
        await eventually(told)
        assert len(told()) == 1, "told when it happened, and once"
        before = heard
        await eventually(lambda: heard > before + 100)
        assert gateway.metrics().reconnects == 0
        await gateway.close()
    assert recorder.events == 0
    assert recorder.dropped == gateway.metrics().received
    assert recorder.error is not None
    assert "No space left" in recorder.error
    assert [record.levelname for record in told()] == ["WARNING", "WARNING"]
    assert f"{recorder.dropped} events are not in the recording" in told()[1].getMessage()
