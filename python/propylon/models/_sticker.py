"""Stickers."""

from propylon._base import UNSET, Identified, OpenIntEnum, UnsetType
from propylon.models._user import User
from propylon.snowflake import Snowflake

__all__ = ["Sticker", "StickerFormatType", "StickerItem", "StickerType"]


class StickerType(OpenIntEnum):
    """Who made a sticker, Discord or a guild.

    See https://discord.com/developers/docs/resources/sticker#sticker-object-sticker-types.
    """

    STANDARD = 1
    GUILD = 2


class StickerFormatType(OpenIntEnum):
    """The file format of a sticker.

    See https://discord.com/developers/docs/resources/sticker#sticker-object-sticker-format-types.
    """

    PNG = 1
    APNG = 2
    LOTTIE = 3
    GIF = 4


class StickerItem(Identified):
    """What a message tells of a sticker.

    See https://discord.com/developers/docs/resources/sticker#sticker-item-object.
    """

    id: Snowflake
    name: str
    format_type: StickerFormatType


class Sticker(Identified):
    """A sticker: https://discord.com/developers/docs/resources/sticker#sticker-object."""

    id: Snowflake
    pack_id: Snowflake | UnsetType = UNSET
    name: str
    description: str | None = None
    tags: str = ""
    """What to find it by: names separated by commas, for a guild's sticker the name of an emoji."""
    type: StickerType = StickerType.GUILD
    format_type: StickerFormatType = StickerFormatType.PNG
    available: bool | UnsetType = UNSET
    """False when the guild lost the boosts for it."""
    guild_id: Snowflake | UnsetType = UNSET
    user: User | UnsetType = UNSET
    """Who uploaded it."""
    sort_value: int | UnsetType = UNSET
