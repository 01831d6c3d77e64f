"""``propylon run`` under a supervisor of systemd's kind: a real socket, a real process."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from propylon.cli._notify import Notifier
from propylon.testing import Simulator, steps

from .processes import SECONDS, Start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")

BOT = """
from propylon import Gateway, Intents
from propylon.events import MessageDelete, Ready

gateway = Gateway("token", gateway_url={url!r}, intents=Intents.GUILD_MESSAGES)

@gateway.listen
def on_ready(_: Ready) -> None:
    print("ready", flush=True)

@gateway.listen
def on_delete(_: MessageDelete) -> None:
    print("blocked", flush=True)
    # Blocks the loop until the test opens the other end.
    open("pipe").read()
"""
WATCHDOG = 0.4
"""Seconds; it is fed twice in that time."""


class Supervisor:
    """The socket that a process is given, and what came on it."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(SECONDS)

    def next(self) -> str:
        return self._socket.recv(4096).decode()

    def until(self, text: str) -> list[str]:
        """What comes before it."""
        before: list[str] = []
        while (each := self.next()) != text:
            before.append(each)
        return before

    def waiting(self) -> list[str]:
        """What has come."""
        found: list[str] = []
        while self.hears(0):
            found.append(self.next())
        return found

    def hears(self, seconds: float) -> bool:
        return bool(select.select([self._socket], [], [], seconds)[0])

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def supervisor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Supervisor, str]]:
    """With what ``NOTIFY_SOCKET`` is."""
    path = str(tmp_path / "n") if request.param == "path" else f"@propylon-test-{os.getpid()}-{tmp_path.name}"
    made = Supervisor(path.replace("@", "\0", 1) if path.startswith("@") else path)
    yield made, path
    made.close()


def write(folder: Path, url: str) -> None:
    (folder / "bot.py").write_text(BOT.format(url=url))
    os.mkfifo(folder / "pipe")


def test_it_says_when_it_is_ready_and_when_it_stops(
    supervisor: tuple[Supervisor, str],
    propylon: Start,
    propylon_simulator: Callable[..., Simulator],
    tmp_path: Path,
) -> None:
    heard, path = supervisor
    simulator = propylon_simulator(guilds=0)
    # Out of reach at first: what comes before READY comes without it.
    simulator.act(steps.stop_listening())
    write(tmp_path, simulator.url)
    process = propylon("run", "bot", cwd=tmp_path, NOTIFY_SOCKET=path, WATCHDOG_USEC=f"{WATCHDOG * 1e6:.0f}")
    assert [heard.next(), heard.next()] == ["WATCHDOG=1"] * 2
    simulator.act(steps.listen())
    assert set(heard.until("READY=1")) <= {"WATCHDOG=1"}
    assert heard.next() == "WATCHDOG=1"
    process.send_signal(signal.SIGTERM)
    assert set(heard.until("STOPPING=1")) <= {"WATCHDOG=1"}
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "systemd" not in errors
    assert set(heard.waiting()) <= {"WATCHDOG=1"}


def test_a_blocked_event_loop_does_not_feed_the_watchdog(
    propylon: Start, propylon_simulator: Callable[..., Simulator], tmp_path: Path
) -> None:
    heard = Supervisor(str(tmp_path / "n"))
    simulator = propylon_simulator(guilds=0)
    write(tmp_path, simulator.url)
    changes = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": f"{WATCHDOG * 1e6:.0f}"}
    process = propylon("run", "bot", cwd=tmp_path, **changes)
    heard.until("READY=1")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    simulator.dispatch("MESSAGE_DELETE", {"id": "1", "channel_id": "2"})
    assert process.stdout.readline() == "blocked\n"
    heard.waiting()
    # Here systemd would end it.
    assert not heard.hears(3 * WATCHDOG)
    (tmp_path / "pipe").write_text("")
    assert heard.next() == "WATCHDOG=1"
    process.send_signal(signal.SIGTERM)
    heard.until("STOPPING=1")
    process.communicate(timeout=SECONDS)
    heard.close()
    assert process.returncode == 0


def test_what_the_supervisor_has_no_room_for_is_sent_again(tmp_path: Path) -> None:
    heard = Supervisor(str(tmp_path / "n"))
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "n")})
    assert notifier is not None
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        other.connect(str(tmp_path / "n"))
        with contextlib.suppress(BlockingIOError):
            while True:
                other.send(b"full")

    async def run() -> None:
        notifier.step("READY")
        assert set(heard.waiting()) == {"full"}
        assert await asyncio.to_thread(heard.next) == "READY=1"
        notifier.ended()

    asyncio.run(run())
    assert heard.waiting() == []
    heard.close()


def test_a_watchdog_that_is_another_process_s_is_not_fed(
    propylon: Start, propylon_simulator: Callable[..., Simulator], tmp_path: Path
) -> None:
    heard = Supervisor(str(tmp_path / "n"))
    write(tmp_path, propylon_simulator(guilds=0).url)
    changes = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid())}
    process = propylon("run", "bot", cwd=tmp_path, **changes)
    assert heard.next() == "READY=1"
    process.send_signal(signal.SIGTERM)
    assert heard.next() == "STOPPING=1"
    process.communicate(timeout=SECONDS)
    heard.close()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, "propylon: NOTIFY_SOCKET=vsock:2:1234 is no Unix socket"),
        ({"NOTIFY_SOCKET": "/nowhere/at/all"}, "propylon: systemd cannot be told "),
        ({"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "soon"}, "propylon: WATCHDOG_USEC=soon is no number"),
    ],
)
def test_a_supervisor_that_cannot_be_told_ends_no_bot(
    propylon: Start,
    propylon_simulator: Callable[..., Simulator],
    tmp_path: Path,
    changes: dict[str, str],
    complaint: str,
) -> None:
    write(tmp_path, propylon_simulator(guilds=0).url)
    process = propylon("run", "bot", cwd=tmp_path, **changes)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert errors.count(complaint) == 1
    assert "Traceback" not in errors
