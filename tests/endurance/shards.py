"""Many shards in one process, held against the server's record.

As a program: a thousand shards, ten minutes of events (``make soak-shards``).
"""

import argparse
import asyncio
import contextlib
import json
import math
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from endurance.facts import facts, settled
from endurance.server import Server
from face.support import eventually
from propylon import Gateway, Intents, ShardManager
from propylon.events import Event

SPARE: Final = 100
"""Descriptors for all else."""
THREADS: Final = 4
SHARDS_EACH: Final = 16
"""So many threads of the engine there are at most, and so many shards make it start the next one."""
SLACK: Final = 0.25
"""Seconds that the engine waits between two IDENTIFYs of a bucket beyond what the server asks."""


class Numbered(Event, event="MESSAGE_CREATE"):
    """What the simulator counts by guild."""

    nonce: str


@dataclass
class Outcome:
    """What was measured."""

    opened: float
    """Seconds."""
    allowed: float
    """Seconds that the buckets alone take."""
    quiet_kib: float
    """That the process grew by, for each shard, before any event but the guilds came."""
    heard: int
    lost: int
    twice: int
    cpu: float
    """Seconds of CPU for each second of events."""
    closed: float
    """Seconds."""
    left: dict[str, int]
    """Descriptors and threads that are there after it and were not before."""
    server: dict[str, Any]

    def __str__(self) -> str:
        late, early = self.server["late_beats"], self.server["early_identifies"]
        return "\n".join(
            [
                f"opened in {self.opened:.1f} s; the identify buckets alone take {self.allowed:.1f} s",
                f"by the server's record: {early['count']} IDENTIFYs too early, {late['count']} of "
                f"{self.server['beats']:,} heartbeats late, {self.server['identifies']} IDENTIFYs",
                f"{self.quiet_kib:.1f} KiB a quiet shard",
                f"{self.heard:,} events heard, lost {self.lost}, twice {self.twice}; {self.cpu:.2f} s CPU a second",
                f"closed in {self.closed:.2f} s; left behind: {self.left}",
            ]
        )


def make_room(shards: int) -> None:
    """As many descriptors as that takes. Raises SystemExit with what to do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = shards + SPARE
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(f"{needed} descriptors are needed, this user may have {hard}: raise it (ulimit -Hn {needed})")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


async def warm_up(shards: int) -> dict[str, int]:
    """What is there once the process has had one gateway, and then as many shards as it starts threads for.

    The engine keeps those threads.
    """
    many = min(shards, THREADS * SHARDS_EACH)
    with Server(guilds=0, shards=many, max_concurrency=16, identify_interval=0.01) as other:
        async with Gateway("first", gateway_url=other.url):
            pass
        first = facts()
        async with ShardManager("first", api_url=other.api_url):
            pass
    return {**await settled(), "rss": first["rss"]}


async def life(
    shards: int,
    *,
    seconds: float,
    rate: float,
    max_concurrency: int,
    interval: float,
    heartbeat_interval: float,
    quiet: float,
) -> Outcome:
    """Open so many, let events come for a while, and close."""
    make_room(shards)
    with Server(
        guilds=shards,
        channels=2,
        members=10,
        guild_create_members=5,
        shards=shards,
        max_concurrency=max_concurrency,
        identify_interval=interval,
        heartbeat_interval=heartbeat_interval,
        session_start_total=100_000,
        session_start_remaining=100_000,
        shared_rate=rate,
        start="manual",
        replay_buffer=100_000,
    ) as server:
        # What the first of a process take is no shard's. Nor are their IDENTIFYs: here they would be in the shards'
        # buckets, with a token of their own, of which the gate of the shards knows nothing.
        before = await warm_up(shards)
        manager = ShardManager("soak", intents=Intents.ALL, api_url=server.api_url)
        heard: dict[str, int] = {}
        count = twice = 0

        @manager.listen
        def hear(message: Numbered) -> None:
            nonlocal count, twice
            guild, _, number = message.nonce.partition(":")
            count += 1
            twice += int(number) <= heard.get(guild, 0)
            heard[guild] = max(int(number), heard.get(guild, 0))

        began = time.monotonic()
        await manager.open()
        opened = time.monotonic() - began
        await manager.wait_guilds_ready(timeout=60)
        await asyncio.sleep(quiet)
        grown = facts()["rss"] - before["rss"]
        server.call("flood_shared", True)
        cpu = time.process_time()
        await asyncio.sleep(seconds)
        cpu = (time.process_time() - cpu) / seconds
        server.call("flood_shared", False)
        made: int = server.call("fleet")["shared"]["made"]
        # What is missing is told; it is no error here.
        with contextlib.suppress(TimeoutError):
            await eventually(lambda: count >= made, 30)
        told = server.call("fleet")
        began = time.monotonic()
        await manager.close()
        closed = time.monotonic() - began
        after = await settled()
    return Outcome(
        opened=opened,
        allowed=(math.ceil(shards / max_concurrency) - 1) * (interval + (SLACK if interval == 5.0 else 0)),
        quiet_kib=grown / shards / 1024,
        heard=count,
        lost=made - (count - twice),
        twice=twice,
        cpu=cpu,
        closed=closed,
        left={name: after[name] - before[name] for name in ("descriptors", "threads")},
        server=told,
    )


def main() -> int:
    """1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=20_000.0)
    parser.add_argument("--max-concurrency", type=int, default=16)
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--heartbeat-interval", type=float, default=41.25)
    parser.add_argument("--quiet", type=float, default=5.0)
    parser.add_argument("--json", action="store_true", help="tell what was measured, and judge nothing")
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    outcome = asyncio.run(life(options.pop("shards"), **options))
    if as_json:
        print(json.dumps(asdict(outcome)))
        return 0
    print(outcome)
    server = outcome.server
    wrong = {
        "an IDENTIFY came too early": server["early_identifies"]["count"],
        "a heartbeat came late": server["late_beats"]["count"] or server["overdue_beats"],
        "events were lost": outcome.lost,
        "events came twice": outcome.twice,
        "the start took longer than the buckets and 10 s": outcome.opened > outcome.allowed + 10,
        "a quiet shard takes over 130 KiB": outcome.quiet_kib > 130,
        "closing took 5 s": outcome.closed >= 5,
        "descriptors or threads are left": any(count > 0 for count in outcome.left.values()),
    }
    for what in (what for what, is_so in wrong.items() if is_so):
        print(f"WRONG: {what}")
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
