"""protocol.md §14: which guilds are there, and when all of them are."""

import asyncio
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from faults.conftest import Witness
from propylon import Dispatch, Intents, NotConnected
from propylon.events import GuildAvailable, GuildCreate, GuildJoined, GuildRemoved, GuildUnavailable
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Make = Callable[..., Witness]


def changes(witness: Witness) -> list[tuple[Any, Any]]:
    events = [dispatch for dispatch in witness.events if dispatch.type in ("GUILD_CREATE", "GUILD_DELETE")]
    return [(dispatch.json()["id"], dispatch.guild_change) for dispatch in events]


async def test_available_joined_outage_and_removed_are_told_apart(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(guilds=2)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    await witness.gateway.wait_guilds_ready(timeout=10)
    await eventually(lambda: len(witness.heard("GUILD_CREATE")) == 2)
    (first, _), (second, _) = changes(witness)
    assert [change for _, change in changes(witness)] == ["available", "available"]
    sim.dispatch("GUILD_DELETE", {"id": first, "unavailable": True})
    sim.dispatch("GUILD_CREATE", {"id": first, "unavailable": False})
    sim.dispatch("GUILD_DELETE", {"id": second})
    sim.dispatch("GUILD_CREATE", {"id": "9", "unavailable": True})
    sim.dispatch("GUILD_CREATE", {"id": "10"})
    await eventually(lambda: len(changes(witness)) == 7)
    assert changes(witness)[2:] == [
        (first, "unavailable"),
        (first, "available"),
        (second, "removed"),
        ("9", None),
        ("10", "joined"),
    ]
    assert pickle.loads(pickle.dumps(witness.events[-1])).guild_change == "joined"


async def test_all_guilds_are_ready_when_the_last_one_was_heard_of(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(guilds=2, guild_creates=False)
    witness = witness_to(sim)
    gateway = witness.gateway
    with pytest.raises(NotConnected):
        await gateway.wait_guilds_ready()
    await gateway.open(timeout=10)
    ready = witness.heard("READY") or await eventually(lambda: witness.heard("READY")) or witness.heard("READY")
    first, second = (guild["id"] for guild in ready[0].json()["guilds"])
    assert not gateway.guilds_ready
    with pytest.raises(TimeoutError):
        await gateway.wait_guilds_ready(timeout=0.01)
    waiting = asyncio.create_task(gateway.wait_guilds_ready())
    sim.dispatch("GUILD_CREATE", {"id": first, "unavailable": False})
    await eventually(lambda: witness.heard("GUILD_CREATE"))
    assert not gateway.guilds_ready
    # The connection is lost; the session goes on.
    sim.act(steps.reset())
    await sim.wait_for("resumed")
    sim.dispatch("GUILD_DELETE", {"id": second, "unavailable": True})
    await asyncio.wait_for(waiting, 10)
    assert gateway.guilds_ready


@pytest.mark.parametrize("_time", range(8))
async def test_all_guilds_are_ready_when_their_events_can_be_taken(
    propylon_simulator: Start, witness_to: Make, _time: int
) -> None:
    """A race, which one in three lost."""
    sim = propylon_simulator(guilds=1, guild_creates=False)
    witness = witness_to(sim)
    gateway = witness.gateway
    await gateway.open(timeout=10)
    await eventually(lambda: witness.heard("READY"))
    guild = witness.heard("READY")[0].json()["guilds"][0]["id"]
    # After the first, what follows is read at once, with the guild at the beginning of it.
    sim.dispatch("TYPING_START", {})
    sim.dispatch("GUILD_CREATE", {"id": guild, "unavailable": False})
    sim.dispatch_many("TYPING_START", [(None, {})] * 200)
    end = time.monotonic() + 10
    while not gateway.guilds_ready and time.monotonic() < end:
        pass
    session = gateway.session
    assert session is not None
    assert session.sequence >= 3


async def test_what_never_comes_is_not_waited_for(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(guilds=2, guild_creates=False)
    witness = witness_to(sim)
    before = time.monotonic()
    await witness.gateway.open(timeout=10)
    await witness.gateway.wait_guilds_ready(timeout=20)
    assert time.monotonic() - before > 3


async def test_without_the_intent_guilds_none_is_waited_for(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(guilds=2)
    witness = witness_to(sim, intents=Intents.GUILD_MESSAGES)
    await witness.gateway.open(timeout=10)
    await witness.gateway.wait_guilds_ready(timeout=3)  # those that never come are waited for 4 s
    assert witness.gateway.guilds_ready


async def test_closing_ends_the_wait(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(guilds=1, guild_creates=False)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    waiting = asyncio.create_task(witness.gateway.wait_guilds_ready())
    await asyncio.sleep(0)
    await witness.gateway.close()
    with pytest.raises(NotConnected):
        await waiting


async def test_a_listener_may_want_one_meaning_only(propylon_simulator: Start, gateway_to: Callable[..., Any]) -> None:
    sim = propylon_simulator(guilds=1)
    gateway = gateway_to(sim)
    heard: list[tuple[str, Any]] = []

    @gateway.listen
    def on_available(guild: GuildAvailable) -> None:
        heard.append(("available", guild))

    @gateway.listen
    def on_joined(guild: GuildJoined) -> None:
        heard.append(("joined", guild))

    @gateway.listen
    def on_either(guild: GuildUnavailable | GuildRemoved) -> None:
        heard.append((type(guild).__name__, guild))

    @gateway.listen
    def on_every(guild: GuildCreate) -> None:
        heard.append(("created", guild))

    @gateway.listen
    def on_holder(dispatch: Dispatch[GuildJoined]) -> None:
        heard.append((str(dispatch.guild_change), dispatch))

    async with gateway, gateway.batches(GuildRemoved) as batches:
        await eventually(lambda: len(heard) == 2)
        sim.dispatch("GUILD_CREATE", {"id": "9", "name": "new"})
        sim.dispatch("GUILD_DELETE", {"id": "9", "unavailable": True})
        sim.dispatch("GUILD_DELETE", {"id": "9"})
        sim.dispatch("GUILD_CREATE", {"id": "10", "unavailable": True})
        await eventually(lambda: len(heard) == 8)
        assert [dispatch.guild_change for dispatch in await anext(batches)] == ["removed"]
    names = [name for name, _ in heard]
    assert names == [
        "available",
        "created",
        "joined",
        "created",
        "joined",
        "GuildUnavailable",
        "GuildRemoved",
        "created",
    ]
    assert isinstance(heard[2][1], GuildJoined)
    assert heard[2][1].name == "new"
