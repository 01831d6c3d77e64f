"""A thousand lost connections leave nothing behind (faults.md §3.6, H5)."""

import json
import subprocess
import sys

import pytest

from endurance import cycles

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="reads the process from /proc"),
]


def told(cycle: str) -> dict[str, dict[str, int]]:
    """What that cycle says in a process of its own. Warnings are errors there."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:propylon._core is a debug build", cycles.__file__, cycle],
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    facts: dict[str, dict[str, int]] = json.loads(done.stdout)
    return facts


def test_a_thousand_reconnects_leave_descriptors_threads_tasks_and_memory_where_they_were() -> None:
    facts = told("reconnects")
    before, after = facts["before"], facts["after"]
    assert facts["metrics"]["identifies"] == 1
    assert facts["metrics"]["reconnects"] >= cycles.RECONNECTS + cycles.WARM_UP
    # The simulator, which lives there too, keeps its record of each connection: some 3 KiB.
    assert after.pop("rss") - before.pop("rss") < cycles.RECONNECTS * 8 * 1024
    assert after == before


def test_opening_and_closing_again_and_again_leaves_nothing() -> None:
    facts = told("openings")
    before, after = facts["before"], facts["after"]
    assert after.pop("rss") - before.pop("rss") < 4 * 1024 * 1024
    assert after == before


def test_h5_starting_and_stopping_many_shards_leaves_nothing() -> None:
    """H5."""
    facts = told("fleets")
    before, after = facts["before"], facts["after"]
    # The simulator's record of each session grows with them: the test above looks at the memory.
    del after["rss"], before["rss"]
    assert after == before
