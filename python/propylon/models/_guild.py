"""Guilds, which users call servers."""

from datetime import datetime
from enum import IntFlag

import msgspec

from propylon._base import NO_ID, UNSET, Identified, Model, OpenIntEnum, OpenStrEnum, UnsetType
from propylon.models._emoji import Emoji
from propylon.models._permissions import Permissions
from propylon.models._role import Role
from propylon.models._sticker import Sticker
from propylon.snowflake import Snowflake

__all__ = [
    "DefaultMessageNotificationLevel",
    "ExplicitContentFilterLevel",
    "Guild",
    "GuildFeature",
    "IncidentsData",
    "MfaLevel",
    "NsfwLevel",
    "PartialGuild",
    "PremiumTier",
    "SystemChannelFlags",
    "UnavailableGuild",
    "VerificationLevel",
    "WelcomeScreen",
    "WelcomeScreenChannel",
]


class DefaultMessageNotificationLevel(OpenIntEnum):
    """What notifies a member who chose nothing.

    See https://discord.com/developers/docs/resources/guild#guild-object-default-message-notification-level.
    """

    ALL_MESSAGES = 0
    ONLY_MENTIONS = 1


class ExplicitContentFilterLevel(OpenIntEnum):
    """Whose media is scanned.

    See https://discord.com/developers/docs/resources/guild#guild-object-explicit-content-filter-level.
    """

    DISABLED = 0
    MEMBERS_WITHOUT_ROLES = 1
    ALL_MEMBERS = 2


class MfaLevel(OpenIntEnum):
    """Whether moderators need two factors.

    See https://discord.com/developers/docs/resources/guild#guild-object-mfa-level.
    """

    NONE = 0
    ELEVATED = 1


class VerificationLevel(OpenIntEnum):
    """What a member needs before writing.

    See https://discord.com/developers/docs/resources/guild#guild-object-verification-level.
    """

    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    VERY_HIGH = 4


class NsfwLevel(OpenIntEnum):
    """How a guild is rated.

    See https://discord.com/developers/docs/resources/guild#guild-object-guild-age-restriction-level.
    """

    DEFAULT = 0
    EXPLICIT = 1
    SAFE = 2
    AGE_RESTRICTED = 3


class PremiumTier(OpenIntEnum):
    """What boosts have unlocked: https://discord.com/developers/docs/resources/guild#guild-object-premium-tier."""

    NONE = 0
    TIER_1 = 1
    TIER_2 = 2
    TIER_3 = 3


class SystemChannelFlags(IntFlag):
    """What Discord does not write into the system channel.

    See https://discord.com/developers/docs/resources/guild#guild-object-system-channel-flags.
    """

    SUPPRESS_JOIN_NOTIFICATIONS = 1 << 0
    SUPPRESS_PREMIUM_SUBSCRIPTIONS = 1 << 1
    SUPPRESS_GUILD_REMINDER_NOTIFICATIONS = 1 << 2
    SUPPRESS_JOIN_NOTIFICATION_REPLIES = 1 << 3
    SUPPRESS_ROLE_SUBSCRIPTION_PURCHASE_NOTIFICATIONS = 1 << 4
    SUPPRESS_ROLE_SUBSCRIPTION_PURCHASE_NOTIFICATION_REPLIES = 1 << 5


class GuildFeature(OpenStrEnum):
    """Names in `Guild.features`: https://discord.com/developers/docs/resources/guild#guild-object-guild-features."""

    ANIMATED_BANNER = "ANIMATED_BANNER"
    ANIMATED_ICON = "ANIMATED_ICON"
    APPLICATION_COMMAND_PERMISSIONS_V2 = "APPLICATION_COMMAND_PERMISSIONS_V2"
    AUTO_MODERATION = "AUTO_MODERATION"
    BANNER = "BANNER"
    COMMUNITY = "COMMUNITY"
    CREATOR_MONETIZABLE_PROVISIONAL = "CREATOR_MONETIZABLE_PROVISIONAL"
    CREATOR_STORE_PAGE = "CREATOR_STORE_PAGE"
    DEVELOPER_SUPPORT_SERVER = "DEVELOPER_SUPPORT_SERVER"
    DISCOVERABLE = "DISCOVERABLE"
    FEATURABLE = "FEATURABLE"
    INVITES_DISABLED = "INVITES_DISABLED"
    INVITE_SPLASH = "INVITE_SPLASH"
    MEMBER_VERIFICATION_GATE_ENABLED = "MEMBER_VERIFICATION_GATE_ENABLED"
    MORE_SOUNDBOARD = "MORE_SOUNDBOARD"
    MORE_STICKERS = "MORE_STICKERS"
    NEWS = "NEWS"
    PARTNERED = "PARTNERED"
    PREVIEW_ENABLED = "PREVIEW_ENABLED"
    RAID_ALERTS_DISABLED = "RAID_ALERTS_DISABLED"
    ROLE_ICONS = "ROLE_ICONS"
    ROLE_SUBSCRIPTIONS_AVAILABLE_FOR_PURCHASE = "ROLE_SUBSCRIPTIONS_AVAILABLE_FOR_PURCHASE"
    ROLE_SUBSCRIPTIONS_ENABLED = "ROLE_SUBSCRIPTIONS_ENABLED"
    SOUNDBOARD = "SOUNDBOARD"
    TICKETED_EVENTS_ENABLED = "TICKETED_EVENTS_ENABLED"
    VANITY_URL = "VANITY_URL"
    VERIFIED = "VERIFIED"
    VIP_REGIONS = "VIP_REGIONS"
    WELCOME_SCREEN_ENABLED = "WELCOME_SCREEN_ENABLED"
    GUESTS_ENABLED = "GUESTS_ENABLED"
    GUILD_TAGS = "GUILD_TAGS"
    ENHANCED_ROLE_COLORS = "ENHANCED_ROLE_COLORS"


class UnavailableGuild(Identified):
    """A guild that is not loaded yet, or down.

    See https://discord.com/developers/docs/resources/guild#unavailable-guild-object.
    """

    id: Snowflake
    unavailable: bool | UnsetType = UNSET


class WelcomeScreenChannel(Model):
    """A channel that newcomers are shown.

    See https://discord.com/developers/docs/resources/guild#welcome-screen-object-welcome-screen-channel-structure.
    """

    channel_id: Snowflake = NO_ID
    description: str = ""
    emoji_id: Snowflake | None = None
    emoji_name: str | None = None


class WelcomeScreen(Model):
    """What newcomers are shown: https://discord.com/developers/docs/resources/guild#welcome-screen-object."""

    description: str | None = None
    welcome_channels: tuple[WelcomeScreenChannel, ...] = ()


class IncidentsData(Model):
    """Raids and what was closed because of them.

    See https://discord.com/developers/docs/resources/guild#incidents-data-object.
    """

    invites_disabled_until: datetime | None = None
    dms_disabled_until: datetime | None = None
    dm_spam_detected_at: datetime | UnsetType | None = UNSET
    raid_detected_at: datetime | UnsetType | None = UNSET


class PartialGuild(Identified):
    """A guild of which any field may be left out.

    See https://discord.com/developers/docs/resources/guild#guild-object.
    """

    id: Snowflake = NO_ID
    name: str = ""
    """Empty only if it was left out; a guild's name has at least two characters."""
    icon: str | None = None
    icon_hash: str | UnsetType | None = UNSET
    splash: str | None = None
    discovery_splash: str | None = None
    owner: bool | UnsetType = UNSET
    owner_id: Snowflake = NO_ID
    permissions: int | UnsetType = UNSET
    """Bits of `Permissions`; typed in `user_permissions`."""
    region: str | UnsetType | None = UNSET
    """No longer of use: channels have their own `Channel.rtc_region`."""
    afk_channel_id: Snowflake | None = None
    afk_timeout: int | UnsetType = UNSET
    """Seconds."""
    widget_enabled: bool | UnsetType = UNSET
    widget_channel_id: Snowflake | UnsetType | None = UNSET
    verification_level: VerificationLevel | UnsetType = UNSET
    default_message_notifications: DefaultMessageNotificationLevel | UnsetType = UNSET
    explicit_content_filter: ExplicitContentFilterLevel | UnsetType = UNSET
    roles: tuple[Role, ...] = ()
    emojis: tuple[Emoji, ...] = ()
    features: tuple[str, ...] = ()
    """Compare with `GuildFeature`; real guilds have many that are not documented."""
    mfa_level: MfaLevel | UnsetType = UNSET
    application_id: Snowflake | None = None
    """Of the bot that made the guild."""
    system_channel_id: Snowflake | None = None
    system_channel_flags: int | UnsetType = UNSET
    """Bits of `SystemChannelFlags`; typed in `suppressed_system_messages`."""
    rules_channel_id: Snowflake | None = None
    max_presences: int | UnsetType | None = UNSET
    max_members: int | UnsetType = UNSET
    vanity_url_code: str | None = None
    description: str | None = None
    banner: str | None = None
    premium_tier: PremiumTier | UnsetType = UNSET
    premium_subscription_count: int | UnsetType = UNSET
    """Boosts."""
    preferred_locale: str | UnsetType = UNSET
    public_updates_channel_id: Snowflake | None = None
    max_video_channel_users: int | UnsetType = UNSET
    max_stage_video_channel_users: int | UnsetType = UNSET
    approximate_member_count: int | UnsetType = UNSET
    approximate_presence_count: int | UnsetType = UNSET
    welcome_screen: WelcomeScreen | UnsetType = UNSET
    nsfw_level: NsfwLevel | UnsetType = UNSET
    stickers: tuple[Sticker, ...] | UnsetType = UNSET
    premium_progress_bar_enabled: bool | UnsetType = UNSET
    safety_alerts_channel_id: Snowflake | None = None
    incidents_data: IncidentsData | None = None

    @property
    def suppressed_system_messages(self) -> SystemChannelFlags:
        """`system_channel_flags`, typed; none set if they were left out."""
        return SystemChannelFlags(self.system_channel_flags or 0)

    @property
    def user_permissions(self) -> Permissions | None:
        """`permissions`, typed; None if they were left out."""
        return Permissions(self.permissions) if isinstance(self.permissions, int) else None


class Guild(PartialGuild):
    """A guild: https://discord.com/developers/docs/resources/guild#guild-object."""

    id: Snowflake = msgspec.field()
