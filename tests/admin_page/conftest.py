"""The page and its stand-in server."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from . import world
from .browser import running
from .server import FakeAdmin

Serve: TypeAlias = Callable[..., FakeAdmin]


class Scene:
    """The snapshot that the server gives: what a test changes while the page looks on."""

    def __init__(self, shards: int) -> None:
        self.now = world.snapshot(shards)

    def __call__(self) -> world.Snapshot:
        return self.now


@pytest.fixture
def admin() -> Iterator[Callable[..., FakeAdmin]]:
    """Serve what ``look`` gives: ``admin(look, shards=64, interval=1.0)``; stopped after the test."""
    started: list[FakeAdmin] = []

    def serve(look: Callable[[], world.Snapshot], *, shards: int = 64, interval: float = 1.0) -> FakeAdmin:
        server = FakeAdmin(look, shards=shards, interval=interval)
        server.start()
        started.append(server)
        return server

    yield serve
    for server in started:
        server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One for all tests; each has its own page in it."""
    async with running() as browser:
        yield browser


def lively(shards: int = 64) -> world.Snapshot:
    """Something of everything: states, a cut, a name and a reason that are markup."""
    found = world.cut(world.snapshot(shards), {0: "RESUMING"} if shards == 1 else {3: "IDENTIFYING", 7: "DISCONNECTED"})
    return {**found, "reconnects": [*found["reconnects"], reconnect(0, MARKUP)]}


MARKUP = "<script>window.taken = 1</script><img src=x onerror='window.taken = 1'>"


def reconnect(shard: int, reason: str) -> dict[str, Any]:
    return {"at": world.FIRST - 3.0, "shard": shard, "code": 4000, "reason": reason, "resumed": False}
