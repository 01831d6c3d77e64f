"""Exceptions of listeners: reported and counted, never another listener's problem; two of them end everything."""

import asyncio
import gc
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

import propylon._delivery.consumer
import propylon._listening.failures
from face.support import eventually, loop_factories, make_gateway, message
from listeners.conftest import Stage
from propylon import Dispatch, Gateway, GatewayStatus
from propylon.events import Event, Ready
from propylon.testing import Simulator, steps


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


class Oops(Exception):
    pass


def raising(error: BaseException, kind: str) -> Callable[[Any], Any]:
    def plain(event: Any) -> None:
        raise error

    async def at_once(event: Any) -> None:
        raise error

    async def later(event: Any) -> None:
        await asyncio.sleep(0)
        raise error

    return {"plain": plain, "async": at_once, "async later": later}[kind]


KINDS = pytest.mark.parametrize("kind", ["plain", "async", "async later"])


@pytest.mark.asyncio
@KINDS
async def test_an_exception_goes_to_on_error_and_others_are_not_affected(
    stage: Stage, gateway: Gateway, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[Any] = []
    heard: list[str] = []
    oops = Oops("oops")

    @gateway.on_error
    def first(error: Exception) -> None:
        reported.append(error)

    @gateway.on_error
    async def second(error: Exception, dispatch: Dispatch, gateway: Gateway) -> None:
        await asyncio.sleep(0)
        reported.append((error, dispatch.type, gateway))

    gateway.listen(Ping)(raising(oops, kind))
    gateway.listen(Ping)(lambda ping: heard.append(ping.content))
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("1"), message("2"))
    await eventually(lambda: len(reported) == 4)
    assert reported.count(oops) == 2
    assert reported.count((oops, "MESSAGE_CREATE", gateway)) == 2
    assert heard == ["1", "2"]
    assert gateway.metrics().listener_errors == 2
    assert gateway.metrics().undecodable == 0
    await eventually(lambda: gateway.metrics().pending == 0)
    assert not caplog.records


@pytest.mark.asyncio
@KINDS
async def test_without_on_error_it_is_logged_with_its_traceback(
    stage: Stage, gateway: Gateway, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.listen(Ping)(raising(Oops("oops"), kind))
    await stage.open()
    await stage.say("MESSAGE_CREATE", message())
    await eventually(lambda: caplog.records)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("propylon", logging.ERROR)
    assert "MESSAGE_CREATE" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], Oops)


def errors_of(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Without the warning that a listener holds the loop, which a busy machine brings."""
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.asyncio
@KINDS
async def test_a_failing_listener_logs_its_first_traceback_and_then_a_count(
    stage: Stage, gateway: Gateway, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.listen(Ping)(raising(Oops("oops\nand more"), kind))
    await stage.open()
    await stage.say("MESSAGE_CREATE", *[message()] * 500)
    await eventually(lambda: gateway.metrics().listener_errors == 500)
    (first,) = errors_of(caplog)
    assert first.exc_info is not None
    # What is counted when the gateway ends is told then.
    await gateway.close()
    _, count = errors_of(caplog)
    assert count.exc_info is None
    text = count.getMessage()
    assert re.search(r" failed like this 499 more times in \d+ s: Oops: oops\\nand more", text)
    assert text.startswith("listener raising.<locals>.")


@pytest.mark.asyncio
async def test_names_that_a_server_makes_up_bring_no_further_tracebacks(
    stage: Stage, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.listen(Dispatch)(raising(Oops("oops"), "plain"))
    await stage.open()
    for number in range(20):
        stage.sim.dispatch(f"MADE_UP_{number}_BY_A_SERVER", {})
    await stage.mark()
    assert gateway.metrics().listener_errors > 20
    assert len(caplog.records) == 1


@pytest.mark.asyncio
async def test_failures_that_go_on_are_counted_every_pause_and_forgotten_after_one_without(
    stage: Stage, gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propylon._listening.failures, "_PAUSE", 0.05)
    gateway.listen(Ping)(raising(Oops("oops"), "plain"))
    await stage.open()
    failing = gateway._listening.handlers._failures._failing
    # All in one turn of the loop, in which no pause can end.
    shard = gateway._life.shard
    shard.hold(True)
    received = gateway.metrics().received
    for _ in range(3):
        stage.sim.dispatch("MESSAGE_CREATE", message())
    await eventually(lambda: gateway.metrics().received == received + 3)
    shard.hold(False)
    await stage.mark()
    await eventually(lambda: not failing)
    assert [record.exc_info is not None for record in caplog.records] == [True, False]
    assert "failed like this 2 more times" in caplog.text
    await stage.say("MESSAGE_CREATE", message())
    assert [record.exc_info is not None for record in caplog.records] == [True, False, True]


@pytest.mark.asyncio
async def test_another_error_of_the_same_listener_has_its_traceback_too(
    stage: Stage, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    @gateway.listen
    def on(ping: Ping) -> None:
        if ping.content == "1":
            raise Oops("one")
        if ping.content == "2":
            raise Oops("two")
        raise ValueError("three")

    await stage.open()
    await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in (1, 2, 1, 3, 2)])
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [str(error) for error in errors] == ["one", "two", "three"]


@pytest.mark.asyncio
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_failing_on_error_is_logged(
    stage: Stage, gateway: Gateway, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.on_error(raising(Oops("handler"), "async" if is_async else "plain"))
    gateway.listen(Ready)(raising(Oops("listener"), "plain"))
    await stage.open()
    await eventually(lambda: caplog.records)
    assert [record.getMessage() for record in caplog.records] == ["on_error handler failed"]
    assert gateway.status is GatewayStatus.READY


@pytest.mark.asyncio
async def test_async_error_handlers_count_as_unfinished_calls(stage: Stage, gateway: Gateway) -> None:
    gate = asyncio.Event()

    @gateway.on_error
    async def report(error: Exception) -> None:
        await gate.wait()

    gateway.listen(Ping)(raising(Oops(), "plain"))
    await stage.open()
    await stage.say("MESSAGE_CREATE", message(), message(), message())
    assert gateway.metrics().pending == 3
    gate.set()
    await eventually(lambda: gateway.metrics().pending == 0)


@pytest.mark.asyncio
@KINDS
@pytest.mark.parametrize("eager", [True, False])
async def test_cancelled_error_is_no_error(
    stage: Stage,
    gateway: Gateway,
    kind: str,
    eager: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not eager:
        monkeypatch.setattr(propylon._delivery.consumer, "_EAGER", False)
    heard: list[str] = []
    gateway.listen(Ping)(raising(asyncio.CancelledError(), kind))
    gateway.listen(Ping)(lambda ping: heard.append(ping.content))
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("1"), message("2"))
    await eventually(lambda: gateway.metrics().pending == 0)
    assert heard == ["1", "2"]
    assert gateway.metrics().listener_errors == 0
    assert not caplog.records


@pytest.mark.asyncio
@KINDS
async def test_what_is_no_exception_is_told_to_the_loop(stage: Stage, gateway: Gateway, kind: str) -> None:
    class Stop(BaseException):
        pass

    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    heard: list[str] = []
    gateway.listen(Ping)(raising(Stop(), kind))
    gateway.listen(Ping)(lambda ping: heard.append(ping.content))
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("1"), message("2"))
    await eventually(lambda: len(told) == 2)
    assert [type(error) for error in told] == [Stop, Stop]
    assert heard == ["1", "2"]
    assert gateway.status is GatewayStatus.READY


@KINDS
@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("eager", [True, False])
def test_keyboard_interrupt_and_system_exit_end_run_with_the_connection_closed(
    propylon_simulator: Callable[..., Simulator],
    monkeypatch: pytest.MonkeyPatch,
    leave: type[BaseException],
    kind: str,
    eager: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """H4."""
    # Made here: an exception holds its traceback, and that the loop, the gateway and all.
    error = leave(3)
    if not eager:
        monkeypatch.setattr(propylon._delivery.consumer, "_EAGER", False)
    sim = propylon_simulator(guilds=0)
    gateway = make_gateway(sim)
    gateway.listen(Ready)(raising(error, kind))
    with pytest.raises(type(error)) as raised:
        gateway.run()
    assert raised.value is error
    assert gateway.status is GatewayStatus.DISCONNECTED
    (connection,) = sim.record()["connections"]
    assert connection["closed"]["by"] == "client_close"
    assert connection["closed"]["code"] == 1000
    gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("name", loop_factories())
@pytest.mark.parametrize("where", ["listener", "on_close", "on_error"])
def test_system_exit_ends_a_loop_of_the_users_own_too(
    propylon_simulator: Callable[..., Simulator], name: str, where: str
) -> None:
    """H4."""
    sim = propylon_simulator(guilds=0)
    gateway = make_gateway(sim)
    leave = raising(SystemExit(4), "plain")
    if where == "listener":
        gateway.listen(Ready)(leave)
    elif where == "on_error":
        gateway.listen(Ready)(raising(Oops(), "plain"))
        gateway.on_error(leave)
    else:
        gateway.on_close(leave)
        sim.script(1, steps.wait_ready(), steps.close(4004))

    async def main() -> None:
        async with gateway:
            await gateway.wait_closed()

    with pytest.raises(SystemExit, match="4"), asyncio.Runner(loop_factory=loop_factories()[name]) as runner:
        runner.run(main())
    assert gateway.status is GatewayStatus.DISCONNECTED
    assert sim.record()["connections"][0]["closed"]["by"] == ("server" if where == "on_close" else "client_close")
