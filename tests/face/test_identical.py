"""The same seeded stream is the same events, byte for byte, whatever carries it (protocol.md §12)."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually, make_gateway
from propylon import Dispatch
from propylon.testing import Simulator, steps

EVENTS = 150
COMPRESSIONS = ["zstd-stream", "zlib-stream", "payload", None]


async def stream(simulator: Callable[..., Simulator], tls: bool, compression: Any, sliced: int) -> list[Any]:
    script = {"every": [steps.slice(sliced)]} if sliced else {}
    sim = simulator(
        tls=tls, seed=11, count=EVENTS, rate=None, guilds=1, members=150, guild_create_members=110, scripts=script
    )
    gateway = make_gateway(sim, compression=compression)
    events: list[Any] = []

    @gateway.listen
    def on(dispatch: Dispatch) -> None:
        # What READY says of itself names the server's port.
        raw = b"" if dispatch.type == "READY" else dispatch.raw
        events.append((dispatch.type, dispatch.sequence, len(raw), hashlib.sha256(raw).digest()))

    async with asyncio.timeout(60), gateway:
        await eventually(lambda: len(events) >= EVENTS + 2, timeout=60)
        sim.dispatch("TYPING_START", {"tiny": True})
        await eventually(lambda: len(events) >= EVENTS + 3)
        metrics = gateway.metrics()
    assert metrics.received == metrics.delivered == EVENTS + 3
    assert metrics.malformed == metrics.reconnects == 0
    if sliced:
        assert sim.record()["connections"][0]["bytes_out"] > 20_000
    return events


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_sixteen_ways_carry_the_same_events(propylon_simulator: Callable[..., Simulator]) -> None:
    expected = await stream(propylon_simulator, False, None, 0)
    assert [sequence for _, sequence, _, _ in expected] == list(range(1, EVENTS + 4))
    # Frames of 7, 16 and 64 bits of length, and all the events of the mix.
    sizes = [size for _, _, size, _ in expected]
    assert min(size for size in sizes if size) < 50
    assert any(200 < size < 2000 for size in sizes)
    assert max(sizes) > 65_536
    assert len(Counter(kind for kind, *_ in expected)) >= 8
    for tls in (False, True):
        for compression in COMPRESSIONS:
            for sliced in (0, 2):
                events = await stream(propylon_simulator, tls, compression, sliced)
                assert events == expected, (tls, compression, sliced)


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    "step",
    [steps.split(3), steps.merge(5), steps.own_frames(), steps.slice(1)],
    ids=["split", "merge", "own frames", "1"],
)
async def test_odd_framing_carries_the_same_events(
    propylon_simulator: Callable[..., Simulator], compression: Any, step: Any
) -> None:
    """F29: payloads over several messages, several in one message, and frames that end with each message."""
    if step["step"] == "own_frames" and compression == "zlib-stream":
        pytest.skip("the end of a zlib stream has not the mark that ends a payload")
    if step["step"] == "split" and compression != "zlib-stream":
        pytest.skip("only zlib-stream marks the end of a payload within the stream")
    if step["step"] == "merge" and compression in ("payload", None):
        pytest.skip("a document of its own in each message")
    sim = propylon_simulator(seed=5, guilds=1, count=60, rate=None, scripts={"every": [step]})
    plain = propylon_simulator(seed=5, guilds=1, count=60, rate=None)
    seen: list[list[Any]] = []
    for server, how in ((plain, None), (sim, compression)):
        gateway = make_gateway(server, compression=how)
        events: list[Any] = []
        gateway.listen(Dispatch)(lambda dispatch, events=events: events.append((dispatch.sequence, dispatch.raw)))
        async with asyncio.timeout(30), gateway:
            await eventually(lambda events=events: len(events) >= 62)
        seen.append(events)
    assert seen[0][1:] == seen[1][1:]
