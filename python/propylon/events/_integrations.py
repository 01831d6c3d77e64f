"""Integrations and webhooks of guilds."""

from propylon._base import UNSET, UnsetType
from propylon.events._event import Event
from propylon.events._intents import GUILD_INTEGRATIONS, GUILD_WEBHOOKS
from propylon.models._integration import Integration
from propylon.snowflake import Snowflake

__all__ = [
    "GuildIntegrationsUpdate",
    "IntegrationCreate",
    "IntegrationDelete",
    "IntegrationUpdate",
    "WebhooksUpdate",
]


class GuildIntegrationsUpdate(Event, event="GUILD_INTEGRATIONS_UPDATE", intents=GUILD_INTEGRATIONS):
    """Some integration of a guild changed; which one is not told.

    Intent: GUILD_INTEGRATIONS. https://discord.com/developers/docs/events/gateway-events#guild-integrations-update
    """

    guild_id: Snowflake


class IntegrationCreate(Integration, Event, event="INTEGRATION_CREATE", intents=GUILD_INTEGRATIONS):
    """An integration was added; its `user` is left out.

    Intent: GUILD_INTEGRATIONS. https://discord.com/developers/docs/events/gateway-events#integration-create
    """

    guild_id: Snowflake


class IntegrationUpdate(Integration, Event, event="INTEGRATION_UPDATE", intents=GUILD_INTEGRATIONS):
    """An integration changed; its `user` is left out.

    Intent: GUILD_INTEGRATIONS. https://discord.com/developers/docs/events/gateway-events#integration-update
    """

    guild_id: Snowflake


class IntegrationDelete(Event, event="INTEGRATION_DELETE", intents=GUILD_INTEGRATIONS):
    """An integration was removed.

    Intent: GUILD_INTEGRATIONS. https://discord.com/developers/docs/events/gateway-events#integration-delete
    """

    id: Snowflake
    guild_id: Snowflake
    application_id: Snowflake | UnsetType = UNSET
    """Of the bot or OAuth2 application that it belonged to."""


class WebhooksUpdate(Event, event="WEBHOOKS_UPDATE", intents=GUILD_WEBHOOKS):
    """Some webhook of a channel was made, changed or deleted; which one is not told.

    Intent: GUILD_WEBHOOKS. https://discord.com/developers/docs/events/gateway-events#webhooks-update
    """

    guild_id: Snowflake
    channel_id: Snowflake
