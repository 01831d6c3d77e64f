"""Invites."""

from datetime import datetime

from propylon._base import NO_ID, UNSET, UnsetType
from propylon.events._event import Event
from propylon.events._intents import GUILD_INVITES
from propylon.models._application import Application
from propylon.models._invite import InviteTargetType
from propylon.models._user import User
from propylon.snowflake import Snowflake

__all__ = ["InviteCreate", "InviteDelete"]


class InviteCreate(Event, event="INVITE_CREATE", intents=GUILD_INVITES):
    """An invite to a channel was made.

    Intent: GUILD_INVITES, and the permission MANAGE_CHANNELS.
    https://discord.com/developers/docs/events/gateway-events#invite-create
    """

    channel_id: Snowflake
    code: str
    """What follows ``https://discord.gg/``."""
    created_at: datetime
    guild_id: Snowflake = NO_ID
    inviter: User | UnsetType = UNSET
    max_age: int = 0
    """Seconds; 0 for ever."""
    max_uses: int = 0
    """0 for any number."""
    target_type: InviteTargetType | UnsetType = UNSET
    target_user: User | UnsetType = UNSET
    """Whose stream it leads to."""
    target_application: Application | UnsetType = UNSET
    """What it starts."""
    temporary: bool = False
    """Whether those who come are removed when they disconnect without a role."""
    uses: int = 0
    """Always 0."""
    expires_at: datetime | None = None
    """None: never."""
    role_ids: tuple[Snowflake, ...] | UnsetType = UNSET
    """What those who come are given."""


class InviteDelete(Event, event="INVITE_DELETE", intents=GUILD_INVITES):
    """An invite was deleted.

    Intent: GUILD_INVITES, and the permission MANAGE_CHANNELS.
    https://discord.com/developers/docs/events/gateway-events#invite-delete
    """

    channel_id: Snowflake
    guild_id: Snowflake = NO_ID
    code: str
