"""Users and the ornaments of their profiles."""

from enum import IntFlag

from propylon._base import NO_ID, UNSET, Identified, Model, OpenIntEnum, Unchecked, UnsetType
from propylon.snowflake import Snowflake

__all__ = [
    "NO_USER",
    "AvatarDecorationData",
    "Collectibles",
    "Nameplate",
    "PremiumType",
    "PresenceUser",
    "PrimaryGuild",
    "User",
    "UserFlags",
]


class UserFlags(IntFlag):
    """Badges and standing of an account: https://discord.com/developers/docs/resources/user#user-object-user-flags."""

    STAFF = 1 << 0
    PARTNER = 1 << 1
    HYPESQUAD = 1 << 2
    BUG_HUNTER_LEVEL_1 = 1 << 3
    HYPESQUAD_ONLINE_HOUSE_1 = 1 << 6
    HYPESQUAD_ONLINE_HOUSE_2 = 1 << 7
    HYPESQUAD_ONLINE_HOUSE_3 = 1 << 8
    PREMIUM_EARLY_SUPPORTER = 1 << 9
    TEAM_PSEUDO_USER = 1 << 10
    BUG_HUNTER_LEVEL_2 = 1 << 14
    VERIFIED_BOT = 1 << 16
    VERIFIED_DEVELOPER = 1 << 17
    CERTIFIED_MODERATOR = 1 << 18
    BOT_HTTP_INTERACTIONS = 1 << 19


class PremiumType(OpenIntEnum):
    """Which Nitro subscription a user has.

    See https://discord.com/developers/docs/resources/user#user-object-premium-types.
    """

    NONE = 0
    NITRO_CLASSIC = 1
    NITRO = 2
    NITRO_BASIC = 3


class AvatarDecorationData(Model):
    """The frame around an avatar.

    See https://discord.com/developers/docs/resources/user#avatar-decoration-data-object.
    """

    asset: str = ""
    """Hash of the image."""
    sku_id: Snowflake | UnsetType = UNSET
    """What was bought."""


class Nameplate(Model):
    """The background behind a name in lists: https://discord.com/developers/docs/resources/user#nameplate."""

    sku_id: Snowflake | UnsetType = UNSET
    asset: str | UnsetType = UNSET
    """Path of the image."""
    label: str | UnsetType = UNSET
    palette: str | UnsetType = UNSET
    """Name of the background colour, such as ``crimson``."""


class Collectibles(Model):
    """What a user collected and shows: https://discord.com/developers/docs/resources/user#collectibles."""

    nameplate: Nameplate | UnsetType | None = UNSET


class PrimaryGuild(Model):
    """The guild whose tag a user wears.

    See https://discord.com/developers/docs/resources/user#user-object-user-primary-guild.
    """

    identity_guild_id: Snowflake | None = None
    identity_enabled: bool | None = None
    """None when the tag was taken away by Discord, False when the user took it off."""
    tag: str | None = None
    """At most four characters."""
    badge: str | None = None
    """Hash of the image."""


class User(Identified):
    """A user, bot or webhook: https://discord.com/developers/docs/resources/user#user-object.

    No field is required, because partial users and a few odd places leave out even ids.
    """

    id: Snowflake = NO_ID
    username: str = ""
    """Unique on Discord, except for webhooks, whose name this is. Empty if it was left out."""
    discriminator: str = "0"
    """``0`` for accounts with a unique username; four digits for bots and ``0000`` for webhooks."""
    global_name: str | None = None
    """The display name; for bots, the name of the application."""
    avatar: str | None = None
    """Hash of the image; begins with ``a_`` if it is animated."""
    bot: bool | UnsetType = UNSET
    system: bool | UnsetType = UNSET
    """Whether this is Discord itself speaking."""
    mfa_enabled: bool | UnsetType = UNSET
    banner: str | UnsetType | None = UNSET
    accent_color: int | UnsetType | None = UNSET
    """0xRRGGBB."""
    locale: str | UnsetType = UNSET
    verified: bool | UnsetType = UNSET
    """Whether the e-mail address is; only sent with the OAuth2 scope ``email``."""
    email: str | UnsetType | None = UNSET
    flags: int | UnsetType = UNSET
    """Bits of `UserFlags`; typed in `user_flags`."""
    premium_type: PremiumType | UnsetType = UNSET
    public_flags: int | UnsetType = UNSET
    """Bits of `UserFlags` that everybody may see; typed in `user_flags`."""
    avatar_decoration_data: AvatarDecorationData | UnsetType | None = UNSET
    collectibles: Collectibles | UnsetType | None = UNSET
    primary_guild: PrimaryGuild | UnsetType | None = UNSET

    @property
    def user_flags(self) -> UserFlags:
        """`flags` and `public_flags` together, typed."""
        return UserFlags((self.flags or 0) | (self.public_flags or 0))

    @property
    def display_name(self) -> str:
        """What Discord shows outside of guilds: the display name, else the username."""
        return self.global_name or self.username

    @property
    def mention(self) -> str:
        """The text that mentions the user in a message."""
        return f"<@{self.id}>"


NO_USER = User()
"""Stands for a user that Discord documents as there but left out."""


class PresenceUser(Identified):
    """The user of a presence: only `id` is certain, the rest may come when it changed, unchecked by Discord.

    See https://discord.com/developers/docs/events/gateway-events#presence-update.
    """

    id: Snowflake = NO_ID
    username: Unchecked[str] | UnsetType = UNSET
    discriminator: Unchecked[str] | UnsetType = UNSET
    global_name: Unchecked[str] | UnsetType | None = UNSET
    avatar: Unchecked[str] | UnsetType | None = UNSET
    bot: Unchecked[bool] | UnsetType = UNSET
    system: Unchecked[bool] | UnsetType = UNSET
    mfa_enabled: Unchecked[bool] | UnsetType = UNSET
    banner: Unchecked[str] | UnsetType | None = UNSET
    accent_color: Unchecked[int] | UnsetType | None = UNSET
    locale: Unchecked[str] | UnsetType = UNSET
    verified: Unchecked[bool] | UnsetType = UNSET
    email: Unchecked[str] | UnsetType | None = UNSET
    flags: Unchecked[int] | UnsetType = UNSET
    premium_type: Unchecked[PremiumType] | UnsetType = UNSET
    public_flags: Unchecked[int] | UnsetType = UNSET
    avatar_decoration_data: Unchecked[AvatarDecorationData] | UnsetType | None = UNSET
    collectibles: Unchecked[Collectibles] | UnsetType | None = UNSET
    primary_guild: Unchecked[PrimaryGuild] | UnsetType | None = UNSET
