"""A flood that listeners cannot keep up with: bounded memory, exact counters, a live connection (F18, I9)."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from propylon.testing import Simulator

SECONDS = float(os.environ.get("PROPYLON_FLOOD_SECONDS", "15"))
QUEUE = 16 * 1024 * 1024
INTERVAL = 2.0

pytestmark = [
    pytest.mark.timeout(90 + 2 * SECONDS),
    pytest.mark.skipif(sys.platform != "linux", reason="reads its memory from /proc"),
]


@pytest.mark.parametrize("overflow", ["pause", "drop_oldest"])
def test_memory_is_bounded_counters_add_up_and_the_connection_lives(overflow: str) -> None:
    with Simulator(rate=None, seed=7, heartbeat_interval=INTERVAL, guilds=3) as simulator:
        bot = Path(__file__).with_name("slow_bot.py")
        command = [sys.executable, str(bot), simulator.url, overflow, str(SECONDS), str(QUEUE)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 2 * SECONDS, check=False)
        connections = simulator.record()["connections"]
    assert done.returncode == 0, done.stderr
    # A machine that is busy with others may hold a listener up, and that is said.
    assert [line for line in done.stderr.splitlines() if "held the event loop" not in line] == []
    seen: dict[str, Any] = json.loads(done.stdout)

    assert seen["whole"], "received = delivered + unheard + filtered + overflowed + queued in every snapshot"
    assert seen["in_order"]
    assert seen["listened"] > 100
    assert seen["queue_bytes"] <= QUEUE + 64 * 1024
    assert seen["pending"] <= 500
    # The queue itself, the chunks that its events share with others, and what the allocator keeps.
    assert seen["peak"] - seen["base"] <= 2 * QUEUE + 16 * 1024 * 1024
    if overflow == "pause":
        assert seen["pauses"] >= 1
        assert seen["paused_seconds"] > 0
        assert seen["overflowed"] == 0
    else:
        assert seen["pauses"] == 0
        assert seen["overflowed"] > 1000

    assert seen["status"] == "READY"
    assert seen["reconnects"] == 0
    assert len(connections) == 1
    beats = connections[0]["beats"]
    # A busy machine sends some late. Beats that wait for the flood would all come after it.
    assert len(beats) >= SECONDS / INTERVAL / 2
    assert max(later - earlier for earlier, later in itertools.pairwise(beats)) <= 4000 * INTERVAL
    assert connections[0]["closed"]["code"] == 1000
