"""Frames without end and peers that do not read: what they cost is bounded, and the session goes on."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from faults.conftest import Witness
from faults.memory import Peak
from propylon import GatewayStatus, NotConnected, PayloadTooLarge
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Make = Callable[..., Witness]

MEBIBYTE = 1024 * 1024
ROOM = 24 * MEBIBYTE
"""What client, server and their socket buffers may take together."""


async def test_a_message_of_a_million_empty_fragments(propylon_simulator: Start, witness_to: Make) -> None:
    """F26: it comes to its end and is nothing, which costs nothing."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    peak = Peak()
    sim.act(steps.continuation_flood(1_000_000, finish=True))
    sim.dispatch("TYPING_START", {})
    await eventually(lambda: witness.heard("TYPING_START"), timeout=30)
    assert peak.growth < ROOM
    assert not witness.ends


@pytest.mark.parametrize("compression", ["zstd-stream", None])
async def test_fragments_without_end_are_cut_off(propylon_simulator: Start, witness_to: Make, compression: Any) -> None:
    """F26: nobody is shown them, so it is the bytes on the wire that are limited."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim, compression=compression, max_payload_bytes=MEBIBYTE)
    await witness.gateway.open(timeout=10)
    peak = Peak()
    sim.act(steps.continuation_flood(100_000_000))
    await sim.wait_for("resumed", timeout=30)
    sim.dispatch("TYPING_START", {})
    await eventually(lambda: witness.heard("TYPING_START"))
    assert peak.growth < ROOM
    (end,) = witness.ends
    assert end.reconnect
    assert isinstance(end.error, PayloadTooLarge)
    assert "without a whole message" in str(end.error)


async def test_pings_between_the_fragments_do_not_lengthen_it(propylon_simulator: Start, witness_to: Make) -> None:
    """F26, F27: a ping is a whole message, but no end of the one that it interrupts."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim, max_payload_bytes=MEBIBYTE)
    await witness.gateway.open(timeout=10)
    sim.act(steps.send_frame(1, "{", fin=False))
    sim.act(steps.ping_flood(50_000, size=125))
    await eventually(lambda: witness.ends)
    assert isinstance(witness.ends[0].error, PayloadTooLarge)
    await sim.wait_for("resumed")


async def test_pongs_to_a_peer_that_does_not_read_them(propylon_simulator: Start, witness_to: Make) -> None:
    """F27: only the latest waits; events are heard all the while."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    sim.act(steps.stop_reading())
    peak = Peak()
    for number in range(3):
        sim.act(steps.ping_flood(100_000, size=125))
        sim.dispatch("TYPING_START", {"n": number})
        await eventually(lambda number=number: len(witness.heard("TYPING_START")) == number + 1, timeout=30)
    assert peak.growth < ROOM
    assert not witness.ends
    sim.act(steps.resume_reading())
    await eventually(lambda: sim.record()["connections"][0]["pongs"] > 10_000, timeout=30)
    sim.dispatch("TYPING_START", {"n": 3})
    await eventually(lambda: len(witness.heard("TYPING_START")) == 4)
    assert not witness.ends


async def test_what_a_peer_does_not_read_is_bounded_and_costs_it_the_connection(
    propylon_simulator: Start, witness_to: Make
) -> None:
    """F28: 64 KiB beyond the system's buffers; then it is gone, and no `send` waits for ever."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim)
    gateway = witness.gateway
    await gateway.open(timeout=10)
    sim.act(steps.stop_reading())
    # Their pongs fill the buffers of the system, which are larger than all that the rate limit lets out.
    sim.act(steps.ping_flood(150_000, size=125))
    sends = [asyncio.create_task(gateway.send(31, {"guild_ids": ["1" * 3_900]})) for _ in range(40)]
    await eventually(lambda: witness.ends, timeout=30)
    (end,) = witness.ends
    assert end.reason == "the server stopped reading"
    assert end.reconnect
    await sim.wait_for("resumed")
    # What was not written yet is sent on the next connection.
    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert not [outcome for outcome in outcomes if outcome is not None]
    assert gateway.status is GatewayStatus.READY


async def test_a_peer_that_stops_reading_is_a_zombie(propylon_simulator: Start, witness_to: Make) -> None:
    """F28: beats it does not read it cannot acknowledge."""
    sim = propylon_simulator(guilds=0, heartbeat_interval=0.2)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    sim.act(steps.stop_reading())
    sending = asyncio.create_task(witness.gateway.send(31, {"guild_ids": ["1"]}))
    await sim.wait_for("resumed")
    await eventually(lambda: "RESUMED" in witness.types)
    assert witness.ends[0].reason == "heartbeat not acknowledged"
    assert witness.gateway.metrics().identifies == 1
    await sending
    await witness.gateway.close()
    with pytest.raises(NotConnected):
        await witness.gateway.send(31, {"guild_ids": ["1"]})
