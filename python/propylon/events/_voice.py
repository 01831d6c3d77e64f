"""Voice channels: who is in them, and what happens there."""

import msgspec

from propylon._base import NO_ID, UNSET, UnsetType
from propylon.events._event import Event
from propylon.events._intents import GUILD_VOICE_STATES, GUILDS, NO_INTENT
from propylon.models._emoji import Emoji
from propylon.models._voice import VoiceAnimationType, VoiceState
from propylon.snowflake import Snowflake

__all__ = [
    "VoiceChannelEffectSend",
    "VoiceChannelStartTimeUpdate",
    "VoiceChannelStatusUpdate",
    "VoiceServerUpdate",
    "VoiceStateUpdate",
]


class VoiceStateUpdate(VoiceState, Event, event="VOICE_STATE_UPDATE", intents=GUILD_VOICE_STATES):
    """Somebody joined, left or changed a voice channel, or was muted, deafened and so on.

    Intent: GUILD_VOICE_STATES. https://discord.com/developers/docs/events/gateway-events#voice-state-update
    """

    user_id: Snowflake = msgspec.field()
    guild_id: Snowflake = NO_ID


class VoiceServerUpdate(Event, event="VOICE_SERVER_UPDATE", intents=NO_INTENT):
    """Which voice server the bot connects to, after it asked to join or when the server changes.

    Always sent. https://discord.com/developers/docs/events/gateway-events#voice-server-update
    """

    token: str
    """Opens the voice connection; hidden from the repr."""
    guild_id: Snowflake
    endpoint: str | None = None
    """Host of the server. None: it is gone; leave it and wait for the next event."""


class VoiceChannelEffectSend(Event, event="VOICE_CHANNEL_EFFECT_SEND", intents=GUILD_VOICE_STATES):
    """Somebody sent an emoji or a sound into the voice channel that the bot is in.

    Intent: GUILD_VOICE_STATES. https://discord.com/developers/docs/events/gateway-events#voice-channel-effect-send
    """

    channel_id: Snowflake
    guild_id: Snowflake
    user_id: Snowflake
    emoji: Emoji | UnsetType | None = UNSET
    animation_type: VoiceAnimationType | UnsetType | None = UNSET
    animation_id: int | UnsetType = UNSET
    sound_id: Snowflake | UnsetType = UNSET
    """A small number for Discord's own sounds."""
    sound_volume: float | UnsetType = UNSET
    """From 0 to 1."""


class VoiceChannelStatusUpdate(Event, event="VOICE_CHANNEL_STATUS_UPDATE", intents=GUILDS):
    """The text above a voice channel changed.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#voice-channel-status-update
    """

    id: Snowflake
    """Of the channel."""
    guild_id: Snowflake
    status: str | None = None


class VoiceChannelStartTimeUpdate(Event, event="VOICE_CHANNEL_START_TIME_UPDATE", intents=GUILDS):
    """The first user came into a voice channel, or the last one left.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#voice-channel-start-time-update
    """

    id: Snowflake
    """Of the channel."""
    guild_id: Snowflake
    voice_start_time: int | UnsetType | None = UNSET
    """Seconds since 1970; None when the channel is empty."""
