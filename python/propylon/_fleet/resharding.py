"""Another number of shards takes over while the bot runs: nothing is lost, nothing comes twice.

The new shards come up beside the old ones, unheard. When all of them are ready, with their guilds, both are heard for a
while, and the engine drops what the other side has delivered (`_core.Overlap`). When every connection has shown that it
lives, the old shards close.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, Final, Protocol, TypeVar

import propylon._core as _core
from propylon._fleet.asking import Counsel, refuse_over_budget
from propylon._fleet.fill import fitting_total
from propylon._fleet.news import emit
from propylon._fleet.spread import Recommended, rounded, wanted_shards
from propylon._fleet.team import Team
from propylon._gateway.life import Life
from propylon._listening.face import ListenerFace
from propylon._sessions.session import GatewayStatus
from propylon.errors import NotConnected, PropylonError

__all__ = ["Resharding"]

T = TypeVar("T")

_log: Final = logging.getLogger("propylon.gateway")

_LOOK: Final = 0.05
"""Seconds between two looks whether connections have received something, of which there is no news."""
_PATIENCE: Final = 120.0
"""Seconds that old shards have, after the switch, to show that nothing of theirs is on its way any more."""
_PATIENCE_FOR_ANSWERS: Final = 30.0
"""Seconds that commands to them have."""


class Crew(Protocol):
    """The fleet that is resharded."""

    @property
    def listening(self) -> ListenerFace:
        """Of all shards."""
        ...

    beside: Team | None

    def new_team(self, ids: tuple[int, ...], total: int) -> Team:
        """Shards that are not opened yet."""
        ...

    def start_team(self, team: Team) -> None:
        """Open them."""

    def took_over(self, old: Team, new: Team) -> None:
        """The new shards are the fleet's."""

    def retire(self, team: Team) -> None:
        """They are closed for good."""


class Resharding:
    """One change of the number of shards."""

    def __init__(self, crew: Crew, counsel: Counsel, old: Team, total: int | None, shards: Any, window: float) -> None:
        """``total`` None: what Discord recommends, and the guilds need.

        Raises ValueError or TypeError where ``shards`` and ``total`` do not fit.
        """
        self._crew: Final = crew
        self._counsel: Final = counsel
        self._old: Final = old
        self._window: Final = window
        self._total: Final = total
        if shards == "auto" and len(old.ids) != old.total:
            raise ValueError(
                f"this process has {len(old.ids)} of {old.total} shards: say which of the new ones are its own, such "
                "as reshard(64, shards=range(0, 16)), and reshard the other processes at the same time"
            )
        self._wanted: Final = wanted_shards(shards, total)
        self._overlap: Final = _core.Overlap()
        self._new: Team | None = None
        self._failure: PropylonError | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._stopped = False

    def failed(self, error: PropylonError) -> None:
        """One of the new shards has ended."""
        self._failure = self._failure or error
        self.heard()

    def cancel(self) -> None:
        """The fleet is closing."""
        self._stopped = True
        self.heard()

    def heard(self) -> None:
        """There is news of a shard."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _news(self, seconds: float = _LOOK) -> None:
        """Return when there is some, or after so long."""
        self._waiting = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._waiting], timeout=seconds)

    async def end_of_orphan(self) -> None:
        """Its loop has died, in another one: what has not taken over yet is given up."""
        if self._new is not None and self._old.retired:
            await self._close_old(self._old, self._new)
        elif self._new is not None:
            await self._give_up(self._new)

    async def run(self) -> None:
        """Do it. Where that fails, the old shards go on as if nothing had been."""
        crew, old = self._crew, self._old
        if self._total is not None:
            # Told before anybody is asked.
            self._ids_of(self._total)
        recommended = await self._unless_stopped(self._counsel.asked()) if self._counsel.is_asked else None
        total = self._total or self._fitting(recommended)
        ids = self._ids_of(total)
        if recommended is not None:
            refuse_over_budget(recommended, len(ids))
        _log.info("resharding from %d to %d: the new shards start beside the old ones", old.total, total)
        new = self._new = crew.beside = crew.new_team(ids, total)
        for life in old:
            life.shard.overlap(self._overlap)
        for life in new:
            life.shard.overlap(self._overlap, True)
        try:
            crew.start_team(new)
            await self._until(lambda: new.has_guilds)
            self._overlap.ready()
            # What the old shards were sent before the last of the new ones was there has come by then.
            await self._pass(self._window / 2)
            self._check()
            # What an old shard is yet to replay would come behind what the new ones bring.
            await self._until(lambda: new.is_ready and all(_is_done(life) or _is_ready(life) for life in old))
        except GeneratorExit:
            # Its loop has died, and another one goes on: see `orphaned`.
            raise
        except BaseException:
            await asyncio.shield(asyncio.ensure_future(self._give_up(new)))
            raise
        self._overlap.switch()
        crew.took_over(old, new)
        _log.info("%d shards have taken over; the %d old ones are still heard", new.total, old.total)
        try:
            await self._let_old_ones_finish(old, new)
        except GeneratorExit:
            raise
        except BaseException:
            # Cancelled: the new ones have taken over all the same, and two fleets are one too many.
            await asyncio.shield(asyncio.ensure_future(self._close_old(old, new)))
            raise
        await asyncio.shield(asyncio.ensure_future(self._close_old(old, new)))

    def _ids_of(self, total: int) -> tuple[int, ...]:
        """Of the new shards. Raises ValueError where they are the old ones."""
        ids = self._wanted.ids or tuple(range(total))
        if (ids, total) == (self._old.ids, self._old.total):
            raise ValueError(f"there are {total} shards already")
        return ids

    def _fitting(self, recommended: Recommended | None) -> int:
        """The total that the guilds need, and Discord recommends."""
        least = fitting_total(self._old)
        if recommended is None:
            return least
        concurrency = 1 if recommended.budget is None else recommended.budget.max_concurrency
        return rounded(max(recommended.shards, least), concurrency)

    async def _unless_stopped(self, question: Coroutine[Any, Any, T]) -> T:
        """What Discord answers; it may not, for as long as one likes."""
        asking = asyncio.ensure_future(question)
        try:
            while not asking.done():
                self._check()
                self._waiting = asyncio.get_running_loop().create_future()
                either: set[asyncio.Future[Any]] = {asking, self._waiting}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return asking.result()
        finally:
            asking.cancel()

    async def _pass(self, seconds: float) -> None:
        """So long, unless the fleet is closed meanwhile."""
        end = time.monotonic() + seconds
        while not self._stopped and (left := end - time.monotonic()) > 0:
            await self._news(left)

    async def _until(self, condition: Any) -> None:
        while not condition():
            self._check()
            await self._news()
        self._check()

    def _check(self) -> None:
        if self._stopped:
            raise NotConnected("the manager was closed while it was being resharded")
        if self._failure is not None:
            raise self._failure

    async def _give_up(self, new: Team) -> None:
        """The new shards go; the old ones deliver everything again, as they have done all the time."""
        for life in self._old:
            life.shard.overlap(None)
        new.stop_starting()
        for life in new:
            life.hang_up(1000)
        while not new.is_over:
            await self._news()
        self._crew.retire(new)
        if self._crew.beside is new:
            self._crew.beside = None

    async def _let_old_ones_finish(self, old: Team, new: Team) -> None:
        """Until nothing is on its way that only the old shards bring.

        A connection that has broken, and nobody has noticed yet, may still have something to replay: so each has to
        show that it lives, by anything that it receives.
        """
        seen = {life: life.shard.wire_bytes for team in (old, new) for life in team}
        begun = time.monotonic()
        lived: set[Life] = set()
        while True:
            passed = time.monotonic() - begun
            for life, before in seen.items():
                is_ready = _is_ready(life)
                if is_ready and (life in lived or life.shard.wire_bytes != before):
                    lived.add(life)
                elif not is_ready:
                    # What it replays has to come first.
                    lived.discard(life)
                    seen[life] = life.shard.wire_bytes
            over = {life for life in old if _is_done(life)}
            answering = passed < _PATIENCE_FOR_ANSWERS and any(life.commands.waits for life in old)
            if passed >= self._window / 2 and lived | over >= seen.keys() and not answering:
                return
            if self._stopped:
                return
            if passed > _PATIENCE:
                left = [life.shard_pair for life in seen if life not in lived and life not in over]
                _log.warning("old shards are closed although these have not shown that they live: %s", left)
                return
            await self._news()

    async def _close_old(self, old: Team, new: Team) -> None:
        self._overlap.settle()
        for life in old:
            life.hang_up(1000, "resharded", retiring=not self._stopped)
        while any(life.under_way for life in old):
            await self._news()
        self._overlap.finish(self._window)
        crew = self._crew
        crew.retire(old)
        if crew.beside is old:
            crew.beside = None
        _log.info(
            "resharded: %d shards are closed, %d go on; %d events came on both sides and were handed out once",
            old.total,
            new.total,
            self._overlap.dropped,
        )
        if not self._stopped:
            data = {"shard_ids": new.ids, "shard_count": new.total, "before": old.total}
            emit(crew.listening.registry, next(iter(new)), "RESHARDED", data)
            # What the old ones brought last may still come on the new ones.
            await self._pass(self._window)
        for life in new:
            life.shard.overlap(None)


def _is_ready(life: Life) -> bool:
    return life.status is GatewayStatus.READY


def _is_done(life: Life) -> bool:
    return not life.under_way
