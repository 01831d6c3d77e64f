"""The life of a worker in its event loop: opened, closed, and what becomes of its partitions meanwhile.

Builds the parts of one worker and is the one that knows them all. What users see of it is `propylon.cluster._worker`'s.

Over 500 lines because what opens, drains and ends it turns on the same few parts.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import time
import warnings
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import propylon._core as _core
from propylon._arguments import check_seconds
from propylon._delivery.plans import Plans
from propylon._filters.expression import Filter, description
from propylon._fleet.counters import none, summed
from propylon._gateway.admin import Admin
from propylon._gateway.metrics import Metrics
from propylon._gateway.watching import LoopWatch
from propylon._listening.entry import Entry
from propylon._listening.face import ListenerFace
from propylon._listening.handlers import is_task
from propylon._listening.lifespan import Lifespan
from propylon._listening.registry import Slot
from propylon._sessions.session import Closed
from propylon._version import __version__
from propylon.cluster._announcing import Announcer
from propylon.cluster._broker import Broker
from propylon.cluster._commands_worker import WorkerCommands
from propylon.cluster._feeding import MakeIntake, Partition
from propylon.cluster._keys import (
    ACTIVE,
    ALL_WORKERS,
    OVERLAP,
    PARTITIONS,
    Active,
    OverlapKey,
    WorkerInfo,
    bucket,
    encode,
    worker_key,
)
from propylon.cluster._membership import Member, Times, View, new_id
from propylon.cluster._partitions import PartitionKeeper
from propylon.cluster._showing import Showing
from propylon.cluster._tasks import spawn
from propylon.cluster._upkeep import Upkeep
from propylon.errors import ForkedError, NotConnected, PropylonError
from propylon.events._fleet import FLEET_EVENTS
from propylon.logs import flush_bursts

__all__ = ["Joined", "WorkerLife"]

_log: Final = logging.getLogger("propylon.cluster")

_QUEUE_BYTES: Final = 256 * 1024 * 1024
"""Bytes of events of all partitions that may wait for listeners."""
_HAND_OVER: Final = 10.0
"""Seconds that calls have to finish where another worker is to have the partition."""
_ACKNOWLEDGED_EVERY: Final = 0.02
"""Seconds between two looks at what is finished, while something is not."""
_LONGEST_PAUSE: Final = 0.2
"""Seconds between two looks where nothing comes that a listener hears."""
_HANDLERS_PATIENCE: Final = 5.0
"""Seconds that the end waits for `on_close` handlers."""
_LINGERS: Final = 1.0
"""Seconds for which partitions are kept when the last listener has gone: one that waits for event after event would
have all of them move each time."""
_DIFFER_FOR: Final = 60.0
"""Seconds for which workers may have different listeners, as they do while a version is deployed, before a warning."""
_OF_NOW: Final = frozenset({"lag", "unfinished"})
"""What an intake counts at the moment, rather than since the beginning."""


class Joined(NamedTuple):
    """A worker's way into the cluster."""

    broker: Broker
    make_intake: MakeIntake


class WorkerLife:
    """The life of one worker, over any number of openings."""

    def __init__(
        self,
        owner: object,
        join: Callable[[], Awaitable[Joined]],
        *,
        app: str,
        name: str | None,
        max_pending: int,
        mending: bool,
        lifespan: Lifespan,
        admin: Admin,
        times: Times | None = None,
    ) -> None:
        """``owner`` is what listeners are given; ``join`` connects to the broker."""
        self._pid: Final = os.getpid()
        self._owner: Final = owner
        self.join = join
        self._app: Final = app
        self._name: Final = name
        self.max_pending: Final = max_pending
        self.mending: Final = mending
        self.lifespan: Final = lifespan
        self.admin: Final = admin
        self.times = times or Times()
        self.listening: Final = ListenerFace(
            owner, lifespan, check_usable=self.check_usable, adding=self._before_adding
        )
        self.plans: Final = Plans(self.listening.registry)
        self.listening.registry.watch(self._heard_changed)
        self.commands: Final = WorkerCommands(app, broker=self._open_broker, total=self._known_total)
        self.id: str | None = None
        """Of this opening, or the last one."""
        self._joined: Joined | None = None
        self._room: _core.Room | None = None
        self._announcer: Announcer | None = None
        self._member: Member | None = None
        self._views: list[View[Any]] = []
        self._showing: Showing | None = None
        self._upkeep: asyncio.Task[None] | None = None
        self._keeper: PartitionKeeper | None = None
        self._workers: View[WorkerInfo] | None = None
        self._listens = False
        """Whether this worker takes partitions, as the others are told."""
        self._lingers = False
        self._listeners = ""
        self._looking: asyncio.Handle | None = None
        self._differing: asyncio.TimerHandle | None = None
        self._told_difference = False
        self._active: View[Active] | None = None
        self._overlap: View[OverlapKey] | None = None
        self._parts: Final[dict[int, Partition]] = {}
        self._stopping: Final[set[asyncio.Task[None]]] = set()
        """What is left to end of partitions that were lost."""
        self._leaving: Final[set[Partition]] = set()
        """Given up, with calls that go on."""
        self._draining = False
        self._drain_until = 0.0
        self._acknowledging: asyncio.TimerHandle | None = None
        self._pause = _LONGEST_PAUSE
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_watch: LoopWatch | None = None
        self._ended: asyncio.Future[PropylonError | None] | None = None
        self._opening: asyncio.Task[Any] | None = None
        self._opened = False
        self._closing = False
        self._handlers: Final[set[asyncio.Task[Any]]] = set()
        self._retired = none()
        self._retired_intakes: Final[dict[str, int]] = {}
        self.was_served = False
        """Whether `serve` or `run` has been called."""

    # ------------------------------------------------------------------ reading

    @property
    def is_of_this_process(self) -> bool:
        """Whether it was made here, and not by the parent before a fork."""
        return os.getpid() == self._pid

    @property
    def under_way(self) -> bool:
        """Whether it is open, or opening or closing."""
        return self._ended is not None and not self._ended.done() and not (self._loop and self._loop.is_closed())

    @property
    def partitions(self) -> tuple[int, ...]:
        """Those whose events it has."""
        return tuple(sorted(self._parts))

    @property
    def total(self) -> int | None:
        """How many shards there are; None before a gateway host has said it."""
        active = None if self._active is None else self._active.keys.get(ACTIVE)
        return None if active is None else active.value.total

    def metrics(self) -> Metrics:
        """The sum over all partitions that it has and had."""
        parts = [*self._parts.values(), *self._leaving]
        total = summed([self._retired, *(part.metrics() for part in parts)])
        watch = None if self._loop_watch is None else self._loop_watch.watch
        if watch is None or not watch.blocked_seconds:
            return total
        return replace(total, blocked_seconds=watch.blocked_seconds, running=watch.running_name)

    def intake_metrics(self) -> dict[str, int]:
        """What the intakes of all partitions have counted."""
        total = dict(self._retired_intakes)
        for part in [*self._parts.values(), *self._leaving]:
            for name, count in part.intake.metrics().items():
                total[name] = total.get(name, 0) + count
        return total

    # ------------------------------------------------------------------ checks

    def check_process(self) -> None:
        """Raise ForkedError where it belongs to the parent process."""
        if not self.is_of_this_process:
            raise ForkedError("this worker belongs to the parent process; make a new one after fork()")

    def check_usable(self) -> None:
        """Raise where this process or loop must not use it."""
        self.check_process()
        if self.under_way and self._loop is not asyncio.get_running_loop():
            raise RuntimeError("an open worker belongs to the event loop in which it was opened")

    def is_open(self) -> bool:
        """Whether it is open, in this loop. Raises RuntimeError where it is in another."""
        self.check_usable()
        return self.under_way

    def _before_adding(self, entries: Sequence[Entry]) -> None:
        self.check_process()
        for entry in entries:
            for wanted in entry.wanted:
                if wanted.event in FLEET_EVENTS:
                    kind = wanted.event if wanted.kind is None else wanted.kind.__qualname__
                    raise TypeError(
                        f"{entry.name}: {kind} comes from a ShardManager only; the shards of a cluster are its gateway "
                        "hosts', and a worker hears READY and RESUMED of them"
                    )

    def _heard_changed(self, slot: Slot, event: str) -> None:
        if self._announcer is not None:
            self._announcer.changed()
            if self._lingers and self._looking is not None and not self.listening.registry.is_empty:
                # Somebody listens again before it was over.
                self._looking.cancel()
                self._looking, self._lingers = None, False
            if self._looking is None and self.under_way and self._loop is not None:
                self._looking = self._loop.call_soon(self._look_who_listens)

    def _look_who_listens(self) -> None:
        """Others are told that it takes partitions, or takes none, and keep those that it does not take."""
        self._looking = None
        if self._closing or self._member is None:
            return
        before = self._listens, self._listeners
        if self._listens and self.listening.registry.is_empty and not self._lingers:
            self._lingers = True
            self._looking = asyncio.get_running_loop().call_later(_LINGERS, self._look_who_listens)
            return
        self._note_who_listens()
        if (self._listens, self._listeners) != before:
            self._member.changed()
            self._workers_changed()

    def _note_who_listens(self) -> None:
        self._lingers = False
        self._listens = not self.listening.registry.is_empty
        self._listeners = _mark_of(self.listening.wanted)

    def _workers_changed(self) -> None:
        if self._keeper is None or self._workers is None:
            return
        others = [seen.value for seen in self._workers.keys.values() if seen.value.id != self.id]
        living = {info.id for info in others if info.listens and not info.draining}
        # This one lives to itself also while it drains, or its key has expired: it says by itself when it is over. What
        # it has it keeps where nobody else would take it: events would wait in the stream for whoever listens next.
        if self.id is not None and (self._listens or (self._keeper.held and not living)):
            living.add(self.id)
        self._keeper.workers_are(living)
        if self._different() is None:
            if self._differing is not None:
                self._differing.cancel()
                self._differing = None
        elif self._differing is None and not self._told_difference:
            self._differing = asyncio.get_running_loop().call_later(_DIFFER_FOR, self._tell_difference)

    def _different(self) -> str | None:
        """A worker that takes partitions as this one does, and has other listeners; None where there is none."""
        assert self._workers is not None
        different = (
            info.id
            for info in (seen.value for seen in self._workers.keys.values())
            if info.id != self.id
            and info.listens
            and not info.draining
            and info.listeners not in (None, self._listeners)
        )
        return min(different, default=None) if self._listens else None

    def _tell_difference(self) -> None:
        self._differing = None
        other = self._different()
        if other is not None:
            self._told_difference = True
            _log.warning(
                "the workers %s and %s have different listeners; an event goes to the worker that has its partition, "
                "whether that one hears it or not: give all workers of an app the same listeners",
                self.id,
                other,
            )

    def _open_broker(self) -> Broker:
        self.check_usable()
        if self._joined is None or not self.under_way:
            raise NotConnected("the worker is not open; open it first")
        return self._joined.broker

    def _known_total(self) -> int:
        total = self.total
        if total is None:
            raise NotConnected("no gateway host has said yet how many shards there are; start one: propylon gateway")
        return total

    # ------------------------------------------------------------------ open

    async def open(self, timeout: float | None) -> None:
        """Join the cluster, and return when what is listened to is told and the free partitions are taken."""
        self.check_process()
        check_seconds("open()", timeout=timeout)
        if self.under_way:
            raise RuntimeError("the worker is open already; close it first, or make another one")
        self.admin.open()
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._closing = False
        self._drain_until = 0.0
        self._ended = loop.create_future()
        limit = asyncio.timeout(timeout)
        self._opening = asyncio.current_task()
        try:
            async with limit:
                keeper = await self._begin()
                # From here on events come, and a listener may close it.
                self._opening = None
                self._opened = True
                await keeper.begin()
        except BaseException as error:
            # A cancellation by `close` is that one's.
            opening = self._opening
            closed = self._closing and isinstance(error, asyncio.CancelledError) and opening is not None
            if closed and opening is not None:
                opening.uncancel()
            await self._end(None)
            if closed:
                raise NotConnected("the worker was closed while it was opening") from None
            if isinstance(error, TimeoutError) and limit.expired():
                raise TimeoutError(f"the worker was not open within {timeout} s: NATS did not answer in time") from None
            raise
        finally:
            self._opening = None
        if self._listens:
            _log.info("worker %s has %d of %d partitions", self.id, len(self._parts), PARTITIONS)
        else:
            _log.info("worker %s takes no partition before somebody listens there", self.id)

    async def _begin(self) -> PartitionKeeper:
        """All but the partitions."""
        self.id = worker = new_id(self._name)
        for partition, part in list(self._parts.items()):
            # Of a loop that died while it was open.
            part.drop()
            self._retire(partition, part)
        self._leaving.clear()
        self._stopping.clear()
        self._draining = False
        joined = self._joined = await self.join()
        broker, keys, times = joined.broker, bucket(self._app), self.times
        self._room = _core.Room(_QUEUE_BYTES, PARTITIONS)
        self._watch_loop()
        started_at = time.time()

        def info() -> bytes:
            address = self.admin.address
            admin = None if address is None else f"{address[0]}:{address[1]}"
            return encode(
                WorkerInfo(worker, started_at, __version__, self._draining, admin, self._listens, self._listeners)
            )

        # Before its partitions are: what comes with the first is to be published already.
        self._announcer = Announcer(broker, self._app, worker, self.listening.registry, times=times)
        await self._announcer.begin()
        self._note_who_listens()
        self._looking = self._differing = None
        self._told_difference = False
        member = self._member = Member(broker, keys, worker_key(worker), info, times)
        await member.start()
        keeper = self._keeper = PartitionKeeper(broker, self._app, worker, self, times=times)
        self._workers = View(broker, keys, ALL_WORKERS, WorkerInfo, lambda _: self._workers_changed())
        self._active = View(broker, keys, ACTIVE, Active, lambda _: None)
        self._overlap = View(broker, keys, OVERLAP, OverlapKey, lambda _: self._overlap_changed())
        self._views = [self._workers, self._active, self._overlap]
        for view in self._views:
            await view.start()
        self._showing = Showing(self.admin, broker, self._app, "worker", worker, lambda: keeper.wanted)
        await self._showing.start()
        upkeep = Upkeep(broker, self._app, times, is_well=lambda: member.is_fresh, gone=self._showing.forget)
        self._upkeep = spawn(upkeep.run(), "propylon upkeep")
        self._acknowledge()
        return keeper

    # ------------------------------------------------------------------ partitions: what the keeper of leases tells

    async def take(self, partition: int, epoch: int, until: float) -> None:
        """Begin with a partition."""
        assert self._joined is not None
        assert self._room is not None
        part = Partition(partition, self, self._joined.make_intake, self._room)
        part.consumer.timing.watch = None if self._loop_watch is None else self._loop_watch.watch
        self._parts[partition] = part
        await part.begin(epoch, until, overlap=self._overlapping)

    def renewed(self, partition: int, until: float) -> None:
        """The lease holds until then."""
        part = self._parts.get(partition)
        if part is not None:
            part.renewed(until)

    async def hand_over(self, partition: int) -> None:
        """Another worker is to have it, or this one ends."""
        part = self._parts.get(partition)
        if part is None:
            return
        await part.stop_intake()
        if not self._closing and not await part.finish(_HAND_OVER):
            _log.warning(
                "partition %d: listener calls have not finished within %g s; they go on, and their events come again "
                "on the worker that has it now",
                partition,
                _HAND_OVER,
            )
        await part.end()
        self._retire(partition, part)

    def lose(self, partition: int) -> None:
        """Somebody else has it, or may have."""
        part = self._parts.get(partition)
        if part is not None:
            stopping = part.lose()
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)
            self._retire(partition, part)

    def _retire(self, partition: int, part: Partition) -> None:
        if self._parts.get(partition) is part:
            del self._parts[partition]
        self._leaving.add(part)
        for gone in [one for one in self._leaving if not one.consumer.pending]:
            self._leaving.discard(gone)
            gone.tell()
            self._retired = summed([self._retired, gone.metrics()], of_now=False)
            for name, count in gone.intake.metrics().items():
                if name not in _OF_NOW:
                    self._retired_intakes[name] = self._retired_intakes.get(name, 0) + count

    @property
    def _overlapping(self) -> int | None:
        """The total that is to end, while another one publishes as well."""
        seen = None if self._overlap is None else self._overlap.keys.get(OVERLAP)
        return None if seen is None else seen.value.old

    def _overlap_changed(self) -> None:
        for part in self._parts.values():
            part.intake.overlap(self._overlapping)
        if self._announcer is not None:
            self._announcer.overlap = self._overlapping
            self._announcer.changed()

    def fed(self) -> None:
        """Events have come: what is finished is looked at soon."""
        if self._pause > _ACKNOWLEDGED_EVERY and self._acknowledging is not None:
            self._acknowledging.cancel()
            self._pause = _ACKNOWLEDGED_EVERY
            self._acknowledging = asyncio.get_running_loop().call_later(self._pause, self._acknowledge)

    def _acknowledge(self) -> None:
        outstanding = False
        for partition, part in list(self._parts.items()):
            outstanding = part.acknowledge() or outstanding
            for news in part.intake.news():
                self._tell(partition, *news)
        self._pause = _ACKNOWLEDGED_EVERY if outstanding else min(self._pause * 2, _LONGEST_PAUSE)
        self._acknowledging = asyncio.get_running_loop().call_later(self._pause, self._acknowledge)

    def _tell(self, partition: int, kind: str, fact: str) -> None:
        if kind == "dead":
            _log.error(
                "partition %d: a message has become a dead letter: %s; see propylon cluster dead list", partition, fact
            )
        elif kind == "expired":
            _log.error(
                "partition %d: %s messages expired before a worker took them; start more workers, or give the stream a "
                "larger max_age",
                partition,
                fact,
            )
        else:
            _log.warning("partition %d is taken anew: %s", partition, fact)
            if self._keeper is not None:
                self._keeper.restart(partition)

    # ------------------------------------------------------------------ the loop

    def _watch_loop(self) -> None:
        watch = self._loop_watch = LoopWatch.current()
        watch.enter(self._tell_counts)
        self.admin.watch(watch.watch)

    def _unwatch_loop(self) -> None:
        watch, self._loop_watch = self._loop_watch, None
        if watch is not None:
            watch.leave(self._tell_counts)

    def _tell_counts(self) -> None:
        """For the admin server, which does not ask Python."""
        for part in self._parts.values():
            part.tell()

    async def left_open(self) -> None:
        """The loop has nothing left to do but this. For `Delivery`."""
        if self._closing or not self.under_way:
            return
        try:
            self._warn_of_open("left open at the end of its event loop")
        finally:
            await self.close(None)

    def forgotten(self) -> None:
        """Nobody has the worker any more, and its loop was closed by hand."""
        if self.is_of_this_process and self._ended is not None and not self._ended.done():
            self._warn_of_open("forgotten while it was open")

    def _warn_of_open(self, how: str) -> None:
        advice = "close it by `async with`, or by serve() or run(), which do so at signals too"
        warnings.warn(f"{self._owner!r} was {how}: {advice}", ResourceWarning, stacklevel=4, source=self._owner)

    # ------------------------------------------------------------------ close

    async def close(self, code: int | None, *, drain: float | None = None) -> None:
        """Give the partitions back and wait until that is done. A worker has no close ``code``."""
        self.check_usable()
        check_seconds("close()", drain=drain)
        ended = self._ended
        if ended is None or ended.done():
            return
        task = asyncio.current_task()
        assert task is not None
        if self._opening is not None and not self._closing:
            self._closing = True
            self._opening.cancel()
        parts = [*self._parts.values(), *self._leaving]
        for part in parts:
            part.consumer.count_as_finished(task)
        if self._closing:
            # Somebody closes it already; where this one has no time, neither has that.
            self._drain_until = min(self._drain_until, time.monotonic() + (drain or 0.0))
            if task not in self._handlers:
                await asyncio.shield(ended)
            return
        self._closing = True
        self._drain_until = time.monotonic() + (drain or 0.0)
        try:
            if drain is not None:
                with contextlib.ExitStack() as stack:
                    # In all of them before any waits: two listeners that do this must not wait for each other.
                    for part in parts:
                        stack.enter_context(part.consumer.excusing(task))
                    await self._drain(parts, drain)
        finally:
            await self._end(None)

    async def _drain(self, parts: list[Partition], drain: float) -> None:
        self._draining = True
        if self._member is not None:
            # Others know before it is free what will be theirs.
            self._member.changed()
        await asyncio.gather(*(part.stop_intake() for part in parts))
        # What has come is handed out, so that no restart repeats it. Who waits for an event that does not come any
        # more would hold that up, so the other half of the time is theirs.
        await self._until(lambda: not self._is_outstanding(parts), time.monotonic() + drain / 2)
        for part in parts:
            part.consumer.suspend()
        self.listening.end(None)
        await self._until(lambda: not any(part.is_at_work for part in parts), self._drain_until)
        # Those who read batches have that time as well.
        await self.listening.acknowledged(max(self._drain_until - time.monotonic(), 0.0))
        for part in parts:
            part.acknowledge()
            # What is cancelled now is not finished: it comes again.
            part.freeze()
        at_work = sum(part.consumer.pending for part in parts if part.is_at_work)
        if at_work:
            _log.warning(
                "%d listener calls have not finished within %g s and are cancelled; their events come again on another "
                "worker",
                at_work,
                drain,
            )
        await self._settle(parts, 0.0)

    async def _until(self, condition: Callable[[], bool], end: float) -> None:
        """Return when it holds, at the end, or when somebody closes the worker who has less time."""
        while not condition() and time.monotonic() < min(end, self._drain_until):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(_ACKNOWLEDGED_EVERY)

    @staticmethod
    def _is_outstanding(parts: Iterable[Partition]) -> bool:
        """Whether something of them is not acknowledged; what can be is by now."""
        return sum(part.acknowledge() for part in parts) > 0

    async def _end(self, error: PropylonError | None) -> None:
        """Everything that `_begin` has begun ends, in the reverse order, however far that came."""
        self._closing = True
        for part in self._parts.values():
            part.consumer.suspend()
        if self._acknowledging is not None:
            self._acknowledging.cancel()
            self._acknowledging = None
        keeper, self._keeper = self._keeper, None
        member, self._member = self._member, None
        announcer, self._announcer = self._announcer, None
        joined, self._joined = self._joined, None
        views, self._views = self._views, []
        showing, self._showing = self._showing, None
        self._draining = True
        if self._upkeep is not None:
            self._upkeep.cancel()
        for handle in (self._looking, self._differing):
            if handle is not None:
                handle.cancel()
        self._looking = self._differing = None
        self.listening.end(error)
        with contextlib.suppress(TimeoutError, ConnectionError):
            if member is not None:
                # Others take what it gives back, and it is not to take it itself.
                await member.stop()
        if keeper is not None:
            await keeper.end()
        with contextlib.suppress(TimeoutError, ConnectionError):
            if announcer is not None:
                await announcer.end()
        for view in views:
            await view.stop()
        if showing is not None:
            await showing.stop()
        if self._stopping:
            await asyncio.wait(self._stopping)
        if joined is not None:
            with contextlib.suppress(TimeoutError, ConnectionError):
                await joined.broker.close()
        self._unwatch_loop()
        if self._opened:
            self._opened = False
            await self._tell_end(error)
        self.listening.ended()
        self.admin.close()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(error)
        flush_bursts()

    async def _tell_end(self, error: PropylonError | None) -> None:
        """Those who hear of ends have their say before it is over."""
        for result in self.listening.handlers.closed(Closed(None, "", error, False)):
            if is_task(result):
                self._handlers.add(result)
        if self._handlers:
            _, late = await asyncio.wait(self._handlers, timeout=_HANDLERS_PATIENCE)
            for handler in late:
                _log.warning("an on_close handler is cancelled, because the end of the worker waits for it")
                handler.cancel()
            self._handlers.clear()

    async def settle(self, seconds: float) -> None:
        """Let calls of listeners finish for so many seconds, then cancel them and wait until they have ended."""
        await self._settle([part for part in [*self._parts.values(), *self._leaving] if part.consumer.pending], seconds)

    @staticmethod
    async def _settle(parts: Iterable[Partition], seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        parts = list(parts)
        with contextlib.ExitStack() as stack:
            for part in parts:
                stack.enter_context(part.consumer.excusing(task))
            if parts:
                await asyncio.gather(*(part.consumer.settle(seconds) for part in parts))

    async def wait_closed(self) -> None:
        """Return when it is closed."""
        self.check_usable()
        if self._ended is None:
            return
        if asyncio.current_task() in self._handlers:
            raise RuntimeError("an on_close handler cannot wait for the end, because the end waits for it")
        error = await asyncio.shield(self._ended)
        if error is not None:
            raise error


def _mark_of(wanted: Iterable[tuple[str, Filter | None]]) -> str:
    """Tells what is wanted apart from anything else; empty where it is nothing."""
    texts = sorted(f"{event} {'' if where is None else description(where)}" for event, where in wanted)
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=8).hexdigest() if texts else ""
