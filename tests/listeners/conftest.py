"""Every asynchronous test here runs on asyncio's own event loop and on uvloop."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio

from face.support import eventually, loop_factories, make_gateway
from propylon import Gateway
from propylon.events import Event
from propylon.testing import Simulator


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    return loop_factories()


class Mark(Event, event="PROPYLON_MARK"):
    """Sent after what a test sends: when it has come, so has all before it."""


class Stage:
    """A gateway that is opened once its listeners are there, and the server that speaks to it."""

    def __init__(self, sim: Simulator, **options: Any) -> None:
        self.sim = sim
        self.gateway = make_gateway(sim, **options)
        self._marks = 0

    async def open(self) -> None:
        self.gateway.listen(Mark)(self._mark)
        await self.gateway.open(timeout=10)
        await self.mark()

    def _mark(self, mark: Mark) -> None:
        self._marks += 1

    async def mark(self) -> None:
        """Return when listeners have been called for all events so far."""
        before = self._marks
        self.sim.dispatch("PROPYLON_MARK", {})
        await eventually(lambda: self._marks > before)

    async def say(self, event: str, *payloads: Any) -> None:
        """Send events and return when listeners have been called for all of them."""
        for payload in payloads:
            self.sim.dispatch(event, payload)
        await self.mark()


@pytest_asyncio.fixture
async def stage(propylon_simulator: Callable[..., Simulator]) -> AsyncIterator[Stage]:
    """A server without guilds, so that READY is the only event of its own."""
    stage = Stage(propylon_simulator(guilds=0))
    yield stage
    await stage.gateway.close()


@pytest.fixture
def gateway(stage: Stage) -> Gateway:
    return stage.gateway
