"""The whole cluster for the admin server of one of its processes, whichever is looked at.

Owns the look at all keys, and the telling: as JSON, at most once a second and only what has changed. The engine serves
it, with what this process counts itself. Where no admin server is asked for nothing here does anything.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from propylon._gateway.admin import Admin
from propylon._gateway.watching import LoopWatch
from propylon.cluster._broker import Broker
from propylon.cluster._keys import (
    ACTIVE,
    ALL_HOSTS,
    ALL_PARTS,
    ALL_WORKERS,
    COORDINATOR,
    NEXT,
    PARTITIONS,
    Active,
    Coordinator,
    HostInfo,
    Lease,
    Next,
    PartitionLease,
    WorkerInfo,
    all_leases,
    bucket,
    lease_key,
    part_key,
    shard_of_key,
)
from propylon.cluster._membership import AWAY, View
from propylon.cluster._nats import NatsBroker
from propylon.cluster._tasks import spawn

__all__ = ["Showing"]

_LOOKED_WITHIN: Final = 10.0
"""Seconds for which somebody who looked counts as one who looks. Nobody does: the server is not asked for lags."""
_LAGS_EVERY: Final = 5.0
"""Seconds between two questions for the lags of all partitions, of which only their own workers know."""
_CONSUMER: Final = re.compile(r"partition-(\d+)-(\d+)(?:-(\d+))?")
"""What the intake calls its consumer: the partition, the epoch, and which of that epoch."""


class _Host(msgspec.Struct):
    id: str
    capacity: int
    started_at: float
    draining: bool
    version: str
    admin: str | None
    coordinator: bool
    shards: int


class _Shard(msgspec.Struct):
    id: int
    total: int
    host: str | None
    epoch: int
    since: float | None
    status: str


class _Worker(msgspec.Struct):
    id: str
    started_at: float
    version: str
    draining: bool
    admin: str | None
    partitions: int


class _Partition(msgspec.Struct):
    id: int
    worker: str | None
    lag: int | None


class _Cluster(msgspec.Struct):
    """The shape that the engine reads: `View` in `rust/core/src/admin/view.rs`."""

    role: Literal["host", "worker"]
    id: str
    app: str
    wanted: int
    total: int | None
    next: int | None
    hosts: list[_Host]
    shards: list[_Shard]
    workers: list[_Worker]
    partitions: list[_Partition]


class Showing:
    """Tells an admin server how the cluster stands."""

    def __init__(
        self,
        admin: Admin,
        broker: Broker,
        app: str,
        role: Literal["host", "worker"],
        member: str,
        wanted: Callable[[], int],
    ) -> None:
        """``member`` is the id of this host or worker; ``wanted`` how many shards or partitions it should have."""
        self._admin: Final = admin
        self._broker: Final = broker
        self._app: Final = app
        self._role: Final[Literal["host", "worker"]] = role
        self._member: Final = member
        self._wanted: Final = wanted
        keys = bucket(app)
        self._active: Final = View(broker, keys, ACTIVE, Active, self._changed)
        self._next: Final = View(broker, keys, NEXT, Next, self._changed)
        self._coordinator: Final = View(broker, keys, COORDINATOR, Coordinator, self._changed)
        self._hosts: Final = View(broker, keys, ALL_HOSTS, HostInfo, self._changed)
        self._leases: Final = View(broker, keys, all_leases(), Lease, self._changed)
        self._workers: Final = View(broker, keys, ALL_WORKERS, WorkerInfo, self._changed)
        self._parts: Final = View(broker, keys, ALL_PARTS, PartitionLease, self._changed)
        self._is_new = True
        self._told_wanted: int | None = None
        self._lags: dict[int, int] = {}
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = 0.0
        self._watch: LoopWatch | None = None

    async def start(self) -> None:
        """Return when the cluster is shown as it is; tell what changes from then on.

        Raises:
            TimeoutError, ConnectionError: The broker does not answer.
        """
        if not self._admin.is_wanted:
            return
        if isinstance(self._broker, NatsBroker):
            self._admin.show_broker(self._broker.core)
        for view in self._views:
            await view.start()
        watch = self._watch = LoopWatch.current()
        watch.enter(self._tell)
        self._admin.watch(watch.watch)
        self._tell()

    async def stop(self) -> None:
        """Tell nothing more; the server forgets it when this process shows nothing there any more."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.leave(self._tell)
        for view in self._views:
            await view.stop()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def forget(self) -> None:
        """The keys are gone: nobody has anything, until it is written again."""
        for view in (self._coordinator, self._hosts, self._leases, self._workers, self._parts):
            view.forget()

    @property
    def _views(self) -> tuple[View[Any], ...]:
        return (
            self._active,
            self._next,
            self._coordinator,
            self._hosts,
            self._leases,
            self._workers,
            self._parts,
        )

    def _changed(self, key: str) -> None:
        self._is_new = True

    def _tell(self) -> None:
        """Once a second, by the loop's own timer."""
        if self._watch is None:
            return
        self._look_at_lags()
        wanted = self._wanted()
        if not self._is_new and wanted == self._told_wanted:
            return
        self._is_new, self._told_wanted = False, wanted
        self._admin.tell_cluster(msgspec.json.encode(self._cluster(wanted)))

    # ------------------------------------------------------------------ what the keys say

    def _cluster(self, wanted: int) -> _Cluster:
        active, coming = self._active.keys.get(ACTIVE), self._next.keys.get(NEXT)
        return _Cluster(
            role=self._role,
            id=self._member,
            app=self._app,
            wanted=wanted,
            total=None if active is None else active.value.total,
            next=None if coming is None else coming.value.total,
            hosts=self._hosts_now(),
            shards=self._shards_now(),
            workers=self._workers_now(),
            partitions=self._partitions_now(),
        )

    def _hosts_now(self) -> list[_Host]:
        shards = Counter(seen.value.host for seen in self._leases.keys.values())
        seen = self._coordinator.keys.get(COORDINATOR)
        coordinator = None if seen is None else seen.value.host
        hosts = sorted((seen.value for seen in self._hosts.keys.values()), key=lambda host: host.id)
        return [
            _Host(
                id=host.id,
                capacity=host.capacity,
                started_at=host.started_at,
                draining=host.draining,
                version=host.version,
                admin=host.admin,
                coordinator=host.id == coordinator,
                shards=shards[host.id],
            )
            for host in hosts
        ]

    def _shards_now(self) -> list[_Shard]:
        """Of the total that counts and of the one that is to, and what is left of another one."""
        totals = [
            seen.value.total for seen in (self._active.keys.get(ACTIVE), self._next.keys.get(NEXT)) if seen is not None
        ]
        places = {(total, shard_id) for total in totals for shard_id in range(total)}
        places |= {place for key in self._leases.keys if (place := shard_of_key(key)) is not None}
        return [self._shard(total, shard_id) for total, shard_id in sorted(places)]

    def _shard(self, total: int, shard_id: int) -> _Shard:
        seen = self._leases.keys.get(lease_key(total, shard_id))
        if seen is None:
            return _Shard(shard_id, total, None, 0, None, "UNCONNECTED")
        lease = seen.value
        return _Shard(shard_id, total, lease.host, lease.epoch or seen.revision, lease.since, lease.status)

    def _workers_now(self) -> list[_Worker]:
        partitions = Counter(seen.value.worker for seen in self._parts.keys.values())
        workers = sorted((seen.value for seen in self._workers.keys.values()), key=lambda worker: worker.id)
        return [
            _Worker(
                id=worker.id,
                started_at=worker.started_at,
                version=worker.version,
                draining=worker.draining,
                admin=worker.admin,
                partitions=partitions[worker.id],
            )
            for worker in workers
        ]

    def _partitions_now(self) -> list[_Partition]:
        found: list[_Partition] = []
        for number in range(PARTITIONS):
            seen = self._parts.keys.get(part_key(number))
            found.append(_Partition(number, None if seen is None else seen.value.worker, self._lags.get(number)))
        return found

    # ------------------------------------------------------------------ how far all workers are

    def _look_at_lags(self) -> None:
        """While somebody looks: it is a question to the server about 64 consumers."""
        looked, now = self._admin.looked, asyncio.get_running_loop().time()
        if looked is None or looked > _LOOKED_WITHIN or now < self._asked_at + _LAGS_EVERY:
            return
        if self._asking is None or self._asking.done():
            self._asked_at = now
            self._asking = spawn(self._ask(), "propylon cluster lags")

    async def _ask(self) -> None:
        if not isinstance(self._broker, NatsBroker):
            return
        try:
            status = await self._broker.stream_status()
        except AWAY:
            return
        # One that was followed by another may be there for a moment.
        latest: dict[int, tuple[int, int, int]] = {}
        for consumer in () if status is None else status.consumers:
            named = _CONSUMER.fullmatch(consumer.name)
            if named is not None:
                partition, found = int(named[1]), (int(named[2]), int(named[3] or 0), consumer.pending)
                latest[partition] = max(latest.get(partition, found), found)
        lags = {partition: pending for partition, (_, _, pending) in latest.items()}
        if lags != self._lags:
            self._lags = lags
            self._is_new = True
