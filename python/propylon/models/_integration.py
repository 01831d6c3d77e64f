"""Integrations: bots, Twitch, YouTube and guild subscriptions as parts of a guild."""

from datetime import datetime

from propylon._base import UNSET, Identified, Model, OpenIntEnum, OpenStrEnum, UnsetType
from propylon.models._user import User
from propylon.snowflake import Snowflake

__all__ = [
    "Integration",
    "IntegrationAccount",
    "IntegrationApplication",
    "IntegrationExpireBehavior",
    "IntegrationType",
]


class IntegrationType(OpenStrEnum):
    """What is integrated: https://discord.com/developers/docs/resources/guild#integration-object."""

    TWITCH = "twitch"
    YOUTUBE = "youtube"
    DISCORD = "discord"
    GUILD_SUBSCRIPTION = "guild_subscription"


class IntegrationExpireBehavior(OpenIntEnum):
    """What happens to those whose subscription ended.

    See https://discord.com/developers/docs/resources/guild#integration-object-integration-expire-behaviors.
    """

    REMOVE_ROLE = 0
    KICK = 1


class IntegrationAccount(Model):
    """The account outside of Discord.

    See https://discord.com/developers/docs/resources/guild#integration-account-object.
    """

    id: str
    """No snowflake."""
    name: str = ""


class IntegrationApplication(Identified):
    """The application of a bot.

    See https://discord.com/developers/docs/resources/guild#integration-application-object.
    """

    id: Snowflake
    name: str = ""
    icon: str | None = None
    description: str = ""
    bot: User | UnsetType = UNSET


class Integration(Identified):
    """An integration: https://discord.com/developers/docs/resources/guild#integration-object.

    For bots, all from `syncing` to `expire_grace_period`, and `synced_at` and `subscriber_count`, are left out.
    """

    id: Snowflake
    name: str
    type: IntegrationType
    enabled: bool = False
    syncing: bool | UnsetType = UNSET
    role_id: Snowflake | UnsetType | None = UNSET
    """Of the subscribers."""
    enable_emoticons: bool | UnsetType = UNSET
    expire_behavior: IntegrationExpireBehavior | UnsetType = UNSET
    expire_grace_period: int | UnsetType = UNSET
    """Days."""
    user: User | UnsetType = UNSET
    account: IntegrationAccount | UnsetType = UNSET
    synced_at: datetime | UnsetType = UNSET
    subscriber_count: int | UnsetType = UNSET
    revoked: bool | UnsetType = UNSET
    application: IntegrationApplication | UnsetType = UNSET
    scopes: tuple[str, ...] | UnsetType = UNSET
    """OAuth2 scopes that were granted."""
