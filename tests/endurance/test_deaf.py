"""A listener that blocks the loop for 45 s under 5,000 events/s: the admin server tells, and stays quick.

Only where `PROPYLON_TEST_DEAF` is set, as `make soak-deaf` does: it takes a minute. What it is made of is tested in
virtual time (`rust/core/src/admin/snapshot.rs`) and with shorter blocks (`tests/admin/test_watching.py`).
"""

import asyncio
import http.client
import json
import os
import threading
import time
from collections.abc import Callable

import pytest

from face.support import eventually
from propylon import Gateway, GatewayStatus
from propylon.events import MessageCreate
from propylon.testing import Simulator

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not os.environ.get("PROPYLON_TEST_DEAF"), reason="takes a minute: make soak-deaf"),
]

BLOCKED = 45.0
RATE = 5_000.0


async def test_a_deaf_bot_does_not_look_healthy(
    propylon_simulator: Callable[..., Simulator],
    gateway_to: Callable[..., Gateway],
    caplog: pytest.LogCaptureFixture,
) -> None:
    sim = propylon_simulator(rate=RATE, events=["MESSAGE_CREATE"], heartbeat_interval=2)
    gateway = gateway_to(sim, admin="127.0.0.1:0")
    begun = 0.0
    ended = 0.0
    count = 0

    @gateway.listen
    def slow_listener(event: MessageCreate) -> None:
        nonlocal begun, ended, count
        count += 1
        if count == 1_000:
            begun = time.monotonic()
            time.sleep(BLOCKED)
            ended = time.monotonic()

    await gateway.open(timeout=10)
    assert gateway.admin_address is not None
    host, port = gateway.admin_address
    lives: list[tuple[float, int, dict[str, object]]] = []
    scrapes: list[float] = []

    def ask(path: str) -> tuple[int, bytes, float]:
        start = time.perf_counter()
        connection = http.client.HTTPConnection(host, port, timeout=5)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body, time.perf_counter() - start

    def watch() -> None:
        while not ended:
            time.sleep(0.25)
            status, body, _ = ask("/livez")
            if begun and not ended:
                lives.append((time.monotonic() - begun, status, json.loads(body)))
            scrapes.append(ask("/metrics")[2])

    thread = threading.Thread(target=watch)
    thread.start()
    await eventually(lambda: ended, timeout=90)
    await asyncio.to_thread(thread.join)
    dead = [(at, told) for at, status, told in lives if status == 503]
    assert dead, lives[-3:]
    assert dead[0][0] <= 31
    assert [status for at, status, _ in lives if at < 28] == [200] * len([at for at, *_ in lives if at < 28])
    assert all(status == 503 for at, status, _ in lives if 31 <= at < BLOCKED - 0.5)
    for _, told in dead:
        assert str(told["listener"]).endswith("slow_listener")
        assert isinstance(told["since"], float)
    assert max(scrapes) < 0.05, f"slowest of {len(scrapes)}: {max(scrapes)}"
    warnings = [text for text in caplog.messages if "taken no turn" in text]
    assert len(warnings) == 3
    assert all("slow_listener" in text for text in warnings)
    await eventually(lambda: json.loads(ask("/livez")[1])["ok"], timeout=30)
    assert gateway.status is GatewayStatus.READY
    assert gateway.metrics().reconnects == 0
    print(f"503 from {dead[0][0]:.2f} s on; slowest of {len(scrapes)} scrapes {max(scrapes) * 1000:.1f} ms")
