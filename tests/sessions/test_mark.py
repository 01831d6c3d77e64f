"""The finished mark: the largest sequence number up to which every call of a listener has finished."""

import asyncio
import gc
import random
from collections.abc import Callable
from typing import Any

import pytest

from face.support import asking, eventually, message
from propylon import Dispatch, Gateway, GatewayStatus
from propylon._sessions import keeping
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]


def mark(gateway: Gateway) -> int:
    session = keeping.finished_mark(gateway._life.shard, gateway._life.consumer, gateway._listening.unfinished)
    assert session is not None
    return session.sequence


async def test_what_nobody_hears_has_finished(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    for _ in range(5):
        sim.dispatch("TYPING_START", {})
    await eventually(lambda: mark(gateway) == 6)


async def test_an_unfinished_call_holds_it_and_later_ones_that_finish_do_not_move_it(
    propylon_simulator: Start, gateway_to: Any
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    # 2, 4, ... are heard; 3, 5, ... are not.
    gates = {number: asyncio.Event() for number in range(2, 12, 2)}

    @gateway.listen
    async def on(dispatch: Dispatch[MessageCreate]) -> None:
        assert dispatch.sequence is not None
        await gates[dispatch.sequence].wait()

    await gateway.open(timeout=10)
    for _ in range(5):
        sim.dispatch("MESSAGE_CREATE", message())
        sim.dispatch("TYPING_START", {})
    await eventually(lambda: gateway.metrics().pending == 5)
    assert mark(gateway) == 1
    gates[4].set()
    gates[8].set()
    await eventually(lambda: gateway.metrics().pending == 3)
    assert mark(gateway) == 1
    gates[2].set()
    await eventually(lambda: gateway.metrics().pending == 2)
    assert mark(gateway) == 5, "6 runs, 8 has finished"
    gates[6].set()
    gates[10].set()
    await eventually(lambda: mark(gateway) == 11)


@pytest.mark.parametrize("allowed", [1, 3])
async def test_what_waits_holds_it(propylon_simulator: Start, gateway_to: Any, allowed: int) -> None:
    sim = propylon_simulator(guilds=0, events=["MESSAGE_CREATE"], rate=None, count=500, start="manual")
    gateway: Gateway = gateway_to(sim, max_pending=allowed)
    gate = asyncio.Semaphore(0)
    finished: list[int] = []

    @gateway.listen
    async def on(dispatch: Dispatch[MessageCreate]) -> None:
        await gate.acquire()
        finished.append(dispatch.sequence or 0)

    await gateway.open(timeout=10)
    sim.flood()
    await eventually(lambda: gateway.metrics().received == 501 and gateway.metrics().pending == allowed)
    assert mark(gateway) == 1
    for _ in range(7):
        gate.release()
    await eventually(lambda: len(finished) == 7 and mark(gateway) == 8 and gateway.metrics().pending == allowed)
    for _ in range(500):
        gate.release()
    await eventually(lambda: mark(gateway) == 501)


async def test_a_call_that_raises_or_is_cancelled_has_finished(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    gateway.on_error(lambda error: None)

    @gateway.listen(Dispatch[MessageCreate])
    async def late(_: Any) -> None:
        await asyncio.sleep(0)
        raise ValueError

    @gateway.listen(Dispatch[MessageCreate])
    def early(_: Any) -> None:
        raise ValueError

    await gateway.open(timeout=10)
    sim.dispatch("MESSAGE_CREATE", message())
    sim.dispatch("MESSAGE_CREATE", {"does": "not fit"})
    await eventually(lambda: mark(gateway) == 3)


async def test_batches_have_finished_when_they_are_read(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    async with gateway.batches(MessageCreate, size=2) as batches:
        await gateway.open(timeout=10)
        for _ in range(5):
            sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: gateway.metrics().delivered == 5)
        assert mark(gateway) == 1
        assert len(await anext(batches)) == 2
        assert mark(gateway) == 3
        await anext(batches)
        await anext(batches)
        assert mark(gateway) == 6


class TestAcknowledged:
    """``batches(ack=True)``: an event has finished when its batch is acknowledged."""

    async def test_taking_does_not_move_it_and_acknowledging_does(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        sim = propylon_simulator(guilds=0)
        gateway: Gateway = gateway_to(sim)
        async with gateway.batches(MessageCreate, size=2, ack=True) as batches:
            await gateway.open(timeout=10)
            for _ in range(5):
                sim.dispatch("MESSAGE_CREATE", message())
                sim.dispatch("TYPING_START", {})
            await eventually(lambda: gateway.metrics().received == 11 and gateway.metrics().delivered == 5)
            assert mark(gateway) == 1
            first, second = await anext(batches), await anext(batches)
            assert mark(gateway) == 1
            first.ack()
            assert mark(gateway) == 5, "6 is in the second batch, 3 and 5 are nobody's"
            third = await anext(batches)
            assert [dispatch.sequence for dispatch in third] == [10]
            third.ack()
            assert mark(gateway) == 11, "it is for all before"
            second.ack()
            assert mark(gateway) == 11

    async def test_leaving_does_not_move_it(
        self, propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        sim = propylon_simulator(guilds=0, identify_interval=0)
        gateway: Gateway = gateway_to(sim, **asking(sim))
        await gateway.open(timeout=10)
        for _ in range(20):
            async with gateway.batches(MessageCreate, size=3, ack=True) as batches:
                for _ in range(5):
                    sim.dispatch("MESSAGE_CREATE", message())
                await eventually(lambda batches=batches: len(batches._buffer) == 5)
                await anext(batches)
            # Nobody needs the object for that.
            del batches
            gc.collect()
            assert mark(gateway) == 1
        assert len(gateway._listening._left) == 1
        assert "were left with 5 events that nobody acknowledged" in caplog.text

    async def test_leaving_when_all_is_acknowledged_leaves_nothing(
        self, propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        sim = propylon_simulator(guilds=0)
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        async with gateway.batches(MessageCreate, ack=True) as batches:
            sim.dispatch("MESSAGE_CREATE", message())
            (await anext(batches)).ack()
        assert mark(gateway) == 2
        assert not gateway._listening._left
        assert "acknowledged" not in caplog.text

    async def test_what_is_left_of_an_earlier_session_does_not_hold_it(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        sim = propylon_simulator(guilds=0, identify_interval=0)
        gateway: Gateway = gateway_to(sim, **asking(sim))
        async with gateway.batches(MessageCreate, ack=True) as open_one:
            async with gateway.batches(MessageCreate, ack=True) as left:
                await gateway.open(timeout=10)
                sim.dispatch("MESSAGE_CREATE", message())
                batch = await anext(open_one)
                await anext(left)
            assert mark(gateway) == 1
            sim.act(steps.close(4009))
            await sim.wait_for("ready", count=2)
            new = sim.record()["sessions"][1]["id"]
            for event in ("TYPING_START", "MESSAGE_CREATE", "TYPING_START"):
                sim.dispatch(event, message(), session=new)
            await eventually(lambda: gateway.metrics().received == 6)
            assert mark(gateway) == 2, "3 is not acknowledged"
            batch.ack()
            assert mark(gateway) == 2
            (await anext(open_one)).ack()
            await eventually(lambda: mark(gateway) == 4)


async def test_what_overflowed_has_finished(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0, events=["MESSAGE_CREATE"], rate=None, count=2_000, start="manual")
    gateway: Gateway = gateway_to(sim, max_pending=1, queue_bytes=50_000, overflow="drop_oldest")
    gate = asyncio.Event()
    begun: list[int] = []

    @gateway.listen
    async def on(dispatch: Dispatch[MessageCreate]) -> None:
        begun.append(dispatch.sequence or 0)
        await gate.wait()

    await gateway.open(timeout=10)
    sim.flood()
    # The engine may have received all of them before the loop hands out the first.
    await eventually(lambda: gateway.metrics().received == 2_001 and begun)
    assert gateway.metrics().overflowed > 0
    assert mark(gateway) == begun[0] - 1
    gate.set()
    await eventually(lambda: mark(gateway) == 2_001)


async def test_calls_of_an_earlier_session_do_not_hold_it(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0, identify_interval=0)
    gateway: Gateway = gateway_to(sim, **asking(sim))
    gate = asyncio.Event()

    @gateway.listen
    async def on(_: MessageCreate) -> None:
        await gate.wait()

    await gateway.open(timeout=10)
    sim.dispatch("TYPING_START", {})
    sim.dispatch("MESSAGE_CREATE", message())
    await eventually(lambda: gateway.metrics().pending == 1)
    assert mark(gateway) == 2
    sim.act(steps.close(4009))
    await sim.wait_for("ready", count=2)
    await eventually(lambda: gateway.status is GatewayStatus.READY)
    for _ in range(9):
        sim.dispatch("TYPING_START", {}, session=sim.record()["sessions"][1]["id"])
    await eventually(lambda: mark(gateway) == 10)
    assert gateway.metrics().identifies == 2
    assert gateway.metrics().pending == 1
    gate.set()


async def test_a_call_that_runs_for_very_long_holds_it_no_longer(
    propylon_simulator: Start, gateway_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)

    @gateway.listen
    async def on(_: MessageCreate) -> None:
        await asyncio.sleep(3600)

    await gateway.open(timeout=10)
    sim.dispatch("MESSAGE_CREATE", message())
    await eventually(lambda: gateway.metrics().pending == 1)
    assert mark(gateway) == 1
    monkeypatch.setattr(keeping, "_LONG_CALL", 0.0)
    assert mark(gateway) == 2


async def test_it_is_never_ahead_of_what_has_finished(propylon_simulator: Start, gateway_to: Any) -> None:
    """Sampled through a flood with listeners that come, go, suspend for any time, and fall behind."""
    count = 20_000
    sim = propylon_simulator(guilds=0, rate=None, count=count, start="manual", seed=3)
    gateway: Gateway = gateway_to(sim, max_pending=200)
    heard: set[int] = set()
    finished: set[int] = set()
    rng = random.Random(5)

    @gateway.listen
    async def everything(dispatch: Dispatch) -> None:
        assert dispatch.sequence is not None
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() * 0.01)
        finished.add(dispatch.sequence)

    @gateway.listen
    def at_once(dispatch: Dispatch[MessageCreate]) -> None:
        heard.add(dispatch.sequence or 0)

    await gateway.open(timeout=10)
    sim.flood()
    samples = [0]
    while samples[-1] < count:
        samples.append(mark(gateway))
        missing = [number for number in range(samples[-2] + 1, samples[-1] + 1) if number not in finished]
        assert not missing, samples[-1]
        await asyncio.sleep(0)
    assert samples == sorted(samples)
    assert len(set(samples)) > 50
    assert heard
