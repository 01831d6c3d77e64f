"""Recurring payments."""

from datetime import datetime

from propylon._base import UNSET, Identified, OpenIntEnum, UnsetType
from propylon.snowflake import Snowflake

__all__ = ["Subscription", "SubscriptionStatus"]


class SubscriptionStatus(OpenIntEnum):
    """Whether a subscription goes on.

    See https://discord.com/developers/docs/resources/subscription#subscription-statuses.
    """

    ACTIVE = 0
    INACTIVE = 1
    ENDING = 2


class Subscription(Identified):
    """A user's subscription to an offer of the application; grants nothing by itself, see `Entitlement`.

    See https://discord.com/developers/docs/resources/subscription#subscription-object.
    """

    id: Snowflake
    user_id: Snowflake
    sku_ids: tuple[Snowflake, ...] = ()
    entitlement_ids: tuple[Snowflake, ...] = ()
    renewal_sku_ids: tuple[Snowflake, ...] | None = None
    """What it renews to; None if it stays the same."""
    current_period_start: datetime
    current_period_end: datetime
    status: SubscriptionStatus
    canceled_at: datetime | None = None
    country: str | UnsetType = UNSET
    """Two letters (ISO 3166-1)."""
