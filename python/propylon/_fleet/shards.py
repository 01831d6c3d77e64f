"""One shard of a manager, and all of them as a mapping."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from propylon._commands.answers import RateLimit
from propylon._fleet.life import FleetLife
from propylon._gateway.life import Life
from propylon._gateway.metrics import Metrics
from propylon._sessions.session import GatewayStatus, Session

__all__ = ["ManagedShard", "Shards"]


class ManagedShard:
    """One shard of a `ShardManager`, from its `ShardManager.shards`.

    What it tells may be read from any thread.
    """

    __slots__ = ("_fleet", "_life")

    def __init__(self, fleet: Any, life: Any) -> None:
        """Made by `ShardManager.shards`."""
        # Of no public type: what they are is nobody's business.
        self._fleet: Final[FleetLife] = fleet
        self._life: Final[Life] = life

    def __eq__(self, other: object) -> bool:
        """Whether it is the same shard."""
        return isinstance(other, ManagedShard) and self._life is other._life

    def __hash__(self) -> int:
        """As it is compared."""
        return hash(self._life)

    def __repr__(self) -> str:
        """Which, and where it stands."""
        shard_id, total = self.shard
        return f"<ManagedShard {shard_id} of {total} {self.status.name}>"

    @property
    def shard(self) -> tuple[int, int]:
        """``(shard_id, shard_count)``."""
        assert self._life.shard_pair is not None
        return self._life.shard_pair

    @property
    def status(self) -> GatewayStatus:
        """Where it stands."""
        return self._life.status

    @property
    def latency(self) -> float | None:
        """Seconds from the last acknowledged heartbeat to its ACK; None before the first."""
        return self._life.shard.latency

    @property
    def session(self) -> Session | None:
        """The session as a RESUME would use it; None before READY and after a close that ended it."""
        return self._life.session

    @property
    def guilds_ready(self) -> bool:
        """Whether each guild of the session's READY has been heard of, or nothing came for 4 s."""
        return self._life.shard.guilds_ready

    @property
    def guild_count(self) -> int:
        """Guilds of its session, the unavailable ones among them."""
        return self._life.shard.guild_count

    @property
    def identify_blocked_until(self) -> float | None:
        """Unix time in seconds until which no new session is started, because the day's budget is all but used up."""
        return self._life.shard.identify_blocked_until

    @property
    def rate_limit(self) -> RateLimit:
        """What Discord's limit of 120 payloads in 60 s still takes."""
        return RateLimit(*self._life.shard.send_window)

    def metrics(self) -> Metrics:
        """All its counters, taken together."""
        return self._life.metrics()

    async def close(self) -> None:
        """Close it, and end its session; the others go on. When the last one is closed, so is the manager."""
        await self._fleet.close_shard(self._life)

    async def restart(self) -> None:
        """Close it and begin a new session, at the cost of an IDENTIFY. Returns at READY.

        Raises:
            GatewayClosed: Discord refuses it for good, and with it the fleet.
            IdentifyBudgetExhausted: No IDENTIFY is left today.
            NotConnected: The manager is not open, or was closed meanwhile.
        """
        await self._fleet.restart_shard(self._life, 1000)

    async def resume(self) -> None:
        """Close its connection and go on with the session on another one, as after a broken connection.

        Raises:
            NotConnected: The manager is not open, or was closed meanwhile.
        """
        await self._fleet.restart_shard(self._life, 4000)


class Shards(Mapping[int, ManagedShard]):
    """The shards of a manager by their ids; none before it knows how many there are."""

    def __init__(self, fleet: FleetLife) -> None:
        """Made by the manager."""
        self._fleet: Final = fleet

    def __getitem__(self, shard_id: int) -> ManagedShard:
        """Return the shard; KeyError where it is not one of this process."""
        team = self._fleet.team
        if team is None or shard_id not in team.lives:
            raise KeyError(shard_id)
        return ManagedShard(self._fleet, team.lives[shard_id])

    def __iter__(self) -> Iterator[int]:
        """Iterate over the ids."""
        return iter(() if self._fleet.team is None else self._fleet.team.ids)

    def __len__(self) -> int:
        """How many this process has."""
        return 0 if self._fleet.team is None else len(self._fleet.team.ids)

    def __repr__(self) -> str:
        """List them."""
        return f"<Shards {list(self)}>"
