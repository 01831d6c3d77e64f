"""Members of a guild."""

from datetime import datetime
from enum import IntFlag

from propylon._base import UNSET, Model, UnsetType
from propylon.models._permissions import Permissions
from propylon.models._user import NO_USER, AvatarDecorationData, Collectibles, User
from propylon.snowflake import Snowflake

__all__ = ["Member", "MemberFlags", "PartialMember"]


class MemberFlags(IntFlag):
    """What a member has done or may skip.

    See https://discord.com/developers/docs/resources/guild#guild-member-object-guild-member-flags.
    """

    DID_REJOIN = 1 << 0
    COMPLETED_ONBOARDING = 1 << 1
    BYPASSES_VERIFICATION = 1 << 2
    STARTED_ONBOARDING = 1 << 3
    IS_GUEST = 1 << 4
    STARTED_HOME_ACTIONS = 1 << 5
    COMPLETED_HOME_ACTIONS = 1 << 6
    AUTOMOD_QUARANTINED_USERNAME = 1 << 7
    DM_SETTINGS_UPSELL_ACKNOWLEDGED = 1 << 9
    AUTOMOD_QUARANTINED_GUILD_TAG = 1 << 10


class PartialMember(Model):
    """A member as part of a message or an interaction, mostly without `user`, which stands beside it.

    See https://discord.com/developers/docs/resources/guild#guild-member-object.
    """

    user: User | UnsetType = UNSET
    nick: str | UnsetType | None = UNSET
    """The name in this guild; None if there is none."""
    avatar: str | UnsetType | None = UNSET
    """Hash of the avatar for this guild; None if there is none."""
    banner: str | UnsetType | None = UNSET
    roles: tuple[Snowflake, ...] = ()
    """All but @everyone, in no order."""
    joined_at: datetime | None = None
    """None for guests."""
    premium_since: datetime | UnsetType | None = UNSET
    """Since when the member boosts the guild."""
    deaf: bool | UnsetType = UNSET
    """By the guild, not by the member."""
    mute: bool | UnsetType = UNSET
    """By the guild, not by the member."""
    flags: int = 0
    """Bits of `MemberFlags`; typed in `member_flags`."""
    pending: bool | UnsetType = UNSET
    """Whether membership screening is still to be passed."""
    permissions: int | UnsetType = UNSET
    """Bits of `Permissions` in the channel of an interaction, overwrites included; typed in `member_permissions`."""
    communication_disabled_until: datetime | UnsetType | None = UNSET
    """End of the timeout; may lie in the past."""
    avatar_decoration_data: AvatarDecorationData | UnsetType | None = UNSET
    collectibles: Collectibles | UnsetType | None = UNSET

    @property
    def member_flags(self) -> MemberFlags:
        """`flags`, typed."""
        return MemberFlags(self.flags)

    @property
    def member_permissions(self) -> Permissions | None:
        """`permissions`, typed; None outside of interactions."""
        return Permissions(self.permissions) if isinstance(self.permissions, int) else None


class Member(PartialMember):
    """A member of a guild: https://discord.com/developers/docs/resources/guild#guild-member-object."""

    user: User = NO_USER
    deaf: bool = False
    mute: bool = False

    @property
    def display_name(self) -> str:
        """What Discord shows in this guild: the nickname, else the name of the user."""
        return self.nick or self.user.display_name

    @property
    def mention(self) -> str:
        """The text that mentions the member in a message."""
        return self.user.mention
