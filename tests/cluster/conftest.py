"""A nats-server for all tests of a run, and connections to it under an app's name of one's own."""

import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
import pytest_asyncio

from cluster.nats import NatsServer
from propylon.cluster._nats import NatsBroker, connect


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@pytest.fixture
def nats_app() -> str:
    """A name that no other test has: streams and buckets are called after it."""
    return f"test-{secrets.token_hex(6)}"


@pytest_asyncio.fixture
async def join(nats_server: NatsServer, nats_app: str) -> AsyncIterator[Callable[[], Coroutine[Any, Any, NatsBroker]]]:
    """Connect once more: ``await join()``. All are closed after the test, and what they kept is removed."""
    joined: list[NatsBroker] = []

    async def connected() -> NatsBroker:
        broker = await connect(nats_server.url, nats_app)
        joined.append(broker)
        return broker

    yield connected
    for broker in joined:
        await broker.close()
    last = await connect(nats_server.url, nats_app, prepare=False)
    await last.purge()
    await last.close()


@pytest_asyncio.fixture
async def broker(join: Callable[[], Coroutine[Any, Any, NatsBroker]]) -> NatsBroker:
    """One connection."""
    return await join()
