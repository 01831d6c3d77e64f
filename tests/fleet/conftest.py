"""Fixtures of the fleet's tests. They run on asyncio's own event loop and on uvloop."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from face.support import loop_factories
from fleet.support import make_manager
from propylon import ShardManager
from propylon.testing import Simulator, steps

_MOST_SHARDS = 6
"""Of any fleet of `lively_simulator`."""


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
    async with asyncio.timeout(20):
        for manager in made:
            await manager.close()


@pytest.fixture
def lively_simulator(propylon_simulator: Callable[..., Simulator]) -> Iterator[Callable[..., Simulator]]:
    """`propylon_simulator`, where each shard is asked for a heartbeat ten times a second.

    The end of a reshard waits until each has received something. Beats of a short interval would bring that too, but
    one that is not acknowledged before the next costs the connection, and a busy machine is late with it.
    """
    made: list[Simulator] = []
    over = threading.Event()

    def start(**options: Any) -> Simulator:
        made.append(propylon_simulator(**options))
        return made[-1]

    def ask() -> None:
        while not over.wait(0.1):
            for sim in tuple(made):
                for shard_id in range(_MOST_SHARDS):
                    # Who has not identified yet is left alone, and such a shard there may not be.
                    with contextlib.suppress(RuntimeError):
                        sim.act(steps.request_heartbeats(), shard=shard_id)

    asking = threading.Thread(target=ask)
    asking.start()
    yield start
    over.set()
    asking.join()
