"""A fleet is resharded under numbered events while its connections are cut: none is lost, none comes twice.

As a program: so many runs, each with other cuts (``make soak-reshard``).
"""

import argparse
import asyncio
import contextlib
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from face.support import eventually
from propylon import Backoff, Intents, ShardManager, Timeouts
from propylon.events import Event, MessageCreate, Resharded
from propylon.testing import Simulator, steps

RATE: Final = 2_000.0
"""Events a second, over all guilds."""
GUILDS: Final = 24
CUTS: Final[list[list[Any]]] = [[steps.reset()], [steps.drop()], [steps.close(4000)], [steps.reconnect()]]


class Numbered(Event, event="MESSAGE_CREATE"):
    """What the simulator counts by guild: ``"4:17"`` is the 17th of guild number 4."""

    nonce: str


@dataclass
class Outcome:
    """What became of the events of one run."""

    made: int = 0
    heard: Counter[str] = field(default_factory=Counter[str])
    lost: int = 0
    twice: int = 0
    disordered: int = 0
    cuts: int = 0
    overlapped: int = 0
    answered: list[int] = field(default_factory=list[int])
    """The totals at which waits from before each reshard were answered."""

    def __str__(self) -> str:
        return (
            f"made {self.made:,}, cut {self.cuts} times, on both sides {self.overlapped:,}: "
            f"lost {self.lost}, twice {self.twice}, out of order {self.disordered}"
        )


async def history(seed: int, *, totals: tuple[int, ...] = (4, 8, 4), gap: tuple[float, float] = (0.05, 0.3)) -> Outcome:
    """One run: from the first of ``totals`` to each of the others, a connection cut every ``gap`` seconds."""
    rng = random.Random(seed)
    outcome = Outcome()
    simulator = Simulator(
        guilds=GUILDS,
        shards=totals[0],
        max_concurrency=4,
        identify_interval=0,
        heartbeat_interval=1.0,
        shared_rate=RATE,
        start="manual",
        replay_buffer=1_000_000,
        separate_resume_port=False,
    )
    with simulator as sim:
        manager = ShardManager(
            f"reshard-{seed}",
            intents=Intents.ALL,
            total=totals[0],
            api_url=sim.api_url,
            backoff=Backoff(base=0.05, cap=0.2, reset_after=0),
            timeouts=Timeouts(close=1),
        )
        last: dict[str, int] = {}

        @manager.listen
        def hear(message: Numbered) -> None:
            outcome.heard[message.nonce] += 1
            guild, _, number = message.nonce.partition(":")
            if int(number) < last.get(guild, 0):
                outcome.disordered += 1
            last[guild] = max(int(number), last.get(guild, 0))

        async def wait(total: int) -> None:
            # Of before the reshard: answered by the shards of after it, once nothing else is left.
            await manager.wait_for(MessageCreate, where=lambda _: manager.total == total, timeout=60)
            outcome.answered.append(total)

        async def cut() -> None:
            while True:
                await asyncio.sleep(rng.uniform(*gap))
                alive = sorted(sim.fleet()["sessions"])
                total = rng.choice(alive)
                try:
                    for step in rng.choice(CUTS):
                        sim.act(step, shard=rng.randrange(total), shard_count=total)
                    outcome.cuts += 1
                except RuntimeError:
                    # It is between two connections.
                    continue

        async with manager:
            await manager.wait_guilds_ready(timeout=10)
            sim.flood_shared(True)
            cutting = asyncio.create_task(cut())
            for total in totals[1:]:
                waiting = asyncio.create_task(wait(total))
                told = asyncio.create_task(manager.wait_for(Resharded, timeout=60))
                await asyncio.sleep(rng.uniform(0.1, 0.5))
                await manager.reshard(total, window=1.0)
                assert (await told).shard_count == total
                await waiting
            cutting.cancel()
            await asyncio.gather(cutting, return_exceptions=True)
            sim.flood_shared(False)
            made = sim.record(payloads=False)["shared"]
            expected = {f"{guild}:{n}" for guild, count in enumerate(made["guilds"]) for n in range(1, count + 1)}
            outcome.made = made["made"]
            # What is missing is told; it is no error here.
            with contextlib.suppress(TimeoutError):
                await eventually(lambda: len(outcome.heard) >= len(expected), 20)
            # Whatever came twice comes with what came last.
            await asyncio.sleep(0.2)
        outcome.lost = len(expected - outcome.heard.keys())
        outcome.twice = sum(count - 1 for count in outcome.heard.values())
        outcome.overlapped = manager.metrics().overlapped
        assert not outcome.heard.keys() - expected
    return outcome


def main() -> int:
    """So many runs; 1 where one of them lost an event or had one twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    failed = 0
    for seed in range(given.seed, given.seed + given.runs):
        outcome = asyncio.run(history(seed))
        print(f"run {seed}: {outcome}", flush=True)
        failed += bool(outcome.lost or outcome.twice)
    print(f"{given.runs - failed} of {given.runs} runs passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
