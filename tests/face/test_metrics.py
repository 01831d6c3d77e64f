"""Counters: every dispatch stands in the ledger exactly once, and what nobody hears never wakes Python."""

import asyncio
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually, open_and_quiet
from propylon import Dispatch, Gateway, Metrics
from propylon.events import GuildCreate, MessageCreate
from propylon.testing import Simulator, steps

Start = Callable[..., Simulator]


def adds_up(metrics: Metrics) -> bool:
    """`received = delivered + unheard + filtered + overflowed + queued`, and so by type where nothing waits."""
    went = [metrics.delivered, metrics.unheard, metrics.filtered, metrics.overflowed, metrics.queued]
    by_type = [
        metrics.delivered_by_type,
        metrics.unheard_by_type,
        metrics.filtered_by_type,
        metrics.overflowed_by_type,
    ]
    if metrics.received != sum(went) or metrics.received != sum(metrics.received_by_type.values()):
        return False
    if any(sum(counts.values()) != total for counts, total in zip(by_type, went, strict=False)):
        return False
    for name, received in metrics.received_by_type.items():
        rest = received - sum(counts.get(name, 0) for counts in by_type)
        if not 0 <= rest <= metrics.queued:
            return False
    return True


@pytest.mark.asyncio
@pytest.mark.parametrize("overflow", ["pause", "drop_oldest"])
async def test_the_ledger_adds_up_in_every_snapshot(propylon_simulator: Start, gateway_to: Any, overflow: Any) -> None:
    sim = propylon_simulator(rate=None, guilds=5)
    gateway: Gateway = gateway_to(sim, overflow=overflow, queue_bytes=100_000, max_pending=50)

    @gateway.listen
    async def on(message: MessageCreate) -> None:
        await asyncio.sleep(0)

    await gateway.open(timeout=10)
    snapshots: list[Metrics] = []

    def read() -> None:
        while not snapshots or snapshots[-1].received < 30_000:
            snapshots.append(gateway.metrics())

    await asyncio.wait_for(asyncio.to_thread(read), 60)
    assert all(adds_up(metrics) for metrics in snapshots)
    last = snapshots[-1]
    assert last.delivered > 0
    assert last.unheard > 0
    assert last.received_by_type.keys() >= {"READY", "GUILD_CREATE", "PRESENCE_UPDATE", "MESSAGE_CREATE"}
    assert max(metrics.queue_bytes for metrics in snapshots) < 100_000 + 300_000
    assert (last.overflowed == 0) or overflow == "drop_oldest"


@pytest.mark.asyncio
@pytest.mark.parametrize("compression", ["zstd-stream", "zlib-stream", None])
async def test_a_flood_that_nobody_listens_to_wakes_python_never(
    propylon_simulator: Start, gateway_to: Any, compression: Any
) -> None:
    events = 20_000
    sim = propylon_simulator(guilds=2, rate=None, count=events, start="manual")
    gateway: Gateway = gateway_to(sim, compression=compression)
    # A listener for another event, and one that has gone again, change nothing.
    created: list[Any] = []
    gateway.listen(GuildCreate)(created.append)
    gateway.listen(Dispatch)(lambda dispatch: None).remove()
    await open_and_quiet(sim, gateway)
    assert len(created) == 2
    before = gateway.metrics()
    sim.flood()
    await sim.wait_for("traffic_done", timeout=60)
    highest = 0
    while gateway.metrics().received < before.received + events:
        highest = max(highest, gateway.metrics().queued, gateway.metrics().queue_bytes)
        await asyncio.sleep(0.001)
    after = gateway.metrics()
    assert after.wakeups - before.wakeups == 0
    assert after.unheard - before.unheard == events
    assert highest == after.queued == after.queue_bytes == 0
    assert after.delivered == before.delivered
    assert gateway.session is not None
    assert gateway.session.sequence == 4 + events  # READY, two guilds, a mark: the sequence is kept all the same


@pytest.mark.asyncio
async def test_a_flood_that_is_heard_wakes_python_less_often_than_it_has_events(
    propylon_simulator: Start, gateway_to: Any
) -> None:
    sim = propylon_simulator(rate=None, count=20_000, start="manual", guilds=0)
    gateway: Gateway = gateway_to(sim)
    heard: list[int] = []
    gateway.listen(Dispatch)(lambda dispatch: heard.append(dispatch.sequence or 0))
    await gateway.open(timeout=10)
    sim.flood()
    await eventually(lambda: len(heard) == 20_001, timeout=60)
    assert 0 < gateway.metrics().wakeups < 5_000
    assert heard == list(range(1, 20_002))


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_the_rest_of_the_counters(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    assert all(value in (0, {}, None) for value in dataclasses.asdict(gateway.metrics()).values())
    await gateway.open(timeout=10)
    await gateway.send(31, {})
    # Beats that are asked for: those of a short interval would make a zombie of a busy machine.
    for count in (1, 2):
        sim.act(steps.request_heartbeats())
        await sim.wait_for("op", op=1, count=count)
    await eventually(lambda: gateway.latency is not None)
    assert 0 <= (gateway.latency or 0) < 10
    # The server may know of a beat before it is counted here.
    await eventually(lambda: gateway.metrics().heartbeats >= 2)
    metrics = gateway.metrics()
    assert (metrics.identifies, metrics.resumes, metrics.reconnects, metrics.commands_sent) == (1, 0, 0, 1)
    assert metrics.inflated_bytes > metrics.wire_bytes > 1000
    await gateway.close(resumable=True)
    await gateway.open(timeout=10)
    # They go on counting when it is opened again.
    await eventually(lambda: gateway.metrics().resumes == 1)
    metrics = gateway.metrics()
    assert (metrics.identifies, metrics.resumes, metrics.commands_sent) == (1, 1, 1)
    assert pickle.loads(pickle.dumps(metrics)) == metrics
    with pytest.raises(dataclasses.FrozenInstanceError):
        metrics.received = 0  # type: ignore[misc]
