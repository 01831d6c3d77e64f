"""Sessions in NATS: a store that is fenced by the leases of the shards.

When a shard saves, and how far its session then counts as handled, is `propylon._sessions.keeping`'s, as with any
store. Here an epoch is the lease's: who has lost the lease, or meets a session that a later holder has claimed, is
refused.
"""

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from propylon._sessions.session import Session
from propylon.cluster._broker import Broker
from propylon.cluster._keys import StoredSession, bucket, encode, read, session_key, session_of, stored, token_mark
from propylon.cluster._leases import ShardLease
from propylon.errors import SessionTakenOver

__all__ = ["ClusterSessions", "Kept", "newer"]

_log: Final = logging.getLogger("propylon.cluster")

_TRIES: Final = 5
"""Writes that meet another one of the same shard: there are two at most, and one of them is about to be refused."""


class Kept(NamedTuple):
    """A session, and under which lease it was this far."""

    session: Session
    epoch: int
    at: float
    """When it was known to be this far, or earlier: Unix time by the server's clock. Of one that a host has kept itself
    it is the time of its loop."""


def newer(ours: Kept | None, theirs: Kept | None, claimed: int) -> Kept | None:
    """Where to go on: from what this host had when it lost its lease, or from what is stored.

    ``claimed``: the epoch of whoever claimed the session last. Where that is somebody after us, theirs counts.
    """
    if ours is None or claimed > ours.epoch:
        return theirs
    if theirs is None or theirs.session.id != ours.session.id:
        # A session that began while the broker was away is not stored.
        return ours
    return ours if ours.session.sequence >= theirs.session.sequence else theirs


class ClusterSessions:
    """A `FencedSessionStore` for all shards of one host."""

    def __init__(self, broker: Broker, app: str, token: str, lease_of: Callable[[int, int], ShardLease | None]) -> None:
        """``lease_of`` gives the lease of ``(total, shard id)`` that this host has."""
        self._broker: Final = broker
        self._bucket: Final = bucket(app)
        self._mark: Final = token_mark(token)
        self._lease_of: Final = lease_of
        self._revisions: Final[dict[tuple[int, int], int]] = {}
        """Of what this host wrote last, so that it need not be read again."""

    def __repr__(self) -> str:
        """Where it is."""
        return f"ClusterSessions({self._bucket!r})"

    # ------------------------------------------------------------------ as stores are called

    async def load(self, key: str, /) -> Session | None:
        """Return what was saved last. Raises TimeoutError or ConnectionError."""
        kept, _ = await self.look(*_shard_of(key))
        return None if kept is None else kept.session

    async def claim(self, key: str, /) -> int:
        """Return the epoch of the lease, once the session says that it is this one's.

        Raises:
            SessionTakenOver: The lease is lost.
            TimeoutError, ConnectionError: The broker does not answer.
        """
        total, shard_id = _shard_of(key)
        lease = self._held(total, shard_id, None)
        await self._write(total, shard_id, lease.epoch, lambda before: _claimed(before, lease.epoch, self._mark))
        return lease.epoch

    async def save(self, key: str, session: Session, epoch: int | None = None, /) -> None:
        """Keep it in place of the one before. Raises what `claim` does."""
        await self.keep(*_shard_of(key), session, epoch)

    async def delete(self, key: str, epoch: int | None = None, /) -> None:
        """Forget the session, not the epoch. Raises what `claim` does."""
        await self.keep(*_shard_of(key), None, epoch)

    # ------------------------------------------------------------------ by shard

    async def look(self, total: int, shard_id: int) -> tuple[Kept | None, int]:
        """What is stored of a shard, and the epoch of whoever claimed it last; 0 where nobody has."""
        entry = await self._broker.get(self._bucket, session_key(total, shard_id))
        if entry is None:
            return None, 0
        known = read(StoredSession, entry.value)
        if known is None:
            _log.warning("the stored session of shard %d of %d cannot be read; identifying anew", shard_id, total)
            return None, 0
        session = session_of(known, self._mark)
        return None if session is None else Kept(session, known.epoch, entry.created), known.epoch

    async def keep(self, total: int, shard_id: int, session: Session | None, epoch: int | None = None) -> None:
        """Save or forget the session of a shard. Raises what `claim` does."""
        lease = self._held(total, shard_id, epoch)
        value = stored(session, lease.epoch, self._mark)
        await self._write(total, shard_id, lease.epoch, lambda _: value)

    async def remove(self, total: int, shard_id: int) -> None:
        """Nobody will ask for it any more: the number of shards is another one."""
        self._revisions.pop((total, shard_id), None)
        await self._broker.delete(self._bucket, session_key(total, shard_id))

    def forget(self, total: int, shard_id: int) -> None:
        """The shard is not this host's any more."""
        self._revisions.pop((total, shard_id), None)

    def _held(self, total: int, shard_id: int, epoch: int | None) -> ShardLease:
        lease = self._lease_of(total, shard_id)
        if lease is None or not lease.is_held or epoch not in (None, lease.epoch):
            raise _taken_over(total, shard_id)
        return lease

    async def _write(
        self, total: int, shard_id: int, epoch: int, change: Callable[[StoredSession | None], StoredSession]
    ) -> None:
        key, place = session_key(total, shard_id), (total, shard_id)
        revision = self._revisions.pop(place, None)
        for _ in range(_TRIES):
            known: StoredSession | None = None
            if revision is None:
                entry = await self._broker.get(self._bucket, key)
                revision = None if entry is None else entry.revision
                known = None if entry is None else read(StoredSession, entry.value)
            if known is not None and known.epoch > epoch:
                raise _taken_over(total, shard_id)
            value = encode(change(known))
            # Between this look and the answer the lease may be lost; then the next holder claims it over ours, or has.
            self._held(total, shard_id, epoch)
            written = (
                await self._broker.create(self._bucket, key, value)
                if revision is None
                else await self._broker.update(self._bucket, key, value, revision)
            )
            if written is not None:
                self._revisions[place] = written
                return
            revision = None
        raise TimeoutError(f"the session of shard {shard_id} of {total} is changed by others all the time")


def _claimed(before: StoredSession | None, epoch: int, mark: str) -> StoredSession:
    if before is None or before.token != mark:
        return stored(None, epoch, mark)
    return StoredSession(before.session, epoch, mark)


def _taken_over(total: int, shard_id: int) -> SessionTakenOver:
    return SessionTakenOver(None, f"the lease of shard {shard_id} of {total} is not this host's any more")


def _shard_of(key: str) -> tuple[int, int]:
    """``(total, shard id)`` of a key as `propylon._sessions.keeping.session_key` makes them."""
    _, number, total, _ = key.rsplit("-", 3)
    return int(total), int(number)
