"""Who comes online, types, plays."""

from datetime import UTC, datetime

import msgspec

from propylon._base import NO_ID, UNSET, UnsetType
from propylon.events._event import Event
from propylon.events._intents import DIRECT_MESSAGE_TYPING, GUILD_MESSAGE_TYPING, GUILD_PRESENCES
from propylon.models._member import Member
from propylon.models._presence import ReceivedPresence
from propylon.models._user import PresenceUser
from propylon.snowflake import Snowflake

__all__ = ["PresenceUpdate", "TypingStart"]


class PresenceUpdate(ReceivedPresence, Event, event="PRESENCE_UPDATE", intents=GUILD_PRESENCES):
    """The status, the activities or the profile of a user changed; sent once per shared guild.

    Discord checks neither presence nor types of the fields; see `Unchecked`.

    Intent: GUILD_PRESENCES (privileged). https://discord.com/developers/docs/events/gateway-events#presence-update
    """

    user: PresenceUser = msgspec.field()
    guild_id: Snowflake = NO_ID


class TypingStart(Event, event="TYPING_START", intents=GUILD_MESSAGE_TYPING | DIRECT_MESSAGE_TYPING):
    """A user began to type; it shows for 10 seconds unless it comes again or a message does.

    Intents: GUILD_MESSAGE_TYPING or DIRECT_MESSAGE_TYPING.
    https://discord.com/developers/docs/events/gateway-events#typing-start
    """

    channel_id: Snowflake
    guild_id: Snowflake | UnsetType = UNSET
    user_id: Snowflake
    timestamp: int
    """Seconds since 1970; typed in `started_at`."""
    member: Member | UnsetType = UNSET
    """Guilds only."""

    @property
    def started_at(self) -> datetime:
        """`timestamp` as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.timestamp, UTC)
