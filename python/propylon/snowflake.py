"""Snowflakes: Discord's 64-bit ids, and the moment that each of them carries.

Ids travel as JSON strings; the decoders of this package turn them into plain ``int``, so they compare,
hash and sort as numbers at no cost. See https://discord.com/developers/docs/reference#snowflakes.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, NewType

__all__ = ["DISCORD_EPOCH", "Snowflake", "snowflake_time"]

Snowflake = NewType("Snowflake", int)
"""The id of anything on Discord: an ``int`` that a type checker does not mix up with a count."""

DISCORD_EPOCH: Final = 1_420_070_400_000
"""Milliseconds between 1970 and the first second of 2015 (UTC), from which snowflakes count."""

_EPOCH: Final = datetime.fromtimestamp(DISCORD_EPOCH / 1000, UTC)


def snowflake_time(snowflake: int, /) -> datetime:
    """When an id was made: an aware datetime in UTC, exact to the millisecond.

    >>> snowflake_time(175928847299117063).isoformat()
    '2016-04-30T11:18:25.796000+00:00'
    """
    # The low 22 bits number the worker, the process and the ids of one millisecond. A timedelta, and no
    # float: a timestamp in seconds cannot hold every millisecond exactly.
    return _EPOCH + timedelta(milliseconds=snowflake >> 22)
