"""What a cluster costs: events a second from the simulator through a host, NATS and a worker, and CPU of each.

All on one machine, each part a process: simulator, gateway host, nats-server, worker. Flat out the simulator sends as
much as the host takes, for a minute; what the worker counted at the end is held against what was sent. Paced, each
message carries the time at which it was made. CPU is user and system time from ``/proc``: Linux only. Beside it, where
a redis-server is on the PATH and redis-py installed, the same written by hand: raw batches of a gateway into Redis
Streams, and a reader.

    python benches/cluster.py [--rounds 3] [--seconds 60] [--rate 2000] [--shards 4] [--json OUT] [--write-readme]
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import report

from endurance.server import Server
from propylon import Intents, ShardManager
from propylon.cli._nats_server import LocalNats, NoNatsServer, find_nats_server
from propylon.events import Event

STREAM: Final = "bench"
PATIENCE: Final = 60.0
"""Seconds for what is under way to arrive."""
INTENTS: Final = Intents.GUILDS | Intents.GUILD_MESSAGES


class Stamped(Event, event="MESSAGE_CREATE"):
    """A message with the Unix time in nanoseconds at which it was made."""

    nonce: str


# ---------------------------------------------------------------- the parts, each a process


def host(nats: str, api_url: str, shards: int) -> None:
    from propylon.cluster import GatewayHost

    GatewayHost("bench", nats, app=STREAM, shards=shards, intents=INTENTS, api_url=api_url).run()


class Counter:
    """Counts, and answers ``count`` and ``latencies`` on its input."""

    def __init__(self) -> None:
        self.count = 0
        self.latencies: list[int] = []

    async def answer(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        print(json.dumps("ready"), flush=True)
        while line := await reader.readline():
            said: Any = self.count
            if line.strip() == b"latencies":
                said, self.latencies = self.latencies, []
            print(json.dumps(said), flush=True)


async def worker(nats: str, paced: bool) -> None:
    from propylon.cluster import Worker

    counter, bot = Counter(), Worker(nats, app=STREAM)
    if paced:

        @bot.listen
        def hear(message: Stamped) -> None:
            counter.count += 1
            counter.latencies.append(time.time_ns() - int(message.nonce))

        async with bot:
            await counter.answer()
        return

    async def count() -> None:
        async with bot.batches(Stamped) as batches:
            async for batch in batches:
                counter.count += len(batch)

    counting = asyncio.create_task(count())
    # The task begins to listen before the worker announces what is listened to.
    await asyncio.sleep(0)
    async with bot:
        await counter.answer()
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)


async def local(api_url: str, shards: int) -> None:
    """What is compared with: raw batches in the process that has the connections."""
    counter, manager = Counter(), ShardManager("bench", shards=shards, intents=INTENTS, api_url=api_url)

    async def count() -> None:
        async with manager.batches(Stamped) as batches:
            async for batch in batches:
                counter.count += len(batch)

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    async with manager:
        await counter.answer()
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)


async def redis_host(port: int, api_url: str, shards: int) -> None:
    """Raw batches into 16 streams, by guild, in pipelines of what there is."""
    from redis.asyncio import Redis

    manager = ShardManager("bench", shards=shards, intents=INTENTS, api_url=api_url)
    redis = Redis(port=port)
    async with manager.batches(Stamped) as batches:
        await manager.open(timeout=60)
        async for batch in batches:
            pipeline = redis.pipeline(transaction=False)
            for dispatch in batch:
                raw = dispatch.raw
                at = raw.find(b'"guild_id":"') + 12
                stream = int(raw[at : raw.index(b'"', at)]) % 1021 % 16
                pipeline.xadd(f"{STREAM}:{stream}", {"d": raw}, maxlen=1_000_000, approximate=True)
            await pipeline.execute()


async def redis_worker(port: int, paced: bool) -> None:
    """Reads the 16 streams as one consumer of a group, and acknowledges."""
    from redis.asyncio import Redis

    counter, redis = Counter(), Redis(port=port)
    streams = {f"{STREAM}:{number}": ">" for number in range(16)}
    for stream in streams:
        await redis.xgroup_create(stream, "workers", id="0", mkstream=True)

    async def count() -> None:
        while True:
            found = await redis.xreadgroup("workers", "one", streams, count=128, block=1000)
            if not found:
                continue
            pipeline = redis.pipeline(transaction=False)
            for stream, entries in found:
                if paced:
                    now = time.time_ns()
                    counter.latencies += [now - int(json.loads(fields[b"d"])["nonce"]) for _, fields in entries]
                counter.count += len(entries)
                pipeline.xack(stream, "workers", *[entry for entry, _ in entries])
            await pipeline.execute()

    counting = asyncio.create_task(count())
    await counter.answer()
    counting.cancel()


# ---------------------------------------------------------------- measuring


class Part:
    """One of the parts, in a process of its own."""

    def __init__(self, *arguments: object, talks: bool = True) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--part", json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid: Final = self._process.pid
        if talks:
            self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a part has ended with {self._process.wait()}")
        return json.loads(line)

    def ask(self, what: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self._answer()

    def __enter__(self) -> "Part":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def cpu_of(pid: int) -> float:
    """Seconds that a process has used so far: user and system (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sent_by(server: Server) -> int:
    """Messages that the simulator has given to sessions."""
    sessions = server.call("record", payloads=False)["sessions"]
    return sum(session["events"].get("MESSAGE_CREATE", 0) for session in sessions)


def wait_for(condition: Any, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def run(
    server: Server, pids: dict[str, int], workers: Sequence[Part], shards: int, seconds: float, paced: bool
) -> dict[str, Any]:
    """Events for so long; rate, loss, CPU of each part, and paced the latencies."""

    def counted() -> int:
        return sum(part.ask("count") for part in workers)

    if not wait_for(lambda: server.call("fleet")["ready"] >= shards, 60):
        raise SystemExit("the shards do not become READY within 60 s")
    # The guilds are through, and hosts have read what workers hear.
    time.sleep(3.0)
    before, count_before, sent_before = {name: cpu_of(pid) for name, pid in pids.items()}, counted(), sent_by(server)
    begun = time.monotonic()
    server.call("flood", True)
    time.sleep(seconds)
    in_time = counted() - count_before
    took = time.monotonic() - begun
    server.call("flood", False)
    sent = sent_by(server) - sent_before
    wait_for(lambda: counted() - count_before >= sent, PATIENCE)
    count = counted() - count_before
    after = {name: cpu_of(pid) for name, pid in pids.items()}
    found: dict[str, Any] = {
        "sent": sent,
        "counted": count,
        "lost": sent - count,
        "rate": in_time / took,
        "cpu_us": {name: (after[name] - before[name]) / max(1, count) * 1e6 for name in pids},
    }
    if paced:
        latencies = sorted(each / 1e6 for part in workers for each in part.ask("latencies"))
        quantiles = statistics.quantiles(latencies, n=100)
        found |= {"p50_ms": quantiles[49], "p99_ms": quantiles[98], "worst_ms": latencies[-1]}
    return found


@contextmanager
def simulator(shards: int, rate: float | None) -> Iterator[Server]:
    with Server(
        guilds=shards * 16,
        channels=4,
        members=20,
        guild_create_members=5,
        shards=shards,
        max_concurrency=shards,
        identify_interval=0,
        session_start_total=100_000,
        session_start_remaining=100_000,
        events=["MESSAGE_CREATE"],
        rate=None if rate is None else rate / shards,
        stamp=rate is not None,
        start="manual",
    ) as server:
        yield server


def through_nats(shards: int, workers: int, seconds: float, rate: float | None) -> dict[str, Any]:
    with ExitStack() as stack:
        nats = stack.enter_context(LocalNats())
        server = stack.enter_context(simulator(shards, rate))
        host = stack.enter_context(Part("host", nats.url, server.api_url, shards, talks=False))
        bots = [stack.enter_context(Part("worker", nats.url, rate is not None)) for _ in range(workers)]
        pids = {"host": host.pid, "nats-server": nats.pid}
        pids |= {f"worker {number}" if workers > 1 else "worker": bot.pid for number, bot in enumerate(bots, 1)}
        return run(server, pids, bots, shards, seconds, rate is not None)


def in_one_process(shards: int, seconds: float) -> dict[str, Any]:
    with ExitStack() as stack:
        server = stack.enter_context(simulator(shards, None))
        bot = stack.enter_context(Part("local", server.api_url, shards))
        return run(server, {"process": bot.pid}, [bot], shards, seconds, paced=False)


def through_redis(shards: int, seconds: float, rate: float | None) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port: int = found.getsockname()[1]
        command = ["redis-server", "--port", str(port), "--dir", folder, "--appendonly", "yes", "--save", ""]
        redis = stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        stack.callback(redis.terminate)

        def is_there() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                return True
            return False

        wait_for(is_there, 10)
        server = stack.enter_context(simulator(shards, rate))
        reader = stack.enter_context(Part("redis_worker", port, rate is not None))
        writer = stack.enter_context(Part("redis_host", port, server.api_url, shards, talks=False))
        pids = {"gateway": writer.pid, "redis-server": redis.pid, "reader": reader.pid}
        return run(server, pids, [reader], shards, seconds, rate is not None)


def middle_of(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians of several runs; of what was lost, all."""
    middle: dict[str, Any] = {
        key: statistics.median(run[key] for run in runs) for key in runs[0] if key not in ("cpu_us", "lost")
    }
    parts = {part: statistics.median(run["cpu_us"][part] for run in runs) for part in runs[0]["cpu_us"]}
    return middle | {"lost": sum(run["lost"] for run in runs), "cpu_us": parts}


def table(results: dict[str, dict[str, Any]], ratio: float) -> str:
    rows = ["| what | events/s | lost | CPU, µs an event | p50 / p99, ms |", "|---|--:|--:|---|--:|"]
    for name, found in results.items():
        cpu = ", ".join(f"{part} {us:.1f}" for part, us in found["cpu_us"].items())
        latency = f"{found['p50_ms']:.1f} / {found['p99_ms']:.1f}" if "p50_ms" in found else ""
        rows.append(f"| {name} | {found['rate']:,.0f} | {found['lost']:,} | {cpu} | {latency} |")
    rows += ["", f"Flat out, a host takes {ratio:.2f} times the CPU an event of raw batches in one process."]
    return "\n".join(rows)


def tell(name: str, found: dict[str, Any]) -> None:
    cpu = ", ".join(f"{part} {us:.1f}" for part, us in found["cpu_us"].items())
    latency = f"; p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms" if "p50_ms" in found else ""
    print(f"{name}: {found['rate']:,.0f} events/s, lost {found['lost']:,} of {found['sent']:,}; µs CPU: {cpu}{latency}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="runs of each, of which medians are told (1)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a run flat out (60)")
    parser.add_argument("--paced-seconds", type=float, default=20.0, help="of a paced run (20)")
    parser.add_argument("--rate", type=float, default=2_000.0, help="events per second of a paced run (2,000)")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures here")
    parser.add_argument("--write-readme", action="store_true", help="write the table into README.md")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        name, *arguments = json.loads(given.part)
        done = PARTS[name](*arguments)
        if done is not None:
            asyncio.run(done)
        return
    try:
        find_nats_server()
    except NoNatsServer as error:
        print(f"the cluster: left out, {error}")
        return
    runs: dict[str, list[dict[str, Any]]] = {}

    def note(name: str, found: dict[str, Any]) -> None:
        runs.setdefault(name, []).append(found)
        tell(name, found)

    facts = report.machine()
    shards, short = given.shards, min(given.seconds, 20.0)
    has_redis = False
    if shutil.which("redis-server") is None:
        print("Redis Streams: left out, there is no redis-server on the PATH")
    elif importlib.util.find_spec("redis") is None:
        print("Redis Streams: left out, redis-py is not installed: pip install redis")
    else:
        has_redis = True
    for _ in range(given.rounds):
        note("in one process, flat out", in_one_process(shards, short))
        note("cluster, flat out", through_nats(shards, given.workers, given.seconds, None))
        note("cluster, paced", through_nats(shards, given.workers, given.paced_seconds, given.rate))
        if has_redis:
            note("Redis Streams, flat out", through_redis(shards, short, None))
            note("Redis Streams, paced", through_redis(shards, given.paced_seconds, given.rate))
    ratio = statistics.median(
        cluster["cpu_us"]["host"] / alone["cpu_us"]["process"]
        for cluster, alone in zip(runs["cluster, flat out"], runs["in one process, flat out"], strict=True)
    )
    results = {name: middle_of(several) for name, several in runs.items()}
    print(table(results, ratio))
    if given.write_readme:
        command = f"benches/cluster.py --rounds={given.rounds} --seconds={given.seconds:g} --write-readme"
        report.write_readme(f"Made by `{command}`.\n\n{facts}\n\n{table(results, ratio)}", "a cluster")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


PARTS: Final[dict[str, Any]] = {
    "host": host,
    "worker": worker,
    "local": local,
    "redis_host": redis_host,
    "redis_worker": redis_worker,
}

if __name__ == "__main__":
    main()
