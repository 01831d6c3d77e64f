"""AutoMod and the audit log; bans are among the members."""

from propylon._base import NO_ID, UNSET, UnsetType
from propylon.events._event import Event
from propylon.events._intents import AUTO_MODERATION_CONFIGURATION, AUTO_MODERATION_EXECUTION, GUILD_MODERATION
from propylon.models._audit_log import AuditLogEntry
from propylon.models._auto_moderation import AutoModerationAction, AutoModerationRule, AutoModerationTriggerType
from propylon.snowflake import Snowflake

__all__ = [
    "AutoModerationActionExecution",
    "AutoModerationRuleCreate",
    "AutoModerationRuleDelete",
    "AutoModerationRuleUpdate",
    "GuildAuditLogEntryCreate",
]


class AutoModerationRuleCreate(
    AutoModerationRule, Event, event="AUTO_MODERATION_RULE_CREATE", intents=AUTO_MODERATION_CONFIGURATION
):
    """A rule was made.

    Intent: AUTO_MODERATION_CONFIGURATION, and the permission MANAGE_GUILD.
    https://discord.com/developers/docs/events/gateway-events#auto-moderation-rule-create
    """


class AutoModerationRuleUpdate(
    AutoModerationRule, Event, event="AUTO_MODERATION_RULE_UPDATE", intents=AUTO_MODERATION_CONFIGURATION
):
    """A rule changed; it is all told anew.

    Intent: AUTO_MODERATION_CONFIGURATION, and the permission MANAGE_GUILD.
    https://discord.com/developers/docs/events/gateway-events#auto-moderation-rule-update
    """


class AutoModerationRuleDelete(
    AutoModerationRule, Event, event="AUTO_MODERATION_RULE_DELETE", intents=AUTO_MODERATION_CONFIGURATION
):
    """A rule was deleted.

    Intent: AUTO_MODERATION_CONFIGURATION, and the permission MANAGE_GUILD.
    https://discord.com/developers/docs/events/gateway-events#auto-moderation-rule-delete
    """


class AutoModerationActionExecution(Event, event="AUTO_MODERATION_ACTION_EXECUTION", intents=AUTO_MODERATION_EXECUTION):
    """A rule was broken and one of its actions was done; each action is told apart.

    Intent: AUTO_MODERATION_EXECUTION, and the permission MANAGE_GUILD; `content` and `matched_content` need
    MESSAGE_CONTENT too. https://discord.com/developers/docs/events/gateway-events#auto-moderation-action-execution
    """

    guild_id: Snowflake
    action: AutoModerationAction
    rule_id: Snowflake = NO_ID
    rule_trigger_type: AutoModerationTriggerType
    user_id: Snowflake
    """Whose content it was."""
    channel_id: Snowflake | UnsetType = UNSET
    message_id: Snowflake | UnsetType = UNSET
    """Left out if the message was blocked, or was none."""
    alert_system_message_id: Snowflake | UnsetType = UNSET
    """The alert, for `AutoModerationActionType.SEND_ALERT_MESSAGE` only."""
    content: str = ""
    matched_keyword: str | None = None
    """The word or phrase of the rule."""
    matched_content: str | None = None
    """The part of `content` that broke the rule."""


class GuildAuditLogEntryCreate(AuditLogEntry, Event, event="GUILD_AUDIT_LOG_ENTRY_CREATE", intents=GUILD_MODERATION):
    """Something was written into the audit log.

    Intent: GUILD_MODERATION, and the permission VIEW_AUDIT_LOG.
    https://discord.com/developers/docs/events/gateway-events#guild-audit-log-entry-create
    """

    guild_id: Snowflake
