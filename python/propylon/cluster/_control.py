"""What the command line does with a cluster: looks at it, drains a host, changes the number of shards, removes it all.

Over a `Broker`, without being a host or a worker. How it is shown is `propylon.cli`'s.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast

import msgspec

from propylon._sessions.session import GatewayStatus
from propylon.cluster._broker import Broker, Entry
from propylon.cluster._keys import (
    ACTIVE,
    ALL_HEARD,
    ALL_HOSTS,
    ALL_SEEN,
    ALL_WORKERS,
    BUDGET,
    COORDINATOR,
    NEXT,
    OVERLAP,
    Active,
    BudgetKey,
    Coordinator,
    Heard,
    HostAnswer,
    HostInfo,
    HostQuestion,
    Lease,
    Next,
    OverlapKey,
    PartitionLease,
    SeenKey,
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
    "GivenUp",
    "HostStatus",
    "Purged",
    "Resharded",
    "ShardStatus",
    "awaited",
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
_FEW: Final = 8
"""Shards, or workers, that an error names."""


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


class GivenUp(msgspec.Struct, frozen=True):
    """Another number of shards was to take over, and does not."""

    coming: int
    """The number that was to come."""
    total: int
    """The one that stays."""


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
        raise ClusterError(
            f"host {info.id} does not answer; if it has died, its shards go to others by themselves, and if it hangs, "
            "end its process"
        )
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
) -> Resharded | GivenUp:
    """Have another number of shards take over, and return when they have. No event is lost, and none comes twice.

    The new ones are opened beside the old ones, as fast as Discord lets them IDENTIFY. When all of them are READY they
    publish, and the old ones end. Cancelled before that, all stays as it was. The number that there is gives up a
    resharding that is under way: one whose command was killed, say.

    Args:
        broker: Of the cluster.
        app: Its name.
        total: How many there are to be.
        window: Seconds for which the old ones go on publishing beside the new ones.
        timeout: Seconds after which it is given up. None: as long as it takes.

    Raises:
        ClusterError: There is no cluster, it has so many shards, it is being resharded already, or it took too long:
            the text says what was waited for.
        TimeoutError, ConnectionError: The broker does not answer.
    """
    if not 1 <= total <= _MOST:
        raise ClusterError(f"a bot has 1 to {_MOST:,} shards, not {total}")
    begun = time.monotonic()
    keys = bucket(app)
    active = _value(Active, await broker.get(keys, ACTIVE))
    if active is None:
        raise ClusterError(f"no host has ever joined a cluster {app!r} there; start one first")
    if active.total == total:
        return await _give_up(broker, app, total)
    if not await broker.entries(keys, ALL_HOSTS):
        raise ClusterError("no host lives that could open them; start one first")
    limit = asyncio.timeout(timeout)
    revision: int | None = None
    try:
        async with limit:
            await _until_free(broker, keys, total)
            # Not cut short: it would not be known whether there is one to give up.
            until = limit.when()
            limit.reschedule(None)
            revision = await broker.create(keys, NEXT, encode(Next(total, window=window)))
            if revision is None:
                raise ClusterError(_busy(_value(Next, await broker.get(keys, NEXT)), active.total))
            limit.reschedule(until)
            await _until_switched(broker, keys, total)
            return Resharded(active.total, total, time.monotonic() - begun)
    except BaseException as error:
        is_late = isinstance(error, TimeoutError) and limit.expired()
        why, removed = "", None
        if is_late:
            # Before it is given up: the shards that it waits for are closed then.
            why = await awaited(broker, app, active.total, None if revision is None else total)
        if revision is not None:
            # Once both publish it is carried to its end: with this revision they do not.
            with contextlib.suppress(*AWAY):
                removed = await broker.delete(keys, NEXT, revision=revision)
        if not is_late:
            raise
        raise ClusterError(
            _late(active.total, total, timeout, why, begun=revision is not None, removed=removed)
        ) from None


async def _until_free(broker: Broker, keys: str, total: int) -> None:
    """Return when shards of this total may be opened."""
    # Until the one before is at its end, workers tell its two totals apart.
    while await broker.get(keys, OVERLAP) is not None and await broker.get(keys, NEXT) is None:  # noqa: ASYNC110
        await asyncio.sleep(_POLL)
    # Sessions of another time would bring again what has been handled since.
    if not await broker.entries(keys, all_leases(total)):
        for session in await broker.entries(keys, f"session.{total}.*"):
            await broker.delete(keys, session.key, revision=session.revision)


async def _until_switched(broker: Broker, keys: str, total: int) -> None:
    """Return when this total counts. Raises ClusterError where somebody else has given it up."""
    away_since: float | None = None
    while True:
        try:
            now = _value(Active, await broker.get(keys, ACTIVE))
            if now is not None and now.total == total:
                return
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


async def _give_up(broker: Broker, app: str, total: int) -> GivenUp:
    """Have this total stay, which counts: nothing else is to take over."""
    entry = await broker.get(bucket(app), NEXT)
    coming = _value(Next, entry)
    if entry is None or coming is None or coming.total == total:
        raise ClusterError(f"the cluster has {total} shards already")
    # By its revision: it is too late where both publish meanwhile.
    if coming.phase != "opening" or not await broker.delete(bucket(app), NEXT, revision=entry.revision):
        raise ClusterError(
            f"it is too late to give the resharding up: {coming.total} shards publish already; wait for it"
        )
    return GivenUp(coming.total, total)


def _busy(coming: Next | None, total: int) -> str:
    if coming is None:
        return "the cluster is being resharded already; wait for that"
    text = f"the cluster is being resharded to {coming.total} shards already; wait for that"
    return f"{text}, or give it up: {_giving_up(total)}" if coming.phase == "opening" else text


def _giving_up(total: int) -> str:
    return f"`propylon cluster reshard {total}`"


def _late(before: int, total: int, timeout: float | None, why: str, *, begun: bool, removed: bool | None) -> str:
    """What to say of a resharding that has taken too long. ``removed`` is None: the broker did not answer."""
    text = f"{total} shards have not taken over within {timeout:g} s: {why}"
    if not begun:
        return f"{text}. Nothing was begun"
    if removed is None:
        return f"{text}. It could not be given up, and goes on; {_giving_up(before)} gives it up"
    if not removed:
        return f"{text}. It is too late to give it up: both publish, and the hosts carry it to its end"
    return f"{text}. It was given up, and the {before} shards go on; mend that, or give it a longer --timeout"


async def awaited(broker: Broker, app: str, before: int, total: int | None) -> str:
    """What a resharding waits for, as far as keys tell it. ``total`` is None: for the one before to end."""
    try:
        found = await status(broker, app)
        heard = {entry.key: read(Heard, entry.value) for entry in await broker.entries(bucket(app), ALL_HEARD)}
        seen = {entry.key: read(SeenKey, entry.value) for entry in await broker.entries(bucket(app), ALL_SEEN)}
    except AWAY as error:
        return str(error)
    told: list[str] = []
    if not any(host.coordinator for host in found.hosts):
        told.append("no host coordinates it (a new one does within 15 s of the end of one)")
    if total is None:
        left = [shard for shard in found.shards if shard.host is not None and shard.total != before]
        told += _listed(left, "shards of the resharding before have not ended")
        return "; ".join(told) or "the resharding before is not at its end"
    told += _listed(
        [one for one in found.shards if one.total == total and not _is_ready(one)], "new shards are not READY"
    )
    told += _listed(
        [one for one in found.shards if one.total == before and not _is_ready(one)], "old shards are not READY"
    )
    unread = sorted(int(last_of(key)) for key, one in seen.items() if one and one.overlap and one.overlap.old != before)
    if unread:
        told.append(f"workers have not read these partitions to the end of the resharding before: {_few(unread)}")
    # What a worker heard is kept for a while when it has gone.
    living = {info.id for info in found.workers}
    unaware = sorted(
        worker for key, one in heard.items() if one and one.overlap != before and (worker := last_of(key)) in living
    )
    if found.overlap is not None and unaware:
        told.append(f"these workers do not know of it: {_few(unaware)}")
    return "; ".join(told) or "all shards are READY, and it needs some seconds more"


def _is_ready(shard: ShardStatus) -> bool:
    return shard.status == GatewayStatus.READY.name


def _listed(shards: list[ShardStatus], what: str) -> list[str]:
    each = [
        f"{shard.id} ({'nobody has it' if shard.host is None else f'{shard.status} on {shard.host}'})"
        for shard in shards
    ]
    return [f"{len(shards)} {what}: {_few(each)}"] if shards else []


def _few(names: Sequence[object]) -> str:
    return ", ".join(map(str, names[:_FEW])) + (", ..." if len(names) > _FEW else "")


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
