"""Live stages."""

from propylon.events._event import Event
from propylon.events._intents import GUILDS
from propylon.models._stage import StageInstance

__all__ = ["StageInstanceCreate", "StageInstanceDelete", "StageInstanceUpdate"]


class StageInstanceCreate(StageInstance, Event, event="STAGE_INSTANCE_CREATE", intents=GUILDS):
    """A stage went live.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#stage-instance-create
    """


class StageInstanceUpdate(StageInstance, Event, event="STAGE_INSTANCE_UPDATE", intents=GUILDS):
    """A live stage changed; it is all told anew.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#stage-instance-update
    """


class StageInstanceDelete(StageInstance, Event, event="STAGE_INSTANCE_DELETE", intents=GUILDS):
    """A stage was closed.

    Intent: GUILDS. https://discord.com/developers/docs/events/gateway-events#stage-instance-delete
    """
