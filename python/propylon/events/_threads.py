"""Threads."""

from propylon._base import NO_ID, UNSET, UnsetType
from propylon.events._event import Event
from propylon.events._intents import GUILD_MEMBERS, GUILDS
from propylon.models._channel import Channel, ChannelType, ThreadMember
from propylon.models._presence import ReceivedPresence
from propylon.snowflake import Snowflake

__all__ = [
    "AddedThreadMember",
    "ThreadCreate",
    "ThreadDelete",
    "ThreadListSync",
    "ThreadMemberUpdate",
    "ThreadMembersUpdate",
    "ThreadUpdate",
]


class ThreadCreate(Channel, Event, event="THREAD_CREATE", intents=GUILDS):
    """A thread was made, or the bot was added to a private one.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#thread-create
    """

    guild_id: Snowflake = NO_ID

    newly_created: bool | UnsetType = UNSET
    """True if it was just made; left out if the bot was added."""


class ThreadUpdate(Channel, Event, event="THREAD_UPDATE", intents=GUILDS):
    """A thread changed; it is all told anew. A new `last_message_id` alone does not cause it.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#thread-update
    """

    guild_id: Snowflake = NO_ID


class ThreadDelete(Event, event="THREAD_DELETE", intents=GUILDS):
    """A thread that the bot could see was deleted.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#thread-delete
    """

    id: Snowflake
    type: ChannelType
    guild_id: Snowflake = NO_ID
    parent_id: Snowflake | UnsetType | None = UNSET


class ThreadListSync(Event, event="THREAD_LIST_SYNC", intents=GUILDS):
    """The bot gained access to channels; here are their active threads.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#thread-list-sync
    """

    guild_id: Snowflake
    channel_ids: tuple[Snowflake, ...] | UnsetType = UNSET
    """The channels whose threads are told, also those without any; left out for the whole guild."""
    threads: tuple[Channel, ...] = ()
    members: tuple[ThreadMember, ...] = ()
    """The bot's own memberships of these threads."""


class ThreadMemberUpdate(ThreadMember, Event, event="THREAD_MEMBER_UPDATE", intents=GUILDS):
    """The bot's own membership of a thread changed.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#thread-member-update
    """

    guild_id: Snowflake


class AddedThreadMember(ThreadMember):
    """Somebody who came into a thread; `member` and `presence` need the intent GUILD_MEMBERS."""

    presence: ReceivedPresence | UnsetType | None = UNSET


class ThreadMembersUpdate(Event, event="THREAD_MEMBERS_UPDATE", intents=GUILDS | GUILD_MEMBERS):
    """Users came into a thread or left it.

    Intents: GUILDS, which tells of the bot itself only, or GUILD_MEMBERS (privileged), which tells of all.
    https://discord.com/developers/docs/events/gateway-events#thread-members-update
    """

    id: Snowflake
    """Of the thread."""
    guild_id: Snowflake
    member_count: int
    """Stops counting at 50."""
    added_members: tuple[AddedThreadMember, ...] | UnsetType = UNSET
    removed_member_ids: tuple[Snowflake, ...] | UnsetType = UNSET
