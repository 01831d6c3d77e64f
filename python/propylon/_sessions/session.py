"""A session and the states and ends of its connections, as values."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self

from propylon.errors import PropylonError

__all__ = ["Closed", "GatewayStatus", "Session", "worst"]


class GatewayStatus(Enum):
    """Where a gateway stands in its life."""

    UNCONNECTED = "UNCONNECTED"
    """Never opened."""
    CONNECTING = "CONNECTING"
    """TCP, TLS and the HTTP upgrade are under way."""
    WAITING_FOR_HELLO = "WAITING_FOR_HELLO"
    """The WebSocket is open, the server speaks first."""
    IDENTIFYING = "IDENTIFYING"
    """HELLO is in, IDENTIFY waits for its turn at the identify gate."""
    RESUMING = "RESUMING"
    """RESUME is sent, missed events come in."""
    WAITING_FOR_READY = "WAITING_FOR_READY"
    """IDENTIFY is sent."""
    READY = "READY"
    """READY or RESUMED is in."""
    DISCONNECTED = "DISCONNECTED"
    """Between two connections, or closed."""

    @property
    def is_connected(self) -> bool:
        """Whether a WebSocket is open."""
        return self not in _WITHOUT_SOCKET


_WITHOUT_SOCKET = frozenset({GatewayStatus.UNCONNECTED, GatewayStatus.CONNECTING, GatewayStatus.DISCONNECTED})
_WORST_FIRST = (
    GatewayStatus.UNCONNECTED,
    GatewayStatus.DISCONNECTED,
    GatewayStatus.CONNECTING,
    GatewayStatus.WAITING_FOR_HELLO,
    GatewayStatus.IDENTIFYING,
    GatewayStatus.WAITING_FOR_READY,
    GatewayStatus.RESUMING,
    GatewayStatus.READY,
)


def worst(statuses: Iterable[GatewayStatus]) -> GatewayStatus:
    """The one that is furthest from READY; UNCONNECTED where there is none."""
    return min(statuses, key=_WORST_FIRST.index, default=GatewayStatus.UNCONNECTED)


@dataclass(frozen=True, slots=True)
class Session:
    """What a RESUME needs: https://discord.com/developers/docs/events/gateway#resuming.

    Together with the token it takes the session over, so treat ``id`` as a secret; the repr hides it.
    """

    id: str = field(repr=False)
    sequence: int
    """The last accepted sequence number."""
    resume_url: str | None = None
    """As READY gave it, without query."""
    shard: tuple[int, int] | None = None
    """``(shard_id, shard_count)``."""
    intents: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As what JSON can hold. It holds the id: keep it as you keep the token."""
        shard = None if self.shard is None else list(self.shard)
        return {
            "id": self.id,
            "sequence": self.sequence,
            "resume_url": self.resume_url,
            "shard": shard,
            "intents": int(self.intents),
        }

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Make one from what `to_dict` gave, or its JSON.

        Raises:
            ValueError: Something is missing or of another type. The text holds no secret.
        """
        match data:
            case {
                "id": str(id),
                "sequence": int(sequence),
                "resume_url": str() | None as resume_url,
                "shard": None | [int(), int()] as shard,
                "intents": int(intents),
            } if id and sequence >= 0 and intents >= 0:
                return cls(id, sequence, resume_url, None if shard is None else (shard[0], shard[1]), intents)
            case _:
                raise ValueError("not a session as Session.to_dict() gives it")


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of one connection, as ``on_close`` handlers get it."""

    code: int | None
    """The close code received, ours where we closed, None for a connection that dropped."""
    reason: str
    error: PropylonError | None
    """What `Gateway.open`, `Gateway.run` or `Gateway.wait_closed` raise where no connection follows.

    None after the user's own close.
    """
    reconnect: bool
    """Whether another connection follows. It is under way already; return False to stop that."""
    shard: tuple[int, int] | None = None
    """``(shard_id, shard_count)`` of the gateway whose connection it was."""
