"""What users and guilds have bought."""

from datetime import datetime

from propylon._base import UNSET, Identified, OpenIntEnum, UnsetType
from propylon.snowflake import Snowflake

__all__ = ["Entitlement", "EntitlementType"]


class EntitlementType(OpenIntEnum):
    """How it was come by.

    See https://discord.com/developers/docs/resources/entitlement#entitlement-object-entitlement-types.
    """

    PURCHASE = 1
    PREMIUM_SUBSCRIPTION = 2
    DEVELOPER_GIFT = 3
    TEST_MODE_PURCHASE = 4
    FREE_PURCHASE = 5
    USER_GIFT = 6
    PREMIUM_PURCHASE = 7
    APPLICATION_SUBSCRIPTION = 8


class Entitlement(Identified):
    """Access to a paid offer of the application.

    See https://discord.com/developers/docs/resources/entitlement#entitlement-object.
    """

    id: Snowflake
    sku_id: Snowflake
    application_id: Snowflake
    user_id: Snowflake | UnsetType = UNSET
    type: EntitlementType
    deleted: bool = False
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    """None: it does not end by itself."""
    guild_id: Snowflake | UnsetType = UNSET
    consumed: bool | UnsetType = UNSET
    """Whether a consumable was used up."""
