"""For a moment what ``make soak-shards`` and ``make soak-reshard`` hold for long: many shards, a reshard under cuts."""

import json
import subprocess
import sys

import pytest

from endurance import shards
from endurance.reshard import history

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="reads the process from /proc"),
]


def test_64_shards_start_as_their_buckets_allow_and_leave_nothing_behind() -> None:
    """I2, and the server's record."""
    done = subprocess.run(
        [
            *[sys.executable, "-W", "ignore:propylon._core is a debug build", shards.__file__, "--json", "--shards=64"],
            *["--seconds=5", "--rate=4000", "--interval=0.5", "--heartbeat-interval=4", "--quiet=0.5"],
        ],
        capture_output=True,
        text=True,
        timeout=150,
    )
    # A machine that is busy with others may hold a listener up, and that is said.
    told = [line for line in done.stderr.splitlines() if "held the event loop" not in line]
    assert (done.returncode, told) == (0, [])
    outcome = shards.Outcome(**json.loads(done.stdout))
    # Each bucket had its turns. How late the server read what came is this machine's affair, and the soak's to tell.
    assert outcome.opened >= outcome.allowed
    assert outcome.server["late_beats"]["count"] + outcome.server["overdue_beats"] < outcome.server["beats"] / 2
    assert outcome.server["beats"] >= 64
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert outcome.heard > 4_000
    assert outcome.closed < 5
    assert all(count <= 0 for count in outcome.left.values())


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", [0, 1])
async def test_a_reshard_under_cuts_loses_nothing_and_brings_nothing_twice(seed: int) -> None:
    outcome = await history(seed)
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert outcome.answered == [8, 4]
    assert outcome.cuts > 5
    assert outcome.overlapped > 1_000
