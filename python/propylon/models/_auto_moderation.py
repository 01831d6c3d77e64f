"""Rules of AutoMod and what they do."""

from propylon._base import NO_ID, UNSET, Identified, Model, OpenIntEnum, UnsetType
from propylon.snowflake import Snowflake

__all__ = [
    "AutoModerationAction",
    "AutoModerationActionMetadata",
    "AutoModerationActionType",
    "AutoModerationEventType",
    "AutoModerationKeywordPresetType",
    "AutoModerationRule",
    "AutoModerationTriggerMetadata",
    "AutoModerationTriggerType",
]


class AutoModerationTriggerType(OpenIntEnum):
    """What a rule looks for.

    See https://discord.com/developers/docs/resources/auto-moderation#auto-moderation-rule-object-trigger-types.
    """

    KEYWORD = 1
    SPAM = 3
    KEYWORD_PRESET = 4
    MENTION_SPAM = 5
    MEMBER_PROFILE = 6


class AutoModerationKeywordPresetType(OpenIntEnum):
    """Discord's own word lists.

    See https://discord.com/developers/docs/resources/auto-moderation#auto-moderation-rule-object-keyword-preset-types.
    """

    PROFANITY = 1
    SEXUAL_CONTENT = 2
    SLURS = 3


class AutoModerationEventType(OpenIntEnum):
    """When a rule is checked.

    See https://discord.com/developers/docs/resources/auto-moderation#auto-moderation-rule-object-event-types.
    """

    MESSAGE_SEND = 1
    MEMBER_UPDATE = 2


class AutoModerationActionType(OpenIntEnum):
    """What happens to an offender.

    See https://discord.com/developers/docs/resources/auto-moderation#auto-moderation-action-object-action-types.
    """

    BLOCK_MESSAGE = 1
    SEND_ALERT_MESSAGE = 2
    TIMEOUT = 3
    BLOCK_MEMBER_INTERACTION = 4


class AutoModerationTriggerMetadata(Model):
    """What exactly a rule looks for; which fields there are depends on the trigger's type.

    See https://discord.com/developers/docs/resources/auto-moderation#auto-moderation-rule-object-trigger-metadata.
    """

    keyword_filter: tuple[str, ...] | UnsetType = UNSET
    """Words, with ``*`` at their ends for any letters."""
    regex_patterns: tuple[str, ...] | UnsetType = UNSET
    """In the syntax of Rust's regex crate."""
    presets: tuple[AutoModerationKeywordPresetType, ...] | UnsetType = UNSET
    allow_list: tuple[str, ...] | UnsetType = UNSET
    mention_total_limit: int | UnsetType = UNSET
    """Mentions of different roles and users per message."""
    mention_raid_protection_enabled: bool | UnsetType = UNSET


class AutoModerationActionMetadata(Model):
    """How an action is done; which fields there are depends on its type.

    See https://discord.com/developers/docs/resources/auto-moderation#auto-moderation-action-object-action-metadata.
    """

    channel_id: Snowflake | UnsetType = UNSET
    """Where the alert goes."""
    duration_seconds: int | UnsetType = UNSET
    """Of a timeout, in seconds, up to four weeks."""
    custom_message: str | UnsetType = UNSET
    """What the author of a blocked message is told."""


class AutoModerationAction(Model):
    """What a rule does.

    See https://discord.com/developers/docs/resources/auto-moderation#auto-moderation-action-object.
    """

    type: AutoModerationActionType
    metadata: AutoModerationActionMetadata | UnsetType = UNSET


class AutoModerationRule(Identified):
    """A rule of a guild.

    See https://discord.com/developers/docs/resources/auto-moderation#auto-moderation-rule-object.
    """

    id: Snowflake
    guild_id: Snowflake = NO_ID
    name: str = ""
    creator_id: Snowflake = NO_ID
    event_type: AutoModerationEventType
    trigger_type: AutoModerationTriggerType
    trigger_metadata: AutoModerationTriggerMetadata = AutoModerationTriggerMetadata()
    actions: tuple[AutoModerationAction, ...] = ()
    enabled: bool = False
    exempt_roles: tuple[Snowflake, ...] = ()
    exempt_channels: tuple[Snowflake, ...] = ()
