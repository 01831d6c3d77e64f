"""Roles."""

from propylon.events._event import Event
from propylon.events._intents import GUILDS
from propylon.models._role import Role
from propylon.snowflake import Snowflake

__all__ = ["GuildRoleCreate", "GuildRoleDelete", "GuildRoleUpdate"]


class GuildRoleCreate(Event, event="GUILD_ROLE_CREATE", intents=GUILDS):
    """A role was made.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#guild-role-create
    """

    guild_id: Snowflake
    role: Role


class GuildRoleUpdate(Event, event="GUILD_ROLE_UPDATE", intents=GUILDS):
    """A role changed.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#guild-role-update
    """

    guild_id: Snowflake
    role: Role


class GuildRoleDelete(Event, event="GUILD_ROLE_DELETE", intents=GUILDS):
    """A role was deleted.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#guild-role-delete
    """

    guild_id: Snowflake
    role_id: Snowflake
