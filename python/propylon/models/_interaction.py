"""Interactions: slash commands, context menus, clicks on components, submitted modals.

Discord sends one `data` object whose fields depend on the type. `InteractionData` is the wide class of it;
`Interaction.command`, `.component` and `.modal` give the same object narrowed to what its type has, so that
``if command := interaction.command`` leaves nothing to cast.
"""

from typing import Protocol, cast

import msgspec

from propylon._base import UNSET, Identified, Model, OpenIntEnum, Unchecked, UnsetType
from propylon.models._application import ApplicationIntegrationType
from propylon.models._attachment import Attachment
from propylon.models._channel import PartialChannel
from propylon.models._component import ComponentType
from propylon.models._entitlement import Entitlement
from propylon.models._guild import PartialGuild
from propylon.models._member import Member
from propylon.models._message import InteractionType, Message, ResolvedData
from propylon.models._permissions import Permissions
from propylon.models._role import Role
from propylon.models._user import NO_USER, User
from propylon.snowflake import Snowflake

__all__ = [
    "ApplicationCommandType",
    "CommandData",
    "CommandOption",
    "CommandOptionType",
    "ComponentData",
    "Interaction",
    "InteractionContextType",
    "InteractionData",
    "ModalData",
    "SubmittedComponent",
]


class ApplicationCommandType(OpenIntEnum):
    """How a command is called.

    See https://discord.com/developers/docs/interactions/application-commands#application-command-object-application-command-types.
    """

    CHAT_INPUT = 1
    USER = 2
    MESSAGE = 3
    PRIMARY_ENTRY_POINT = 4


class CommandOptionType(OpenIntEnum):
    """What an option takes.

    See https://discord.com/developers/docs/interactions/application-commands#application-command-object-application-command-option-type.
    """

    SUB_COMMAND = 1
    SUB_COMMAND_GROUP = 2
    STRING = 3
    INTEGER = 4
    BOOLEAN = 5
    USER = 6
    CHANNEL = 7
    ROLE = 8
    MENTIONABLE = 9
    NUMBER = 10
    ATTACHMENT = 11


class InteractionContextType(OpenIntEnum):
    """Where an interaction happened.

    See https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object-interaction-context-types.
    """

    GUILD = 0
    BOT_DM = 1
    PRIVATE_CHANNEL = 2


class CommandOption(Model):
    """What a user filled in for an option, or the subcommand that was called.

    See https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object-application-command-interaction-data-option-structure.
    """

    name: str
    type: CommandOptionType
    value: Unchecked[bool | int | float | str] | UnsetType = UNSET
    """As it was sent: ids are strings, see `snowflake`. While `focused`, also numbers may be half-typed strings.

    A type that this version does not know may have a list or a dict."""
    options: "tuple[CommandOption, ...] | UnsetType" = UNSET
    """Of a subcommand or group."""
    focused: bool | UnsetType = UNSET
    """Whether the user is typing here; autocompletion only."""

    @property
    def string(self) -> str | None:
        """`value` if it is a string, else None."""
        return self.value if isinstance(self.value, str) else None

    @property
    def integer(self) -> int | None:
        """`value` if it is an integer, else None."""
        return self.value if isinstance(self.value, int) and not isinstance(self.value, bool) else None

    @property
    def number(self) -> float | None:
        """`value` as a float if it is a number, else None."""
        return float(self.value) if isinstance(self.value, int | float) and not isinstance(self.value, bool) else None

    @property
    def boolean(self) -> bool | None:
        """`value` if it is a boolean, else None."""
        return self.value if isinstance(self.value, bool) else None

    @property
    def snowflake(self) -> Snowflake | None:
        """The id of the user, channel, role, mentionable or attachment, for options of these types; else None."""
        if self.type not in _IDS or not isinstance(self.value, str) or not self.value.isdecimal():
            return None
        return Snowflake(int(self.value))


_IDS = frozenset(
    {
        CommandOptionType.USER,
        CommandOptionType.CHANNEL,
        CommandOptionType.ROLE,
        CommandOptionType.MENTIONABLE,
        CommandOptionType.ATTACHMENT,
    }
)


class SubmittedComponent(Model):
    """What a component of a modal was answered with, of any type.

    See https://discord.com/developers/docs/components/reference, the sections on interaction responses.
    """

    type: ComponentType
    id: int | UnsetType = UNSET
    """Number within the modal, from 1; no snowflake."""
    component_type: ComponentType | UnsetType = UNSET
    custom_id: str | UnsetType = UNSET
    value: Unchecked[str | bool] | UnsetType | None = UNSET
    """A text input's text, the chosen value of a radio group (None for none), whether a checkbox is ticked.

    A type that this version does not know may have anything that JSON knows."""
    values: Unchecked[tuple[Unchecked[str], ...]] | UnsetType = UNSET
    """What was chosen in a select, checkbox group or file upload; ids as strings, see `snowflakes`."""
    resolved: ResolvedData | UnsetType = UNSET
    component: "SubmittedComponent | UnsetType" = UNSET
    """Inside a label."""
    components: "tuple[SubmittedComponent, ...] | UnsetType" = UNSET
    """Inside an action row."""

    @property
    def snowflakes(self) -> tuple[Snowflake, ...]:
        """Those of `values` that are ids."""
        return _snowflakes(self.values)


class InteractionData(Model):
    """The data of an interaction of any type.

    See https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object-interaction-data.
    """

    # Commands.
    id: Snowflake | UnsetType = UNSET
    """Of the command."""
    name: str | UnsetType = UNSET
    type: ApplicationCommandType | UnsetType = UNSET
    options: tuple[CommandOption, ...] | UnsetType = UNSET
    guild_id: Snowflake | UnsetType = UNSET
    """The guild that the command is registered in; left out for global commands."""
    target_id: Snowflake | UnsetType = UNSET
    """The user or message of a context menu."""
    # Components and modals.
    custom_id: str | UnsetType = UNSET
    component_type: ComponentType | UnsetType = UNSET
    values: Unchecked[tuple[Unchecked[str], ...]] | UnsetType = UNSET
    """What was chosen in a select; ids as strings, see `snowflakes`."""
    components: tuple[SubmittedComponent, ...] | UnsetType = UNSET
    """What a modal was answered with."""
    # All.
    resolved: ResolvedData | UnsetType = UNSET

    @property
    def snowflakes(self) -> tuple[Snowflake, ...]:
        """Those of `values` that are ids."""
        return _snowflakes(self.values)

    @property
    def path(self) -> tuple[str, ...]:
        """The name of the command with its group and subcommand, such as ``("role", "members", "add")``."""
        names = [self.name or ""]
        options = self.options or ()
        while options and options[0].type in (CommandOptionType.SUB_COMMAND, CommandOptionType.SUB_COMMAND_GROUP):
            names.append(options[0].name)
            options = options[0].options or ()
        return tuple(names)

    @property
    def arguments(self) -> dict[str, CommandOption]:
        """The filled-in options by name, found inside groups and subcommands."""
        options = self.options or ()
        while options and options[0].type in (CommandOptionType.SUB_COMMAND, CommandOptionType.SUB_COMMAND_GROUP):
            options = options[0].options or ()
        return {option.name: option for option in options}

    @property
    def focused(self) -> CommandOption | None:
        """The option in which the user is typing; autocompletion only."""
        return next((option for option in self.arguments.values() if option.focused), None)

    @property
    def answers(self) -> dict[str, SubmittedComponent]:
        """The answered components of a modal by `custom_id`, found inside labels and action rows."""
        found: dict[str, SubmittedComponent] = {}
        pending = list(self.components or ())
        while pending:
            component = pending.pop(0)
            if isinstance(component.custom_id, str):
                found[component.custom_id] = component
            pending.extend(component.components or ())
            if component.component:
                pending.append(component.component)
        return found

    def user(self, id: Snowflake | None) -> User | None:
        """The user that an id stands for, if Discord sent it along."""
        return None if id is None or not self.resolved else (self.resolved.users or {}).get(id)

    def role(self, id: Snowflake | None) -> Role | None:
        """The role that an id stands for, if Discord sent it along."""
        return None if id is None or not self.resolved else (self.resolved.roles or {}).get(id)

    def channel(self, id: Snowflake | None) -> PartialChannel | None:
        """The channel that an id stands for, if Discord sent it along."""
        return None if id is None or not self.resolved else (self.resolved.channels or {}).get(id)

    def attachment(self, id: Snowflake | None) -> Attachment | None:
        """The file that an id stands for, if Discord sent it along."""
        return None if id is None or not self.resolved else (self.resolved.attachments or {}).get(id)


def _snowflakes(values: object) -> tuple[Snowflake, ...]:
    if not isinstance(values, tuple):
        return ()
    texts = (value for value in cast("tuple[object, ...]", values) if isinstance(value, str))
    return tuple(Snowflake(int(text)) for text in texts if text.isdecimal())


class _Data(Protocol):
    @property
    def resolved(self) -> ResolvedData | UnsetType:
        """The objects behind the ids."""
        ...

    def user(self, id: Snowflake | None) -> User | None:
        """The user that an id stands for, if Discord sent it along."""
        ...

    def role(self, id: Snowflake | None) -> Role | None:
        """The role that an id stands for, if Discord sent it along."""
        ...

    def channel(self, id: Snowflake | None) -> PartialChannel | None:
        """The channel that an id stands for, if Discord sent it along."""
        ...

    def attachment(self, id: Snowflake | None) -> Attachment | None:
        """The file that an id stands for, if Discord sent it along."""
        ...


class CommandData(_Data, Protocol):
    """`InteractionData` as a command or an autocompletion has it.

    See https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object-application-command-data-structure.
    """

    @property
    def id(self) -> Snowflake:
        """Of the command."""
        ...

    @property
    def name(self) -> str:
        """Of the command."""
        ...

    @property
    def type(self) -> ApplicationCommandType:
        """How the command was called."""
        ...

    @property
    def options(self) -> tuple[CommandOption, ...] | UnsetType:
        """As they were sent; see `arguments` for those inside subcommands."""
        ...

    @property
    def guild_id(self) -> Snowflake | UnsetType:
        """The guild that the command is registered in; left out for global commands."""
        ...

    @property
    def target_id(self) -> Snowflake | UnsetType:
        """The user or message of a context menu."""
        ...

    @property
    def path(self) -> tuple[str, ...]:
        """The name of the command with its group and subcommand."""
        ...

    @property
    def arguments(self) -> dict[str, CommandOption]:
        """The filled-in options by name, found inside groups and subcommands."""
        ...

    @property
    def focused(self) -> CommandOption | None:
        """The option in which the user is typing; autocompletion only."""
        ...


class ComponentData(_Data, Protocol):
    """`InteractionData` as a click on a component has it.

    See https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object-message-component-data-structure.
    """

    @property
    def custom_id(self) -> str:
        """What the developer named it."""
        ...

    @property
    def component_type(self) -> ComponentType:
        """What was clicked."""
        ...

    @property
    def values(self) -> tuple[str, ...] | UnsetType:
        """What was chosen in a select; ids as strings."""
        ...

    @property
    def snowflakes(self) -> tuple[Snowflake, ...]:
        """Those of `values` that are ids."""
        ...


class ModalData(_Data, Protocol):
    """`InteractionData` as a submitted modal has it.

    See https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object-modal-submit-data-structure.
    """

    @property
    def custom_id(self) -> str:
        """What the developer named it."""
        ...

    @property
    def components(self) -> tuple[SubmittedComponent, ...]:
        """As they were sent; see `answers` for those inside labels and action rows."""
        ...

    @property
    def answers(self) -> dict[str, SubmittedComponent]:
        """The answered components by `custom_id`, found inside labels and action rows."""
        ...


class Interaction(Identified):
    """Something that a user asks the application to do.

    It must be answered over HTTP within 3 seconds, with `id` and `token`.
    See https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object.
    """

    id: Snowflake
    application_id: Snowflake
    type: InteractionType
    data: InteractionData | UnsetType = UNSET
    """See `command`, `component` and `modal`."""
    guild: PartialGuild | UnsetType = UNSET
    guild_id: Snowflake | UnsetType = UNSET
    channel: PartialChannel | UnsetType = UNSET
    channel_id: Snowflake | UnsetType = UNSET
    member: Member | UnsetType = UNSET
    """In guilds only, where `user` is left out."""
    user: User | UnsetType = UNSET
    """Outside of guilds only; `invoker` is there in both."""
    token: str
    """Answers the interaction, for 15 minutes; hidden from the repr."""
    version: int = 1
    message: Message | UnsetType = UNSET
    """The message that holds the component."""
    app_permissions: int = 0
    """Bits of `Permissions` of the application in the channel; typed in `application_permissions`."""
    locale: str | UnsetType = UNSET
    """Of the user."""
    guild_locale: str | UnsetType = UNSET
    entitlements: tuple[Entitlement, ...] = ()
    authorizing_integration_owners: dict[ApplicationIntegrationType, Snowflake] = msgspec.field(default_factory=dict)
    """Who installed the application: guild or user id by kind of installation; guild 0 is a direct message with it."""
    context: InteractionContextType | UnsetType = UNSET
    attachment_size_limit: int | UnsetType = UNSET
    """Bytes per file of the answer."""

    @property
    def invoker(self) -> User:
        """Who did it, in a guild or not."""
        return self.member.user if self.member else self.user or NO_USER

    @property
    def application_permissions(self) -> Permissions:
        """`app_permissions`, typed."""
        return Permissions(self.app_permissions)

    @property
    def command(self) -> CommandData | None:
        """`data` of a command or its autocompletion; None for anything else."""
        if self.type in (InteractionType.APPLICATION_COMMAND, InteractionType.APPLICATION_COMMAND_AUTOCOMPLETE):
            return cast("CommandData", self.data) if self.data else None
        return None

    @property
    def component(self) -> ComponentData | None:
        """`data` of a click on a component; None for anything else."""
        if self.type == InteractionType.MESSAGE_COMPONENT and self.data:
            return cast("ComponentData", self.data)
        return None

    @property
    def modal(self) -> ModalData | None:
        """`data` of a submitted modal; None for anything else."""
        if self.type == InteractionType.MODAL_SUBMIT and self.data:
            return cast("ModalData", self.data)
        return None
