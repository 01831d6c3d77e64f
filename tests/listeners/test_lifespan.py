"""The lifespan: around the run, and its value where a listener asks for it by annotation."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Protocol

import pytest

from face.support import eventually, make_gateway, message
from propylon import AuthenticationFailed, Closed, Dispatch, Gateway, GatewayStatus, Listeners, listen
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps

Start = Callable[..., Simulator]


class Http:
    """What a REST client would be."""


class Session(Http):
    """A special one."""


@contextlib.asynccontextmanager
async def told(gateway: Gateway) -> AsyncIterator[Session]:
    yield Session()


@contextlib.asynccontextmanager
async def told_by_a_generator(gateway: Gateway) -> AsyncGenerator[Session, None]:
    yield Session()


@contextlib.asynccontextmanager
async def untold(gateway: Gateway) -> AsyncIterator[Any]:
    yield Session()


def never_looked_up(gateway: Gateway) -> "contextlib.AbstractAsyncContextManager[Unknown]":  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore
    return untold(gateway)


@pytest.mark.asyncio
@pytest.mark.parametrize("lifespan", [told, told_by_a_generator, untold, never_looked_up])
async def test_listeners_get_its_value_by_its_class_or_a_base(propylon_simulator: Start, lifespan: Any) -> None:
    sim = propylon_simulator(guilds=0)
    gateway = make_gateway(sim, lifespan=lifespan)
    given: list[object] = []

    @gateway.listen
    async def on_message(message: MessageCreate, gateway: Gateway, http: Session, dispatch: Dispatch) -> None:
        given.extend([http, gateway, dispatch.type])
        raise LookupError

    @gateway.listen(where=lambda message: True, concurrency=1)
    async def in_turn(message: MessageCreate, http: Http, other: int = 5) -> None:
        given.extend([http, other])

    @gateway.on_error
    async def on_error(error: Exception, http: Session) -> None:
        given.extend([http, type(error)])

    class Group(Listeners):
        @listen
        def method(self, message: MessageCreate, http: Session) -> None:
            given.append(http)

    gateway.add(Group())

    @gateway.on_close
    def on_close(closed: Closed, http: Http) -> None:
        given.append(http)

    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.serve())
        await sim.wait_for("ready")
        sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: len(given) == 8)
        await gateway.close()
    sessions = [value for value in given if isinstance(value, Session)]
    assert (len(sessions), len(set(map(id, sessions)))) == (5, 1)
    assert [value for value in given if not isinstance(value, Session)] == [gateway, "MESSAGE_CREATE", 5, LookupError]


@pytest.mark.parametrize("kind", [int, object])
def test_what_it_does_not_give_is_refused_where_that_is_told(kind: type) -> None:
    gateway = Gateway("token", lifespan=told)

    def on_message(message: MessageCreate, other: Any) -> None: ...

    on_message.__annotations__["other"] = kind
    with pytest.raises(
        TypeError, match=r"'other'; annotate it Gateway or Dispatch, or .*Session as the lifespan gives"
    ):
        gateway.listen(on_message)


def test_without_one_nothing_is_given() -> None:
    def on_message(message: MessageCreate, http: Session) -> None: ...

    with pytest.raises(TypeError, match="'http'; annotate it Gateway or Dispatch, or give it a default"):
        Gateway("token").listen(on_message)


@pytest.mark.asyncio
async def test_what_it_does_not_give_is_an_error_of_the_call_where_nothing_told(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0)
    gateway = make_gateway(sim, lifespan=untold)
    errors: list[Exception] = []
    gateway.on_error(errors.append)

    @gateway.listen
    def on_message(message: MessageCreate, number: int) -> None: ...

    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.serve())
        await sim.wait_for("ready")
        sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: errors)
        await gateway.close()
    assert "on_message: nothing can be passed for parameter 'number': it takes a builtins.int" in str(errors[0])


@pytest.mark.asyncio
async def test_open_does_not_begin_it(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim, lifespan=told)
    errors: list[Exception] = []
    gateway.on_error(errors.append)

    @gateway.listen
    def on_message(message: MessageCreate, http: Session) -> None: ...

    await gateway.open(timeout=10)
    sim.dispatch("MESSAGE_CREATE", message())
    await eventually(lambda: errors)
    assert "there only under serve() or run()" in str(errors[0])


@pytest.mark.asyncio
async def test_it_is_left_however_the_run_ends(propylon_simulator: Start) -> None:
    steps_of: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(gateway: Gateway) -> AsyncIterator[None]:
        steps_of.append(gateway.status.name)
        try:
            yield
        except BaseException as error:
            steps_of.append(type(error).__name__)
            raise
        finally:
            steps_of.append(gateway.status.name)

    sim = propylon_simulator(guilds=0)
    sim.script("next", steps.wait_ready(), steps.close(4004))
    with pytest.raises(AuthenticationFailed):
        await make_gateway(sim, lifespan=lifespan).serve()
    assert steps_of == ["UNCONNECTED", "AuthenticationFailed", "DISCONNECTED"]
    steps_of.clear()
    serving = asyncio.create_task(make_gateway(sim, lifespan=lifespan).serve())
    await sim.wait_for("ready", count=2)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert steps_of == ["UNCONNECTED", "CancelledError", "DISCONNECTED"]


@pytest.mark.asyncio
async def test_a_gateway_is_served_once_at_a_time(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0)
    gateway = make_gateway(sim)
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.serve())
        await eventually(lambda: gateway.status is GatewayStatus.READY)
        with pytest.raises(RuntimeError, match="being served already"):
            await gateway.serve()
        await gateway.close()


async def without_decorator(gateway: Gateway) -> AsyncIterator[int]:
    yield 5


@pytest.mark.parametrize("wrong", [5, without_decorator, eventually])
def test_what_is_no_lifespan_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"@contextlib\.asynccontextmanager"):
        Gateway("token", lifespan=wrong)


@pytest.mark.asyncio
async def test_a_function_that_gives_no_context_manager_is_refused() -> None:
    wrong: Any = lambda gateway: 5  # noqa: E731
    with pytest.raises(TypeError, match="this one gave 5"):
        await Gateway("token", lifespan=wrong).serve()


class Clock(Protocol):
    """As injected things are annotated: nothing that could be checked at run time."""

    def now(self) -> float: ...


class Stopped:
    def now(self) -> float:
        return 0.0


STOPPED = Stopped()


def test_a_protocol_with_a_default_is_left_alone_whatever_the_lifespan_gives() -> None:
    for lifespan in (None, told, untold):
        gateway = Gateway("token", lifespan=lifespan)

        @gateway.listen
        def on(message: MessageCreate, clock: Clock = STOPPED) -> float:
            return clock.now()

        assert on._entry.call(object()) == 0.0
    with pytest.raises(TypeError, match="nothing can be passed for parameter 'clock'"):

        @Gateway("token").listen
        def needs(message: MessageCreate, clock: Clock) -> None: ...


@pytest.mark.parametrize("lifespan", [told, untold])
def test_two_parameters_that_ask_for_it_are_refused(lifespan: Any) -> None:
    with pytest.raises(TypeError, match="parameters 'first' and 'second' both ask for the value of the lifespan"):

        @Gateway("token", lifespan=lifespan).listen
        def on(message: MessageCreate, first: Session, second: Session) -> None: ...


@pytest.mark.asyncio
async def test_a_lifespan_that_swallows_the_first_signal_leaves_no_cancellation_behind(
    propylon_simulator: Start,
) -> None:
    """What the user's coroutine does after `serve` is not cancelled for it."""

    @contextlib.asynccontextmanager
    async def swallows(gateway: Gateway) -> AsyncIterator[None]:
        signal.raise_signal(signal.SIGTERM)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        yield

    before = signal.getsignal(signal.SIGTERM)
    gateway = make_gateway(propylon_simulator(guilds=0), lifespan=swallows)
    await gateway.serve()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert signal.getsignal(signal.SIGTERM) is before
