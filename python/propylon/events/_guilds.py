"""Guilds that come, change and go; what is inside of them has files of its own."""

from datetime import datetime

from propylon._base import UNSET, UnsetType
from propylon.events._event import Event
from propylon.events._intents import GUILDS
from propylon.models._channel import Channel
from propylon.models._guild import Guild, UnavailableGuild
from propylon.models._member import Member
from propylon.models._presence import ReceivedPresence
from propylon.models._scheduled_event import GuildScheduledEvent
from propylon.models._soundboard import SoundboardSound
from propylon.models._stage import StageInstance
from propylon.models._voice import VoiceState

__all__ = [
    "GuildAvailable",
    "GuildCreate",
    "GuildDelete",
    "GuildJoined",
    "GuildRemoved",
    "GuildUnavailable",
    "GuildUpdate",
]


class GuildCreate(Guild, Event, event="GUILD_CREATE", intents=GUILDS):
    """A guild became available: at the start of a session, after an outage, or because the bot joined it.

    It may be a stub of `id` and ``unavailable=True``, for a guild that was joined or is loaded during an outage; then
    all else has its default, and `is_stub` is true. Guilds above 75,000 members, and all without the intent
    GUILD_PRESENCES, come with the bot and the members in voice channels only.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#guild-create
    """

    joined_at: datetime | UnsetType = UNSET
    """When the bot joined."""
    large: bool = False
    """Whether `members` leaves out those who are offline."""
    unavailable: bool | UnsetType = UNSET
    """False: available (again); left out: newly joined; True: down, a stub. Compare with `Ready.guilds` too."""
    member_count: int = 0
    voice_states: tuple[VoiceState, ...] = ()
    """Without `VoiceState.guild_id`."""
    members: tuple[Member, ...] = ()
    channels: tuple[Channel, ...] = ()
    """Without `Channel.guild_id`."""
    threads: tuple[Channel, ...] = ()
    """The active ones that the bot may see."""
    presences: tuple[ReceivedPresence, ...] = ()
    """Without `ReceivedPresence.guild_id`; with the intent GUILD_PRESENCES only."""
    stage_instances: tuple[StageInstance, ...] = ()
    guild_scheduled_events: tuple[GuildScheduledEvent, ...] = ()
    soundboard_sounds: tuple[SoundboardSound, ...] = ()

    @property
    def is_stub(self) -> bool:
        """Whether the guild is down and only its id was sent."""
        return self.unavailable is True


class GuildUpdate(Guild, Event, event="GUILD_UPDATE", intents=GUILDS):
    """A guild's settings changed; they are all told anew.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#guild-update
    """


class GuildDelete(UnavailableGuild, Event, event="GUILD_DELETE", intents=GUILDS):
    """A guild became unavailable (`unavailable` is true), or the bot is no longer in it (left out).

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#guild-delete
    """


# Which of its two meanings an event has is told by what the session knows, not by its payload: the engine tells.


class GuildAvailable(GuildCreate, guild_change="available"):
    """A `GuildCreate` of a guild that the bot is in: at the start of a session, or after an outage.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#guild-create
    """


class GuildJoined(GuildCreate, guild_change="joined"):
    """A `GuildCreate` of a guild that the bot was added to.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#guild-create
    """


class GuildUnavailable(GuildDelete, guild_change="unavailable"):
    """A `GuildDelete` of a guild that is down; the bot is still in it, and `GuildAvailable` follows.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#guild-delete
    """


class GuildRemoved(GuildDelete, guild_change="removed"):
    """A `GuildDelete` of a guild that the bot is no longer in.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#guild-delete
    """
