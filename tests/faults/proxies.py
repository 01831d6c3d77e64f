"""Small proxies on this machine: HTTP CONNECT and SOCKS5, honest ones and others."""

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType
from typing import Self

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Handler = Callable[["ProxyServer", Reader, Writer], Awaitable[None]]


class ProxyServer:
    """Listens while it is entered; `targets` are the hosts and ports it was asked for, `heads` what CONNECT said."""

    def __init__(self, handler: Handler, *, to: tuple[str, int] | None = None) -> None:
        """``to``: connect there, whatever was asked for."""
        self.targets: list[tuple[str, int]] = []
        self.heads: list[str] = []
        self.connections = 0
        self._handler = handler
        self._to = to
        self._writers: set[Writer] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, scheme: str, credentials: str = "", host: str = "127.0.0.1") -> str:
        assert self._server is not None
        return f"{scheme}://{credentials and credentials + '@'}{host}:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError):
                await self._handler(self, reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._writers.discard(writer)
            self._serving.discard(task)

    async def relay(self, reader: Reader, writer: Writer, host: str, port: int) -> None:
        """Both ways, until either end closes."""
        self.targets.append((host, port))
        far_reader, far_writer = await asyncio.open_connection(*(self._to or (host, port)))
        self._writers.add(far_writer)

        async def pump(source: Reader, sink: Writer) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()

        tasks = [asyncio.create_task(pump(reader, far_writer)), asyncio.create_task(pump(far_reader, writer))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            far_writer.transport.abort()
            self._writers.discard(far_writer)


def connect(credentials: str | None = None) -> Handler:
    """An HTTP proxy that wants these ``user:password``."""

    async def handler(proxy: ProxyServer, reader: Reader, writer: Writer) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        proxy.heads.append(head)
        method, target, _ = head.split(" ", 2)
        assert method == "CONNECT"
        wanted = None if credentials is None else base64.b64encode(credentials.encode()).decode()
        if wanted is not None and f"Proxy-Authorization: Basic {wanted}\r\n" not in head:
            writer.write(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n')
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
        host, _, port = target.rpartition(":")
        await proxy.relay(reader, writer, host.strip("[]"), int(port))

    return handler


def socks5(credentials: str | None = None, *, reply: int = 0, bound: bytes = b"\1\0\0\0\0\0\0") -> Handler:
    """A SOCKS5 proxy that wants these ``user:password`` and answers a request with ``reply``; ``bound`` is ATYP on."""

    async def handler(proxy: ProxyServer, reader: Reader, writer: Writer) -> None:
        version, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        assert version == 5
        method = 0 if credentials is None else 2
        if method not in methods:
            writer.write(b"\5\xff")
            return
        writer.write(bytes([5, method]))
        if credentials is not None:
            assert (await reader.readexactly(1)) == b"\1"
            user = await reader.readexactly((await reader.readexactly(1))[0])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            right = (user + b":" + password).decode() == credentials
            writer.write(b"\1\0" if right else b"\1\1")
            if not right:
                return
        version, command, _, kind = await reader.readexactly(4)
        assert (version, command) == (5, 1)
        if kind == 1:
            host = str(IPv4Address(await reader.readexactly(4)))
        elif kind == 4:
            host = str(IPv6Address(await reader.readexactly(16)))
        else:
            assert kind == 3
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        writer.write(bytes([5, reply, 0]) + bound)
        if reply == 0:
            await proxy.relay(reader, writer, host, port)

    return handler


def says(*answers: bytes, close: bool = True) -> Handler:
    """After each read of the client's, the next of these; then it closes, or keeps silent."""

    async def handler(proxy: ProxyServer, reader: Reader, writer: Writer) -> None:
        for answer in answers:
            await reader.read(4096)
            writer.write(answer)
            await writer.drain()
        while not close and await reader.read(4096):
            pass

    return handler
