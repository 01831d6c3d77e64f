"""`Gateway.close` with ``drain=``: no new events, running calls may finish, then the close."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually, message
from propylon import Gateway, GatewayStatus, NotConnected
from propylon.events import MessageCreate, MessageDelete
from propylon.testing import Simulator

Start = Callable[..., Simulator]

pytestmark = pytest.mark.asyncio


async def test_running_calls_finish_while_heartbeats_go_on(propylon_simulator: Start, gateway_to: Any) -> None:
    # Long enough for a busy machine to take the ACK of a beat before the next is due.
    sim = propylon_simulator(guilds=0, heartbeat_interval=3)
    gateway: Gateway = gateway_to(sim)
    go = asyncio.Event()
    heard: list[str] = []

    @gateway.listen
    async def on_message(message: MessageCreate) -> None:
        heard.append(message.content)
        await go.wait()
        heard.append("finished")

    await gateway.open(timeout=10)
    sim.dispatch("MESSAGE_CREATE", message("first"))
    await eventually(lambda: heard)
    closing = asyncio.create_task(gateway.close(drain=60, resumable=True))
    await asyncio.sleep(0)
    sim.dispatch("MESSAGE_CREATE", message("second"))
    beats = len([op for op in sim.record()["connections"][0]["ops"] if op["op"] == 1])
    await sim.wait_for("op", op=1, count=beats + 1)
    assert (heard, gateway.status, closing.done()) == (["first"], GatewayStatus.READY, False)
    go.set()
    await closing
    assert heard == ["first", "finished"]
    assert gateway.metrics().pending == 0
    # What was not handed out is, by the next opening.
    await gateway.open(timeout=10)
    await eventually(lambda: heard == ["first", "finished", "second", "finished"])


async def test_what_has_not_finished_is_cancelled(
    propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    cancelled: list[GatewayStatus] = []

    @gateway.listen
    async def on_message(message: MessageCreate) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(gateway.status)
            raise

    await gateway.open(timeout=10)
    sim.dispatch("MESSAGE_CREATE", message())
    await eventually(lambda: gateway.metrics().pending)
    await gateway.close(drain=0.05)
    assert cancelled == [GatewayStatus.READY]
    assert "1 listener calls have not finished within 0.05 s and are cancelled" in caplog.text


async def test_without_one_calls_go_on(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    go = asyncio.Event()

    @gateway.listen
    async def on_message(message: MessageCreate) -> None:
        await go.wait()

    await gateway.open(timeout=10)
    sim.dispatch("MESSAGE_CREATE", message())
    await eventually(lambda: gateway.metrics().pending)
    await gateway.close()
    assert gateway.metrics().pending == 1
    go.set()
    await eventually(lambda: not gateway.metrics().pending)


async def test_who_waits_for_an_event_is_told_at_once(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    told: list[NotConnected] = []

    @gateway.listen
    async def on_message(message: MessageCreate) -> None:
        try:
            await gateway.wait_for(MessageDelete)
        except NotConnected as error:
            told.append(error)

    await gateway.open(timeout=10)
    sim.dispatch("MESSAGE_CREATE", message())
    await eventually(lambda: gateway.metrics().pending)
    async with asyncio.timeout(20):
        await gateway.close(drain=60)
    assert len(told) == 1


async def test_listeners_that_close_do_not_wait_for_each_other(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    closed: list[str] = []

    @gateway.listen
    async def on_message(message: MessageCreate) -> None:
        await eventually(lambda: gateway.metrics().pending == 2)
        await gateway.close(drain=60)
        closed.append(message.content)

    await gateway.open(timeout=10)
    for content in ("one", "two"):
        sim.dispatch("MESSAGE_CREATE", message(content))
    async with asyncio.timeout(20):
        await gateway.wait_closed()
        await eventually(lambda: sorted(closed) == ["one", "two"])


async def test_cancelled_while_it_drains_it_closes_at_once(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)

    @gateway.listen
    async def on_message(message: MessageCreate) -> None:
        await asyncio.Event().wait()

    await gateway.open(timeout=10)
    sim.dispatch("MESSAGE_CREATE", message())
    await eventually(lambda: gateway.metrics().pending)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await gateway.close(drain=60)
    await gateway.wait_closed()
    assert gateway.status is GatewayStatus.DISCONNECTED


@pytest.mark.parametrize(("wrong", "kind"), [(-1, ValueError), ("5", TypeError), (True, TypeError)])
async def test_drain_is_a_number_of_seconds(wrong: Any, kind: type[Exception]) -> None:
    gateway = Gateway("token")
    for call in (gateway.close, gateway.serve):
        with pytest.raises(kind, match="drain"):
            await call(drain=wrong)
