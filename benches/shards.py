"""What many shards cost: their start, a quiet one's memory, CPU beside one shard, and a flooded one beside others.

The server is a process of its own. CPU is that of the whole process, user and system; what is compared takes turns.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from endurance.facts import facts
from endurance.server import Server
from endurance.shards import make_room
from propylon import Dispatch, Gateway, Intents, ShardManager
from propylon.events import Event


class Stamped(Event, event="MESSAGE_CREATE"):
    """A message with the Unix time in nanoseconds at which it was made."""

    nonce: str


@asynccontextmanager
async def fleet(shards: int, **options: Any) -> AsyncIterator[tuple[ShardManager, Server]]:
    """A manager with all its guilds, and its server."""
    options = {
        "guilds": shards,
        "shards": shards,
        "max_concurrency": 16,
        "identify_interval": 0,
        "guild_create_members": 5,
        "session_start_total": 100_000,
        "session_start_remaining": 100_000,
        "start": "manual",
        **options,
    }
    make_room(shards)
    with Server(**options) as server:
        manager = ShardManager("token", intents=Intents.ALL, api_url=server.api_url)
        yield manager, server
        await manager.close()


async def start(shards: int, max_concurrency: int, interval: float) -> dict[str, float]:
    """Seconds to READY of all."""
    concurrency = min(max_concurrency, shards)
    async with fleet(shards, max_concurrency=concurrency, identify_interval=interval) as (manager, _):
        cpu, begun = time.process_time(), time.monotonic()
        await manager.open()
        return {"seconds": time.monotonic() - begun, "cpu": time.process_time() - cpu}


async def quiet(shards: int, seconds: float) -> dict[str, float]:
    """KiB a shard, and the share of a core that all of them take while nothing happens but heartbeats."""
    async with fleet(shards) as (manager, server):
        async with Gateway("first", gateway_url=server.url):
            pass
        before = facts()["rss"]
        await manager.open()
        await manager.wait_guilds_ready(timeout=60)
        await asyncio.sleep(5)
        grown = facts()["rss"] - before
        cpu = time.process_time()
        await asyncio.sleep(seconds)
        return {"kib": grown / shards / 1024, "core": (time.process_time() - cpu) / seconds}


async def events(shards: int, count: int) -> dict[str, float]:
    """Microseconds of CPU an event, typed and narrow, of so many events over all shards, as fast as they are taken."""
    each = count // shards
    options = {"rate": None, "count": each, "events": ["MESSAGE_CREATE"], "stamp": False, "guilds": max(shards, 16)}
    async with fleet(shards, **options) as (manager, server):
        heard = 0
        done = asyncio.Event()

        @manager.listen
        def hear(message: Stamped) -> None:
            nonlocal heard
            heard += 1
            if heard == each * shards:
                done.set()

        await manager.open()
        await manager.wait_guilds_ready(timeout=30)
        cpu = time.process_time()
        server.call("flood", True)
        await asyncio.wait_for(done.wait(), 120)
        return {"us": (time.process_time() - cpu) * 1e6 / heard}


def cpu_ticks(server: Server) -> int:
    """What the server has used so far: user and system (proc(5))."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def server_at_rest(server: Server) -> None:
    """Return when it has encoded all that it is to send."""
    used, still = cpu_ticks(server), 0
    while still < 4:
        await asyncio.sleep(0.5)
        before, used = used, cpu_ticks(server)
        still = still + 1 if used - before < 2 else 0


async def unheard(shards: int, count: int) -> dict[str, float]:
    """Microseconds of CPU an event of so many that nobody hears, and how many cores of it are used at a time."""
    each = count // shards
    options = {"rate": None, "count": each, "preload": True, "stamp": False, "guilds": max(shards, 16)}
    async with fleet(shards, **options) as (manager, server):
        await manager.open()
        await manager.wait_guilds_ready(timeout=30)
        await server_at_rest(server)
        before = manager.metrics().received
        cpu, begun = time.process_time(), time.monotonic()
        server.call("flood", True)
        async with asyncio.timeout(120):
            while manager.metrics().received - before < each * shards:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
        cpu, took = time.process_time() - cpu, time.monotonic() - begun
        return {"us": cpu * 1e6 / (each * shards), "cores": cpu / took, "rate": each * shards / took}


async def beside_a_flood(shards: int, rate: float, seconds: float, flood: float | None) -> dict[str, float]:
    """Milliseconds from when the server made an event of the other shards to its listener.

    ``flood``: events a second of the first shard; 0: as fast as they are taken; None: none.
    """
    async with fleet(shards, rate=rate, events=["MESSAGE_CREATE"], stamp=True, guilds=shards * 2) as (manager, server):
        late: dict[bool, list[float]] = defaultdict(list)

        @manager.listen
        def hear(message: Stamped, dispatch: Dispatch) -> None:
            late[dispatch.shard_id == 0].append((time.time_ns() - int(message.nonce)) / 1e6)

        await manager.open()
        await manager.wait_guilds_ready(timeout=30)
        for shard in range(1, shards):
            server.call("act", {"step": "flood", "on": True, "rate": rate}, shard=shard, shard_count=shards)
        if flood is not None:
            server.call("act", {"step": "flood", "on": True, "rate": flood}, shard=0, shard_count=shards)
        await asyncio.sleep(1)
        late.clear()
        await asyncio.sleep(seconds)
        others = sorted(late[False])
        return {
            "p50": others[len(others) // 2],
            "p99": others[len(others) * 99 // 100],
            "flood": len(late[True]) / seconds,
            "others": len(others) / seconds,
        }


def one(name: str, arguments: dict[str, Any]) -> dict[str, float]:
    """A measurement in this process."""
    measured: dict[str, float] = asyncio.run(globals()[name](**arguments))
    return measured


async def apart(name: str, **arguments: Any) -> dict[str, float]:
    """A measurement in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--one", json.dumps([name, arguments]), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    measured: dict[str, float] = json.loads(out)
    return measured


def middle(runs: list[dict[str, float]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


async def main(rounds: int) -> None:
    print("start: shards, max_concurrency, the buckets' own time, measured")
    for shards, concurrency in ((4, 1), (16, 16), (64, 16)):
        took = await apart("start", shards=shards, max_concurrency=concurrency, interval=5.0)
        turns = -(-shards // min(concurrency, shards)) - 1
        print(f"  {shards:4} {concurrency:3} {turns * 5.25:6.1f} s {took['seconds']:6.1f} s")
    for shards in (64, 1_000):
        took = await apart("start", shards=shards, max_concurrency=16, interval=0)
        each = took["cpu"] * 1e3 / shards
        print(f"  {shards:4} without the rule: {took['seconds']:.1f} s, {each:.2f} ms CPU a shard")
    for shards in (100, 1_000):
        found = await apart("quiet", shards=shards, seconds=20)
        print(f"quiet: {shards} shards, {found['kib']:.1f} KiB each, {found['core']:.2%} of a core")
    alone, many = [], []
    for _ in range(rounds):
        alone.append(await apart("events", shards=1, count=400_000))
        many.append(await apart("events", shards=64, count=400_000))
    print(f"events: {middle(alone, 'us'):.2f} µs each on one shard, {middle(many, 'us'):.2f} on 64")
    for shards in (1, 64):
        runs = [await apart("unheard", shards=shards, count=1_200_000) for _ in range(rounds)]
        print(
            f"unheard: {middle(runs, 'us'):.2f} µs each on {shards}, {middle(runs, 'rate'):,.0f} a second with "
            f"{middle(runs, 'cores'):.2f} cores"
        )
    floods = {"calm": None, "10,000/s": 10_000.0, "30,000/s": 30_000.0, "flat out": 0.0}
    found_by: dict[str, list[dict[str, float]]] = {name: [] for name in floods}
    for _ in range(rounds):
        for name, flood in floods.items():
            arguments = {"shards": 16, "rate": 100.0, "seconds": 5.0, "flood": flood}
            found_by[name].append(await apart("beside_a_flood", **arguments))
    print("16 shards, one of them flooded; the other 15, from the server to the listener:")
    calm = middle(found_by["calm"], "p99")
    for name, runs in found_by.items():
        print(
            f"  {name:9} p50 {middle(runs, 'p50'):5.2f} ms, p99 {middle(runs, 'p99'):5.2f} ms "
            f"({middle(runs, 'p99') / calm:4.1f} times), {middle(runs, 'others'):,.0f} events/s; the flooded one "
            f"{middle(runs, 'flood'):,.0f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(*json.loads(given.one))))
    else:
        asyncio.run(main(given.rounds))
