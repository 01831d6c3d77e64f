"""Events about the gateway session itself and the bot's own user."""

import msgspec

from propylon._base import UNSET, Model, UnsetType
from propylon.events._event import Event
from propylon.events._intents import NO_INTENT
from propylon.models._application import Application
from propylon.models._guild import UnavailableGuild
from propylon.models._user import NO_USER, User
from propylon.snowflake import Snowflake

__all__ = ["RateLimitMetadata", "RateLimited", "Ready", "Resumed", "UserUpdate"]


class Ready(Event, event="READY", intents=NO_INTENT):
    """A new session has begun; the guilds follow one by one as `GuildCreate`.

    What the engine does without may be missing, as it is from some servers that are compatible with Discord.

    Always sent. https://discord.com/developers/docs/events/gateway-events#ready
    """

    v: int = 0
    """Version of the gateway's API; 0 if it was left out."""
    user: User = NO_USER
    """The bot itself."""
    guilds: tuple[UnavailableGuild, ...] = ()
    session_id: str = ""
    """Resumes the session; hidden from the repr."""
    resume_gateway_url: str = ""
    shard: tuple[int, int] | UnsetType = UNSET
    """This shard's number, from 0, and how many there are."""
    application: Application = Application()
    """Only `Application.id` and `Application.flags` are sent."""


class Resumed(Event, event="RESUMED", intents=NO_INTENT):
    """The session goes on; every event missed meanwhile has been sent again.

    Always sent. https://discord.com/developers/docs/events/gateway-events#resumed
    """


class RateLimitMetadata(Model):
    """What was limited: https://discord.com/developers/docs/events/gateway-events#rate-limited.

    The fields are those of a limited request for members (opcode 8), the only documented case.
    """

    guild_id: Snowflake | UnsetType = UNSET
    nonce: str | UnsetType = UNSET
    """Of the request."""


class RateLimited(Event, event="RATE_LIMITED", intents=NO_INTENT):
    """A command was refused because it was sent too often.

    Always sent. https://discord.com/developers/docs/events/gateway-events#rate-limited
    """

    opcode: int
    """Of the command."""
    retry_after: float
    """Seconds until the command may be sent again."""
    meta: RateLimitMetadata = RateLimitMetadata()


class UserUpdate(User, Event, event="USER_UPDATE", intents=NO_INTENT):
    """The bot's own user changed; it is all told anew.

    Always sent. https://discord.com/developers/docs/events/gateway-events#user-update
    """

    id: Snowflake = msgspec.field()
    username: str = msgspec.field()
