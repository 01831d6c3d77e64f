"""The objects that events carry, as msgspec Structs.

How Discord's tables read as types, in all of them:

- A field that Discord may leave out is `UNSET` then, which is false (`or_none` makes it None); one that may be null is
  None. A null that is not documented decodes too where the field may be left out, as None: ``if message.guild_id:`` is
  right in every case. In a field with another default, null is that default.
- A field that Discord documents as always there has a plain type. Where it has been left out nevertheless, or stands
  in a partial object, it has an empty default (None, False, 0, "", (), `NO_ID`) instead of failing the event.
- Ids are `Snowflake`, sequences tuples, timestamps aware datetimes, unless the field says otherwise.
- Enums keep values that this version does not know, see `OpenIntEnum`; flags are plain ints, with a typed property
  beside them.
- Fields that this version does not know are skipped. What does not fit at all is left out at the nearest place that
  may be without it, see `Dispatch.mended`.
"""

import warnings
from typing import TYPE_CHECKING, TypeAlias

from propylon._base import NO_ID, UNSET, Identified, Model, OpenIntEnum, OpenStrEnum, Unchecked, UnsetType, or_none
from propylon.models._application import (
    Application,
    ApplicationFlags,
    ApplicationIntegrationType,
    EventWebhookStatus,
    InstallParams,
    IntegrationTypeConfiguration,
    MembershipState,
    Team,
    TeamMember,
)
from propylon.models._attachment import Attachment, AttachmentFlags
from propylon.models._audit_log import AuditLogChange, AuditLogEntry, AuditLogEntryInfo, AuditLogEvent
from propylon.models._auto_moderation import (
    AutoModerationAction,
    AutoModerationActionMetadata,
    AutoModerationActionType,
    AutoModerationEventType,
    AutoModerationKeywordPresetType,
    AutoModerationRule,
    AutoModerationTriggerMetadata,
    AutoModerationTriggerType,
)
from propylon.models._channel import (
    Channel,
    ChannelFlags,
    ChannelType,
    DefaultReaction,
    ForumLayoutType,
    ForumTag,
    Overwrite,
    OverwriteType,
    PartialChannel,
    SortOrderType,
    ThreadMember,
    ThreadMetadata,
    VideoQualityMode,
)
from propylon.models._command import (
    ApplicationCommandPermission,
    ApplicationCommandPermissionType,
    GuildApplicationCommandPermissions,
)
from propylon.models._component import (
    ButtonStyle,
    Component,
    ComponentType,
    MediaGalleryItem,
    SelectDefaultValue,
    SelectOption,
    SeparatorSpacing,
    TextInputStyle,
    UnfurledMediaItem,
    UnfurledMediaItemFlags,
)
from propylon.models._embed import (
    Embed,
    EmbedAuthor,
    EmbedField,
    EmbedFlags,
    EmbedFooter,
    EmbedImage,
    EmbedMediaFlags,
    EmbedProvider,
    EmbedType,
    EmbedVideo,
)
from propylon.models._emoji import Emoji
from propylon.models._entitlement import Entitlement, EntitlementType
from propylon.models._guild import (
    DefaultMessageNotificationLevel,
    ExplicitContentFilterLevel,
    Guild,
    GuildFeature,
    IncidentsData,
    MfaLevel,
    NsfwLevel,
    PartialGuild,
    PremiumTier,
    SystemChannelFlags,
    UnavailableGuild,
    VerificationLevel,
    WelcomeScreen,
    WelcomeScreenChannel,
)
from propylon.models._integration import (
    Integration,
    IntegrationAccount,
    IntegrationApplication,
    IntegrationExpireBehavior,
    IntegrationType,
)
from propylon.models._interaction import (
    ApplicationCommandType,
    CommandData,
    CommandOption,
    CommandOptionType,
    ComponentData,
    Interaction,
    InteractionContextType,
    InteractionData,
    ModalData,
    SubmittedComponent,
)
from propylon.models._invite import InviteTargetType
from propylon.models._member import Member, MemberFlags, PartialMember
from propylon.models._message import (
    BaseTheme,
    ChannelMention,
    InteractionMetadata,
    InteractionType,
    Message,
    MessageActivity,
    MessageActivityType,
    MessageCall,
    MessageFlags,
    MessageInteraction,
    MessageReference,
    MessageReferenceType,
    MessageSnapshot,
    MessageType,
    PartialMessage,
    ResolvedData,
    RoleSubscriptionData,
    SharedClientTheme,
    UserMention,
)
from propylon.models._permissions import Permissions
from propylon.models._poll import Poll, PollAnswer, PollAnswerCount, PollLayoutType, PollMedia, PollResults
from propylon.models._presence import (
    ActivityAssets,
    ActivityButton,
    ActivityEmoji,
    ActivityFlags,
    ActivityParty,
    ActivitySecrets,
    ActivityTimestamps,
    ClientStatus,
    ReceivedActivity,
    ReceivedActivityType,
    ReceivedOnlineStatus,
    ReceivedPresence,
    StatusDisplayType,
)
from propylon.models._reaction import Reaction, ReactionCountDetails, ReactionType
from propylon.models._role import Role, RoleColors, RoleFlags, RoleTags
from propylon.models._scheduled_event import (
    GuildScheduledEvent,
    RecurrenceFrequency,
    RecurrenceMonth,
    RecurrenceNWeekday,
    RecurrenceRule,
    RecurrenceWeekday,
    ScheduledEventEntityMetadata,
    ScheduledEventEntityType,
    ScheduledEventPrivacyLevel,
    ScheduledEventStatus,
)
from propylon.models._soundboard import SoundboardSound
from propylon.models._stage import StageInstance, StagePrivacyLevel
from propylon.models._sticker import Sticker, StickerFormatType, StickerItem, StickerType
from propylon.models._subscription import Subscription, SubscriptionStatus
from propylon.models._user import (
    NO_USER,
    AvatarDecorationData,
    Collectibles,
    Nameplate,
    PremiumType,
    PresenceUser,
    PrimaryGuild,
    User,
    UserFlags,
)
from propylon.models._voice import VoiceAnimationType, VoiceState

__all__ = [
    "NO_ID",
    "NO_USER",
    "UNSET",
    "ActivityAssets",
    "ActivityButton",
    "ActivityEmoji",
    "ActivityFlags",
    "ActivityParty",
    "ActivitySecrets",
    "ActivityTimestamps",
    "Application",
    "ApplicationCommandPermission",
    "ApplicationCommandPermissionType",
    "ApplicationCommandType",
    "ApplicationFlags",
    "ApplicationIntegrationType",
    "Attachment",
    "AttachmentFlags",
    "AuditLogChange",
    "AuditLogEntry",
    "AuditLogEntryInfo",
    "AuditLogEvent",
    "AutoModerationAction",
    "AutoModerationActionMetadata",
    "AutoModerationActionType",
    "AutoModerationEventType",
    "AutoModerationKeywordPresetType",
    "AutoModerationRule",
    "AutoModerationTriggerMetadata",
    "AutoModerationTriggerType",
    "AvatarDecorationData",
    "BaseTheme",
    "ButtonStyle",
    "Channel",
    "ChannelFlags",
    "ChannelMention",
    "ChannelType",
    "ClientStatus",
    "Collectibles",
    "CommandData",
    "CommandOption",
    "CommandOptionType",
    "Component",
    "ComponentData",
    "ComponentType",
    "DefaultMessageNotificationLevel",
    "DefaultReaction",
    "Embed",
    "EmbedAuthor",
    "EmbedField",
    "EmbedFlags",
    "EmbedFooter",
    "EmbedImage",
    "EmbedMediaFlags",
    "EmbedProvider",
    "EmbedType",
    "EmbedVideo",
    "Emoji",
    "Entitlement",
    "EntitlementType",
    "EventWebhookStatus",
    "ExplicitContentFilterLevel",
    "ForumLayoutType",
    "ForumTag",
    "Guild",
    "GuildApplicationCommandPermissions",
    "GuildFeature",
    "GuildScheduledEvent",
    "Identified",
    "IncidentsData",
    "InstallParams",
    "Integration",
    "IntegrationAccount",
    "IntegrationApplication",
    "IntegrationExpireBehavior",
    "IntegrationType",
    "IntegrationTypeConfiguration",
    "Interaction",
    "InteractionContextType",
    "InteractionData",
    "InteractionMetadata",
    "InteractionType",
    "InviteTargetType",
    "MediaGalleryItem",
    "Member",
    "MemberFlags",
    "MembershipState",
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
    "MfaLevel",
    "ModalData",
    "Model",
    "Nameplate",
    "NsfwLevel",
    "OpenIntEnum",
    "OpenStrEnum",
    "Overwrite",
    "OverwriteType",
    "PartialChannel",
    "PartialGuild",
    "PartialMember",
    "PartialMessage",
    "Permissions",
    "Poll",
    "PollAnswer",
    "PollAnswerCount",
    "PollLayoutType",
    "PollMedia",
    "PollResults",
    "PremiumTier",
    "PremiumType",
    "PresenceUser",
    "PrimaryGuild",
    "Reaction",
    "ReactionCountDetails",
    "ReactionType",
    "ReceivedActivity",
    "ReceivedActivityType",
    "ReceivedOnlineStatus",
    "ReceivedPresence",
    "RecurrenceFrequency",
    "RecurrenceMonth",
    "RecurrenceNWeekday",
    "RecurrenceRule",
    "RecurrenceWeekday",
    "ResolvedData",
    "Role",
    "RoleColors",
    "RoleFlags",
    "RoleSubscriptionData",
    "RoleTags",
    "ScheduledEventEntityMetadata",
    "ScheduledEventEntityType",
    "ScheduledEventPrivacyLevel",
    "ScheduledEventStatus",
    "SelectDefaultValue",
    "SelectOption",
    "SeparatorSpacing",
    "SharedClientTheme",
    "SortOrderType",
    "SoundboardSound",
    "StageInstance",
    "StagePrivacyLevel",
    "StatusDisplayType",
    "Sticker",
    "StickerFormatType",
    "StickerItem",
    "StickerType",
    "SubmittedComponent",
    "Subscription",
    "SubscriptionStatus",
    "SystemChannelFlags",
    "Team",
    "TeamMember",
    "TextInputStyle",
    "ThreadMember",
    "ThreadMetadata",
    "UnavailableGuild",
    "Unchecked",
    "UnfurledMediaItem",
    "UnfurledMediaItemFlags",
    "UnsetType",
    "User",
    "UserFlags",
    "UserMention",
    "VerificationLevel",
    "VideoQualityMode",
    "VoiceAnimationType",
    "VoiceState",
    "WelcomeScreen",
    "WelcomeScreenChannel",
    "or_none",
]

_RENAMED = {
    "Activity": ReceivedActivity,
    "ActivityType": ReceivedActivityType,
    "OnlineStatus": ReceivedOnlineStatus,
    "Presence": ReceivedPresence,
}
"""Earlier names of what is received, which are those of what is sent, in `propylon`."""

if TYPE_CHECKING:
    Activity: TypeAlias = ReceivedActivity
    ActivityType: TypeAlias = ReceivedActivityType
    OnlineStatus: TypeAlias = ReceivedOnlineStatus
    Presence: TypeAlias = ReceivedPresence
else:

    def __getattr__(name: str) -> object:
        """An earlier name of a class, with a DeprecationWarning."""
        renamed = _RENAMED.get(name)
        if renamed is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn(
            f"propylon.models.{name} is called {renamed.__name__} now; the {name} that a bot sends is propylon.{name}",
            DeprecationWarning,
            stacklevel=2,
        )
        return renamed
