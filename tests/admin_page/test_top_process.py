"""``propylon top`` as the process that a user starts: in a terminal, and where there is none."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from cli.processes import SECONDS, environment

from . import world
from .conftest import Scene, Serve


def run(*arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "propylon", *arguments],
        env=environment(TZ="UTC", **changes),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )


def test_once_prints_it_as_plain_text(admin: Serve) -> None:
    seconds = iter(range(10**6))
    server = admin(lambda: world.block(world.snapshot(64, float(next(seconds))), 3.0, "bot.on_message"))
    done = run("top", server.url, "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "ALARM: the event loop has been blocked for 3.0 s, since 16:23:18, in bot.on_message"
    assert lines[1].split() == ["shards", "ready", "64/64"]
    assert "fleet            READY 64" in lines
    assert any(line.endswith("  PRESENCE_UPDATE") for line in lines)
    assert f"and {len(world.RATES) - 20} more" in lines
    assert any(line.endswith("  bot.moderation.check_message") for line in lines)
    assert "16:16:52      5  resumed  no ACK of the last heartbeat" in lines


def test_once_prints_the_snapshot_as_json(admin: Serve) -> None:
    server = admin(Scene(3))
    done = run("top", server.url.removeprefix("http://"), "--once", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == world.snapshot(3)


def test_once_says_what_to_do_where_nobody_answers(admin: Serve) -> None:
    server = admin(Scene(3))
    server.stop()
    done = run("top", server.url, "--once")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"propylon: {server.url} does not answer (Connection refused); "
        "is the bot running, with the option admin= and this address?\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["top", "http://127.0.0.1:9"], 1, "use --once"),
        (["top", "http://127.0.0.1:9", "--json"], 2, "--json goes with --once"),
        (["top", "ftp://127.0.0.1"], 2, "no address of an admin server"),
        (["top"], 2, "Missing argument"),
    ],
)
def test_what_cannot_be_is_told(arguments: list[str], code: int, message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr


def test_only_drawing_imports_textual(admin: Serve) -> None:
    server = admin(Scene(1))
    code = (
        "import sys; sys.modules['textual'] = None\n"
        "import propylon, propylon.testing\nfrom propylon.cli._app import app\n"
        f"app(['top', {server.url!r}, '--once', '--json'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["ready"]["shards"] == 1


class Terminal:
    """A process in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(TERM="xterm-256color"),
        )
        self.shown = b""

    def read(self) -> None:
        import select

        # All that is there: a terminal gives a few kilobytes at a time.
        while select.select([self.ours], [], [], 0.05)[0]:
            self.shown += os.read(self.ours, 65536)

    def until(self, state: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not state():
            assert time.monotonic() < end, self.shown[-2000:]
            self.read()

    def settings(self) -> list[Any]:
        import termios

        return termios.tcgetattr(self.theirs)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
@pytest.mark.parametrize(("how", "code"), [("q", 0), ("ctrl-c", 0), ("terminate", 128 + signal.SIGTERM)])
def test_it_leaves_the_terminal_as_it_found_it(admin: Serve, how: str, code: int) -> None:
    server = admin(Scene(64))
    terminal = Terminal("-m", "propylon", "top", server.url)
    try:
        terminal.until(lambda: b"64/64" in terminal.shown)
        assert terminal.settings() != terminal.before
        if how == "terminate":
            terminal.process.terminate()
        else:
            os.write(terminal.ours, {"q": b"q", "ctrl-c": b"\x03"}[how])
        terminal.until(lambda: terminal.process.poll() is not None)
        terminal.read()
        assert terminal.process.returncode == code
        assert terminal.settings() == terminal.before
        # The screen of before, and its cursor.
        assert terminal.shown.rindex(b"\x1b[?1049l") > terminal.shown.rindex(b"\x1b[?1049h")
        assert terminal.shown.rindex(b"\x1b[?25h") > terminal.shown.rindex(b"\x1b[?25l")
        assert b"Traceback" not in terminal.shown
    finally:
        terminal.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_without_textual_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['textual'] = None\n"
        "from propylon.cli._app import app\napp(['top', 'http://127.0.0.1:9'])"
    )
    terminal = Terminal("-c", code)
    try:
        terminal.until(lambda: terminal.process.poll() is not None)
        terminal.until(lambda: b"\n" in terminal.shown)
        assert terminal.process.returncode == 1
        assert b'pip install "propylon[cli]"' in terminal.shown
        assert b"Traceback" not in terminal.shown
    finally:
        terminal.close()
