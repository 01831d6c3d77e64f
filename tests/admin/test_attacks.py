"""What comes to the admin port leaves the bot undisturbed and memory bounded."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from admin.support import ADMIN, address_of, get
from face.support import eventually
from propylon import Gateway, GatewayStatus
from propylon.events import MessageCreate
from propylon.testing import Simulator

Start = Callable[..., Simulator]
Make = Callable[..., Gateway]

pytestmark = [
    # The server is the same whatever the loop, and these take long.
    pytest.mark.asyncio(loop_factories=["asyncio"]),
    pytest.mark.skipif(sys.platform != "linux", reason="reads the process from /proc"),
]

RATE = 1_000.0
MIB = 1024 * 1024


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def raw(gateway: Gateway, request: bytes) -> bytes:
    """All that is answered until the connection is closed."""
    reader, writer = await asyncio.open_connection(*address_of(gateway))
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            await writer.drain()
            return await asyncio.wait_for(reader.read(), 20)
        return b""
    finally:
        writer.close()


async def test_nonsense_is_refused_and_nothing_is_read_beyond_its_head(
    propylon_simulator: Start, gateway_to: Make
) -> None:
    gateway = gateway_to(propylon_simulator(), admin=ADMIN)
    await gateway.open(timeout=10)
    before = resident()
    host = b"Host: localhost\r\n"
    assert (await raw(gateway, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + host + b"\r\n"))[:12] in (
        b"HTTP/1.1 431",
        b"HTTP/1.1 414",
        b"",
    )
    assert (await raw(gateway, b"GET / HTTP/1.1\r\n" + host + b"X: " + b"a" * 100_000 + b"\r\n\r\n"))[:12] in (
        b"HTTP/1.1 431",
        b"",
    )
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(200))
    assert (await raw(gateway, b"GET / HTTP/1.1\r\n" + host + many + b"\r\n"))[:12] == b"HTTP/1.1 431"
    assert (await raw(gateway, b"\x16\x03\x01\x02\x00 no HTTP at all\r\n\r\n"))[:12] in (b"HTTP/1.1 400", b"")
    body = b"POST /snapshot HTTP/1.1\r\n" + host + b"Content-Length: 1000000000000\r\n\r\n" + b"x" * 5 * MIB
    assert (await raw(gateway, body))[:12] in (b"HTTP/1.1 405", b"")
    for path in (b"/../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"/\\..\\x", b"/app.css/../../Cargo.toml"):
        answer = await raw(gateway, b"GET " + path + b" HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n")
        assert answer[:12] in (b"HTTP/1.1 404", b"HTTP/1.1 400"), path
        assert b"root:" not in answer
    assert (await get(gateway, "/livez")).status == 200
    assert resident() - before < 16 * MIB


async def test_slow_and_silent_clients_are_let_go_within_five_seconds(
    propylon_simulator: Start, gateway_to: Make
) -> None:
    gateway = gateway_to(propylon_simulator(), admin=ADMIN)
    await gateway.open(timeout=10)
    begun = time.monotonic()

    async def drip() -> None:
        reader, writer = await asyncio.open_connection(*address_of(gateway))
        head = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
        with contextlib.suppress(ConnectionError):
            for byte in head:
                writer.write(bytes((byte,)))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(), 0.3)
                    break
        writer.close()

    async def silent() -> None:
        assert await raw(gateway, b"") == b""

    async def kept() -> None:
        # An answer, and then silence on a connection that is kept.
        assert (await raw(gateway, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")).startswith(b"HTTP/1.1 200")

    await asyncio.gather(drip(), silent(), kept())
    assert 4 < time.monotonic() - begun < 9


async def test_ten_thousand_connections_and_a_flood_of_requests_do_not_disturb_the_bot(
    propylon_simulator: Start, gateway_to: Make
) -> None:
    sim = propylon_simulator(rate=RATE, events=["MESSAGE_CREATE"], heartbeat_interval=2.5)
    gateway = gateway_to(sim, admin=ADMIN)
    heard = 0

    @gateway.listen
    def on_message(event: MessageCreate) -> None:
        nonlocal heard
        heard += 1

    await gateway.open(timeout=10)
    await eventually(lambda: heard > 100)
    address = address_of(gateway)
    before, descriptors = resident(), len(os.listdir("/proc/self/fd"))
    held: list[asyncio.StreamWriter] = []
    refused = 0
    for number in range(10_000):
        _, writer = await asyncio.open_connection(*address)
        if number < 100:
            # So many are kept open: beyond 64 the door is shut.
            held.append(writer)
            continue
        refused += 1
        writer.close()
    assert refused == 9_900
    # Of those the server holds no more than it lets in.
    assert len(os.listdir("/proc/self/fd")) - descriptors < 100 + 64 + 40
    for writer in held:
        writer.close()
    answered = 0
    until = time.monotonic() + 10
    while answered < 200:
        # Until the ones before have gone, some find the door shut.
        assert time.monotonic() < until
        with contextlib.suppress(ConnectionError):
            answered += (await raw(gateway, b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n"))[:12] == (
                b"HTTP/1.0 200"
            )
    await eventually(lambda: gateway.metrics().heartbeats > 1)
    assert gateway.status is GatewayStatus.READY
    assert gateway.metrics().reconnects == 0
    assert resident() - before < 32 * MIB
    seen = heard
    await eventually(lambda: heard > seen + 100)
