"""A history check (faults.md §3.3): numbered events on four connections, and a nemesis that cuts, stalls and restarts.

What each consumer heard is held against what the server sent: order kept (I7), nothing missing (I8), nothing twice.
``PROPYLON_HISTORY_SECONDS`` makes it longer, ``PROPYLON_HISTORY_SEED`` repeats a run.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually, make_gateway
from propylon import Backoff, Dispatch, Gateway, Timeouts
from propylon.testing import Simulator, steps

SECONDS = float(os.environ.get("PROPYLON_HISTORY_SECONDS", "20"))
SHARDS = 4
RATE = 300.0

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60 + 2 * SECONDS)]

CUTS: dict[str, list[Any]] = {
    "reset": [steps.reset()],
    "drop": [steps.drop()],
    "half close": [steps.half_close()],
    "close": [steps.close()],
    "close 4000": [steps.close(4000)],
    "close 1001": [steps.close(1001)],
    "op 7": [steps.reconnect()],
    "op 7 and close": [steps.reconnect(), steps.close(4000)],
    "op 9 true": [steps.invalid_session(True)],
    "corrupt": [steps.corrupt()],
    "stop acknowledging": [steps.stop_acking()],
}


class Consumer:
    """One shard and everything that it heard."""

    def __init__(self, sim: Simulator, shard: int) -> None:
        self.heard: list[int] = []
        self.resumed = 0
        self.gateway: Gateway = make_gateway(
            sim,
            shard=(shard, SHARDS),
            backoff=Backoff(base=0.01, cap=0.1, reset_after=0.2),
            timeouts=Timeouts(connect=5, hello=5, ready=10, close=0.5),
        )
        self.gateway.listen(Dispatch)(self.note)

    def note(self, dispatch: Dispatch[Any]) -> None:
        assert dispatch.sequence is not None
        self.heard.append(dispatch.sequence)
        self.resumed += dispatch.type == "RESUMED"


async def test_nothing_is_lost_reordered_or_doubled(propylon_simulator: Callable[..., Simulator]) -> None:
    seed = int(os.environ.get("PROPYLON_HISTORY_SEED", random.randrange(2**32)))
    dice = random.Random(seed)
    sim = propylon_simulator(
        guilds=SHARDS, rate=RATE, seed=seed & 0xFFFF, heartbeat_interval=0.25, replay_buffer=1_000_000, shards=SHARDS
    )
    consumers = [Consumer(sim, shard) for shard in range(SHARDS)]
    await asyncio.gather(*[consumer.gateway.open(timeout=20) for consumer in consumers])
    done: Counter[str] = Counter()

    async def restart(consumer: Consumer) -> None:
        await consumer.gateway.close(resumable=True)
        await asyncio.sleep(dice.random() * 0.1)
        await consumer.gateway.open(timeout=20)

    async def nemesis() -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + SECONDS
        while loop.time() < end:
            await asyncio.sleep(dice.random() * 0.2)
            what = dice.choice([*CUTS, "stall", "restart"])
            if what == "restart":
                await restart(dice.choice(consumers))
            else:
                open_now = [
                    number
                    for number, connection in enumerate(sim.record()["connections"], 1)
                    if connection["closed"] is None and connection["upgraded_ms"] is not None
                ]
                if not open_now:
                    continue
                victim = dice.choice(open_now)
                try:
                    if what == "stall":
                        sim.act(steps.stall(), victim)
                        await asyncio.sleep(dice.random() * 0.2)
                        sim.act(steps.unstall(), victim)
                    for step in CUTS.get(what, []):
                        sim.act(step, victim)
                except RuntimeError:  # it has ended meanwhile
                    continue
            done[what] += 1

    await nemesis()
    sim.flood(False)
    by_shard = {session["shard"][0]: session for session in sim.record()["sessions"]}
    assert len(by_shard) == len(sim.record()["sessions"]) == SHARDS, f"seed {seed}: a session was lost"
    for shard in range(SHARDS):
        # The last event of each session, so that the end is known.
        sim.dispatch("TYPING_START", {}, session=by_shard[shard]["id"])
    ends = {session["shard"][0]: session["sequence"] for session in sim.record()["sessions"]}
    for shard, consumer in enumerate(consumers):
        await eventually(lambda shard=shard, c=consumer: c.heard and c.heard[-1] >= ends[shard], 30)  # type: ignore[misc]
        await consumer.gateway.close()
        assert consumer.heard == sorted(set(consumer.heard)), f"seed {seed}, shard {shard}, {done}"
        # A RESUMED that was cut off is taken back by the next RESUME, and its number stays used.
        (session,) = [each for each in sim.record()["sessions"] if each["shard"][0] == shard]
        missing = set(range(1, consumer.heard[-1] + 1)) - set(consumer.heard)
        assert len(missing) == session["resumes"] - consumer.resumed, f"seed {seed}, shard {shard}, {missing}, {done}"
        assert len(consumer.heard) > SECONDS * RATE / 3, f"seed {seed}: hardly anything was sent"
        metrics = consumer.gateway.metrics()
        assert metrics.identifies == 1
        assert metrics.duplicates == 0
    assert sum(done.values()) > 5 * SECONDS / 2, f"seed {seed}: the nemesis slept: {done}"
