"""Embeds: the framed blocks below a message."""

from datetime import datetime
from enum import IntFlag

from propylon._base import UNSET, Model, OpenStrEnum, UnsetType

__all__ = [
    "Embed",
    "EmbedAuthor",
    "EmbedField",
    "EmbedFlags",
    "EmbedFooter",
    "EmbedImage",
    "EmbedMediaFlags",
    "EmbedProvider",
    "EmbedType",
    "EmbedVideo",
]


class EmbedType(OpenStrEnum):
    """Where an embed comes from: https://discord.com/developers/docs/resources/message#embed-object-embed-types."""

    RICH = "rich"
    IMAGE = "image"
    VIDEO = "video"
    GIFV = "gifv"
    ARTICLE = "article"
    LINK = "link"
    POLL_RESULT = "poll_result"


class EmbedFlags(IntFlag):
    """Traits of an embed: https://discord.com/developers/docs/resources/message#embed-object-embed-flags."""

    IS_CONTENT_INVENTORY_ENTRY = 1 << 5


class EmbedMediaFlags(IntFlag):
    """Traits of the media of an embed.

    See https://discord.com/developers/docs/resources/message#embed-object-embed-media-flags.
    """

    IS_ANIMATED = 1 << 5


class EmbedFooter(Model):
    """The last line of an embed.

    See https://discord.com/developers/docs/resources/message#embed-object-embed-footer-structure.
    """

    text: str = ""
    icon_url: str | UnsetType = UNSET
    proxy_icon_url: str | UnsetType = UNSET


class EmbedImage(Model):
    """An image or thumbnail.

    See https://discord.com/developers/docs/resources/message#embed-object-embed-image-structure.
    """

    url: str = ""
    proxy_url: str | UnsetType = UNSET
    height: int | UnsetType = UNSET
    """Pixels."""
    width: int | UnsetType = UNSET
    """Pixels."""
    content_type: str | UnsetType = UNSET
    placeholder: str | UnsetType = UNSET
    """ThumbHash, base64."""
    placeholder_version: int | UnsetType = UNSET
    description: str | UnsetType = UNSET
    """Alternative text."""
    flags: int | UnsetType = UNSET
    """Bits of `EmbedMediaFlags`; typed in `media_flags`."""

    @property
    def media_flags(self) -> EmbedMediaFlags:
        """`flags`, typed; none set if they were left out."""
        return EmbedMediaFlags(self.flags or 0)


class EmbedVideo(Model):
    """A video: https://discord.com/developers/docs/resources/message#embed-object-embed-video-structure."""

    url: str | UnsetType = UNSET
    proxy_url: str | UnsetType = UNSET
    height: int | UnsetType = UNSET
    """Pixels."""
    width: int | UnsetType = UNSET
    """Pixels."""
    content_type: str | UnsetType = UNSET
    placeholder: str | UnsetType = UNSET
    """ThumbHash, base64."""
    placeholder_version: int | UnsetType = UNSET
    description: str | UnsetType = UNSET
    """Alternative text."""
    flags: int | UnsetType = UNSET
    """Bits of `EmbedMediaFlags`; typed in `media_flags`."""

    @property
    def media_flags(self) -> EmbedMediaFlags:
        """`flags`, typed; none set if they were left out."""
        return EmbedMediaFlags(self.flags or 0)


class EmbedProvider(Model):
    """The site an embed was made from.

    See https://discord.com/developers/docs/resources/message#embed-object-embed-provider-structure.
    """

    name: str | UnsetType | None = UNSET
    url: str | UnsetType | None = UNSET


class EmbedAuthor(Model):
    """The line above the title.

    See https://discord.com/developers/docs/resources/message#embed-object-embed-author-structure.
    """

    name: str = ""
    url: str | UnsetType = UNSET
    icon_url: str | UnsetType = UNSET
    proxy_icon_url: str | UnsetType = UNSET


class EmbedField(Model):
    """A titled paragraph.

    See https://discord.com/developers/docs/resources/message#embed-object-embed-field-structure.
    """

    name: str = ""
    value: str = ""
    inline: bool | UnsetType = UNSET
    """Whether it stands beside its neighbours."""


class Embed(Model):
    """An embed: https://discord.com/developers/docs/resources/message#embed-object.

    It comes from a bot, or was made by Discord from a link. The result of a poll is an embed too, of the type
    `EmbedType.POLL_RESULT`, and tells all in its fields.
    """

    title: str | UnsetType = UNSET
    type: EmbedType | UnsetType = UNSET
    description: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    timestamp: datetime | UnsetType = UNSET
    color: int | UnsetType = UNSET
    """0xRRGGBB."""
    footer: EmbedFooter | UnsetType = UNSET
    image: EmbedImage | UnsetType = UNSET
    thumbnail: EmbedImage | UnsetType = UNSET
    video: EmbedVideo | UnsetType = UNSET
    provider: EmbedProvider | UnsetType = UNSET
    author: EmbedAuthor | UnsetType = UNSET
    fields: tuple[EmbedField, ...] | UnsetType = UNSET
    flags: int | UnsetType = UNSET
    """Bits of `EmbedFlags`; typed in `embed_flags`."""

    @property
    def embed_flags(self) -> EmbedFlags:
        """`flags`, typed; none set if they were left out."""
        return EmbedFlags(self.flags or 0)
