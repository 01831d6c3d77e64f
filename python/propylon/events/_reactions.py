"""Reactions to messages."""

from propylon._base import UNSET, UnsetType
from propylon.events._event import Event
from propylon.events._intents import DIRECT_MESSAGE_REACTIONS, GUILD_MESSAGE_REACTIONS
from propylon.models._emoji import Emoji
from propylon.models._member import Member
from propylon.models._reaction import ReactionType
from propylon.snowflake import Snowflake

__all__ = [
    "MessageReactionAdd",
    "MessageReactionRemove",
    "MessageReactionRemoveAll",
    "MessageReactionRemoveEmoji",
]

_REACTIONS = GUILD_MESSAGE_REACTIONS | DIRECT_MESSAGE_REACTIONS


class MessageReactionAdd(Event, event="MESSAGE_REACTION_ADD", intents=_REACTIONS):
    """Somebody reacted to a message.

    Intents: GUILD_MESSAGE_REACTIONS or DIRECT_MESSAGE_REACTIONS.
    https://discord.com/developers/docs/events/gateway-events#message-reaction-add
    """

    user_id: Snowflake
    channel_id: Snowflake
    message_id: Snowflake
    guild_id: Snowflake | UnsetType = UNSET
    member: Member | UnsetType = UNSET
    """Guilds only."""
    emoji: Emoji
    message_author_id: Snowflake | UnsetType = UNSET
    burst: bool = False
    """Whether it is a super reaction."""
    burst_colors: tuple[str, ...] | UnsetType = UNSET
    """``#RRGGBB``, super reactions only."""
    type: ReactionType = ReactionType.NORMAL


class MessageReactionRemove(Event, event="MESSAGE_REACTION_REMOVE", intents=_REACTIONS):
    """Somebody's reaction was taken back.

    Intents: GUILD_MESSAGE_REACTIONS or DIRECT_MESSAGE_REACTIONS.
    https://discord.com/developers/docs/events/gateway-events#message-reaction-remove
    """

    user_id: Snowflake
    channel_id: Snowflake
    message_id: Snowflake
    guild_id: Snowflake | UnsetType = UNSET
    emoji: Emoji
    burst: bool = False
    """Whether it was a super reaction."""
    type: ReactionType = ReactionType.NORMAL


class MessageReactionRemoveAll(Event, event="MESSAGE_REACTION_REMOVE_ALL", intents=_REACTIONS):
    """All reactions to a message were removed at once.

    Intents: GUILD_MESSAGE_REACTIONS or DIRECT_MESSAGE_REACTIONS.
    https://discord.com/developers/docs/events/gateway-events#message-reaction-remove-all
    """

    channel_id: Snowflake
    message_id: Snowflake
    guild_id: Snowflake | UnsetType = UNSET


class MessageReactionRemoveEmoji(Event, event="MESSAGE_REACTION_REMOVE_EMOJI", intents=_REACTIONS):
    """All reactions with one emoji were removed at once.

    Intents: GUILD_MESSAGE_REACTIONS or DIRECT_MESSAGE_REACTIONS.
    https://discord.com/developers/docs/events/gateway-events#message-reaction-remove-emoji
    """

    channel_id: Snowflake
    guild_id: Snowflake | UnsetType = UNSET
    message_id: Snowflake
    emoji: Emoji
