"""One shard that this host has: from its lease to its connection, and back.

Owns the order of the steps: nothing is published before the lease is taken, and nobody else can have the lease before
all is published and the session saved. Which shards there are is `propylon.cluster._host_life`'s; what a connection
does is the engine's, behind `propylon._gateway.life`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable
from typing import Final, Protocol

import propylon._core as _core
from propylon._gateway.life import Life
from propylon._sessions.session import GatewayStatus, Session
from propylon.cluster._broker import Broker
from propylon.cluster._commands_host import CommandServer
from propylon.cluster._keys import bucket, lease_key
from propylon.cluster._leases import ShardLease
from propylon.cluster._membership import AWAY, Times
from propylon.cluster._store import ClusterSessions, Kept, newer
from propylon.cluster._tasks import spawn
from propylon.errors import PropylonError, SessionTakenOver

__all__ = ["HeldShard", "Holder", "Outlet"]

_log: Final = logging.getLogger("propylon.cluster")

_FLUSHING: Final = 10.0
"""Seconds that events have to be published when a shard is handed over. What is not comes again by the RESUME."""
_FLUSH_POLL: Final = 0.005
_EARLIER: Final = 5.0
"""Seconds: what was published before a session was saved counts from that much earlier on."""
_UNSAVED: Final = 30.0
"""The same for a session that could not be saved while the broker was away."""
_LOOKS: Final = 3
"""Tries to find out what was published of a session."""
_AGAIN: Final = 60.0
"""Seconds after which a shard that Discord refused is tried again."""


class Outlet(Protocol):
    """Where the events of shards go: the engine's publisher. Keys are those of shards, `_core.Shard.key`."""

    def add(self, shard: _core.Shard, epoch: int, published: dict[int, int], /) -> None:
        """Take the events of a shard, before it is started. ``published``: what is published of its session already,
        as the last sequence number by partition."""

    def renewed(self, key: int, until: float, /) -> bool:
        """It may publish until that `time.monotonic`, and no longer unless it is told anew. False: the time that it had
        before has passed, and it publishes no more."""
        ...

    def lost(self, key: int, /) -> None:
        """It must publish no more."""

    def remove(self, key: int, /) -> None:
        """It has ended."""

    def flushed(self, key: int, /) -> bool:
        """Whether all that it took is published and acknowledged."""
        ...

    def published(self, session_id: str, since: float, /) -> Awaitable[dict[int, int]]:
        """What anybody has published of a session since that Unix time: the last sequence number by partition."""
        ...

    def trouble(self) -> str | None:
        """Why a message could not be sent, the last time since this was asked; None where there is no connection."""
        ...

    def metrics(self) -> dict[str, int]:
        """What it has counted."""
        ...

    def close(self) -> None:
        """Nothing is published any more."""


class Holder(Protocol):
    """The host, as its shards see it."""

    @property
    def broker(self) -> Broker:
        """The connection to NATS."""
        ...

    @property
    def outlet(self) -> Outlet:
        """Where events go."""
        ...

    @property
    def sessions(self) -> ClusterSessions:
        """Where sessions are kept."""
        ...

    @property
    def app(self) -> str:
        """The name of the cluster."""
        ...

    @property
    def id(self) -> str:
        """Of the host."""
        ...

    @property
    def times(self) -> Times:
        """Of leases."""
        ...

    @property
    def kept(self) -> dict[tuple[int, int], Kept]:
        """Sessions of shards whose leases were lost, by ``(total, shard id)``."""
        ...

    def make_life(self, total: int, shard_id: int) -> Life:
        """A shard that is not opened yet."""
        ...

    def retire_life(self, life: Life) -> None:
        """It is over for good."""

    def publishes(self, total: int) -> bool:
        """Whether what workers hear of the shards of this total leaves the host."""
        ...

    def left(self, held: "HeldShard") -> None:
        """It is not this host's any more."""

    def refused(self, held: "HeldShard", error: Exception) -> None:
        """It cannot be opened: Discord refuses it, or a setting is wrong."""

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a task until it is done."""


class HeldShard:
    """A shard, from the taking of its lease on."""

    def __init__(self, holder: Holder, total: int, shard_id: int) -> None:
        """Nothing is taken yet."""
        self._holder: Final = holder
        self.total: Final = total
        self.shard_id: Final = shard_id
        self.lease: Final = ShardLease(
            holder.broker,
            holder.app,
            holder.id,
            total,
            shard_id,
            times=holder.times,
            status=lambda: (self.status.name, holder.publishes(total)),
            renewed=self._renewed,
            lost=self._lost,
        )
        self.life: Life | None = None
        self.is_leaving = False
        """Whether it is being given up, or has been."""
        self._published = False
        """Whether the outlet has its events."""
        self._commands: CommandServer | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._last_mark: Session | None = None
        self._ours: Kept | None = None
        """What the holder has kept of it, until it is opened."""

    def __repr__(self) -> str:
        """Which."""
        return f"<HeldShard {self.shard_id} of {self.total} {self.status.name}>"

    @property
    def place(self) -> tuple[int, int]:
        """``(total, shard id)``."""
        return self.total, self.shard_id

    @property
    def status(self) -> GatewayStatus:
        """Where it stands."""
        return GatewayStatus.UNCONNECTED if self.life is None else self.life.status

    @property
    def is_ready(self) -> bool:
        """Whether it is READY."""
        return self.status is GatewayStatus.READY

    @property
    def can_move(self) -> bool:
        """Whether another host can have it without that an IDENTIFY was in vain."""
        under_way = (GatewayStatus.WAITING_FOR_READY, GatewayStatus.RESUMING)
        return not self.is_leaving and self.status not in under_way

    # ------------------------------------------------------------------ begin

    def begin(self) -> None:
        """Connect it. What comes of that the holder hears."""
        self._beginning = spawn(self._begin(), "propylon shard start")

    async def _begin(self) -> None:
        try:
            kept = await self._where_to_go_on()
            published = {} if kept is None else await self._published_of(kept)
            if not self.lease.is_held or self.is_leaving:
                return
            holder = self._holder
            life = self.life = holder.make_life(self.total, self.shard_id)
            self._ours = None
            if kept is not None:
                self._go_on(life, kept.session)
            self._published = True
            holder.outlet.add(life.shard, self.lease.epoch, published)
            self._renewed(self.lease.held_until)
            self._commands = CommandServer(
                holder.broker, holder.app, self.total, self.shard_id, life.commands, life.shard
            )
            self._commands.start()
            await self._open(life)
        except Exception as error:
            if not self.is_leaving:
                self._holder.refused(self, error)

    def _go_on(self, life: Life, session: Session) -> None:
        try:
            life.session = session
        except ValueError:
            _log.warning(
                "the session of shard %d of %d is one of other intents; identifying anew", self.shard_id, self.total
            )

    async def _open(self, life: Life) -> None:
        # What comes of it the shard tells, as any other.
        with contextlib.suppress(PropylonError):
            await life.open(None)

    def open_again(self, wait: float = _AGAIN) -> None:
        """Open it once more after so many seconds: it has ended, and this host still has it."""
        life = self.life
        assert life is not None

        async def again() -> None:
            await asyncio.sleep(wait)
            if self.lease.is_held and not (self.is_leaving or life.under_way):
                await self._open(life)

        self._beginning = spawn(again(), "propylon shard start")

    async def _where_to_go_on(self) -> Kept | None:
        """The session to resume. Waits for the broker, for as long as the lease is held."""
        ours = self._ours = self._holder.kept.pop(self.place, None)
        while True:
            try:
                theirs, claimed = await self._holder.sessions.look(self.total, self.shard_id)
                break
            except AWAY:
                if not self.lease.is_held or self.is_leaving:
                    return None
        kept = newer(ours, theirs, claimed)
        return await self._by_the_server(kept) if kept is not None and kept is ours else kept

    async def _by_the_server(self, ours: Kept) -> Kept:
        """With its time as the server tells it, whose clock need not be this one's: the lease was written just now."""
        entry = None
        with contextlib.suppress(*AWAY):
            entry = await self._holder.broker.get(bucket(self._holder.app), lease_key(self.total, self.shard_id))
        if entry is None:
            # Then all of the stream is looked through.
            return ours._replace(at=0.0)
        return ours._replace(at=entry.created - (asyncio.get_running_loop().time() - ours.at))

    async def _published_of(self, kept: Kept) -> dict[int, int]:
        """What must not be published again. Not known, it is: a worker may hear it twice then, and misses nothing."""
        for _ in range(_LOOKS):
            try:
                return await self._holder.outlet.published(kept.session.id, kept.at - _EARLIER)
            except AWAY as error:
                _log.debug("what is published of shard %d is not known yet: %s", self.shard_id, error)
        _log.warning("what is published of shard %d could not be found out; some of it may come twice", self.shard_id)
        return {}

    # ------------------------------------------------------------------ while it is held

    def changed(self) -> None:
        """Its status has: all hosts hear of it by the lease."""
        self.lease.changed()

    def _renewed(self, until: float) -> None:
        if self.life is not None and self._published:
            left = until - asyncio.get_running_loop().time()
            if not self._holder.outlet.renewed(self.life.shard.key, time.monotonic() + left):
                self.lease.lose("it was renewed too late")

    def _lost(self, why: str) -> None:
        """Somebody else may have it by now, or in a moment: nothing more leaves."""
        if not self.is_leaving:
            _log.warning("shard %d of %d: the lease is lost, %s", self.shard_id, self.total, why)
        life = self.life
        if life is not None:
            if self._published:
                self._holder.outlet.lost(life.shard.key)
            self._last_mark = _marked(life)
            life.hang_up(4000, "the lease is lost")
        self._holder.keep(self.leave())

    # ------------------------------------------------------------------ end

    def leave(self, code: int = 4000, *, forget: bool = False) -> asyncio.Task[None]:
        """Give it up: close, publish what came, save the session, and let go of the lease. One task, however often.

        ``forget``: nobody goes on with it, because the number of shards is another one.
        """
        if self._leaving is None:
            self.is_leaving = True
            leaving = self._leave(code, forget=forget)
            self._leaving = spawn(leaving, "propylon shard end")
        return self._leaving

    async def _leave(self, code: int, *, forget: bool) -> None:
        if self._commands is not None:
            self._commands.stop()
        life = self.life
        try:
            if life is None:
                await self._stop_beginning()
            else:
                await life.close(code)
                await self._stop_beginning()
                await self._flush(life)
                await self._save(life, forget=forget)
        except Exception:
            _log.exception("shard %d of %d did not end as it should", self.shard_id, self.total)
        finally:
            life = self.life
            if life is not None:
                if self._published:
                    self._holder.outlet.remove(life.shard.key)
                self._holder.retire_life(life)
            if self._ours is not None and not forget:
                self._holder.kept[self.place] = self._ours
            self._holder.sessions.forget(self.total, self.shard_id)
            try:
                await self.lease.release()
            finally:
                self._holder.left(self)

    async def _stop_beginning(self) -> None:
        task = self._beginning
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    async def _flush(self, life: Life) -> None:
        loop = asyncio.get_running_loop()
        over = loop.time() + _FLUSHING
        while self._published and self.lease.is_held and not self._holder.outlet.flushed(life.shard.key):
            if loop.time() > over:
                _log.warning(
                    "shard %d: the broker takes events too slowly; those that wait come again by its RESUME",
                    self.shard_id,
                )
                return
            await asyncio.sleep(_FLUSH_POLL)

    async def _save(self, life: Life, *, forget: bool) -> None:
        """Once more after the shard's keeper: by now all is acknowledged."""
        session = _marked(life) or self._last_mark
        if forget:
            with contextlib.suppress(*AWAY):
                await self._holder.sessions.remove(self.total, self.shard_id)
            return
        if session is None:
            return
        if self.lease.is_held:
            try:
                await self._holder.sessions.keep(self.total, self.shard_id, session, self.lease.epoch)
            except (*AWAY, SessionTakenOver) as error:
                _log.warning("the session of shard %d could not be saved: %s", self.shard_id, error)
            else:
                return
        # The lease may come back to this host, and nobody else may have had it meanwhile.
        self._holder.kept[self.place] = Kept(session, self.lease.epoch, asyncio.get_running_loop().time() - _UNSAVED)


def _marked(life: Life) -> Session | None:
    """The session up to what is acknowledged; None where there is nothing to go on from."""
    mark = life.shard.mark
    if mark is None:
        return None
    session = Session(*mark[0])
    return session if session.sequence else None
