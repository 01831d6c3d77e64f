"""From drained events to listener calls: order, back-pressure, isolation of errors.

Owns the loop over events, the hot path of the Python side. Whom an event goes to is `propylon._delivery.plans`'s.

Over 500 lines because that loop, and what holds it back, starts it and ends it, turn on the same few fields.
"""

import asyncio
import contextlib
import logging
import sys
from collections import deque
from collections.abc import Callable, Container, Coroutine, Generator, Iterable, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from itertools import chain
from operator import length_hint
from sys import getrefcount
from time import perf_counter
from types import CoroutineType
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast
from weakref import WeakSet, getweakrefcount

import propylon._core as _core
from propylon._core import Dispatch
from propylon._delivery.coroutines import coroutine_of, eagerly, is_same, nothing
from propylon._delivery.plans import Call, Plan, Plans, Route, Step, sole_of
from propylon._delivery.timing import NOTABLE, Run, Timing
from propylon._listening.entry import Entry
from propylon._listening.registry import Registry
from propylon.events._decoding import mend

__all__ = ["Consumer"]

_log: Final = logging.getLogger("propylon")

_T = TypeVar("_T")

_SLICE: Final = 0.002
"""Seconds after which a drain yields to the loop."""

_CANCEL_PATIENCE: Final = 5.0
"""Seconds that cancelled calls have for their end; then nobody waits for them."""

_EAGER: Final = sys.version_info >= (3, 12)


class Reporter(Protocol):
    """Takes an error and the event it came with; gives the handlers that are still at work on it."""

    def __call__(
        self, error: Exception, dispatch: Dispatch[Any], entries: Sequence[Entry], *, misfit: bool = False
    ) -> Iterable[asyncio.Task[Any]]:
        """``entries``: the one that raised it; or, with ``misfit``, those whose class the event does not fit."""
        ...


_Batch: TypeAlias = tuple[int, list[Dispatch[Any]], Iterator[Dispatch[Any]], Iterator[tuple[Dispatch[Any], Route]]]
"""Events that wait here: the generation at which they were matched, all of a drain, those left of it, and these with
their routes."""

_RESUMED: Final = -1
"""In place of a route: the event of which some listeners have been called."""


class Consumer:
    """Calls the listeners of one shard, in order, and holds the engine back when they do not keep up."""

    def __init__(
        self,
        shard: _core.Shard,
        registry: Registry,
        plans: Plans,
        max_pending: int,
        *,
        report: Reporter,
        excused: Container[Exception],
    ) -> None:
        """At most ``max_pending`` calls may be unfinished. ``excused``: errors that are none of a listener's."""
        self._shard: Final = shard
        self._registry: Final = registry
        self._plans: Final = plans
        self._max_pending: Final = max_pending
        self._report: Final = report
        self._excused: Final = excused
        self._backlog: Final[deque[_Batch]] = deque()
        self._tasks: Final[dict[asyncio.Task[Any], Dispatch[Any] | None]] = {}
        """The unfinished calls and their events, in the order of these."""
        self._settling: Final[set[asyncio.Task[Any]]] = set()
        """Tasks that wait for the unfinished calls, and may be such calls themselves."""
        self._done_early: Final[WeakSet[asyncio.Task[Any]]] = WeakSet()
        self._held = False
        self._scheduled = False
        self._running = False
        self._must_yield = False
        self._suspended = False
        self._turns = 0
        self._partly: tuple[Dispatch[Any], Plan] | None = None
        """An event that is being handed out, and what is left of its plan."""
        self._context = copy_context()
        self._misfit: tuple[Dispatch[Any] | None, list[Callable[[Dispatch[Any]], Any]]] = (None, [])
        self._full_streams = 0
        self._waits = 0
        self._warned_of_waits = False
        self._idle: asyncio.Future[None] | None = None
        self._done_batches = 0
        """Of the backlog, since the beginning."""
        self._awaited: Final[deque[tuple[int, asyncio.Future[None]]]] = deque()
        """Who waits until so many are done."""
        self.timing: Final = Timing()
        self.undecodable: int = 0
        self.errors: int = 0

    @property
    def is_suspended(self) -> bool:
        """Whether no listener is called until `resume`."""
        return self._suspended

    @property
    def is_held_by_reader(self) -> bool:
        """Whether a stream's buffer is full."""
        return self._full_streams > 0

    @property
    def pending(self) -> int:
        """Listener calls that have not finished."""
        return len(self._tasks)

    @property
    def session(self) -> tuple[int, float] | None:
        """The key of the shard, and since when its session is; None without one."""
        mark = self._shard.mark
        return None if mark is None else (self._shard.key, mark[1])

    @property
    def first_waiting(self) -> int | None:
        """The sequence number of the first event that waits here or in the engine; None: none does."""
        for dispatch in self.waiting():
            if dispatch.sequence is not None:
                return dispatch.sequence
        mark = self._shard.mark if self._shard.waiting else None
        return None if mark is None else mark[0][1] + 1

    def count_as_finished(self, task: asyncio.Task[Any]) -> None:
        """A call goes on, but has finished with its event. Any other task is none of its business."""
        if task in self._tasks:
            self._tasks[task] = None
        else:
            # A call that has not been suspended yet is not among them.
            self._done_early.add(task)

    def unfinished(self) -> Iterator[Dispatch[Any]]:
        """The events whose calls have not all finished, in their order."""
        return (dispatch for dispatch in self._tasks.values() if dispatch is not None)

    def waiting(self) -> Iterator[Dispatch[Any]]:
        """The events that the engine has handed out and not all listeners have seen, in their order."""
        if self._partly is not None:
            yield self._partly[0]
        for _, dispatches, left, _ in self._backlog:
            yield from dispatches[len(dispatches) - length_hint(left) :]

    def feed(
        self, generation: int, dispatches: list[Dispatch[Any]], routes: list[Route], *, later: bool = False
    ) -> None:
        """Take drained events and call their listeners; ``later``: at the next turn of the loop."""
        registry = self._registry
        # Only where nothing has come or gone since they were matched is all of it for the one that is there.
        alone = registry.alone if registry.generation == generation else None
        busy = later or self._backlog or self._suspended
        if alone is not None and alone.take_all is not None and not busy:
            alone.take_all(dispatches)
            self._turns += 1
            if self._blocked:
                self._hold(True)
            elif self._idle is not None:
                self._tell_idle()
            return
        left = iter(dispatches)
        self._backlog.append((generation, dispatches, left, zip(left, routes, strict=True)))
        if later:
            self._schedule()
        elif not (self._scheduled or self._running):
            self._context.run(self.run)

    def resume(self) -> None:
        """Hand out events in the running loop and the current context, first those that an earlier loop left."""
        loop = asyncio.get_running_loop()
        for task in [task for task in self._tasks if task.get_loop() is not loop]:
            del self._tasks[task]
        self._context = copy_context()
        self._scheduled = False
        self._suspended = False
        self._go_on()

    def handed_out(self) -> asyncio.Future[None] | None:
        """What is done when all that waits here now has been handed out; None where nothing does."""
        if not self._backlog:
            return None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append((self._done_batches + len(self._backlog), done))
        return done

    def _tell_handed_out(self) -> None:
        while self._awaited and self._awaited[0][0] <= self._done_batches:
            _, done = self._awaited.popleft()
            if not done.done():
                done.set_result(None)

    def suspend(self) -> None:
        """Call no listener until `resume`; what waits is kept."""
        self._suspended = True
        self._must_yield = True
        self._tell_idle()

    def forget(self) -> None:
        """Let go of what waits here: it is not handed out any more."""
        self._backlog.clear()
        self._partly = None
        self._hold(False)

    def torn_down(self) -> set[asyncio.Task[Any]]:
        """Suspend for good, because the loop is about to end; return the calls that are unfinished."""
        self.suspend()
        return set(self._tasks)

    @contextlib.contextmanager
    def excusing(self, task: asyncio.Task[Any]) -> Generator[None]:
        """While it waits for calls to finish, nobody waits for it, nor cancels it, as one of these calls."""
        self._settling.add(task)
        try:
            yield
        finally:
            self._settling.discard(task)

    async def settle(self, seconds: float) -> None:
        """Let unfinished calls finish for so many seconds, then cancel them and wait until they have ended.

        Not the calls that wait for this themselves.
        """
        current = asyncio.current_task()
        assert current is not None
        with self.excusing(current):
            await self._settle(seconds, current.get_loop())

    async def _settle(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        def calls() -> list[asyncio.Task[Any]]:
            tasks = (task for task in self._tasks if task not in self._settling and not task.done())
            return [task for task in tasks if task.get_loop() is loop]

        end = loop.time() + seconds
        # Again, because a call that fails may have handlers of errors, which are calls too.
        while (left := calls()) and (rest := end - loop.time()) > 0:
            await asyncio.wait(left, timeout=rest)
        if not left:
            return
        if seconds:
            _log.warning("%d listener calls have not finished within %g s and are cancelled", len(left), seconds)
        for task in left:
            task.cancel()
        _, stubborn = await asyncio.wait(left, timeout=_CANCEL_PATIENCE)
        if stubborn:
            _log.error("%d listener calls do not end although they were cancelled", len(stubborn))

    def block(self, full: bool) -> None:
        """A stream's buffer is full, or has room again."""
        self._full_streams += 1 if full else -1
        self._must_yield = self._must_yield or full
        if not full:
            # Who waits for progress has seen some.
            self._turns += 1
            self._go_on()

    def waits(self, number: int) -> None:
        """So many tasks wait for an event; where they are the listeners' own, they may hold it back themselves."""
        self._waits = number
        self._warn_of_waits()

    def _warn_of_waits(self) -> None:
        if self._waits and len(self._tasks) >= self._max_pending and not self._warned_of_waits:
            self._warned_of_waits = True
            _log.warning(
                "max_pending=%d listener calls are unfinished and hold back all events, also those that %d wait_for() "
                "or collect() wait for; give these a timeout, or raise max_pending",
                self._max_pending,
                self._waits,
            )

    @property
    def _blocked(self) -> bool:
        return self._suspended or self._full_streams > 0 or len(self._tasks) >= self._max_pending

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run_scheduled, context=self._context)

    def _run_scheduled(self) -> None:
        self._scheduled = False
        self.run()

    def _go_on(self) -> None:
        if self._held and not (self._scheduled or self._running or self._blocked):
            try:
                self._schedule()
            except RuntimeError:
                # Its loop has died, and nobody runs in another one yet: that is for `resume`.
                self._scheduled = False

    def _hold(self, held: bool) -> None:
        if held != self._held:
            self._held = held
            self._shard.hold(held)

    def run(self) -> None:
        """Call listeners until nothing waits, the time slice is over, or too many calls are unfinished."""
        backlog = self._backlog
        loop = asyncio.get_running_loop()
        self._eager = _EAGER and loop.get_task_factory() is None
        self._running = True
        try:
            then = perf_counter()
            end = then + _SLICE
            while backlog and not self._blocked:
                self._turns += 1
                generation, _, _, pairs = backlog[0]
                run = Run(then)
                try:
                    done = self._run_batch(generation, pairs, run, end)
                finally:
                    self.timing.begin(run, None)
                if done:
                    backlog.popleft()
                    self._done_batches += 1
                    if self._awaited:
                        self._tell_handed_out()
                else:
                    break
                then = perf_counter()
        finally:
            self._running = False
            if not backlog and not self._blocked:
                self._hold(False)
                self._tell_idle()
            else:
                self._hold(True)
                if not self._blocked:
                    self._schedule()
                self._warn_of_waits()

    def _run_batch(self, generation: int, pairs: Iterator[tuple[Dispatch[Any], Route]], run: Run, end: float) -> bool:
        """Whether all of it is done."""
        plans = self._plans.kept
        timing = self.timing
        plan: Plan = ()
        known: Route | None = None
        sole: Entry | None = None
        pumped = False
        resumed: Plan = ()
        if self._partly is not None:
            dispatch, resumed = self._partly
            self._partly = None
            pairs = chain(((dispatch, _RESUMED),), pairs)
        # Of the run, and kept here meanwhile: as its attributes, counting a call takes 67 ns, so it takes 56.
        counted, then = 0, run.then
        try:
            for dispatch, route in pairs:
                # Once more for the event that a pump has looked at and left.
                while True:
                    # Most events are of the kind before them, and then the engine gives the same object.
                    if route is not known:
                        kept = plans.get(route)
                        if kept is not None and kept[0] <= generation:
                            known = route
                            _, plan, sole, pumped = kept
                            pumped = pumped and self._eager
                        else:
                            known, pumped = None, False
                            plan = resumed if route == _RESUMED else self._plans.plan(route, dispatch, generation)
                            sole = sole_of(plan)
                        run.calls, run.then = counted, then
                        counted = 0
                        timing.begin(run, None if sole is None else sole.tally)
                    ahead: tuple[Dispatch[Any], Route] | None = None
                    for step in plan:
                        decode, kind, calls = step
                        value: Any = dispatch
                        if decode is not None:
                            try:
                                value = decode(dispatch)
                            except Exception as error:
                                try:
                                    if kind is None:
                                        raise
                                    value = mend(dispatch, kind, error)
                                except Exception as failure:
                                    self._undecodable(dispatch, failure, decode, calls)
                                    then = run.skip(then, perf_counter())
                                    continue
                        for called in calls:
                            entry, call, inject, isolated = called
                            if entry.removed:
                                then = run.skip(then, perf_counter())
                                continue
                            try:
                                if inject is not None:
                                    call = partial(call, **{inject: dispatch})
                                # What a listener sets in its context is not the next one's to see.
                                result = copy_context().run(call, value) if isolated else call(value)
                            except asyncio.CancelledError:
                                # The listener gave up; no error.
                                result = None
                            except Exception as error:
                                self._failed(error, dispatch, entry)
                                result = None
                            except (KeyboardInterrupt, SystemExit):
                                raise
                            except BaseException as error:
                                self._tell_loop(error, dispatch, entry)
                                result = None
                            starts = True
                            if pumped and type(result) is CoroutineType:
                                run.calls, run.then = counted, then
                                pump = _Pump(dispatch, route, step, pairs, run, end)
                                ahead = self._pump(pump, cast("Any", result))
                                counted, then = run.calls, run.then
                                if pump.counted:
                                    continue
                            elif result is not None:
                                starts = self._spawn(entry, dispatch, result)
                            now = perf_counter()
                            if now - then > NOTABLE:
                                timing.notable(run, entry.tally, now - then)
                            elif sole is not None:
                                counted += 1
                            else:
                                # `Timing.add`, without the call: an event that several want is counted for each.
                                tally = entry.tally
                                if not (tally.calls or tally.errors):
                                    timing.called.append(tally)
                                tally.calls += 1
                                tally.seconds += now - then
                            then = now
                            if not starts:
                                # It starts when the loop gets its turn, and only then may the next listener be called.
                                self._partly = _rest(dispatch, value, called, step, plan)
                                if self._partly is not None:
                                    self._must_yield = False
                                    return False
                    if ahead is None:
                        break
                    dispatch, route = ahead
                if self._must_yield or then > end:
                    self._must_yield = False
                    return False
            return True
        finally:
            run.calls, run.then = counted, then

    def _pump(self, pump: "_Pump", coroutine: "CoroutineType[Any, Any, Any]") -> tuple[Dispatch[Any], Route] | None:
        """Runs a listener's coroutine and, in the same task, those of the events that follow and are its alone.

        Until one is suspended, fails, or leaves something that the next one could tell; the event that was not its own.
        """
        running: Any = self._pumped(pump, coroutine)
        # For whoever prints the task.
        running.__name__, running.__qualname__ = coroutine.__name__, coroutine.__qualname__
        task = eagerly(running, asyncio.get_running_loop())
        if not task.done():
            pump.suspended = True
            self._keep(pump.entry, pump.dispatch, task)
            pump.pairs = iter(())
        elif not task.cancelled() and task.exception() is not None:
            self._finished(pump.entry, pump.dispatch, task)
        return pump.ahead

    async def _pumped(self, pump: "_Pump", result: Any) -> object:
        task: Any = asyncio.current_task()
        name = task.get_name()
        context = copy_context()
        references = getrefcount(task)
        decode, call, entry, run, timing = pump.decode, pump.call, pump.entry, pump.run, self.timing
        while True:
            gave: object = await cast("Any", result)
            if pump.suspended:
                return gave
            now = perf_counter()
            if now - run.then > NOTABLE:
                timing.notable(run, entry.tally, now - run.then)
            else:
                run.calls += 1
            run.then = now
            pump.counted = True
            # The next one has the same task only where it cannot tell: nobody holds this one, waits for it, or has
            # named or cancelled it, and nothing was set in its context.
            if (
                getrefcount(task) != references
                or getweakrefcount(task)
                or task._must_cancel
                or task._callbacks
                or task.get_name() is not name
                or not is_same(copy_context(), context)
                or self._must_yield
                or now > pump.end
            ):
                return gave
            pair = next(pump.pairs, None)
            if pair is None:
                return gave
            dispatch, route = pair
            if route is not pump.route or entry.removed:
                pump.ahead = pair
                return gave
            value: Any = dispatch
            if decode is not None:
                try:
                    value = decode(dispatch)
                # Whoever is told of it is told by the consumer.
                except Exception:
                    pump.ahead = pair
                    return gave
            pump.dispatch = dispatch
            pump.counted = False
            result = call(value)
            value = None
            if type(result) is not CoroutineType:
                result = coroutine_of(result) or nothing()

    def _undecodable(
        self,
        dispatch: Dispatch[Any],
        error: Exception,
        decode: Callable[[Dispatch[Any]], Any],
        calls: tuple[Call, ...],
    ) -> None:
        """Counts an event once, reports each class that it does not fit once, however many listeners want it."""
        if self._misfit[0] is not dispatch:
            self.undecodable += 1
            self._misfit = (dispatch, [])
        known = self._misfit[1]
        if decode not in known:
            known.append(decode)
            self._tell(error, dispatch, *(entry for entry, *_ in calls), misfit=True)

    def _failed(self, error: Exception, dispatch: Dispatch[Any], entry: Entry) -> None:
        self.errors += 1
        self.timing.failed(entry.tally)
        self._tell(error, dispatch, entry)

    def _tell(self, error: Exception, dispatch: Dispatch[Any], *entries: Entry, misfit: bool = False) -> None:
        _core.widen(dispatch)
        for task in self._report(error, dispatch, entries, misfit=misfit):
            # As the listener's own call: a flood of errors is held back too.
            self._tasks[task] = None
            task.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        self._go_on()

    def _spawn(self, entry: Entry, dispatch: Dispatch[Any], result: object) -> bool:
        """Runs a listener's coroutine; whether it has got to its first suspension.

        Where not, nothing more may be handed out in this turn of the loop.
        """
        if type(result) is CoroutineType:
            coroutine: Coroutine[Any, Any, Any] | None = cast("Coroutine[Any, Any, Any]", result)
        else:
            coroutine = coroutine_of(result)
        if coroutine is None:
            return True
        loop = asyncio.get_running_loop()
        started = True
        if self._eager:
            task = eagerly(coroutine, loop)
            if task.done():
                if not task.cancelled() and task.exception() is not None:
                    self._finished(entry, dispatch, task)
                return True
        else:
            task = loop.create_task(coroutine)
            started = task.done()
            self._must_yield = self._must_yield or not started
        self._keep(entry, dispatch, task)
        return started

    def _keep(self, entry: Entry, dispatch: Dispatch[Any], task: asyncio.Task[Any]) -> None:
        """A call is unfinished."""
        self._tasks[task] = None if task in self._done_early else dispatch
        if len(self._tasks) >= self._max_pending:
            self._must_yield = True

        def done(task: asyncio.Task[Any]) -> None:
            self._tasks.pop(task, None)
            self._finished(entry, dispatch, task)
            self._go_on()

        task.add_done_callback(done)

    def _finished(self, entry: Entry, dispatch: Dispatch[Any], task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        at = error.__traceback__ if error is not None else None
        ours = at is not None and at.tb_frame.f_code is Consumer._pumped.__code__
        if error is not None and at is not None and ours and at.tb_next is not None:
            # Where the listener's own frames begin, whoever ran it.
            error.__traceback__ = at.tb_next
        if isinstance(error, Exception):
            if error in self._excused:
                return
            self._failed(error, dispatch, entry)
        elif error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
            # Those two have left through the loop already.
            self._tell_loop(error, dispatch, entry)

    @staticmethod
    def _tell_loop(error: BaseException, dispatch: Dispatch[Any], entry: Entry) -> None:
        """What is no Exception is not for `on_error`, but it is not lost either."""
        message = f"listener {entry.name} of {dispatch.type} failed"
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})

    def _tell_idle(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def drained(self, patience: float) -> bool:
        """Return when every event that waits has been handed to its listeners, or when that stands still.

        ``patience``: seconds without progress, because too many calls are unfinished or nobody reads a full stream.
        Whether everything was handed out.
        """
        while self._backlog or self._shard.waiting:
            turns = self._turns
            self._idle = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(patience):
                    await self._idle
            except TimeoutError:
                if turns == self._turns:
                    return False
            finally:
                self._idle = None
            if self._suspended:
                return False
        return True

    async def finished(self, patience: float) -> bool:
        """Return when every call of a listener has finished, or when that stands still for ``patience`` seconds.

        Calls that have finished with their event, because they close the gateway, are not waited for. Whether all have.
        """
        while calls := [call for call, dispatch in self._tasks.items() if dispatch is not None]:
            done, _ = await asyncio.wait(calls, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return False
            # The callbacks that take them out of the list come after this in the loop.
            await asyncio.sleep(0)
        return True


class _Pump:
    """The events that one task takes, one after the other, to the one listener that wants them."""

    __slots__ = (
        "ahead",
        "call",
        "counted",
        "decode",
        "dispatch",
        "end",
        "entry",
        "pairs",
        "route",
        "run",
        "suspended",
    )

    def __init__(
        self,
        dispatch: Dispatch[Any],
        route: Route,
        step: Step,
        pairs: Iterator[tuple[Dispatch[Any], Route]],
        run: Run,
        end: float,
    ) -> None:
        self.decode, _, ((self.entry, self.call, _, _),) = step
        self.route: Final = route
        self.pairs = pairs
        self.end: Final = end
        self.run: Final = run
        self.counted = False
        """Whether the last call is among those that were counted: where it was suspended or has failed, it is not."""
        self.dispatch = dispatch
        """Whose call is under way."""
        self.ahead: tuple[Dispatch[Any], Route] | None = None
        """What was read and is not for it."""
        self.suspended = False
        """Whether its call goes on without it: others take the events that follow."""


def _rest(
    dispatch: Dispatch[Any], value: Any, called: Call, step: Step, plan: Plan
) -> tuple[Dispatch[Any], Plan] | None:
    """What is left of an event's plan after a call of one of its steps; ``value`` is what this step's calls take."""

    def decoded(_: Dispatch[Any]) -> Any:
        return value

    calls = _after(step[2], called)
    steps = _after(plan, step)
    rest: Plan = ((decoded, None, calls), *steps) if calls else steps
    return (dispatch, rest) if rest else None


def _after(items: tuple[_T, ...], item: _T) -> tuple[_T, ...]:
    """Those behind the one: that very object, of which equal ones may stand there too."""
    return items[next(index for index, each in enumerate(items) if each is item) + 1 :]
