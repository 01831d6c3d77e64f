"""`Gateway.wait_for`: which event it returns, and what ends the waiting."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

import propylon._delivery.consumer
from face.support import eventually, message
from listeners.conftest import Stage
from propylon import AuthenticationFailed, Dispatch, Gateway, NotConnected
from propylon.events import Event, MessageDelete, Ready, Resumed
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


def waiting(gateway: Gateway, count: int) -> bool:
    """Whether so many wait; one that has its event may not have been told yet."""
    return [wait.done for wait in gateway._listening._waits] == [False] * count


async def begin(gateway: Gateway, *calls: Any) -> list[asyncio.Task[Any]]:
    """Start the calls and return when all of them wait."""
    count = len(gateway._listening._waits) + len(calls)
    tasks = [asyncio.ensure_future(call) for call in calls]
    await eventually(lambda: waiting(gateway, count))
    return tasks


def left(gateway: Gateway) -> list[str]:
    """The events of the listeners that are on the gateway, besides the marks of the stage."""
    return [
        wanted.event
        for listener in gateway._listening.registry.entries
        for wanted in listener.wanted
        if "MARK" not in wanted.event
    ]


async def test_it_returns_the_first_event_typed_and_leaves_nothing_behind(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    (task,) = await begin(gateway, gateway.wait_for(Ping))
    await stage.say("MESSAGE_CREATE", message("1"), message("2"))
    assert await task == Ping(content="1")
    assert left(gateway) == []
    assert gateway._listening._waits == set()
    await stage.say("MESSAGE_CREATE", message("3"))
    assert gateway.metrics().unheard_by_type["MESSAGE_CREATE"] >= 1


async def test_dispatch_gives_the_holder_and_a_union_either(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    holder, either = await begin(
        gateway, gateway.wait_for(Dispatch[MessageDelete]), gateway.wait_for(Ping | MessageDelete)
    )
    await stage.say("MESSAGE_DELETE", {"id": "1", "channel_id": "2"})
    assert isinstance(await holder, Dispatch)
    assert (await holder).data == await either
    assert isinstance(await either, MessageDelete)


async def test_where_picks_the_event(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    (task,) = await begin(gateway, gateway.wait_for(Ping, where=lambda ping: ping.content == "2"))
    await stage.say("MESSAGE_CREATE", message("1"), message("2"), message("3"))
    assert (await task).content == "2"


async def test_an_error_of_where_is_reported_and_counted_and_the_waiting_goes_on(
    stage: Stage, gateway: Gateway
) -> None:
    errors: list[tuple[type[Exception], str]] = []

    @gateway.on_error
    def on_error(error: Exception, dispatch: Dispatch) -> None:
        errors.append((type(error), dispatch.type))

    def where(ping: Ping) -> bool:
        return 1 / int(ping.content) > 0

    await stage.open()
    (task,) = await begin(gateway, gateway.wait_for(Ping, where=where))
    await stage.say("MESSAGE_CREATE", message("0"), message("5"))
    assert (await task).content == "5"
    assert errors == [(ZeroDivisionError, "MESSAGE_CREATE")]
    assert gateway.metrics().listener_errors == 1


async def test_an_event_that_does_not_fit_is_no_match(
    stage: Stage, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.open()
    (task,) = await begin(gateway, gateway.wait_for(Ping))
    await stage.say("MESSAGE_CREATE", {"content": 1}, message("fits"))
    assert (await task).content == "fits"
    assert gateway.metrics().undecodable == 1
    assert ["MESSAGE_CREATE" in record.getMessage() for record in caplog.records] == [True]


async def test_a_timeout_names_what_did_not_come(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    with pytest.raises(TimeoutError, match=r"^no MESSAGE_CREATE came within 0.01 s$"):
        await gateway.wait_for(Ping, timeout=0.01)
    with pytest.raises(TimeoutError, match=r"^no MESSAGE_CREATE or READY that fits `where` came within 0.01 s$"):
        await gateway.wait_for(Ping | Ready, where=lambda event: False, timeout=0.01)
    with pytest.raises(TimeoutError, match=r"^no event came within 0 s$"):
        await gateway.wait_for(Dispatch, timeout=0)
    assert left(gateway) == []


async def test_an_event_in_the_same_turn_as_the_timeout_or_the_end_is_not_lost(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    (task,) = await begin(gateway, gateway.wait_for(Ping, timeout=60))
    (wait,) = gateway._listening._waits
    (listener,) = [
        listener for listener in gateway._listening.registry.entries if listener.wanted[0].event == "MESSAGE_CREATE"
    ]
    listener.call(Ping(content="just in time"))
    wait.finish()
    wait.end(None)
    assert (await task).content == "just in time"


async def test_cancelling_leaves_nothing_behind(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    (task,) = await begin(gateway, gateway.wait_for(Ping, timeout=60))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(gateway) == []
    assert gateway._listening._waits == set()
    await stage.say("MESSAGE_CREATE", message())
    assert gateway.metrics().listener_errors == 0


async def test_closing_raises_not_connected(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    (task,) = await begin(gateway, gateway.wait_for(Ping))
    await gateway.close()
    with pytest.raises(NotConnected, match="the gateway was closed before MESSAGE_CREATE came") as raised:
        await task
    assert raised.value.__cause__ is None
    assert left(gateway) == []


@pytest.mark.parametrize("handled", [False, True])
async def test_a_listener_that_a_closed_gateway_leaves_waiting_has_not_failed(
    stage: Stage, gateway: Gateway, handled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caught: list[Exception] = []

    @gateway.listen
    async def dialog(event: MessageDelete) -> None:
        try:
            await gateway.wait_for(Ping)
        except NotConnected as error:
            caught.append(error)
            if handled:
                raise ValueError("of the listener itself") from error
            raise

    await stage.open()
    await stage.say("MESSAGE_DELETE", {"id": "1", "channel_id": "2"})
    await eventually(lambda: waiting(gateway, 1))
    await gateway.close()
    await eventually(lambda: gateway.metrics().pending == 0)
    assert len(caught) == 1
    # An error of its own is reported like any other.
    assert gateway.metrics().listener_errors == len(caplog.records) == int(handled)


async def test_a_fatal_end_is_the_cause(propylon_simulator: Callable[..., Simulator], gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    (task,) = await begin(gateway, gateway.wait_for(Ping))
    sim.act(steps.close(4004))
    with pytest.raises(NotConnected) as raised:
        await task
    assert isinstance(raised.value.__cause__, AuthenticationFailed)
    with pytest.raises(AuthenticationFailed):
        await gateway.wait_closed()


async def test_a_lost_connection_that_is_remade_is_waited_through(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    (task,) = await begin(gateway, gateway.wait_for(Ping))
    stage.sim.act(steps.reset())
    stage.sim.dispatch("MESSAGE_CREATE", message("after"))
    assert (await task).content == "after"


async def test_it_may_be_called_before_open_and_again_after_closing(stage: Stage, gateway: Gateway) -> None:
    for kind in (Ready, Resumed):
        (task,) = await begin(gateway, gateway.wait_for(kind))
        await gateway.open(timeout=10)
        assert isinstance(await task, kind)
        await gateway.close(resumable=True)


@pytest.mark.parametrize("eager", [True, False])
async def test_a_listener_may_wait_twice_and_several_may_wait_for_the_same_event(
    stage: Stage, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, eager: bool
) -> None:
    if not eager:
        monkeypatch.setattr(propylon._delivery.consumer, "_EAGER", False)
    talks: list[list[str]] = []

    @gateway.listen
    async def dialog(event: MessageDelete) -> None:
        first = await gateway.wait_for(Ping)
        second = await gateway.wait_for(Ping)
        talks.append([str(event.id), first.content, second.content])

    await stage.open()
    await stage.say("MESSAGE_DELETE", *[{"id": str(number), "channel_id": "2"} for number in (1, 2)])
    await eventually(lambda: waiting(gateway, 2))
    await stage.say("MESSAGE_CREATE", message("a"))
    await eventually(lambda: waiting(gateway, 2))
    await stage.say("MESSAGE_CREATE", message("b"))
    await eventually(lambda: len(talks) == 2)
    assert talks == [["1", "a", "b"], ["2", "a", "b"]]
    await eventually(lambda: gateway.metrics().pending == 0)
    assert left(gateway) == ["MESSAGE_DELETE"]


@pytest.mark.parametrize("eager", [True, False])
async def test_a_listener_that_holds_back_what_it_waits_for_is_pointed_out(
    propylon_simulator: Callable[..., Simulator],
    gateway_to: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    eager: bool,
) -> None:
    if not eager:
        monkeypatch.setattr(propylon._delivery.consumer, "_EAGER", False)
    stage = Stage(propylon_simulator(guilds=0))
    gateway = stage.gateway = gateway_to(stage.sim, max_pending=1)
    outcomes: list[str] = []

    @gateway.listen
    async def dialog(event: MessageDelete) -> None:
        try:
            await gateway.wait_for(Ping, timeout=0.3)
        except TimeoutError as error:
            outcomes.append(str(error))

    await stage.open()
    # Both are there before the first is handed out: the time that it waits does not begin before.
    gateway._life.shard.hold(True)
    received = gateway.metrics().received
    stage.sim.dispatch("MESSAGE_DELETE", {"id": "1", "channel_id": "2"})
    stage.sim.dispatch("MESSAGE_CREATE", message("held back"))
    await eventually(lambda: gateway.metrics().received == received + 2)
    gateway._life.shard.hold(False)
    await stage.mark()
    assert outcomes == ["no MESSAGE_CREATE came within 0.3 s"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "max_pending=1" in record.getMessage()
    assert "timeout" in record.getMessage()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"event": Event}, TypeError, "wait_for(): Event is no event by itself"),
        ({"event": "MESSAGE_CREATE"}, TypeError, "wait_for(): 'MESSAGE_CREATE' is no event"),
        ({"event": Ping, "where": 7}, TypeError, "wait_for(): where= takes"),
        ({"event": Ping, "timeout": "1"}, TypeError, "wait_for(): timeout is a number of seconds, not '1'"),
        ({"event": Ping, "timeout": -1}, ValueError, "wait_for(): timeout must be 0 s or more"),
        ({"event": Ping, "timeout": float("nan")}, ValueError, "wait_for(): timeout must be 0 s or more"),
    ],
)
async def test_bad_arguments_are_told(
    stage: Stage, gateway: Gateway, arguments: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as raised:
        await gateway.wait_for(**arguments)
    assert text in str(raised.value)
    assert left(gateway) == []


async def test_an_async_where_is_refused(stage: Stage, gateway: Gateway) -> None:
    async def where(ping: Ping) -> bool:
        return True

    with pytest.raises(TypeError, match=r"wait_for\(\): where= takes a function"):
        await gateway.wait_for(Ping, where=where)


async def test_an_infinite_timeout_is_none(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    (task,) = await begin(gateway, gateway.wait_for(Ping, timeout=float("inf")))
    await stage.say("MESSAGE_CREATE", message("1"))
    assert (await task).content == "1"


async def test_another_loop_may_not_wait_at_an_open_gateway(stage: Stage, gateway: Gateway) -> None:
    await stage.open()

    def elsewhere() -> None:
        asyncio.run(gateway.wait_for(Ping, timeout=1))

    with pytest.raises(RuntimeError, match="belongs to the event loop in which it was opened"):
        await asyncio.to_thread(elsewhere)
    assert left(gateway) == []
