"""A loop that cannot wait for readers but can receive from sockets, as Windows' proactor loop.

Played on any system: the loop refuses `add_reader`, and the engine wakes it by the pair of sockets that it uses there.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

import propylon._core as _core
from face.support import eventually
from propylon import Gateway
from propylon._delivery.loop import Delivery
from propylon.events import MessageCreate, MessageDelete
from propylon.testing import Simulator


@pytest_asyncio.fixture(autouse=True)
async def received(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[int]]:
    """Makes the running loop such a one. The value holds one entry for each time that it was woken."""
    loop = asyncio.get_running_loop()
    receive = loop.sock_recv
    woken: list[int] = []

    def refuse(*_: Any) -> None:
        raise NotImplementedError

    async def noted(sock: Any, size: int) -> bytes:
        data = await receive(sock, size)
        woken.append(len(data))
        return data

    monkeypatch.setattr(_core, "Hub", functools.partial(_core.Hub, pair=True))
    monkeypatch.setattr(loop, "add_reader", refuse)
    monkeypatch.setattr(loop, "sock_recv", noted)
    yield woken


@pytest.mark.asyncio
async def test_more_than_one_drain_takes_come_by_one_wake_up(
    propylon_simulator: Callable[..., Simulator], gateway_to: Any
) -> None:
    sim = propylon_simulator(guilds=0, events=["MESSAGE_CREATE"], rate=None, count=1000, start="manual")
    gateway: Gateway = gateway_to(sim)
    heard: list[MessageCreate] = []
    gateway.listen(MessageCreate)(heard.append)
    await gateway.open(timeout=10)
    # Everything is there before the first is taken: nothing that comes later may wake the loop for the rest.
    gateway._life.shard.hold(True)
    sim.flood()
    await eventually(lambda: gateway.metrics().received == 1001)
    gateway._life.shard.hold(False)
    await eventually(lambda: len(heard) == 1000)


@pytest.mark.asyncio
async def test_a_loop_with_nothing_to_take_is_left_alone(
    propylon_simulator: Callable[..., Simulator], gateway_to: Any, received: list[int]
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    heard: list[MessageDelete] = []
    gateway.listen(MessageDelete)(heard.append)
    await gateway.open(timeout=10)
    received.clear()
    for number in range(20):
        sim.dispatch("MESSAGE_DELETE", {"id": str(number), "channel_id": "2"})
        await eventually(lambda number=number: len(heard) == number + 1)
    assert 1 <= len(received) <= 2 * 20


@pytest.mark.asyncio
async def test_gateways_come_and_go_on_one_loop(propylon_simulator: Callable[..., Simulator], gateway_to: Any) -> None:
    delivery = Delivery.current()  # held, so that all of them have the same
    sim = propylon_simulator(guilds=0)
    for _ in range(3):
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        assert Delivery.current() is delivery
        await gateway.close()
