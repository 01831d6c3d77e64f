"""Emojis, stickers and sounds of guilds."""

from propylon._base import NO_ID
from propylon.events._event import Event
from propylon.events._intents import GUILD_EXPRESSIONS, NO_INTENT
from propylon.models._emoji import Emoji
from propylon.models._soundboard import SoundboardSound
from propylon.models._sticker import Sticker
from propylon.snowflake import Snowflake

__all__ = [
    "GuildEmojisUpdate",
    "GuildSoundboardSoundCreate",
    "GuildSoundboardSoundDelete",
    "GuildSoundboardSoundUpdate",
    "GuildSoundboardSoundsUpdate",
    "GuildStickersUpdate",
    "SoundboardSounds",
]


class GuildEmojisUpdate(Event, event="GUILD_EMOJIS_UPDATE", intents=GUILD_EXPRESSIONS):
    """Custom emojis of a guild changed; they are all told anew.

    Intent: GUILD_EXPRESSIONS. https://discord.com/developers/docs/events/gateway-events#guild-emojis-update
    """

    guild_id: Snowflake
    emojis: tuple[Emoji, ...] = ()


class GuildStickersUpdate(Event, event="GUILD_STICKERS_UPDATE", intents=GUILD_EXPRESSIONS):
    """Stickers of a guild changed; they are all told anew.

    Intent: GUILD_EXPRESSIONS. https://discord.com/developers/docs/events/gateway-events#guild-stickers-update
    """

    guild_id: Snowflake
    stickers: tuple[Sticker, ...] = ()


class GuildSoundboardSoundCreate(
    SoundboardSound, Event, event="GUILD_SOUNDBOARD_SOUND_CREATE", intents=GUILD_EXPRESSIONS
):
    """A sound was added to a guild.

    Intent: GUILD_EXPRESSIONS. https://discord.com/developers/docs/events/gateway-events#guild-soundboard-sound-create
    """

    guild_id: Snowflake = NO_ID


class GuildSoundboardSoundUpdate(
    SoundboardSound, Event, event="GUILD_SOUNDBOARD_SOUND_UPDATE", intents=GUILD_EXPRESSIONS
):
    """A sound of a guild changed; it is all told anew.

    Intent: GUILD_EXPRESSIONS. https://discord.com/developers/docs/events/gateway-events#guild-soundboard-sound-update
    """

    guild_id: Snowflake = NO_ID


class GuildSoundboardSoundDelete(Event, event="GUILD_SOUNDBOARD_SOUND_DELETE", intents=GUILD_EXPRESSIONS):
    """A sound was removed from a guild.

    Intent: GUILD_EXPRESSIONS. https://discord.com/developers/docs/events/gateway-events#guild-soundboard-sound-delete
    """

    sound_id: Snowflake
    guild_id: Snowflake


class GuildSoundboardSoundsUpdate(Event, event="GUILD_SOUNDBOARD_SOUNDS_UPDATE", intents=GUILD_EXPRESSIONS):
    """Several sounds of a guild changed at once.

    Intent: GUILD_EXPRESSIONS. https://discord.com/developers/docs/events/gateway-events#guild-soundboard-sounds-update
    """

    soundboard_sounds: tuple[SoundboardSound, ...] = ()
    guild_id: Snowflake = NO_ID


class SoundboardSounds(Event, event="SOUNDBOARD_SOUNDS", intents=NO_INTENT):
    """The sounds of one guild, as requested (opcode 31).

    Always sent. https://discord.com/developers/docs/events/gateway-events#soundboard-sounds
    """

    soundboard_sounds: tuple[SoundboardSound, ...] = ()
    guild_id: Snowflake
