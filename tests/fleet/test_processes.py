"""A fleet as a whole process: signals, a fork, what is left open, the engine's threads."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from propylon.testing import Simulator

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes"),
    pytest.mark.timeout(60),
]

Start = Callable[..., Simulator]

BOT = Path(__file__).with_name("bot.py")
SECONDS = 20
TYPING = {"user_id": "1", "channel_id": "2", "timestamp": 3}


def bot(sim: Simulator, *options: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(BOT), sim.api_url, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def read_until(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    while (told := process.stdout.readline().rstrip("\n")) != line:
        assert told, process.communicate()[1]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_lets_calls_of_all_shards_finish_and_closes(
    propylon_simulator: Start, number: signal.Signals, loop: str
) -> None:
    sim = propylon_simulator(guilds=0)
    with bot(sim, "--do=serve", f"--loop={loop}") as process:
        try:
            read_until(process, "fleet of 3 ready")
            sim.dispatch("TYPING_START", TYPING)
            assert process.stdout is not None
            assert process.stderr is not None
            told: list[str] = []
            while told.count("in the listener") < 3:
                told.append(process.stdout.readline().rstrip("\n"))
                assert told[-1], process.communicate()[1]
            process.send_signal(number)
            # The first may have finished by then; and a line may have been read ahead.
            told += process.stdout.read().splitlines()
            errors = process.stderr.read()
            process.wait(SECONDS)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
    assert (told.count("finished"), told[-1]) == (3, "end")
    assert [connection["closed"]["code"] for connection in sim.record()["connections"]] == [1000] * 3


def test_sigterm_and_sigkill_and_run_again_without_an_identify(propylon_simulator: Start, tmp_path: Path) -> None:
    sim = propylon_simulator(guilds=0)
    store = f"--store={tmp_path / 'sessions.json'}"
    for turn, number in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)):
        with bot(sim, store) as process:
            try:
                read_until(process, "fleet of 3 ready")
                if turn:
                    assert sim.fleet()["resumed"] == 3 * turn
                process.send_signal(number)
                _, errors = process.communicate(timeout=SECONDS)
            finally:
                process.kill()
        assert (process.returncode, errors) == (0 if number == signal.SIGTERM else -number, "")
    assert sim.record()["identifies"] == 3
    sim.wait("open", count=0)
    assert sim.fleet()["closes"]["client_close"]["4000"] == 6


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_left_open_at_the_end_of_its_loop_is_said_once(propylon_simulator: Start, loop: str) -> None:
    sim = propylon_simulator(guilds=0)
    with bot(sim, "--do=leave", f"--loop={loop}", PYTHONWARNINGS="always::ResourceWarning") as process:
        try:
            out, errors = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    # An async listener has its turn when the loop gets to it, if it still does.
    assert [line for line in out.splitlines() if not line.startswith("fleet")] == ["left open", "end"]
    assert process.returncode == 0
    assert errors.count("was left open at the end of its event loop") == 1, errors
    assert "<ShardManager READY 3 of 3 shards> was left open" in errors
    assert [connection["closed"]["code"] for connection in sim.record()["connections"]] == [1000] * 3


def test_a_fork_leaves_the_connections_to_the_parent(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0)
    with bot(sim, "--do=fork") as process:
        try:
            out, errors = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert errors == ""
    uses = ["open", "close", "metrics", "set_presence", "request", "reshard", "run", "listen"]
    lines = [line for line in out.splitlines() if not line.startswith("fleet")]
    assert lines == [
        *[f"refused {use}" for use in uses],
        "<ShardManager of the parent process>",
        "child ended with 7",
        "parent READY after 0 reconnects",
        "end",
    ]
    assert [connection["closed"]["code"] for connection in sim.record()["connections"]] == [1000] * 3


def threads(sim: Simulator, told: str, shards: int = 4) -> tuple[int, str, str]:
    program = (
        "import asyncio, os, sys, warnings; warnings.simplefilter('ignore')\n"
        "from propylon import ShardManager\n"
        "async def main():\n"
        "    async with ShardManager('token', api_url=sys.argv[1], shards=int(sys.argv[2])):\n"
        "        names = [open(f'/proc/self/task/{task}/comm').read() for task in os.listdir('/proc/self/task')]\n"
        "        print(sum(name.startswith('propylon-io') for name in names))\n"
        "asyncio.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, sim.api_url, str(shards)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "PROPYLON_IO_THREADS": told},
    )
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
@pytest.mark.parametrize(("told", "count"), [("", "1"), ("1", "1"), ("2", "2"), (" 3 ", "3")])
def test_the_engines_threads_are_as_many_as_the_environment_says(
    propylon_simulator: Start, told: str, count: str
) -> None:
    code, out, errors = threads(propylon_simulator(guilds=0), told)
    assert (code, out) == (0, count), errors


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
def test_sixteen_shards_share_a_thread_of_the_engine(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0, max_concurrency=64, identify_interval=0)
    cores = len(os.sched_getaffinity(0))
    for told, shards, count in (("", 16, 1), ("", 40, min(cores, 3)), ("1", 40, 1), ("3", 2, 2)):
        code, out, errors = threads(sim, told, shards)
        assert (code, out) == (0, str(count)), errors


@pytest.mark.parametrize("told", ["0", "-1", "two", "65", "1.5"])
def test_a_number_of_threads_that_is_none_is_told(propylon_simulator: Start, told: str) -> None:
    code, _, errors = threads(propylon_simulator(guilds=0), told)
    assert code == 1
    assert f'ValueError: PROPYLON_IO_THREADS must be a whole number from 1 to 64, not "{told}"' in errors
