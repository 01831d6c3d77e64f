"""What commands with an answer give back, as values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, overload

from propylon.events import GuildMembersChunk
from propylon.events._members import ChunkPresence
from propylon.models._member import Member
from propylon.snowflake import Snowflake

__all__ = ["Members", "RateLimit", "VoiceServer"]


class Members(Sequence[Member]):
    """The members that a request found, in the order of Discord's chunks."""

    __slots__ = ("_members", "not_found", "presences")

    def __init__(self, chunks: Sequence[GuildMembersChunk]) -> None:
        """``chunks`` of one request, in order."""
        self._members: Final = tuple(member for chunk in chunks for member in chunk.members)
        self.not_found: Final[tuple[Snowflake, ...]] = tuple(
            missing for chunk in chunks for missing in chunk.not_found or ()
        )
        """The requested ids that are no members."""
        self.presences: Final[tuple[ChunkPresence, ...]] = tuple(
            presence for chunk in chunks for presence in chunk.presences or ()
        )
        """Empty unless they were requested; a member without one is offline."""

    def __len__(self) -> int:
        """How many were found."""
        return len(self._members)

    @overload
    def __getitem__(self, index: int, /) -> Member: ...
    @overload
    def __getitem__(self, index: slice, /) -> tuple[Member, ...]: ...
    def __getitem__(self, index: int | slice, /) -> Member | tuple[Member, ...]:
        """One member, or several."""
        return self._members[index]

    def __iter__(self) -> Iterator[Member]:
        """One by one."""
        return iter(self._members)

    def __repr__(self) -> str:
        """How many of each."""
        return f"<Members {len(self)}, not_found={len(self.not_found)}, presences={len(self.presences)}>"


@dataclass(frozen=True, slots=True)
class VoiceServer:
    """What a voice client needs to connect: https://discord.com/developers/docs/topics/voice-connections.

    The repr hides ``session_id`` and ``token``: they open the voice connection.
    """

    session_id: str = field(repr=False)
    token: str = field(repr=False)
    endpoint: str
    """Host and port of the voice server, without scheme."""
    guild_id: Snowflake


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What the limit of 120 payloads in 60 s still takes on the present connection.

    Room for heartbeats and for answers to Discord's own is kept aside and not counted in.
    https://discord.com/developers/docs/events/gateway#rate-limiting
    """

    remaining: int
    """Commands that would leave at once; further ones wait their turn."""
    resets_in: float
    """Seconds until all of the room is free again, if nothing is sent meanwhile."""
