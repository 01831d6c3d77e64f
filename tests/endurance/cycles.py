"""What a process holds before many lost connections, openings and fleets, and after them.

As a program, with one of `CYCLES` for its argument: prints both as JSON. What was there before holds true in a process
of its own only: threads that waited for something else end when they have had nothing to do for ten seconds.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from endurance.facts import settled
from face.support import eventually, make_gateway
from propylon import Backoff
from propylon.testing import Simulator, steps

RECONNECTS: Final = 1_000
WARM_UP: Final = 100
ENDS: list[list[Any]] = [
    [steps.reset()],
    [steps.drop()],
    [steps.close(4000)],
    [steps.reconnect()],
    [steps.invalid_session(True)],
    [steps.corrupt(), steps.dispatch("TYPING_START", {})],
]


async def let_go(sim: Simulator, connections: int) -> dict[str, int]:
    """The process, once the old connections have been let go of: here, and by the simulator, which lives here too."""
    await eventually(lambda: sim.holds("open", count=connections))
    return await settled()


async def reconnects() -> dict[str, dict[str, int]]:
    """A gateway whose connection is lost in each way in turn; its metrics, too."""
    with Simulator(identify_interval=0, guilds=1, replay_buffer=10_000) as sim:
        gateway = make_gateway(sim, backoff=Backoff(base=0.001, cap=0.002, reset_after=0))
        await gateway.open(timeout=10)
        before: dict[str, int] = {}
        for cycle in range(RECONNECTS + WARM_UP):
            if cycle == WARM_UP:
                before = await let_go(sim, 1)
            for step in ENDS[cycle % len(ENDS)]:
                sim.act(step)
            await eventually(lambda wanted=cycle + 1: gateway.metrics().resumes >= wanted)  # type: ignore[misc]
        after = await let_go(sim, 1)
        metrics = gateway.metrics()
        await gateway.close()
    told = {"identifies": metrics.identifies, "reconnects": metrics.reconnects}
    return {"before": before, "after": after, "metrics": told}


async def openings() -> dict[str, dict[str, int]]:
    """A gateway that is opened and closed."""
    with Simulator(identify_interval=0, guilds=0) as sim:
        gateway = make_gateway(sim)

        async def turns(count: int) -> None:
            for _ in range(count):
                await gateway.open(timeout=10)
                # Kept, so that the next opening resumes and no IDENTIFY waits at the gate.
                await gateway.close(4000)

        await turns(20)
        before = await let_go(sim, 0)
        await turns(100)
        after = await let_go(sim, 0)
    return {"before": before, "after": after}


async def fleets() -> dict[str, dict[str, int]]:
    """24 shards that are started and stopped."""
    with Simulator(identify_interval=0, guilds=0) as sim:

        async def turn() -> dict[str, int]:
            gateways = [make_gateway(sim, shard=(shard, 24)) for shard in range(24)]
            await asyncio.gather(*[gateway.open(timeout=30) for gateway in gateways])
            await eventually(lambda: sim.holds("open", count=24))
            await asyncio.gather(*[gateway.close() for gateway in gateways])
            del gateways
            return await let_go(sim, 0)

        before, *_, after = [await turn() for _ in range(4)]
    return {"before": before, "after": after}


CYCLES: Final = {cycle.__name__: cycle for cycle in (reconnects, openings, fleets)}

if __name__ == "__main__":
    print(json.dumps(asyncio.run(CYCLES[sys.argv[1]]())))
