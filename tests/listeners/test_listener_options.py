"""Options of ``listen``: priority, once, concurrency."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

import propylon._delivery.consumer
from face.support import eventually, loop_factories, make_gateway, message
from listeners.conftest import Stage
from propylon import Dispatch, Gateway
from propylon.events import Event, MessageCreate, MessageDelete
from propylon.testing import Simulator

EAGER = pytest.mark.parametrize("eager", [True, False])


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


@pytest.fixture
def without_eager_tasks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.getfixturevalue("eager"):
        monkeypatch.setattr(propylon._delivery.consumer, "_EAGER", False)


def messages(count: int) -> list[dict[str, Any]]:
    return [message(str(number)) for number in range(count)]


# ---------------------------------------------------------------- priority


@pytest.mark.asyncio
async def test_a_higher_priority_is_called_first_and_equals_in_the_order_of_adding(
    stage: Stage, gateway: Gateway
) -> None:
    heard: list[str] = []
    kinds: list[Any] = [Ping, Dispatch[MessageCreate], MessageCreate, Ping, Ping, MessageCreate]
    for name, kind, priority in zip("abcdef", kinds, [0, -5, 10, 0, 10, 3], strict=True):
        gateway.listen(kind, priority=priority)(lambda event, name=name: heard.append(name))
    await stage.open()
    await stage.say("MESSAGE_CREATE", message())
    assert "".join(heard) == "cefadb"


# ---------------------------------------------------------------- once


@pytest.mark.asyncio
@EAGER
@pytest.mark.parametrize("kind", ["plain", "async", "async that suspends", "one at a time"])
@pytest.mark.usefixtures("without_eager_tasks")
async def test_once_is_one_call_under_a_flood(stage: Stage, gateway: Gateway, kind: str, eager: bool) -> None:
    heard: list[str] = []
    gate = asyncio.Event()
    options: dict[str, Any] = {"concurrency": 1} if kind == "one at a time" else {}

    def plain(ping: Ping, dispatch: Dispatch, bot: Gateway) -> None:
        assert bot is gateway
        assert dispatch.type == "MESSAGE_CREATE"
        heard.append(ping.content)

    async def later(ping: Ping, dispatch: Dispatch, bot: Gateway) -> None:
        plain(ping, dispatch, bot)
        if kind != "async":
            await gate.wait()

    function: Callable[..., Any] = plain if kind == "plain" else later
    listener = gateway.listen(once=True, **options)(function)
    await stage.open()
    await stage.say("MESSAGE_CREATE", *messages(300))
    gate.set()
    await eventually(lambda: gateway.metrics().pending == 0)
    assert heard == ["0"]
    assert listener.removed
    await stage.say("MESSAGE_CREATE", message())
    assert gateway.metrics().unheard_by_type["MESSAGE_CREATE"] >= 1


@pytest.mark.asyncio
async def test_once_is_not_used_up_by_what_does_not_fit_and_is_by_what_fails(
    stage: Stage, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    @gateway.listen(Ping, once=True)
    def on(ping: Ping) -> None:
        heard.append(ping.content)
        raise ValueError("oops")

    await stage.open()
    await stage.say("MESSAGE_CREATE", {"content": 1}, message("1"), message("2"))
    assert heard == ["1"]
    assert (gateway.metrics().undecodable, gateway.metrics().listener_errors) == (1, 1)
    assert len(caplog.records) == 2


# ---------------------------------------------------------------- concurrency


@pytest.mark.asyncio
@EAGER
@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.usefixtures("without_eager_tasks")
async def test_no_more_than_so_many_calls_are_unfinished_and_the_rest_waits_in_order(
    stage: Stage, gateway: Gateway, limit: int, eager: bool
) -> None:
    begun: list[str] = []
    running = highest = 0
    others: list[str] = []
    gate = asyncio.Semaphore(0)

    @gateway.listen(concurrency=limit)
    async def on(ping: Ping, dispatch: Dispatch, bot: Gateway) -> None:
        nonlocal running, highest
        begun.append(ping.content)
        running += 1
        highest = max(highest, running)
        await gate.acquire()
        running -= 1

    gateway.listen(Ping)(lambda ping: others.append(ping.content))
    await stage.open()
    await stage.say("MESSAGE_CREATE", *messages(20))
    # The other listeners have long been called; what waits counts as pending.
    assert others == [str(number) for number in range(20)]
    assert begun == [str(number) for number in range(limit)]
    assert gateway.metrics().pending == 20
    for _ in range(20):
        gate.release()
    await eventually(lambda: gateway.metrics().pending == 0)
    assert begun == [str(number) for number in range(20)]
    assert highest == limit


@pytest.mark.asyncio
async def test_one_at_a_time_is_done_with_an_event_before_it_begins_the_next(stage: Stage, gateway: Gateway) -> None:
    order: list[str] = []

    @gateway.listen(concurrency=1)
    async def on(ping: Ping) -> None:
        order.append(f"begin {ping.content}")
        for _ in range(int(ping.content) % 3):
            await asyncio.sleep(0)
        order.append(f"end {ping.content}")

    await stage.open()
    await stage.say("MESSAGE_CREATE", *messages(200))
    await eventually(lambda: gateway.metrics().pending == 0)
    assert order == [f"{what} {number}" for number in range(200) for what in ("begin", "end")]


@pytest.mark.asyncio
async def test_what_waits_for_its_turn_holds_the_engine_back(
    propylon_simulator: Callable[..., Simulator], gateway_to: Any
) -> None:
    sim = propylon_simulator(guilds=0, events=["MESSAGE_CREATE"], rate=None, count=2000, start="manual")
    gateway: Gateway = gateway_to(sim, max_pending=50)
    heard: list[int] = []
    gate = asyncio.Event()
    highest = 0

    @gateway.listen(concurrency=1)
    async def on(dispatch: Dispatch[MessageCreate]) -> None:
        nonlocal highest
        highest = max(highest, gateway.metrics().pending)
        await gate.wait()
        heard.append(dispatch.sequence or 0)

    await gateway.open(timeout=10)
    sim.flood()
    await eventually(lambda: gateway.metrics().received == 2001 and gateway.metrics().pending == 50)
    metrics = gateway.metrics()
    assert metrics.queued > 1500
    gate.set()
    await eventually(lambda: len(heard) == 2000, timeout=30)
    assert heard == list(range(2, 2002))
    assert highest <= 50


@pytest.mark.asyncio
async def test_an_error_and_a_cancelled_call_let_the_next_one_in(stage: Stage, gateway: Gateway) -> None:
    errors: list[Exception] = []
    heard: list[str] = []
    gateway.on_error(errors.append)

    @gateway.listen(concurrency=1)
    async def on(ping: Ping) -> None:
        await asyncio.sleep(0)
        if ping.content == "0":
            raise ValueError("oops")
        if ping.content == "1":
            raise asyncio.CancelledError
        heard.append(ping.content)

    await stage.open()
    await stage.say("MESSAGE_CREATE", *messages(4))
    await eventually(lambda: gateway.metrics().pending == 0)
    assert heard == ["2", "3"]
    assert [str(error) for error in errors] == ["oops"]


@pytest.mark.asyncio
async def test_removing_skips_what_waits_for_its_turn(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []
    gate = asyncio.Event()

    @gateway.listen(concurrency=1)
    async def on(ping: Ping) -> None:
        heard.append(ping.content)
        await gate.wait()

    await stage.open()
    await stage.say("MESSAGE_CREATE", *messages(5))
    on.remove()
    gate.set()
    await eventually(lambda: gateway.metrics().pending == 0)
    assert heard == ["0"]


@pytest.mark.asyncio
async def test_a_listener_that_takes_turns_may_wait_for_its_own_event(stage: Stage, gateway: Gateway) -> None:
    talks: list[list[str]] = []

    @gateway.listen(concurrency=1)
    async def on(ping: Ping) -> None:
        answer = await gateway.wait_for(Ping)
        talks.append([ping.content, answer.content])

    await stage.open()
    for number in range(3):
        await stage.say("MESSAGE_CREATE", message(str(number)))
        await eventually(lambda: [wait.done for wait in gateway._listening._waits] == [False])
    # 0 waited for 1, and only then began 1, which waited for 2.
    await eventually(lambda: len(talks) == 2)
    assert talks == [["0", "1"], ["1", "2"]]


@pytest.mark.asyncio
async def test_each_call_that_takes_turns_has_a_context_of_its_own(stage: Stage, gateway: Gateway) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="clean")
    seen: list[str] = []

    @gateway.listen(concurrency=1)
    async def on(ping: Ping) -> None:
        seen.append(variable.get())
        variable.set("leaked")
        await asyncio.sleep(0)

    await stage.open()
    await stage.say("MESSAGE_CREATE", *messages(5))
    await eventually(lambda: gateway.metrics().pending == 0)
    assert seen == ["clean"] * 5


@pytest.mark.parametrize("name", loop_factories())
def test_calls_that_one_loop_left_unfinished_hold_nobody_back_in_the_next(
    propylon_simulator: Callable[..., Simulator], name: str
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway = make_gateway(sim)
    begun: list[str] = []
    stuck = True

    @gateway.listen(concurrency=1)
    async def on(ping: Ping) -> None:
        begun.append(ping.content)
        if stuck:
            await asyncio.get_running_loop().create_future()

    async def main(*contents: str) -> None:
        await gateway.open(timeout=10)
        for content in contents:
            sim.dispatch("MESSAGE_CREATE", message(content))
        await eventually(lambda: contents[0] in begun and gateway.metrics().pending == len(contents) * stuck)
        await gateway.close(resumable=True)

    with asyncio.Runner(loop_factory=loop_factories()[name]) as first:
        first.run(main("1", "2"))
        stuck = False
        with asyncio.Runner(loop_factory=loop_factories()[name]) as second:
            second.run(main("3"))
    assert begun == ["1", "3"]


# ---------------------------------------------------------------- where


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["plain", "async", "one at a time"])
async def test_where_is_asked_before_once_is_used_up_and_a_turn_is_waited_for(
    stage: Stage, gateway: Gateway, kind: str
) -> None:
    heard: list[str] = []

    def plain(ping: Ping, dispatch: Dispatch) -> None:
        assert dispatch.type == "MESSAGE_CREATE"
        heard.append(ping.content)

    async def later(ping: Ping, dispatch: Dispatch) -> None:
        plain(ping, dispatch)
        await asyncio.sleep(0)

    options: dict[str, Any] = {"concurrency": 1} if kind == "one at a time" else {}
    function: Callable[..., Any] = plain if kind == "plain" else later
    gateway.listen(where=lambda ping: int(ping.content) > 2, once=True, **options)(function)
    gateway.listen(where=lambda ping: int(ping.content) % 2, **options)(function)
    await stage.open()
    await stage.say("MESSAGE_CREATE", *messages(6))
    await eventually(lambda: gateway.metrics().pending == 0)
    assert sorted(heard) == ["1", "3", "3", "5"]


@pytest.mark.asyncio
async def test_an_error_of_where_is_the_listeners(stage: Stage, gateway: Gateway) -> None:
    errors: list[Exception] = []
    heard: list[str] = []
    gateway.on_error(errors.append)
    gateway.listen(Ping, where=lambda ping: 1 / int(ping.content))(lambda ping: heard.append(ping.content))
    await stage.open()
    await stage.say("MESSAGE_CREATE", *messages(2))
    assert heard == ["1"]
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert gateway.metrics().listener_errors == 1


def test_a_where_that_cannot_be_asked_is_told() -> None:
    async def where(ping: Ping) -> bool:
        return True

    for wrong in (where, 7):
        with pytest.raises(TypeError, match="where= takes a"):
            Gateway("token").listen(Ping, where=wrong)(lambda ping: None)  # type: ignore[call-overload]


class AsyncCallable:
    async def __call__(self, ping: Ping) -> None: ...


async def plain_async(ping: Ping) -> None: ...


@pytest.mark.parametrize("function", [plain_async, AsyncCallable(), functools.partial(plain_async)])
def test_concurrency_is_for_whatever_is_async(function: Any) -> None:
    Gateway("token").listen(Ping, concurrency=2)(function)


class Wrapped:
    """A callable object that is not async, but returns a coroutine."""

    def __init__(self, function: Callable[[Ping], Awaitable[None]]) -> None:
        self.function = function

    def __call__(self, ping: Ping) -> Awaitable[None]:
        return self.function(ping)


def wrapped(function: Callable[[Ping], Awaitable[None]]) -> Callable[[Ping], Awaitable[None]]:
    @functools.wraps(function)
    def wrapper(ping: Ping) -> Any:
        return function(ping)

    return wrapper


def hidden(function: Callable[[Ping], Awaitable[None]]) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.asyncio
@pytest.mark.parametrize("wrap", [Wrapped, wrapped, hidden], ids=["object", "wraps", "arguments"])
async def test_concurrency_holds_for_what_returns_a_coroutine(stage: Stage, gateway: Gateway, wrap: Any) -> None:
    begun: list[str] = []
    done: list[str] = []
    gate = asyncio.Event()

    async def on(ping: Ping) -> None:
        begun.append(ping.content)
        await gate.wait()
        done.append(ping.content)

    gateway.listen(Ping, concurrency=2)(wrap(on))
    await stage.open()
    await stage.say("MESSAGE_CREATE", *messages(10))
    assert begun == ["0", "1"]
    gate.set()
    await eventually(lambda: len(done) == 10)
    assert begun == [str(number) for number in range(10)]


@pytest.mark.asyncio
async def test_concurrency_of_an_object_that_returns_nothing_is_no_error(stage: Stage, gateway: Gateway) -> None:
    class Plain:
        calls = 0

        def __call__(self, ping: Ping) -> None:
            self.calls += 1

    plain = Plain()
    gateway.listen(concurrency=1)(plain)
    await stage.open()
    await stage.say("MESSAGE_CREATE", *messages(10))
    await eventually(lambda: plain.calls == 10)
    assert gateway.metrics().listener_errors == 0


def test_concurrency_of_a_plain_function_is_a_type_error() -> None:
    gateway = Gateway("token")

    def on(ping: Ping) -> None: ...

    with pytest.raises(TypeError, match=r"on: concurrency= is for async listeners.*Make it `async def`"):
        gateway.listen(concurrency=1)(on)
    with pytest.raises(TypeError, match="concurrency= is for async listeners"):
        gateway.listen(Ping, concurrency=1)(lambda ping: None)
    assert gateway._listening.registry.entries == []


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"concurrency": 0}, ValueError, "concurrency must be at least 1, not 0"),
        ({"concurrency": True}, TypeError, "concurrency must be a whole number, not True"),
        ({"concurrency": 1.5}, TypeError, "concurrency must be a whole number, not 1.5"),
        ({"priority": None}, TypeError, "priority must be a whole number, not None"),
        ({"priority": "high"}, TypeError, "priority must be a whole number, not 'high'"),
    ],
)
def test_impossible_options_are_told(options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Gateway("token").listen(MessageDelete, **options)
