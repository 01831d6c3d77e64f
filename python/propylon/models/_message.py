"""Messages and what only messages carry; embeds, attachments, components, polls and reactions have their own files."""

from datetime import datetime
from enum import IntFlag

import msgspec

from propylon._base import NO_ID, UNSET, Identified, Model, OpenIntEnum, UnsetType
from propylon.models._application import Application, ApplicationIntegrationType
from propylon.models._attachment import Attachment
from propylon.models._channel import Channel, ChannelType, PartialChannel
from propylon.models._component import Component
from propylon.models._embed import Embed
from propylon.models._member import PartialMember
from propylon.models._poll import Poll
from propylon.models._reaction import Reaction
from propylon.models._role import Role
from propylon.models._sticker import Sticker, StickerItem
from propylon.models._user import User
from propylon.snowflake import Snowflake, snowflake_time

__all__ = [
    "BaseTheme",
    "ChannelMention",
    "InteractionMetadata",
    "InteractionType",
    "Message",
    "MessageActivity",
    "MessageActivityType",
    "MessageCall",
    "MessageFlags",
    "MessageInteraction",
    "MessageReference",
    "MessageReferenceType",
    "MessageSnapshot",
    "MessageType",
    "PartialMessage",
    "ResolvedData",
    "RoleSubscriptionData",
    "SharedClientTheme",
    "UserMention",
]


class MessageType(OpenIntEnum):
    """What wrote a message, and why.

    See https://discord.com/developers/docs/resources/message#message-object-message-types.
    """

    DEFAULT = 0
    RECIPIENT_ADD = 1
    RECIPIENT_REMOVE = 2
    CALL = 3
    CHANNEL_NAME_CHANGE = 4
    CHANNEL_ICON_CHANGE = 5
    CHANNEL_PINNED_MESSAGE = 6
    USER_JOIN = 7
    GUILD_BOOST = 8
    GUILD_BOOST_TIER_1 = 9
    GUILD_BOOST_TIER_2 = 10
    GUILD_BOOST_TIER_3 = 11
    CHANNEL_FOLLOW_ADD = 12
    GUILD_DISCOVERY_DISQUALIFIED = 14
    GUILD_DISCOVERY_REQUALIFIED = 15
    GUILD_DISCOVERY_GRACE_PERIOD_INITIAL_WARNING = 16
    GUILD_DISCOVERY_GRACE_PERIOD_FINAL_WARNING = 17
    THREAD_CREATED = 18
    REPLY = 19
    CHAT_INPUT_COMMAND = 20
    THREAD_STARTER_MESSAGE = 21
    GUILD_INVITE_REMINDER = 22
    CONTEXT_MENU_COMMAND = 23
    AUTO_MODERATION_ACTION = 24
    ROLE_SUBSCRIPTION_PURCHASE = 25
    INTERACTION_PREMIUM_UPSELL = 26
    STAGE_START = 27
    STAGE_END = 28
    STAGE_SPEAKER = 29
    STAGE_TOPIC = 31
    GUILD_APPLICATION_PREMIUM_SUBSCRIPTION = 32
    GUILD_INCIDENT_ALERT_MODE_ENABLED = 36
    GUILD_INCIDENT_ALERT_MODE_DISABLED = 37
    GUILD_INCIDENT_REPORT_RAID = 38
    GUILD_INCIDENT_REPORT_FALSE_ALARM = 39
    PURCHASE_NOTIFICATION = 44
    POLL_RESULT = 46


class MessageFlags(IntFlag):
    """Traits of a message: https://discord.com/developers/docs/resources/message#message-object-message-flags."""

    CROSSPOSTED = 1 << 0
    IS_CROSSPOST = 1 << 1
    SUPPRESS_EMBEDS = 1 << 2
    SOURCE_MESSAGE_DELETED = 1 << 3
    URGENT = 1 << 4
    HAS_THREAD = 1 << 5
    EPHEMERAL = 1 << 6
    LOADING = 1 << 7
    FAILED_TO_MENTION_SOME_ROLES_IN_THREAD = 1 << 8
    SUPPRESS_NOTIFICATIONS = 1 << 12
    IS_VOICE_MESSAGE = 1 << 13
    HAS_SNAPSHOT = 1 << 14
    IS_COMPONENTS_V2 = 1 << 15


class MessageActivityType(OpenIntEnum):
    """What a Rich Presence invites to.

    See https://discord.com/developers/docs/resources/message#message-object-message-activity-types.
    """

    JOIN = 1
    SPECTATE = 2
    LISTEN = 3
    JOIN_REQUEST = 5
    STREAM_REQUEST = 6


class MessageReferenceType(OpenIntEnum):
    """Whether a message answers or forwards another.

    See https://discord.com/developers/docs/resources/message#message-reference-types.
    """

    DEFAULT = 0
    FORWARD = 1


class BaseTheme(OpenIntEnum):
    """What a shared theme builds on: https://discord.com/developers/docs/resources/message#base-theme-types."""

    UNSET = 0
    DARK = 1
    LIGHT = 2
    DARKER = 3
    MIDNIGHT = 4


class InteractionType(OpenIntEnum):
    """What a user did.

    See https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object-interaction-type.
    """

    PING = 1
    APPLICATION_COMMAND = 2
    MESSAGE_COMPONENT = 3
    APPLICATION_COMMAND_AUTOCOMPLETE = 4
    MODAL_SUBMIT = 5


class UserMention(User):
    """A mentioned user, in guilds with the membership.

    See https://discord.com/developers/docs/events/gateway-events#message-create.
    """

    member: PartialMember | UnsetType = UNSET


class ChannelMention(Identified):
    """A channel named in a crossposted message.

    See https://discord.com/developers/docs/resources/message#channel-mention-object.
    """

    id: Snowflake
    guild_id: Snowflake = NO_ID
    type: ChannelType
    name: str = ""


class MessageActivity(Model):
    """An invitation by Rich Presence.

    See https://discord.com/developers/docs/resources/message#message-object-message-activity-structure.
    """

    type: MessageActivityType
    party_id: str | UnsetType = UNSET


class MessageReference(Model):
    """The message that is answered, forwarded or told about.

    See https://discord.com/developers/docs/resources/message#message-reference-structure.
    """

    type: MessageReferenceType | UnsetType = UNSET
    """Left out by old messages, where it is `MessageReferenceType.DEFAULT`."""
    message_id: Snowflake | UnsetType = UNSET
    channel_id: Snowflake | UnsetType = UNSET
    guild_id: Snowflake | UnsetType = UNSET
    fail_if_not_exists: bool | UnsetType = UNSET


class MessageCall(Model):
    """A call in a private channel: https://discord.com/developers/docs/resources/message#message-call-object."""

    participants: tuple[Snowflake, ...] = ()
    ended_timestamp: datetime | UnsetType | None = UNSET
    """None or left out while it goes on."""


class RoleSubscriptionData(Model):
    """The purchase of a role: https://discord.com/developers/docs/resources/message#role-subscription-data-object."""

    role_subscription_listing_id: Snowflake
    tier_name: str = ""
    total_months_subscribed: int = 0
    is_renewal: bool = False


class SharedClientTheme(Model):
    """A colour theme sent to others.

    See https://discord.com/developers/docs/resources/message#shared-client-theme-object.
    """

    colors: tuple[str, ...] = ()
    """Up to five, ``RRGGBB``."""
    gradient_angle: int = 0
    """Degrees."""
    base_mix: int = 0
    """Percent."""
    base_theme: BaseTheme | UnsetType | None = UNSET


class MessageInteraction(Identified):
    """The older, deprecated form of `InteractionMetadata`.

    See https://discord.com/developers/docs/interactions/receiving-and-responding#message-interaction-object.
    """

    id: Snowflake
    type: InteractionType
    name: str = ""
    """Of the command, with its subcommands."""
    user: User
    member: PartialMember | UnsetType = UNSET


class InteractionMetadata(Identified):
    """The interaction that a message answers, of any type.

    See https://discord.com/developers/docs/resources/message#message-interaction-metadata-object.
    """

    id: Snowflake
    type: InteractionType
    user: User
    authorizing_integration_owners: dict[ApplicationIntegrationType, Snowflake] = msgspec.field(default_factory=dict)
    """Who installed the application: guild or user id by kind of installation; guild 0 is a direct message with it."""
    original_response_message_id: Snowflake | UnsetType = UNSET
    """Follow-up messages only."""
    target_user: User | UnsetType = UNSET
    """User commands only."""
    target_message_id: Snowflake | UnsetType = UNSET
    """Message commands only."""
    interacted_message_id: Snowflake | UnsetType = UNSET
    """Component interactions only: the message that held the component."""
    triggering_interaction_metadata: "InteractionMetadata | UnsetType" = UNSET
    """Modals only: what opened the modal."""


class MessageSnapshot(Model):
    """A forwarded message as it was.

    See https://discord.com/developers/docs/resources/message#message-snapshot-object.
    """

    message: "PartialMessage"


class ResolvedData(Model):
    """The objects behind the ids in an interaction.

    See https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object-resolved-data-structure.
    """

    users: dict[Snowflake, User] | UnsetType = UNSET
    members: dict[Snowflake, PartialMember] | UnsetType = UNSET
    """Without `PartialMember.user`, which stands in `users` under the same id."""
    roles: dict[Snowflake, Role] | UnsetType = UNSET
    channels: dict[Snowflake, PartialChannel] | UnsetType = UNSET
    messages: "dict[Snowflake, PartialMessage] | UnsetType" = UNSET
    attachments: dict[Snowflake, Attachment] | UnsetType = UNSET


class PartialMessage(Model):
    """A message of which any field may be left out: https://discord.com/developers/docs/resources/message#message-object.

    Without the intent MESSAGE_CONTENT, `content`, `embeds`, `attachments` and `components` are empty and `poll` is left
    out, except in private messages, in messages that mention the bot and in its own.
    """

    id: Snowflake | UnsetType = UNSET
    channel_id: Snowflake | UnsetType = UNSET
    author: User | UnsetType = UNSET
    """No real user if `webhook_id` is set."""
    content: str | UnsetType = UNSET
    """The text. Empty without the intent MESSAGE_CONTENT, see above."""
    timestamp: datetime | UnsetType = UNSET
    """When it was sent."""
    edited_timestamp: datetime | UnsetType | None = UNSET
    """None if it never was."""
    tts: bool | UnsetType = UNSET
    mention_everyone: bool | UnsetType = UNSET
    mentions: tuple[UserMention, ...] | UnsetType = UNSET
    mention_roles: tuple[Snowflake, ...] | UnsetType = UNSET
    mention_channels: tuple[ChannelMention, ...] | UnsetType = UNSET
    """Crossposted messages only."""
    attachments: tuple[Attachment, ...] | UnsetType = UNSET
    """Empty without the intent MESSAGE_CONTENT, see above."""
    embeds: tuple[Embed, ...] | UnsetType = UNSET
    """Empty without the intent MESSAGE_CONTENT, see above."""
    reactions: tuple[Reaction, ...] | UnsetType = UNSET
    nonce: int | str | UnsetType = UNSET
    """What the sender made up to recognise the message; a number sent as a string stays a string."""
    pinned: bool | UnsetType = UNSET
    webhook_id: Snowflake | UnsetType = UNSET
    type: MessageType | UnsetType = UNSET
    activity: MessageActivity | UnsetType = UNSET
    application: Application | UnsetType = UNSET
    application_id: Snowflake | UnsetType = UNSET
    """Of the application whose interaction this answers, or whose webhook it is."""
    flags: int | UnsetType = UNSET
    """Bits of `MessageFlags`; typed in `message_flags`."""
    message_reference: MessageReference | UnsetType = UNSET
    message_snapshots: tuple[MessageSnapshot, ...] | UnsetType = UNSET
    referenced_message: "Message | UnsetType | None" = UNSET
    """The answered message; None if it was deleted, left out if Discord did not look."""
    interaction_metadata: InteractionMetadata | UnsetType = UNSET
    interaction: MessageInteraction | UnsetType = UNSET
    thread: Channel | UnsetType = UNSET
    """The thread that was started from it."""
    components: tuple[Component, ...] | UnsetType = UNSET
    """Empty without the intent MESSAGE_CONTENT, see above."""
    sticker_items: tuple[StickerItem, ...] | UnsetType = UNSET
    stickers: tuple[Sticker, ...] | UnsetType = UNSET
    """No longer sent, see `sticker_items`."""
    position: int | UnsetType = UNSET
    """Rough place in a thread, for a scroll bar; neither unique nor without gaps."""
    role_subscription_data: RoleSubscriptionData | UnsetType = UNSET
    resolved: ResolvedData | UnsetType = UNSET
    poll: Poll | UnsetType = UNSET
    """Left out without the intent MESSAGE_CONTENT, see above."""
    call: MessageCall | UnsetType = UNSET
    shared_client_theme: SharedClientTheme | UnsetType = UNSET
    # The rest is told by gateway events only. It stands here, not in them, to keep the order of all fields
    # (see ModelMeta): MESSAGE_CREATE is hot.
    guild_id: Snowflake | UnsetType = UNSET
    """Gateway events only; left out for private and ephemeral messages."""
    member: PartialMember | UnsetType = UNSET
    """The author's membership; gateway events in guilds only, and not for webhooks."""
    channel_type: ChannelType | UnsetType = UNSET
    """Gateway events only."""

    @property
    def message_flags(self) -> MessageFlags:
        """`flags`, typed; none set if they were left out."""
        return MessageFlags(self.flags or 0)


class Message(PartialMessage):
    """A message: https://discord.com/developers/docs/resources/message#message-object.

    What needs the intent MESSAGE_CONTENT is told at `PartialMessage`.
    """

    id: Snowflake = msgspec.field()
    channel_id: Snowflake = msgspec.field()
    author: User = msgspec.field()
    content: str = ""
    """The text. Empty without the intent MESSAGE_CONTENT, see `PartialMessage`."""
    timestamp: datetime = msgspec.field()
    edited_timestamp: datetime | None = None
    tts: bool = False
    mention_everyone: bool = False
    mentions: tuple[UserMention, ...] = ()
    mention_roles: tuple[Snowflake, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    """Empty without the intent MESSAGE_CONTENT, see `PartialMessage`."""
    embeds: tuple[Embed, ...] = ()
    """Empty without the intent MESSAGE_CONTENT, see `PartialMessage`."""
    pinned: bool = False
    type: MessageType = MessageType.DEFAULT
    components: tuple[Component, ...] = ()
    """Empty without the intent MESSAGE_CONTENT, see `PartialMessage`."""

    @property
    def created_at(self) -> datetime:
        """When the message was sent, read from its id: aware, UTC, exact to the millisecond."""
        return snowflake_time(self.id)

    @property
    def jump_url(self) -> str:
        """A link to the message; a guild is only known in gateway events."""
        return f"https://discord.com/channels/{self.guild_id or '@me'}/{self.channel_id}/{self.id}"
