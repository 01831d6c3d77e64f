"""What the admin servers of gateway hosts and workers tell: their own part, and the whole cluster from any of them."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from admin.support import ADMIN, Answer, get
from admin.test_metrics import documented, promtool, samples, with_promtool
from cluster.hosts import CALM, QUICK, new_token
from cluster.nats import NatsServer, free_ports
from face.support import SHORT, eventually
from fleet.support import guild_on, say
from propylon import Intents
from propylon.cluster import GatewayHost, Worker
from propylon.cluster._membership import Times
from propylon.cluster._nats import connect
from propylon.cluster._partitions import partitions_of
from propylon.events import MessageCreate
from propylon.testing import Simulator

pytestmark = pytest.mark.asyncio

TOTAL = 4


def own_address() -> str:
    """One that no other member of this process has: with port 0 they would share a server."""
    return f"127.0.0.1:{free_ports(1)[0]}"


class Cluster:
    """Hosts and workers with admin servers."""

    def __init__(self, sim: Simulator, url: str, app: str) -> None:
        self.sim = sim
        self.url = url
        self.app = app
        self.token = new_token()
        self.opened: list[GatewayHost | Worker] = []

    async def host(self, **options: Any) -> GatewayHost:
        settings: dict[str, Any] = {"intents": Intents.ALL, "api_url": self.sim.api_url, "ca_file": self.sim.ca_file}
        settings |= {"shards": TOTAL, "admin": own_address(), **SHORT, **options}
        host = GatewayHost(self.token, self.url, app=self.app, **settings)
        self.opened.append(host)
        await host.open(timeout=30)
        return host

    async def worker(self, admin: str | None = None, *, times: Times = CALM) -> Worker:
        worker = Worker(self.url, app=self.app, admin=own_address() if admin is None else admin)
        worker._life.times = times
        self.opened.append(worker)

        @worker.listen
        async def on_message(event: MessageCreate) -> None: ...

        await worker.open(timeout=30)
        return worker

    def say(self, count: int) -> None:
        for number in range(count):
            assert say(self.sim, guild_on(number % TOTAL, TOTAL), str(number)) == 1


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


async def until(
    member: GatewayHost | Worker, path: str, condition: Callable[[Any], object], timeout: float = 20.0
) -> Any:
    """Ask until the answer is so; it."""
    answer: Answer | None = None
    try:
        async with asyncio.timeout(timeout):
            while True:
                answer = await get(member, path)
                found: Any = samples(answer.text) if path == "/metrics" else answer.json
                if condition(found):
                    return found
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not so within {timeout} s: {None if answer is None else answer.text[:4000]}") from None


def value(found: dict[str, list[tuple[dict[str, str], float]]], name: str, **labels: str) -> float:
    """Of the one sample that has these labels."""
    rows = [row for pairs, row in found[f"propylon_{name}"] if labels.items() <= pairs.items()]
    assert len(rows) == 1, (name, labels, found[f"propylon_{name}"])
    return rows[0]


async def families(member: GatewayHost | Worker) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", (await get(member, "/metrics")).text, re.MULTILINE))


async def test_each_documented_name_is_there_and_nothing_else(cluster: Cluster) -> None:
    worker, host = await cluster.worker(), await cluster.host()
    found = await families(worker) | await families(host)
    names = documented(cluster=None)
    assert found == {name: kind for name, (kind, _) in names.items()}
    for name, (_, labels) in documented(cluster=True).items():
        told = [samples((await get(member, "/metrics")).text).get(name, []) for member in (worker, host)]
        assert any(told), f"{name} has no sample"
        assert all(set(pairs) == labels for each in told for pairs, _ in each), name
    # What is of one of the two is not told by the other.
    assert "propylon_publish_lag_seconds" not in await families(worker)
    assert "propylon_partitions" not in await families(host)


async def test_the_values_are_those_of_metrics(cluster: Cluster) -> None:
    worker, host = await cluster.worker(), await cluster.host()
    cluster.say(100)
    await eventually(lambda: worker.metrics().delivered_by_type.get("MESSAGE_CREATE", 0) == 100)
    await eventually(lambda: worker.metrics().intake["unfinished"] == 0)
    found = await until(
        worker,
        "/metrics",
        lambda now: value(now, "intake_unfinished_messages") == 0 and value(now, "intake_events_total") >= 100,
    )
    intake = worker.metrics().intake
    assert value(found, "intake_events_total") == intake["events"] >= 100
    assert value(found, "intake_messages_total") == intake["messages"]
    for name in (
        "redelivered_messages",
        "dead_letters",
        "expired_messages",
        "stale_events",
        "overlapped_events",
        "known_events",
    ):
        assert value(found, f"intake_{name}_total") == 0
    assert value(found, "partitions") == value(found, "partitions_wanted") == 64
    assert len(found["propylon_intake_lag_messages"]) == 64
    # What its listeners heard, though it has no shard.
    assert value(found, "events_total", event="MESSAGE_CREATE", outcome="delivered") == 100
    assert value(found, "nats_connected") == 1

    # NATS may have told the worker before it acknowledges to the host.
    await eventually(lambda: host.metrics().publisher["published_events"] >= intake["events"])
    found = samples((await get(host, "/metrics")).text)
    published = host.metrics().publisher
    assert value(found, "published_events_total") == published["published_events"] >= 100
    assert value(found, "published_messages_total") == published["published_messages"]
    assert value(found, "published_bytes_total") == published["published_bytes"] > 0
    assert value(found, "publish_fenced_events_total") == value(found, "publish_retries_total") == 0
    assert value(found, "publish_lag_seconds") < 5
    for shard_id, shard in host.shards.items():
        assert value(found, "lease_epoch", shard=str(shard_id)) == shard.epoch > 0
        assert 0 < value(found, "lease_left_seconds", shard=str(shard_id)) <= 10
    # The whole of it, from both.
    for member in (host, worker):
        found = await until(member, "/metrics", lambda now: value(now, "cluster_shards", state="held") == TOTAL)
        for name, state, number in (
            *(("hosts", "serving", 1), ("hosts", "draining", 0), ("workers", "serving", 1), ("workers", "draining", 0)),
            *(("shards", "free", 0), ("partitions", "held", 64), ("partitions", "free", 0)),
        ):
            assert value(found, f"cluster_{name}", app=cluster.app, state=state) == number, (name, state)


async def test_the_snapshot_has_the_whole_cluster_from_any_process(cluster: Cluster) -> None:
    worker, host = await cluster.worker(), await cluster.host()

    def is_whole(snapshot: Any) -> bool:
        told = snapshot["cluster"]
        return (
            {shard["status"] for shard in told["shards"]} == {"READY"}
            and {partition["worker"] for partition in told["partitions"]} == {worker.id}
            and all(one["admin"] for one in (*told["hosts"], *told["workers"]))
            and all(partition["lag"] == 0 for partition in told["partitions"])
        )

    by_host = (await until(host, "/snapshot", is_whole))["cluster"]
    by_worker = (await until(worker, "/snapshot", is_whole))["cluster"]
    assert (by_host["role"], by_host["id"], by_host["wanted"]) == ("host", host.id, TOTAL)
    assert (by_worker["role"], by_worker["id"], by_worker["wanted"]) == ("worker", worker.id, 64)
    for key in ("app", "total", "next", "hosts", "shards", "workers", "partitions"):
        assert by_host[key] == by_worker[key], key
    assert (by_host["app"], by_host["total"], by_host["next"]) == (cluster.app, TOTAL, None)
    (told,) = by_host["hosts"]
    assert (told["id"], told["shards"], told["coordinator"], told["draining"]) == (host.id, TOTAL, True, False)
    address = host.admin_address
    assert address is not None
    assert told["admin"] == f"{address[0]}:{address[1]}"
    assert [(shard["id"], shard["host"], shard["epoch"]) for shard in by_host["shards"]] == [
        (shard_id, host.id, shard.epoch) for shard_id, shard in sorted(host.shards.items())
    ]
    assert (by_host["connected"], by_host["intake"]) == (True, None)
    assert {lease["shard"] for lease in by_host["publisher"]["leases"]} == set(range(TOTAL))
    assert (by_worker["connected"], by_worker["publisher"]) == (True, None)
    assert by_worker["intake"]["partitions"] == 64
    # Nothing by which somebody gets in.
    assert cluster.token not in str(by_host) + str(by_worker)


async def test_a_member_is_ready_when_its_part_is(cluster: Cluster) -> None:
    worker, host = await cluster.worker(), await cluster.host(shards=1)
    ready = await until(worker, "/readyz", lambda now: now["ok"])
    assert ready == {"ok": True, "shards": 0, "ready": 0, "partitions": 64, "taken": 64}
    assert await until(host, "/readyz", lambda now: now["ok"]) == {"ok": True, "shards": 1, "ready": 1}
    # One for which nothing is left is as ready as it can be.
    spare = await cluster.host(shards=1)
    assert await until(spare, "/readyz", lambda now: now["ok"]) == {"ok": True, "shards": 0, "ready": 0}
    assert (await get(spare, "/livez")).json["ok"] is True


async def test_what_a_worker_has_counted_stays_when_its_partitions_go(cluster: Cluster) -> None:
    first, host = await cluster.worker(), await cluster.host()
    cluster.say(40)
    await eventually(lambda: first.metrics().delivered_by_type.get("MESSAGE_CREATE", 0) == 40)
    before = await until(first, "/metrics", lambda now: value(now, "intake_events_total") >= 40)
    second = await cluster.worker()
    theirs = partitions_of(second.id, {first.id, second.id})
    number = 64 - len(theirs)
    assert 0 < number < 64
    # Not all of them move at once, and what moves is nobody's.
    await eventually(lambda: {*second.partitions} == theirs and len(first.partitions) == number)
    after = await until(
        first,
        "/metrics",
        lambda now: (
            value(now, "partitions_wanted") == number
            and value(now, "partitions") == len(now.get("propylon_intake_lag_messages", [])) == number
        ),
    )
    assert value(after, "intake_events_total") >= value(before, "intake_events_total")
    delivered = {"event": "MESSAGE_CREATE", "outcome": "delivered"}
    assert value(after, "events_total", **delivered) == 40
    assert (await until(first, "/readyz", lambda now: now["partitions"] == number))["ok"]
    # All see where they went.
    for member in (first, second, host):
        told = await until(
            member,
            "/snapshot",
            lambda now: (
                {row["id"]: row["partitions"] for row in now["cluster"]["workers"]}
                == {first.id: number, second.id: 64 - number}
            ),
        )
        owners = {part["id"]: part["worker"] for part in told["cluster"]["partitions"]}
        assert {part for part, owner in owners.items() if owner == second.id} == set(second.partitions)
    await second.close()
    await eventually(lambda: len(first.partitions) == 64)
    await until(host, "/metrics", lambda now: value(now, "cluster_workers", state="serving") == 1)


async def test_what_nobody_has_is_told(cluster: Cluster) -> None:
    host = await cluster.host()
    found = await until(host, "/metrics", lambda now: value(now, "cluster_partitions", state="free") == 64)
    assert value(found, "cluster_workers", state="serving") == 0
    worker = await cluster.worker()
    await until(worker, "/metrics", lambda now: value(now, "cluster_partitions", state="free") == 0)
    await host.close()
    # Each is a key of its own.
    await until(
        worker,
        "/metrics",
        lambda now: (
            value(now, "cluster_shards", state="free") == TOTAL and value(now, "cluster_hosts", state="serving") == 0
        ),
    )
    told = await until(worker, "/snapshot", lambda now: not now["cluster"]["hosts"])
    assert {shard["host"] for shard in told["cluster"]["shards"]} == {None}


async def test_a_dead_letter_is_counted(cluster: Cluster) -> None:
    worker = await cluster.worker()
    broker = await connect(cluster.url, cluster.app)
    await broker.publish(f"propylon.{cluster.app}.ev.7", b"no message of ours")
    await broker.close()
    await until(worker, "/metrics", lambda now: value(now, "intake_dead_letters_total") == 1)
    told = await until(worker, "/snapshot", lambda now: now["cluster"]["intake"]["unfinished"] == 0)
    assert told["cluster"]["intake"]["dead"] == 1


async def test_a_server_that_is_away_is_told_and_so_is_its_return() -> None:
    with NatsServer() as server:
        async with Simulator(shards=TOTAL, max_concurrency=16, identify_interval=0.0, guilds=8) as sim:
            cluster = Cluster(sim, server.url, "app")
            worker = await cluster.worker(times=QUICK)
            host = await cluster.host()
            await until(worker, "/readyz", lambda now: now["ok"])
            await asyncio.to_thread(server.kill)
            for member in (worker, host):
                await until(member, "/metrics", lambda now: value(now, "nats_connected") == 0)
                told = await until(member, "/snapshot", lambda now: now["cluster"]["connected"] is False)
                assert told["cluster"]["app"] == "app"
            await until(worker, "/readyz", lambda now: not now["ok"])
            await asyncio.to_thread(server.start)
            for member in (worker, host):
                await until(member, "/metrics", lambda now: value(now, "nats_connected") == 1, timeout=30)
                await until(member, "/readyz", lambda now: now["ok"], timeout=40)
            await worker.close()
            await host.close()


async def test_nothing_of_a_member_is_left_where_another_goes_on(cluster: Cluster) -> None:
    """Two that share an address, as gateways of one process do."""
    worker, host = await cluster.worker(ADMIN), await cluster.host(admin=ADMIN)
    assert host.admin_address == worker.admin_address
    ready = await until(worker, "/readyz", lambda now: now["ok"] and now["shards"] == TOTAL)
    assert ready == {"ok": True, "shards": TOTAL, "ready": TOTAL, "partitions": 64, "taken": 64}
    cluster.say(8)
    before = await until(worker, "/metrics", lambda now: value(now, "published_events_total") >= 8)
    await host.close()
    ready = await until(worker, "/readyz", lambda now: now["ok"] and now["shards"] == 0)
    assert ready == {"ok": True, "shards": 0, "ready": 0, "partitions": 64, "taken": 64}
    found = samples((await get(worker, "/metrics")).text)
    assert "propylon_lease_epoch" not in found
    assert value(found, "intake_events_total") >= value(before, "intake_events_total")


@with_promtool
async def test_promtool_takes_the_metrics(cluster: Cluster) -> None:
    assert promtool is not None
    worker, host = await cluster.worker(), await cluster.host()
    for member in (worker, host):
        text = (await get(member, "/metrics")).text
        done = await asyncio.to_thread(
            subprocess.run, [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
