"""Every asynchronous test here runs on asyncio's own event loop and on uvloop."""

from collections.abc import Callable, Mapping
from typing import Any

from face.support import loop_factories


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    return loop_factories()
