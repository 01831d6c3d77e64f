"""The identify gate outside of the engine: asked for each IDENTIFY, and told when that was answered."""

import asyncio
import logging
from typing import Final

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


class Permits:
    """The questions of a fleet's shards to one gate."""

    def __init__(self, gate: IdentifyGate) -> None:
        """None yet."""
        self._gate: Final = gate
        self._asking: Final[dict[tuple[Life, int], asyncio.Task[None]]] = {}
        self._given: Final[dict[tuple[Life, int], IdentifyPermit]] = {}

    def wanted(self, life: Life, number: int, max_concurrency: int) -> None:
        """A shard waits to IDENTIFY."""
        key = (life, number)
        task = asyncio.get_running_loop().create_task(self._ask(key, max_concurrency), name="propylon identify gate")
        self._asking[key] = task
        task.add_done_callback(lambda _: self._asking.pop(key, None))

    def over(self, life: Life, number: int) -> None:
        """It does no more, or its IDENTIFY was answered."""
        task = self._asking.get((life, number))
        if task is not None:
            task.cancel()
        self._give_back((life, number))

    def _give_back(self, key: tuple[Life, int]) -> None:
        permit = self._given.pop(key, None)
        if permit is not None:
            try:
                permit.release()
            except Exception:
                _log.exception("the identify gate failed to take a permit back")

    async def _ask(self, key: tuple[Life, int], max_concurrency: int) -> None:
        life, number = key
        assert life.shard_pair is not None
        while True:
            try:
                permit = await self._gate.acquire(life.shard_pair[0], max_concurrency)
            except IdentifyBudgetExhausted as error:
                life.shard.permit(number, error.resets_at)
                return
            except Exception as error:
                _log.warning("the identify gate failed (%r); asking again in %g s", error, _PAUSE)
                await asyncio.sleep(_PAUSE)
                continue
            self._given[key] = permit
            if not life.shard.permit(number):
                self._give_back(key)
            return
