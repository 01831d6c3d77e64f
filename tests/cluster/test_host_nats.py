"""Gateway hosts over a real nats-server."""

import asyncio
import pickle
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import pytest
import pytest_asyncio

from cluster.hosts import CALM, QUICK, MemoryHost, new_token
from cluster.memory import MemoryServer
from cluster.nats import NatsServer
from face.support import eventually
from propylon import GatewayStatus, Intents
from propylon.cluster import GatewayHost
from propylon.cluster._control import drain, purge, reshard, status
from propylon.cluster._keys import Heard, HeardSlot, bucket, encode, heard_key
from propylon.cluster._membership import Times
from propylon.cluster._nats import NatsBroker
from propylon.testing import Simulator

pytestmark = pytest.mark.asyncio

Join = Callable[[], Awaitable[NatsBroker]]


class Cluster:
    def __init__(self, sim: Simulator, join: Join, app: str) -> None:
        self.sim = sim
        self.join = join
        self.app = app
        self.token = new_token()
        self.hosts: list[MemoryHost] = []

    async def start(self, count: int = 1, *, times: Sequence[Times] = ()) -> list[MemoryHost]:
        """``times``: of each; those of calm where there are none."""
        made = [
            MemoryHost(
                MemoryServer(), self.sim, self.token, name=f"h{len(self.hosts) + index}", times=one, app=self.app
            )
            for index, one in enumerate(times or [CALM] * count)
        ]
        for host in made:
            host.life.connect = self.join
        self.hosts += made
        await asyncio.gather(*(host.open() for host in made))
        return made

    @property
    def ready(self) -> list[int]:
        return sorted(shard for host in self.hosts for shard in host.ids)

    @property
    def counts(self) -> tuple[int, int]:
        """IDENTIFYs and RESUMEs."""
        fleet = self.sim.fleet()
        return fleet["identifies"], fleet["resumes"]


@pytest_asyncio.fixture
async def cluster(join: Join, nats_app: str) -> AsyncGenerator[Cluster]:
    async with Simulator(shards=4, max_concurrency=16, identify_interval=0.0, guilds=8) as sim:
        made = Cluster(sim, join, nats_app)
        yield made
        await asyncio.gather(*(host.close() for host in made.hosts))


async def test_hosts_share_shards_hand_them_over_and_come_back(cluster: Cluster, join: Join) -> None:
    first, second = await cluster.start(2)
    await eventually(lambda: cluster.ready == [0, 1, 2, 3] and len(first.ids) == len(second.ids) == 2)
    assert cluster.counts[0] == 4
    control = await join()
    said = await status(control, cluster.app)
    async with asyncio.timeout(20):
        # A host writes down that its shard is READY after that is so.
        while {shard.status for shard in said.shards} != {"READY"}:
            said = await status(control, cluster.app)
    assert sorted(host.shards for host in said.hosts) == [2, 2]
    assert sum(host.coordinator for host in said.hosts) == 1
    assert said.stream is not None
    await drain(control, cluster.app, first.life.id)
    await eventually(lambda: second.ids == [0, 1, 2, 3])
    assert cluster.counts[0] == 4
    await second.close()
    assert (await status(control, cluster.app)).hosts == []
    (third,) = await cluster.start()
    assert third.ids == [0, 1, 2, 3]
    assert cluster.counts[0] == 4


async def test_a_host_that_dies_is_followed(cluster: Cluster, join: Join) -> None:
    first, second = await cluster.start(times=[QUICK, CALM])
    await eventually(lambda: cluster.ready == [0, 1, 2, 3] and len(first.ids) == len(second.ids) == 2)
    # What a killed process leaves: leases, and a connection to nobody.
    assert isinstance(first.life.broker, NatsBroker)
    await first.life.broker.close()
    await eventually(lambda: second.ids == [0, 1, 2, 3], timeout=20)
    assert first.outlet.fenced
    assert cluster.counts[0] == 4


async def test_another_number_of_shards_takes_over(cluster: Cluster, join: Join) -> None:
    await cluster.start(2)
    await eventually(lambda: cluster.ready == [0, 1, 2, 3])
    control = await join()
    done = await reshard(control, cluster.app, 6, window=0.5, timeout=40)
    assert (done.before, done.total) == (4, 6)
    await eventually(lambda: cluster.ready == list(range(6)))
    await eventually(lambda: all(len(host.life.held) == 3 for host in cluster.hosts))
    said = await status(control, cluster.app)
    assert [shard.total for shard in said.shards] == [6] * 6
    assert cluster.counts[0] == 10


async def test_a_cluster_is_purged(cluster: Cluster, join: Join) -> None:
    (host,) = await cluster.start()
    await host.close()
    control = await join()
    assert (await purge(control, cluster.app)).keys > 0
    await control.prepare()
    said = await status(control, cluster.app)
    assert (said.active, said.shards) == (None, [])


# ---------------------------------------------------------------------- what users hold


def make(nats: str, app: str = "mybot", **options: Any) -> GatewayHost:
    return GatewayHost("secret-token", nats, app=app, **options)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"app": "my bot"}, ValueError, "app"),
        ({"name": "a.b"}, ValueError, "name"),
        ({"shards": "all"}, TypeError, "shards takes"),
        ({"shards": 0}, ValueError, "shards must be"),
        ({"intents": "auto"}, ValueError, "no listeners"),
        ({"capacity": 0}, ValueError, "capacity"),
        ({"replicas": 2}, ValueError, "replicas"),
        ({"max_bytes": 0}, ValueError, "max_bytes"),
        ({"max_age": 0.5}, ValueError, "max_age"),
    ],
)
async def test_settings_that_cannot_work_are_refused(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make("nats://127.0.0.1:4222", **{"app": "mybot", **options})


async def test_no_nats_is_a_clear_error() -> None:
    host = make("nats://127.0.0.1:9", name="web", shards=1)
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9"):
        await host.open()
    assert "secret" not in repr(host)
    assert repr(host).startswith("<GatewayHost mybot web-")
    assert host.shards == {}
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(host)


async def test_a_host_publishes_what_workers_hear(nats_server: NatsServer, join: Join, nats_app: str) -> None:
    async with Simulator(shards=2, max_concurrency=2, identify_interval=0.0, guilds=4) as sim:
        control = await join()
        await control.put(bucket(nats_app), heard_key("w"), encode(Heard([HeardSlot(None, ["MESSAGE_CREATE"])])))
        token = new_token()
        options = {"app": nats_app, "api_url": sim.api_url, "intents": Intents.ALL, "shards": 2}
        first = GatewayHost(token, nats_server.url, **options)
        second = GatewayHost(token, nats_server.url, **options)
        async with first:
            assert sorted(first.shards) == [0, 1]
            assert first.status is GatewayStatus.READY
            assert (first.total, first.is_coordinator) == (2, True)
            assert all(shard.epoch > 0 for shard in first.shards.values())
            sim.flood_shared(True, rate=500)
            await eventually(lambda: first.metrics().publisher["published_events"] > 200)
            async with second:
                await eventually(lambda: len(second.shards) == 1 and second.status is GatewayStatus.READY)
                await first.close()
                await eventually(lambda: len(second.shards) == 2 and second.status is GatewayStatus.READY)
                sim.flood_shared(False)
                made = sim.record()["shared"]["made"]

                def published() -> int:
                    return sum(host.metrics().publisher["published_events"] for host in (first, second))

                # Each once: what the first has published is not published again by the RESUMEs.
                await eventually(lambda: published() >= made)
                assert published() == made
                assert sim.fleet()["identifies"] == 2
