"""Roles of a guild."""

from enum import IntFlag

from propylon._base import UNSET, Identified, Model, UnsetType
from propylon.models._permissions import Permissions
from propylon.snowflake import Snowflake

__all__ = ["Role", "RoleColors", "RoleFlags", "RoleTags"]


class RoleFlags(IntFlag):
    """Traits of a role: https://discord.com/developers/docs/topics/permissions#role-object-role-flags."""

    IN_PROMPT = 1 << 0


class RoleColors(Model):
    """The colours of a role, 0xRRGGBB.

    See https://discord.com/developers/docs/topics/permissions#role-object-role-colors-object.
    """

    primary_color: int = 0
    """0 means no colour."""
    secondary_color: int | None = None
    """The other end of a gradient."""
    tertiary_color: int | None = None
    """With it, the role is holographic."""


class RoleTags(Model):
    """Whose role it is: https://discord.com/developers/docs/topics/permissions#role-object-role-tags-structure.

    `premium_subscriber`, `available_for_purchase` and `guild_connections` are sent as null for yes and left out for no;
    the properties of similar names say it as booleans.
    """

    bot_id: Snowflake | UnsetType = UNSET
    integration_id: Snowflake | UnsetType = UNSET
    premium_subscriber: UnsetType | None = UNSET
    subscription_listing_id: Snowflake | UnsetType = UNSET
    available_for_purchase: UnsetType | None = UNSET
    guild_connections: UnsetType | None = UNSET

    @property
    def is_premium_subscriber(self) -> bool:
        """Whether this is the role of those who boost the guild."""
        return self.premium_subscriber is None

    @property
    def is_available_for_purchase(self) -> bool:
        """Whether the role can be bought as a subscription."""
        return self.available_for_purchase is None

    @property
    def is_guild_connections(self) -> bool:
        """Whether the role is given for linked accounts."""
        return self.guild_connections is None


class Role(Identified):
    """A role: https://discord.com/developers/docs/topics/permissions#role-object."""

    id: Snowflake
    """Equals the guild's id for @everyone."""
    name: str = ""
    color: int = 0
    """0xRRGGBB; the older form of `colors`."""
    colors: RoleColors | UnsetType = UNSET
    hoist: bool = False
    """Whether its members are listed apart."""
    icon: str | UnsetType | None = UNSET
    unicode_emoji: str | UnsetType | None = UNSET
    position: int = 0
    """Higher is more powerful; roles of equal position sort by id."""
    permissions: int = 0
    """Bits of `Permissions`; typed in `role_permissions`."""
    managed: bool = False
    """Whether an integration owns it."""
    mentionable: bool = False
    tags: RoleTags | UnsetType = UNSET
    flags: int = 0
    """Bits of `RoleFlags`; typed in `role_flags`."""

    @property
    def role_permissions(self) -> Permissions:
        """`permissions`, typed."""
        return Permissions(self.permissions)

    @property
    def role_flags(self) -> RoleFlags:
        """`flags`, typed."""
        return RoleFlags(self.flags)

    @property
    def mention(self) -> str:
        """The text that mentions the role in a message."""
        return f"<@&{self.id}>"
