"""Who is in which voice channel, and how."""

from datetime import datetime

from propylon._base import NO_ID, UNSET, Model, OpenIntEnum, UnsetType
from propylon.models._member import Member
from propylon.snowflake import Snowflake

__all__ = ["VoiceAnimationType", "VoiceState"]


class VoiceAnimationType(OpenIntEnum):
    """How an emoji flies.

    See https://discord.com/developers/docs/events/gateway-events#voice-channel-effect-send-animation-types.
    """

    PREMIUM = 0
    """Nitro subscribers only."""
    BASIC = 1


class VoiceState(Model):
    """A user's connection to voice: https://discord.com/developers/docs/resources/voice#voice-state-object."""

    guild_id: Snowflake | UnsetType = UNSET
    """Left out inside GUILD_CREATE."""
    channel_id: Snowflake | None = None
    """None: the user left."""
    user_id: Snowflake = NO_ID
    member: Member | UnsetType = UNSET
    session_id: str = ""
    """Of the voice connection; hidden from the repr."""
    deaf: bool = False
    """By the guild."""
    mute: bool = False
    """By the guild."""
    self_deaf: bool = False
    self_mute: bool = False
    self_stream: bool | UnsetType = UNSET
    """Whether the user shares a screen."""
    self_video: bool = False
    """Whether the camera is on."""
    suppress: bool = False
    """Whether the user may not speak, as in the audience of a stage."""
    request_to_speak_timestamp: datetime | None = None
    """Since when the hand is up."""
