"""Which shard belongs to which host: worked out alike by all of them, and the lease that makes it so.

`assignment` is what should be; leases are what is. What a host does when it gets or loses a shard is
`propylon.cluster._host`'s.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from propylon.cluster._broker import Broker
from propylon.cluster._keys import Lease, bucket, encode, lease_key, read
from propylon.cluster._membership import HeldKey, Times

__all__ = ["ShardLease", "assignment"]


def assignment(hosts: Mapping[str, int], shards: Iterable[int], held: Mapping[int, str]) -> dict[int, str]:
    """The host that each shard should be at.

    Spread by capacity, and as few moved as that allows: each host keeps what it has, up to its part. The same for all
    who see the same. Shards for which no host has room are left out.

    Args:
        hosts: Ids of those that take shards, with the most that each takes.
        shards: Ids of all shards.
        held: The hosts that have them now, whether or not these are among ``hosts``.
    """
    wanted = sorted(shards)
    keeping: dict[str, list[int]] = {host: [] for host in sorted(hosts)}
    for shard in wanted:
        if held.get(shard) in keeping:
            keeping[held[shard]].append(shard)
    parts = _parts(hosts, len(wanted), {host: len(kept) for host, kept in keeping.items()})
    assigned: dict[int, str] = {}
    for host, kept in keeping.items():
        assigned.update((shard, host) for shard in kept[: parts[host]])
    free = (shard for shard in wanted if shard not in assigned)
    for host, kept in keeping.items():
        for _ in range(parts[host] - len(kept[: parts[host]])):
            assigned[next(free)] = host
    return assigned


def _parts(hosts: Mapping[str, int], count: int, having: Mapping[str, int]) -> dict[str, int]:
    """How many shards are each host's part: in proportion to its capacity, and whole."""
    room = sum(hosts.values())
    if count >= room:
        return dict(hosts)
    parts = {host: count * capacity // room for host, capacity in hosts.items()}
    left = count - sum(parts.values())
    # What does not divide goes to those who have it already, else to those who are furthest below their part.
    unfilled = [host for host, capacity in hosts.items() if count * capacity % room]
    unfilled.sort(key=lambda host: (having[host] <= parts[host], -(count * hosts[host] % room), host))
    for host in unfilled[:left]:
        parts[host] += 1
    return parts


class ShardLease:
    """The lease of one shard, while this host has it."""

    def __init__(
        self,
        broker: Broker,
        app: str,
        host: str,
        total: int,
        shard_id: int,
        *,
        times: Times,
        status: Callable[[], tuple[str, bool]],
        renewed: Callable[[float], None],
        lost: Callable[[str], None],
    ) -> None:
        """Nothing is taken yet.

        ``status`` gives the status of the shard and whether it publishes; ``renewed`` and ``lost`` are `HeldKey`'s.
        """
        self._host: Final = host
        self._since: Final = time.time()
        self._status: Final = status
        self._key: Final = HeldKey(
            broker,
            bucket(app),
            lease_key(total, shard_id),
            value=self._value,
            is_mine=self._is_mine,
            times=times,
            renewed=renewed,
            lost=lost,
        )

    def _value(self, epoch: int) -> bytes:
        status, publishing = self._status()
        return encode(Lease(self._host, epoch, self._since, status, publishing))

    def _is_mine(self, value: bytes) -> bool:
        # The id is of this process alone: what has it and is not known here was taken by a call that was not answered.
        lease = read(Lease, value)
        return lease is not None and lease.host == self._host

    @property
    def epoch(self) -> int:
        """Of all who have had the shard, the later has the larger one."""
        return self._key.epoch

    @property
    def is_held(self) -> bool:
        """Whether it is still this host's."""
        return self._key.is_held

    @property
    def held_until(self) -> float:
        """The loop's time at which it is given up, unless it is renewed."""
        return self._key.held_until

    async def take(self) -> bool:
        """Take it, where nobody has it. Raises what `HeldKey.take` does."""
        return await self._key.take()

    def changed(self) -> None:
        """Renew it now: the status has changed, or somebody else seems to have it."""
        self._key.changed()

    def lose(self, why: str) -> None:
        """Who uses it has looked at the clock by itself, and acts as if it were lost."""
        self._key.lose(why)

    async def release(self) -> None:
        """Let go of it."""
        await self._key.release()
