"""Which events discord.py wants: what has a parser, less what the parser would only tell listeners that are not there.

An event is left out only where that is certain: its parser changes nothing in the cache, and nobody listens. What is
not in the tables below stays.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import discord
from discord.ext import commands

__all__ = ["EVERY_EVENT", "demanded", "listens", "of_listeners"]

# An adapter stands where its library has no door.
# pyright: reportPrivateUsage=false

_Names = frozenset[str]

_ONLY_TOLD: Final[Mapping[str, _Names]] = {
    "APPLICATION_COMMAND_PERMISSIONS_UPDATE": frozenset({"raw_app_command_permissions_update"}),
    "AUTO_MODERATION_ACTION_EXECUTION": frozenset({"automod_action"}),
    "AUTO_MODERATION_RULE_CREATE": frozenset({"automod_rule_create"}),
    "AUTO_MODERATION_RULE_DELETE": frozenset({"automod_rule_delete"}),
    "AUTO_MODERATION_RULE_UPDATE": frozenset({"automod_rule_update"}),
    "CHANNEL_PINS_UPDATE": frozenset({"private_channel_pins_update", "guild_channel_pins_update"}),
    "ENTITLEMENT_CREATE": frozenset({"entitlement_create"}),
    "ENTITLEMENT_DELETE": frozenset({"entitlement_delete"}),
    "ENTITLEMENT_UPDATE": frozenset({"entitlement_update"}),
    "GUILD_AUDIT_LOG_ENTRY_CREATE": frozenset({"audit_log_entry_create"}),
    "GUILD_BAN_ADD": frozenset({"member_ban"}),
    "GUILD_BAN_REMOVE": frozenset({"member_unban"}),
    "GUILD_INTEGRATIONS_UPDATE": frozenset({"guild_integrations_update"}),
    "INTEGRATION_CREATE": frozenset({"integration_create"}),
    "INTEGRATION_DELETE": frozenset({"raw_integration_delete"}),
    "INTEGRATION_UPDATE": frozenset({"integration_update"}),
    "INVITE_CREATE": frozenset({"invite_create"}),
    "INVITE_DELETE": frozenset({"invite_delete"}),
    "SUBSCRIPTION_CREATE": frozenset({"subscription_create"}),
    "SUBSCRIPTION_DELETE": frozenset({"subscription_delete"}),
    "SUBSCRIPTION_UPDATE": frozenset({"subscription_update"}),
    "TYPING_START": frozenset({"typing", "raw_typing"}),
    "VOICE_CHANNEL_EFFECT_SEND": frozenset({"voice_channel_effect"}),
    "WEBHOOKS_UPDATE": frozenset({"webhooks_update"}),
}
"""What the parsers of these events dispatch, and that is all they do."""

_WITHOUT_MESSAGES: Final[Mapping[str, _Names]] = {
    "MESSAGE_DELETE": frozenset({"raw_message_delete"}),
    "MESSAGE_DELETE_BULK": frozenset({"raw_bulk_message_delete"}),
    "MESSAGE_POLL_VOTE_ADD": frozenset({"raw_poll_vote_add"}),
    "MESSAGE_POLL_VOTE_REMOVE": frozenset({"raw_poll_vote_remove"}),
    "MESSAGE_REACTION_ADD": frozenset({"raw_reaction_add"}),
    "MESSAGE_REACTION_REMOVE": frozenset({"raw_reaction_remove"}),
    "MESSAGE_REACTION_REMOVE_ALL": frozenset({"raw_reaction_clear"}),
    "MESSAGE_REACTION_REMOVE_EMOJI": frozenset({"raw_reaction_clear_emoji"}),
}
"""The same where no messages are cached (``max_messages=None``)."""

_WITHOUT_MEMBERS: Final[Mapping[str, _Names]] = {
    "PRESENCE_UPDATE": frozenset({"presence_update", "raw_presence_update", "user_update"}),
}
"""The same where no members are cached (`discord.MemberCacheFlags.none`)."""

EVERY_EVENT: Final = frozenset({"socket_event_type", "socket_raw_receive"})
"""Who listens to one of these hears of every event."""


def _is_as_it_came(client: discord.Client, event: str) -> bool:
    """Whether an event is read by discord.py's own parser."""
    parser: Any = client._connection.parsers.get(event)
    function = getattr(parser, "__func__", None)
    return getattr(function, "__module__", None) == "discord.state"


def demanded(client: discord.Client) -> tuple[list[str], dict[str, frozenset[str]]]:
    """The events that are wanted whatever happens, and those wanted only while one of their names is listened to."""
    state = client._connection
    tables: list[Mapping[str, _Names]] = []
    dispatch = type(client).dispatch
    if dispatch in (discord.Client.dispatch, commands.Bot.dispatch, commands.AutoShardedBot.dispatch):
        tables.append(_ONLY_TOLD)
        if state._messages is None:
            tables.append(_WITHOUT_MESSAGES)
        if state.member_cache_flags._empty:
            tables.append(_WITHOUT_MEMBERS)
    on_demand = {event: names for table in tables for event, names in table.items() if _is_as_it_came(client, event)}
    always = [event for event in state.parsers if event not in on_demand]
    return [*always, "RATE_LIMITED"], on_demand


def listens(client: discord.Client, name: str) -> bool:
    """Whether anybody listens to what discord.py dispatches under a name."""
    method = f"on_{name}"
    extra: Mapping[str, Any] = getattr(client, "extra_events", {})
    waiting: Mapping[str, Any] = vars(client)["_listeners"]
    return bool(waiting.get(name)) or hasattr(client, method) or bool(extra.get(method))


def of_listeners(client: discord.Client, names: Iterable[str]) -> bool:
    """Whether anybody listens to one of them."""
    return any(listens(client, name) for name in names)
