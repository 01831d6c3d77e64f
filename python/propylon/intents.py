"""Intents: which events Discord sends at all."""

from enum import IntFlag

from propylon._base import Model

__all__ = ["Intents"]


class Intents(IntFlag):
    """The groups of events that a gateway asks for; combine them with ``|``.

    `MESSAGE_CONTENT`, `GUILD_MEMBERS` and `GUILD_PRESENCES` are privileged: enable them for the application in the
    Developer Portal first. https://discord.com/developers/docs/events/gateway#gateway-intents
    """

    @classmethod
    def for_events(cls, *events: type[Model]) -> "Intents":
        """The smallest set with which all of these events come, wherever they can happen.

        Many events come by one intent in guilds and by another in direct messages; both are taken. A privileged
        intent is taken only where no other delivers the event at all. `MESSAGE_CONTENT` delivers no event, it fills
        the fields of messages: add it with ``|`` if you read them.

        Raises:
            TypeError: It is no class of an event.
        """
        intents = cls.NONE
        for event in events:
            bits = getattr(event, "__intents__", None)
            if not isinstance(bits, int):
                raise TypeError(f"for_events() takes classes of events such as MessageCreate, not {event!r}")
            intents |= (cls(bits) & cls.NON_PRIVILEGED) or cls(bits)
        return intents

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_MODERATION = 1 << 2
    GUILD_EXPRESSIONS = 1 << 3
    GUILD_INTEGRATIONS = 1 << 4
    GUILD_WEBHOOKS = 1 << 5
    GUILD_INVITES = 1 << 6
    GUILD_VOICE_STATES = 1 << 7
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15
    GUILD_SCHEDULED_EVENTS = 1 << 16
    AUTO_MODERATION_CONFIGURATION = 1 << 20
    AUTO_MODERATION_EXECUTION = 1 << 21
    GUILD_MESSAGE_POLLS = 1 << 24
    DIRECT_MESSAGE_POLLS = 1 << 25

    NONE = 0
    PRIVILEGED = GUILD_MEMBERS | GUILD_PRESENCES | MESSAGE_CONTENT
    ALL_GUILD = (
        GUILDS
        | GUILD_MEMBERS
        | GUILD_MODERATION
        | GUILD_EXPRESSIONS
        | GUILD_INTEGRATIONS
        | GUILD_WEBHOOKS
        | GUILD_INVITES
        | GUILD_VOICE_STATES
        | GUILD_PRESENCES
        | GUILD_MESSAGES
        | GUILD_MESSAGE_REACTIONS
        | GUILD_MESSAGE_TYPING
        | GUILD_SCHEDULED_EVENTS
        | AUTO_MODERATION_CONFIGURATION
        | AUTO_MODERATION_EXECUTION
        | GUILD_MESSAGE_POLLS
    )
    ALL_DIRECT_MESSAGE = DIRECT_MESSAGES | DIRECT_MESSAGE_REACTIONS | DIRECT_MESSAGE_TYPING | DIRECT_MESSAGE_POLLS
    ALL = ALL_GUILD | ALL_DIRECT_MESSAGE | MESSAGE_CONTENT
    NON_PRIVILEGED = ALL & ~PRIVILEGED
