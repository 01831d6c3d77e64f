"""What NATS keeps of an app is gone while hosts and workers live: it is made again, and events flow."""

import asyncio
import logging
from collections.abc import AsyncIterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import pytest_asyncio

from cluster.hosts import QUICK, new_token
from cluster.nats import NatsServer
from face.support import SHORT, eventually
from fleet.support import guild_on, say
from propylon import GatewayStatus, Intents
from propylon.cluster import GatewayHost, Worker
from propylon.cluster._broker import Broker
from propylon.cluster._control import purge
from propylon.cluster._keys import bucket
from propylon.cluster._nats import connect
from propylon.events import MessageCreate
from propylon.testing import Simulator

pytestmark = pytest.mark.asyncio

TOTAL = 2
APP = "app"
AGE = 100.0


class Cluster:
    """A host and a worker on a nats-server of their own."""

    def __init__(self, sim: Simulator, server: NatsServer) -> None:
        self.sim = sim
        self.server = server
        options = {"intents": Intents.ALL, "api_url": sim.api_url, "ca_file": sim.ca_file, **SHORT}
        self.host = GatewayHost(
            new_token(), server.url, app=APP, shards=TOTAL, max_age=AGE, admin="127.0.0.1:0", **options
        )
        self.worker = Worker(server.url, app=APP)
        self.heard: list[str] = []

        @self.worker.listen
        def on_message(event: MessageCreate) -> None:
            self.heard.append(event.content)

        self.host._life.times = self.worker._life.times = QUICK

    def say(self, content: str) -> None:
        assert say(self.sim, guild_on(1, TOTAL), content) == 1

    @property
    def is_whole(self) -> bool:
        is_ready = self.host.status is GatewayStatus.READY and len(self.host.shards) == TOTAL
        return is_ready and len(self.worker.partitions) == 64

    def ask(self, path: str) -> tuple[int, str]:
        assert self.host.admin_address is not None
        host, port = self.host.admin_address
        try:
            with urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def hold_back(self) -> asyncio.Event:
        """The host makes what is gone again when that is set: until then whoever looks sees that it is gone."""
        gate = asyncio.Event()
        prepare = self.host._life.prepare

        async def later(broker: Broker) -> None:
            await gate.wait()
            await prepare(broker)

        self.host._life.prepare = later
        return gate

    async def wiped(self) -> None:
        await asyncio.to_thread(self.server.kill)
        self.server.wipe()
        await asyncio.to_thread(self.server.start)

    async def is_there_again(self) -> None:
        """Events flow, by the sessions of before and into a stream as it was asked for."""
        await eventually(lambda: self.is_whole, timeout=40)
        self.say("after")
        await eventually(lambda: self.heard[-1:] == ["after"], timeout=20)
        assert self.sim.fleet()["identifies"] == TOTAL
        control = await connect(self.server.url, APP, prepare=False)
        told = await control.stream_status()
        await control.close()
        assert told is not None
        assert told.max_age == AGE


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    with NatsServer() as server:
        async with Simulator(shards=TOTAL, max_concurrency=16, identify_interval=0.0, guilds=4) as sim:
            made = Cluster(sim, server)
            await made.worker.open(timeout=30)
            await made.host.open(timeout=30)
            await eventually(lambda: made.is_whole, timeout=40)
            made.say("before")
            await eventually(lambda: made.heard == ["before"])
            yield made
            await made.host.close()
            await made.worker.close()


async def test_a_store_that_was_lost_is_made_again(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    def told() -> list[bool]:
        texts = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        return sorted("it is made again" in text for text in texts if "is gone" in text)

    # The worker of a busy machine looks when the host has made it again: the host waits for its look here.
    gate = cluster.hold_back()
    await cluster.wiped()
    await eventually(lambda: len(told()) >= 2, timeout=20)
    gate.set()
    await cluster.is_there_again()
    # Once by each, and what will be.
    assert told() == [False, True]


async def test_what_workers_heard_is_heard_also_before_they_say_so_again(cluster: Cluster) -> None:
    announcer = cluster.worker._life._announcer
    assert announcer is not None
    await announcer.stop()
    gate = cluster.hold_back()
    await cluster.wiped()
    await eventually(lambda: not cluster.host.shards, timeout=40)
    gate.set()
    await eventually(lambda: cluster.host.status is GatewayStatus.READY and len(cluster.host.shards) == TOTAL, 40)
    cluster.say("meanwhile")
    await announcer.begin()
    await eventually(lambda: cluster.heard[-1:] == ["meanwhile"], timeout=20)
    await cluster.is_there_again()


async def test_an_app_that_was_purged_under_them_is_made_again(cluster: Cluster) -> None:
    control = await connect(cluster.server.url, APP, prepare=False)
    gate = cluster.hold_back()
    await purge(control, APP, force=True)
    await control.close()
    await eventually(lambda: not cluster.is_whole, timeout=40)
    gate.set()
    await cluster.is_there_again()


async def test_a_stream_that_was_removed_is_made_again(cluster: Cluster) -> None:
    control = await connect(cluster.server.url, APP, prepare=False)
    assert b'"success":true' in (await control.request(f"$JS.API.STREAM.DELETE.propylon-{APP}", b"", 10) or b"")
    await control.close()
    await eventually(lambda: cluster.is_whole, timeout=20)
    # What cannot be published tells that it is gone.
    cluster.say("meanwhile")
    await eventually(lambda: cluster.heard[-1:] == ["meanwhile"], timeout=20)
    await cluster.is_there_again()


async def test_keys_that_were_removed_are_made_again_and_nothing_that_comes_is_taken_for_old(cluster: Cluster) -> None:
    control = await connect(cluster.server.url, APP, prepare=False)
    # Leases whose epochs are far from the first.
    for number in range(500):
        await control.put(bucket(APP), "session.0.0", str(number).encode(), ttl=5)
    await asyncio.to_thread(cluster.server.kill)
    await eventually(lambda: not cluster.host.shards, timeout=20)
    await asyncio.to_thread(cluster.server.start)
    await eventually(lambda: cluster.is_whole, timeout=40)
    cluster.say("of a late epoch")
    await eventually(lambda: cluster.heard[-1:] == ["of a late epoch"], timeout=20)
    gone = f"$JS.API.STREAM.DELETE.KV_{bucket(APP)}"
    gate = cluster.hold_back()
    assert b'"success":true' in (await control.request(gone, b"", 10) or b"")
    await control.close()
    await eventually(lambda: not cluster.is_whole, timeout=40)
    gate.set()
    await cluster.is_there_again()
    assert cluster.worker.metrics().intake["stale"] == 0


async def test_as_long_as_the_keys_are_gone_nothing_looks_well(cluster: Cluster) -> None:
    gate = cluster.hold_back()
    # The engine answers, so that the loop may wait for it.
    await eventually(lambda: cluster.ask("/readyz")[0] == 200, timeout=30)
    await cluster.wiped()
    await eventually(lambda: cluster.ask("/readyz")[0] == 503 and not cluster.host.shards, timeout=30)
    await eventually(lambda: 'cluster_shards{app="app",state="held"} 0' in cluster.ask("/metrics")[1], timeout=30)
    assert cluster.ask("/readyz")[0] == 503
    gate.set()
    await cluster.is_there_again()
    await eventually(lambda: cluster.ask("/readyz")[0] == 200, timeout=30)
