"""Votes in polls; a poll itself is a message."""

from propylon._base import UNSET, UnsetType
from propylon.events._event import Event
from propylon.events._intents import DIRECT_MESSAGE_POLLS, GUILD_MESSAGE_POLLS
from propylon.snowflake import Snowflake

__all__ = ["MessagePollVoteAdd", "MessagePollVoteRemove"]

_POLLS = GUILD_MESSAGE_POLLS | DIRECT_MESSAGE_POLLS


class MessagePollVoteAdd(Event, event="MESSAGE_POLL_VOTE_ADD", intents=_POLLS):
    """Somebody voted; where several answers are allowed, once for each.

    Intents: GUILD_MESSAGE_POLLS or DIRECT_MESSAGE_POLLS.
    https://discord.com/developers/docs/events/gateway-events#message-poll-vote-add
    """

    user_id: Snowflake
    channel_id: Snowflake
    message_id: Snowflake
    guild_id: Snowflake | UnsetType = UNSET
    answer_id: int
    """The `PollAnswer.answer_id`."""


class MessagePollVoteRemove(Event, event="MESSAGE_POLL_VOTE_REMOVE", intents=_POLLS):
    """Somebody took a vote back; where several answers are allowed, once for each.

    Intents: GUILD_MESSAGE_POLLS or DIRECT_MESSAGE_POLLS.
    https://discord.com/developers/docs/events/gateway-events#message-poll-vote-remove
    """

    user_id: Snowflake
    channel_id: Snowflake
    message_id: Snowflake
    guild_id: Snowflake | UnsetType = UNSET
    answer_id: int
    """The `PollAnswer.answer_id`."""
