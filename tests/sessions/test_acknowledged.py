"""What readers of batches do to what is saved: ``ack=True`` over restarts, and what comes while a gateway drains."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from face.support import SHORT, eventually, message
from fleet.support import guild_on, make_manager, say
from propylon import Batches, Dispatch, Gateway, Intents
from propylon.events import MessageCreate, TypingStart
from propylon.testing import Simulator
from sessions.conftest import MemoryStore

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]


def bot(sim: Simulator, store: Any) -> Gateway:
    return Gateway("kept", sessions=store, intents=Intents.ALL, gateway_url=sim.url, **SHORT)


@pytest.mark.parametrize("leaving", ["with the gateway", "before", "by an error"])
async def test_what_is_not_acknowledged_is_heard_again_after_a_restart(propylon_simulator: Start, leaving: str) -> None:
    sim = propylon_simulator(guilds=0)
    store = MemoryStore()
    first = bot(sim, store)
    async with first, contextlib.AsyncExitStack() as stack:
        with contextlib.suppress(OSError):
            async with contextlib.AsyncExitStack() as inner:
                outer = inner if leaving != "with the gateway" else stack
                batches = await outer.enter_async_context(first.batches(MessageCreate, size=2, ack=True))
                for _ in range(6):
                    sim.dispatch("MESSAGE_CREATE", message())
                await eventually(lambda: len(batches._buffer) == 6)
                taken = [await anext(batches), await anext(batches)]
                taken[0].ack()
                if leaving == "by an error":
                    raise OSError("the disk is full")
        # It goes on with others.
        sim.dispatch("TYPING_START", {})
        await eventually(lambda: first.metrics().received == 8)
    assert store.only is not None
    assert first.session is not None
    assert (store.only.sequence, first.session.sequence) == (3, 8)
    # Too late, and no error.
    taken[1].ack()

    second = bot(sim, store)
    async with second.batches(MessageCreate, size=100, seconds=0.05, ack=True) as batches, second:
        again: list[int | None] = []
        while len(again) < 4:
            batch = await anext(batches)
            again += [dispatch.sequence for dispatch in batch]
            batch.ack()
    assert again == [4, 5, 6, 7]
    assert (second.metrics().identifies, second.metrics().resumes) == (0, 1)
    (resume,) = [op for connection in sim.record()["connections"] for op in connection["ops"] if op["op"] == 6]
    assert resume["payload"]["d"]["seq"] == 3
    assert store.only == second.session


async def close_at_work(sim: Simulator, gateway: Gateway, *, seconds: float, drain: float) -> None:
    """Close a gateway when three events wait with a reader who waits for more, and takes ``seconds`` for a batch."""

    async def export(batches: Batches) -> None:
        async for batch in batches:
            await asyncio.sleep(seconds)
            batch.ack()

    async with gateway.batches(MessageCreate, size=100, seconds=3600, ack=True) as batches:
        exporting = asyncio.create_task(export(batches))
        await gateway.open(timeout=10)
        for _ in range(3):
            sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: len(batches._buffer) == 3)
        await gateway.close(drain=drain)
        exporting.cancel()
        await asyncio.wait([exporting])


async def test_a_drain_lets_readers_of_batches_acknowledge(
    propylon_simulator: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """What an orderly end gives at once is not given again after it."""
    store = MemoryStore()
    sim = propylon_simulator(guilds=0)
    gateway = bot(sim, store)
    await close_at_work(sim, gateway, seconds=0.1, drain=30)
    assert store.only == gateway.session
    assert "acknowledged" not in caplog.text


async def test_a_drain_does_not_wait_for_ever_for_that(
    propylon_simulator: Start, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    sim = propylon_simulator(guilds=0)
    await close_at_work(sim, bot(sim, store), seconds=3600, drain=0.1)
    assert store.only is not None
    assert store.only.sequence == 1
    assert "3 events of batches(ack=True) were not acknowledged: they come again" in caplog.text


@pytest.mark.parametrize("ack", [False, True])
@pytest.mark.parametrize("left", [False, True])
async def test_what_comes_while_it_drains_is_heard_by_the_next(
    propylon_simulator: Start, ack: bool, left: bool
) -> None:
    """A reader gets no more then, which does not mean that nobody wants it."""
    sim = propylon_simulator(guilds=0)
    store = MemoryStore()
    first = bot(sim, store)
    gate = asyncio.Event()

    @first.listen
    async def at_work(_: Dispatch[TypingStart]) -> None:
        await gate.wait()

    async with contextlib.AsyncExitStack() as stack:
        batches = await stack.enter_async_context(first.batches(MessageCreate, ack=ack))
        await first.open(timeout=10)
        sim.dispatch("TYPING_START", {})
        await eventually(lambda: first.metrics().pending == 1)
        closing = asyncio.create_task(first.close(drain=30))
        assert [batch async for batch in batches] == []
        if left:
            await stack.aclose()
        sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: first.metrics().received == 3)
        gate.set()
        await closing
    assert store.only is not None
    assert store.only.sequence == 2
    assert not [entry for entry in first._listening.registry.entries if entry.name == "batches()"]
    second = bot(sim, store)
    async with second.batches(MessageCreate, ack=ack) as batches, second:
        assert [dispatch.sequence for dispatch in await anext(batches)] == [3]


async def test_a_reader_that_closes_does_not_wait_for_itself(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0)
    store = MemoryStore()
    async with bot(sim, store) as gateway, gateway.batches(MessageCreate, ack=True) as batches:
        sim.dispatch("MESSAGE_CREATE", message())
        await anext(batches)
        async with asyncio.timeout(5):
            await gateway.close(drain=3600)
    assert store.only is not None
    assert store.only.sequence == 1


async def test_ready_that_nobody_acknowledged_holds_nothing_back(propylon_simulator: Start) -> None:
    """Or there would be no session to go on from, and what came behind it would be lost."""
    sim = propylon_simulator(guilds=0)
    store = MemoryStore()
    first = bot(sim, store)
    async with first.batches(size=100, seconds=3600, ack=True) as batches, first:
        for _ in range(5):
            sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: len(batches._buffer) == 6)
        await eventually(lambda: store.only is not None)
        assert store.only is not None
        assert store.only.sequence == 1


async def test_what_was_left_holds_the_session_back_for_five_minutes(
    propylon_simulator: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sim = propylon_simulator(guilds=0)
    store = MemoryStore()
    gateway = bot(sim, store)
    async with gateway:
        async with gateway.batches(MessageCreate, ack=True) as batches:
            sim.dispatch("MESSAGE_CREATE", message())
            await anext(batches)
        # Begun anew, and all goes well again.
        async with gateway.batches(MessageCreate, ack=True) as batches:
            for _ in range(3):
                sim.dispatch("MESSAGE_CREATE", message())
                (await anext(batches)).ack()
        await eventually(lambda: store.only is not None)
        assert store.only is not None
        assert store.only.sequence == 1
        monkeypatch.setattr("propylon._listening.face._LEFT", 0.0)
        await eventually(lambda: store.only == gateway.session)
    assert "event 2 and those behind it, which batches(ack=True) were left with, do not come again" in caplog.text


async def test_what_waits_because_of_a_reader_that_leaves_is_heard_again(propylon_simulator: Start) -> None:
    """Also of a shard of which it has nothing in hand."""
    sim = propylon_simulator(guilds=0, max_concurrency=16, replay_buffer=10_000)
    store = MemoryStore()
    first = make_manager(sim, token="left", sessions=store, shards=2)
    async with first:
        async with first.batches(MessageCreate, size=256, ack=True) as batches:
            for _ in range(600):
                say(sim, guild_on(0, 2), "a")
            await eventually(lambda: batches._blocking)
            for _ in range(40):
                say(sim, guild_on(1, 2), "b")
            await eventually(lambda: first.shards[1].metrics().queued > 0)
            await eventually(lambda: first.metrics().received == 642)
            await anext(batches)
        # What waits is handed out now, and nobody hears it.
        await eventually(lambda: first.metrics().queued == 0)
    second = make_manager(sim, token="left", sessions=store, shards=2)
    again = 0
    async with second.batches(MessageCreate, size=1000, ack=True) as batches, second:
        while again < 640:
            batch = await anext(batches)
            batch.ack()
            again += len(batch)
    assert (second.metrics().identifies, second.metrics().resumes) == (0, 2)
