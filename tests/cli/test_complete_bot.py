"""``examples/complete_bot.py`` runs as it stands, and stops when told to."""

import signal
from pathlib import Path

import pytest

from .processes import SECONDS, Start

BOT = Path(__file__).parents[2] / "examples" / "complete_bot.py"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_bot_runs_against_the_simulator_and_stops_cleanly(start: Start, number: signal.Signals) -> None:
    bot = start(str(BOT))
    assert bot.stderr is not None
    said = ""
    while "complete_bot INFO #" not in said:
        line = bot.stderr.readline()
        assert line, said
        said += line
    assert "ready as propylon in 10 guilds" in said
    bot.send_signal(number)
    output, rest = bot.communicate(timeout=SECONDS)
    assert (bot.returncode, output) == (0, "")
    assert "the connection was closed with 1000" in rest
    assert "messages of users" in rest
    assert "Traceback" not in rest
