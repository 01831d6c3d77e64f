"""The process ends under flood, whatever way it ends: no abort, no hang, no traceback of ours (H3)."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from propylon.testing import Simulator

RUNS = int(os.environ.get("PROPYLON_EXIT_RUNS", "3"))
BOT = Path(__file__).with_name("bot.py")
pytestmark = pytest.mark.timeout(60 + 10 * RUNS)

LOOPS = ["asyncio", *(["uvloop"] if sys.platform != "win32" else [])]


@pytest.fixture(scope="module")
def flood() -> Iterator[Simulator]:
    """A server that sends as fast as it is read."""
    with Simulator(rate=None, seed=6, identify_interval=0) as simulator:
        yield simulator


def run(flood: Simulator, *options: str, number: signal.Signals | None = None) -> tuple[int, str]:
    """One process; its exit code and what it wrote to stderr."""
    with subprocess.Popen(
        [sys.executable, str(BOT), flood.url, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if number is not None and line:
                process.send_signal(number)
            _, errors = process.communicate(timeout=25)
        finally:
            process.kill()
    assert line == "flooding\n", errors
    return process.returncode, errors


def ours(errors: str) -> list[str]:
    """Lines of a traceback that point into the package, but for the call the bot itself was waiting in."""
    return [line for line in errors.splitlines() if "/propylon/" in line and "in open" not in line]


@pytest.mark.parametrize("control", [False, True], ids=["quiet", "control"])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("context", [False, True], ids=["left-open", "async-with"])
def test_normal_return(flood: Simulator, loop: str, control: bool, context: bool) -> None:
    options = ["--way=return", f"--loop={loop}", *["--control"] * control, *["--with"] * context]
    for _ in range(RUNS):
        assert run(flood, *options) == (0, "")


@pytest.mark.parametrize("control", [False, True], ids=["quiet", "control"])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("context", [False, True], ids=["left-open", "async-with"])
def test_exception(flood: Simulator, loop: str, control: bool, context: bool) -> None:
    options = ["--way=exception", f"--loop={loop}", *["--control"] * control, *["--with"] * context]
    for _ in range(RUNS):
        code, errors = run(flood, *options)
        assert code == 1
        assert errors.rstrip().endswith("RuntimeError: the bot's own")
        assert errors.count("Traceback") == 1
        assert ours(errors) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("control", [False, True], ids=["quiet", "control"])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_signal_under_run(flood: Simulator, loop: str, control: bool, number: signal.Signals) -> None:
    options = ["--way=run", f"--loop={loop}", *["--control"] * control]
    for _ in range(RUNS):
        assert run(flood, *options, number=number) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("control", [False, True], ids=["quiet", "control"])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("context", [False, True], ids=["left-open", "async-with"])
def test_sigint_under_a_plain_loop(flood: Simulator, loop: str, control: bool, context: bool) -> None:
    options = ["--way=signal", f"--loop={loop}", *["--control"] * control, *["--with"] * context]
    for _ in range(RUNS):
        code, errors = run(flood, *options, number=signal.SIGINT)
        # Python's own end of a process by SIGINT.
        assert code in (-signal.SIGINT, 130)
        assert errors.rstrip().endswith("KeyboardInterrupt")
        assert ours(errors) == []
