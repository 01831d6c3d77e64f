"""A fleet of shards is ended, killed, started again and taken over under load: one IDENTIFY a shard, no event lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from propylon.testing import Simulator

BOT = Path(__file__).with_name("fleet_bot.py")
# A thousand in `make soak-restart`.
SHARDS = int(os.environ.get("PROPYLON_TEST_SHARDS", "16"))
RATE = 2_000
pytestmark = [
    pytest.mark.timeout(180 if SHARDS < 100 else 600),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]


class Bot:
    """A process with the bot, and what it has written down."""

    def __init__(self, simulator: Simulator, folder: Path, number: int) -> None:
        self.log = folder / f"log-{number}"
        self.process = subprocess.Popen(
            [sys.executable, str(BOT), simulator.api_url, str(folder / "sessions.json"), str(self.log)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def handled(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.02)

    def ended(self, number: signal.Signals | None = None) -> None:
        """Send the signal, if any, and hold the end against what it should be."""
        if number is not None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        assert self.process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 0), errors
        assert errors == ""


@contextmanager
def bots(simulator: Simulator, folder: Path) -> Iterator[Callable[[], Bot]]:
    """Starts bots; ends those that are left."""
    with ExitStack() as stack:
        numbers = iter(range(100))

        def start() -> Bot:
            bot = Bot(simulator, folder, next(numbers))
            stack.enter_context(bot.process)
            stack.callback(bot.process.kill)
            return bot

        yield start


def simulated() -> Simulator:
    return Simulator(
        guilds=max(SHARDS, 64),
        shards=SHARDS,
        max_concurrency=SHARDS,
        identify_interval=0,
        replay_buffer=1_000_000,
        session_start_total=100 * SHARDS,
        session_start_remaining=100 * SHARDS,
        shared_rate=RATE,
        start="manual",
    )


def made(simulator: Simulator) -> set[str]:
    """The numbers of all that were sent."""
    guilds = simulator.record(payloads=False)["shared"]["guilds"]
    return {f"{guild}:{number}" for guild, count in enumerate(guilds) for number in range(1, count + 1)}


def begin(simulator: Simulator, bot: Bot) -> None:
    """Let events come, now that somebody hears all of them."""
    bot.until(lambda: simulator.holds("ready", count=SHARDS))
    simulator.flood_shared(True)


def all_resumed(simulator: Simulator, all_bots: list[Bot]) -> None:
    """Until each shard of the last bot is there; many of them are spread over a moment."""
    starts = len(all_bots) - 1
    all_bots[-1].until(lambda: not starts or simulator.holds("resumed", count=starts * SHARDS))


def check(simulator: Simulator, all_bots: list[Bot], *, resumes: int) -> None:
    """Every event was handled; every start but the first resumed every shard."""
    simulator.flood_shared(False)
    last = all_bots[-1]
    left = made(simulator) - {event for bot in all_bots[:-1] for event in bot.handled()}
    last.until(lambda: not left - set(last.handled()))
    all_resumed(simulator, all_bots)
    last.ended(signal.SIGTERM)
    told = simulator.fleet()
    assert (told["identifies"], told["resumes"], told["resumed"]) == (SHARDS, resumes, resumes)


def test_sigterm_and_sigkill_under_2000_events_a_second(tmp_path: Path) -> None:
    with simulated() as simulator, bots(simulator, tmp_path) as start:
        all_bots = [start()]
        begin(simulator, all_bots[0])
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            bot = all_bots[-1]
            # Long enough for the marks of all shards to have been saved while it ran.
            bot.until(lambda bot=bot: len(bot.handled()) > 3 * RATE)  # type: ignore[misc]
            all_resumed(simulator, all_bots)
            bot.ended(number)
            all_bots.append(start())
        check(simulator, all_bots, resumes=3 * SHARDS)


def test_another_process_takes_the_fleet_over(tmp_path: Path) -> None:
    with simulated() as simulator, bots(simulator, tmp_path) as start:
        all_bots = [start()]
        begin(simulator, all_bots[0])
        all_bots[0].until(lambda: len(all_bots[0].handled()) > 3 * RATE)
        for _ in range(2):
            old, new = all_bots[-1], start()
            all_bots.append(new)
            # It ends by itself, without an error.
            old.ended()
            new.until(lambda new=new: len(new.handled()) > 2 * RATE)  # type: ignore[misc]
            all_resumed(simulator, all_bots)
        check(simulator, all_bots, resumes=2 * SHARDS)
