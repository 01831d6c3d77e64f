"""Gateway hosts and workers over a real nats-server, on the simulator: events, commands, and what moves."""

import asyncio
import itertools
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from cluster.hosts import CALM, QUICK, new_token
from cluster.nats import NatsServer
from face.support import SHORT, eventually
from fleet.support import guild_on, say, worlds_guild
from propylon import Dispatch, Intents, Presence, field
from propylon.cluster import GatewayHost, NoOwner, Worker
from propylon.cluster._keys import bucket, heard_key
from propylon.cluster._nats import connect
from propylon.events import Event, MessageCreate
from propylon.testing import Simulator

pytestmark = pytest.mark.asyncio

TOTAL = 4


class Cluster:
    def __init__(self, sim: Simulator, url: str, app: str) -> None:
        self.sim = sim
        self.url = url
        self.app = app
        self.token = new_token()
        self.opened: list[GatewayHost | Worker] = []

    async def host(self, **options: Any) -> GatewayHost:
        settings: dict[str, Any] = {"intents": Intents.ALL, "api_url": self.sim.api_url, "ca_file": self.sim.ca_file}
        host = GatewayHost(self.token, self.url, app=self.app, shards=TOTAL, **{**settings, **SHORT, **options})
        self.opened.append(host)
        await host.open(timeout=30)
        return host

    def worker(self, **options: Any) -> Worker:
        worker = Worker(self.url, app=self.app, **options)
        self.opened.append(worker)
        return worker

    def say(self, guild_id: int, content: str) -> None:
        assert say(self.sim, guild_id, content) == 1


@pytest_asyncio.fixture
async def cluster(nats_server: NatsServer, nats_app: str) -> AsyncIterator[Cluster]:
    async with Simulator(shards=TOTAL, max_concurrency=16, identify_interval=0.0, guilds=8) as sim:
        made = Cluster(sim, nats_server.url, nats_app)
        yield made
        for one in reversed(made.opened):
            await one.close()
    broker = await connect(nats_server.url, nats_app, prepare=False)
    await broker.purge()
    await broker.close()


async def test_events_of_a_host_come_to_a_worker_in_order(cluster: Cluster) -> None:
    worker = cluster.worker()
    heard: list[str] = []

    @worker.listen(where=field("content").startswith("!"))
    async def on_message(event: MessageCreate, dispatch: Dispatch[Any]) -> None:
        heard.append(event.content)
        assert dispatch.shard_id == 2

    await worker.open(timeout=30)
    await cluster.host()
    guild = guild_on(2, TOTAL)
    for number in range(200):
        cluster.say(guild, f"!{number}" if number % 2 else "other")
    await eventually(lambda: len(heard) == 100)
    assert heard == [f"!{number}" for number in range(1, 200, 2)]
    # What nobody hears has left no host.
    intake = worker.metrics().intake
    assert intake["events"] < 150
    await eventually(lambda: worker.metrics().intake["unfinished"] == 0)


async def test_a_filter_may_read_what_the_class_of_its_listener_has_not(cluster: Cluster) -> None:
    worker = cluster.worker()
    heard: list[str] = []

    class Place(Event, event="MESSAGE_CREATE"):
        channel_id: str

    class Nonce(Event, event="MESSAGE_CREATE"):
        nonce: str | None = None

    @worker.listen(where=field("content").startswith("!"))
    async def command(event: Place) -> None:
        heard.append("command")

    @worker.listen(where=~field("content").startswith("!"))
    async def other(event: Nonce) -> None:
        heard.append("other")

    await worker.open(timeout=30)
    await cluster.host()
    guild = guild_on(2, TOTAL)
    for content in ("!a", "b", "!c"):
        cluster.say(guild, content)
    await eventually(lambda: len(heard) == 3)
    assert heard == ["command", "other", "command"]
    await eventually(lambda: worker.metrics().intake["events"] == 3 and worker.metrics().intake["unfinished"] == 0)


async def test_what_is_heard_later_comes_from_then_on(cluster: Cluster) -> None:
    worker = cluster.worker()
    await worker.open(timeout=30)
    await cluster.host()
    guild = guild_on(1, TOTAL)
    waiting = asyncio.ensure_future(worker.wait_for(MessageCreate, where=field("content") == "now"))
    for number in itertools.count():
        cluster.say(guild, "now")
        await asyncio.sleep(0.01)
        if waiting.done():
            break
        assert number < 500
    assert (await waiting).content == "now"


async def test_partitions_move_and_no_event_comes_twice_or_not_at_all(cluster: Cluster) -> None:
    handled: list[tuple[int, int]] = []

    async def started() -> Worker:
        worker = cluster.worker()

        @worker.listen
        async def on_message(event: MessageCreate) -> None:
            await asyncio.sleep(0)
            handled.append((int(event.guild_id or 0), int(event.content)))

        await worker.open(timeout=30)
        return worker

    first = await started()
    await cluster.host()
    guilds = [guild_on(shard_id, TOTAL, turn) for shard_id in range(TOTAL) for turn in range(4)]
    over = False

    async def talk() -> int:
        for number in itertools.count():
            for guild in guilds:
                cluster.say(guild, str(number))
            await asyncio.sleep(0.02)
            if over:
                return number + 1
        raise AssertionError

    talking = asyncio.ensure_future(talk())
    await eventually(lambda: len(handled) > 100)
    second = await started()
    await eventually(lambda: len(second.partitions) > 0 and len(first.partitions) + len(second.partitions) == 64)
    await asyncio.sleep(0.2)
    await first.close(drain=10)
    await eventually(lambda: len(second.partitions) == 64)
    await asyncio.sleep(0.2)
    over = True
    count = await talking
    await eventually(lambda: len(set(handled)) == count * len(guilds))
    assert len(handled) == len(set(handled))
    for guild in guilds:
        assert [number for of, number in handled if of == guild] == list(range(count))


async def test_commands_reach_the_host_that_has_the_shard(cluster: Cluster) -> None:
    worker = cluster.worker()
    await worker.open(timeout=30)
    host = await cluster.host()
    await eventually(lambda: worker.total == TOTAL)
    await worker.set_presence(Presence(status="idle"))
    guild = worlds_guild(0)
    members = await worker.request_members(guild, query="", limit=5)
    assert 0 < len(members) <= 5
    chunks = [chunk async for chunk in worker.request_members(guild, limit=3, query="")]
    assert sum(len(chunk.members) for chunk in chunks) <= 3
    await host.close()
    with pytest.raises(NoOwner) as raised:
        await worker.request_members(guild, query="", limit=5)
    assert raised.value.shard_id == worker.shard_of(guild)


async def test_a_worker_that_dies_is_followed_and_its_events_come_again(cluster: Cluster) -> None:
    heard: dict[str, list[int]] = {"first": [], "second": []}

    def worker_of(name: str) -> Worker:
        worker = cluster.worker()
        # The first dies.
        worker._life.times = QUICK if name == "first" else CALM

        @worker.listen
        async def on_message(event: MessageCreate) -> None:
            heard[name].append(int(event.content))
            if name == "first":
                await asyncio.Event().wait()

        return worker

    first, second = worker_of("first"), worker_of("second")
    await first.open(timeout=30)
    await cluster.host()
    guild = guild_on(0, TOTAL)
    for number in range(10):
        cluster.say(guild, str(number))
    # More than once where it loses its leases before it dies.
    await eventually(lambda: set(heard["first"]) == set(range(10)))
    # What a killed process leaves: keys that expire, and messages that nobody acknowledges.
    joined = first._life._joined
    assert joined is not None
    await joined.broker.close()
    await second.open(timeout=30)
    await eventually(lambda: heard["second"] == list(range(10)), timeout=30)
    assert first.partitions == ()
    assert second.metrics().intake["redelivered"] > 0


async def test_a_server_that_is_killed_and_comes_back_loses_nothing_that_was_kept() -> None:
    with NatsServer() as server:
        worker = Worker(server.url, app="app")
        worker._life.times = QUICK
        heard: list[str] = []

        @worker.listen
        async def on_message(event: MessageCreate) -> None:
            heard.append(event.content)

        async with Simulator(shards=TOTAL, max_concurrency=16, identify_interval=0.0, guilds=8) as sim:
            cluster = Cluster(sim, server.url, "app")
            await worker.open(timeout=30)
            host = await cluster.host()
            guild = guild_on(0, TOTAL)
            cluster.say(guild, "before")
            await eventually(lambda: "before" in heard)
            await asyncio.to_thread(server.kill)
            await eventually(lambda: worker.partitions == ())
            cluster.say(guild, "meanwhile")
            await asyncio.to_thread(server.start)
            await eventually(lambda: len(worker.partitions) == 64, timeout=30)
            cluster.say(guild, "after")
            await eventually(lambda: set(heard) == {"before", "meanwhile", "after"}, timeout=30)
            assert heard.index("meanwhile") < heard.index("after")
            await worker.close()
            await host.close()


async def test_a_host_that_starts_while_no_worker_lives_publishes_what_the_last_one_heard(cluster: Cluster) -> None:
    heard: list[str] = []

    def worker_of() -> Worker:
        worker = cluster.worker()

        @worker.listen(where=field("content").startswith("!"))
        async def on_message(event: MessageCreate) -> None:
            heard.append(event.content)

        return worker

    first = worker_of()
    await first.open(timeout=30)
    await first.close(drain=1)
    host = await cluster.host()
    guild = guild_on(0, TOTAL)
    cluster.say(guild, "!meanwhile")
    cluster.say(guild, "other")
    await eventually(lambda: host.metrics().publisher["published_events"] == 1)
    await worker_of().open(timeout=30)
    await eventually(lambda: heard == ["!meanwhile"])


async def test_a_server_that_takes_small_messages_only_costs_the_conditions() -> None:
    with NatsServer("max_payload: 2048") as server:
        worker = Worker(server.url, app="app")
        heard: list[str] = []

        @worker.listen(where=field("content") == "hi")
        async def on_message(event: MessageCreate) -> None:
            heard.append(event.content)

        async with Simulator(shards=TOTAL, max_concurrency=16, identify_interval=0.0, guilds=8) as sim:
            cluster = Cluster(sim, server.url, "app")
            await worker.open(timeout=30)
            host = await cluster.host()
            waits = [
                asyncio.ensure_future(worker.wait_for(MessageCreate, where=field("content") == f"never {number}"))
                for number in range(100)
            ]
            guild = guild_on(0, TOTAL)
            control = await connect(server.url, "app", prepare=False)
            key = heard_key(worker.id or "")
            watch = await control.watch(bucket("app"), key)
            async with asyncio.timeout(20):
                while not any(b'"where":null' in (change.value or b"") for change in await watch.next()):
                    pass
            await control.close()
            cluster.say(guild, "hi")
            await eventually(lambda: heard == ["hi"])

            def all_is_published() -> bool:
                # The host may not have read yet that there are no conditions any more.
                cluster.say(guild, "other")
                published: int = host.metrics().publisher["published_events"]
                return published > 1

            await eventually(all_is_published)
            assert heard == ["hi"]
            for wait in waits:
                wait.cancel()
            await worker.close()
            await host.close()


SCRIPT = """
import sys
from propylon.cluster import Worker
from propylon.events import Event, MessageCreate

worker = Worker(sys.argv[1], app=sys.argv[2])

@worker.listen
async def on_message(event: MessageCreate) -> None:
    print("heard", event.content, flush=True)

@worker.on_close
def on_close(closed: object) -> None:
    print("closed", flush=True)

async def main() -> None:
    await worker.open()
    print("open", len(worker.partitions), flush=True)
    await worker.serve()

import asyncio
if sys.argv[3] == "left":
    asyncio.run(worker.open())
else:
    asyncio.run(main())
"""


async def started(cluster: Cluster, how: str) -> asyncio.subprocess.Process:
    arguments = ("-W", "ignore::RuntimeWarning", "-c", SCRIPT, cluster.url, cluster.app, how)
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=pipe, stderr=pipe)


async def test_a_signal_drains_it_and_the_process_ends_in_order(cluster: Cluster) -> None:
    process = await started(cluster, "serve")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"open 64\n"
    await cluster.host()
    cluster.say(guild_on(0, TOTAL), "hi")
    assert await process.stdout.readline() == b"heard hi\n"
    process.send_signal(signal.SIGTERM)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out, err) == (0, b"closed\n", b"")
    control = await connect(cluster.url, cluster.app, prepare=False)
    left = await control.entries(bucket(cluster.app), ">")
    await control.close()
    assert [entry.key for entry in left if entry.key.startswith(("part.", "worker."))] == []
    # What it heard is heard for another minute.
    assert len([entry for entry in left if entry.key.startswith("heard.")]) == 1


async def test_one_that_is_left_open_says_so_and_ends(cluster: Cluster) -> None:
    process = await started(cluster, "left")
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out) == (0, b"closed\n")
    assert err == b""
