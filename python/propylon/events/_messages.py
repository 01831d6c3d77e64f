"""Messages; reactions and votes have files of their own."""

import msgspec

from propylon._base import NO_ID, UNSET, UnsetType
from propylon.events._event import Event
from propylon.events._intents import DIRECT_MESSAGES, GUILD_MESSAGES
from propylon.models._message import Message, PartialMessage
from propylon.snowflake import Snowflake

__all__ = ["MessageCreate", "MessageDelete", "MessageDeleteBulk", "MessageUpdate"]


class MessageCreate(Message, Event, event="MESSAGE_CREATE", intents=GUILD_MESSAGES | DIRECT_MESSAGES):
    """A message was sent.

    Ephemeral messages come with DIRECT_MESSAGES, without `guild_id` and `member`. `content` and what else is written
    inside needs MESSAGE_CONTENT, see `PartialMessage`.

    Intents: GUILD_MESSAGES or DIRECT_MESSAGES. https://discord.com/developers/docs/events/gateway-events#message-create
    """


class MessageUpdate(PartialMessage, Event, event="MESSAGE_UPDATE", intents=GUILD_MESSAGES | DIRECT_MESSAGES):
    """A message changed: it was edited, or got an embed, a pin or the results of its poll.

    Discord documents it as the full message, but has sent parts of one, such as only the embeds that were made from a
    link. So all but the ids may be `UNSET`, which says "not told", and no update fails to decode.

    Intents: GUILD_MESSAGES or DIRECT_MESSAGES. https://discord.com/developers/docs/events/gateway-events#message-update
    """

    id: Snowflake = msgspec.field()
    channel_id: Snowflake = msgspec.field()


class MessageDelete(Event, event="MESSAGE_DELETE", intents=GUILD_MESSAGES | DIRECT_MESSAGES):
    """A message was deleted.

    Intents: GUILD_MESSAGES or DIRECT_MESSAGES. https://discord.com/developers/docs/events/gateway-events#message-delete
    """

    id: Snowflake
    channel_id: Snowflake
    guild_id: Snowflake | UnsetType = UNSET


class MessageDeleteBulk(Event, event="MESSAGE_DELETE_BULK", intents=GUILD_MESSAGES):
    """Several messages of one channel were deleted at once.

    Intent: GUILD_MESSAGES. https://discord.com/developers/docs/events/gateway-events#message-delete-bulk
    """

    ids: tuple[Snowflake, ...]
    channel_id: Snowflake
    guild_id: Snowflake = NO_ID
