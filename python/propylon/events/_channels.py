"""Channels; threads have a file of their own."""

from datetime import datetime

from propylon._base import NO_ID, UNSET, Identified, UnsetType
from propylon.events._event import Event
from propylon.events._intents import DIRECT_MESSAGES, GUILDS, NO_INTENT
from propylon.models._channel import Channel
from propylon.snowflake import Snowflake

__all__ = [
    "ChannelCreate",
    "ChannelDelete",
    "ChannelInfo",
    "ChannelInfoChannel",
    "ChannelPinsUpdate",
    "ChannelUpdate",
]


class ChannelCreate(Channel, Event, event="CHANNEL_CREATE", intents=GUILDS):
    """A channel of a guild was made, or became visible to the bot.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#channel-create
    """

    guild_id: Snowflake = NO_ID


class ChannelUpdate(Channel, Event, event="CHANNEL_UPDATE", intents=GUILDS):
    """A channel changed; it is all told anew. A new `last_message_id` alone does not cause it.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#channel-update
    """

    guild_id: Snowflake = NO_ID


class ChannelDelete(Channel, Event, event="CHANNEL_DELETE", intents=GUILDS):
    """A channel was deleted, or is no longer visible to the bot.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#channel-delete
    """

    guild_id: Snowflake = NO_ID


class ChannelPinsUpdate(Event, event="CHANNEL_PINS_UPDATE", intents=GUILDS | DIRECT_MESSAGES):
    """A message was pinned or unpinned; deleting a pinned message does not cause it.

    Intents: GUILDS or DIRECT_MESSAGES. https://discord.com/developers/docs/events/gateway-events#channel-pins-update
    """

    guild_id: Snowflake | UnsetType = UNSET
    """Left out for private channels."""
    channel_id: Snowflake
    last_pin_timestamp: datetime | UnsetType | None = UNSET
    """When the newest pin was set."""


class ChannelInfoChannel(Identified):
    """One channel of a `ChannelInfo`; only the requested fields are there."""

    id: Snowflake
    status: str | UnsetType | None = UNSET
    """The text above a voice channel."""
    voice_start_time: int | UnsetType | None = UNSET
    """Seconds since 1970; since when somebody is in the voice channel."""


class ChannelInfo(Event, event="CHANNEL_INFO", intents=NO_INTENT):
    """The answer to a request for channel info (opcode 43): channels with their ephemeral data.

    Always sent. https://discord.com/developers/docs/events/gateway-events#channel-info
    """

    guild_id: Snowflake = NO_ID
    channels: tuple[ChannelInfoChannel, ...] = ()
