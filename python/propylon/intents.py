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
    """Guilds with their roles, channels, pins, threads and stages. Without it no GUILD_CREATE comes."""
    GUILD_MEMBERS = 1 << 1
    """Privileged. Members who join, change or leave, and those who enter or leave threads."""
    GUILD_MODERATION = 1 << 2
    """Bans, and new entries of the audit log."""
    GUILD_EXPRESSIONS = 1 << 3
    """Emojis, stickers and soundboard sounds of guilds."""
    GUILD_INTEGRATIONS = 1 << 4
    """Integrations of guilds."""
    GUILD_WEBHOOKS = 1 << 5
    """That the webhooks of a channel changed."""
    GUILD_INVITES = 1 << 6
    """Invites that are made or deleted."""
    GUILD_VOICE_STATES = 1 << 7
    """Who is in which voice channel, and the effects sent there. Joining one needs it too."""
    GUILD_PRESENCES = 1 << 8
    """Privileged. Statuses and activities of members: by far the most events of a large bot."""
    GUILD_MESSAGES = 1 << 9
    """Messages in guilds. What is written in them needs `MESSAGE_CONTENT` as well."""
    GUILD_MESSAGE_REACTIONS = 1 << 10
    """Reactions to messages in guilds."""
    GUILD_MESSAGE_TYPING = 1 << 11
    """Who begins to type in guilds."""
    DIRECT_MESSAGES = 1 << 12
    """Messages in direct messages with the bot, whose content comes without `MESSAGE_CONTENT`."""
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    """Reactions to direct messages."""
    DIRECT_MESSAGE_TYPING = 1 << 14
    """Who begins to type in direct messages."""
    MESSAGE_CONTENT = 1 << 15
    """Privileged. Delivers no event: it fills ``content``, ``embeds``, ``attachments``, ``components`` and ``poll``.

    Without it these are empty in the messages of guilds, except in the bot's own, in those that mention it, and in the
    one on which a message command of it was used. https://discord.com/developers/docs/events/gateway#message-content-intent
    """
    GUILD_SCHEDULED_EVENTS = 1 << 16
    """Scheduled events of guilds, and who subscribes to them."""
    AUTO_MODERATION_CONFIGURATION = 1 << 20
    """Rules of AutoMod."""
    AUTO_MODERATION_EXECUTION = 1 << 21
    """That a rule of AutoMod was triggered. What was written needs `MESSAGE_CONTENT` as well."""
    GUILD_MESSAGE_POLLS = 1 << 24
    """Votes in polls of guilds."""
    DIRECT_MESSAGE_POLLS = 1 << 25
    """Votes in polls of direct messages."""

    NONE = 0
    """No events but those that are always sent, such as READY."""
    PRIVILEGED = GUILD_MEMBERS | GUILD_PRESENCES | MESSAGE_CONTENT
    """Those that must be enabled for the application in the Developer Portal."""
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
    """What happens in guilds, privileged ones included; `MESSAGE_CONTENT` is not among them."""
    ALL_DIRECT_MESSAGE = DIRECT_MESSAGES | DIRECT_MESSAGE_REACTIONS | DIRECT_MESSAGE_TYPING | DIRECT_MESSAGE_POLLS
    """What happens in direct messages with the bot."""
    ALL = ALL_GUILD | ALL_DIRECT_MESSAGE | MESSAGE_CONTENT
    """All that there are, privileged ones included."""
    NON_PRIVILEGED = ALL & ~PRIVILEGED
    """All that need not be enabled in the Developer Portal: what a `Gateway` asks for unless it is told otherwise."""
