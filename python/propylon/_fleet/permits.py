"""The identify gate outside of the engine: asked for each IDENTIFY, and told when that was answered."""

import asyncio
import logging
from typing import Final, TypeAlias

from propylon._gateway.life import Life
from propylon._sessions.gates import IdentifyGate, IdentifyPermit
from propylon.errors import IdentifyBudgetExhausted

__all__ = ["Permits", "check_gate"]

_log: Final = logging.getLogger("propylon")

_PAUSE: Final = 1.0
"""Seconds between two questions to a gate that fails."""


def check_gate(gate: object) -> None:
    """Raise TypeError for what is no gate."""
    if gate is None:
        return
    if isinstance(gate, type) or not callable(getattr(gate, "acquire", None)):
        advice = f"make one: {gate.__name__}(...)" if isinstance(gate, type) else "it has no acquire()"
        raise TypeError(
            f"gate takes an IdentifyGate, such as FileIdentifyGate('identifies.json'), not {gate!r:.100}: {advice}"
        )


_Question: TypeAlias = tuple[Life, int]
"""A shard, and the number of its question."""


class Permits:
    """The questions of a fleet's shards to one gate."""

    def __init__(self, gate: IdentifyGate) -> None:
        """None yet."""
        self._gate: Final = gate
        self._wanted: Final[dict[_Question, int]] = {}
        """With ``max_concurrency``."""
        self._asking: Final[dict[_Question, asyncio.Task[None]]] = {}
        self._given: Final[dict[_Question, IdentifyPermit]] = {}
        self._failing = False

    def wanted(self, life: Life, number: int, max_concurrency: int) -> None:
        """A shard waits to IDENTIFY."""
        self._wanted[life, number] = max_concurrency
        self._begin((life, number))

    def _begin(self, question: _Question) -> None:
        task = asyncio.get_running_loop().create_task(self._ask(question), name="propylon identify gate")
        self._asking[question] = task

    def adopt(self) -> None:
        """The loop in which they were asked has died: ask again in this one."""
        self._asking.clear()
        for question in list(self._wanted):
            self._begin(question)

    def over(self, life: Life, number: int) -> None:
        """It does no more, or its IDENTIFY was answered."""
        question = life, number
        self._wanted.pop(question, None)
        task = self._asking.pop(question, None)
        if task is not None:
            task.cancel()
        permit = self._given.pop(question, None)
        if permit is not None:
            self._give_back(permit)

    @staticmethod
    def _give_back(permit: IdentifyPermit) -> None:
        try:
            permit.release()
        except Exception:
            _log.exception("the identify gate failed to take a permit back")

    async def _ask(self, question: _Question) -> None:
        life, number = question
        # A bot that does not shard is the first shard of one.
        shard_id = 0 if life.shard_pair is None else life.shard_pair[0]
        while question in self._wanted:
            try:
                permit = await self._gate.acquire(shard_id, self._wanted[question])
            except IdentifyBudgetExhausted as error:
                life.shard.permit(number, error.resets_at)
                break
            except Exception as error:
                if not self._failing:
                    self._failing = True
                    _log.warning("the identify gate failed (%r); asking on, every %g s, silently", error, _PAUSE)
                await asyncio.sleep(_PAUSE)
                continue
            self._failing = False
            if question not in self._wanted or not life.shard.permit(number):
                # It was over before the gate answered: one that does not heed its cancellation answers all the same.
                self._give_back(permit)
            else:
                self._given[question] = permit
            break
        self._wanted.pop(question, None)
        self._asking.pop(question, None)
