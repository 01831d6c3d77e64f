"""How full the shards are, and how many they should be."""

import asyncio
from collections.abc import Callable
from typing import Final

from propylon._fleet.team import Team

__all__ = ["fitting_total", "watch_fill"]

_GUILDS_PER_SHARD: Final = 2500
"""Discord closes with 4011 beyond that: https://discord.com/developers/docs/events/gateway#sharding."""
_LOOK: Final = 60.0
"""Seconds between two looks at shards that are all there."""
_FIRST_LOOK: Final = 1.0
_ROOM_TO_GROW: Final = 0.5
"""How full the shards should be after a reshard, at most."""


def fitting_total(team: Team) -> int:
    """So many shards that they are half full."""
    return max(-(-team.guild_count // int(_GUILDS_PER_SHARD * _ROOM_TO_GROW)), 1)


async def watch_fill(team_of: Callable[[], Team | None], limit: float, full: Callable[[Team, float], None]) -> None:
    """Call ``full`` with how full they are, a part of 1, where that reaches ``limit``; ``team_of`` gives the shards."""
    told = 0
    while True:
        team = team_of()
        is_there = team is not None and team.has_guilds
        if team is not None and is_there:
            fill = team.guild_count / (_GUILDS_PER_SHARD * len(team.ids))
            if fill >= limit and team.guild_count > told:
                # Again when it has grown by a tenth: whoever is told does not act at once.
                told = int(team.guild_count * 1.1)
                full(team, fill)
        await asyncio.sleep(_LOOK if is_there else _FIRST_LOOK)
