"""Replay: a recording's events at a bot's listeners, and at the clients of a simulator."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from face.support import eventually, make_gateway, message
from propylon import Dispatch, Gateway, Intents, NotConnected, ShardManager, field
from propylon.events import GuildCreate, MessageCreate, Ready
from propylon.recording import Recording, replay
from propylon.testing import Simulator

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Facts = list[tuple[str, int | None, int, bytes]]


@pytest_asyncio.fixture
async def day(tmp_path: Path) -> AsyncIterator[tuple[Path, Facts]]:
    """A recording of 2 s at 5,000 events/s, and what a listener heard meanwhile."""
    path = tmp_path / "day.jsonl.zst"
    heard: Facts = []
    with Simulator(guilds=3, rate=5_000, count=10_000, identify_interval=0) as sim:
        gateway = make_gateway(sim)
        gateway.listen(hearing(heard))
        async with gateway.record(path, secrets=True) as recorder, gateway:
            # READY and a GUILD_CREATE for each guild come first.
            await eventually(lambda: len(heard) >= 10_004, timeout=30)
            await gateway.close()
        assert recorder.dropped == 0
        assert recorder.events == gateway.metrics().received == len(heard) == 10_004
    yield path, heard


def hearing(heard: Facts) -> Callable[[Dispatch[Any]], None]:
    def listener(dispatch: Dispatch) -> None:
        heard.append((dispatch.type, dispatch.sequence, dispatch.shard_id, dispatch.raw))

    return listener


async def test_every_event_comes_again_equal_and_in_order(day: tuple[Path, Facts]) -> None:
    path, heard = day
    gateway, manager = Gateway("token"), ShardManager("token", shards=2)
    for bot in (gateway, manager):
        again: Facts = []
        bot.listen(hearing(again))
        assert await replay(bot, path) == len(heard)
        assert again == heard
        metrics = bot.metrics()
        assert metrics.received == metrics.delivered == len(heard)


async def test_the_simulator_sends_the_same_bytes(day: tuple[Path, Facts], propylon_simulator: Start) -> None:
    path, heard = day
    expected = [(kind, raw) for kind, _, _, raw in heard if kind != "READY"]
    sim = propylon_simulator(guilds=0)
    again: Facts = []
    gateway = make_gateway(sim)
    gateway.listen(hearing(again))
    async with gateway:
        assert await sim.play(path, speed="max") == len(expected)
        await eventually(lambda: len(again) > len(expected))
    assert [(kind, raw) for kind, _, _, raw in again[1:]] == expected
    assert again[0][0] == "READY"


async def test_filters_classes_and_async_listeners_get_what_is_theirs(tmp_path: Path) -> None:
    gateway = Gateway("token", max_pending=5)
    path = tmp_path / "x"
    lines = [message(f"{number}", author={**message()["author"], "id": str(number % 3)}) for number in range(300)]
    write(path, [("READY", {"v": 10, "user": message()["author"], "session_id": "", "guilds": []})])
    write(path, [("MESSAGE_CREATE", line) for line in lines])
    said: list[str] = []
    ready: list[int] = []

    @gateway.listen(where=field("author.id") == 1)
    async def listener(event: MessageCreate) -> None:
        # More of them are under way than may be: the replay waits.
        await asyncio.sleep(0)
        said.append(event.content)

    @gateway.listen
    def on_ready(event: Ready) -> None:
        ready.append(event.v)

    assert await replay(gateway, Recording(path)) == 301
    assert said == [f"{number}" for number in range(300) if number % 3 == 1]
    assert ready == [10]
    assert gateway.metrics().filtered == 200
    assert gateway.session is None
    assert gateway.status.name == "UNCONNECTED"


def write(path: Path, events: list[tuple[str, Any]], step: float = 0.0) -> None:
    import orjson

    with path.open("ab") as file:
        for number, (kind, data) in enumerate(events):
            at = 1764347000 + number * step
            file.write(b'{"t":"%s","s":%d,"shard":[0,1],"at":%f' % (kind.encode(), number, at))
            file.write(b',"d":' + orjson.dumps(data) + b"}\n")


async def test_the_lifespan_is_around_it_and_errors_go_where_they_go(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write(path, [("MESSAGE_CREATE", message(str(number))) for number in range(3)])
    told: list[object] = []

    @contextlib.asynccontextmanager
    async def lifespan(gateway: Gateway) -> AsyncIterator[dict[str, int]]:
        told.append("begun")
        yield {}
        told.append("over")

    gateway = Gateway("token", lifespan=lifespan)

    @gateway.listen
    async def listener(event: MessageCreate, kept: dict[str, int]) -> None:
        kept[event.content] = 1
        await asyncio.sleep(0.01)
        told.append(len(kept))
        if event.content == "1":
            await gateway.send(3, {})

    @gateway.on_error
    def on_error(error: Exception) -> None:
        told.append(type(error))

    await replay(gateway, path)
    assert told[0] == "begun"
    assert told[-1] == "over"
    assert told.count(3) == 3
    assert told.count(NotConnected) == 1
    # And it is as before: it can be replayed again.
    assert await replay(gateway, path) == 3


async def test_who_waits_for_what_does_not_come_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write(path, [("MESSAGE_CREATE", message())])
    gateway = Gateway("token")
    ends: list[BaseException] = []

    @gateway.listen
    async def listener(event: MessageCreate) -> None:
        try:
            await gateway.wait_for(GuildCreate)
        except NotConnected as error:
            ends.append(error)
            raise

    await replay(gateway, path)
    assert len(ends) == 1
    assert gateway.metrics().listener_errors == 0


async def test_an_open_gateway_replays_nothing(propylon_simulator: Start, gateway_to: Any, tmp_path: Path) -> None:
    path = tmp_path / "x"
    write(path, [("MESSAGE_CREATE", message())])
    gateway: Gateway = gateway_to(propylon_simulator())
    async with gateway:
        with pytest.raises(RuntimeError, match="is open"):
            await replay(gateway, path)
    assert await replay(gateway, path) == 1


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
async def test_a_speed_that_is_none_is_refused(speed: float, tmp_path: Path, propylon_simulator: Start) -> None:
    path = tmp_path / "x"
    write(path, [])
    with pytest.raises(ValueError, match="speed"):
        await replay(Gateway("token"), path, speed=speed)
    with pytest.raises(ValueError, match="speed"):
        await propylon_simulator().play(path, speed=speed)


async def test_damage_ends_it_after_what_stands_before(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write(path, [("MESSAGE_CREATE", message())] * 300)
    path.write_bytes(path.read_bytes() + b"damage\n")
    gateway, heard = Gateway("token"), []
    gateway.listen(hearing(heard))
    with pytest.raises(ValueError, match="after line 300"):
        await replay(gateway, path)
    assert len(heard) == 300


async def test_the_pace_of_a_recording_is_kept(tmp_path: Path, propylon_simulator: Start) -> None:
    path = tmp_path / "x"
    write(path, [("MESSAGE_CREATE", message(str(number))) for number in range(5)], step=1.0)
    gateway, times = Gateway("token"), list[float]()

    @gateway.listen
    def listener(event: MessageCreate) -> None:
        times.append(time.monotonic())

    began = time.monotonic()
    await replay(gateway, path, speed=20)
    assert len(times) == 5
    # A busy machine makes it later, never earlier. Exactly it is held by the clock that leaps, in test_virtual.
    assert all(at - began >= number * 0.05 - 0.01 for number, at in enumerate(times))
    sim = propylon_simulator(guilds=0)
    client = make_gateway(sim)
    async with client:
        began = time.monotonic()
        assert await sim.play(path, speed=20) == 5
        assert time.monotonic() - began >= 0.2


async def test_a_fleets_recording_goes_to_the_shards_it_came_from(tmp_path: Path, propylon_simulator: Start) -> None:
    path = tmp_path / "x.jsonl.zst"
    first = propylon_simulator(guilds=8, rate=300, max_concurrency=16)
    manager = ShardManager("fleet", shards=2, api_url=first.api_url, intents=Intents.ALL)
    async with manager.record(path, secrets=True), manager:
        await eventually(lambda: manager.metrics().received > 300)
        await manager.close()
    events = [event for event in Recording(path) if event.type != "READY"]
    for shards in (2, 1):
        sim = propylon_simulator(guilds=0, max_concurrency=16)
        again: Facts = []
        client = ShardManager("again", shards=shards, api_url=sim.api_url, intents=Intents.ALL)
        client.listen(hearing(again))
        async with client:
            assert await sim.play(path, speed="max") == len(events)
            await eventually(lambda again=again, shards=shards: len(again) == len(events) + shards)
        for shard in range(shards):
            got = [raw for kind, _, on, raw in again if on == shard and kind != "READY"]
            assert got == [event.raw for event in events if shards == 1 or event.shard[0] == shard]


async def test_a_replay_that_is_broken_off_leaves_nothing_for_who_opens_next(
    day: tuple[Path, Facts], propylon_simulator: Start
) -> None:
    path, facts = day
    sim = propylon_simulator(guilds=0)
    gateway = make_gateway(sim, max_pending=1)
    heard: list[Dispatch] = []
    stuck = asyncio.Event()

    @gateway.listen(Dispatch)
    async def on_any(dispatch: Dispatch) -> None:
        heard.append(dispatch)
        await stuck.wait()

    replaying = asyncio.create_task(replay(gateway, path, drain=0.0))
    await eventually(lambda: bool(heard))
    with pytest.raises(RuntimeError, match="replayed"):
        await gateway.open(timeout=5)
    with pytest.raises(RuntimeError, match="replayed"):
        await replay(gateway, path)
    replaying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await replaying
    assert len(heard) < len(facts)
    heard.clear()
    stuck.set()
    async with gateway:
        sim.dispatch("MESSAGE_CREATE", message("now"))
        await eventually(lambda: any(dispatch.type == "MESSAGE_CREATE" for dispatch in heard))
    assert [dispatch.type for dispatch in heard] == ["READY", "MESSAGE_CREATE"]
