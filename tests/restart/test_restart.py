"""A bot that is ended and started again under load identifies once and misses no event."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from propylon.testing import Simulator

BOT = Path(__file__).with_name("bot.py")
RATE = 500
pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]


def until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def bot(simulator: Simulator, folder: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = [simulator.url, str(folder / "sessions.json"), str(folder / "log")]
    with subprocess.Popen(
        [sys.executable, str(BOT), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def logged(folder: Path) -> list[int]:
    log = folder / "log"
    # A process that was killed may have left half a line; none does, because a line is one write.
    return [int(line) for line in log.read_text().splitlines()] if log.exists() else []


def generated(simulator: Simulator) -> int:
    (session,) = simulator.record()["sessions"]
    count: int = session["generated"]
    return count


def test_sigterm_and_sigkill_under_500_events_a_second(tmp_path: Path) -> None:
    with Simulator(
        guilds=0, events=["MESSAGE_CREATE"], rate=RATE, replay_buffer=1_000_000, identify_interval=0
    ) as simulator:
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            with bot(simulator, tmp_path) as process:
                before = len(set(logged(tmp_path)))
                # Long enough for the mark to have been saved while it ran.
                until(lambda before=before: len(set(logged(tmp_path))) >= before + 2 * RATE, process)
                process.send_signal(number)
                _, errors = process.communicate(timeout=20)
            assert process.returncode == (0 if number == signal.SIGTERM else -signal.SIGKILL), errors
            assert "Traceback" not in errors
        simulator.flood(False)
        with bot(simulator, tmp_path) as process:
            until(lambda: len(set(logged(tmp_path))) == generated(simulator), process)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
            assert (process.returncode, errors) == (0, "")
        record = simulator.record()
        (session,) = record["sessions"]
        assert (record["identifies"], session["resumes"]) == (1, 3)
        ids = logged(tmp_path)
        assert len(set(ids)) == session["generated"] > 3 * 2 * RATE
        # At least once, and not everything twice: what is repeated was under way or after the last save.
        assert len(ids) - len(set(ids)) < 5 * RATE
