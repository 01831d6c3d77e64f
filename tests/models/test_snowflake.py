"""Ids and the moments in them."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from propylon.snowflake import DISCORD_EPOCH, Snowflake, snowflake_time


def test_the_example_of_discords_reference() -> None:
    assert snowflake_time(175928847299117063) == datetime(2016, 4, 30, 11, 18, 25, 796000, UTC)


def test_the_epoch() -> None:
    assert snowflake_time(Snowflake(0)) == datetime(2015, 1, 1, tzinfo=UTC)
    assert DISCORD_EPOCH == 1420070400000


@given(st.integers(0, 2**64 - 1))
def test_every_64_bit_id_has_an_exact_time(snowflake: int) -> None:
    since = snowflake_time(snowflake) - datetime(2015, 1, 1, tzinfo=UTC)
    assert since // timedelta(milliseconds=1) == snowflake >> 22
    assert since % timedelta(milliseconds=1) == timedelta(0)
