"""What type checkers know of fields that are left out. Never run, only checked."""

from typing import assert_type

from propylon import Snowflake, or_none
from propylon.events import ChannelUpdate, MessageCreate, ThreadDelete
from propylon.models import Message, PartialMember


def of(message: MessageCreate, channel: ChannelUpdate, thread: ThreadDelete) -> None:
    assert_type(or_none(message.member), PartialMember | None)
    assert_type(or_none(message.guild_id), Snowflake | None)
    assert_type(or_none(message.referenced_message), Message | None)
    assert_type(channel.guild_id, Snowflake)
    assert_type(thread.guild_id, Snowflake)
