"""For a moment what ``make soak-shards`` and ``make soak-reshard`` hold for long: many shards, a reshard under cuts."""

import sys

import pytest

from endurance.reshard import history
from endurance.shards import life

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="reads the process from /proc"),
]


async def test_64_shards_start_as_their_buckets_allow_and_leave_nothing_behind() -> None:
    """I2, and the server's record."""
    outcome = await life(64, seconds=5, rate=4_000, max_concurrency=16, interval=0.5, heartbeat_interval=4.0, quiet=0.5)
    # Each bucket had its turns; how late the server read an IDENTIFY is this machine's affair, and the soak's to tell.
    assert outcome.opened >= outcome.allowed
    assert outcome.server["late_beats"]["count"] == outcome.server["overdue_beats"] == 0
    assert outcome.server["beats"] >= 64
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert outcome.heard > 4_000
    assert outcome.closed < 5
    assert all(count <= 0 for count in outcome.left.values())


@pytest.mark.parametrize("seed", [0, 1])
async def test_a_reshard_under_cuts_loses_nothing_and_brings_nothing_twice(seed: int) -> None:
    outcome = await history(seed)
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert outcome.answered == [8, 4]
    assert outcome.cuts > 5
    assert outcome.overlapped > 1_000
