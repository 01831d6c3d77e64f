"""What happens to the whole process: it forks, it has sub-interpreters, it is stopped for a while."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from propylon.testing import Simulator, steps

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")

Start = Callable[..., Simulator]

HERE = Path(__file__).parent


def start(name: str, sim: Simulator, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / name), sim.url, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("own", [[], ["--own"]], ids=["without", "with one of its own"])
async def test_h1_a_fork_leaves_the_connection_to_the_parent(propylon_simulator: Start, own: list[str]) -> None:
    """H1: the child's `atexit` does nothing, its uses of the gateway are refused, and it may make one of its own."""
    sim = propylon_simulator(guilds=0)
    with start("forks.py", sim, *own) as process:
        assert process.stdout is not None
        try:
            lines: list[str] = []
            while not lines or not lines[-1].startswith("parent"):
                lines.append(process.stdout.readline().strip())
                assert lines[-1], process.communicate()[1]
            # The child came and went; the parent's connection is the first and still there.
            sim.act(steps.dispatch("TYPING_START", {"user_id": "1", "channel_id": "2", "timestamp": 3}), 1)
            out, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert errors == ""
    uses = ["status", "session", "latency", "metrics", "open", "close", "set_presence", "send"]
    ready = ["child READY"] * len(own)
    assert lines == [*[f"refused {use}" for use in uses], *ready, "child ended with 7", "parent READY"]
    assert out == "heard after 0 reconnects\n"
    assert process.returncode == 0
    assert [connection["closed"]["code"] for connection in sim.record()["connections"]] == [1000, *[1000] * len(own)]


@pytest.mark.parametrize("keep", [[], ["--keep"]], ids=["destroyed", "kept"])
@pytest.mark.parametrize("first", ["main", "sub"])
def test_h2_a_sub_interpreter_is_refused_and_the_main_one_lives(
    propylon_simulator: Start, first: str, keep: list[str]
) -> None:
    """H2: not refused, the process would not end."""
    with start("interpreters.py", propylon_simulator(guilds=0), f"--first={first}", *keep) as process:
        try:
            out, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
    said, lived = out.splitlines()
    assert said.startswith("propylon does not run in sub-interpreters")
    assert "import it in the main interpreter" in said
    assert lived == "lived"


@pytest.mark.asyncio
@pytest.mark.parametrize("patient", [True, False], ids=["the server waits", "the server drops it"])
async def test_f19_a_stopped_process_beats_first_and_judges_afterwards(
    propylon_simulator: Start, patient: bool
) -> None:
    """F19, §4: SIGSTOP for three intervals, with a beat unacknowledged, then SIGCONT."""
    interval = 0.5
    sim = propylon_simulator(guilds=0, heartbeat_interval=interval)
    with start("stops.py", sim) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "Ready\n"
            await sim.wait_for("op", op=1)
            sim.act(steps.stop_acking())
            await sim.wait_for("op", op=1, count=2)
            process.send_signal(signal.SIGSTOP)
            if not patient:
                sim.act(steps.reset())
            with pytest.raises(TimeoutError):
                await sim.wait_for("op", op=1, count=3, timeout=3 * interval)
            if patient:
                sim.act(steps.resume_acking())
            process.send_signal(signal.SIGCONT)
            if patient:
                # The one at once and the next: by then it has been judged.
                await sim.wait_for("op", op=1, count=4)
            else:
                await sim.wait_for("resumed")
            sim.dispatch("TYPING_START", {"user_id": "1", "channel_id": "2", "timestamp": 3})
            lines: list[str] = []
            while not lines or lines[-1] != "TypingStart":
                lines.append(process.stdout.readline().strip())
                assert lines[-1], process.communicate()[1]
            out, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
    sent = [[op["op"] for op in connection["ops"] if op["op"] != 1] for connection in sim.record()["connections"]]
    if patient:
        assert (sent, lines) == ([[2]], ["TypingStart"])
        assert out.startswith("reconnects 0\n")
    else:
        assert (sent, lines[-2:]) == ([[2], [6]], ["Resumed", "TypingStart"])
        assert out.startswith("reconnects 1\n")
