"""A stand-in for the admin server: the page's own files, and whatever snapshot a test has put there.

It answers as the engine's does, with the same Content-Security-Policy, so that the page and ``propylon top`` can be
driven into states that a real bot comes to seldom.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

from . import world

PAGE: Final = Path(__file__).parents[2] / "rust/core/src/admin/page"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/app.css": ("app.css", "text/css; charset=utf-8"),
    "/uplot.js": ("uplot.js", "text/javascript; charset=utf-8"),
    "/uplot.css": ("uplot.css", "text/css; charset=utf-8"),
}


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that `server_close` waits for those that answer
    admin: "FakeAdmin"

    def __init__(self, port: int) -> None:
        self.open: Final[set[socket.socket]] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self.open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """End what is open: streams, and what a browser keeps open and has not asked anything on."""
        with self._lock:
            for connection in self.open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        admin = self.server.admin
        admin.asked.append(self.path)
        # Whoever asked may be gone by now.
        with contextlib.suppress(OSError):
            self._route(admin)

    def _route(self, admin: "FakeAdmin") -> None:
        if self.path in FILES:
            name, kind = FILES[self.path]
            self._answer(200, kind, (PAGE / name).read_bytes())
        elif self.path == "/snapshot" and admin.body is not None:
            self._answer(200, "application/json", admin.body)
        elif self.path == "/snapshot":
            self._answer(200, "application/json", json.dumps(admin.look()).encode())
        elif self.path == "/history":
            self._answer(200, "application/json", json.dumps(admin.history).encode())
        elif self.path == "/stream":
            self._stream(admin)
        else:
            self._answer(404, "text/plain", b"not found\n")

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self._head(status, kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, admin: "FakeAdmin") -> None:
        self._head(200, "text/event-stream")
        self.end_headers()
        while not admin.stopped.is_set():
            found = json.dumps(admin.look())
            self.wfile.write(f"event: snapshot\ndata: {found}\n\n".encode())
            admin.stopped.wait(admin.interval)


class FakeAdmin:
    """Serves on 127.0.0.1 between `start` and `stop`, or as a context."""

    def __init__(self, look: Callable[[], world.Snapshot], *, shards: int = 64, interval: float = 1.0) -> None:
        """``look`` makes each snapshot; one goes out every ``interval`` seconds, of the real server one."""
        self.look = look
        self.interval = interval
        self.history = world.history(shards)
        self.body: bytes | None = None
        """What /snapshot answers instead, where a test wants another server there."""
        self.asked: list[str] = []
        self.stopped = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """On the port of the last time, after the first."""
        self.stopped.clear()
        self._server = _Server(self.port)
        self._server.admin = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """End every stream, and answer nothing any more."""
        if self._server is None or self._thread is None:
            return
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.cut()
        self._server.server_close()
        self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
