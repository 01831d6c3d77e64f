"""What the tests of the cluster share: virtual time, a publisher in memory, and hosts over the broker in memory."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import propylon._core as _core
from cluster.memory import MemoryBroker, MemoryServer
from propylon import Backoff, Intents, Timeouts
from propylon._fleet.making import Maker
from propylon._fleet.spread import wanted_shards
from propylon._gateway.admin import Admin
from propylon._gateway.intents import AskedIntents
from propylon._gateway.settings import engine_options
from propylon._listening.lifespan import Lifespan
from propylon._sessions.stores import SessionStore
from propylon.cluster._broker import Broker
from propylon.cluster._host_life import HostLife
from propylon.cluster._membership import Times
from propylon.testing import Simulator
from propylon.testing._clock import VirtualLoop

APP = "test"

CALM = Times(ttl=15.0, every=0.2, given_up=10.0, retry=0.05)
"""For tests in real time in which nobody dies: a machine that stands still for seconds costs nobody a lease."""
QUICK = Times(ttl=2.0, every=0.2, given_up=1.0, retry=0.05)
"""For who dies or is cut off: it is missed soon. A busy machine may cost it a lease before that, too."""
STEADY = Times(ttl=5.0, every=0.2, given_up=3.5, retry=0.05)
"""The same where a lease that is lost before that would be counted."""

_tokens = itertools.count(1)


def virtually(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it in a loop whose clock leaps."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


class FakeOutlet:
    """A publisher that publishes nothing, and notes what it was told."""

    def __init__(self) -> None:
        self.added: list[tuple[int, int, dict[int, int]]] = []
        """Key, epoch, and what was published already."""
        self.until: dict[int, float] = {}
        self.lapsed: set[int] = set()
        self.fenced: list[int] = []
        self.removed: list[int] = []
        self.asked: list[tuple[str, float]] = []
        self.is_flushed = True
        self.pending_trouble: str | None = None
        self.is_closed = False

    def add(self, shard: _core.Shard, epoch: int, published: dict[int, int], /) -> None:
        self.added.append((shard.key, epoch, published))

    def renewed(self, key: int, until: float, /) -> bool:
        self.until[key] = until
        return key not in self.lapsed

    def lost(self, key: int, /) -> None:
        self.fenced.append(key)

    def remove(self, key: int, /) -> None:
        self.removed.append(key)

    def flushed(self, key: int, /) -> bool:
        return self.is_flushed

    async def published(self, session_id: str, since: float, /) -> dict[int, int]:
        self.asked.append((session_id, since))
        return {0: 1}

    def trouble(self) -> str | None:
        trouble, self.pending_trouble = self.pending_trouble, None
        return trouble

    def metrics(self) -> dict[str, int]:
        return {"published": 0}

    def close(self) -> None:
        self.is_closed = True


class MemoryHost:
    """A host of a cluster in memory, on a real simulator."""

    def __init__(
        self,
        server: MemoryServer,
        sim: Simulator,
        token: str,
        *,
        name: str,
        shards: int = 4,
        capacity: int = 64,
        times: Times = CALM,
        app: str = APP,
    ) -> None:
        self.server = server
        self.outlet = FakeOutlet()
        self.broker: MemoryBroker | None = None
        lifespan, admin = Lifespan(self, None), Admin(None, False)
        intents = AskedIntents(Intents.ALL)
        made = engine_options(
            token,
            intents=Intents.ALL,
            compression=None,
            presence=None,
            large_threshold=50,
            auto_reconnect=True,
            shard=None,
            session=None,
            gateway_url=None,
            api_url=sim.api_url,
            timeouts=Timeouts(connect=5, hello=5, ready=5, close=0.5),
            backoff=Backoff(base=0.01, cap=0.05, reset_after=0.05),
            overflow="pause",
            queue_bytes=1 << 24,
            max_payload_bytes=1 << 24,
            wake_interval=0.002,
            proxy=None,
            ca_file=sim.ca_file,
            native_roots=False,
            identify_properties=None,
            allow_plaintext=False,
        )

        def maker_of(sessions: SessionStore) -> Maker:
            return Maker(
                self,
                made,
                token,
                intents=intents,
                sessions=sessions,
                presence_of=lambda _: None,
                outside_gate=True,
                max_pending=1,
                queue_bytes=1 << 24,
                shard_queue_bytes=1 << 24,
                mending=True,
                lifespan=lifespan,
                admin=admin,
            )

        async def connect() -> Broker:
            self.broker = server.client(name)
            return self.broker

        async def prepare(_: Broker) -> None:
            """It is all there."""

        self.life = HostLife(
            self,
            maker_of,
            made,
            token,
            app=app,
            name=name,
            capacity=capacity,
            wanted=wanted_shards(shards, None),
            intents=intents,
            lifespan=lifespan,
            admin=admin,
            connect=connect,
            prepare=prepare,
            outlet_of=lambda _: self.outlet,
            times=times,
        )

    @property
    def connection(self) -> MemoryBroker:
        assert self.broker is not None
        return self.broker

    @property
    def ids(self) -> list[int]:
        """The shards that are READY here, of whatever total."""
        return sorted(held.shard_id for held in self.life.held.values() if held.is_ready)

    async def open(self, timeout: float = 60.0) -> "MemoryHost":
        await self.life.open(timeout)
        return self

    async def close(self) -> None:
        await self.life.close(None)


def new_token() -> str:
    """The engine spaces the IDENTIFYs of those that share one."""
    return f"cluster-token-{next(_tokens)}"
