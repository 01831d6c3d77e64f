"""`Simulator(recording=...)`: every session that comes is sent the recording, by itself and in order."""

import asyncio
import gc
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face.support import eventually, make_gateway
from propylon import Dispatch, Gateway, ShardManager
from propylon.recording import Recording
from propylon.testing import Simulator, _player, steps

from .support import line, written

Start = Callable[..., Simulator]


def hearing(bot: Gateway | ShardManager) -> list[tuple[str, int, bytes]]:
    heard: list[tuple[str, int, bytes]] = []

    @bot.listen
    def listener(dispatch: Dispatch) -> None:
        heard.append((dispatch.type, dispatch.shard_id, dispatch.raw))

    return heard


def contents(heard: list[tuple[str, int, bytes]], shard: int | None = None) -> list[str]:
    of_shard = [raw for kind, on, raw in heard if kind == "MESSAGE_CREATE" and shard in (None, on)]
    return [json.loads(raw)["content"] for raw in of_shard]


def numbered(path: Path, count: int, step: float = 0.0, shards: int = 1) -> Path:
    """So many messages, each shard's in its turn, with what is left out and odd bytes in between."""
    lines = [line(f"{number}", number * step, (number % shards, shards)) for number in range(count)]
    ready = {"t": "READY", "s": 1, "shard": [0, shards], "at": lines[0]["at"] - 60.0, "d": {"v": 0}}
    return written(path, [ready, *lines])


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "propylon-play"]


@pytest.mark.asyncio
async def test_each_session_gets_all_of_it_after_its_guilds(propylon_simulator: Start, tmp_path: Path) -> None:
    path = numbered(tmp_path / "x", 1_000)
    with path.open("a") as file:
        file.write('{"t":"GUILD_TOMORROW","s":2,"at":1764347000.0,"d":{ "n" : 1.50e3 }}\n')
    expected = [(event.type, event.raw) for event in Recording(path) if event.type != "READY"]
    sim = propylon_simulator(guilds=2, recording=path, speed="max")
    for number in (1, 2):
        gateway = make_gateway(sim)
        heard = hearing(gateway)
        async with gateway:
            await sim.wait_for("played", count=number)
            await eventually(lambda heard=heard: len(heard) == 3 + len(expected))
        assert [kind for kind, _, _ in heard[:3]] == ["READY", "GUILD_CREATE", "GUILD_CREATE"]
        assert json.loads(heard[0][2])["v"] == 10
        assert [(kind, raw) for kind, _, raw in heard[3:]] == expected


def test_a_simulator_without_an_event_loop_plays_it_too(tmp_path: Path) -> None:
    async def client(sim: Simulator) -> list[str]:
        gateway = make_gateway(sim)
        heard = hearing(gateway)
        async with gateway:
            await eventually(lambda: len(heard) == 11)
        return contents(heard)

    with Simulator(guilds=0, recording=numbered(tmp_path / "x", 10), identify_interval=0) as sim:
        assert not sim.holds("played")
        with pytest.raises(TimeoutError, match="no played"):
            sim.wait("played", timeout=0.01)
        assert asyncio.run(client(sim)) == [f"{number}" for number in range(10)]
        sim.wait("played")
        assert threads() == ["propylon-play"]
    assert threads() == []
    # And again.
    with sim:
        assert asyncio.run(client(sim)) == [f"{number}" for number in range(10)]


@pytest.mark.asyncio
async def test_a_shard_that_comes_late_loses_nothing(propylon_simulator: Start, tmp_path: Path) -> None:
    sim = propylon_simulator(guilds=0, recording=numbered(tmp_path / "x", 600, shards=2), speed="max")
    for shard in (1, 0):
        gateway = make_gateway(sim, shard=(shard, 2))
        heard = hearing(gateway)
        async with gateway:
            await eventually(lambda heard=heard: len(heard) == 301)
        assert contents(heard) == [f"{number}" for number in range(shard, 600, 2)]
    await sim.wait_for("played", count=2)


@pytest.mark.asyncio
async def test_a_fleet_gets_what_its_shards_had(propylon_simulator: Start, tmp_path: Path) -> None:
    path = numbered(tmp_path / "x", 400, shards=4)
    sim = propylon_simulator(guilds=0, max_concurrency=16, recording=path, speed="max")
    manager = ShardManager("fleet", shards=4, api_url=sim.api_url)
    heard = hearing(manager)
    async with manager:
        await sim.wait_for("played", count=4)
        await eventually(lambda: len(heard) == 404)
    for shard in range(4):
        assert contents(heard, shard) == [f"{number}" for number in range(shard, 400, 4)]


@pytest.mark.asyncio
async def test_a_client_with_another_number_of_shards_gets_everything(
    propylon_simulator: Start, tmp_path: Path
) -> None:
    sim = propylon_simulator(guilds=0, recording=numbered(tmp_path / "x", 600, shards=4), speed="max")
    for shard in (None, (1, 2)):
        gateway = make_gateway(sim, shard=shard)
        heard = hearing(gateway)
        async with gateway:
            await eventually(lambda heard=heard: len(heard) == 601)
        assert contents(heard) == [f"{number}" for number in range(600)]


@pytest.mark.asyncio
async def test_after_a_resharding_each_total_is_its_own(propylon_simulator: Start, tmp_path: Path) -> None:
    """More events of the old total than are read in one go stand before the first one of the new."""
    old = [line(f"old {number}", 0.0, (number % 2, 2)) for number in range(1_000)]
    new = [line(f"new {number}", 0.0, (number % 4, 4)) for number in range(8)]
    sim = propylon_simulator(guilds=0, recording=written(tmp_path / "x", [*old, *new]), speed="max")
    gateway = make_gateway(sim, shard=(3, 4))
    heard = hearing(gateway)
    async with gateway:
        await sim.wait_for("played")
        await eventually(lambda: len(heard) == 3)
    assert contents(heard) == ["new 3", "new 7"]


@pytest.mark.asyncio
async def test_each_session_has_the_pace_of_its_own_beginning(propylon_simulator: Start, tmp_path: Path) -> None:
    sim = propylon_simulator(guilds=0, recording=numbered(tmp_path / "x", 5, step=1.0), speed=20)
    for _ in range(2):
        gateway, times, began = make_gateway(sim), list[float](), time.monotonic()

        @gateway.listen
        def listener(dispatch: Dispatch, times: list[float] = times) -> None:
            times.append(time.monotonic())

        async with gateway:
            await eventually(lambda times=times: len(times) == 6)
        # A busy machine makes it later, never earlier.
        assert all(at - began >= number * 0.05 for number, at in enumerate(times[1:]))
        assert times[-1] - began < 30


@pytest.mark.asyncio
async def test_a_session_that_is_resumed_goes_on_and_one_that_is_new_begins_anew(
    propylon_simulator: Start, propylon_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    # The hour is for what it does not come to.
    lines = [*(line(f"{number}", 0.0) for number in range(3)), line("later", 3_600.0)]
    sim = propylon_simulator(guilds=0, recording=written(tmp_path / "x", lines))
    gateway = propylon_gateway(sim)
    heard = hearing(gateway)
    async with gateway:
        await eventually(lambda: contents(heard) == ["0", "1", "2"])
        sim.act(steps.reset())
        await sim.wait_for("resumed")
        await eventually(lambda: heard[-1][0] == "RESUMED")
        sim.act(steps.expire_sessions())
        sim.act(steps.reset())
        await sim.wait_for("ready", count=2)
        await eventually(lambda: len(contents(heard)) == 6)
        assert contents(heard) == ["0", "1", "2"] * 2
        assert not sim.holds("played")
        sim.act(steps.expire_sessions())
        # Both have ended.
        await sim.wait_for("played", count=2)


@pytest.mark.asyncio
async def test_it_ends_while_it_waits(propylon_simulator: Start, tmp_path: Path) -> None:
    sim = propylon_simulator(guilds=0, recording=written(tmp_path / "x", [line("now", 0.0), line("later", 3_600.0)]))
    gateway = make_gateway(sim)
    heard = hearing(gateway)
    async with gateway:
        await eventually(lambda: contents(heard) == ["now"])
        began = time.monotonic()
        sim.close()
        assert time.monotonic() - began < 30
    assert threads() == []
    with pytest.raises(RuntimeError, match="not running"):
        sim.holds("played")


def test_what_cannot_be_played_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("plain text")
    for name, error in (("none", FileNotFoundError), ("text", ValueError)):
        sim = Simulator(recording=tmp_path / name)
        with pytest.raises(error, match=name):
            sim.start()
        assert "not started" in repr(sim)
    with pytest.raises(ValueError, match="speed must be above 0"):
        Simulator(recording=tmp_path / "text", speed=0)
    with Simulator() as sim, pytest.raises(ValueError, match="give Simulator"):
        sim.wait("played")
    assert threads() == []


@pytest.mark.asyncio
async def test_damage_is_told_when_what_stands_before_has_been_sent(
    propylon_simulator: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = numbered(tmp_path / "x", 299)
    path.write_text(path.read_text() + "damage\n" + json.dumps(line("behind", 0.0)) + "\n")
    sim = propylon_simulator(guilds=0, recording=path, speed="max")
    for number in (1, 2):
        gateway = make_gateway(sim)
        heard = hearing(gateway)
        async with gateway:
            with pytest.raises(ValueError, match="after line 300"):
                await sim.wait_for("played", count=number)
            await eventually(lambda heard=heard: len(heard) == 300)
        assert contents(heard) == [f"{number}" for number in range(299)]
    told = [(record.name, record.levelno) for record in caplog.records if "after line 300" in record.message]
    assert told == [("propylon.recording", logging.WARNING)], "once, and not once for each session"


@pytest.mark.asyncio
async def test_a_torn_end_is_told_by_the_log(
    propylon_simulator: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = numbered(tmp_path / "x", 3)
    path.write_text(path.read_text() + '{"t":"MESS')
    sim = propylon_simulator(guilds=0, recording=path)
    gateway = make_gateway(sim)
    heard = hearing(gateway)
    async with gateway:
        await sim.wait_for("played")
        await eventually(lambda: len(heard) == 4)
    assert "x ends within a line" in caplog.text


@pytest.mark.asyncio
async def test_a_client_that_reads_nothing_is_waited_for(
    propylon_simulator: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_player, "_AHEAD", 1_000)
    lines = (
        {**line(f"{number}", 0.0), "d": {"n": number, "noise": os.urandom(2_000).hex()}} for number in range(6_000)
    )
    sim = propylon_simulator(guilds=0, recording=written(tmp_path / "x", lines), speed="max", send_buffer=65_536)
    gateway = make_gateway(sim, max_pending=1, queue_bytes=1_048_576, compression=None)
    numbers: list[int] = []
    go_on = asyncio.Event()

    @gateway.listen(Dispatch)
    async def listener(dispatch: Dispatch) -> None:
        await go_on.wait()
        numbers.append(dispatch.json().get("n", -1))

    def session() -> Any:
        return sim.record(payloads=False)["sessions"][0]

    async with gateway:
        await eventually(lambda: session()["sequence"] - session()["sent_sequence"] >= 1_000)
        before = -1
        async with asyncio.timeout(20):
            # Until all that is between the two is full; then, some looks later, it has come no further.
            while before != (before := session()["sequence"]):
                assert before - session()["sent_sequence"] < 1_000 + _player._TURN
                await asyncio.sleep(4 * _player._SLICE)
        assert before < 6_000
        go_on.set()
        await eventually(lambda: len(numbers) == 6_001, timeout=30)
        await sim.wait_for("played")
    assert numbers == [-1, *range(6_000)]


@pytest.mark.asyncio
async def test_a_session_that_has_only_just_come_is_not_over(
    propylon_simulator: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, welcome = threading.Event(), _player.Player._welcome

    def later(player: _player.Player) -> None:
        assert looked.wait(10)
        welcome(player)

    monkeypatch.setattr(_player.Player, "_welcome", later)
    sim = propylon_simulator(guilds=0, recording=numbered(tmp_path / "x", 3))
    assert sim.holds("played", count=0)
    async with make_gateway(sim):
        assert not sim.holds("played", count=0)
        looked.set()
        await sim.wait_for("played")


def test_one_that_nobody_has_any_more_ends(tmp_path: Path) -> None:
    sim = Simulator(recording=numbered(tmp_path / "x", 3)).start()
    url = sim.url
    assert threads() == ["propylon-play"]
    del sim
    gc.collect()
    assert threads() == []
    port = int(url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


LEFT = """
import os, sys, time
from propylon.testing import Simulator
sim = Simulator(recording=sys.argv[1]).start()
if "fork" in sys.argv:
    child = os.fork()
    if not child:
        # It has no thread to wait for.
        sim.close()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print("left", flush=True)
"""


@pytest.mark.parametrize(
    "how",
    [
        "open",
        pytest.param("fork", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")),
    ],
)
def test_a_process_ends_that_has_not_closed_it_or_has_forked(how: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", LEFT, str(numbered(tmp_path / "x", 3)), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")
