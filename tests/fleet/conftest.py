"""Fixtures of the fleet's tests. They run on asyncio's own event loop and on uvloop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest_asyncio

from face.support import loop_factories
from fleet.support import make_manager
from propylon import ShardManager
from propylon.testing import Simulator


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    return loop_factories()


@pytest_asyncio.fixture
async def manager_to() -> AsyncIterator[Callable[..., ShardManager]]:
    """Make managers, ``manager_to(sim, shards=4)``, closed after the test."""
    made: list[ShardManager] = []

    def make(sim: Simulator, **options: Any) -> ShardManager:
        manager = make_manager(sim, **options)
        made.append(manager)
        return manager

    yield make
    async with asyncio.timeout(5):
        for manager in made:
            await manager.close()
