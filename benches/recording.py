"""What recording costs each thread, beside the same stream that is not recorded.

One gateway hears 5,000 events/s of the simulator, which runs in another process; no listener takes any. Recording is
switched on and off in turn on the same connection, so that each pair of windows has the same neighbours. CPU time is
that of the kernel's scheduler, by thread (``/proc/self/task/*/schedstat``): Linux only.

    python benches/recording.py [--rate 5000] [--pairs 10] [--seconds 3]
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from propylon import Gateway, Intents

SERVER = """
import sys
from propylon.testing import Simulator
with Simulator(guilds=10, rate=float(sys.argv[1]), identify_interval=0) as sim:
    print(sim.url, flush=True)
    sys.stdin.read()
"""
THREADS = ("propylon-io", "propylon-record", "loop")


def cpu() -> dict[tuple[str, str], float]:
    """Seconds of each thread so far, by its name and id; "loop" is the main one."""
    seconds: dict[tuple[str, str], float] = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            nanoseconds = int((task / "schedstat").read_text().split()[0])
        except OSError:
            # It has ended meanwhile.
            continue
        seconds["loop" if task.name == str(os.getpid()) else name, task.name] = nanoseconds / 1e9
    return seconds


async def window(gateway: Gateway, seconds: float) -> dict[str, float]:
    """Microseconds of each thread for each event, over a window."""
    before, received = cpu(), gateway.metrics().received
    await asyncio.sleep(seconds)
    after, count = cpu(), gateway.metrics().received - received
    spent = dict.fromkeys(THREADS, 0.0)
    for (name, number), so_far in after.items():
        if name in spent:
            spent[name] += so_far - before.get((name, number), 0.0)
    return {name: each / count * 1e6 for name, each in spent.items()}


async def main(rate: float, pairs: int, seconds: float) -> None:
    command = [sys.executable, "-c", SERVER, str(rate)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(  # noqa: ASYNC220 - before anything runs
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        assert server.stdout is not None
        assert server.stdin is not None
        url = server.stdout.readline().strip()
        on: list[dict[str, float]] = []
        off: list[dict[str, float]] = []
        async with Gateway("bench", intents=Intents.ALL, gateway_url=url) as gateway:
            await asyncio.sleep(1)
            events = size = dropped = 0
            for number in range(pairs):
                path = Path(folder) / f"{number}.jsonl.zst"
                off.append(await window(gateway, seconds))
                async with gateway.record(path) as recorder:
                    # What has been set up is no event's cost.
                    await asyncio.sleep(0.5)
                    on.append(await window(gateway, seconds))
                events, size = events + recorder.events, size + recorder.bytes
                dropped += recorder.dropped
        server.stdin.close()
    print(f"{rate:g} events/s, {pairs} pairs of {seconds:g} s; µs of CPU for each event, median [lowest, highest]")
    print(f"{'thread':16}{'off':>22}{'on':>22}{'difference':>24}")
    for name in THREADS:
        differences = [recorded[name] - plain[name] for recorded, plain in zip(on, off, strict=True)]
        columns = [[plain[name] for plain in off], [recorded[name] for recorded in on], differences]
        print(
            f"{name:16}"
            + "".join(
                f"{statistics.median(each):8.2f} [{min(each):.2f}, {max(each):.2f}]".rjust(22) for each in columns
            )
        )
    print(f"{events:,} events recorded, {size / events:.0f} bytes each, {dropped} dropped")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=5000.0)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    asyncio.run(main(options.rate, options.pairs, options.seconds))
