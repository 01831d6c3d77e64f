"""Commands, clicks and modals, and who may use them."""

from propylon.events._event import Event
from propylon.events._intents import NO_INTENT
from propylon.models._command import GuildApplicationCommandPermissions
from propylon.models._interaction import Interaction

__all__ = ["ApplicationCommandPermissionsUpdate", "InteractionCreate"]


class InteractionCreate(Interaction, Event, event="INTERACTION_CREATE", intents=NO_INTENT):
    """A user used a command, clicked a component or submitted a modal of the application.

    Always sent, unless the application has an `Application.interactions_endpoint_url`.
    https://discord.com/developers/docs/events/gateway-events#interaction-create
    """


class ApplicationCommandPermissionsUpdate(
    GuildApplicationCommandPermissions, Event, event="APPLICATION_COMMAND_PERMISSIONS_UPDATE", intents=NO_INTENT
):
    """The permissions of a command, or of all commands, of the application changed in a guild.

    Always sent. https://discord.com/developers/docs/events/gateway-events#application-command-permissions-update
    """
