"""The bits of Discord's intents, as plain ints for the declarations of events.

`propylon.Intents` is the enum that users see; a test holds the two together.
See https://discord.com/developers/docs/events/gateway#list-of-intents.
"""

from typing import Final

__all__ = [
    "AUTO_MODERATION_CONFIGURATION",
    "AUTO_MODERATION_EXECUTION",
    "DIRECT_MESSAGES",
    "DIRECT_MESSAGE_POLLS",
    "DIRECT_MESSAGE_REACTIONS",
    "DIRECT_MESSAGE_TYPING",
    "GUILDS",
    "GUILD_EXPRESSIONS",
    "GUILD_INTEGRATIONS",
    "GUILD_INVITES",
    "GUILD_MEMBERS",
    "GUILD_MESSAGES",
    "GUILD_MESSAGE_POLLS",
    "GUILD_MESSAGE_REACTIONS",
    "GUILD_MESSAGE_TYPING",
    "GUILD_MODERATION",
    "GUILD_PRESENCES",
    "GUILD_SCHEDULED_EVENTS",
    "GUILD_VOICE_STATES",
    "GUILD_WEBHOOKS",
    "NO_INTENT",
]

NO_INTENT: Final = 0
"""For events that Discord always sends."""
GUILDS: Final = 1 << 0
GUILD_MEMBERS: Final = 1 << 1
GUILD_MODERATION: Final = 1 << 2
GUILD_EXPRESSIONS: Final = 1 << 3
GUILD_INTEGRATIONS: Final = 1 << 4
GUILD_WEBHOOKS: Final = 1 << 5
GUILD_INVITES: Final = 1 << 6
GUILD_VOICE_STATES: Final = 1 << 7
GUILD_PRESENCES: Final = 1 << 8
GUILD_MESSAGES: Final = 1 << 9
GUILD_MESSAGE_REACTIONS: Final = 1 << 10
GUILD_MESSAGE_TYPING: Final = 1 << 11
DIRECT_MESSAGES: Final = 1 << 12
DIRECT_MESSAGE_REACTIONS: Final = 1 << 13
DIRECT_MESSAGE_TYPING: Final = 1 << 14
# 1 << 15, MESSAGE_CONTENT, delivers no event: it fills fields of messages.
GUILD_SCHEDULED_EVENTS: Final = 1 << 16
AUTO_MODERATION_CONFIGURATION: Final = 1 << 20
AUTO_MODERATION_EXECUTION: Final = 1 << 21
GUILD_MESSAGE_POLLS: Final = 1 << 24
DIRECT_MESSAGE_POLLS: Final = 1 << 25
