"""Channels and threads, one wide class for all types."""

from datetime import datetime
from enum import IntFlag

import msgspec

from propylon._base import NO_ID, UNSET, Identified, Model, OpenIntEnum, UnsetType
from propylon.models._member import Member
from propylon.models._permissions import Permissions
from propylon.models._user import User
from propylon.snowflake import Snowflake

__all__ = [
    "Channel",
    "ChannelFlags",
    "ChannelType",
    "DefaultReaction",
    "ForumLayoutType",
    "ForumTag",
    "Overwrite",
    "OverwriteType",
    "PartialChannel",
    "SortOrderType",
    "ThreadMember",
    "ThreadMetadata",
    "VideoQualityMode",
]


class ChannelType(OpenIntEnum):
    """What kind of channel: https://discord.com/developers/docs/resources/channel#channel-object-channel-types."""

    GUILD_TEXT = 0
    DM = 1
    GUILD_VOICE = 2
    GROUP_DM = 3
    GUILD_CATEGORY = 4
    GUILD_ANNOUNCEMENT = 5
    ANNOUNCEMENT_THREAD = 10
    PUBLIC_THREAD = 11
    PRIVATE_THREAD = 12
    GUILD_STAGE_VOICE = 13
    GUILD_DIRECTORY = 14
    GUILD_FORUM = 15
    GUILD_MEDIA = 16


class ChannelFlags(IntFlag):
    """Traits of a channel: https://discord.com/developers/docs/resources/channel#channel-object-channel-flags."""

    PINNED = 1 << 1
    REQUIRE_TAG = 1 << 4
    HIDE_MEDIA_DOWNLOAD_OPTIONS = 1 << 15
    IS_SPOILER_CHANNEL = 1 << 21


class VideoQualityMode(OpenIntEnum):
    """Camera quality in a voice channel.

    See https://discord.com/developers/docs/resources/channel#channel-object-video-quality-modes.
    """

    AUTO = 1
    FULL = 2


class SortOrderType(OpenIntEnum):
    """Order of the posts of a forum.

    See https://discord.com/developers/docs/resources/channel#channel-object-sort-order-types.
    """

    LATEST_ACTIVITY = 0
    CREATION_DATE = 1


class ForumLayoutType(OpenIntEnum):
    """Layout of the posts of a forum.

    See https://discord.com/developers/docs/resources/channel#channel-object-forum-layout-types.
    """

    NOT_SET = 0
    LIST_VIEW = 1
    GALLERY_VIEW = 2


class OverwriteType(OpenIntEnum):
    """Whom an overwrite is about: https://discord.com/developers/docs/resources/channel#overwrite-object."""

    ROLE = 0
    MEMBER = 1


class Overwrite(Model):
    """What a role or member may do in one channel.

    See https://discord.com/developers/docs/resources/channel#overwrite-object.
    """

    id: Snowflake
    """Of the role or user, see `type`."""
    type: OverwriteType
    allow: int = 0
    """Bits of `Permissions`; typed in `allowed`."""
    deny: int = 0
    """Bits of `Permissions`; typed in `denied`."""

    @property
    def allowed(self) -> Permissions:
        """`allow`, typed."""
        return Permissions(self.allow)

    @property
    def denied(self) -> Permissions:
        """`deny`, typed."""
        return Permissions(self.deny)


class ThreadMetadata(Model):
    """The state of a thread: https://discord.com/developers/docs/resources/channel#thread-metadata-object."""

    archived: bool = False
    auto_archive_duration: int = 0
    """Minutes without activity after which the thread leaves the channel list: 60, 1440, 4320 or 10080."""
    archive_timestamp: datetime | None = None
    """When it was last archived or unarchived."""
    locked: bool = False
    invitable: bool | UnsetType = UNSET
    """Whether any member may invite others; private threads only."""
    create_timestamp: datetime | UnsetType | None = UNSET
    """Only for threads made after 2022-01-09."""


class ThreadMember(Model):
    """Somebody's membership of a thread.

    See https://discord.com/developers/docs/resources/channel#thread-member-object.
    """

    id: Snowflake | UnsetType = UNSET
    """The thread's id; left out inside GUILD_CREATE."""
    user_id: Snowflake | UnsetType = UNSET
    """Left out inside GUILD_CREATE, where it is the bot."""
    join_timestamp: datetime | UnsetType = UNSET
    flags: int = 0
    """Notification settings of the user; no bit is documented."""
    member: Member | UnsetType = UNSET


class ForumTag(Identified):
    """A tag for the posts of a forum: https://discord.com/developers/docs/resources/channel#forum-tag-object."""

    id: Snowflake
    name: str
    moderated: bool = False
    """Whether it takes the permission MANAGE_THREADS to apply it."""
    emoji_id: Snowflake | None = None
    emoji_name: str | None = None
    """The character of a Unicode emoji."""


class DefaultReaction(Model):
    """The emoji of a forum's reaction button.

    See https://discord.com/developers/docs/resources/channel#default-reaction-object.
    """

    emoji_id: Snowflake | None = None
    emoji_name: str | None = None
    """The character of a Unicode emoji."""


_TEXT = frozenset({ChannelType.GUILD_TEXT, ChannelType.GUILD_ANNOUNCEMENT})
_VOICE = frozenset({ChannelType.GUILD_VOICE, ChannelType.GUILD_STAGE_VOICE})
_FORUM = frozenset({ChannelType.GUILD_FORUM, ChannelType.GUILD_MEDIA})
_PRIVATE = frozenset({ChannelType.DM, ChannelType.GROUP_DM})
_THREAD = frozenset({ChannelType.ANNOUNCEMENT_THREAD, ChannelType.PUBLIC_THREAD, ChannelType.PRIVATE_THREAD})


class PartialChannel(Identified):
    """A channel of any type of which any field may be left out, as in interactions.

    See https://discord.com/developers/docs/resources/channel#channel-object. Which fields a channel has depends on its
    type; the properties `is_text` to `is_category` sort the types.
    """

    id: Snowflake = NO_ID
    type: ChannelType | UnsetType = UNSET
    guild_id: Snowflake | UnsetType = UNSET
    """Left out for private channels and for the channels inside GUILD_CREATE."""
    position: int | UnsetType = UNSET
    """Place in the list; channels of equal position sort by id."""
    permission_overwrites: tuple[Overwrite, ...] | UnsetType = UNSET
    name: str | UnsetType | None = UNSET
    """None for private channels."""
    topic: str | UnsetType | None = UNSET
    nsfw: bool | UnsetType = UNSET
    last_message_id: Snowflake | UnsetType | None = UNSET
    """Of the newest message, for forums of the newest thread; may point to one that was deleted."""
    bitrate: int | UnsetType = UNSET
    """Bits per second, voice channels only."""
    user_limit: int | UnsetType = UNSET
    """Voice channels only; 0 for no limit."""
    rate_limit_per_user: int | UnsetType = UNSET
    """Seconds between two messages of one member (slow mode); 0 for none."""
    recipients: tuple[User, ...] | UnsetType = UNSET
    """Private channels only."""
    icon: str | UnsetType | None = UNSET
    owner_id: Snowflake | UnsetType = UNSET
    """Of a group or thread."""
    application_id: Snowflake | UnsetType | None = UNSET
    """Of the bot that made the group."""
    managed: bool | UnsetType = UNSET
    parent_id: Snowflake | UnsetType | None = UNSET
    """The category of a channel, the channel of a thread."""
    last_pin_timestamp: datetime | UnsetType | None = UNSET
    rtc_region: str | UnsetType | None = UNSET
    """None: the nearest is chosen."""
    video_quality_mode: VideoQualityMode | UnsetType = UNSET
    message_count: int | UnsetType = UNSET
    """Of a thread, without its first message and deleted ones."""
    member_count: int | UnsetType = UNSET
    """Of a thread; stops counting at 50."""
    thread_metadata: ThreadMetadata | UnsetType = UNSET
    member: ThreadMember | UnsetType = UNSET
    """The bot's own membership of the thread."""
    default_auto_archive_duration: int | UnsetType = UNSET
    """Minutes; what a client proposes for new threads."""
    permissions: int | UnsetType = UNSET
    """Bits of `Permissions` of the invoking user, in interactions only; typed in `user_permissions`."""
    app_permissions: int | UnsetType = UNSET
    """Bits of `Permissions` of the application, in interactions only."""
    flags: int | UnsetType = UNSET
    """Bits of `ChannelFlags`; typed in `channel_flags`."""
    total_message_sent: int | UnsetType = UNSET
    """As `message_count`, but never falling."""
    available_tags: tuple[ForumTag, ...] | UnsetType = UNSET
    applied_tags: tuple[Snowflake, ...] | UnsetType = UNSET
    default_reaction_emoji: DefaultReaction | UnsetType | None = UNSET
    default_thread_rate_limit_per_user: int | UnsetType = UNSET
    """Seconds; copied to new threads."""
    default_sort_order: SortOrderType | UnsetType | None = UNSET
    default_forum_layout: ForumLayoutType | UnsetType = UNSET

    @property
    def channel_flags(self) -> ChannelFlags:
        """`flags`, typed; none set if they were left out."""
        return ChannelFlags(self.flags or 0)

    @property
    def user_permissions(self) -> Permissions | None:
        """`permissions`, typed; None outside of interactions."""
        return Permissions(self.permissions) if isinstance(self.permissions, int) else None

    @property
    def is_text(self) -> bool:
        """Whether this is a text or announcement channel of a guild."""
        return self.type in _TEXT

    @property
    def is_voice(self) -> bool:
        """Whether this is a voice or stage channel."""
        return self.type in _VOICE

    @property
    def is_forum(self) -> bool:
        """Whether this is a forum or media channel, which holds threads only."""
        return self.type in _FORUM

    @property
    def is_private(self) -> bool:
        """Whether this is a direct message or a group."""
        return self.type in _PRIVATE

    @property
    def is_thread(self) -> bool:
        """Whether this is a thread of any type."""
        return self.type in _THREAD

    @property
    def is_category(self) -> bool:
        """Whether this is a category."""
        return self.type == ChannelType.GUILD_CATEGORY

    @property
    def mention(self) -> str:
        """The text that mentions the channel in a message."""
        return f"<#{self.id}>"


class Channel(PartialChannel):
    """A channel or thread of any type: https://discord.com/developers/docs/resources/channel#channel-object."""

    id: Snowflake = msgspec.field()
    type: ChannelType = msgspec.field()
