"""The life of a gateway host in its event loop: which shards it takes, hands over and retires, and its end.

Every host sees the same keys and works the same assignment out of them; what one does about it, it does for itself.
One shard's steps are `propylon.cluster._host_shard`'s, what users see of it all `propylon.cluster._host`'s.

Over 500 lines because what opens, moves and ends shards turns on the same few keys.
"""

import asyncio
import contextlib
import logging
import math
import os
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

import propylon._core as _core
from propylon._arguments import check_seconds, user_of_token
from propylon._delivery.plans import Plans
from propylon._fleet.asking import Counsel
from propylon._fleet.counters import none, summed
from propylon._fleet.making import Maker
from propylon._fleet.permits import Permits
from propylon._fleet.spread import Recommended, Wanted, named
from propylon._gateway.admin import Admin
from propylon._gateway.intents import AskedIntents
from propylon._gateway.life import Life
from propylon._gateway.metrics import Metrics
from propylon._listening.face import ListenerFace
from propylon._listening.lifespan import Lifespan
from propylon._sessions.session import Closed, GatewayStatus, worst
from propylon._sessions.stores import SessionStore
from propylon._version import __version__
from propylon.cluster._broker import Asked, Broker, Questions
from propylon.cluster._gate import ClusterGate, Coordinator
from propylon.cluster._hearing import Hearing
from propylon.cluster._host_shard import HeldShard, Outlet
from propylon.cluster._keys import (
    ACTIVE,
    ALL_HEARD,
    ALL_HOSTS,
    ALL_PARTS,
    ALL_SEEN,
    ALL_WORKERS,
    BOT,
    HEARD_FOR,
    NEXT,
    OVERLAP,
    Active,
    Bot,
    Heard,
    HostAnswer,
    HostInfo,
    HostQuestion,
    Lease,
    Next,
    OverlapKey,
    PartitionLease,
    SeenKey,
    all_leases,
    bucket,
    encode,
    host_key,
    host_subject,
    last_of,
    lease_key,
    read,
)
from propylon.cluster._leases import assignment
from propylon.cluster._membership import AWAY, Member, Times, View, new_id
from propylon.cluster._showing import Showing
from propylon.cluster._store import ClusterSessions, Kept
from propylon.cluster._tasks import spawn
from propylon.cluster._upkeep import Missing, Upkeep
from propylon.errors import (
    ForkedError,
    GatewayClosed,
    IdentifyBudgetExhausted,
    InvalidShard,
    NotConnected,
    PropylonError,
    SessionTakenOver,
    ShardingRequired,
)
from propylon.logs import flush_bursts

__all__ = ["HostLife", "MakerOf"]

_log: Final = logging.getLogger("propylon.cluster")

_S = TypeVar("_S", bound=msgspec.Struct)

MakerOf = Callable[[SessionStore], Maker]
"""Makes what makes shards, once it is known where sessions are kept."""

_TOGETHER: Final = 0.02
"""Seconds by which a look waits for further news, so that hosts that come together are counted together."""
_LOOK: Final = 1.0
"""Seconds between two looks where there is no news: what failed is tried again."""
_SETTLED: Final = 0.5
"""Seconds without another host coming or going before shards move: each move is a RESUME."""
_MOVING: Final = 4
"""Shards that move away at once: the others go on meanwhile."""
_TAKING: Final = 16
"""Leases that are taken at once."""
_CLOSING: Final = 8
"""Shards that are closed at once at the end of a host."""
_LAST_WORD: Final = 2.0
"""Seconds that the broker has to hear that this host drains, at its end."""
_LEAST_PATIENCE: Final = 10.0
"""Seconds that the end of a host has at least for handing its shards over."""
_STUBBORN: Final = 20.0
"""Seconds after which a drained host also hands over a shard that cannot come to its READY."""
_GRACE: Final = 5.0
"""Seconds after which shards of a total that was to come, and seems to come no more, are closed: that it counts by now
may be heard of later than that nobody waits for it any more."""
_OVERLAP_TTL: Final = 600.0
"""Seconds after which workers go on with the new shards alone where nobody tells them that the old ones have ended."""
_AFTER_OVERLAP: Final = 30.0
"""Seconds beyond the window for which the key lives that tells workers of the old shards."""
_OLD_PATIENCE: Final = 60.0
"""Seconds for which a resharding waits for old shards that are away: until a lease has expired, and for a RESUME."""
_TROUBLE: Final = 60.0
"""Seconds between two words on what cannot be published."""
_RESUMING: Final = 20.0
"""Seconds that a shard whose total is over has to come back with what it missed."""


class _TotalFleet:
    """The shards of one total, as a `propylon._gateway.life.Fleet`: they are heard alike, and apart from another's."""

    def __init__(self, host: "HostLife") -> None:
        self._host: Final = host
        self.listening: Final = ListenerFace(
            host, host.lifespan, check_usable=host.check_process, adding=lambda _: None
        )
        self.plans: Final = Plans(self.listening.registry)
        self.room: _core.Room | None = None

    @property
    def subscriptions(self) -> _core.Subscriptions:
        """What the engine asks of each event."""
        return self.listening.registry.subscriptions

    def shard_ready(self, life: Life, *, resumed: bool) -> None:
        self._host.shard_changed(life)

    def hears(self, life: Life) -> bool:
        # Nobody registers a handler with a host.
        return False

    def shard_closed(self, life: Life, closed: Closed) -> None:
        self._host.shard_changed(life)

    def guilds_ready(self, life: Life) -> None:
        """Workers hear of guilds by their events."""

    def shard_ended(self, life: Life, error: PropylonError | None) -> None:
        self._host.shard_ended(life, error)

    async def left_open(self) -> None:
        await self._host.left_open()

    def permit(self, life: Life, kind: str, number: int, max_concurrency: int = 0) -> None:
        self._host.permit(life, kind, number, max_concurrency)


class HostLife:
    """The life of one gateway host, over any number of openings."""

    def __init__(
        self,
        owner: object,
        maker_of: MakerOf,
        options: dict[str, Any],
        token: str,
        *,
        app: str,
        name: str | None,
        capacity: int,
        wanted: Wanted,
        intents: AskedIntents,
        lifespan: Lifespan,
        admin: Admin,
        connect: Callable[[], Awaitable[Broker]],
        prepare: Callable[[Broker], Awaitable[None]],
        outlet_of: Callable[[Broker], Outlet],
        times: Times | None = None,
    ) -> None:
        """``connect`` gives the connection to NATS, where all is there that the app needs; ``prepare`` makes that once
        more. ``outlet_of`` gives what publishes.
        """
        self._pid: Final = os.getpid()
        self._owner: Final = owner
        self._maker_of: Final = maker_of
        self._options: Final = options
        self._token: Final = token
        self.app: Final = app
        self._name: Final = name
        self._capacity: Final = capacity
        self._wanted: Final = wanted
        self._intents: Final = intents
        self.lifespan: Final = lifespan
        self.admin: Final = admin
        self.connect = connect
        self.prepare = prepare
        self.outlet_of = outlet_of
        self.times = times or Times()
        self.id = new_id(name)
        self.kept: Final[dict[tuple[int, int], Kept]] = {}
        self.was_served = False
        """Whether `serve` or `run` has been called."""
        self._retired: Metrics = none()
        self._started_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[Exception | None] | None = None
        self._shutting: asyncio.Task[None] | None = None
        self._unraised: Exception | None = None
        self._failure: Exception | None = None
        self._waiters = 0
        self._reset()

    def _reset(self) -> None:
        """Nothing is open."""
        self._broker: Broker | None = None
        self._outlet: Outlet | None = None
        self._sessions: ClusterSessions | None = None
        self._maker: Maker | None = None
        self._permits: Permits | None = None
        self._counsel: Counsel | None = None
        self._coordinator: Coordinator | None = None
        self._member: Member | None = None
        self._hearing = Hearing()
        self._hosts: View[HostInfo] | None = None
        self._leases: View[Lease] | None = None
        self._active: View[Active] | None = None
        self._next: View[Next] | None = None
        self._heard: View[Heard] | None = None
        self._control: Questions | None = None
        self._showing: Showing | None = None
        self._upkeep: Upkeep | None = None
        self._retries = 0
        """Of the publisher, at the last look."""
        self._settled_total: int | None = None
        """The number of shards that counted last."""
        self._had = 0
        """Shards of the total that counts, when the keys were found gone."""
        self._fleets: dict[int, _TotalFleet] = {}
        self._held: dict[tuple[int, int], HeldShard] = {}
        self._by_life: dict[Life, HeldShard] = {}
        self._taking: set[tuple[int, int]] = set()
        self._slots = asyncio.Semaphore(_TAKING)
        self._moving: set[HeldShard] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._wake = asyncio.Event()
        self._closing = False
        self._draining_since: float | None = None
        self._hosts_changed_at = -math.inf
        self._was_active: set[int] = set()
        self._retire_at: dict[int, float] = {}
        self._unwell_since: float | None = None
        self._told: tuple[int, float] | None = None
        """As the coordinator: the total that is to come, and since when all workers know of it."""
        self._coordinating: asyncio.Task[None] | None = None
        self._looked = False
        self._told_full = False
        self._trouble_told_at = float("-inf")

    # ------------------------------------------------------------------ reading

    @property
    def is_of_this_process(self) -> bool:
        """Whether it was made here, and not by the parent before a fork."""
        return os.getpid() == self._pid

    @property
    def broker(self) -> Broker:
        """The connection to NATS, while it is open."""
        if self._broker is None:
            raise NotConnected("the host is not open; open it first")
        return self._broker

    @property
    def outlet(self) -> Outlet:
        """Where events go, while it is open."""
        assert self._outlet is not None
        return self._outlet

    @property
    def sessions(self) -> ClusterSessions:
        """Where sessions are kept, while it is open."""
        assert self._sessions is not None
        return self._sessions

    @property
    def total(self) -> int | None:
        """The number of shards that counts; None before it is known."""
        seen = None if self._active is None else self._active.keys.get(ACTIVE)
        return None if seen is None else seen.value.total

    @property
    def held(self) -> dict[tuple[int, int], HeldShard]:
        """The shards that are here, by ``(total, shard id)``."""
        return self._held

    @property
    def is_draining(self) -> bool:
        """Whether it hands its shards over."""
        return self._draining_since is not None

    @property
    def is_coordinator(self) -> bool:
        """Whether this host spaces the IDENTIFYs of all."""
        return self._coordinator is not None and self._coordinator.is_here

    @property
    def status(self) -> GatewayStatus:
        """The worst of its shards'."""
        return worst(held.status for held in list(self._held.values()))

    def metrics(self) -> Metrics:
        """The sum over all shards, those that have gone among them."""
        return summed([self._retired, *(held.life.metrics() for held in list(self._held.values()) if held.life)])

    def published(self) -> dict[str, int]:
        """What the publisher has counted."""
        return {} if self._outlet is None else self._outlet.metrics()

    # ------------------------------------------------------------------ checks

    def check_process(self) -> None:
        """Raise ForkedError where it belongs to the parent process."""
        if not self.is_of_this_process:
            raise ForkedError("this host belongs to the parent process; make a new one after fork()")

    def is_open(self) -> bool:
        """Whether it is open, in this loop. Raises RuntimeError where it is in another."""
        if self._ended is None or self._ended.done():
            return False
        if self._loop is not asyncio.get_running_loop():
            raise RuntimeError("an open host belongs to the event loop in which it was opened")
        return True

    # ------------------------------------------------------------------ open

    async def open(self, timeout: float | None) -> None:
        """Join the cluster, and return when each shard that is this host's by now is READY."""
        self.check_process()
        check_seconds("open()", timeout=timeout)
        if self.is_open():
            raise RuntimeError("the host is open already; close it first, or make another one")
        self._reset()
        loop = self._loop = asyncio.get_running_loop()
        self._failure = self._unraised = None
        self._shutting = None
        self.id = new_id(self._name)
        self._started_at = time.time()
        opened = self._opened = loop.create_future()
        self._ended = loop.create_future()
        limit = asyncio.timeout(timeout)
        try:
            self.admin.open()
            async with limit:
                await self._join()
                await asyncio.shield(opened)
        except TimeoutError:
            missing = self._missing()
            failure = opened.exception() if opened.done() and not opened.cancelled() else None
            await self.close(None)
            if failure is not None:
                raise failure from None
            if limit.expired():
                raise TimeoutError(f"the host was not ready within {timeout} s{missing}") from None
            raise
        except BaseException:
            await self.close(None)
            raise
        finally:
            if opened.done() and not opened.cancelled():
                opened.exception()
            else:
                opened.cancel()

    def _missing(self) -> str:
        if self.total is None:
            return ": how many shards there are is not known yet"
        missing = [held for held in self._held.values() if not held.is_ready]
        each = ", ".join(f"{held.shard_id} ({held.status.name})" for held in missing[:20])
        return f": {len(missing)} of its {len(self._held)} shards are missing: {each}" if missing else ""

    async def _join(self) -> None:
        broker = self._broker = await self.connect()
        self._outlet = self.outlet_of(broker)
        self._sessions = ClusterSessions(broker, self.app, self._token, self._lease_of)
        self._maker = self._maker_of(self._sessions)
        gate = ClusterGate(broker, self.app, self.id)
        self._permits = Permits(gate)
        self._counsel = Counsel(self._options, gate)
        self._coordinator = Coordinator(broker, self.app, self.id, times=self.times, changed=self._look_soon)
        await self._claim()
        self._active = await self._view(ACTIVE, Active)
        self._next = await self._view(NEXT, Next)
        await self._settle_total(self._active, self._counsel)
        self._hosts = await self._view(ALL_HOSTS, HostInfo, self._host_changed)
        self._leases = await self._view(all_leases(), Lease)
        self._heard = await self._view(ALL_HEARD, Heard, self._heard_changed, linger=HEARD_FOR)
        await self._coordinator.start()
        self._control = await broker.serve(host_subject(self.app, self.id))
        self.keep(spawn(self._answer(self._control), "propylon host control"))
        self._member = Member(broker, bucket(self.app), host_key(self.id), self._info, self.times)
        await self._member.start()
        self._showing = Showing(self.admin, broker, self.app, "host", self.id, self._leased)
        await self._showing.start()
        self._upkeep = Upkeep(
            broker, self.app, self.times, is_well=self._is_well, gone=self._keys_are_gone, make=self._make_again
        )
        self.keep(spawn(self._upkeep.run(), "propylon upkeep"))
        self.keep(spawn(self._run(), "propylon host"))
        _log.info("host %s has joined the cluster %s", self.id, self.app)

    def _leased(self) -> int:
        """How many shards of the total that counts are this host's."""
        leased = sum(total == self.total for total, _ in self._held)
        # While there are no keys nobody has a lease, and nobody is well.
        return max(leased, self._had) if self._upkeep is not None and self._upkeep.is_gone else leased

    async def _view(
        self, pattern: str, kind: type[_S], changed: Callable[[str], None] | None = None, *, linger: float = 0.0
    ) -> View[_S]:
        changed = changed or (lambda _: self._look_soon())
        view = View(self.broker, bucket(self.app), pattern, kind, changed, linger=linger)
        await view.start()
        return view

    async def _settle_total(self, active: View[Active], counsel: Counsel) -> None:
        """Be the first, and say how many shards there are, or go by what the first has said."""
        recommended: Recommended | None = None
        known = active.keys.get(ACTIVE)
        if counsel.is_asked or (known is None and self._wanted.total is None):
            recommended = await counsel.asked()
        if known is None:
            _, total = self._wanted.settled(recommended)
            value = Active(total)
            revision = await self.broker.create(bucket(self.app), ACTIVE, encode(value))
            if revision is None:
                entry = await self.broker.get(bucket(self.app), ACTIVE)
                value = read(Active, None if entry is None else entry.value) or value
            await self._hear_of_total(active)
            known_total = value.total
        else:
            known_total = known.value.total
        if self._wanted.total not in (None, known_total):
            _log.warning(
                "the cluster has %d shards, not %d; `propylon cluster reshard` changes that",
                known_total,
                self._wanted.total,
            )

    async def _hear_of_total(self, active: View[Active]) -> None:
        """The watch tells it in a moment."""
        while ACTIVE not in active.keys:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._wake.wait()

    async def _claim(self) -> None:
        """The cluster is this bot's, or nobody's. Raises PropylonError where it is another's."""
        bot = user_of_token(self._token)
        if bot is None:
            return
        keys = bucket(self.app)
        if await self.broker.create(keys, BOT, encode(Bot(str(bot)))) is not None:
            return
        entry = await self.broker.get(keys, BOT)
        known = read(Bot, None if entry is None else entry.value)
        if known is not None and known.id != str(bot):
            raise PropylonError(
                f"the cluster {self.app} is that of bot {known.id}, and this token is that of bot {bot}; give each bot "
                f"an app of its own (--app, app=), or remove what is kept of the other one: propylon cluster purge "
                f"--app {self.app}"
            )

    # ------------------------------------------------------------------ what NATS keeps is gone

    def _is_well(self) -> bool:
        retries, before = self.published().get("publish_retries", 0), self._retries
        self._retries = retries
        return retries == before and self.total is not None and self._member is not None and self._member.is_fresh

    def _keys_are_gone(self) -> None:
        self._had = max(1, self._leased())
        if self._showing is not None:
            self._showing.forget()

    async def _make_again(self, missing: Missing) -> None:
        if missing == "events":
            # How far partitions were handled is told in places of the stream that is gone.
            for seen in await self.broker.entries(bucket(self.app), ALL_SEEN):
                await self.broker.delete(bucket(self.app), seen.key, revision=seen.revision)
            await self.prepare(self.broker)
            return
        await self.prepare(self.broker)
        try:
            await self._claim()
        except PropylonError as error:
            # Somebody else was quicker.
            self._fail(error)
            return
        if self._settled_total is not None:
            await self.broker.create(bucket(self.app), ACTIVE, encode(Active(self._settled_total)))

    def _info(self) -> bytes:
        address = self.admin.address
        admin = None if address is None else f"{address[0]}:{address[1]}"
        info = HostInfo(self.id, self._capacity, self._started_at, self.is_draining, __version__, admin)
        return encode(info)

    def _lease_of(self, total: int, shard_id: int) -> Any:
        held = self._held.get((total, shard_id))
        return None if held is None else held.lease

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a task until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------------ what others write

    def _look_soon(self) -> None:
        self._wake.set()

    def _host_changed(self, key: str) -> None:
        loop = asyncio.get_running_loop()
        self._hosts_changed_at = loop.time()
        self._look_soon()
        loop.call_later(_SETTLED + _TOGETHER, self._look_soon)

    def _heard_changed(self, key: str) -> None:
        # Before the view is known here, `_run` looks at what it has told.
        if self._heard is not None:
            seen = self._heard.keys.get(key)
            self._hearing.set(last_of(key), None if seen is None else seen.value)

    async def _run(self) -> None:
        assert self._heard is not None
        for key in list(self._heard.keys):
            # What the view has told before it was known here.
            self._heard_changed(key)
        while not self._closing:
            self._wake.clear()
            self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._wake.wait()
                    await asyncio.sleep(_TOGETHER)

    # ------------------------------------------------------------------ which shards are this host's

    def _totals(self) -> list[int]:
        """The totals of which there should be shards: the one that counts, and one that is to."""
        assert self._next is not None
        totals = [] if self.total is None else [self.total]
        coming = self._next.keys.get(NEXT)
        if coming is not None and coming.value.total not in totals:
            totals.append(coming.value.total)
        return totals

    def publishes(self, total: int) -> bool:
        """Whether what workers hear of these shards leaves the host: not so while they are only being opened."""
        coming = None if self._next is None else self._next.keys.get(NEXT)
        if coming is not None and coming.value.total == total != self.total:
            return coming.value.phase == "overlap"
        return total == self.total or total in self._was_active

    def _look(self) -> None:
        """Compare what should be with what is."""
        if self._closing or self.total is None:
            return
        totals = self._totals()
        self._settled_total = self.total
        self._was_active.add(self.total)
        for total, fleet in self._fleets.items():
            if self.publishes(total) and self._hearing.attach(fleet.subscriptions):
                for held in self._held.values():
                    if held.total == total:
                        held.changed()
        self._retire_others(totals)
        hosts = self._taking_hosts()
        for total in totals:
            self._look_at(total, hosts)
        for held in list(self._held.values()):
            lease = self._lease_seen(held.total, held.shard_id)
            if lease is not None and lease.host != self.id and held.lease.is_held:
                held.lease.changed()
        self._coordinate()
        self._tell_trouble()
        self._looked = True
        self._look_whether_open()
        if self.is_draining and not (self._held or self._taking):
            _log.info("host %s has handed all its shards over", self.id)
            self._end()

    def _tell_trouble(self) -> None:
        trouble, now = self.outlet.trouble(), asyncio.get_running_loop().time()
        if trouble is not None and now >= self._trouble_told_at + _TROUBLE:
            self._trouble_told_at = now
            _log.warning("events cannot be published, and are sent again until they are: %s", trouble)

    def _taking_hosts(self) -> dict[str, int]:
        """Those that take shards, with their capacities."""
        assert self._hosts is not None
        hosts = {seen.value.id: seen.value.capacity for seen in self._hosts.keys.values() if not seen.value.draining}
        if self.is_draining:
            hosts.pop(self.id, None)
        else:
            # Whatever others may see.
            hosts[self.id] = self._capacity
        return hosts

    def _lease_seen(self, total: int, shard_id: int) -> Lease | None:
        seen = None if self._leases is None else self._leases.keys.get(lease_key(total, shard_id))
        return None if seen is None else seen.value

    def _look_at(self, total: int, hosts: dict[str, int]) -> None:
        having: dict[int, str] = {}
        for shard_id in range(total):
            lease = self._lease_seen(total, shard_id)
            held = self._held.get((total, shard_id))
            if held is not None and held.lease.is_held:
                having[shard_id] = self.id
            elif lease is not None and lease.host != self.id:
                having[shard_id] = lease.host
        assigned = assignment(hosts, range(total), having)
        if len(assigned) < total and hosts and not self._told_full:
            self._told_full = True
            _log.warning(
                "the hosts take %d shards together, and there are %d; start another one, or raise capacity=",
                sum(hosts.values()),
                total,
            )
        for shard_id, host in assigned.items():
            place = (total, shard_id)
            if host == self.id:
                if place not in self._held and place not in self._taking and shard_id not in having:
                    self._taking.add(place)
                    self.keep(spawn(self._take(total, shard_id), "propylon lease"))
            elif place in self._held:
                self._hand_over(self._held[place])

    async def _take(self, total: int, shard_id: int) -> None:
        place = (total, shard_id)
        try:
            async with self._slots:
                if self._closing or self.is_draining or place in self._held:
                    return
                held = HeldShard(self, total, shard_id)
                try:
                    taken = await held.lease.take()
                except AWAY as error:
                    # Looked at again in a second.
                    _log.debug("the lease of shard %d of %d could not be asked for: %s", shard_id, total, error)
                    return
                if not taken:
                    return
                if self._closing:
                    await held.lease.release()
                    return
                self._held[place] = held
                held.begin()
        finally:
            self._taking.discard(place)
            self._look_soon()

    def _hand_over(self, held: HeldShard) -> None:
        """Another host that lives should have it."""
        now = asyncio.get_running_loop().time()
        if held.is_leaving or len(self._moving) >= _MOVING:
            return
        if self._draining_since is not None:
            if not held.can_move and now < self._draining_since + _STUBBORN:
                return
        elif not held.can_move or now < self._hosts_changed_at + _SETTLED:
            return
        _log.info("shard %d of %d moves to another host", held.shard_id, held.total)
        self._moving.add(held)
        held.leave()

    def _retire_others(self, totals: list[int]) -> None:
        """Shards of a total that counts no more, or was to and will not."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for total in totals:
            self._retire_at.pop(total, None)
        for held in list(self._held.values()):
            if held.total in totals or held.is_leaving:
                continue
            if held.total not in self._retire_at:
                seen = None if self._active is None else self._active.keys.get(ACTIVE)
                window = _GRACE if seen is None or held.total not in self._was_active else seen.value.window
                self._retire_at[held.total] = now + window
                loop.call_at(now + window, self._look_soon)
            is_away = held.total in self._was_active and not held.is_ready
            if now >= self._retire_at[held.total] + (_RESUMING if is_away else 0.0):
                held.leave(1000, forget=True)
        for total in [total for total in self._fleets if total not in totals]:
            if not any(held.total == total for held in self._held.values()):
                self._hearing.detach(self._fleets.pop(total).subscriptions)
                self._was_active.discard(total)
                self._retire_at.pop(total, None)

    # ------------------------------------------------------------------ what shards tell

    def make_life(self, total: int, shard_id: int) -> Life:
        """A shard that is not opened yet."""
        fleet = self._fleets.get(total)
        if fleet is None:
            fleet = self._fleets[total] = _TotalFleet(self)
            if self.publishes(total):
                self._hearing.attach(fleet.subscriptions)
        assert self._maker is not None
        life = self._maker.team((shard_id,), total, fleet).lives[shard_id]
        if self._counsel is not None and self._counsel.url is not None:
            life.shard.set_known_url(self._counsel.url)
        self._by_life[life] = self._held[total, shard_id]
        return life

    def retire_life(self, life: Life) -> None:
        """It is over for good."""
        self._by_life.pop(life, None)
        self._retired = summed([self._retired, life.metrics()], of_now=False)
        life.listening.unbind(life.consumer)
        self.admin.hide(life.shard)

    def shard_changed(self, life: Life) -> None:
        """READY, RESUMED, or the end of a connection."""
        held = self._by_life.get(life)
        if held is not None:
            held.changed()
            self._look_whether_open()
            if self._moving or self.is_draining:
                self._look_soon()

    def shard_ended(self, life: Life, error: PropylonError | None) -> None:
        """It is closed, and makes no further connection."""
        held = self._by_life.get(life)
        if held is None or held.is_leaving:
            return
        held.changed()
        # That another number of shards cannot be opened yet is no reason to end.
        opened = held.total != self.total or (self._opened is not None and self._opened.done())
        shard = {"shard": held.shard_id}
        if isinstance(error, IdentifyBudgetExhausted) and opened:
            wait = max(error.resets_at - time.time(), 1.0)
            _log.error(
                "shard %d has no IDENTIFY left today; it is opened again in %.0f s", held.shard_id, wait, extra=shard
            )
            held.open_again(wait)
        elif isinstance(error, SessionTakenOver):
            # The store says so: the lease is lost, or about to be.
            held.leave()
        elif isinstance(error, ShardingRequired | InvalidShard) and opened:
            _log.error(
                "shard %d of %d was refused (%s); `propylon cluster reshard` opens another number of shards",
                held.shard_id,
                held.total,
                error,
                extra=shard,
            )
            held.open_again()
        elif error is None or type(error) is GatewayClosed:
            held.open_again(self.times.retry)
        else:
            self.refused(held, error)

    def refused(self, held: HeldShard, error: Exception) -> None:
        """Discord refuses it for good, or a setting is wrong: another host could do no more."""
        self._fail(error)

    def left(self, held: HeldShard) -> None:
        """It is not this host's any more."""
        if self._held.get(held.place) is held:
            del self._held[held.place]
        self._moving.discard(held)
        self._look_soon()

    def permit(self, life: Life, kind: str, number: int, max_concurrency: int) -> None:
        """A shard asks the identify gate, or what it gave is given back."""
        if self._permits is None:
            return
        if kind == "permit wanted":
            self._permits.wanted(life, number, max_concurrency)
        else:
            self._permits.over(life, number)

    def _look_whether_open(self) -> None:
        if self._opened is None or self._opened.done() or not self._looked or self._taking:
            return
        if all(held.is_ready for held in self._held.values() if held.total == self.total):
            self._opened.set_result(None)

    # ------------------------------------------------------------------ another number of shards

    def _coordinate(self) -> None:
        """The coordinator switches the totals: all that a successor needs to go on with it is in the keys."""
        if not self.is_coordinator or (self._coordinating is not None and not self._coordinating.done()):
            return
        self._coordinating = spawn(self._carry_on(), "propylon reshard")
        self.keep(self._coordinating)

    async def _carry_on(self) -> None:
        assert self._next is not None
        coming = self._next.keys.get(NEXT)
        try:
            if coming is not None:
                await self._reshard(coming.value, coming.revision)
            else:
                self._told = self._unwell_since = None
            await self._sweep()
        except AWAY as error:
            _log.debug("resharding waits for the broker: %s", error)

    def _all_are(self, total: int, *, publishing: bool, since: int = 0) -> bool:
        """Whether all shards of a total are READY, and their leases were renewed since that revision."""
        assert self._leases is not None
        seen = [self._leases.keys.get(lease_key(total, shard_id)) for shard_id in range(total)]
        return all(
            lease is not None
            and lease.revision > since
            and lease.value.status == GatewayStatus.READY.name
            and (lease.value.publishing or not publishing)
            for lease in seen
        )

    def _old_are_well(self, since: int) -> bool:
        """Whether the shards that are to end have brought all that came before the new ones published.

        One that is away at the switch would take along what only its RESUME brings. But it may be away for good, and
        the resharding the remedy; so they are waited for a while.
        """
        assert self.total is not None
        now = asyncio.get_running_loop().time()
        if self._all_are(self.total, publishing=True, since=since):
            self._unwell_since = None
            return True
        if self._unwell_since is None:
            self._unwell_since = now
        if now < self._unwell_since + _OLD_PATIENCE:
            return False
        _log.warning(
            "not all of the %d shards that are to end are READY; the others take over, and events may be lost",
            self.total,
        )
        return True

    async def _tell_overlap(self, coming: Next) -> bool:
        """Tell workers that two totals are about to publish; whether they have known it for long enough."""
        assert self._heard is not None
        assert self.total is not None
        keys = bucket(self.app)
        now = asyncio.get_running_loop().time()
        entry = await self.broker.get(keys, OVERLAP)
        told = None if entry is None else read(OverlapKey, entry.value)
        is_told = told is not None and told.old == self.total
        if told is None or not is_told or told.until < time.time() + _OVERLAP_TTL / 2:
            until = OverlapKey(time.time() + _OVERLAP_TTL, self.total)
            await self.broker.put(keys, OVERLAP, encode(until), ttl=_OVERLAP_TTL)
        living = await self._workers()
        unknown = any(
            seen.value.overlap != self.total for key, seen in self._heard.keys.items() if last_of(key) in living
        )
        if not is_told or unknown or self._told is None or self._told[0] != coming.total:
            self._told = (coming.total, now)
        return now >= self._told[1] + coming.window

    async def _workers(self) -> set[str]:
        """Those that live, or have a partition; what a worker heard outlives it."""
        keys = bucket(self.app)
        living = {last_of(entry.key) for entry in await self.broker.entries(keys, ALL_WORKERS)}
        leases = [read(PartitionLease, entry.value) for entry in await self.broker.entries(keys, ALL_PARTS)]
        return living | {lease.worker for lease in leases if lease is not None}

    async def _reshard(self, coming: Next, revision: int) -> None:
        broker, keys = self.broker, bucket(self.app)
        assert self.total is not None
        if coming.total == self.total:
            # Switched by a coordinator that did not come to this.
            await broker.delete(keys, NEXT, revision=revision)
            return
        if not self._all_are(coming.total, publishing=coming.phase == "overlap"):
            return
        if coming.phase == "opening":
            unread = await self._unread()
            if unread:
                _log.info("resharding waits until workers have read these partitions: %s", unread)
                return
            # Workers are told first: from the next key on, events come twice. What the new shards publish first the old
            # ones may have published before, by as much as one connection is behind another.
            if await self._tell_overlap(coming) and self._old_are_well(0):
                both = msgspec.structs.replace(coming, phase="overlap")
                await broker.update(keys, NEXT, encode(both), revision)
            return
        assert self._active is not None
        seen = self._active.keys.get(ACTIVE)
        # Renewed since both publish: what came before that each old shard has brought.
        if seen is None or not self._old_are_well(revision):
            return
        after = coming.window + _AFTER_OVERLAP
        overlap = OverlapKey(time.time() + after, seen.value.total)
        await broker.put(keys, OVERLAP, encode(overlap), ttl=math.ceil(after))
        switched = Active(coming.total, coming.window)
        if await broker.update(keys, ACTIVE, encode(switched), seen.revision) is None:
            return
        _log.info("%d shards have taken over from %d", coming.total, seen.value.total)
        await broker.delete(keys, NEXT, revision=revision)

    async def _sweep(self) -> None:
        """Ends the overlap, and removes the sessions of the total that is over, when no host has a shard of it."""
        keys = bucket(self.app)
        entry = await self.broker.get(keys, OVERLAP)
        overlap = None if entry is None else read(OverlapKey, entry.value)
        # In this order: without the first one, the second one is what it will be.
        if entry is None or overlap is None or await self.broker.get(keys, NEXT) is not None:
            return
        active = await self.broker.get(keys, ACTIVE)
        counts = None if active is None else read(Active, active.value)
        total = overlap.old
        if counts is None or counts.total != total:
            leased = await self.broker.entries(keys, all_leases(total))
            if leased or any(held.total == total for held in self._held.values()):
                return
            for session in await self.broker.entries(keys, f"session.{total}.*"):
                await self.broker.delete(keys, session.key, revision=session.revision)
        # All that it published is in the stream: workers read up to there, and then go on with the other one alone.
        # Or the resharding was given up.
        await self.broker.delete(keys, OVERLAP, revision=entry.revision)

    async def _unread(self) -> list[int]:
        """Partitions whose last worker still told two totals apart: they have to be read to the end of that first."""
        entries = await self.broker.entries(bucket(self.app), ALL_SEEN)
        found = [(last_of(entry.key), read(SeenKey, entry.value)) for entry in entries]
        return sorted(
            int(number)
            for number, seen in found
            if seen is not None and seen.overlap is not None and seen.overlap.old != self.total
        )

    # ------------------------------------------------------------------ control

    async def _answer(self, questions: Questions) -> None:
        while not self._closing:
            try:
                asked = await questions.next()
            except AWAY:
                return
            with contextlib.suppress(*AWAY):
                await self.broker.publish(asked.reply, encode(self._answer_to(asked)))

    def _answer_to(self, asked: Asked) -> HostAnswer:
        question = read(HostQuestion, asked.data)
        if question is None:
            return HostAnswer(ok=False, text="this version of the host does not know the question")
        if question.kind == "drain":
            return self.drain()
        shards = {f"{total}.{shard_id}": held.status.name for (total, shard_id), held in self._held.items()}
        return HostAnswer(shards=shards, metrics={key: float(value) for key, value in self.published().items()})

    def drain(self) -> HostAnswer:
        """Hand all shards over to the other hosts, and end."""
        assert self._hosts is not None
        others = [seen.value for seen in self._hosts.keys.values() if seen.value.id != self.id]
        takers = [info for info in others if not info.draining]
        if not takers:
            return HostAnswer(ok=False, text="no other host lives that could take the shards; start one first")
        room = sum(info.capacity for info in takers)
        if self.total is not None and room < self.total:
            text = f"the other hosts take {room} shards together, and there are {self.total}; start another one first"
            return HostAnswer(ok=False, text=text)
        self._begin_draining()
        return HostAnswer(text=f"{len(self._held)} shards are handed over")

    def _begin_draining(self) -> None:
        if self._draining_since is None:
            self._draining_since = asyncio.get_running_loop().time()
            if self._member is not None:
                self._member.changed()
            self._look_soon()

    # ------------------------------------------------------------------ close

    def _fail(self, error: Exception) -> None:
        if self._closing:
            return
        self._failure = error
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
        self._end()

    def _end(self, patience: float = _LEAST_PATIENCE) -> asyncio.Task[None]:
        if self._shutting is None:
            self._closing = True
            self._shutting = spawn(self._shut(patience), "propylon host end")
        return self._shutting

    async def close(self, code: int | None, *, drain: float | None = None) -> None:
        """Hand the shards over, where other hosts live; else close them resumably. ``code`` is always 4000."""
        self.check_process()
        check_seconds("close()", drain=drain)
        if not self.is_open():
            return
        await asyncio.shield(self._end(max(drain or 0.0, _LEAST_PATIENCE)))
        self._unraised = None

    async def _shut(self, patience: float) -> None:
        try:
            await self._leave_all(patience)
        except Exception:
            _log.exception("the host did not end as it should")
        finally:
            await self._tear_down()

    async def _leave_all(self, patience: float) -> None:
        self._begin_draining()
        if self._member is not None:
            # So that no other host counts on this one while its shards are given up.
            with contextlib.suppress(*AWAY):
                async with asyncio.timeout(_LAST_WORD):
                    await self._member.write()
        taking = [task for task in self._tasks if task.get_name() == "propylon lease"]
        if taking:
            await asyncio.wait(taking, timeout=_LAST_WORD)
        gate = asyncio.Semaphore(_CLOSING)

        async def leave(held: HeldShard) -> None:
            async with gate:
                await asyncio.shield(held.leave())

        try:
            async with asyncio.timeout(patience):
                await asyncio.gather(*(leave(held) for held in list(self._held.values())))
        except TimeoutError:
            left = [held.shard_id for held in self._held.values()]
            _log.warning("shards %s were not handed over within %g s; they are closed", named(left), patience)
            for held in list(self._held.values()):
                if held.life is not None:
                    self.outlet.lost(held.life.shard.key)
                    held.life.hang_up(4000)

    async def _tear_down(self) -> None:
        me = asyncio.current_task()
        if self._control is not None:
            self._control.stop()
        try:
            async with asyncio.timeout(_LEAST_PATIENCE):
                if self._coordinator is not None:
                    await self._coordinator.stop()
                for view in (self._hosts, self._leases, self._active, self._next, self._heard):
                    if view is not None:
                        await view.stop()
                if self._showing is not None:
                    await self._showing.stop()
                if self._member is not None:
                    await self._member.stop()
        except TimeoutError:
            _log.warning("the broker takes too long; what this host has there expires by itself")
        except Exception:
            _log.exception("the host did not end as it should")
        for task in list(self._tasks):
            if task is not me:
                task.cancel()
        if self._outlet is not None:
            self._outlet.close()
        if self._broker is not None:
            with contextlib.suppress(*AWAY):
                await self._broker.close()
        self.admin.close()
        self._conclude()

    def _conclude(self) -> None:
        error = self._failure
        told = False
        if self._opened is not None:
            if not self._opened.done():
                told = error is not None
                self._opened.set_exception(error or NotConnected("the host was closed while it was opening"))
            elif not self._opened.cancelled():
                told = self._opened.exception() is not None
        assert self._ended is not None
        self._unraised = None if told else error
        if self._unraised is not None and not self._waiters:
            _log.error("the host has ended: %s", error)
        if not self._ended.done():
            self._ended.set_result(self._unraised)
        flush_bursts()

    async def wait_closed(self) -> None:
        """Return when it is closed, by `close`, or drained."""
        self.check_process()
        ended = self._ended
        if ended is None:
            return
        if ended.done():
            error, self._unraised = self._unraised, None
        else:
            self._waiters += 1
            try:
                error = await asyncio.shield(ended)
            finally:
                self._waiters -= 1
            self._unraised = None
        if error is not None:
            raise error

    async def settle(self, seconds: float) -> None:
        """It calls no listeners."""

    async def left_open(self) -> None:
        """The loop has nothing left to do but this."""
        try:
            if not self._closing:
                self._warn_of_open("left open at the end of its event loop")
        finally:
            await self.close(None)

    def forgotten(self) -> None:
        """Nobody has the host any more, and its loop was closed by hand."""
        lives = [held.life for held in self._held.values() if held.life is not None]
        if self.is_of_this_process and any(life.shard.running for life in lives):
            try:
                self._warn_of_open("forgotten while it was open")
            finally:
                for life in lives:
                    life.shard.close(4000, "")

    def _warn_of_open(self, how: str) -> None:
        advice = "close it by `async with`, or by serve() or run(), which do so at signals too"
        warnings.warn(f"{self._owner!r} was {how}: {advice}", ResourceWarning, stacklevel=4, source=self._owner)
