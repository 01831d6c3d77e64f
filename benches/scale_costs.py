"""What single things of a cluster cost on this machine, for `scale_model.py`: a key written or heard, a question at the
identify gate, a message of the stream. CPU is user and system time from ``/proc``: Linux only."""

# ruff: noqa: ASYNC110  # nobody tells of what is waited for here
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

PARTITIONS: Final = 64
TICK: Final = 0.002
"""Seconds between two messages of a partition."""


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _costs(nats: Any, work: Callable[[], Awaitable[object]], times: int) -> tuple[float, float, float]:
    """Microseconds of this process and of the server for each of so many times, and times a second."""
    here, there, begun = time.process_time(), _cpu_of(nats.pid), time.monotonic()
    await work()
    took = time.monotonic() - begun
    return (time.process_time() - here) / times * 1e6, (_cpu_of(nats.pid) - there) / times * 1e6, times / took


async def _keys(nats: Any, found: dict[str, float]) -> None:
    from propylon.cluster._keys import Lease, bucket, encode, lease_key
    from propylon.cluster._membership import View
    from propylon.cluster._nats import connect

    count, watchers = 4_000, 8
    keys = [lease_key(200, shard) for shard in range(200)]
    broker, other = await connect(nats.url, "scale"), await connect(nats.url, "scale")
    revisions = {key: await broker.put(bucket("scale"), key, b"{}") for key in keys}
    value = encode(Lease("host-a-123456", 1234567, 1.7e9, "READY"))

    async def one(key: str) -> None:
        for _ in range(count // len(keys)):
            revision = await broker.update(bucket("scale"), key, value, revisions[key], ttl=15)
            assert revision is not None
            revisions[key] = revision

    async def write() -> None:
        limit = asyncio.Semaphore(16)

        async def limited(key: str) -> None:
            async with limit:
                await one(key)

        await asyncio.gather(*map(limited, keys))

    found["write_us"], found["server_write_us"], _ = await _costs(nats, write, count)
    heard = 0

    class Counting(View[Lease]):
        def _take(self, key: str, value: bytes | None, revision: int) -> None:
            nonlocal heard
            heard += 1
            super()._take(key, value, revision)

    views = [Counting(other, bucket("scale"), "lease.>", Lease, lambda _: None) for _ in range(watchers)]
    for view in views:
        await view.start()
    heard = 0

    async def write_heard() -> None:
        await write()
        while heard < count * watchers:
            await asyncio.sleep(0.005)

    here, there, _ = await _costs(nats, write_heard, count)
    found["heard_us"] = (here - found["write_us"]) / watchers
    found["server_heard_us"] = (there - found["server_write_us"]) / watchers
    for view in views:
        await view.stop()
    for each in (broker, other):
        await each.close()


def _assigned(found: dict[str, float]) -> None:
    from propylon.cluster._leases import assignment

    hosts = {f"host-{number}": 256 for number in range(50)}
    shards = range(10_000)
    held = assignment(hosts, shards, {})
    begun = time.process_time()
    for _ in range(10):
        assignment(hosts, shards, held)
    found["assigned_us"] = (time.process_time() - begun) / 10 / len(shards) * 1e6


ASKER: Final = """
import asyncio, sys
from propylon.cluster._keys import IdentifyQuestion, encode, identify_subject
from propylon.cluster._nats import connect
async def main():
    broker = await connect(sys.argv[1], "scale")
    async def ask(number):
        question = encode(IdentifyQuestion(number, 1, "host", f"ticket-{number}"))
        for _ in range(int(sys.argv[2]) // 50):
            assert await broker.request(identify_subject("scale"), question, 5.0) is not None
    await asyncio.gather(*map(ask, range(50)))
    await broker.close()
asyncio.run(main())
"""


async def _gate(nats: Any, found: dict[str, float]) -> None:
    from propylon.cluster._gate import Coordinator
    from propylon.cluster._nats import connect

    broker = await connect(nats.url, "scale")
    coordinator = Coordinator(broker, "scale", "host", changed=lambda: None)
    await coordinator.start()
    while not coordinator.is_here:
        await asyncio.sleep(0.01)
    count = 5_000

    async def asked() -> None:
        asking = await asyncio.create_subprocess_exec(sys.executable, "-W", "ignore", "-c", ASKER, nats.url, str(count))
        assert await asking.wait() == 0

    found["asked_us"], _, _ = await _costs(nats, asked, count)
    await coordinator.stop()
    await broker.close()


async def _stream(nats: Any, found: dict[str, float]) -> None:
    """Messages as a host publishes them: kept, taken by a worker that has to catch up, and looked through."""
    import propylon._core as _core
    from propylon import Intents
    from propylon.cluster import GatewayHost, Worker
    from propylon.cluster._keys import PARTITIONS as ALL
    from propylon.cluster._nats import connect
    from propylon.events import MessageCreate
    from propylon.testing import Simulator

    enough = 20_000
    worker = Worker(nats.url, app="look")

    @worker.listen
    def hear(message: MessageCreate) -> None:
        """What is heard is published."""

    with Simulator(guilds=256, shards=1, events=["MESSAGE_CREATE"], rate=2_000, identify_interval=0) as simulator:
        host = GatewayHost(
            "token", nats.url, app="look", shards=1, intents=Intents.GUILD_MESSAGES, api_url=simulator.api_url
        )
        await worker.open()
        async with host:
            while not host.metrics().publisher["published_messages"]:
                await asyncio.sleep(0.1)
            # It is published for a minute more.
            await worker.close()
            while host.metrics().publisher["published_messages"] < enough:
                await asyncio.sleep(0.1)
            counted = host.metrics().publisher
    found["event_bytes"] = counted["published_bytes"] / counted["published_events"]
    broker = await connect(nats.url, "look")
    status = await broker.stream_status()
    assert status is not None
    before = worker.metrics().intake["messages"]

    async def catch_up() -> None:
        await worker.open()
        while worker.metrics().intake["messages"] < status.messages:
            await asyncio.sleep(0.02)

    _, taking, _ = await _costs(nats, catch_up, status.messages - before)
    await worker.close()
    publisher = _core.Publisher(broker.core, "look", ALL, "look")

    async def look() -> None:
        await publisher.published("none", 0.0)

    _, found["look_us"], found["look_rate"] = await _costs(nats, look, status.messages)
    publisher.close()
    other = await connect(nats.url, "kept")
    data = os.urandom(int(found["event_bytes"]))

    async def keep() -> None:
        async def one(partition: int) -> None:
            for _ in range(100):
                assert await other.request(f"propylon.kept.ev.{partition}", data, 5.0) is not None

        await asyncio.gather(*map(one, range(ALL)))

    _, keeping, _ = await _costs(nats, keep, 100 * ALL)
    found["message_us"] = keeping + taking
    for each in (broker, other):
        await each.close()


def measured() -> dict[str, float]:
    """The costs of single things, over a nats-server on this machine."""
    from propylon.cli._nats_server import LocalNats

    found: dict[str, float] = {}
    _assigned(found)
    with LocalNats() as nats:
        asyncio.run(_keys(nats, found))
        asyncio.run(_gate(nats, found))
        asyncio.run(_stream(nats, found))
    return found


def of_events(results: dict[str, Any]) -> dict[str, float]:
    """What `benches/cluster.py` says of an event."""
    full, paced = results["cluster, flat out"], results["cluster, paced"]
    # At this rate there is hardly more than one event in a message.
    lane = paced["rate"] / PARTITIONS
    return {
        "host_us": full["cpu_us"]["host"],
        "calm_host_us": paced["cpu_us"]["host"],
        "worker_us": full["cpu_us"]["worker"],
        "calm_worker_us": paced["cpu_us"]["worker"],
        "calm_message_us": paced["cpu_us"]["nats-server"] * (1 + lane * TICK),
    }


def of_benches() -> dict[str, float]:
    """What `make bench` has found for an event that nobody hears."""
    results = json.loads((Path(__file__).parent / "results" / "events.json").read_text())
    return {"received_us": statistics.median(results["mix/zstd"]["Propylon, nobody listens"])}


def machine() -> str:
    import propylon._core as _core

    build = "a development build" if _core.DEBUG_BUILD else "a wheel"
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    ).stdout.strip()
    return (
        f"{os.cpu_count()} cores; {platform.system()}, "
        f"CPython {platform.python_version()}, {build} of {commit or 'unknown'} and what was changed since"
    )
