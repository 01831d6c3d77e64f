"""``examples/to_parquet.py``: each event is in a file, whatever ends it."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from propylon.testing import Simulator

from .processes import SECONDS, Start

pq: Any = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")

EXAMPLE = Path(__file__).parents[2] / "examples" / "to_parquet.py"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def column(folder: Path, name: str) -> list[Any]:
    """Of all files, in the order of their names."""
    return [value for path in sorted(folder.glob("*.parquet")) for value in pq.read_table(path)[name].to_pylist()]


def sequences(folder: Path) -> list[int]:
    return column(folder, "sequence")


def until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_runs_as_it_stands_and_the_last_events_get_a_file(start: Start, tmp_path: Path) -> None:
    bot = start(str(EXAMPLE), str(tmp_path / "events"), "--seconds", "0.5")
    folder = tmp_path / "events"
    until(lambda: len(list(folder.glob("*.parquet"))) >= 2, bot)
    bot.send_signal(signal.SIGTERM)
    output, errors = bot.communicate(timeout=SECONDS)
    assert (bot.returncode, errors) == (0, "")
    found = sequences(folder)
    assert found == list(range(1, len(found) + 1))
    assert len(found) > 50
    assert output.count(" events\n") == len(list(folder.glob("*.parquet")))
    assert not list(folder.glob("*.part"))


def test_no_event_is_missing_whatever_ends_it_and_an_orderly_end_repeats_none(start: Start, tmp_path: Path) -> None:
    with Simulator(guilds=0, rate=1_000, replay_buffer=1_000_000, identify_interval=0) as simulator:
        command = [str(EXAMPLE), str(tmp_path), "--seconds", "0.3", "--size", "500", "--gateway-url", simulator.url]
        for resumes, number in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)):
            before = len(sequences(tmp_path))
            bot = start(*command)
            until(lambda before=before: len(sequences(tmp_path)) > before + 1_500, bot)
            # RESUMED is of its connection: what is killed before that is in a file does not get it again.
            until(lambda resumes=resumes: column(tmp_path, "type").count("RESUMED") >= resumes, bot)
            if number == signal.SIGTERM and not before:
                first_run = bot
            bot.send_signal(number)
            bot.communicate(timeout=SECONDS)
            assert bot.returncode == (0 if number == signal.SIGTERM else -number)
            if bot is first_run:
                found = sequences(tmp_path)
                assert found == list(range(1, len(found) + 1))
        (session,) = simulator.record()["sessions"]
        assert session["resumes"] == 2
    found = sequences(tmp_path)
    assert set(found) == set(range(1, max(found) + 1))
    # What is there twice was not yet acknowledged, or not yet saved, when it was killed.
    assert len(found) - len(set(found)) < max(found)
    for path in tmp_path.glob("*.parquet"):
        assert pq.ParquetFile(path).metadata.num_rows <= 500
