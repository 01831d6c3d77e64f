"""What the examples use in place of Discord's REST API and of a proxy, where there is no token.

A bot of yours needs none of this; Discord's Gateway itself is stood in for by ``propylon.testing.Simulator``.
"""

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import AsyncGenerator, Callable

from aiohttp import web

log = logging.getLogger("stand_ins")

_ids = itertools.count(1000)


@contextlib.asynccontextmanager
async def rest_api(on_call: Callable[[str, str, object], int | None] | None = None) -> AsyncGenerator[str]:
    """An API that takes whatever it is asked; gives its base URL.

    ``on_call`` is told method, path and body, and may say with which status to answer.
    """

    async def handle(request: web.Request) -> web.Response:
        text = await request.text()
        body: object = json.loads(text) if text else None
        log.info("%s %s %s", request.method, request.path, text)
        status = on_call(request.method, request.path, body) if on_call is not None else None
        # As much of an answer as these bots read: a new message has an id, and a rate limit says for how long.
        return web.json_response({"id": str(next(_ids))}, status=status or 200, headers={"Retry-After": "0.05"})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    # Its handlers may be at work for no longer than this when it ends.
    runner = web.AppRunner(application, shutdown_timeout=1.0, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def http_proxy() -> AsyncGenerator[str]:
    """An HTTP proxy that knows CONNECT and asks for no password; gives its URL."""
    serving: set[asyncio.Task[None]] = set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
        log.info("CONNECT %s", target)
        host, _, port = target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
