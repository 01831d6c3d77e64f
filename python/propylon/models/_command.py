"""Permissions of application commands."""

from propylon._base import NO_ID, Identified, Model, OpenIntEnum
from propylon.snowflake import Snowflake

__all__ = ["ApplicationCommandPermission", "ApplicationCommandPermissionType", "GuildApplicationCommandPermissions"]


class ApplicationCommandPermissionType(OpenIntEnum):
    """Whom a permission is about.

    See https://discord.com/developers/docs/interactions/application-commands#application-command-permissions-object-application-command-permission-type.
    """

    ROLE = 1
    USER = 2
    CHANNEL = 3


class ApplicationCommandPermission(Model):
    """Whether a role, user or channel may use a command.

    See https://discord.com/developers/docs/interactions/application-commands#application-command-permissions-object.
    """

    id: Snowflake
    """Of the role, user or channel; the guild's id means everyone, the guild's id minus 1 all channels."""
    type: ApplicationCommandPermissionType
    permission: bool


class GuildApplicationCommandPermissions(Identified):
    """Who may use a command, or all commands of an application, in a guild.

    See https://discord.com/developers/docs/interactions/application-commands#application-command-permissions-object.
    """

    id: Snowflake
    """Of the command; of the application if it is about all its commands."""
    application_id: Snowflake
    guild_id: Snowflake = NO_ID
    permissions: tuple[ApplicationCommandPermission, ...] = ()
