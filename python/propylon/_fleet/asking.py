"""Asking Discord how many shards there should be, and how many sessions may still be started today."""

import asyncio
import logging
import random
from typing import Any, Final

import propylon._core as _core
from propylon._delivery.loop import Delivery
from propylon._delivery.plans import Route
from propylon._fleet.spread import Budget, Recommended
from propylon.errors import AuthenticationFailed, CertificateError, PropylonError, error_of_end
from propylon.intents import Intents

__all__ = ["ask", "floor"]

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


def floor(total: int) -> int:
    """IDENTIFYs of a day that are never spent, as the engine reckons them."""
    return max(total // 20, min(total // 10, 10))
