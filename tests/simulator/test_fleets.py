"""What the simulator does for many shards at once: who gets which guild's events, and what it tells of all of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from face.support import SHORT, eventually, message
from propylon import Dispatch, Gateway, GatewayStatus, Intents, ShardingRequired, UnknownNameWarning
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]


class Shard:
    """One shard and the messages that it heard: guild, and document as it came."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.heard: list[tuple[str, bytes]] = []
        gateway.listen(Dispatch)(self._hear)

    def _hear(self, dispatch: Dispatch[Any]) -> None:
        if dispatch.type == "MESSAGE_CREATE":
            data = dispatch.json()
            self.heard.append((data.get("nonce") or data["content"], dispatch.raw))


Shards = Callable[[Simulator, int], list[Shard]]


@pytest_asyncio.fixture
async def shards() -> AsyncIterator[Shards]:
    """Make all shards of a bot, ``shards(sim, 4)``; another number is another set of sessions of the same bot."""
    made: list[Shard] = []

    def make(sim: Simulator, count: int) -> list[Shard]:
        options: dict[str, Any] = {"api_url": sim.api_url, "intents": Intents.ALL, **SHORT}
        fleet = [Shard(Gateway("one-token", shard=(shard, count), **options)) for shard in range(count)]
        made.extend(fleet)
        return fleet

    yield make
    await asyncio.gather(*[shard.gateway.close() for shard in made])


async def opened(fleet: list[Shard]) -> None:
    await asyncio.gather(*[shard.gateway.open(timeout=20) for shard in fleet])


def guilds(sim: Simulator) -> list[int]:
    """The ids of the simulated guilds, by number."""
    first = 160_000_000_000
    return [(first + number) << 22 for number in range(len(sim.record()["shared"]["guilds"]))]


async def test_an_event_reaches_the_shard_of_its_guild_whatever_the_total(
    propylon_simulator: Start, shards: Shards
) -> None:
    sim = propylon_simulator(guilds=6, max_concurrency=16)
    old, new = shards(sim, 2), shards(sim, 3)
    await opened(old + new)
    guild = guilds(sim)[4]
    assert sim.dispatch("MESSAGE_CREATE", message("one", guild_id=str(guild)), guild_id=guild) == 2
    many = [(str(guild), message(text, guild_id=str(guild))) for text in ("two", "three")]
    assert sim.dispatch_many("MESSAGE_CREATE", [*many, (None, message("all"))]) == 2 + 2 + 5
    owners = [fleet[(guild >> 22) % len(fleet)] for fleet in (old, new)]
    for shard in old + new:
        await eventually(lambda shard=shard: shard.heard and shard.heard[-1][0] == "all")
        expected = ["one", "two", "three", "all"] if shard in owners else ["all"]
        assert [text for text, _ in shard.heard] == expected
    assert owners[0].heard == owners[1].heard, "byte for byte"
    with pytest.raises(ValueError, match="session= or guild_id="):
        sim.dispatch("MESSAGE_CREATE", {}, session="x", guild_id=guild)
    with pytest.warns(UnknownNameWarning, match="dispatch_many"):
        sim.dispatch_many("MESSAGE_CRAETE", [])


async def test_numbered_events_are_counted_by_guild_over_cuts(propylon_simulator: Start, shards: Shards) -> None:
    sim = propylon_simulator(guilds=9, max_concurrency=16, shared_rate=1_000.0, start="manual")
    old, new = shards(sim, 2), shards(sim, 4)
    await opened(old + new)
    sim.flood_shared()
    await eventually(lambda: sim.fleet()["shared"]["made"] > 300)
    sim.act(steps.reset(), shard_count=4)
    sim.act(steps.close(4000), shard=1, shard_count=2)
    await sim.wait_for("resumed", count=5)
    made = sim.fleet()["shared"]["made"]
    await eventually(lambda: sim.fleet()["shared"]["made"] > made + 300)
    sim.flood_shared(False)
    shared = sim.record(payloads=False)["shared"]
    assert sum(shared["guilds"]) == shared["made"]
    assert not shared["on"]
    for fleet in (old, new):
        await eventually(lambda fleet=fleet: sum(len(shard.heard) for shard in fleet) >= shared["made"])
        for shard in fleet:
            counted = dict.fromkeys(range(9), 0)
            for nonce, _ in shard.heard:
                guild, number = map(int, nonce.split(":"))
                counted[guild] += 1
                assert number == counted[guild]
            for guild, count in enumerate(shared["guilds"]):
                mine = (guilds(sim)[guild] >> 22) % len(fleet) == fleet.index(shard)
                assert counted[guild] == (count if mine else 0)
    assert {document for shard in old for _, document in shard.heard} == {
        document for shard in new for _, document in shard.heard
    }


async def test_numbered_events_need_a_rate(propylon_simulator: Start) -> None:
    sim = propylon_simulator()
    with pytest.raises(ValueError, match="rate above 0"):
        sim.flood_shared()
    sim.flood_shared(rate=100.0)
    await eventually(lambda: sim.fleet()["shared"]["made"] > 0)


async def test_a_shard_of_too_many_guilds_is_closed_with_4011(propylon_simulator: Start, shards: Shards) -> None:
    sim = propylon_simulator(guilds=12, guilds_per_shard=4, guild_creates=False, max_concurrency=16)
    (alone,) = shards(sim, 1)
    with pytest.raises(ShardingRequired):
        await alone.gateway.open()
    await opened(shards(sim, 3))
    assert sim.fleet()["closes"]["server"] == {"4011": 1}


async def test_steps_take_whole_fleets_and_parts_of_them(propylon_simulator: Start, shards: Shards) -> None:
    sim = propylon_simulator(guilds=8, max_concurrency=16)
    old, new = shards(sim, 2), shards(sim, 4)
    await opened(old + new)
    sim.act(steps.reset(), "every")
    await sim.wait_for("resumed", count=6)
    # Lost are the sessions of one total only: the others resume.
    sim.act(steps.expire_sessions(), shard_count=4)
    sim.act(steps.drop(), "every")
    await sim.wait_for("resumed", count=8)
    await sim.wait_for("ready", count=10)
    await eventually(lambda: all(it.gateway.status is GatewayStatus.READY for it in old + new))
    await eventually(lambda: sum(it.gateway.metrics().resumes for it in old + new) == 8)
    for shard in old + new:
        metrics = shard.gateway.metrics()
        assert (metrics.identifies, metrics.resumes) == ((1, 2) if shard in old else (2, 1))
    fleet = sim.fleet()
    assert fleet["sessions"] == {2: {"alive": 2, "connected": 2}, 4: {"alive": 4, "connected": 4}}
    assert (fleet["ready"], fleet["resumed"]) == (10, 8)
    # Who is told that its session is gone may be there again before its old connection has ended here.
    assert 6 <= fleet["connections"]["most_open"] <= 10
    assert fleet["early_identifies"]["count"] == fleet["late_beats"]["count"] == 0
    with pytest.raises(RuntimeError, match="no connection"):
        sim.act(steps.drop(), shard=9)
    with pytest.raises(ValueError, match="a connection, or shard="):
        sim.act(steps.drop(), 1, shard=0)


async def test_a_record_without_payloads_has_the_rest(propylon_simulator: Start, shards: Shards) -> None:
    sim = propylon_simulator()
    await opened(shards(sim, 1))
    whole, light = sim.record(), sim.record(payloads=False)
    assert whole["connections"][0]["ops"]
    # What is on its way meanwhile moves these.
    moving = {"bytes_in": 0, "bytes_out": 0, "dispatched": 0}
    assert {**light["connections"][0], **moving} == {**whole["connections"][0], "ops": [], **moving}
