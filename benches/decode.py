"""What decoding an event costs: typed with msgspec, beside a plain dict from orjson.

Payloads come from the simulator's generator, which writes sizes and fields as Discord's. CPU time of this process, the
least of several turns: the work is the same each time, and whatever else ran only adds to it.
"""

import argparse
import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import report

from propylon import Dispatch, Gateway, Intents
from propylon.events import EVENTS
from propylon.testing import Simulator


async def payloads(count: int, seed: int) -> dict[str, list[bytes]]:
    """The bytes of ``count`` events of the mix, and of the guilds before them, by name."""
    found: dict[str, list[bytes]] = defaultdict(list)
    with Simulator(guilds=20, rate=None, count=count, seed=seed, identify_interval=0) as simulator:
        gateway = Gateway("token", intents=Intents.ALL, gateway_url=simulator.url)
        async with gateway, gateway.batches() as batches:
            received = 0
            while received < count:
                for dispatch in await anext(batches):
                    found[dispatch.type].append(dispatch.raw)
                    received += dispatch.type not in ("READY", "GUILD_CREATE")
    return found


def cost(decode: Callable[[Any], object], events: list[Any], turns: int) -> float:
    """Microseconds of each event."""
    best = float("inf")
    for _ in range(turns):
        begun = time.process_time_ns()
        for event in events:
            decode(event)
        best = min(best, time.process_time_ns() - begun)
    return best / len(events) / 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write-readme", action="store_true", help="write the table into README.md")
    chosen = parser.parse_args()
    found = asyncio.run(payloads(chosen.events, chosen.seed))
    rows = ["| event | bytes | share | typed, µs | dict, µs | typed / dict |", "|---|--:|--:|--:|--:|--:|"]
    dearer: list[str] = []
    total = sum(map(len, found.values()))
    for name, raws in sorted(found.items(), key=lambda item: -len(item[1])):
        if len(raws) < 10:
            continue
        raws = raws[:2_000]
        dispatches = [Dispatch(name, raw) for raw in raws]
        typed = cost(msgspec.json.Decoder(EVENTS[name], strict=False).decode, dispatches, chosen.turns)
        plain = cost(orjson.loads, raws, chosen.turns)
        size = sum(map(len, raws)) / len(raws)
        share = len(found[name]) / total
        rows.append(f"| {name} | {size:,.0f} | {share:.1%} | {typed:.2f} | {plain:.2f} | {typed / plain:.2f} |")
        print(rows[-1], flush=True)
        if typed > plain:
            dearer.append(name)
    print("typed is dearer for:", ", ".join(dearer) or "none")
    if chosen.write_readme:
        command = (
            f"benches/decode.py --events={chosen.events} --turns={chosen.turns} --seed={chosen.seed} --write-readme"
        )
        report.write_readme(f"Made by `{command}`.\n\n{report.machine()}\n\n" + "\n".join(rows), "decoding")
    return 0


if __name__ == "__main__":
    sys.exit(main())
