"""Events of the fleet's own: how they come to those who listen to them, and behind what."""

import asyncio
import time
from typing import Any, Final

import msgspec

from propylon._core import Dispatch
from propylon._delivery.plans import route_of_own
from propylon._fleet.team import Team
from propylon._gateway.life import Life
from propylon._listening.registry import Registry

__all__ = ["all_told", "emit"]

_PATIENCE: Final = 5.0
"""Seconds that news of the fleet wait for listeners of what came before."""
_LOOK: Final = 0.01
"""Seconds between two looks whether the events that had come have been taken from the engine."""


def emit(registry: Registry, life: Life, event: str, data: dict[str, Any]) -> None:
    """Hand an event to those who listen to it, behind what waits for the listeners of a shard."""
    assert life.shard_pair is not None
    if life.consumer.is_suspended:
        # No listener is called any more, and the next opening is not to begin with the news of this one.
        return
    raw = msgspec.json.encode(data)
    dispatch: Dispatch[Any] = Dispatch(event, raw, shard_id=life.shard_pair[0], received_at=time.monotonic())
    route = route_of_own(registry, dispatch)
    if route is not None:
        life.consumer.feed(registry.generation, [dispatch], [route])


async def all_told(team: Team) -> None:
    """Return when the guilds and the news that have come are handed out; soon, where listeners hold that back."""
    accepted = {life: session.sequence for life in team if (session := life.session) is not None}
    end = time.monotonic() + _PATIENCE
    for life, least in accepted.items():
        while life.accepted_and_taken < least and time.monotonic() < end:  # noqa: ASYNC110  # nobody tells of it
            await asyncio.sleep(_LOOK)
    waiting = [done for life in team if (done := life.consumer.handed_out()) is not None]
    if waiting:
        await asyncio.wait(waiting, timeout=max(end - time.monotonic(), 0))
