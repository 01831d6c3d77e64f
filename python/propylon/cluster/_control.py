"""What the command line does with a cluster: looks at it, drains a host, changes the number of shards, removes it all.

Over a `Broker`, without being a host or a worker. How it is shown is `propylon.cli`'s.
"""

import asyncio
import contextlib
import time
from typing import Any, Final, TypeVar, cast

import msgspec

from propylon.cluster._broker import Broker, Entry
from propylon.cluster._keys import (
    ACTIVE,
    ALL_HOSTS,
    ALL_WORKERS,
    BUDGET,
    COORDINATOR,
    NEXT,
    OVERLAP,
    Active,
    BudgetKey,
    Coordinator,
    HostAnswer,
    HostInfo,
    HostQuestion,
    Lease,
    Next,
    OverlapKey,
    PartitionLease,
    WorkerInfo,
    all_leases,
    bucket,
    encode,
    host_key,
    host_subject,
    last_of,
    read,
    shard_of_key,
)
from propylon.cluster._membership import AWAY

__all__ = [
    "ClusterError",
    "ClusterStatus",
    "Drained",
    "HostStatus",
    "Purged",
    "Resharded",
    "ShardStatus",
    "drain",
    "purge",
    "reshard",
    "status",
]

_S = TypeVar("_S", bound=msgspec.Struct)

_ASKING: Final = 5.0
"""Seconds that a host has to answer."""
_POLL: Final = 0.2
"""Seconds between two looks at something that takes its time."""
_AWAY_FOR: Final = 60.0
"""Seconds for which the broker may be away while something takes its time."""
_MOST: Final = 1 << 16
"""Shards, beyond any bot."""


class ClusterError(Exception):
    """What was asked for cannot be done; the text says why, and what to do."""


class HostStatus(msgspec.Struct, frozen=True):
    """A host, and how many shards it has."""

    info: HostInfo
    shards: int
    coordinator: bool


class ShardStatus(msgspec.Struct, frozen=True):
    """A shard, and the host that has it."""

    id: int
    total: int
    host: str | None
    """None: nobody has it."""
    epoch: int
    status: str
    since: float | None
    """Unix time at which its host has taken it."""


class ClusterStatus(msgspec.Struct, frozen=True):
    """All that the keys of a cluster say."""

    app: str
    at: float
    """Unix time."""
    active: Active | None
    """None: no host has ever been here."""
    next: Next | None
    """While it is resharded."""
    overlap: OverlapKey | None
    hosts: list[HostStatus]
    shards: list[ShardStatus]
    """Of the total that counts, then of the next one."""
    workers: list[WorkerInfo]
    partitions: dict[int, PartitionLease]
    """By number, those that some worker has."""
    budget: BudgetKey | None
    """IDENTIFYs of the day."""
    stream: Any = None
    """A `propylon.cluster._nats.StreamStatus`: the events that NATS keeps. None where the broker cannot ask."""


class Drained(msgspec.Struct, frozen=True):
    """A host was drained."""

    host: str
    shards: int
    """How many it had."""
    seconds: float


class Resharded(msgspec.Struct, frozen=True):
    """Another number of shards has taken over."""

    before: int
    total: int
    seconds: float


class Purged(msgspec.Struct, frozen=True):
    """What was kept of a cluster was removed."""

    keys: int


async def status(broker: Broker, app: str) -> ClusterStatus:
    """Look at all keys. Raises TimeoutError or ConnectionError."""
    entries = {entry.key: entry for entry in await broker.entries(bucket(app), ">")}
    coordinator = _value(Coordinator, entries.get(COORDINATOR))
    active = _value(Active, entries.get(ACTIVE))
    coming = _value(Next, entries.get(NEXT))
    leases: dict[tuple[int, int], tuple[Lease, int]] = {}
    for key, entry in entries.items():
        place = shard_of_key(key) if key.startswith("lease.") else None
        lease = _value(Lease, entry)
        if place is not None and lease is not None:
            leases[place] = (lease, lease.epoch or entry.revision)
    hosts = [info for info in _values(HostInfo, entries, "host.") if info]
    totals = [one.total for one in (active, coming) if one is not None]
    # Also what is left of a total that counts no more.
    places = [(total, shard_id) for total in dict.fromkeys(totals) for shard_id in range(total)]
    places += sorted(place for place in leases if place[0] not in totals)
    stream = getattr(broker, "stream_status", None)
    told: Any = None
    if callable(stream):
        with contextlib.suppress(*AWAY):
            told = await cast("Any", stream())
    return ClusterStatus(
        app=app,
        at=time.time(),
        active=active,
        next=coming,
        overlap=_value(OverlapKey, entries.get(OVERLAP)),
        hosts=[
            HostStatus(
                info,
                sum(lease.host == info.id for lease, _ in leases.values()),
                coordinator is not None and coordinator.host == info.id,
            )
            for info in sorted(hosts, key=lambda info: info.id)
        ],
        shards=[_shard(place, leases.get(place)) for place in places],
        workers=sorted(_values(WorkerInfo, entries, "worker."), key=lambda info: info.id),
        partitions={
            int(last_of(key)): part
            for key, entry in entries.items()
            if key.startswith("part.") and last_of(key).isdigit()
            if (part := _value(PartitionLease, entry)) is not None
        },
        budget=_value(BudgetKey, entries.get(BUDGET)),
        stream=told,
    )


def _shard(place: tuple[int, int], known: tuple[Lease, int] | None) -> ShardStatus:
    total, shard_id = place
    if known is None:
        return ShardStatus(shard_id, total, None, 0, "UNCONNECTED", None)
    lease, epoch = known
    return ShardStatus(shard_id, total, lease.host, epoch, lease.status, lease.since)


def _value(kind: type[_S], entry: Entry | None) -> _S | None:
    return None if entry is None else read(kind, entry.value)


def _values(kind: type[_S], entries: dict[str, Entry], prefix: str) -> list[_S]:
    values = [_value(kind, entry) for key, entry in entries.items() if key.startswith(prefix)]
    return [value for value in values if value is not None]


async def drain(broker: Broker, app: str, host: str, *, wait: bool = True, timeout: float = 120.0) -> Drained:
    """Have a host hand all its shards over, and end; with ``wait`` return when it has.

    Args:
        broker: Of the cluster.
        app: Its name.
        host: The host's id, or how it begins where that tells it from all others.
        wait: Whether to wait for it.
        timeout: Seconds to wait.

    Raises:
        ClusterError: There is no such host, no other host could take its shards, or it did not end in time.
        TimeoutError, ConnectionError: The broker does not answer.
    """
    begun = time.monotonic()
    info = await _host(broker, app, host)
    had = await _shards_of(broker, app, info.id)
    try:
        answer = await broker.request(host_subject(app, info.id), encode(HostQuestion("drain")), _ASKING)
    except TimeoutError:
        answer = None
    said = read(HostAnswer, answer)
    if said is None:
        raise ClusterError(f"host {info.id} does not answer; if it has died, its shards go to others by themselves")
    if not said.ok:
        raise ClusterError(f"host {info.id} cannot be drained: {said.text}")
    while wait and await broker.get(bucket(app), host_key(info.id)) is not None:
        if time.monotonic() > begun + timeout:
            left = await _shards_of(broker, app, info.id)
            raise ClusterError(
                f"host {info.id} has {left} of its {had} shards after {timeout:g} s; it goes on draining"
            )
        await asyncio.sleep(_POLL)
    return Drained(info.id, had, time.monotonic() - begun)


async def _host(broker: Broker, app: str, host: str) -> HostInfo:
    entries = {entry.key: entry for entry in await broker.entries(bucket(app), ALL_HOSTS)}
    hosts = _values(HostInfo, entries, "host.")
    exactly = [info for info in hosts if info.id == host]
    fitting = exactly or [info for info in hosts if info.id.startswith(host)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(sorted(info.id for info in fitting or hosts)) or "none"
    raise ClusterError(f"{'more than one host begins' if fitting else 'no host begins'} with {host!r:.100}: {names}")


async def _shards_of(broker: Broker, app: str, host: str) -> int:
    leases = [_value(Lease, entry) for entry in await broker.entries(bucket(app), all_leases())]
    return sum(lease is not None and lease.host == host for lease in leases)


async def reshard(
    broker: Broker, app: str, total: int, *, window: float = 2.0, timeout: float | None = None
) -> Resharded:
    """Have another number of shards take over, and return when they have. No event is lost, and none comes twice.

    The new ones are opened beside the old ones, as fast as Discord lets them IDENTIFY. When all of them are READY they
    publish, and the old ones end. Cancelled before that, all stays as it was.

    Args:
        broker: Of the cluster.
        app: Its name.
        total: How many there are to be.
        window: Seconds for which the old ones go on publishing beside the new ones.
        timeout: Seconds after which it is given up. None: as long as it takes.

    Raises:
        ClusterError: There is no cluster, it has so many shards, or it is being resharded already.
        TimeoutError: It took too long, and was given up; or the broker does not answer.
        ConnectionError: The broker does not answer.
    """
    if not 1 <= total <= _MOST:
        raise ClusterError(f"a bot has 1 to {_MOST:,} shards, not {total}")
    begun = time.monotonic()
    keys = bucket(app)
    active = _value(Active, await broker.get(keys, ACTIVE))
    if active is None:
        raise ClusterError(f"no host has ever joined a cluster {app!r} there; start one first")
    if active.total == total:
        raise ClusterError(f"the cluster has {total} shards already")
    if not await broker.entries(keys, ALL_HOSTS):
        raise ClusterError("no host lives that could open them; start one first")
    async with asyncio.timeout(timeout):
        # Until the one before is at its end, workers tell its two totals apart.
        while await broker.get(keys, OVERLAP) is not None and await broker.get(keys, NEXT) is None:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)
        # Sessions of another time would bring again what has been handled since.
        if not await broker.entries(keys, all_leases(total)):
            for session in await broker.entries(keys, f"session.{total}.*"):
                await broker.delete(keys, session.key, revision=session.revision)
    revision = await broker.create(keys, NEXT, encode(Next(total, window=window)))
    if revision is None:
        there = _value(Next, await broker.get(keys, NEXT))
        of = f" to {there.total} shards" if there is not None else ""
        raise ClusterError(f"the cluster is being resharded{of} already; wait for that")
    try:
        async with asyncio.timeout(None if timeout is None else begun + timeout - time.monotonic()):
            away_since: float | None = None
            while True:
                try:
                    now = _value(Active, await broker.get(keys, ACTIVE))
                    if now is not None and now.total == total:
                        return Resharded(active.total, total, time.monotonic() - begun)
                    if await broker.get(keys, NEXT) is None:
                        # The switch may have come between the two looks.
                        now = _value(Active, await broker.get(keys, ACTIVE))
                        if now is None or now.total != total:
                            raise ClusterError("the resharding was given up by somebody else")
                        continue
                    away_since = None
                except AWAY:
                    # The hosts go on with it, so a broker that is away for a moment ends nothing.
                    away_since = away_since or time.monotonic()
                    if time.monotonic() > away_since + _AWAY_FOR:
                        raise
                await asyncio.sleep(_POLL)
    except BaseException:
        # Once both publish it is carried to its end: with this revision they do not.
        with contextlib.suppress(*AWAY):
            await broker.delete(keys, NEXT, revision=revision)
        raise


async def purge(broker: Broker, app: str, *, force: bool = False) -> Purged:
    """Remove all that is kept of a cluster: keys, sessions, and the events that wait.

    Args:
        broker: Of the cluster.
        app: Its name.
        force: Also while hosts or workers live.

    Raises:
        ClusterError: Some live.
        TimeoutError, ConnectionError: The broker does not answer.
    """
    keys = bucket(app)
    living = [
        last_of(entry.key) for pattern in (ALL_HOSTS, ALL_WORKERS) for entry in await broker.entries(keys, pattern)
    ]
    if living and not force:
        raise ClusterError(f"these live: {', '.join(sorted(living))}; stop them first")
    entries = await broker.entries(keys, ">")
    remove = getattr(broker, "purge", None)
    if callable(remove):
        await cast("Any", remove())
    else:
        for entry in entries:
            await broker.delete(keys, entry.key)
    return Purged(len(entries))
