"""The identify gate of a cluster: one host at a time, the coordinator, spaces the IDENTIFYs of all of them.

`ClusterGate` asks, `Coordinator` answers; both stand in every host. A question is asked again and again until it is
granted, with the same ticket: an answer that is lost costs nothing, and neither does a coordinator that is. The
spacing is that of `propylon._sessions.gates`.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from propylon._sessions.gates import IdentifyPermit
from propylon.cluster._broker import Asked, Broker, Questions
from propylon.cluster._keys import (
    BUDGET,
    COORDINATOR,
    IDENTIFIED,
    BudgetKey,
    Identified,
    IdentifyAnswer,
    IdentifyQuestion,
    bucket,
    encode,
    identify_subject,
    read,
)
from propylon.cluster._keys import Coordinator as CoordinatorKey
from propylon.cluster._membership import AWAY, HeldKey, Times, View
from propylon.cluster._tasks import spawn
from propylon.errors import budget_exhausted

__all__ = ["ClusterGate", "Coordinator"]

_log: Final = logging.getLogger("propylon.cluster")

_SPACING: Final = 5.25
"""Seconds. Discord's 5 s are measured at its end: a little more at ours."""
_AFTER_ANSWER: Final = 5.05
"""Seconds from the answer to an IDENTIFY on: the server had it before it answered."""
_HOLD: Final = 15.0
"""Seconds after which an IDENTIFY that is not answered keeps nobody waiting."""
_ASKING: Final = 3.0
"""Seconds that a coordinator has to answer."""
_LONGEST_WAIT: Final = 1.0
"""Seconds after which a question is asked again at the latest."""
_SHORTEST_WAIT: Final = 0.02
_FORGOTTEN: Final = 5.0
"""Seconds after which somebody who does not ask again has lost the place in the line."""
_NOBODY: Final = 0.5
"""Seconds between two questions that nobody answers."""
_TRIES: Final = 8
_LATELY: Final = 60.0
"""Seconds within which two hosts are told the same thing. Their clocks may differ by so much."""
_SAME_DAY: Final = 3600.0
_LONGEST_RESET: Final = 48 * 3600.0


class _Permit:
    """The right to one IDENTIFY."""

    def __init__(self, released: Callable[[], None]) -> None:
        self._released: Callable[[], None] | None = released

    def release(self) -> None:
        """The first call counts."""
        released, self._released = self._released, None
        if released is not None:
            released()


class ClusterGate:
    """An `IdentifyGate` that asks the coordinator, whichever host that is."""

    def __init__(self, broker: Broker, app: str, host: str) -> None:
        """``host``: the id of this one."""
        self._broker: Final = broker
        self._app: Final = app
        self._host: Final = host
        self._telling: Final[set[asyncio.Task[None]]] = set()
        self._warned = False

    async def acquire(self, shard_id: int, max_concurrency: int, /) -> IdentifyPermit:
        """Return when the IDENTIFY of this shard may leave; waits for as long as there is no coordinator.

        Raises:
            IdentifyBudgetExhausted: Hardly any IDENTIFY is left of the day's.
        """
        ticket = secrets.token_hex(8)
        question = IdentifyQuestion(shard_id, max(max_concurrency, 1), self._host, ticket)
        try:
            while True:
                answer = await self._ask(question)
                if answer is None:
                    await asyncio.sleep(_NOBODY)
                elif answer.resets_at is not None:
                    raise budget_exhausted(answer.resets_at)
                elif answer.granted:
                    return _Permit(lambda: self._tell(self._release(question)))
                else:
                    await asyncio.sleep(min(max(answer.wait, _SHORTEST_WAIT), _LONGEST_WAIT))
        except asyncio.CancelledError:
            # It may have been granted in this moment; nobody is to wait for it.
            self._tell(self._release(question))
            raise

    def learn(self, *, total: int, remaining: int, reset_after: float) -> None:
        """Keep what ``/gateway/bot`` told just now, for all hosts."""
        now = time.time()
        self._tell(self._learn(BudgetKey(total, remaining, now + min(reset_after, _LONGEST_RESET), now)))

    def _tell(self, telling: Coroutine[Any, Any, None]) -> None:
        task = spawn(telling, "propylon identify gate")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _ask(self, question: IdentifyQuestion) -> IdentifyAnswer | None:
        try:
            answer = await self._broker.request(identify_subject(self._app), encode(question), _ASKING)
        except AWAY:
            answer = None
        known = read(IdentifyAnswer, answer)
        if known is None and not self._warned:
            _log.info("no host answers at the identify gate yet; asking on")
        self._warned = known is None
        return known

    async def _release(self, question: IdentifyQuestion) -> None:
        # One that is lost costs the bucket 15 s.
        await self._ask(msgspec.structs.replace(question, released=True))

    async def _learn(self, told: BudgetKey) -> None:
        keys = bucket(self._app)
        with contextlib.suppress(*AWAY):
            for _ in range(_TRIES):
                entry = await self._broker.get(keys, BUDGET)
                known = read(BudgetKey, None if entry is None else entry.value)
                value = encode(told if known is None else _lesser(known, told))
                written = (
                    await self._broker.create(keys, BUDGET, value)
                    if entry is None
                    else await self._broker.update(keys, BUDGET, value, entry.revision)
                )
                if written is not None:
                    return
            _log.warning("the budget of IDENTIFYs is changed by others all the time; what is left of it was not noted")


@dataclass(slots=True)
class _Bucket:
    """One of ``shard_id % max_concurrency``."""

    holder: str | None = None
    """The ticket of the IDENTIFY that is under way."""
    granted_at: float = 0.0
    free_at: float = 0.0
    line: dict[str, float] = field(default_factory=dict[str, float])
    """Tickets of those who wait, first come first, with when they asked last."""


class Coordinator:
    """Takes the part of the coordinator where nobody has it, and answers while this host has it."""

    def __init__(
        self, broker: Broker, app: str, host: str, *, times: Times | None = None, changed: Callable[[], None]
    ) -> None:
        """``changed`` hears when it has become the coordinator, or ceased to be."""
        self._broker: Final = broker
        self._app: Final = app
        self._bucket: Final = bucket(app)
        self._host: Final = host
        self._times: Final = times or Times()
        self._changed: Final = changed
        self._view: Final = View(broker, self._bucket, COORDINATOR, CoordinatorKey, lambda _: self._wake.set())
        self._wake: Final = asyncio.Event()
        self._held: HeldKey | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._questions: Questions | None = None
        self._buckets: dict[int, _Bucket] = {}
        self._opens_at = 0.0

    @property
    def is_here(self) -> bool:
        """Whether this host is the coordinator."""
        return self._held is not None and self._held.is_held

    @property
    def host(self) -> str | None:
        """The id of the host that is, as far as it is known."""
        seen = self._view.keys.get(COORDINATOR)
        return None if seen is None else seen.value.host

    async def start(self) -> None:
        """Stand for it from now on. Raises TimeoutError or ConnectionError."""
        await self._view.start()
        self._tasks = [spawn(self._run(), "propylon coordinator")]

    async def stop(self) -> None:
        """Stand for it no more; another host can be it at once."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._view.stop()
        self._stop_answering()
        if self._held is not None:
            held, self._held = self._held, None
            await held.release()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            if not self.is_here and (COORDINATOR not in self._view.keys or self.host == self._host):
                with contextlib.suppress(*AWAY):
                    await self._stand()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._times.retry):
                    await self._wake.wait()

    async def _stand(self) -> None:
        held = HeldKey(
            self._broker,
            self._bucket,
            COORDINATOR,
            value=lambda _: encode(CoordinatorKey(self._host)),
            is_mine=self._is_mine,
            times=self._times,
            lost=self._lost,
        )
        if not await held.take():
            return
        self._held = held
        self._buckets = {}
        try:
            lately = await self._broker.get(self._bucket, IDENTIFIED)
            self._opens_at = 0.0
            if lately is not None:
                # The coordinator before has let somebody through, and took what it knew of that with it.
                self._opens_at = asyncio.get_running_loop().time() + _SPACING
            self._questions = await self._broker.serve(identify_subject(self._app))
        except BaseException:
            self._held = None
            await held.release()
            raise
        _log.info("this host is the coordinator of the cluster")
        answering = spawn(self._answer_all(self._questions), "propylon coordinator")
        self._tasks.append(answering)
        answering.add_done_callback(lambda task: self._tasks.remove(task) if task in self._tasks else None)
        self._changed()

    def _is_mine(self, value: bytes) -> bool:
        known = read(CoordinatorKey, value)
        return known is not None and known.host == self._host

    def _lost(self, why: str) -> None:
        _log.warning("this host is the coordinator no more: %s", why)
        self._stop_answering()
        self._held = None
        self._wake.set()
        self._changed()

    def _stop_answering(self) -> None:
        if self._questions is not None:
            self._questions.stop()
            self._questions = None

    async def _answer_all(self, questions: Questions) -> None:
        with contextlib.suppress(*AWAY):
            while True:
                asked = await questions.next()
                try:
                    await self._answer(asked)
                except AWAY as error:
                    # Whoever asked asks again.
                    _log.debug("a question at the identify gate was not answered: %s", error)
                except Exception:
                    # The others are answered: nobody else could, while this host is the coordinator.
                    _log.exception("a question at the identify gate could not be answered")

    async def _answer(self, asked: Asked) -> None:
        question = read(IdentifyQuestion, asked.data)
        held = self._held
        # A process that was stopped finds old questions when it goes on, and may be the coordinator no more.
        if question is None or held is None or not held.is_held:
            return
        if asyncio.get_running_loop().time() >= held.held_until:
            return
        answer = self._released(question) if question.released else await self._asked(question)
        if held.is_held:
            await self._broker.publish(asked.reply, encode(answer))

    def _released(self, question: IdentifyQuestion) -> IdentifyAnswer:
        place = self._place(question)
        place.line.pop(question.ticket, None)
        if place.holder == question.ticket:
            place.holder = None
            now = asyncio.get_running_loop().time()
            place.free_at = min(max(place.granted_at + _SPACING, now + _AFTER_ANSWER), place.granted_at + _HOLD)
        return IdentifyAnswer()

    def _place(self, question: IdentifyQuestion) -> _Bucket:
        return self._buckets.setdefault(question.shard % max(question.max_concurrency, 1), _Bucket())

    async def _asked(self, question: IdentifyQuestion) -> IdentifyAnswer:
        place = self._place(question)
        now = asyncio.get_running_loop().time()
        if place.holder == question.ticket:
            # The answer was lost, so the IDENTIFY has not left.
            place.granted_at = now
            place.free_at = now + _HOLD
            return IdentifyAnswer(granted=True)
        for ticket in [ticket for ticket, asked_at in place.line.items() if now - asked_at > _FORGOTTEN]:
            del place.line[ticket]
        place.line[question.ticket] = now
        if next(iter(place.line)) != question.ticket:
            return IdentifyAnswer(wait=_LONGEST_WAIT)
        wait = max(place.free_at, self._opens_at) - now
        if wait > 0:
            # An IDENTIFY that is under way may be answered sooner.
            return IdentifyAnswer(wait=min(wait, 0.25) if place.holder is not None else wait)
        resets_at = await self._spend()
        if resets_at is not None:
            place.line.pop(question.ticket, None)
            return IdentifyAnswer(resets_at=resets_at)
        # Before it leaves: whoever is the coordinator next waits for one window.
        await self._broker.put(self._bucket, IDENTIFIED, encode(Identified(question.host)), ttl=_HOLD)
        place.line.pop(question.ticket, None)
        place.holder = question.ticket
        place.granted_at = asyncio.get_running_loop().time()
        place.free_at = place.granted_at + _HOLD
        return IdentifyAnswer(granted=True)

    async def _spend(self) -> float | None:
        """Count one IDENTIFY; where hardly any is left, when there are more."""
        for _ in range(_TRIES):
            entry = await self._broker.get(self._bucket, BUDGET)
            budget = read(BudgetKey, None if entry is None else entry.value)
            if entry is None or budget is None:
                return None
            left = budget.resets_at - time.time()
            if not 0 < left < 2 * _LONGEST_RESET:
                return None
            if budget.remaining <= _floor(budget.total):
                return budget.resets_at
            spent = msgspec.structs.replace(budget, remaining=budget.remaining - 1)
            if await self._broker.update(self._bucket, BUDGET, encode(spent), entry.revision) is not None:
                return None
        raise TimeoutError("the budget of IDENTIFYs is changed by others all the time")


def _lesser(known: BudgetKey, told: BudgetKey) -> BudgetKey:
    """What counts of what is there and what Discord has just said.

    Hosts that start together are told within moments, write in any order, and IDENTIFYs leave meanwhile: of what is of
    one day and told lately the lesser number has them all. What is older Discord knows better.
    """
    is_of_the_day = abs(known.resets_at - told.resets_at) < _SAME_DAY
    if is_of_the_day and abs(known.told_at - told.told_at) < _LATELY:
        return msgspec.structs.replace(told, remaining=min(known.remaining, told.remaining))
    return told


def _floor(total: int) -> int:
    """IDENTIFYs that are never spent, as `propylon._sessions.gates` reckons them."""
    return max(total // 20, min(total // 10, 10))
