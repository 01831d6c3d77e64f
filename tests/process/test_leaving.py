"""How a bot ends when it is told to: Ctrl-C, SIGTERM, as process 1 of a container. Real processes, real signals."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from face.support import message
from propylon import FileSessionStore
from propylon._sessions.keeping import session_key
from propylon.testing import Simulator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

Start = Callable[..., Simulator]

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
SECONDS = 30
TYPING = {"user_id": "1", "channel_id": "2", "timestamp": 3}
BOTH = [signal.SIGINT, signal.SIGTERM]
LOOPS = ["asyncio", "uvloop"]


@contextmanager
def process(*command: str | Path) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    with started:
        try:
            yield started
        finally:
            started.kill()


def bot(sim: Simulator, *options: str) -> AbstractContextManager[subprocess.Popen[str]]:
    return process(sys.executable, HERE / "leaves.py", sim.url, *options)


def read_until(told: subprocess.Popen[str], line: str) -> list[str]:
    assert told.stdout is not None
    lines: list[str] = []
    while not lines or lines[-1] != line:
        lines.append(told.stdout.readline().rstrip("\n"))
        assert lines[-1], (lines, told.communicate()[1])
    return lines


def at_work(sim: Simulator, told: subprocess.Popen[str]) -> None:
    """Return when its listener has been called."""
    sim.wait("ready", timeout=SECONDS)
    sim.dispatch("TYPING_START", TYPING)
    read_until(told, "in the listener")


def wait_for_first_signal(told: subprocess.Popen[str]) -> None:
    """Return when the first one was seen: two of a kind that come before that are one to the system."""
    assert told.stderr is not None
    while "a second signal breaks them off" not in (line := told.stderr.readline()):
        assert line, told.communicate()[0]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("listener", ["spins", "sleeps"])
def test_ctrl_c_the_second_one_breaks_off_a_listener_that_blocks(
    propylon_simulator: Start, loop: str, listener: str
) -> None:
    sim = propylon_simulator(guilds=0)
    with bot(sim, f"--loop={loop}", f"--listener={listener}") as told:
        at_work(sim, told)
        told.send_signal(signal.SIGINT)
        # Two that come before the first was seen are one to the system.
        read_until(told, "signal")
        # The first one cannot be answered by a loop that is blocked, and kills nothing.
        with pytest.raises(subprocess.TimeoutExpired):
            told.wait(0.3)
        told.send_signal(signal.SIGINT)
        out, errors = told.communicate(timeout=SECONDS)
    assert out.splitlines() == ["broken off", "lifespan over", "closed DISCONNECTED"]
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert told.returncode in (-signal.SIGINT, 130)
    assert sim.record()["connections"][0]["closed"]["code"] == 1000


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", BOTH, ids=lambda number: number.name)
def test_leaving_the_first_signal_lets_calls_finish(
    propylon_simulator: Start, loop: str, number: signal.Signals
) -> None:
    sim = propylon_simulator(guilds=0)
    with bot(sim, f"--loop={loop}") as told:
        at_work(sim, told)
        told.send_signal(number)
        out, errors = told.communicate(timeout=SECONDS)
    assert out.splitlines() == ["finished", "lifespan over", "closed DISCONNECTED", "end"]
    assert (told.returncode, errors) == (0, "")
    assert sim.record()["connections"][0]["closed"]["code"] == 1000


@pytest.mark.parametrize("loop", LOOPS)
def test_leaving_a_signal_before_it_counts_as_open_lets_calls_finish_too(propylon_simulator: Start, loop: str) -> None:
    sim = propylon_simulator(guilds=0)
    with bot(sim, f"--loop={loop}", "--listener=signals") as told:
        out, errors = told.communicate(timeout=SECONDS)
    assert out.splitlines() == ["begins", "finished", "lifespan over", "closed DISCONNECTED", "end"]
    assert (told.returncode, errors) == (0, "")


@pytest.mark.parametrize("loop", LOOPS)
def test_leaving_what_has_not_finished_in_time_is_cancelled_before_the_lifespan_ends(
    propylon_simulator: Start, loop: str
) -> None:
    sim = propylon_simulator(guilds=0)
    with bot(sim, f"--loop={loop}", "--listener=stays", "--drain=0.2") as told:
        at_work(sim, told)
        told.send_signal(signal.SIGTERM)
        out, errors = told.communicate(timeout=SECONDS)
    assert out.splitlines() == ["cancelled", "lifespan over", "closed DISCONNECTED", "end"]
    assert told.returncode == 0
    assert errors == "1 listener calls have not finished within 0.2 s and are cancelled\n"


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", BOTH, ids=lambda number: number.name)
def test_ctrl_c_the_second_signal_breaks_off_the_drain(
    propylon_simulator: Start, loop: str, number: signal.Signals
) -> None:
    sim = propylon_simulator(guilds=0)
    with bot(sim, f"--loop={loop}", "--listener=stays", "--drain=3600", "--log") as told:
        at_work(sim, told)
        told.send_signal(signal.SIGTERM)
        wait_for_first_signal(told)
        told.send_signal(number)
        out, errors = told.communicate(timeout=SECONDS)
    assert out.splitlines() == ["cancelled", "lifespan over", "closed DISCONNECTED"]
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert told.returncode in (-signal.SIGINT, 130)
    assert sim.record()["connections"][0]["closed"]["code"] == 1000


@pytest.mark.parametrize("loop", LOOPS)
def test_leaving_a_signal_that_another_thread_got_wakes_the_loop(propylon_simulator: Start, loop: str) -> None:
    sim = propylon_simulator(guilds=0)
    with bot(sim, f"--loop={loop}", "--listener=stays", "--drain=3600", "--log", "--elsewhere") as told:
        at_work(sim, told)
        assert told.stdin is not None
        print(file=told.stdin, flush=True)
        wait_for_first_signal(told)
        print(file=told.stdin, flush=True)
        out, _ = told.communicate(timeout=SECONDS)
    assert out.splitlines() == ["cancelled", "lifespan over", "closed DISCONNECTED"]


@pytest.mark.parametrize("number", BOTH, ids=lambda number: number.name)
def test_leaving_while_the_lifespan_begins(propylon_simulator: Start, number: signal.Signals) -> None:
    with bot(propylon_simulator(), "--lifespan=begins for ever") as told:
        read_until(told, "begins")
        told.send_signal(number)
        out, errors = told.communicate(timeout=SECONDS)
    assert (told.returncode, out.splitlines(), errors) == (0, ["closed UNCONNECTED", "end"], "")


@pytest.mark.parametrize("number", BOTH, ids=lambda number: number.name)
def test_leaving_while_it_connects(number: signal.Signals) -> None:
    with Simulator() as gone:
        url = gone.url
    with process(sys.executable, HERE / "leaves.py", url) as told:
        read_until(told, "begins")
        assert told.stderr is not None
        assert "no connection" in told.stderr.readline()
        told.send_signal(number)
        out, errors = told.communicate(timeout=SECONDS)
    assert (told.returncode, out.splitlines()) == (0, ["lifespan over", "closed DISCONNECTED", "end"])
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", BOTH, ids=lambda number: number.name)
def test_leaving_ends_all_that_are_served(propylon_simulator: Start, number: signal.Signals) -> None:
    sim = propylon_simulator(guilds=0, identify_interval=0)
    with bot(sim, "--two") as told:
        sim.wait("ready", count=2, timeout=SECONDS)
        told.send_signal(number)
        out, errors = told.communicate(timeout=SECONDS)
    assert (told.returncode, errors) == (0, "")
    assert out.splitlines() == ["begins", "lifespan over", "closed DISCONNECTED", "end"]
    assert [connection["closed"]["code"] for connection in sim.record()["connections"]] == [1000, 1000]


@pytest.mark.asyncio
async def test_leaving_keeps_what_was_not_handed_out(propylon_simulator: Start, tmp_path: Path) -> None:
    """The mark in the store stands before the call that was cancelled: its event comes again."""
    sim = propylon_simulator(guilds=0)
    store = tmp_path / "sessions.json"
    with bot(sim, "--listener=stays", "--drain=0.3", f"--store={store}") as told:
        at_work(sim, told)
        before = sim.record()["sessions"][0]["sequence"]
        told.send_signal(signal.SIGTERM)
        sim.dispatch("TYPING_START", TYPING)
        out, _ = told.communicate(timeout=SECONDS)
    assert out.splitlines().count("in the listener") <= 1
    assert sim.record()["connections"][0]["closed"]["code"] == 4000
    kept = await FileSessionStore(store).load(session_key("token", None))
    assert kept is not None
    assert kept.sequence <= before + 1


def readme_bot(folder: Path) -> Path:
    """The bot that answers by aiohttp."""
    sys.path.insert(0, str(DOCS))
    try:
        from blocks import blocks
    finally:
        sys.path.remove(str(DOCS))
    (block,) = [block for block in blocks() if block.name.startswith("guide_") and "from aiohttp" in block.code]
    file = folder / "bot.py"
    file.write_text(block.code, "utf-8")
    return file


def stop_readme_bot(sim: Simulator, folder: Path, number: signal.Signals, *before: str) -> str:
    """What it prints after it was told to stop in the middle of its work."""
    with process(*before, sys.executable, HERE / "readme.py", sim.url, DOCS / "stand_ins", readme_bot(folder)) as told:
        sim.wait("ready", timeout=SECONDS)
        sim.dispatch("MESSAGE_CREATE", message("!ping"))
        assert told.stdout is not None
        seen = [told.stdout.readline(), told.stdout.readline()]
        assert seen[1].startswith("POST "), (seen, told.communicate()[1])
        pid = told.pid
        if before:
            assert seen[0] == "process 1\n"
            (pid,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        os.kill(pid, number)
        out, errors = told.communicate(timeout=SECONDS)
    assert (told.returncode, errors) == (0, "")
    assert sim.record()["connections"][0]["closed"]["code"] == 1000
    return out


@pytest.mark.parametrize("number", BOTH, ids=lambda number: number.name)
def test_a_bot_with_a_rest_client_is_stopped_cleanly(
    propylon_simulator: Start, tmp_path: Path, number: signal.Signals
) -> None:
    assert stop_readme_bot(propylon_simulator(guilds=0), tmp_path, number) == "aiohttp session closed\n"


def may_unshare() -> bool:
    """Whether a process may be process 1 of a namespace of its own here."""
    unshare = shutil.which("unshare")
    command = [str(unshare), "--pid", "--fork", "true"]
    return unshare is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("number", BOTH, ids=lambda number: number.name)
def test_a_bot_with_a_rest_client_is_stopped_cleanly_as_process_1(
    propylon_simulator: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """Process 1 has no default actions: a signal that nobody handles does nothing to it."""
    if not may_unshare():
        pytest.skip("`unshare --pid --fork` is not allowed here")
    sim = propylon_simulator(guilds=0)
    assert stop_readme_bot(sim, tmp_path, number, "unshare", "--pid", "--fork") == "aiohttp session closed\n"
