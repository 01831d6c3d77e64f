"""What systemd is told of a bot that ``propylon run`` runs: READY, STOPPING, and that its event loop takes turns.

The protocol is a datagram to the socket that ``NOTIFY_SOCKET`` names:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html. It is so small that a dependency for it would
be larger. Nothing here raises: a supervisor that cannot be told is no reason for a bot to end.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Final, Self

from propylon._gateway.serving import Step
from propylon.cli._process import complain

__all__ = ["Notifier"]

_AGAIN: Final = 0.5
"""Seconds until what a supervisor had no room for is sent again."""


class Notifier:
    """Tells the supervisor; made by `from_environment`."""

    def __init__(self, address: str, watchdog: float | None) -> None:
        """``watchdog``: seconds after which the supervisor takes silence for a hang; None: it does not watch."""
        self._address: Final = address
        self._interval: Final = None if watchdog is None else watchdog / 2
        self._timer: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._failed = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """The one that the environment asks for; None where no supervisor wants to be told."""
        path = environment.get("NOTIFY_SOCKET", "")
        if not path:
            return None
        if not (path.startswith(("/", "@")) and hasattr(socket, "AF_UNIX")):
            complain(f"NOTIFY_SOCKET={path} is no Unix socket, so nobody is told that the bot is ready")
            return None
        # A leading @ stands for the zero byte of an abstract address.
        address = f"\0{path[1:]}" if path.startswith("@") else path
        return cls(address, _watchdog(environment))

    def send(self, text: str) -> None:
        """Send it, or say once that it cannot be sent. Where the supervisor has no room for it, it is sent again."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
                # A supervisor that does not read must not hold the event loop.
                unix.setblocking(False)
                unix.connect(self._address)
                unix.send(text.encode())
        except BlockingIOError:
            # A later step takes its place; a word of the watchdog is followed by the next one anyway.
            if not text.startswith("WATCHDOG"):
                self._again = asyncio.get_running_loop().call_later(_AGAIN, self.send, text)
        except OSError as error:
            if not self._failed:
                self._failed = True
                complain(f"systemd cannot be told {text}: {error}")

    def started(self) -> None:
        """Say twice in each watchdog period that the event loop runs, from within it: a blocked one is silent."""
        if self._interval is not None:
            self.send("WATCHDOG=1")
            self._timer = asyncio.get_running_loop().call_later(self._interval, self.started)

    def ended(self) -> None:
        """The bot has ended, and its loop is about to."""
        for timer in (self._timer, self._again):
            if timer is not None:
                timer.cancel()
        self._timer = self._again = None

    def step(self, step: Step) -> None:
        """The bot has opened, or begins to close."""
        if self._again is not None:
            self._again.cancel()
        self.send(f"{step}=1")


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Seconds; None where it is off, or meant for another process, such as the one that started this."""
    text = environment.get("WATCHDOG_USEC", "")
    process = environment.get("WATCHDOG_PID", "")
    if not text or process not in ("", str(os.getpid())):
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        complain(f"WATCHDOG_USEC={text} is no number of microseconds, so the watchdog is not fed")
        return None
    return int(text) / 1e6
