"""Fixtures of the whole suite."""

import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from face.support import make_gateway
from propylon import Gateway
from propylon.logs import flush_bursts
from propylon.testing import Simulator

# A shell that starts the suite in the background has it ignore Ctrl-C, and its children with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def each_test_has_lines_of_its_own() -> None:
    """A line that earlier tests have made too often already is written again."""
    flush_bursts()


@pytest_asyncio.fixture
async def gateway_to() -> AsyncIterator[Callable[..., Gateway]]:
    """Make gateways, ``gateway_to(sim, compression=None)``, closed after the test."""
    made: list[Gateway] = []

    def make(sim: Simulator, **options: Any) -> Gateway:
        gateway = make_gateway(sim, **options)
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        await gateway.close()
