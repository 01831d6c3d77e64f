"""Events in the calendars of guilds."""

from propylon.events._event import Event
from propylon.events._intents import GUILD_SCHEDULED_EVENTS
from propylon.models._scheduled_event import GuildScheduledEvent
from propylon.snowflake import Snowflake

__all__ = [
    "GuildScheduledEventCreate",
    "GuildScheduledEventDelete",
    "GuildScheduledEventUpdate",
    "GuildScheduledEventUserAdd",
    "GuildScheduledEventUserRemove",
]


class GuildScheduledEventCreate(
    GuildScheduledEvent, Event, event="GUILD_SCHEDULED_EVENT_CREATE", intents=GUILD_SCHEDULED_EVENTS
):
    """An event was announced.

    Intent: GUILD_SCHEDULED_EVENTS.
    https://discord.com/developers/docs/events/gateway-events#guild-scheduled-event-create
    """


class GuildScheduledEventUpdate(
    GuildScheduledEvent, Event, event="GUILD_SCHEDULED_EVENT_UPDATE", intents=GUILD_SCHEDULED_EVENTS
):
    """An event changed, began or ended; it is all told anew.

    Intent: GUILD_SCHEDULED_EVENTS.
    https://discord.com/developers/docs/events/gateway-events#guild-scheduled-event-update
    """


class GuildScheduledEventDelete(
    GuildScheduledEvent, Event, event="GUILD_SCHEDULED_EVENT_DELETE", intents=GUILD_SCHEDULED_EVENTS
):
    """An event was deleted.

    Intent: GUILD_SCHEDULED_EVENTS.
    https://discord.com/developers/docs/events/gateway-events#guild-scheduled-event-delete
    """


class GuildScheduledEventUserAdd(Event, event="GUILD_SCHEDULED_EVENT_USER_ADD", intents=GUILD_SCHEDULED_EVENTS):
    """A user became interested in an event.

    Intent: GUILD_SCHEDULED_EVENTS.
    https://discord.com/developers/docs/events/gateway-events#guild-scheduled-event-user-add
    """

    guild_scheduled_event_id: Snowflake
    user_id: Snowflake
    guild_id: Snowflake


class GuildScheduledEventUserRemove(Event, event="GUILD_SCHEDULED_EVENT_USER_REMOVE", intents=GUILD_SCHEDULED_EVENTS):
    """A user is no longer interested in an event.

    Intent: GUILD_SCHEDULED_EVENTS.
    https://discord.com/developers/docs/events/gateway-events#guild-scheduled-event-user-remove
    """

    guild_scheduled_event_id: Snowflake
    user_id: Snowflake
    guild_id: Snowflake
