"""The shards of one total: what a fleet consists of, and a second one while it is resharded."""

import asyncio
from collections.abc import Iterator
from typing import Final

from propylon._gateway.life import Life
from propylon._sessions.session import GatewayStatus

__all__ = ["Team"]


class Team:
    """Shards that were made together."""

    def __init__(self, lives: dict[int, Life], total: int) -> None:
        """The shards by their ids, of so many in all."""
        self.ids: Final = tuple(lives)
        self.total: Final = total
        self.lives: Final = lives
        self.closed: Final[set[Life]] = set()
        """Those that were closed one by one; nobody waits for them."""
        self.told: Final[set[Life]] = set()
        """Those whose READY the loop has been told of, later than the engine knows of it."""
        self.retired = False
        """Whether another team has taken its place, and it only closes."""
        self.starting: Final[dict[asyncio.Task[None], Life]] = {}
        """Openings that are under way."""

    def __iter__(self) -> Iterator[Life]:
        """Its shards, by their ids."""
        return iter(self.lives.values())

    def owns(self, life: Life) -> bool:
        """Whether a shard is one of these."""
        return life.shard_pair is not None and self.lives.get(life.shard_pair[0]) is life

    def stop_starting(self) -> None:
        """Give up what has not come to its connection: a store may never answer."""
        for task, life in self.starting.items():
            if not life.shard.running:
                task.cancel()

    @property
    def is_ready(self) -> bool:
        """Whether each shard is READY."""
        return all(life.status is GatewayStatus.READY for life in self if life not in self.closed)

    @property
    def has_guilds(self) -> bool:
        """Whether each shard is, and has heard of each of its guilds."""
        return self.is_ready and all(life.shard.guilds_ready for life in self if life not in self.closed)

    @property
    def is_told(self) -> bool:
        """Whether the loop has been told of each shard's READY."""
        return self.told.union(self.closed).issuperset(self)

    @property
    def guild_count(self) -> int:
        """Guilds of all of them."""
        return sum(life.shard.guild_count for life in self)

    @property
    def is_over(self) -> bool:
        """Whether none is open or opening."""
        return not (self.starting or any(life.under_way for life in self))
