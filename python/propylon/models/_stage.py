"""Live stages."""

from propylon._base import NO_ID, Identified, OpenIntEnum
from propylon.snowflake import Snowflake

__all__ = ["StageInstance", "StagePrivacyLevel"]


class StagePrivacyLevel(OpenIntEnum):
    """Who can listen.

    See https://discord.com/developers/docs/resources/stage-instance#stage-instance-object-privacy-level.
    """

    PUBLIC = 1
    GUILD_ONLY = 2


class StageInstance(Identified):
    """A stage that is live: https://discord.com/developers/docs/resources/stage-instance#stage-instance-object."""

    id: Snowflake
    guild_id: Snowflake = NO_ID
    channel_id: Snowflake = NO_ID
    topic: str = ""
    privacy_level: StagePrivacyLevel = StagePrivacyLevel.GUILD_ONLY
    discoverable_disabled: bool = False
    """No longer of use."""
    guild_scheduled_event_id: Snowflake | None = None
