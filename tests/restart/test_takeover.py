"""A new process takes the session over from one that still runs: one IDENTIFY, no event lost, and no fight."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from propylon.testing import Simulator

BOT = Path(__file__).with_name("bot.py")
RATE = 2_000
HAND_OVERS = 3
pytestmark = pytest.mark.timeout(180)


class Bot:
    """A process with the bot, and what it has written down."""

    def __init__(self, simulator: Simulator, folder: Path, number: int, options: tuple[str, ...]) -> None:
        self.log = folder / f"log-{number}"
        arguments = [simulator.url, str(folder / "sessions.json"), str(self.log), *options]
        self.process = subprocess.Popen(
            [sys.executable, str(BOT), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def handled(self) -> list[int]:
        return [int(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.02)


@contextmanager
def bots(simulator: Simulator, folder: Path) -> Iterator[Callable[..., Bot]]:
    """Starts bots; ends those that are left."""
    with ExitStack() as stack:
        numbers = iter(range(100))

        def start(*options: str) -> Bot:
            bot = Bot(simulator, folder, next(numbers), options)
            stack.enter_context(bot.process)
            stack.callback(bot.process.kill)
            return bot

        yield start


def record(simulator: Simulator) -> tuple[int, int, int]:
    """IDENTIFYs, RESUMEs, and events made."""
    record = simulator.record()
    (session,) = record["sessions"]
    return record["identifies"], session["resumes"], session["generated"]


def test_three_hand_overs_under_2000_events_a_second(tmp_path: Path) -> None:
    simulator = Simulator(guilds=0, events=["MESSAGE_CREATE"], rate=RATE, replay_buffer=1_000_000, identify_interval=0)
    with simulator, bots(simulator, tmp_path) as start:
        all_bots: list[Bot] = []

        def handled() -> set[int]:
            return {event for bot in all_bots for event in bot.handled()}

        def serve(more: int) -> None:
            """Until so many events have been handled beyond those that have been made now."""
            enough = record(simulator)[2] + more
            all_bots[-1].until(lambda: len(handled()) >= enough)

        all_bots.append(start())
        all_bots[0].until(lambda: bool(all_bots[0].handled()))
        serve(RATE)
        for number in range(1, HAND_OVERS + 1):
            old, new = all_bots[-1], start()
            all_bots.append(new)
            new.until(lambda number=number: record(simulator)[1] >= number)
            # By itself: nobody sends it a signal.
            _, errors = old.process.communicate(timeout=30)
            assert (old.process.returncode, errors) == (0, "")
            serve(RATE)
        simulator.flood(False)
        serve(0)
        identifies, resumes, generated = record(simulator)
        assert (identifies, resumes) == (1, HAND_OVERS)
        assert len(handled()) == generated > (HAND_OVERS + 1) * RATE
        # At least once, and not everything twice: what comes again was handled after the last save.
        assert sum(len(bot.handled()) for bot in all_bots) - generated < 3 * HAND_OVERS * RATE


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_old_process_that_hangs_does_not_fight(tmp_path: Path) -> None:
    rate = 200
    simulator = Simulator(guilds=0, events=["MESSAGE_CREATE"], rate=rate, replay_buffer=1_000_000, identify_interval=0)
    with simulator, bots(simulator, tmp_path) as start:
        old = start("14")
        old.until(lambda: len(old.handled()) > rate)
        old.process.send_signal(signal.SIGUSR1)
        new = start()
        # The newcomer's; then, after 5 s without a word, one of the old process; and the newcomer's again.
        new.until(lambda: record(simulator)[1] == 3)
        _, errors = old.process.communicate(timeout=30)
        assert old.process.returncode == 0, errors
        assert "Traceback" not in errors
        enough = record(simulator)[2] + rate
        new.until(lambda: len({*old.handled(), *new.handled()}) >= enough)
        simulator.flood(False)
        new.until(lambda: len({*old.handled(), *new.handled()}) == record(simulator)[2])
        assert record(simulator)[:2] == (1, 3)
