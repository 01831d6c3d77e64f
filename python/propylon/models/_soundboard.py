"""Sounds of a soundboard."""

from datetime import datetime

from propylon._base import UNSET, Model, UnsetType
from propylon.models._user import User
from propylon.snowflake import Snowflake, snowflake_time

__all__ = ["SoundboardSound"]


class SoundboardSound(Model):
    """A sound: https://discord.com/developers/docs/resources/soundboard#soundboard-sound-object."""

    name: str
    sound_id: Snowflake
    volume: float = 1.0
    """From 0 to 1."""
    emoji_id: Snowflake | None = None
    emoji_name: str | None = None
    """The character of a Unicode emoji."""
    guild_id: Snowflake | UnsetType = UNSET
    available: bool = True
    """False when the guild lost the boosts for it."""
    user: User | UnsetType = UNSET
    """Who uploaded it."""

    @property
    def created_at(self) -> datetime:
        """When the sound was made; meaningless for Discord's own sounds, whose ids are small numbers."""
        return snowflake_time(self.sound_id)
