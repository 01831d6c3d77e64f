"""Figures of a fleet: the worst status, the mean latency, the sum of the counters; and the room that all share."""

import asyncio
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from face.support import eventually, message
from fleet.support import balances, guild_on
from propylon import Dispatch, GatewayStatus, Metrics, ShardManager
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

Start = Callable[..., Simulator]
Make = Callable[..., ShardManager]

READY = GatewayStatus.READY


async def test_the_status_is_the_worst(propylon_simulator: Start, manager_to: Make) -> None:
    sim = propylon_simulator(guilds=0)
    manager = manager_to(sim, shards=3)
    assert manager.status is GatewayStatus.UNCONNECTED
    await manager.open(timeout=10)
    sim.script("next", steps.no_hello())
    sim.act(steps.reset(), shard=1)
    await eventually(lambda: manager.shards[1].status is GatewayStatus.WAITING_FOR_HELLO)
    assert manager.status is GatewayStatus.WAITING_FOR_HELLO
    assert [manager.shards[number].status for number in (0, 2)] == [READY, READY]


async def test_the_latency_is_the_mean_of_those_that_know_theirs(propylon_simulator: Start, manager_to: Make) -> None:
    # No beat but those that are asked for: no latency changes while it is read.
    sim = propylon_simulator(guilds=0, heartbeat_interval=600)
    manager = manager_to(sim, shards=2)
    await manager.open(timeout=10)
    sim.act(steps.request_heartbeats(), shard=0)
    await eventually(lambda: manager.shards[0].latency is not None)
    assert manager.shards[1].latency is None
    assert manager.latency == pytest.approx(manager.shards[0].latency)
    sim.act(steps.request_heartbeats(), shard=1)
    await eventually(lambda: manager.shards[1].latency is not None)
    each = [shard.latency or 0.0 for shard in manager.shards.values()]
    assert manager.latency == pytest.approx(sum(each) / 2)


async def test_metrics_are_the_sum_of_those_by_shard(propylon_simulator: Start, manager_to: Make) -> None:
    sim = propylon_simulator(guilds=8)
    manager = manager_to(sim, shards=4)
    assert manager.metrics(by_shard=True) == {}
    assert manager.metrics().received == 0
    manager.listen(MessageCreate)(lambda event: None)
    await manager.open(timeout=10)
    await manager.wait_guilds_ready(timeout=10)
    for number in range(40):
        guild = guild_on(number % 4, 4)
        sim.dispatch("MESSAGE_CREATE", message(guild_id=str(guild)), guild_id=guild)
    await eventually(lambda: manager.metrics().delivered_by_type.get("MESSAGE_CREATE") == 40)
    total, each = manager.metrics(), manager.metrics(by_shard=True)
    assert list(each) == [0, 1, 2, 3]
    assert [one.delivered_by_type["MESSAGE_CREATE"] for one in each.values()] == [10] * 4
    for field in fields(Metrics):
        values = [getattr(one, field.name) for one in each.values()]
        if field.name.endswith("_by_type"):
            events = {event for value in values for event in value}
            assert getattr(total, field.name) == {event: sum(v.get(event, 0) for v in values) for event in events}
        elif field.name.startswith("last_"):
            assert getattr(total, field.name) == max((at for at in values if at is not None), default=None), field.name
        elif field.name == "running":
            assert values == [None] * 4
            assert total.running is None
        else:
            assert getattr(total, field.name) == sum(values), field.name
    assert balances(total)
    assert all(map(balances, each.values()))


async def test_the_counters_of_before_a_reshard_stay(lively_simulator: Start, manager_to: Make) -> None:
    sim = lively_simulator(guilds=4, max_concurrency=4)
    manager = manager_to(sim, shards=2)
    manager.listen(MessageCreate)(lambda event: None)
    await manager.open(timeout=10)
    await manager.wait_guilds_ready(timeout=10)
    for number in range(10):
        guild = guild_on(number, 12)
        sim.dispatch("MESSAGE_CREATE", message(str(number), guild_id=str(guild)), guild_id=guild)
    await eventually(lambda: manager.metrics().delivered_by_type.get("MESSAGE_CREATE") == 10)
    before = manager.metrics()
    await manager.reshard(3, window=0.1)
    after = manager.metrics()
    assert after.delivered_by_type["MESSAGE_CREATE"] == 10
    assert after.identifies == 5
    assert after.received > before.received
    assert after.wire_bytes > before.wire_bytes
    # What a queue holds is of now.
    assert (after.queued, after.queue_bytes, after.pending) == (0, 0, 0)
    assert balances(after)
    assert set(manager.metrics(by_shard=True)) == {0, 1, 2}
    await manager.close()
    assert manager.metrics().delivered_by_type["MESSAGE_CREATE"] == 10
    assert balances(manager.metrics())


async def test_the_counters_of_before_another_number_at_an_opening_stay(
    propylon_simulator: Start, manager_to: Make
) -> None:
    sim = propylon_simulator(guilds=0, shards=1)
    manager = manager_to(sim)
    await manager.open(timeout=10)
    await manager.close()
    bot = f'{{"url": "{sim.url}", "shards": 2, "session_start_limit": {{"total": 1000, "remaining": 900, '
    bot += '"reset_after": 1000, "max_concurrency": 1, "identify_interval": 0}}'
    sim.act(steps.api_response(200, body=bot))
    await manager.open(timeout=10)
    assert manager.total == 2
    assert manager.metrics().identifies == 3
    assert balances(manager.metrics())


class TestRoom:
    @pytest.mark.parametrize("overflow", ["pause", "drop_oldest"])
    async def test_one_that_is_flooded_leaves_the_others_their_part(
        self, propylon_simulator: Start, manager_to: Make, overflow: str
    ) -> None:
        """Its listener is held; the room is exceeded by no more than half, and the others' events come in."""
        limit = 200_000
        sim = propylon_simulator(guilds=0, max_concurrency=4)
        manager = manager_to(sim, shards=4, queue_bytes=limit, max_pending=1, overflow=overflow)
        held = asyncio.Event()
        heard: dict[int, int] = {}

        @manager.listen
        async def on(event: MessageCreate, dispatch: Dispatch[Any]) -> None:
            heard[dispatch.shard_id] = heard.get(dispatch.shard_id, 0) + 1
            await held.wait()

        await manager.open(timeout=10)
        flooded, others = guild_on(0, 4), [guild_on(number, 4) for number in (1, 2, 3)]
        sim.dispatch_many("MESSAGE_CREATE", [(flooded, message("x" * 400, guild_id=str(flooded)))] * 2_000)

        def full() -> bool:
            metrics = manager.shards[0].metrics()
            return metrics.queue_bytes > limit // 2 and (metrics.pauses > 0 or metrics.overflowed > 0)

        await eventually(full)
        for guild in others:
            sim.dispatch_many("MESSAGE_CREATE", [(guild, message("y", guild_id=str(guild)))] * 20)
        await eventually(
            lambda: all(
                manager.shards[number].metrics().received_by_type.get("MESSAGE_CREATE") == 20 for number in (1, 2, 3)
            )
        )
        assert [manager.shards[number].metrics().overflowed for number in (1, 2, 3)] == [0, 0, 0]
        assert manager.metrics().queue_bytes <= limit * 1.5
        assert balances(manager.metrics())
        held.set()
        await eventually(lambda: [heard.get(number) for number in (1, 2, 3)] == [20, 20, 20])
        if overflow == "pause":
            await eventually(lambda: heard[0] == 2_000, 20)
        await eventually(lambda: manager.metrics().queue_bytes == 0)
        assert balances(manager.metrics())

    async def test_a_shard_has_its_own_bound(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2, shard_queue_bytes=20_000, max_pending=1)
        held = asyncio.Event()

        @manager.listen
        async def on(event: MessageCreate) -> None:
            await held.wait()

        await manager.open(timeout=10)
        flooded = guild_on(0, 2)
        sim.dispatch_many("MESSAGE_CREATE", [(flooded, message("x" * 400, guild_id=str(flooded)))] * 500)
        await eventually(lambda: manager.shards[0].metrics().pauses > 0)
        # One more read from the wire may be in it.
        assert manager.shards[0].metrics().queue_bytes <= 20_000 + 65_536
        held.set()
        await eventually(lambda: manager.metrics().delivered_by_type.get("MESSAGE_CREATE") == 500)

    async def test_after_a_reshard_the_new_ones_have_room(self, lively_simulator: Start, manager_to: Make) -> None:
        sim = lively_simulator(guilds=0, max_concurrency=4)
        manager = manager_to(sim, shards=1, queue_bytes=100_000)
        heard: list[int] = []
        manager.listen(MessageCreate)(lambda event: heard.append(1))
        await manager.open(timeout=10)
        await manager.reshard(4, window=0.1)
        guild = guild_on(3, 4)
        sim.dispatch_many("MESSAGE_CREATE", [(guild, message("x" * 400, guild_id=str(guild)))] * 1_000)
        await eventually(lambda: len(heard) == 1_000)
