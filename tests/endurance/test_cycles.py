"""A thousand lost connections leave nothing behind (faults.md §3.6, H5)."""

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face.support import eventually, make_gateway
from propylon import Backoff
from propylon.testing import Simulator, steps

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="reads the process from /proc"),
]

CYCLES = 1_000
WARM_UP = 100
ENDS: list[list[Any]] = [
    [steps.reset()],
    [steps.drop()],
    [steps.close(4000)],
    [steps.reconnect()],
    [steps.invalid_session(True)],
    [steps.corrupt(), steps.dispatch("TYPING_START", {})],
]


def facts() -> dict[str, int]:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "python threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "rss": pages * os.sysconf("SC_PAGE_SIZE"),
    }


async def test_a_thousand_reconnects_leave_descriptors_threads_tasks_and_memory_where_they_were(
    propylon_simulator: Callable[..., Simulator],
) -> None:
    sim = propylon_simulator(guilds=1, replay_buffer=10_000)
    gateway = make_gateway(sim, backoff=Backoff(base=0.001, cap=0.002, reset_after=0))
    await gateway.open(timeout=10)
    before: dict[str, int] = {}
    for cycle in range(CYCLES + WARM_UP):
        if cycle == WARM_UP:
            before = await settled(sim)
        for step in ENDS[cycle % len(ENDS)]:
            sim.act(step)
        await eventually(lambda wanted=cycle + 1: gateway.metrics().resumes >= wanted)  # type: ignore[misc]
    after = await settled(sim)
    metrics = gateway.metrics()
    assert metrics.identifies == 1
    assert metrics.reconnects >= CYCLES + WARM_UP
    await gateway.close()
    # The simulator, which lives here too, keeps its record of each connection: some 3 KiB.
    assert after.pop("rss") - before.pop("rss") < CYCLES * 8 * 1024
    assert after == before


async def settled(sim: Simulator, connections: int = 1) -> dict[str, int]:
    """The process, once the old connections have been let go of: here, and by the simulator, which lives here too."""
    await eventually(lambda: sim.holds("open", count=connections))
    last: dict[str, int] = {}
    alike = 0

    def still() -> bool:
        nonlocal last, alike
        previous, last = last, facts()
        same = all(previous.get(name) == last[name] for name in ("descriptors", "threads", "tasks"))
        alike = alike + 1 if same else 0
        return alike == 10

    await eventually(still)
    return last


async def test_opening_and_closing_again_and_again_leaves_nothing(
    propylon_simulator: Callable[..., Simulator],
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway = make_gateway(sim)

    async def turns(count: int) -> None:
        for _ in range(count):
            await gateway.open(timeout=10)
            # Kept, so that the next opening resumes and no IDENTIFY waits at the gate.
            await gateway.close(4000)

    await turns(20)
    before = await settled(sim, 0)
    await turns(100)
    after = await settled(sim, 0)
    assert after.pop("rss") - before.pop("rss") < 4 * 1024 * 1024
    assert after == before


async def test_h5_starting_and_stopping_many_shards_leaves_nothing(
    propylon_simulator: Callable[..., Simulator],
) -> None:
    """H5."""
    sim = propylon_simulator(guilds=0)

    async def turn() -> dict[str, int]:
        gateways = [make_gateway(sim, shard=(shard, 24)) for shard in range(24)]
        await asyncio.gather(*[gateway.open(timeout=30) for gateway in gateways])
        await eventually(lambda: sim.holds("open", count=24))
        await asyncio.gather(*[gateway.close() for gateway in gateways])
        del gateways
        return await settled(sim, 0)

    before = await turn()
    for _ in range(3):
        after = await turn()
    # The simulator's record of each session grows with them: the test above looks at the memory.
    del after["rss"], before["rss"]
    assert after == before
