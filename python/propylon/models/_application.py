"""Applications and the teams that own them."""

from enum import IntFlag

from propylon._base import NO_ID, UNSET, Identified, Model, OpenIntEnum, UnsetType
from propylon.models._guild import PartialGuild
from propylon.models._permissions import Permissions
from propylon.models._user import User
from propylon.snowflake import Snowflake

__all__ = [
    "Application",
    "ApplicationFlags",
    "ApplicationIntegrationType",
    "EventWebhookStatus",
    "InstallParams",
    "IntegrationTypeConfiguration",
    "MembershipState",
    "Team",
    "TeamMember",
]


class ApplicationFlags(IntFlag):
    """Privileges of an application.

    See https://discord.com/developers/docs/resources/application#application-object-application-flags.
    """

    APPLICATION_AUTO_MODERATION_RULE_CREATE_BADGE = 1 << 6
    GATEWAY_PRESENCE = 1 << 12
    GATEWAY_PRESENCE_LIMITED = 1 << 13
    GATEWAY_GUILD_MEMBERS = 1 << 14
    GATEWAY_GUILD_MEMBERS_LIMITED = 1 << 15
    VERIFICATION_PENDING_GUILD_LIMIT = 1 << 16
    EMBEDDED = 1 << 17
    GATEWAY_MESSAGE_CONTENT = 1 << 18
    GATEWAY_MESSAGE_CONTENT_LIMITED = 1 << 19
    APPLICATION_COMMAND_BADGE = 1 << 23


class ApplicationIntegrationType(OpenIntEnum):
    """Where an application can be installed.

    See https://discord.com/developers/docs/resources/application#application-object-application-integration-types.
    """

    GUILD_INSTALL = 0
    USER_INSTALL = 1


class EventWebhookStatus(OpenIntEnum):
    """Whether events go to a webhook.

    See https://discord.com/developers/docs/resources/application#application-object-application-event-webhook-status.
    """

    DISABLED = 1
    ENABLED = 2
    DISABLED_BY_DISCORD = 3


class MembershipState(OpenIntEnum):
    """Whether a member of a team has accepted.

    See https://discord.com/developers/docs/topics/teams#data-models-membership-state-enum.
    """

    INVITED = 1
    ACCEPTED = 2


class InstallParams(Model):
    """What an application asks for at installation.

    See https://discord.com/developers/docs/resources/application#install-params-object.
    """

    scopes: tuple[str, ...] = ()
    permissions: int = 0
    """Bits of `Permissions`; typed in `requested_permissions`."""

    @property
    def requested_permissions(self) -> Permissions:
        """`permissions`, typed."""
        return Permissions(self.permissions)


class IntegrationTypeConfiguration(Model):
    """How an application is installed in one kind of place.

    See https://discord.com/developers/docs/resources/application#application-object-application-integration-type-configuration-object.
    """

    oauth2_install_params: InstallParams | UnsetType = UNSET


class TeamMember(Model):
    """A member of a team: https://discord.com/developers/docs/topics/teams#data-models-team-member-object."""

    membership_state: MembershipState = MembershipState.ACCEPTED
    team_id: Snowflake = NO_ID
    user: User = User()
    role: str = ""
    """``admin``, ``developer`` or ``read_only``; empty for the owner."""


class Team(Identified):
    """The people behind an application: https://discord.com/developers/docs/topics/teams#data-models-team-object."""

    icon: str | None = None
    id: Snowflake = NO_ID
    members: tuple[TeamMember, ...] = ()
    name: str = ""
    owner_user_id: Snowflake = NO_ID


class Application(Identified):
    """An application, of which events send only part.

    See https://discord.com/developers/docs/resources/application#application-object.
    """

    id: Snowflake = NO_ID
    name: str = ""
    """Empty if it was left out, as in READY."""
    icon: str | None = None
    description: str = ""
    rpc_origins: tuple[str, ...] | UnsetType = UNSET
    bot_public: bool | UnsetType = UNSET
    bot_require_code_grant: bool | UnsetType = UNSET
    bot: User | UnsetType = UNSET
    terms_of_service_url: str | UnsetType = UNSET
    privacy_policy_url: str | UnsetType = UNSET
    owner: User | UnsetType = UNSET
    verify_key: str | UnsetType = UNSET
    """Hexadecimal public key that signs interactions sent over HTTP."""
    team: Team | UnsetType | None = UNSET
    guild_id: Snowflake | UnsetType = UNSET
    guild: PartialGuild | UnsetType = UNSET
    primary_sku_id: Snowflake | UnsetType = UNSET
    slug: str | UnsetType = UNSET
    cover_image: str | UnsetType = UNSET
    flags: int | UnsetType = UNSET
    """Bits of `ApplicationFlags`; typed in `application_flags`."""
    flags_new: int | UnsetType = UNSET
    """As `flags`, with the bits above the 30th, which `flags` cannot hold."""
    approximate_guild_count: int | UnsetType = UNSET
    approximate_user_install_count: int | UnsetType = UNSET
    approximate_user_authorization_count: int | UnsetType = UNSET
    redirect_uris: tuple[str, ...] | UnsetType = UNSET
    interactions_endpoint_url: str | UnsetType | None = UNSET
    """If it is set, interactions do not come over the gateway."""
    role_connections_verification_url: str | UnsetType | None = UNSET
    event_webhooks_url: str | UnsetType | None = UNSET
    event_webhooks_status: EventWebhookStatus | UnsetType = UNSET
    event_webhooks_types: tuple[str, ...] | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    install_params: InstallParams | UnsetType = UNSET
    integration_types_config: dict[ApplicationIntegrationType, IntegrationTypeConfiguration] | UnsetType = UNSET
    custom_install_url: str | UnsetType = UNSET

    @property
    def application_flags(self) -> ApplicationFlags:
        """`flags` and `flags_new`, typed; none set if they were left out."""
        return ApplicationFlags((self.flags or 0) | (self.flags_new or 0))
