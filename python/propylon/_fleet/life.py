"""The life of a fleet in its event loop: opened together, ended together, and what becomes of one shard meanwhile.

Builds the shards and is the one that knows them all. What users see of it is `propylon._fleet.manager`'s, how another
number of shards takes over `propylon._fleet.resharding`'s.

Over 500 lines because what opens, ends and replaces shards turns on the same few futures.
"""

import asyncio
import contextlib
import logging
import os
import time
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import propylon._core as _core
from propylon._arguments import check_seconds
from propylon._delivery.plans import Plans
from propylon._fleet.asking import Counsel, refuse_over_budget
from propylon._fleet.counters import none, summed
from propylon._fleet.fill import fitting_total, watch_fill
from propylon._fleet.making import Maker
from propylon._fleet.news import all_told, emit
from propylon._fleet.permits import Permits
from propylon._fleet.resharding import Resharding
from propylon._fleet.spread import Recommended, Wanted, named, shard_of, wrong_shard
from propylon._fleet.team import Team
from propylon._gateway.admin import Admin
from propylon._gateway.intents import AskedIntents
from propylon._gateway.life import Life, close_code
from propylon._gateway.metrics import Metrics
from propylon._listening.entry import Entry
from propylon._listening.face import ListenerFace
from propylon._listening.lifespan import Lifespan
from propylon._sessions.gates import IdentifyGate
from propylon._sessions.session import Closed, GatewayStatus, worst
from propylon.errors import (
    ForkedError,
    GatewayClosed,
    IdentifyBudgetExhausted,
    NotConnected,
    PropylonError,
    SessionTakenOver,
    ShardingRequired,
    WrongShard,
)
from propylon.logs import flush_bursts

__all__ = ["FleetLife"]

_log: Final = logging.getLogger("propylon.gateway")

_NAMED: Final = 20
"""Shards that an error names one by one."""


class FleetLife:
    """The life of one fleet, over any number of openings."""

    def __init__(
        self,
        owner: object,
        maker: Maker,
        counsel: Counsel,
        *,
        intents: AskedIntents,
        wanted: Wanted,
        gate: IdentifyGate | None,
        keeps: bool,
        auto_reconnect: bool,
        lifespan: Lifespan,
        admin: Admin,
        auto_reshard: bool,
        reshard_at: float,
    ) -> None:
        """``owner`` is what listeners are given; ``keeps``: there is a session store."""
        self._pid: Final = os.getpid()
        self._owner: Final = owner
        self._maker: Final = maker
        self._counsel: Final = counsel
        self._intents: Final = intents
        self._wanted = wanted
        self._permits: Final = None if gate is None else Permits(gate)
        self._keeps: Final = keeps
        self._auto_reconnect: Final = auto_reconnect
        self.lifespan: Final = lifespan
        self.admin: Final = admin
        self._auto_reshard: Final = auto_reshard
        self._reshard_at: Final = reshard_at
        self.listening: Final = ListenerFace(
            owner, lifespan, check_usable=self.check_usable, adding=self._before_adding
        )
        self.plans: Final = Plans(self.listening.registry)
        self.room: _core.Room | None = None
        self.team: Team | None = None
        """The shards that commands go to."""
        self.beside: Team | None = None
        """Those of a total that comes or goes, while the fleet is resharded."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[PropylonError | None] | None = None
        self._unraised: PropylonError | None = None
        self._waiters = 0
        self._closing = False
        self._failure: PropylonError | None = None
        self._told_ready = False
        self._all_guilds: asyncio.Future[None] | None = None
        self._restarting: Final[set[Life]] = set()
        self._reopening: Final[dict[Life, asyncio.Task[None]]] = {}
        """Shards that wait for the day's budget."""
        self._last_end: PropylonError | None = None
        """Of a shard that is not opened again, while others go on."""
        self._resharding: Resharding | None = None
        self._by_itself: asyncio.Task[None] | None = None
        """Reshards because Discord asks for it, or the shards are full."""
        self._watching: asyncio.Task[None] | None = None
        self._background: Final[set[asyncio.Task[Any]]] = set()
        self._retired = none()
        self.was_served = False
        """Whether `serve` or `run` has been called."""

    # ------------------------------------------------------------------ reading

    @property
    def intents(self) -> AskedIntents:
        """What is asked for."""
        return self._intents

    @property
    def is_of_this_process(self) -> bool:
        """Whether it was made here, and not by the parent before a fork."""
        return os.getpid() == self._pid

    @property
    def status(self) -> GatewayStatus:
        """The worst of the shards'."""
        if self.team is None:
            return GatewayStatus.UNCONNECTED
        return worst(life.status for life in self.team)

    @property
    def latency(self) -> float | None:
        """The mean of those that know theirs."""
        known = [] if self.team is None else [life.shard.latency for life in self.team]
        measured = [latency for latency in known if latency is not None]
        return sum(measured) / len(measured) if measured else None

    def metrics(self) -> Metrics:
        """The sum over all shards, closed ones of earlier totals among them."""
        each = [self._retired, *(life.metrics() for team in self._teams() for life in team)]
        return summed(each)

    def metrics_by_shard(self) -> dict[int, Metrics]:
        """Of each shard that is there now."""
        return {} if self.team is None else {shard_id: life.metrics() for shard_id, life in self.team.lives.items()}

    def _teams(self) -> list[Team]:
        """All shards that there are."""
        return [team for team in (self.team, self.beside) if team is not None]

    # ------------------------------------------------------------------ checks

    def check_process(self) -> None:
        """Raise ForkedError where it belongs to the parent process."""
        if not self.is_of_this_process:
            raise ForkedError("this manager belongs to the parent process; make a new one after fork()")

    def check_usable(self) -> None:
        """Raise where this process or loop must not use it; move it to this loop, where its own has died."""
        self.check_process()
        if self._ended is not None and not self._ended.done():
            self._adopt(self._ended)

    def _before_adding(self, entries: Sequence[Entry]) -> None:
        self.check_process()
        self._intents.heard(entries, running=self._ended is not None and not self._ended.done())

    def is_open(self) -> bool:
        """Whether it is open, in this loop. Raises RuntimeError where it is in another."""
        if self._ended is None or self._ended.done():
            return False
        self._adopt(self._ended)
        return True

    def _adopt(self, ended: asyncio.Future[PropylonError | None]) -> asyncio.Future[PropylonError | None]:
        """As a gateway's: an open fleet is used in its loop; one whose loop has died moves to the running one."""
        loop = asyncio.get_running_loop()
        if self._loop is loop or self._loop is None:
            return ended
        if not self._loop.is_closed():
            raise RuntimeError("an open manager belongs to the event loop in which it was opened")
        self._loop = loop
        self._opened = None
        ended = self._ended = self._new_end(loop)
        self._background.clear()
        if self._permits is not None:
            self._permits.adopt()
        # What ran in the other loop has ended with it.
        self._watching = self._by_itself = self._all_guilds = None
        self._reopening.clear()
        self._restarting.clear()
        resharding, self._resharding = self._resharding, None
        for team in self._teams():
            team.starting.clear()
            for life in team:
                life.check_usable()
        if resharding is not None:
            self._keep(loop.create_task(resharding.end_of_orphan(), name="propylon reshard"))
        self._watch()
        return ended

    # ------------------------------------------------------------------ open

    async def open(self, timeout: float | None) -> None:
        """Connect all shards, and return when each is READY or RESUMED."""
        self.check_process()
        check_seconds("open()", timeout=timeout)
        if self._ended is not None and not self._ended.done():
            raise RuntimeError("the manager is open already; close it first, or make another one")
        self._intents.derive(self.listening.registry.entries)
        self.admin.open()
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._closing = False
        self._unraised = self._failure = self._last_end = None
        self._told_ready = False
        opened = self._opened = loop.create_future()
        ended = self._ended = self._new_end(loop)
        starting = self._keep(loop.create_task(self._start(opened), name="propylon fleet start"))
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(opened)
        except TimeoutError:
            if opened.done() and (error := opened.exception()) is not None:
                await asyncio.shield(ended)
                raise error from None
            missing = self._missing()
            await self.close(None)
            raise TimeoutError(f"the fleet was not ready within {timeout} s{missing}") from None
        except asyncio.CancelledError:
            await self.close(None)
            raise
        except Exception:
            # Whoever hears of it may open it again.
            await asyncio.shield(ended)
            raise
        finally:
            if opened.done() and not opened.cancelled():
                opened.exception()
                if opened.exception() is not None and not starting.done():
                    starting.cancel()
            else:
                opened.cancel()

    def _new_end(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[PropylonError | None]:
        ended: asyncio.Future[PropylonError | None] = loop.create_future()
        # Before whoever waits for the end, and may open another manager there.
        ended.add_done_callback(lambda _: self.admin.close())
        return ended

    def _missing(self) -> str:
        if self.team is None:
            return ": Discord has not said yet how many shards there should be"
        missing = [(shard_id, life) for shard_id, life in self.team.lives.items() if not _is_ready(life)]
        named = ", ".join(f"{shard_id} ({life.status.name})" for shard_id, life in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        return f": {len(missing)} of {len(self.team.ids)} shards are missing: {named}{more}" if missing else ""

    async def _start(self, opened: asyncio.Future[None]) -> None:
        """Raises nothing: what goes wrong is the opening's."""
        try:
            ids, total, recommended = await self._settle_shards()
            if self._closing:
                raise NotConnected("the manager was closed while it was opening")
            team = self.team
            if not self._keeps and recommended is not None:
                # With a store nobody knows yet how many resume.
                known = [] if team is None or team.total != total else [life for life in team if life.session]
                refuse_over_budget(recommended, len(ids) - len(known))
            if team is None or (team.ids, team.total) != (ids, total):
                earlier, team = team, self.new_team(ids, total)
                if earlier is not None:
                    self.retire(earlier)
                self.team = team
            self.start_team(team)
            if self._closing:
                return
            self._watch()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._failed_to_open(opened, error)

    def _failed_to_open(self, opened: asyncio.Future[None], error: Exception) -> None:
        if not opened.done():
            opened.set_exception(error)
        if self._ended is not None and not self._ended.done() and (self.team is None or self.team.is_over):
            self._ended.set_result(None)

    def new_team(self, ids: tuple[int, ...], total: int) -> Team:
        """Shards of another total, not opened yet; they have room of their own."""
        self.room = self._maker.room(len(ids))
        return self._maker.team(ids, total, self)

    async def _settle_shards(self) -> tuple[tuple[int, ...], int, Recommended | None]:
        """Which shards there are; Discord is asked where it has a say."""
        recommended: Recommended | None = None
        if self._wanted.total is None or self._counsel.is_asked:
            recommended = await self._counsel.asked()
        ids, total = self._wanted.settled(recommended)
        return ids, total, recommended

    def start_team(self, team: Team) -> None:
        """Open each of its shards, in a task of its own; they wait for no other."""
        loop = asyncio.get_running_loop()
        team.closed.clear()
        team.told.clear()
        for life in team:
            # Also before its turn to open: all of them are to be READY.
            self.admin.show(life.shard)
        for life in team:
            if self._counsel.url is not None:
                life.shard.set_known_url(self._counsel.url)
            task = loop.create_task(life.open(None), name="propylon shard start")
            # A loop that ends without cancelling its tasks needs no word about this one.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            team.starting[task] = life

            def started(task: asyncio.Task[None], life: Life = life) -> None:
                team.starting.pop(task, None)
                error = None if task.cancelled() else task.exception()
                if error is not None and not isinstance(error, PropylonError):
                    # A store that is set up wrong, for one.
                    self._fail(error)
                self._look(team)

            task.add_done_callback(started)

    def took_over(self, old: Team, new: Team) -> None:
        """From now on it is the new team that commands go to, and whose news are told."""
        self.team, self.beside = new, old
        old.retired = True
        # Another opening begins with as many.
        self._wanted = Wanted(None if len(new.ids) == new.total else new.ids, new.total)
        if self._opened is not None and not self._opened.done():
            # Discord refused the first number of shards.
            self._opened.set_result(None)
        self._look_for_guilds()

    def retire(self, team: Team) -> None:
        """Its shards are closed for good; what they counted is kept."""
        self._retired = summed([self._retired, *(life.metrics() for life in team)], of_now=False)
        for life in team:
            self.listening.unbind(life.consumer)
            self.admin.hide(life.shard)

    def _keep(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        # A loop that ends without cancelling its tasks needs no word about these.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return task

    # ------------------------------------------------------------------ what the shards tell

    def shard_ready(self, life: Life, *, resumed: bool) -> None:
        """READY or RESUMED is in."""
        for of in self._teams():
            if of.owns(life):
                of.told.add(life)
        self._tell_resharding()
        self._emit_of(life, "SHARD_RESUMED" if resumed else "SHARD_READY")
        team = self.team
        if team is not None and team.owns(life):
            if self._opened is not None and not self._opened.done() and team.is_ready:
                self._opened.set_result(None)
            self._look_for_guilds()

    def guilds_ready(self, life: Life) -> None:
        """Each guild of READY has been heard of."""
        self._look_for_guilds()
        self._tell_resharding()

    def _tell_resharding(self) -> None:
        if self._resharding is not None:
            self._resharding.heard()

    def _look_for_guilds(self) -> None:
        team = self.team
        if team is not None and team.has_guilds:
            # What each shard tells of itself comes before what the fleet tells.
            if team.is_told and not self._told_ready:
                self._told_ready = True
                self._keep(asyncio.get_running_loop().create_task(self._emit_fleet_ready(team), name="propylon fleet"))
            if self._all_guilds is not None and not self._all_guilds.done():
                self._all_guilds.set_result(None)

    def shard_closed(self, life: Life, closed: Closed) -> None:
        """A connection has ended."""
        facts = {"code": closed.code, "reason": closed.reason, "reconnect": closed.reconnect}
        self._emit_of(life, "SHARD_CLOSED", **facts)

    def hears(self, life: Life) -> bool:
        """Whether it is one of the fleet, and not of those that come or go while that is resharded."""
        return self.team is not None and self.team.owns(life)

    async def _emit_fleet_ready(self, team: Team) -> None:
        await all_told(team)
        if not (self._closing or team.retired):
            data = {"shard_ids": team.ids, "shard_count": team.total, "guild_count": team.guild_count}
            emit(self.listening.registry, next(iter(team)), "FLEET_READY", data)

    def _emit_of(self, life: Life, event: str, **facts: Any) -> None:
        if self.hears(life) and life.shard_pair is not None:
            shard_id, total = life.shard_pair
            emit(self.listening.registry, life, event, {"shard_id": shard_id, "shard_count": total, **facts})

    def permit(self, life: Life, kind: str, number: int, max_concurrency: int = 0) -> None:
        """The gate outside of the engine is asked, or what it gave is given back."""
        if self._permits is None:
            return
        if kind == "permit wanted":
            self._permits.wanted(life, number, max_concurrency)
        else:
            self._permits.over(life, number)

    def shard_ended(self, life: Life, error: PropylonError | None) -> None:
        """A shard is closed, and makes no further connection."""
        for team in self._teams():
            if team.owns(life):
                self._shard_ended(team, life, error)
                return

    def _shard_ended(self, team: Team, life: Life, error: PropylonError | None) -> None:
        assert life.shard_pair is not None
        shard_id, _ = life.shard_pair
        if self._closing or team.retired:
            pass
        elif team is self.beside and self._resharding is not None:
            if error is not None:
                self._resharding.failed(error)
        elif error is None:
            if life not in self._restarting:
                _log.info("shard %d is closed; the others go on", shard_id, extra={"shard": shard_id})
        elif isinstance(error, SessionTakenOver) and self._opened is not None and not self._opened.done():
            # Another process has some of the shards: this one will not have all of them.
            self._fail(error)
        elif isinstance(error, SessionTakenOver) or (type(error) is GatewayClosed and self._auto_reconnect):
            # Taken over, or an `on_close` handler wants no more of it: of the last one it is the end of the fleet.
            level = logging.INFO if isinstance(error, SessionTakenOver) else logging.WARNING
            _log.log(level, "shard %d has ended: %s", shard_id, error, extra={"shard": shard_id})
            self._last_end = error
        elif isinstance(error, IdentifyBudgetExhausted) and self._opened is not None and self._opened.done():
            self._reopen_at(life, error.resets_at)
        elif isinstance(error, ShardingRequired) and self._may_reshard():
            _log.warning(
                "shard %d has more guilds than Discord allows: resharding", shard_id, extra={"shard": shard_id}
            )
            self._begin_auto_reshard(error)
        else:
            self._fail(error)
        # After the callbacks of what the shard's end has set.
        asyncio.get_running_loop().call_soon(self._look, team)

    def _reopen_at(self, life: Life, resets_at: float) -> None:
        assert life.shard_pair is not None
        wait = max(resets_at - time.time(), 1.0)
        shard_id = life.shard_pair[0]
        _log.error(
            "shard %d has no IDENTIFY left today; it is opened again in %.0f s",
            shard_id,
            wait,
            extra={"shard": shard_id},
        )

        async def reopen() -> None:
            try:
                await asyncio.sleep(wait)
            finally:
                self._reopening.pop(life, None)
            if not (self._closing or life.under_way):
                self._open_again(life)

        task = asyncio.get_running_loop().create_task(reopen(), name="propylon shard start")
        self._reopening[life] = self._keep(task)

    def _fail(self, error: BaseException) -> None:
        """One shard is refused for good: the fleet stops, with this error."""
        if self._closing:
            return
        if isinstance(error, PropylonError):
            self._failure = error
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
        self._close_all(4000 if self._keeps else 1000, "another shard was refused")

    def _look(self, team: Team) -> None:
        """Whether that was the last one."""
        self._tell_resharding()
        if self._ended is None or self._ended.done():
            return
        if (self._restarting or self._reopening) and not self._closing:
            return
        by_itself = self._by_itself is not None and not self._by_itself.done()
        if (by_itself or self._resharding is not None) and not self._closing:
            return
        if team is self.team and team.is_over and (self.beside is None or self.beside.is_over):
            self._conclude()

    def _conclude(self) -> None:
        error = self._failure or (None if self._closing else self._last_end)
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        for task in list(self._background):
            if task is not asyncio.current_task():
                task.cancel()
        self.listening.end(error)
        self.listening.ended()
        told = False
        if self._opened is not None and not self._opened.done():
            told = error is not None
            self._opened.set_exception(error or NotConnected("the manager was closed while it was opening"))
        elif self._opened is not None and not self._opened.cancelled():
            told = self._opened.exception() is not None
        if self._all_guilds is not None and not self._all_guilds.done():
            self._all_guilds.cancel()
        self._all_guilds = None
        assert self._ended is not None
        self._unraised = None if told else error
        if self._unraised is not None and not self._waiters:
            _log.error("the fleet has ended: %s", error)
        self._ended.set_result(self._unraised)
        flush_bursts()

    # ------------------------------------------------------------------ close

    async def close(
        self, code: int | None, reason: str = "", *, resumable: bool | None = None, drain: float | None = None
    ) -> None:
        """Close all connections and wait until they are closed."""
        self.check_process()
        check_seconds("close()", drain=drain)
        code = close_code(code, reason, resumable=resumable, keeps=self._keeps)
        ended = self._ended
        if ended is None or ended.done():
            return
        ended = self._adopt(ended)
        task = asyncio.current_task()
        lives = [life for team in self._teams() for life in team]
        if task is not None:
            for life in lives:
                life.consumer.count_as_finished(task)
        try:
            if drain is not None:
                for life in lives:
                    life.consumer.suspend()
                self.listening.end(None)
                over = time.monotonic() + drain
                await self._settle(lives, drain)
                # Those who read batches have had this time as well.
                await self.listening.acknowledged(max(over - time.monotonic(), 0))
        finally:
            self._close_all(code, reason)
        if any(life.awaits(task) for life in lives):
            # An `on_close` handler: the end waits for it, so it must not wait for the end.
            return
        await asyncio.shield(ended)
        self._unraised = None

    def _close_all(self, code: int, reason: str) -> None:
        self._closing = True
        if self._resharding is not None:
            self._resharding.cancel()
        for task in list(self._reopening.values()):
            task.cancel()
        for team in self._teams():
            team.stop_starting()
            for life in team:
                # The shards of a total that has not taken over yet have nothing to keep.
                life.hang_up(1000 if team is self.beside else code, reason)
        for task in list(self._background):
            if task is not asyncio.current_task() and task.get_name() == "propylon fleet start":
                task.cancel()
        asyncio.get_running_loop().call_soon(self._look_after_close)

    def _look_after_close(self) -> None:
        if self.team is not None:
            self._look(self.team)
        elif self._ended is not None and not self._ended.done():
            # It was closed before it knew how many shards there are.
            self._conclude()

    async def settle(self, seconds: float) -> None:
        """Let calls of listeners finish for so many seconds, then cancel them and wait until they have ended."""
        await self._settle([life for team in self._teams() for life in team if life.consumer.pending], seconds)

    @staticmethod
    async def _settle(lives: Sequence[Life], seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        with contextlib.ExitStack() as stack:
            # In all of them before any waits: two listeners that do this must not wait for each other.
            for life in lives:
                stack.enter_context(life.consumer.excusing(task))
            if lives:
                await asyncio.gather(*(life.consumer.settle(seconds) for life in lives))

    async def wait_closed(self) -> None:
        """Return when all are closed."""
        self.check_process()
        if self._ended is None:
            return
        if any(life.awaits(asyncio.current_task()) for life in self.team or ()):
            raise RuntimeError("an on_close handler cannot wait for the end, because the end waits for it")
        if self._ended.done():
            error, self._unraised = self._unraised, None
        else:
            ended = self._adopt(self._ended)
            self._waiters += 1
            try:
                error = await asyncio.shield(ended)
            finally:
                self._waiters -= 1
            self._unraised = None
        if error is not None:
            raise error

    async def replay(self, chunks: "AsyncIterator[list[_core.Fed]]", drain: float) -> int:
        """Hand events that no connection brings to the listeners, by way of one shard; how many."""
        self.check_process()
        if self._ended is not None and not self._ended.done():
            raise RuntimeError("the manager is open; close it before a recording is replayed")
        life = self._maker.team((0,), 1, self).lives[0]
        try:
            return await life.replay(chunks, drain)
        finally:
            self.listening.unbind(life.consumer)
            self._retired = summed([self._retired, life.metrics()])

    async def wait_guilds_ready(self, timeout: float | None) -> None:
        """Return when each guild of each shard has been heard of."""
        self.check_process()
        check_seconds("wait_guilds_ready()", timeout=timeout)
        if self._ended is None or self._ended.done():
            raise NotConnected("the manager is not open; open it first")
        ended = self._adopt(self._ended)
        while not (self.team is not None and self.team.has_guilds):
            if self._all_guilds is None or self._all_guilds.done():
                self._all_guilds = asyncio.get_running_loop().create_future()
            either: set[asyncio.Future[Any]] = {self._all_guilds, ended}
            async with asyncio.timeout(timeout):
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise NotConnected("the manager was closed before all guilds were there")

    async def left_open(self) -> None:
        """The loop has nothing left to do but this."""
        try:
            if not self._closing:
                self._warn_of_open("left open at the end of its event loop")
        finally:
            await self.close(None)

    def forgotten(self) -> None:
        """Nobody has the manager any more, and its loop was closed by hand."""
        lives = [life for team in self._teams() for life in team]
        if self.is_of_this_process and any(life.shard.running for life in lives):
            try:
                self._warn_of_open("forgotten while it was open")
            finally:
                for life in lives:
                    life.shard.close(4000 if self._keeps else 1000, "")

    def _warn_of_open(self, how: str) -> None:
        advice = "close it by `async with`, or by serve() or run(), which do so at signals too"
        warnings.warn(f"{self._owner!r} was {how}: {advice}", ResourceWarning, stacklevel=4, source=self._owner)

    # ------------------------------------------------------------------ one shard

    def _check_current(self, life: Life) -> None:
        if self.team is None or not self.team.owns(life):
            raise NotConnected(
                f"shard {life.shard_pair} is none of the manager's any more; take it from manager.shards"
            )

    async def close_shard(self, life: Life) -> None:
        """Close one; the others go on."""
        self.check_usable()
        self._check_current(life)
        assert self.team is not None
        self.team.closed.add(life)
        await life.close(1000)
        # It is not to be READY any more.
        self.admin.hide(life.shard)
        if self._opened is not None and not self._opened.done() and self.team.is_ready and not self.team.is_over:
            self._opened.set_result(None)

    async def restart_shard(self, life: Life, code: int) -> None:
        """Close one and open it again."""
        self.check_usable()
        if self._closing or self._ended is None or self._ended.done():
            raise NotConnected("the manager is not open; open it first")
        self._check_current(life)
        self._restarting.add(life)
        try:
            await life.close(code)
            if self._closing:
                raise NotConnected("the manager was closed meanwhile")
            if self.team is not None:
                self.team.closed.discard(life)
            await life.open(None)
        except asyncio.CancelledError:
            # Nobody waits for it any more; closed is not what was asked for.
            if not (self._closing or life.under_way):
                self._open_again(life)
            raise
        finally:
            self._restarting.discard(life)
            if self.team is not None:
                self._look(self.team)

    def _open_again(self, life: Life) -> None:
        async def again() -> None:
            # What comes of it the shard tells, as any other.
            with contextlib.suppress(PropylonError):
                await life.open(None)

        self._keep(asyncio.get_running_loop().create_task(again(), name="propylon shard start"))

    # ------------------------------------------------------------------ whose a guild is

    def life_of_guild(self, guild_id: int) -> Life:
        """The shard that has a guild. Raises WrongShard where another process has it, NotConnected where none does."""
        self.check_usable()
        if self.team is None:
            raise NotConnected("the manager is not open; open it first")
        shard_id = shard_of(guild_id, self.team.total)
        life = self.team.lives.get(shard_id)
        if life is None:
            raise wrong_shard(guild_id, shard_id, self.team.ids, self.team.total)
        return life

    def life_of_shard(self, shard_id: int) -> Life:
        """A shard of this process. Raises WrongShard where it is none."""
        self.check_usable()
        if self.team is None:
            raise NotConnected("the manager is not open; open it first")
        life = self.team.lives.get(shard_id)
        if life is None:
            raise WrongShard(f"this process has no shard {shard_id!r:.100}; it has {named(self.team.ids)}", shard_id)
        return life

    def open_lives(self) -> dict[int, Life]:
        """The shards that are open, by their ids. Raises NotConnected where the fleet is not."""
        self.check_usable()
        if self.team is None or self._ended is None or self._ended.done():
            raise NotConnected("the manager is not open; open it first")
        return {shard_id: life for shard_id, life in self.team.lives.items() if life.under_way}

    def show(self, presence_of: Callable[[int], str | None]) -> None:
        """The presence, as JSON, of shards that are made from now on, and of those that are about to take over."""
        self._maker.presence_of = presence_of
        if self.beside is not None and not self.beside.retired:
            for shard_id, life in self.beside.lives.items():
                presence = presence_of(shard_id)
                if presence is not None:
                    # Under a number that nobody waits for.
                    life.shard.set_presence(0, presence)

    # ------------------------------------------------------------------ another number of shards

    async def reshard(self, total: int | None, shards: Any, window: float) -> None:
        """Let another number of shards take over."""
        self.check_usable()
        check_seconds("reshard()", window=window)
        team = self.team
        if team is None or self._closing or self._ended is None or self._ended.done():
            raise NotConnected("the manager is not open; open it first")
        if self._resharding is not None:
            raise RuntimeError("the fleet is being resharded already; wait for that")
        resharding = Resharding(self, self._counsel, team, total, shards, window)
        self._resharding = resharding
        try:
            await resharding.run()
        finally:
            if self._resharding is resharding:
                self._resharding = None
            if self.team is not None:
                self._look(self.team)

    def _may_reshard(self) -> bool:
        return self._auto_reshard and self.team is not None and len(self.team.ids) == self.team.total

    def _begin_auto_reshard(self, refused: ShardingRequired | None) -> None:
        """``refused``: Discord does not have as many as there are."""
        under_way = self._by_itself is not None and not self._by_itself.done()
        if self._resharding is None and not under_way and not self._closing:
            task = asyncio.get_running_loop().create_task(self._reshard_by_itself(refused), name="propylon reshard")
            self._by_itself = self._keep(task)

    async def _reshard_by_itself(self, refused: ShardingRequired | None) -> None:
        try:
            await self.reshard(None, "auto", 2.0)
        except NotConnected:
            return
        except Exception as error:
            _log.error("the fleet could not be resharded: %s", error)
            if refused is not None:
                # A shard is missing, and will be.
                refused.__cause__ = error
                self._fail(refused)

    def _watch(self) -> None:
        team = self.team
        if team is not None and len(team.ids) == team.total and self._watching is None:
            task = watch_fill(lambda: None if self._resharding else self.team, self._reshard_at, self._is_full)
            self._watching = asyncio.get_running_loop().create_task(task, name="propylon fill")
            # A loop that ends without cancelling its tasks needs no word about this one.
            self._watching._log_destroy_pending = False  # type: ignore[attr-defined]

    def _is_full(self, team: Team, fill: float) -> None:
        guilds = f"{team.guild_count:,} guilds on {team.total} shards, {fill:.0%} of what they may have"
        if self._may_reshard():
            _log.warning("%s: resharding", guilds)
            self._begin_auto_reshard(None)
        else:
            fitting = max(fitting_total(team), team.total + 1)
            _log.warning("%s: await manager.reshard(%d), or auto_reshard=True does it by itself", guilds, fitting)


def _is_ready(life: Life) -> bool:
    return life.status is GatewayStatus.READY
