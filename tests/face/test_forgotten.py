"""A gateway that nobody closes: warned of, and closed all the same."""

import asyncio
import gc
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from face.support import loop_factories, make_gateway, run_and_abandon
from propylon import Gateway, GatewayStatus
from propylon.testing import Simulator

Start = Callable[..., Simulator]


def closes(sim: Simulator) -> list[Any]:
    return [connection["closed"] and connection["closed"]["code"] for connection in sim.record()["connections"]]


@pytest.mark.parametrize("factory", loop_factories().values(), ids=loop_factories())
def test_a_gateway_left_open_at_the_end_of_its_loop_warns_and_is_closed(
    propylon_simulator: Start, factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway = make_gateway(sim)
    told = r"<Gateway READY> was left open at the end .* `async with`"
    with pytest.warns(ResourceWarning, match=told), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(gateway.open(timeout=10))
    assert gateway.status is GatewayStatus.DISCONNECTED
    assert closes(sim) == [1000]

    async def again() -> None:
        await gateway.open(timeout=10)
        await gateway.close()

    asyncio.run(again())


def test_a_gateway_that_a_task_closes_at_the_end_of_its_loop_is_not_forgotten(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0)
    tasks: list[asyncio.Task[None]] = []

    async def serve(opened: asyncio.Event) -> None:
        async with make_gateway(sim):
            opened.set()
            await asyncio.Event().wait()

    async def main() -> None:
        opened = asyncio.Event()
        tasks.append(asyncio.create_task(serve(opened)))
        await opened.wait()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()  # what earlier tests have left
        caught.clear()
        asyncio.run(main())
        gc.collect()
    # Not what else warns at that moment, such as a socket of another test.
    assert [str(warning.message) for warning in caught if "Gateway" in str(warning.message)] == []
    assert closes(sim) == [1000]


@pytest.mark.parametrize("factory", loop_factories().values(), ids=loop_factories())
def test_a_gateway_forgotten_with_a_loop_that_was_closed_by_hand_warns_and_is_closed(
    propylon_simulator: Start, factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    sim = propylon_simulator(guilds=0)

    def forget() -> None:
        gateway: Gateway = make_gateway(sim)
        run_and_abandon(gateway.open(timeout=10), factory)

    forget()
    with pytest.warns(ResourceWarning, match="<Gateway READY> was forgotten while it was open"):
        gc.collect()
    sim.wait("open", count=0)
    assert closes(sim) == [1000]


def test_a_gateway_that_listens_in_a_running_loop_is_not_forgotten(propylon_simulator: Start) -> None:
    """Its listeners are called, whoever holds it."""
    sim = propylon_simulator(guilds=0)

    async def main() -> None:
        gateway = make_gateway(sim)
        status = gateway._life.shard
        await gateway.open(timeout=10)
        del gateway
        gc.collect()
        assert status.status == "READY"

    with pytest.warns(ResourceWarning, match="left open"):
        asyncio.run(main())
