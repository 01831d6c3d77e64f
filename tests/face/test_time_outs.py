"""The TimeoutError of `Gateway.open` says where it hung."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from propylon import Gateway
from propylon.testing import Simulator, steps

Start = Callable[..., Simulator]

pytestmark = pytest.mark.asyncio


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ([steps.no_hello()], "2.5 s; no HELLO came on the connection"),
        ([steps.never_ready()], "2.5 s; IDENTIFY was sent, and no READY came"),
        ([steps.http_response(503)], "2.5 s; the last attempt failed: .*503"),
    ],
    ids=["HELLO", "READY", "failure"],
)
async def test_time_outs_say_where_it_hung(
    propylon_simulator: Start, gateway_to: Any, script: list[Any], told: str
) -> None:
    gateway: Gateway = gateway_to(propylon_simulator(scripts={"every": script}))
    # Time enough for a busy machine to come that far.
    with pytest.raises(TimeoutError, match=told):
        await gateway.open(timeout=2.5)


async def test_time_outs_say_that_it_was_connecting(silent: int) -> None:
    gateway = Gateway("token", gateway_url=f"ws://127.0.0.1:{silent}")
    with pytest.raises(TimeoutError, match=r"2\.5 s; it was connecting: TCP, TLS and the HTTP upgrade"):
        await gateway.open(timeout=2.5)


async def test_time_outs_say_that_gateway_bot_was_asked(silent: int) -> None:
    gateway = Gateway("token", api_url=f"http://127.0.0.1:{silent}")
    with pytest.raises(TimeoutError, match=r"2\.5 s; it was asking /gateway/bot"):
        await gateway.open(timeout=2.5)
