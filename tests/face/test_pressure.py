"""Back-pressure, link by link: unfinished calls, the queue, the socket; and what each policy loses."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from propylon import Dispatch, Gateway, GatewayStatus
from propylon.events import MessageCreate
from propylon.testing import Simulator

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
EVENTS = 3_000


def flood(simulator: Start, **options: Any) -> Simulator:
    # A small socket buffer: what the client does not read stays with the server.
    options = {"send_buffer": 65_536, "command_limit": 0, **options}
    return simulator(guilds=0, events=["MESSAGE_CREATE"], rate=None, count=EVENTS, start="manual", **options)


def messages(gateway: Gateway) -> int:
    # Of all that was received: READY is no message.
    return gateway.metrics().received_by_type.get("MESSAGE_CREATE", 0)


def numbers(heard: list[Any]) -> list[int]:
    return [dispatch.sequence for dispatch in heard]


async def test_max_pending_stops_the_handing_out(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = flood(propylon_simulator)
    gateway: Gateway = gateway_to(sim, max_pending=7)
    begun: list[Any] = []
    gate = asyncio.Semaphore(0)

    @gateway.listen
    async def on(dispatch: Dispatch[MessageCreate]) -> None:
        begun.append(dispatch)
        await gate.acquire()

    await gateway.open(timeout=10)
    sim.flood()
    # The engine may have received all of them before the loop hands out the first.
    await eventually(lambda: messages(gateway) == EVENTS and len(begun) == 7)
    assert (len(begun), gateway.metrics().pending) == (7, 7)
    for _ in range(3):
        gate.release()
    await eventually(lambda: len(begun) == 10)
    await asyncio.sleep(0.02)
    assert (len(begun), gateway.metrics().pending) == (10, 7)
    for _ in range(EVENTS):
        gate.release()
    await eventually(lambda: gateway.metrics().pending == 0 and len(begun) == EVENTS)
    assert numbers(begun) == sorted(set(numbers(begun)))
    assert gateway.metrics().overflowed == gateway.metrics().pauses == 0


async def test_pause_reads_no_more_and_loses_nothing(propylon_simulator: Start, gateway_to: Any) -> None:
    # Long enough for a busy machine to take the ACK of a beat, behind all those events, before the next is due.
    sim = flood(propylon_simulator, heartbeat_interval=2)
    gateway: Gateway = gateway_to(sim, max_pending=1, queue_bytes=50_000, compression=None)
    heard: list[Any] = []
    gate = asyncio.Event()

    @gateway.listen
    async def on(dispatch: Dispatch[MessageCreate]) -> None:
        heard.append(dispatch)
        await gate.wait()

    await gateway.open(timeout=10)
    sim.flood()
    await eventually(lambda: heard and gateway.metrics().pauses and gateway.metrics().queue_bytes >= 50_000)
    paused = gateway.metrics()
    beats = paused.heartbeats
    # Longer than the zombie rule would allow a server that is listened to.
    await eventually(lambda: gateway.metrics().heartbeats >= beats + 2)
    still = gateway.metrics()
    assert still.received == paused.received < EVENTS
    assert still.queue_bytes < 50_000 + 20_000
    assert gateway.status is GatewayStatus.READY
    gate.set()
    await eventually(lambda: len(heard) == EVENTS, timeout=30)
    assert numbers(heard) == list(range(2, EVENTS + 2))
    metrics = gateway.metrics()
    assert (metrics.reconnects, metrics.overflowed, metrics.queued, metrics.queue_bytes) == (0, 0, 0, 0)
    assert metrics.paused_seconds > 0.5
    assert metrics.pauses >= 1


async def test_drop_oldest_reads_on_and_counts_what_it_drops(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = flood(propylon_simulator)
    gateway: Gateway = gateway_to(sim, max_pending=1, queue_bytes=50_000, overflow="drop_oldest")
    heard: list[Any] = []
    gate = asyncio.Event()

    @gateway.listen
    async def on(dispatch: Dispatch[MessageCreate]) -> None:
        heard.append(dispatch)
        await gate.wait()

    await gateway.open(timeout=10)
    # From this one on nobody takes any, so that the queue can only fill.
    sim.dispatch("MESSAGE_CREATE", {})
    await eventually(lambda: heard)
    sim.flood()
    await eventually(lambda: messages(gateway) == EVENTS + 1)
    full = gateway.metrics()
    assert full.pauses == 0
    assert full.overflowed == full.overflowed_by_type["MESSAGE_CREATE"] > 0
    assert 25_000 < full.queue_bytes <= 50_000
    gate.set()
    await eventually(lambda: gateway.metrics().queued == 0 and len(heard) == gateway.metrics().delivered)
    got = numbers(heard)
    assert got == sorted(set(got))
    assert got[-1] == EVENTS + 2  # the newest stay
    assert len(heard) + gateway.metrics().overflowed == EVENTS + 1


@pytest.mark.parametrize("size", [1, 64, 256])
async def test_a_slow_reader_of_batches_loses_nothing(propylon_simulator: Start, gateway_to: Any, size: int) -> None:
    sim = flood(propylon_simulator)
    gateway: Gateway = gateway_to(sim, queue_bytes=100_000)
    heard: list[int] = []
    got: list[Any] = []
    highest = 0
    gateway.listen(Dispatch[MessageCreate])(lambda dispatch: heard.append(dispatch.sequence or 0))
    async with gateway.batches(MessageCreate, size=size) as batches:
        await gateway.open(timeout=10)
        sim.flood()
        turns = 0
        async for batch in batches:
            assert 1 <= len(batch) <= size
            got += batch
            highest = max(highest, len(batches._buffer))
            turns += 1
            if turns < 20:
                await asyncio.sleep(0.002)
            if len(got) == EVENTS:
                break
    assert numbers(got) == heard == list(range(2, EVENTS + 2))
    assert highest <= 2 * max(2 * size, 512)
    assert gateway.metrics().overflowed == 0


class TestBatches:
    async def test_without_a_name_it_is_every_event(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator(guilds=1)
        gateway: Gateway = gateway_to(sim)
        types: list[str] = []
        async with gateway.batches() as batches:
            await gateway.open(timeout=10)
            sim.dispatch("GUILD_TOMORROW", {})
            async for batch in batches:
                types += [dispatch.type for dispatch in batch]
                if len(types) == 3:
                    break
        assert types == ["READY", "GUILD_CREATE", "GUILD_TOMORROW"]

    async def test_it_ends_when_the_gateway_closes_and_what_is_buffered_is_read(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        sim = propylon_simulator(guilds=1)
        gateway: Gateway = gateway_to(sim)
        async with gateway.batches() as batches:
            await gateway.open(timeout=10)
            await eventually(lambda: len(batches._buffer) == 2)
            await gateway.close(resumable=True)
            assert [len(batch) async for batch in batches] == [2]
            # Opened again it hears no more, and gathers nothing that nobody will read.
            await gateway.open(timeout=10)
            sim.dispatch("MESSAGE_CREATE", {})
            await eventually(lambda: gateway.metrics().unheard == 2)
            assert not batches._buffer
        assert not gateway._listening.registry.entries

    async def test_closing_wakes_a_waiting_reader(self, propylon_simulator: Start, gateway_to: Any) -> None:
        gateway: Gateway = gateway_to(propylon_simulator())

        async def read() -> list[Any]:
            async with gateway.batches(MessageCreate) as batches:
                return [batch async for batch in batches]

        await gateway.open(timeout=10)
        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        await gateway.close()
        assert await reading == []

    async def test_misuse_is_told(self, propylon_simulator: Start, gateway_to: Any) -> None:
        gateway: Gateway = gateway_to(propylon_simulator())
        batches = gateway.batches(MessageCreate)
        with pytest.raises(RuntimeError, match="context manager"):
            await anext(batches)
        async with batches:
            reading = asyncio.create_task(anext(batches))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                await anext(batches)
            reading.cancel()
        with pytest.raises(RuntimeError, match="entered once"):
            await batches.__aenter__()
        with pytest.raises(ValueError, match="size"):
            gateway.batches(size=0)
        with pytest.raises(TypeError, match="is no event"):
            gateway.batches(int)  # type: ignore[arg-type]
