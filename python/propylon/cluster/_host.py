"""The gateway host: what users start on each machine that is to have shards. Signatures and their explanations; what is
behind them stands in `propylon.cluster._host_life`."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, Self

import propylon._core as _core
from propylon._arguments import count_of
from propylon._commands.payloads import presence_json
from propylon._fleet.making import Maker
from propylon._fleet.spread import wanted_shards
from propylon._gateway.admin import Admin
from propylon._gateway.intents import AskedIntents
from propylon._gateway.metrics import Metrics
from propylon._gateway.options import Backoff, Compression, Timeouts
from propylon._gateway.serving import Step, run, serve
from propylon._gateway.settings import engine_options
from propylon._listening.lifespan import Lifespan
from propylon._sessions.session import GatewayStatus
from propylon._sessions.stores import SessionStore
from propylon.cluster._broker import Broker
from propylon.cluster._host_life import HostLife
from propylon.cluster._keys import PARTITIONS
from propylon.cluster._membership import check_name
from propylon.cluster._nats import Nats, NatsBroker, check_app, connect, nats_of
from propylon.errors import CommandError
from propylon.intents import Intents
from propylon.presence import Presence

__all__ = ["GatewayHost", "HostMetrics", "HostedShard"]


@dataclass(frozen=True, slots=True)
class HostedShard:
    """A shard that a host has, as it is now."""

    shard: tuple[int, int]
    """``(shard_id, shard_count)``."""
    status: GatewayStatus
    epoch: int
    """Of its lease: of all hosts that have had the shard, the later has the larger one."""
    latency: float | None
    """Seconds from a heartbeat to its answer."""
    guild_count: int


@dataclass(frozen=True, slots=True)
class HostMetrics:
    """The counters of a host."""

    gateway: Metrics
    """Of all its shards, those that have gone among them."""
    epochs: Mapping[int, int]
    """The epoch of each shard's lease, by its id."""
    publisher: Mapping[str, int]
    """What has left the host, and what waits: by the publisher's names."""


class GatewayHost:
    """Holds shards of a bot for workers on other machines; any number of hosts share them.

    ::

        host = GatewayHost(os.environ["DISCORD_TOKEN"], "nats://127.0.0.1:4222", app="mybot")
        host.run()

    It runs no code of yours: what some `Worker` listens to is published, all else is counted and dropped. Hosts divide
    the shards among themselves by their capacities. One that comes or goes moves as few of them as possible, each by a
    RESUME; the shards of one that dies go on elsewhere within 20 s, also by a RESUME (later from some
    thousand shards on: docs/scale.md).

    `status`, `shards` and `metrics` may be read from any thread; everything else belongs to the event loop in which
    the host was opened.
    """

    def __init__(
        self,
        token: str,
        nats: str | Sequence[str] | Nats,
        *,
        app: str,
        shards: Literal["auto"] | int = "auto",
        capacity: int = 64,
        intents: Intents | int = Intents.NON_PRIVILEGED,
        compression: Compression = "zstd-stream",
        presence: Presence | Callable[[int], Presence] | None = None,
        large_threshold: int = 50,
        gateway_url: str | None = None,
        api_url: str = "https://discord.com/api/v10",
        timeouts: Timeouts | None = None,
        backoff: Backoff | None = None,
        queue_bytes: int = 64 * 1024 * 1024,
        max_payload_bytes: int = 64 * 1024 * 1024,
        wake_interval: float = 0.002,
        proxy: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        native_roots: bool = False,
        identify_properties: dict[str, str] | None = None,
        allow_plaintext: bool = False,
        admin: str | None = None,
        admin_remote: bool = False,
        replicas: int | None = None,
        max_bytes: int | None = None,
        max_age: float | None = None,
        name: str | None = None,
    ) -> None:
        """Make a host; nothing is sent before it is opened.

        What is not explained here is as for `Gateway`, and the same for each shard.

        Args:
            token: The bot's token, the same for all hosts. It does not leave for NATS.
            nats: Where NATS is: a URL, several, or a `Nats` with what else a connection needs.
            app: The name of the cluster, 1 to 32 letters, digits, dashes and underscores. Hosts and workers with the
                same one belong together.
            shards: How many there are. The first host of a cluster says so; later ones go by what it said, and
                ``propylon cluster reshard`` changes it. ``"auto"``: as many as Discord recommends.
            capacity: The most shards that this host takes. Hosts have shards in proportion to it.
            intents: Which events Discord sends.
            compression: ``"zstd-stream"``, ``"zlib-stream"``, ``"payload"`` or None.
            presence: Status and activities from the start; a function gives those of a shard from its id.
            large_threshold: Members (50 to 250) beyond which GUILD_CREATE leaves out those who are offline.
            gateway_url: Where to connect. With it and a number of ``shards`` no REST call is made.
            api_url: Base of Discord's REST API, which is asked for the number of shards.
            timeouts: Deadlines of the steps of a connection.
            backoff: Delays between the connections of a shard.
            queue_bytes: Bytes of events of one shard that may wait for NATS. Beyond that it reads no further, and
                Discord keeps the events.
            max_payload_bytes: Cap of one payload after inflating.
            wake_interval: Seconds by which news may be later so that they come together.
            proxy: The way out to Discord.
            ca_file: PEM certificates trusted besides the roots, for Discord.
            native_roots: Trust the operating system's roots instead of Mozilla's, for Discord.
            identify_properties: ``os``, ``browser``, ``device`` of IDENTIFY, each optional.
            allow_plaintext: Allow ``ws://`` to other hosts than this machine.
            admin: Address of the admin server, which shows the shards of this host.
            admin_remote: Allow an address that other machines reach.
            replicas: Of NATS, on how many servers events and keys are kept: 1, 3 or 5. None: as it is, and 1 at first.
            max_bytes: Bytes of events that NATS keeps for workers that are late; the oldest go first. None: as it is,
                and 1 GiB at first.
            max_age: Seconds for which it keeps them. None: as it is, and 300 at first.
            name: Part of the host's `id`; None: the machine's name.

        Raises:
            ValueError: A setting cannot work; the text says what to change.
            TypeError: A setting is of another type.
        """
        check_app(app)
        check_name(name)
        servers = nats_of(nats)
        if isinstance(intents, str):
            raise ValueError('a host has no listeners from which intents="auto" could follow; give the intents')
        if not (shards == "auto" or (isinstance(shards, int) and not isinstance(shards, bool))):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f'shards takes "auto" or the number of all shards, not {shards!r:.100}')
        if replicas not in (None, 1, 3, 5):
            raise ValueError(f"replicas must be 1, 3 or 5, not {replicas!r:.100}")
        if max_bytes is not None:
            count_of("max_bytes", max_bytes, 1)
        if max_age is not None and (
            isinstance(max_age, bool) or not isinstance(max_age, int | float) or not 1 <= max_age < float("inf")  # pyright: ignore[reportUnnecessaryIsInstance]
        ):
            raise ValueError(f"max_age must be a number of seconds of at least 1, not {max_age!r:.100}")
        options = engine_options(
            token,
            intents=intents,
            compression=compression,
            presence=None if callable(presence) else presence,
            large_threshold=large_threshold,
            auto_reconnect=True,
            shard=None,
            session=None,
            gateway_url=gateway_url,
            api_url=api_url,
            timeouts=timeouts,
            backoff=backoff,
            overflow="pause",
            queue_bytes=queue_bytes,
            max_payload_bytes=max_payload_bytes,
            wake_interval=wake_interval,
            proxy=proxy,
            ca_file=ca_file,
            native_roots=native_roots,
            identify_properties=identify_properties,
            allow_plaintext=allow_plaintext,
        )
        # The options hold what no shard can do without, so a bad one is told here and not at the first shard.
        _core.Inquiry(options)
        asked = AskedIntents(intents)
        around = Lifespan(self, None)
        server = Admin(admin, admin_remote)

        def maker_of(sessions: SessionStore) -> Maker:
            return Maker(
                self,
                options,
                token,
                intents=asked,
                sessions=sessions,
                presence_of=_presence_of(presence),
                outside_gate=True,
                max_pending=1,
                queue_bytes=queue_bytes,
                shard_queue_bytes=queue_bytes,
                mending=True,
                lifespan=around,
                admin=server,
            )

        async def prepare(broker: Broker) -> None:
            assert isinstance(broker, NatsBroker)
            age = None if max_age is None else float(max_age)
            await broker.prepare(replicas=replicas, max_bytes=max_bytes, max_age=age)

        async def connected() -> Broker:
            broker = await connect(servers, app, prepare=False)
            try:
                await prepare(broker)
            except BaseException:
                await broker.close()
                raise
            return broker

        self._life: Final = HostLife(
            self,
            maker_of,
            options,
            token,
            app=app,
            name=name,
            capacity=count_of("capacity", capacity, 1),
            wanted=wanted_shards(shards, None),
            intents=asked,
            lifespan=around,
            admin=server,
            connect=connected,
            prepare=prepare,
            outlet_of=lambda broker: _Publisher(broker, app, self.id, server),
        )

    # ------------------------------------------------------------------ reading

    @property
    def id(self) -> str:
        """By which the cluster knows it: its name, and what tells it from other processes of that name."""
        return self._life.id

    @property
    def status(self) -> GatewayStatus:
        """The worst of its shards'; UNCONNECTED where it has none. From any thread."""
        return self._life.status

    @property
    def shards(self) -> Mapping[int, HostedShard]:
        """The shards that it has now, by their ids. From any thread."""
        shards: dict[int, HostedShard] = {}
        for (total, shard_id), held in sorted(self._life.held.copy().items()):
            life = held.life
            # While the fleet is resharded those of the total that counts.
            if total == self._life.total or shard_id not in shards:
                latency, guilds = (None, 0) if life is None else (life.shard.latency, life.shard.guild_count)
                shards[shard_id] = HostedShard((shard_id, total), held.status, held.lease.epoch, latency, guilds)
        return shards

    @property
    def total(self) -> int | None:
        """The number of all shards, of every host; None before `open` knows it. From any thread."""
        return self._life.total

    @property
    def is_coordinator(self) -> bool:
        """Whether this host spaces the IDENTIFYs of all hosts. From any thread."""
        return self._life.is_coordinator

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """``(host, port)`` of the admin server; None where there is none, and while it is closed. From any thread."""
        return self._life.admin.address

    def metrics(self) -> HostMetrics:
        """All counters, taken together. From any thread."""
        epochs = {shard_id: shard.epoch for shard_id, shard in self.shards.items()}
        return HostMetrics(self._life.metrics(), epochs, self._life.published())

    def __repr__(self) -> str:
        """Say where it stands; never the token."""
        if not self._life.is_of_this_process:
            return "<GatewayHost of the parent process>"
        shards = "" if self.total is None else f" {len(self._life.held)} of {self.total} shards"
        return f"<GatewayHost {self._life.app} {self.id} {self.status.name}{shards}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: it holds connections and a token."""
        raise TypeError("a GatewayHost cannot be pickled; pass what is needed to make one")

    # ------------------------------------------------------------------ life

    async def open(self, *, timeout: float | None = None) -> None:
        """Join the cluster, and return when each shard that falls to this host by now is READY.

        That may be none: where other hosts have them all, its part moves here afterwards.

        Args:
            timeout: Seconds; when they are over the host is closed again. None: as long as it takes.

        Raises:
            TimeoutError: Not ready in time; the text names the shards that are missing.
            ConnectionError: NATS cannot be reached; the text says where it was looked for.
            PropylonError: The cluster is another bot's; the text says what to do.
            GatewayClosed: Discord refuses a shard for good: one of its subclasses.
            IdentifyBudgetExhausted: Too few IDENTIFYs are left today.
            RuntimeError: It is open already.
            ForkedError: It belongs to the parent process.
        """
        await self._life.open(timeout)

    async def close(self, *, drain: float = 10.0) -> None:
        """Give all shards up, and return when that is done.

        Each is closed, all that came is published, and its session is saved; another host, where one lives, resumes it
        at once, else the next one that starts does.

        Args:
            drain: Seconds that handing over may take; 10 at least.
        """
        await self._life.close(None, drain=drain)

    async def wait_closed(self) -> None:
        """Return when the host is closed, by `close` or because it was drained.

        Raises:
            GatewayClosed: Discord has refused a shard for good.
        """
        await self._life.wait_closed()

    async def __aenter__(self) -> Self:
        """Open it, unless it is open."""
        if not self._life.is_open():
            await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    def __del__(self) -> None:
        """Close what was forgotten while it was open."""
        life: HostLife | None = getattr(self, "_life", None)
        if life is not None:
            life.forgotten()

    async def serve(self, *, drain: float = 30.0, tell: Callable[[Step], object] = lambda _: None) -> None:
        """Open the host, unless it is open, and serve until SIGTERM, SIGINT or a drain.

        Args:
            drain: Seconds for handing the shards over, as `close` takes them.
            tell: Hears ``"READY"`` and ``"STOPPING"``, each once at most; for supervisors.

        Raises:
            GatewayClosed: Discord refuses a shard for good: one of its subclasses.
            ConnectionError: NATS cannot be reached.
        """
        await serve(self._life, drain, tell)

    def run(self, *, drain: float = 30.0) -> None:
        """`serve` in an event loop of its own.

        Args:
            drain: Seconds for handing the shards over.

        Raises:
            RuntimeError: An event loop runs already; use `serve`.
        """
        run(self._life, lambda: self.serve(drain=drain), "host")


class _Publisher:
    """The engine's publisher, as an `Outlet`."""

    def __init__(self, broker: Broker, app: str, host: str, admin: Admin) -> None:
        assert isinstance(broker, NatsBroker)
        self._engine: Final = _core.Publisher(broker.core, app, PARTITIONS, host)
        admin.show_publisher(self._engine)
        self.add: Final = self._engine.add
        self.renewed: Final = self._engine.renewed
        self.lost: Final = self._engine.lost
        self.remove: Final = self._engine.remove
        self.flushed: Final = self._engine.flushed
        self.published: Final = self._engine.published
        self.trouble: Final = self._engine.trouble
        self.metrics: Final = self._engine.metrics
        self.close: Final = self._engine.close


def _presence_of(presence: Presence | Callable[[int], Presence] | None) -> Callable[[int], str | None]:
    """The presence of a shard's IDENTIFY, as JSON."""
    if presence is None or isinstance(presence, Presence):
        same = None if presence is None else presence_json(presence)
        return lambda _: same

    def presence_of(shard_id: int) -> str | None:
        try:
            return presence_json(presence(shard_id))
        except CommandError as error:
            raise ValueError(f"presence of shard {shard_id}: {error}") from None

    return presence_of
