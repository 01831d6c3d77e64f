"""Received presences: who is online, on what, doing what. What a bot shows of itself is `propylon.presence`.

Discord does not check what it sends here, see `Unchecked`: the types are those it documents and practically always
sends, but a listener that must not fail looks before it computes.
"""

from enum import IntFlag
from typing import Any

from propylon._base import UNSET, Model, OpenIntEnum, OpenStrEnum, Unchecked, UnsetType
from propylon.models._user import PresenceUser
from propylon.snowflake import Snowflake

__all__ = [
    "ActivityAssets",
    "ActivityButton",
    "ActivityEmoji",
    "ActivityFlags",
    "ActivityParty",
    "ActivitySecrets",
    "ActivityTimestamps",
    "ClientStatus",
    "ReceivedActivity",
    "ReceivedActivityType",
    "ReceivedOnlineStatus",
    "ReceivedPresence",
    "StatusDisplayType",
]


class ReceivedOnlineStatus(OpenStrEnum):
    """The dot beside a name, as others show it; a bot sets its own by `propylon.OnlineStatus`.

    See https://discord.com/developers/docs/events/gateway-events#update-presence-status-types.
    """

    ONLINE = "online"
    DND = "dnd"
    IDLE = "idle"
    INVISIBLE = "invisible"
    OFFLINE = "offline"


class ReceivedActivityType(OpenIntEnum):
    """The verb of an activity that was received; one to send has `propylon.ActivityType`.

    See https://discord.com/developers/docs/events/gateway-events#activity-object-activity-types.
    """

    PLAYING = 0
    STREAMING = 1
    LISTENING = 2
    WATCHING = 3
    CUSTOM = 4
    COMPETING = 5


class StatusDisplayType(OpenIntEnum):
    """Which line of an activity a list shows.

    See https://discord.com/developers/docs/events/gateway-events#activity-object-status-display-types.
    """

    NAME = 0
    STATE = 1
    DETAILS = 2


class ActivityFlags(IntFlag):
    """What an activity offers.

    See https://discord.com/developers/docs/events/gateway-events#activity-object-activity-flags.
    """

    INSTANCE = 1 << 0
    JOIN = 1 << 1
    SPECTATE = 1 << 2
    JOIN_REQUEST = 1 << 3
    SYNC = 1 << 4
    PLAY = 1 << 5
    PARTY_PRIVACY_FRIENDS = 1 << 6
    PARTY_PRIVACY_VOICE_CHANNEL = 1 << 7
    EMBEDDED = 1 << 8


class ActivityTimestamps(Model):
    """Begin and end of an activity, milliseconds since 1970.

    See https://discord.com/developers/docs/events/gateway-events#activity-object-activity-timestamps.
    """

    start: Unchecked[int] | UnsetType = UNSET
    end: Unchecked[int] | UnsetType = UNSET


class ActivityEmoji(Model):
    """The emoji of a custom status.

    See https://discord.com/developers/docs/events/gateway-events#activity-object-activity-emoji.
    """

    name: Unchecked[str] = ""
    id: Unchecked[Snowflake] | UnsetType = UNSET
    """Left out, or None, for an emoji of Unicode."""
    animated: Unchecked[bool] | UnsetType = UNSET


class ActivityParty(Model):
    """The group in a game.

    See https://discord.com/developers/docs/events/gateway-events#activity-object-activity-party.
    """

    id: Unchecked[str] | UnsetType = UNSET
    size: Unchecked[tuple[Unchecked[int], ...]] | UnsetType = UNSET
    """Players there and players possible."""


class ActivityAssets(Model):
    """Pictures and their hover texts.

    See https://discord.com/developers/docs/events/gateway-events#activity-object-activity-assets.
    """

    large_image: Unchecked[str] | UnsetType = UNSET
    large_text: Unchecked[str] | UnsetType = UNSET
    large_url: Unchecked[str] | UnsetType = UNSET
    small_image: Unchecked[str] | UnsetType = UNSET
    small_text: Unchecked[str] | UnsetType = UNSET
    small_url: Unchecked[str] | UnsetType = UNSET
    invite_cover_image: Unchecked[str] | UnsetType = UNSET


class ActivitySecrets(Model):
    """Keys to join a game; the repr hides them.

    See https://discord.com/developers/docs/events/gateway-events#activity-object-activity-secrets.
    """

    join: Unchecked[str] | UnsetType = UNSET
    spectate: Unchecked[str] | UnsetType = UNSET
    match: Unchecked[str] | UnsetType = UNSET

    def __repr__(self) -> str:
        """Nothing of the keys."""
        return "ActivitySecrets(<hidden>)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Nothing of the keys."""
        return []


class ActivityButton(Model):
    """A button of an activity.

    See https://discord.com/developers/docs/events/gateway-events#activity-object-activity-buttons.
    """

    label: Unchecked[str] = ""
    url: Unchecked[str] = ""


class ReceivedActivity(Model):
    """Something that a user does or says; what a bot shows is `propylon.Activity`.

    See https://discord.com/developers/docs/events/gateway-events#activity-object.
    """

    name: Unchecked[str] = ""
    type: Unchecked[ReceivedActivityType] = ReceivedActivityType.PLAYING
    url: Unchecked[str] | UnsetType | None = UNSET
    """Of the stream, for `ReceivedActivityType.STREAMING`."""
    created_at: Unchecked[int] = 0
    """Milliseconds since 1970 when it was added to the session."""
    timestamps: Unchecked[ActivityTimestamps] | UnsetType = UNSET
    application_id: Unchecked[Snowflake] | UnsetType = UNSET
    status_display_type: Unchecked[StatusDisplayType] | UnsetType | None = UNSET
    details: Unchecked[str] | UnsetType | None = UNSET
    """First line."""
    details_url: Unchecked[str] | UnsetType | None = UNSET
    state: Unchecked[str] | UnsetType | None = UNSET
    """Second line; the text of a custom status."""
    state_url: Unchecked[str] | UnsetType | None = UNSET
    emoji: Unchecked[ActivityEmoji] | UnsetType | None = UNSET
    party: Unchecked[ActivityParty] | UnsetType = UNSET
    assets: Unchecked[ActivityAssets] | UnsetType = UNSET
    secrets: Unchecked[ActivitySecrets] | UnsetType = UNSET
    instance: Unchecked[bool] | UnsetType = UNSET
    """Whether this is one instanced round of a game."""
    flags: Unchecked[int] | UnsetType = UNSET
    """Bits of `ActivityFlags`; typed in `activity_flags`."""
    buttons: Unchecked[tuple[Unchecked[ActivityButton], ...]] | UnsetType = UNSET
    """At most two. Bots that receive presences get only the labels, as strings."""

    @property
    def activity_flags(self) -> ActivityFlags:
        """`flags`, typed; none set if they were left out."""
        return ActivityFlags(self.flags if isinstance(self.flags, int) else 0)


class ClientStatus(Model):
    """Status by kind of client; left out where the user is offline or invisible.

    See https://discord.com/developers/docs/events/gateway-events#client-status-object.
    """

    desktop: Unchecked[ReceivedOnlineStatus] | UnsetType = UNSET
    mobile: Unchecked[ReceivedOnlineStatus] | UnsetType = UNSET
    web: Unchecked[ReceivedOnlineStatus] | UnsetType = UNSET
    """A browser; bots too."""
    vr: Unchecked[ReceivedOnlineStatus] | UnsetType = UNSET


class ReceivedPresence(Model):
    """What a user does; what a bot shows is `propylon.Presence`.

    See https://discord.com/developers/docs/events/gateway-events#presence.
    """

    user: PresenceUser = PresenceUser()
    """Only `PresenceUser.id` is certain."""
    guild_id: Snowflake | UnsetType = UNSET
    """Left out inside other objects."""
    status: Unchecked[ReceivedOnlineStatus] | UnsetType = UNSET
    activities: Unchecked[tuple[Unchecked[ReceivedActivity], ...]] = ()
    client_status: Unchecked[ClientStatus] = ClientStatus()
