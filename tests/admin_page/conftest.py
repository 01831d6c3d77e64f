"""The page and its stand-in server."""

from collections.abc import Callable, Iterator

import pytest

from . import world
from .server import FakeAdmin


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
