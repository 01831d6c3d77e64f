"""Real nats-servers on free ports of the loopback: one, or three that keep everything on all of them.

They can be stopped, killed and started again on the same port, with what they kept.
"""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from propylon.cli._nats_server import find_nats_server

__all__ = ["NatsCluster", "NatsServer"]

_PATIENCE: Final = 30.0


def free_ports(count: int) -> list[int]:
    """So many, all different."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        for _ in range(count):
            found = stack.enter_context(socket.socket())
            found.bind(("127.0.0.1", 0))
            ports.append(found.getsockname()[1])
        return ports


class NatsServer:
    """One nats-server with JetStream; ``with NatsServer() as server:``."""

    def __init__(self, settings: str = "", *, name: str = "one", jetstream: bool = True) -> None:
        """``settings``: more lines of its configuration, such as ``authorization { token: "..." }``."""
        self.name: Final = name
        self.port, self.monitor = free_ports(2)
        self._folder: Final = tempfile.TemporaryDirectory(prefix="propylon-nats-", ignore_cleanup_errors=True)
        self._process: subprocess.Popen[bytes] | None = None
        folder = Path(self._folder.name)
        self._config: Final = folder / "nats.conf"
        self._log: Final = folder / "log"
        # Each app's streams reserve their greatest size, and some tests leave theirs until the server ends; unasked, it
        # would allow three quarters of the disk that is free.
        store = f'jetstream {{ store_dir: "{folder / "store"}", max_file_store: 1TB }}' if jetstream else ""
        self._config.write_text(
            f"server_name: {name}\nlisten: 127.0.0.1:{self.port}\nhttp: 127.0.0.1:{self.monitor}\n{store}\n{settings}\n"
        )

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it, once more too; returns when it takes connections."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                [str(find_nats_server()), "-c", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # A Ctrl-C of the terminal is for the tests.
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return when it takes connections."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and self._process is not None and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                    if connection.recv(4) == b"INFO":
                        return
            except OSError:
                time.sleep(0.01)
        raise AssertionError(f"nats-server does not start:\n{self.log}")

    def stop(self) -> None:
        """End it as an operator does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE)
            self._process = None

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE)
            self._process = None

    def wipe(self) -> None:
        """While it is not running: forget all that was kept."""
        assert self._process is None
        shutil.rmtree(Path(self._folder.name) / "store")

    def suspend(self) -> None:
        """Let it hang, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def tell(self, path: str) -> dict[str, Any] | None:
        """What its monitoring says, such as ``/jsz``; None where it is not there or not well."""
        try:
            with urlopen(f"http://127.0.0.1:{self.monitor}{path}", timeout=2.0) as answer:
                told: dict[str, Any] = json.load(answer)
                return told
        except HTTPError as error:
            error.close()
        except (URLError, OSError, ValueError):
            pass
        return None


class NatsCluster:
    """So many nats-servers that are one; ``with NatsCluster(3) as cluster:``."""

    def __init__(self, count: int = 3) -> None:
        """``count``: of servers."""
        routes = free_ports(count)
        known = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        # They tell clients nothing of each other: a test may have its own way to each.
        self.servers: Final[Sequence[NatsServer]] = [
            NatsServer(
                f"cluster {{ name: tests, listen: 127.0.0.1:{route}, routes: [{known}], no_advertise: true }}",
                name=f"server-{number}",
            )
            for number, route in enumerate(routes)
        ]

    @property
    def ports(self) -> list[int]:
        """Of all servers."""
        return [server.port for server in self.servers]

    @property
    def urls(self) -> list[str]:
        """Of all servers."""
        return [server.url for server in self.servers]

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for server in self.servers:
                stack.push(server.__exit__)
                server.launch()
            for server in self.servers:
                server.wait()
            self._until(lambda: all(self._knows_all(server) for server in self.servers), "servers that know each other")
            stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        for server in self.servers:
            server.__exit__(*exc)

    def _knows_all(self, server: NatsServer) -> bool:
        told = server.tell("/jsz")
        if told is None or server.tell("/healthz") is None:
            return False
        meta = told.get("meta_cluster", {})
        return bool(meta.get("leader")) and meta.get("cluster_size") == len(self.servers)

    def leader(self, stream: str) -> NatsServer:
        """The server that leads a stream; waits until one does."""
        found: list[NatsServer] = []

        def look() -> bool:
            for server in self.servers:
                told = server.tell("/jsz?streams=true") or {}
                for account in told.get("account_details") or ():
                    for detail in account.get("stream_detail") or ():
                        name = (detail.get("cluster") or {}).get("leader")
                        if detail.get("name") == stream and name:
                            found.extend(server for server in self.servers if server.name == name)
                            return bool(found)
            return False

        self._until(look, f"a leader of {stream}")
        return found[0]

    def _until(self, condition: Any, what: str) -> None:
        until = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > until:
                logs = "\n".join(server.log[-2000:] for server in self.servers)
                raise AssertionError(f"no {what} after {_PATIENCE} s:\n{logs}")
            time.sleep(0.05)
