"""Events of a fleet of shards. Discord does not send them: a `propylon.ShardManager` makes them, for its listeners."""

from typing import Final

from propylon.events._event import Event
from propylon.events._intents import NO_INTENT

__all__ = ["FleetReady", "Resharded", "ShardClosed", "ShardReady", "ShardResumed"]


class ShardReady(Event, event="SHARD_READY", intents=NO_INTENT):
    """A shard has begun a new session; its guilds follow one by one as `GuildCreate`.

    From a `propylon.ShardManager`, without any intent.
    """

    shard_id: int
    shard_count: int


class ShardResumed(Event, event="SHARD_RESUMED", intents=NO_INTENT):
    """The session of a shard goes on; every event missed meanwhile has been sent again.

    From a `propylon.ShardManager`, without any intent.
    """

    shard_id: int
    shard_count: int


class ShardClosed(Event, event="SHARD_CLOSED", intents=NO_INTENT):
    """A connection of a shard has ended; the same as `propylon.Closed`.

    From a `propylon.ShardManager`, without any intent.
    """

    shard_id: int
    shard_count: int
    code: int | None
    """Of the close frame; None where there was none."""
    reason: str
    reconnect: bool
    """Whether the shard connects again."""


class FleetReady(Event, event="FLEET_READY", intents=NO_INTENT):
    """All shards of the process are ready, and each guild of theirs has been heard of, or nothing came for 4 s.

    Once for each opening. From a `propylon.ShardManager`, without any intent.
    """

    shard_ids: tuple[int, ...]
    shard_count: int
    guild_count: int
    """Guilds of these shards, the unavailable ones among them."""


class Resharded(Event, event="RESHARDED", intents=NO_INTENT):
    """Another number of shards has taken over, without a break; the old shards are closed.

    From a `propylon.ShardManager`, without any intent.
    """

    shard_ids: tuple[int, ...]
    """Of this process, now."""
    shard_count: int
    """Now."""
    before: int
    """How many there were."""


FLEET_EVENTS: Final = frozenset(
    kind.__event_name__ for kind in (ShardReady, ShardResumed, ShardClosed, FleetReady, Resharded)
)
"""Their names."""
