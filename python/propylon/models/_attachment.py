"""Files sent with messages or interactions."""

from datetime import datetime
from enum import IntFlag

from propylon._base import UNSET, Identified, UnsetType
from propylon.models._application import Application
from propylon.models._user import User
from propylon.snowflake import Snowflake

__all__ = ["Attachment", "AttachmentFlags"]


class AttachmentFlags(IntFlag):
    """Traits of a file: https://discord.com/developers/docs/resources/message#attachment-object-attachment-flags."""

    IS_CLIP = 1 << 0
    IS_THUMBNAIL = 1 << 1
    IS_REMIX = 1 << 2
    IS_SPOILER = 1 << 3
    IS_ANIMATED = 1 << 5


class Attachment(Identified):
    """A file: https://discord.com/developers/docs/resources/message#attachment-object."""

    id: Snowflake
    filename: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    """Alternative text."""
    content_type: str | UnsetType = UNSET
    size: int = 0
    """Bytes."""
    url: str
    """Signed; stops working after about a day."""
    proxy_url: str = ""
    height: int | UnsetType | None = UNSET
    """Pixels."""
    width: int | UnsetType | None = UNSET
    """Pixels."""
    placeholder: str | UnsetType = UNSET
    """ThumbHash, base64."""
    placeholder_version: int | UnsetType = UNSET
    ephemeral: bool | UnsetType = UNSET
    """Whether it vanishes; those of ephemeral messages live as long as these do."""
    duration_secs: float | UnsetType = UNSET
    """Seconds, voice messages only."""
    waveform: str | UnsetType = UNSET
    """Loudness over time of a voice message, one byte each, base64."""
    flags: int | UnsetType = UNSET
    """Bits of `AttachmentFlags`; typed in `attachment_flags`."""
    clip_participants: tuple[User, ...] | UnsetType = UNSET
    """Who was streaming, clips only."""
    clip_created_at: datetime | UnsetType = UNSET
    application: Application | UnsetType | None = UNSET
    """What was streamed, clips only."""

    @property
    def attachment_flags(self) -> AttachmentFlags:
        """`flags`, typed; none set if they were left out."""
        return AttachmentFlags(self.flags or 0)
