"""What lies between two processes and can be cut: TCP proxies, each of one process to one server.

They run on a thread and in a loop of their own, so that what the nemesis does is not in their way.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, TypeAlias, TypeVar

__all__ = ["Cut", "Link", "Links"]

Cut: TypeAlias = Literal["stall", "reset", "mute"]
"""``"stall"``: nothing gets through, and all of it comes late, as where packets are lost. ``"reset"``: connections are
reset, and new ones too. ``"mute"``: what the server says is lost; what it is told gets through."""

_CHUNK: Final = 65_536
_T = TypeVar("_T")


class Link:
    """One way from a process to a server."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: tuple[str, int] | None) -> None:
        """``target``: where to; None: wherever the process says, as an HTTP proxy (CONNECT)."""
        self._loop: Final = loop
        self._target: Final = target
        self._writers: Final[set[asyncio.StreamWriter]] = set()
        self._flows: Final = asyncio.Event()
        self._flows.set()
        self._refuses = False
        self._mute = False
        self._server: asyncio.Server | None = None
        self.port: int = 0
        self.open = 0
        """Connections that both sides have."""

    async def start(self) -> "Link":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._drop()
        self._flows.set()

    def _drop(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    def cut(self, how: Cut) -> None:
        """From now on. From any thread."""

        def act() -> None:
            if how == "stall":
                self._flows.clear()
            elif how == "mute":
                self._mute = True
            else:
                self._refuses = True
                self._drop()

        self._loop.call_soon_threadsafe(act)

    def heal(self) -> None:
        """As before. From any thread."""

        def act() -> None:
            self._refuses = self._mute = False
            self._flows.set()

        self._loop.call_soon_threadsafe(act)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            _reset(writer)
            return
        self._writers.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            await self._flows.wait()
            target = self._target
            if target is None:
                head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].split()
                host, _, port = head[1].decode().rpartition(":")
                target = host.strip("[]"), int(port)
            back, other = await asyncio.open_connection(*target, limit=_CHUNK)
            self._writers.add(other)
            if self._target is None:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            self.open += 1
            try:
                pumps = [
                    asyncio.create_task(self._pump(reader, other)),
                    asyncio.create_task(self._pump(back, writer, from_server=True)),
                ]
                # Whichever side ends: the other hears of it, which is all that these protocols need.
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                self.open -= 1
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in (writer, other):
                if each is not None:
                    self._writers.discard(each)
                    each.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_server: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._flows.wait()
                if from_server and self._mute:
                    continue
                writer.write(data)
                await writer.drain()
            # What the other side's end says must not overtake a stall either.
            await self._flows.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End it with an RST."""
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()


class Links:
    """All of them, on a thread of their own."""

    def __init__(self) -> None:
        self._loop: Final = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # connections that end in the middle
        self._thread: Final = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._made: Final[list[Link]] = []

    def __enter__(self) -> "Links":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for link in self._made:
            self._run(link.stop)
        self._run(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, what: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        return asyncio.run_coroutine_threadsafe(what(), self._loop).result(10)

    def to(self, host: str, port: int) -> Link:
        """A way to this server."""
        return self._start(Link(self._loop, (host, port)))

    def proxy(self) -> Link:
        """A way to any server, for those that can be told of a proxy."""
        return self._start(Link(self._loop, None))

    def _start(self, link: Link) -> Link:
        self._made.append(link)
        return self._run(link.start)
