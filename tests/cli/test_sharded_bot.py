"""``examples/sharded_bot.py`` runs as it stands, and stops when told to."""

import re
import signal
from pathlib import Path

import pytest

from .processes import SECONDS, Start

BOT = Path(__file__).parents[2] / "examples" / "sharded_bot.py"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_its_shards_run_against_the_simulator_and_stop_cleanly(start: Start, number: signal.Signals) -> None:
    bot = start(str(BOT))
    assert bot.stderr is not None
    said = ""
    wanted = ("shard 0, guild", "shard 1, guild", "all 4 shards are there, with 20 guilds")
    while not all(f"sharded_bot INFO {text}" in said for text in wanted):
        line = bot.stderr.readline()
        assert line, said
        said += line
    assert {int(shard_id) for shard_id in re.findall(r"ShardReady\(shard_id=(\d), shard_count=4\)", said)} == {
        0,
        1,
        2,
        3,
    }
    assert "all 4 shards are there, with 20 guilds" in said
    bot.send_signal(number)
    output, rest = bot.communicate(timeout=SECONDS)
    assert (bot.returncode, output) == (0, "")
    assert rest.count("connection closed: 1000") == 4
    assert re.search(r"messages by shard: \{0: \d+, 1: \d+", rest)
    assert "Traceback" not in rest
