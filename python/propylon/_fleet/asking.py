"""Asking Discord how many shards there should be, and how many sessions may still be started today."""

import asyncio
import logging
import random
import time
from typing import Any, Final

import propylon._core as _core
from propylon._delivery.loop import Delivery
from propylon._delivery.plans import Route
from propylon._fleet.spread import Budget, Recommended
from propylon._sessions.gates import IdentifyGate
from propylon.errors import (
    AuthenticationFailed,
    CertificateError,
    IdentifyBudgetExhausted,
    PropylonError,
    budget_exhausted,
    error_of_end,
)
from propylon.intents import Intents

__all__ = ["Counsel", "refuse_over_budget"]

_log: Final = logging.getLogger("propylon.gateway")

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


class _Inquiry:
    """One question; what its notices go to."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.engine: Final = _core.Inquiry(options)
        self.answer: Final[asyncio.Future[Recommended | PropylonError]] = asyncio.get_running_loop().create_future()

    def notice(self, kind: str, *facts: Any) -> None:
        if self.answer.done():
            return
        if kind == "gateway bot":
            url, shards, limit = facts
            self.answer.set_result(Recommended(url, shards, None if limit is None else Budget(*limit)))
        elif kind == "no answer":
            error = error_of_end(facts[0], Intents.NONE)
            assert error is not None
            self.answer.set_result(error)

    def feed(
        self, generation: int, dispatches: list[_core.Dispatch[Any]], routes: list[Route], *, later: bool = False
    ) -> None:
        """It has no events."""

    def torn_down(self) -> set[asyncio.Task[Any]]:
        """It calls nobody."""
        return set()

    async def left_open(self) -> None:
        """It ends with the task that asks."""


async def ask(options: dict[str, Any]) -> Recommended:
    """What ``GET /gateway/bot`` says; asked again, with growing pauses, as long as that may help.

    Raises:
        AuthenticationFailed: The token is refused.
        CertificateError: The server's certificate is.
    """
    pause = _FIRST_PAUSE
    while True:
        answer = await _asked(options)
        if isinstance(answer, Recommended):
            return answer
        if isinstance(answer, AuthenticationFailed | CertificateError) or not options["auto_reconnect"]:
            raise answer
        delay = pause * (0.1 + 0.9 * random.random())
        _log.warning("how many shards there should be is not known: %s; asking again in %.1f s", answer, delay)
        await asyncio.sleep(delay)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _asked(options: dict[str, Any]) -> Recommended | PropylonError:
    inquiry = _Inquiry(options)
    delivery = Delivery.current()
    delivery.add(inquiry.engine, inquiry)
    try:
        inquiry.engine.start()
        return await inquiry.answer
    finally:
        delivery.remove(inquiry.engine)


class Counsel:
    """What Discord says of one bot's shards; the gate, where it wants to know, is told of what is left for today."""

    def __init__(self, options: dict[str, Any], gate: IdentifyGate | None) -> None:
        """``options`` are the engine's, without a shard."""
        self._options: Final = options
        self._gate: Final = gate
        self.is_asked: Final[bool] = options["gateway_url"] is None
        """Whether Discord is asked at all, where nothing else makes it necessary."""
        self.url: str | None = None
        """Where the Gateway is, as it was said last."""

    async def asked(self) -> Recommended:
        """What it says now. Raises what `ask` does."""
        recommended = await ask(self._options)
        self.url = recommended.url
        budget = recommended.budget
        learn = getattr(self._gate, "learn", None)
        if budget is not None and callable(learn):
            learn(total=budget.total, remaining=budget.remaining, reset_after=budget.reset_after)
        return recommended


def refuse_over_budget(recommended: Recommended, needed: int) -> None:
    """Raise IdentifyBudgetExhausted where so many new sessions are more than what may be started today."""
    budget = recommended.budget
    if budget is None or needed <= 0 or budget.remaining - floor(budget.total) >= needed:
        return
    error = budget_exhausted(time.time() + budget.reset_after)
    raise IdentifyBudgetExhausted(
        f"{needed} shards need as many IDENTIFYs, and {budget.remaining} are left of {budget.total} today, of which "
        f"{floor(budget.total)} are never spent: {error}",
        error.resets_at,
    )


def floor(total: int) -> int:
    """IDENTIFYs of a day that are never spent, as the engine reckons them."""
    return max(total // 20, min(total // 10, 10))
