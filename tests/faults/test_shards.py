"""Shards of one bot: an outage that hits all of them, the bucket that they share, and a READY of 2,500 guilds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from face.support import SHORT, eventually
from faults.conftest import Witness, ops
from propylon import Gateway, GatewayStatus, Intents, Timeouts
from propylon.events import Ready
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Make = Callable[..., Witness]
Shards = Callable[..., list[Witness]]


@pytest_asyncio.fixture
async def shards() -> AsyncIterator[Shards]:
    """Make all shards of one bot, ``shards(sim, 4)``: one token, and so one identify gate."""
    made: list[Witness] = []

    def make(sim: Simulator, count: int, **options: Any) -> list[Witness]:
        options = {"api_url": sim.api_url, "intents": Intents.ALL, **SHORT, **options}
        made.extend(Witness(Gateway("one-token", shard=(shard, count), **options)) for shard in range(count))
        return made

    yield make
    for witness in made:
        await witness.gateway.close()


async def test_s9_an_outage_is_resumed_by_all_shards_side_by_side(
    propylon_simulator: Start, shards: Shards, caplog: pytest.LogCaptureFixture
) -> None:
    """§9, §11: one library identifies after 8 s without network, and its shards reconnect one after the other."""
    sim = propylon_simulator(guilds=4, shards=4, max_concurrency=4)
    witnesses = shards(sim, 4)
    await asyncio.gather(*[witness.gateway.open(timeout=20) for witness in witnesses])
    sim.act(steps.stop_listening())
    for number in range(1, 5):
        sim.act(steps.reset(), number)
    # Several attempts of each come to nothing.
    await eventually(lambda: caplog.text.count("no connection (unreachable)") >= 12)
    for _ in witnesses:
        sim.script("next", steps.not_answer_resume())
    sim.act(steps.listen())
    # All have sent their RESUME, and none of them was answered yet.
    await sim.wait_for("op", op=6, count=4)
    assert [ops(connection) for connection in sim.record()["connections"]] == [[2]] * 4 + [[6]] * 4
    for number in range(5, 9):
        sim.act(steps.send_json({"op": 0, "t": "RESUMED", "s": None, "d": {}}), number)
    for witness in witnesses:
        await eventually(lambda gateway=witness.gateway: gateway.metrics().resumes == 1)
        assert witness.gateway.status is GatewayStatus.READY
        metrics = witness.gateway.metrics()
        assert (metrics.identifies, metrics.resumes) == (1, 1)


async def test_s5_an_identify_without_answer_holds_its_bucket_for_15_seconds(
    propylon_simulator: Start, shards: Shards
) -> None:
    """§5: then the next shard may, though nobody knows what became of the first."""
    sim = propylon_simulator(guilds=0, shards=2, scripts={1: [steps.never_ready()]})
    # Nothing but the gate has a patience that ends in the meantime.
    first, second = shards(sim, 2, timeouts=Timeouts(ready=120))
    waiting = asyncio.create_task(first.gateway.open())
    await sim.wait_for("op", op=2)
    await second.gateway.open(timeout=60)
    assert first.gateway.status is GatewayStatus.WAITING_FOR_READY
    times = [op["ms"] for connection in sim.record()["connections"] for op in connection["ops"] if op["op"] == 2]
    assert times[1] - times[0] >= 13_000
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_s5_a_ready_of_a_full_shard_is_read(propylon_simulator: Start, witness_to: Make) -> None:
    """§5: 2,500 guilds, and 4 MB of what Discord traces."""
    guilds = [{"id": str(10**18 + number), "unavailable": True} for number in range(2_500)]
    sim = propylon_simulator(
        guilds=0, scripts={1: [steps.ready(set={"guilds": guilds, "_trace": ["x" * 1_000] * 4_000})]}
    )
    witness = witness_to(sim)
    typed: list[Ready] = []
    witness.gateway.listen(Ready)(typed.append)
    await witness.gateway.open(timeout=20)
    await eventually(lambda: typed)
    assert [guild.id for guild in typed[0].guilds] == [int(guild["id"]) for guild in guilds]
