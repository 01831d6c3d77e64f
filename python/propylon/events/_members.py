"""Members of guilds, and those who are banned."""

import msgspec

from propylon._base import UNSET, Unchecked, UnsetType
from propylon.events._event import Event
from propylon.events._intents import GUILD_MEMBERS, GUILD_MODERATION, NO_INTENT
from propylon.models._member import Member, PartialMember
from propylon.models._presence import ReceivedOnlineStatus, ReceivedPresence
from propylon.models._user import User
from propylon.snowflake import Snowflake

__all__ = [
    "ChunkPresence",
    "GuildBanAdd",
    "GuildBanRemove",
    "GuildMemberAdd",
    "GuildMemberRemove",
    "GuildMemberUpdate",
    "GuildMembersChunk",
]


class GuildMemberAdd(Member, Event, event="GUILD_MEMBER_ADD", intents=GUILD_MEMBERS):
    """A user joined a guild. It may come for somebody who is a member already.

    Intent: GUILD_MEMBERS (privileged). https://discord.com/developers/docs/events/gateway-events#guild-member-add
    """

    guild_id: Snowflake


class GuildMemberUpdate(PartialMember, Event, event="GUILD_MEMBER_UPDATE", intents=GUILD_MEMBERS):
    """A member changed, or the user behind it; less than a full `Member` may be told.

    Intent: GUILD_MEMBERS (privileged); for the bot itself it is always sent.
    https://discord.com/developers/docs/events/gateway-events#guild-member-update
    """

    guild_id: Snowflake
    user: User = msgspec.field()

    @property
    def display_name(self) -> str:
        """What Discord shows in this guild: the nickname, else the name of the user."""
        return self.nick or self.user.display_name


class GuildMemberRemove(Event, event="GUILD_MEMBER_REMOVE", intents=GUILD_MEMBERS):
    """A member left, or was kicked or banned.

    Intent: GUILD_MEMBERS (privileged). https://discord.com/developers/docs/events/gateway-events#guild-member-remove
    """

    guild_id: Snowflake
    user: User


class ChunkPresence(ReceivedPresence):
    """A presence that was requested together with its member.

    Discord's table for this place puts the fields of `client_status` into the presence itself, while its gateway sends
    `client_status`; both are read.
    """

    desktop: Unchecked[ReceivedOnlineStatus] | UnsetType = UNSET
    mobile: Unchecked[ReceivedOnlineStatus] | UnsetType = UNSET
    web: Unchecked[ReceivedOnlineStatus] | UnsetType = UNSET
    vr: Unchecked[ReceivedOnlineStatus] | UnsetType = UNSET


class GuildMembersChunk(Event, event="GUILD_MEMBERS_CHUNK", intents=NO_INTENT):
    """Up to 1,000 of the members that were requested (opcode 8).

    Always sent. https://discord.com/developers/docs/events/gateway-events#guild-members-chunk
    """

    guild_id: Snowflake
    members: tuple[Member, ...] = ()
    chunk_index: int
    """From 0."""
    chunk_count: int
    not_found: tuple[Snowflake, ...] | UnsetType = UNSET
    """The requested ids that are no members."""
    presences: tuple[ChunkPresence, ...] | UnsetType = UNSET
    """Only if they were requested."""
    nonce: str | UnsetType = UNSET
    """Of the request."""


class GuildBanAdd(Event, event="GUILD_BAN_ADD", intents=GUILD_MODERATION):
    """A user was banned.

    Intent: GUILD_MODERATION, and the permission BAN_MEMBERS or VIEW_AUDIT_LOG.
    https://discord.com/developers/docs/events/gateway-events#guild-ban-add
    """

    guild_id: Snowflake
    user: User


class GuildBanRemove(Event, event="GUILD_BAN_REMOVE", intents=GUILD_MODERATION):
    """A user's ban was lifted.

    Intent: GUILD_MODERATION, and the permission BAN_MEMBERS or VIEW_AUDIT_LOG.
    https://discord.com/developers/docs/events/gateway-events#guild-ban-remove
    """

    guild_id: Snowflake
    user: User
