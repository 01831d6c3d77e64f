"""A process that ends with control calls in flight ends: no abort, no hang, no traceback that is not its own."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.nats import NatsServer

RUNS = int(os.environ.get("PROPYLON_EXIT_RUNS", "3"))
PROGRAM = Path(__file__).with_name("leaving.py")
LOOPS = ["asyncio", *(["uvloop"] if sys.platform != "win32" else [])]
pytestmark = pytest.mark.timeout(60 + 10 * RUNS)


def run(url: str, app: str, way: str, loop: str = "asyncio") -> tuple[int, str, str]:
    """One process: its exit code, and what it wrote."""
    ended = subprocess.run(
        [sys.executable, str(PROGRAM), url, app, f"--way={way}", f"--loop={loop}"],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", ["return", "closed", "cancelled"])
def test_the_loop_ends(nats_server: NatsServer, nats_app: str, way: str, loop: str) -> None:
    for _ in range(RUNS):
        assert run(nats_server.url, nats_app, way, loop) == (0, "ended\n", "")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", ["exit", "exit-in-task"])
def test_sys_exit(nats_server: NatsServer, nats_app: str, way: str, loop: str) -> None:
    for _ in range(RUNS):
        assert run(nats_server.url, nats_app, way, loop) == (3, "", "")


@pytest.mark.parametrize("loop", LOOPS)
def test_ctrl_c(nats_server: NatsServer, nats_app: str, loop: str) -> None:
    for _ in range(RUNS):
        code, out, errors = run(nats_server.url, nats_app, "interrupt", loop)
        assert code == -2, errors
        assert out == ""
        # The program's own; of tasks or futures nothing.
        assert errors.count("Traceback") == 1 + errors.count("During handling"), errors
        assert errors.rstrip().endswith("KeyboardInterrupt"), errors


def test_a_loop_that_is_closed_under_its_calls(nats_server: NatsServer, nats_app: str) -> None:
    for _ in range(RUNS):
        assert run(nats_server.url, nats_app, "abandoned") == (0, "ended\n", "")


def test_a_thread_that_goes_on_calling(nats_server: NatsServer, nats_app: str) -> None:
    for _ in range(RUNS):
        code, out, errors = run(nats_server.url, nats_app, "daemon-thread")
        assert (code, out) == (0, "ended\n"), errors
        assert "Fatal" not in errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forked_children(nats_server: NatsServer, nats_app: str) -> None:
    for _ in range(RUNS):
        assert run(nats_server.url, nats_app, "fork") == (0, "ended\n", "")


def test_while_it_connects(nats_app: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for _ in range(RUNS):
            assert run(f"127.0.0.1:{silent.getsockname()[1]}", nats_app, "connecting") == (0, "ended\n", "")
