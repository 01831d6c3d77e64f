"""Every asynchronous test here runs on asyncio's own event loop and on uvloop; some have a nats-server."""

from collections.abc import Callable, Mapping
from typing import Any

from cluster.conftest import nats_app, nats_server
from face.support import loop_factories

__all__ = ["nats_app", "nats_server"]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    return loop_factories()
