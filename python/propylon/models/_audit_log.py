"""Entries of a guild's audit log."""

from typing import Any

from propylon._base import UNSET, Identified, Model, OpenIntEnum, UnsetType
from propylon.snowflake import Snowflake

__all__ = ["AuditLogChange", "AuditLogEntry", "AuditLogEntryInfo", "AuditLogEvent"]


class AuditLogEvent(OpenIntEnum):
    """What was done.

    See https://discord.com/developers/docs/resources/audit-log#audit-log-entry-object-audit-log-events.
    """

    GUILD_UPDATE = 1
    CHANNEL_CREATE = 10
    CHANNEL_UPDATE = 11
    CHANNEL_DELETE = 12
    CHANNEL_OVERWRITE_CREATE = 13
    CHANNEL_OVERWRITE_UPDATE = 14
    CHANNEL_OVERWRITE_DELETE = 15
    MEMBER_KICK = 20
    MEMBER_PRUNE = 21
    MEMBER_BAN_ADD = 22
    MEMBER_BAN_REMOVE = 23
    MEMBER_UPDATE = 24
    MEMBER_ROLE_UPDATE = 25
    MEMBER_MOVE = 26
    MEMBER_DISCONNECT = 27
    BOT_ADD = 28
    ROLE_CREATE = 30
    ROLE_UPDATE = 31
    ROLE_DELETE = 32
    INVITE_CREATE = 40
    INVITE_UPDATE = 41
    INVITE_DELETE = 42
    WEBHOOK_CREATE = 50
    WEBHOOK_UPDATE = 51
    WEBHOOK_DELETE = 52
    EMOJI_CREATE = 60
    EMOJI_UPDATE = 61
    EMOJI_DELETE = 62
    MESSAGE_DELETE = 72
    MESSAGE_BULK_DELETE = 73
    MESSAGE_PIN = 74
    MESSAGE_UNPIN = 75
    INTEGRATION_CREATE = 80
    INTEGRATION_UPDATE = 81
    INTEGRATION_DELETE = 82
    STAGE_INSTANCE_CREATE = 83
    STAGE_INSTANCE_UPDATE = 84
    STAGE_INSTANCE_DELETE = 85
    STICKER_CREATE = 90
    STICKER_UPDATE = 91
    STICKER_DELETE = 92
    GUILD_SCHEDULED_EVENT_CREATE = 100
    GUILD_SCHEDULED_EVENT_UPDATE = 101
    GUILD_SCHEDULED_EVENT_DELETE = 102
    THREAD_CREATE = 110
    THREAD_UPDATE = 111
    THREAD_DELETE = 112
    APPLICATION_COMMAND_PERMISSION_UPDATE = 121
    SOUNDBOARD_SOUND_CREATE = 130
    SOUNDBOARD_SOUND_UPDATE = 131
    SOUNDBOARD_SOUND_DELETE = 132
    AUTO_MODERATION_RULE_CREATE = 140
    AUTO_MODERATION_RULE_UPDATE = 141
    AUTO_MODERATION_RULE_DELETE = 142
    AUTO_MODERATION_BLOCK_MESSAGE = 143
    AUTO_MODERATION_FLAG_TO_CHANNEL = 144
    AUTO_MODERATION_USER_COMMUNICATION_DISABLED = 145
    AUTO_MODERATION_QUARANTINE_USER = 146
    CREATOR_MONETIZATION_REQUEST_CREATED = 150
    CREATOR_MONETIZATION_TERMS_ACCEPTED = 151
    ONBOARDING_PROMPT_CREATE = 163
    ONBOARDING_PROMPT_UPDATE = 164
    ONBOARDING_PROMPT_DELETE = 165
    ONBOARDING_CREATE = 166
    ONBOARDING_UPDATE = 167
    HOME_SETTINGS_CREATE = 190
    HOME_SETTINGS_UPDATE = 191
    VOICE_CHANNEL_STATUS_CREATE = 192
    VOICE_CHANNEL_STATUS_DELETE = 193


class AuditLogChange(Model):
    """A field before and after: https://discord.com/developers/docs/resources/audit-log#audit-log-change-object.

    The values are JSON of the kind that the changed field has, ids being strings.
    """

    new_value: Any = UNSET
    """Left out when the field was cleared."""
    old_value: Any = UNSET
    """Left out when the field was empty before."""
    key: str
    """Name of the field; a snowflake for command permissions, ``$add`` and ``$remove`` for roles."""


class AuditLogEntryInfo(Model):
    """What else is told of some actions; the numbers are sent as strings.

    See https://discord.com/developers/docs/resources/audit-log#audit-log-entry-object-optional-audit-entry-info.
    """

    application_id: Snowflake | UnsetType = UNSET
    auto_moderation_rule_name: str | UnsetType = UNSET
    auto_moderation_rule_trigger_type: int | UnsetType = UNSET
    """An `AutoModerationTriggerType`."""
    channel_id: Snowflake | UnsetType = UNSET
    count: int | UnsetType = UNSET
    """How many were affected."""
    delete_member_days: int | UnsetType = UNSET
    """Days without activity after which members were pruned."""
    id: Snowflake | UnsetType = UNSET
    """Of the role or user of a changed overwrite."""
    members_removed: int | UnsetType = UNSET
    message_id: Snowflake | UnsetType = UNSET
    role_name: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    """``0`` for the overwrite of a role, ``1`` of a member."""
    integration_type: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    """New text above a voice channel."""


class AuditLogEntry(Identified):
    """An entry: https://discord.com/developers/docs/resources/audit-log#audit-log-entry-object."""

    target_id: str | None = None
    """Of what was changed; mostly a snowflake."""
    changes: tuple[AuditLogChange, ...] | UnsetType = UNSET
    user_id: Snowflake | None = None
    """Who did it."""
    id: Snowflake
    action_type: AuditLogEvent
    options: AuditLogEntryInfo | UnsetType = UNSET
    reason: str | UnsetType = UNSET
