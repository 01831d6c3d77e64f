"""What thousands of waits cost: adding and removing one beside many, an event against them, and what they leave behind.

Each part is a process of its own, and the server another one. CPU time: of the loop's thread for adding and removing,
of the whole process for events, with and without the waits in turns.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import report

from propylon import Dispatch, Gateway, Intents, field
from propylon.events import InviteDelete, MessageCreate
from propylon.testing import Simulator

HERE = Path(__file__).parent
BESIDE = (0, 1_000, 10_000)


async def settle(turns: int = 3) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


def wait(gateway: Gateway, user: int) -> asyncio.Task[Any]:
    return asyncio.create_task(gateway.wait_for(MessageCreate, where=field("author.id") == user))


async def end(waits: list[asyncio.Task[Any]]) -> None:
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def change(beside: int, waits: int, turns: int) -> dict[str, float]:
    """Microseconds of the loop's thread for adding a wait, its task included, and for removing it by cancelling."""
    added: list[float] = []
    removed: list[float] = []
    with Simulator(guilds=0) as simulator:
        async with Gateway("token", intents=Intents.ALL, gateway_url=simulator.url) as gateway:
            others = [wait(gateway, user) for user in range(beside)]
            await settle()
            for turn in range(turns):
                first = 1_000_000 + turn * waits
                begun = time.thread_time_ns()
                some = [wait(gateway, user) for user in range(first, first + waits)]
                await settle()
                between = time.thread_time_ns()
                await end(some)
                ended = time.thread_time_ns()
                added.append((between - begun) / waits / 1000)
                removed.append((ended - between) / waits / 1000)
            await end(others)
    return {"add": statistics.median(added), "remove": statistics.median(removed)}


def serve(events: int) -> subprocess.Popen[str]:
    traffic = {"rate": None, "preload": True, "start": "manual", "count": events, "events": ["MESSAGE_CREATE"]}
    options = json.dumps({"guilds": 0, **traffic})
    command = [sys.executable, HERE / "server.py", options]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def flood(waits: int, also: str, events: int) -> dict[str, float]:
    """Microseconds of the process for an event that none of the waits is for."""
    with serve(events) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        gateway = Gateway("token", intents=Intents.ALL, gateway_url=url)
        done = asyncio.Event()
        gateway.listen(InviteDelete)(lambda _: done.set())
        if also == "a listener":
            gateway.listen(Dispatch[MessageCreate])(lambda _: None)
        async with gateway:
            tasks = [wait(gateway, user) for user in range(1, waits + 1)]
            await settle()
            await asyncio.sleep(0.3)
            before = resource.getrusage(resource.RUSAGE_SELF)
            server.stdin.write("go\n")
            server.stdin.flush()
            await done.wait()
            after = resource.getrusage(resource.RUSAGE_SELF)
            await end(tasks)
        server.stdin.write("quit\n")
        server.stdin.flush()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"us": used / events * 1e6}


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def silence(waits: int, at_once: int) -> dict[str, float]:
    """MiB by which the process has grown after so many cancelled waits, with no event among them."""
    with Simulator(guilds=0) as simulator:
        async with Gateway("token", intents=Intents.ALL, gateway_url=simulator.url) as gateway:

            async def come_and_go(first: int, number: int) -> None:
                some = [wait(gateway, user) for user in range(first, first + number)]
                await settle()
                await end(some)
                some.clear()
                await settle()

            # What the first ones need stays, as after the first events.
            await come_and_go(0, at_once)
            gc.collect()
            before = resident()
            for first in range(0, waits, at_once):
                await come_and_go(first, at_once)
            gc.collect()
            return {"mib": (resident() - before) / 2**20}


PARTS = {"change": change, "flood": flood, "silence": silence}


def measure(part: str, *arguments: object) -> dict[str, float]:
    """A part in a process of its own."""
    command = [sys.executable, __file__, "--part", json.dumps([part, *arguments])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=300_000, help="of a run (300,000)")
    parser.add_argument("--write-readme", action="store_true", help="write the tables into README.md")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        name, *arguments = json.loads(chosen.part)
        print(json.dumps(asyncio.run(PARTS[name](*arguments))))
        return 0
    rows = ["| waits there already | adding one, µs | removing one, µs |", "|--:|--:|--:|"]
    for beside in BESIDE:
        runs = [measure("change", beside, 500, 7) for _ in range(chosen.rounds)]
        middle = {key: statistics.median(run[key] for run in runs) for key in ("add", "remove")}
        rows.append(f"| {beside:,} | {middle['add']:.1f} | {middle['remove']:.1f} |")
        print(rows[-1], flush=True)
    rows += ["", "| MESSAGE_CREATE, flat out, beside | no wait, µs an event | 10,000 waits on `author.id` | more, µs |"]
    rows += ["|---|--:|--:|--:|"]
    for also in ("nobody", "a listener"):
        pairs: list[tuple[float, float]] = []
        for turn in range(chosen.rounds):
            order = [0, 10_000] if turn % 2 else [10_000, 0]
            one = {waits: measure("flood", waits, also, chosen.events)["us"] for waits in order}
            pairs.append((one[0], one[10_000]))
        none, many = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        more = statistics.median(many - none for none, many in pairs)
        rows.append(f"| {also} | {none:.2f} | {many:.2f} | {more:+.2f} |")
        print(rows[-1], flush=True)
    rows += ["", "| 100,000 cancelled waits, no event | the process grew by, MiB |", "|---|--:|"]
    for at_once in (1, 1_000, 10_000):
        grown = statistics.median(measure("silence", 100_000, at_once)["mib"] for _ in range(chosen.rounds))
        rows.append(f"| {at_once:,} at a time | {grown:.2f} |")
        print(rows[-1], flush=True)
    if chosen.write_readme:
        command = f"benches/waits.py --rounds={chosen.rounds} --events={chosen.events} --write-readme"
        report.write_readme(f"Made by `{command}`.\n\n{report.machine()}\n\n" + "\n".join(rows), "waits")
    return 0


if __name__ == "__main__":
    sys.exit(main())
