"""Emojis, custom ones and those of Unicode."""

from datetime import datetime

from propylon._base import UNSET, Model, UnsetType
from propylon.models._user import User
from propylon.snowflake import Snowflake, snowflake_time

__all__ = ["Emoji"]


class Emoji(Model):
    """An emoji, also where Discord sends only part of it.

    See https://discord.com/developers/docs/resources/emoji#emoji-object.
    """

    id: Snowflake | None = None
    """None for an emoji of Unicode."""
    name: str | None = None
    """The character itself for an emoji of Unicode; None for a custom one that was deleted since."""
    roles: tuple[Snowflake, ...] | UnsetType = UNSET
    """Who may use it; empty for all."""
    user: User | UnsetType = UNSET
    """Who uploaded it."""
    require_colons: bool | UnsetType = UNSET
    managed: bool | UnsetType = UNSET
    animated: bool | UnsetType = UNSET
    available: bool | UnsetType = UNSET
    """False when the guild lost the boosts for it."""

    def __str__(self) -> str:
        """The text that shows the emoji in a message."""
        if self.id is None:
            return self.name or ""
        return f"<{'a' if self.animated else ''}:{self.name or '_'}:{self.id}>"

    @property
    def created_at(self) -> datetime | None:
        """When a custom emoji was made; None for an emoji of Unicode."""
        return None if self.id is None else snowflake_time(self.id)
