"""Events that a guild announces in its calendar."""

from datetime import datetime

from propylon._base import NO_ID, UNSET, Identified, Model, OpenIntEnum, UnsetType
from propylon.models._user import User
from propylon.snowflake import Snowflake

__all__ = [
    "GuildScheduledEvent",
    "RecurrenceFrequency",
    "RecurrenceMonth",
    "RecurrenceNWeekday",
    "RecurrenceRule",
    "RecurrenceWeekday",
    "ScheduledEventEntityMetadata",
    "ScheduledEventEntityType",
    "ScheduledEventPrivacyLevel",
    "ScheduledEventStatus",
]


class ScheduledEventPrivacyLevel(OpenIntEnum):
    """Who can see it.

    See https://discord.com/developers/docs/resources/guild-scheduled-event#guild-scheduled-event-object-guild-scheduled-event-privacy-level.
    """

    GUILD_ONLY = 2


class ScheduledEventEntityType(OpenIntEnum):
    """Where it happens.

    See https://discord.com/developers/docs/resources/guild-scheduled-event#guild-scheduled-event-object-guild-scheduled-event-entity-types.
    """

    STAGE_INSTANCE = 1
    VOICE = 2
    EXTERNAL = 3


class ScheduledEventStatus(OpenIntEnum):
    """How far it is; the last two are final.

    See https://discord.com/developers/docs/resources/guild-scheduled-event#guild-scheduled-event-object-guild-scheduled-event-status.
    """

    SCHEDULED = 1
    ACTIVE = 2
    COMPLETED = 3
    CANCELED = 4


class RecurrenceFrequency(OpenIntEnum):
    """The unit of a repetition.

    See https://discord.com/developers/docs/resources/guild-scheduled-event#guild-scheduled-event-recurrence-rule-object.
    """

    YEARLY = 0
    MONTHLY = 1
    WEEKLY = 2
    DAILY = 3


class RecurrenceWeekday(OpenIntEnum):
    """Days, counted as `datetime.weekday` does.

    See https://discord.com/developers/docs/resources/guild-scheduled-event#guild-scheduled-event-recurrence-rule-object.
    """

    MONDAY = 0
    TUESDAY = 1
    WEDNESDAY = 2
    THURSDAY = 3
    FRIDAY = 4
    SATURDAY = 5
    SUNDAY = 6


class RecurrenceMonth(OpenIntEnum):
    """Months.

    See https://discord.com/developers/docs/resources/guild-scheduled-event#guild-scheduled-event-recurrence-rule-object.
    """

    JANUARY = 1
    FEBRUARY = 2
    MARCH = 3
    APRIL = 4
    MAY = 5
    JUNE = 6
    JULY = 7
    AUGUST = 8
    SEPTEMBER = 9
    OCTOBER = 10
    NOVEMBER = 11
    DECEMBER = 12


class ScheduledEventEntityMetadata(Model):
    """Where an event outside Discord takes place.

    See https://discord.com/developers/docs/resources/guild-scheduled-event#guild-scheduled-event-object-guild-scheduled-event-entity-metadata.
    """

    location: str | UnsetType = UNSET


class RecurrenceNWeekday(Model):
    """A weekday of a certain week of the month.

    See https://discord.com/developers/docs/resources/guild-scheduled-event#guild-scheduled-event-recurrence-rule-object.
    """

    n: int
    """Week of the month, 1 to 5."""
    day: RecurrenceWeekday


class RecurrenceRule(Model):
    """How an event repeats, a subset of iCalendar's rules.

    See https://discord.com/developers/docs/resources/guild-scheduled-event#guild-scheduled-event-recurrence-rule-object.
    """

    start: datetime
    end: datetime | None = None
    frequency: RecurrenceFrequency
    interval: int = 1
    """Every how many units of `frequency`."""
    by_weekday: tuple[RecurrenceWeekday, ...] | None = None
    by_n_weekday: tuple[RecurrenceNWeekday, ...] | None = None
    by_month: tuple[RecurrenceMonth, ...] | None = None
    by_month_day: tuple[int, ...] | None = None
    by_year_day: tuple[int, ...] | None = None
    """1 to 364."""
    count: int | None = None
    """How often it happens before it ends."""


class GuildScheduledEvent(Identified):
    """An event in a guild's calendar.

    See https://discord.com/developers/docs/resources/guild-scheduled-event#guild-scheduled-event-object.
    """

    id: Snowflake
    guild_id: Snowflake = NO_ID
    channel_id: Snowflake | None = None
    """None for an event outside Discord."""
    creator_id: Snowflake | UnsetType | None = UNSET
    """None or left out for events made before 2021-10-25."""
    name: str
    description: str | UnsetType | None = UNSET
    scheduled_start_time: datetime
    scheduled_end_time: datetime | None = None
    privacy_level: ScheduledEventPrivacyLevel = ScheduledEventPrivacyLevel.GUILD_ONLY
    status: ScheduledEventStatus
    entity_type: ScheduledEventEntityType
    entity_id: Snowflake | None = None
    """Of the stage instance."""
    entity_metadata: ScheduledEventEntityMetadata | None = None
    creator: User | UnsetType = UNSET
    user_count: int | UnsetType = UNSET
    """How many are interested."""
    image: str | UnsetType | None = UNSET
    recurrence_rule: RecurrenceRule | None = None
