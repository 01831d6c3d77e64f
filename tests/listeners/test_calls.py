"""What listeners get, in which order, and in which context."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import msgspec
import pytest

import propylon._delivery.consumer
import propylon._delivery.plans
from face.support import eventually, message
from listeners.conftest import Mark, Stage
from propylon import Dispatch, Gateway
from propylon.events import Event, MessageCreate, MessageDelete, Ready
from propylon.events._decoding import decoder_for
from propylon.snowflake import Snowflake

pytestmark = pytest.mark.asyncio


class Ping(Event, event="MESSAGE_CREATE"):
    content: str
    channel_id: Snowflake


class Tomorrow(Event, event="GUILD_TOMORROW"):
    id: Snowflake


async def test_each_listener_gets_what_it_asked_for(stage: Stage, gateway: Gateway) -> None:
    heard: dict[str, Any] = {}

    @gateway.listen
    def typed(event: MessageCreate) -> None:
        heard["typed"] = event

    @gateway.listen
    async def narrow(event: Ping) -> None:
        heard["narrow"] = event

    @gateway.listen
    def holder(event: Dispatch[MessageCreate]) -> None:
        heard["holder"] = event

    @gateway.listen
    def everything(event: Dispatch) -> None:
        heard.setdefault("everything", []).append(event.type)

    @gateway.listen
    def either(event: Ready | MessageDelete) -> None:
        heard.setdefault("either", []).append(type(event))

    gateway.listen(MessageCreate)(lambda event: heard.__setitem__("lambda", event))
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("hello"))
    await stage.say("MESSAGE_DELETE", {"id": "1", "channel_id": "2"})
    assert isinstance(heard["typed"], MessageCreate)
    assert heard["typed"].content == "hello"
    assert heard["narrow"] == Ping(content="hello", channel_id=Snowflake(42))
    assert heard["holder"].json()["content"] == "hello"
    assert heard["everything"] == [
        "READY",
        "PROPYLON_MARK",
        "MESSAGE_CREATE",
        "PROPYLON_MARK",
        "MESSAGE_DELETE",
        "PROPYLON_MARK",
    ]
    assert heard["either"] == [Ready, MessageDelete]
    assert heard["lambda"] is heard["typed"]


async def test_a_narrow_class_may_name_an_event_that_we_do_not_know(stage: Stage, gateway: Gateway) -> None:
    heard: list[Any] = []
    gateway.listen(Tomorrow)(heard.append)
    await stage.open()
    await stage.say("GUILD_YESTERDAY", {"id": "1"})
    await stage.say("GUILD_TOMORROW", {"id": "2"})
    assert heard == [Tomorrow(id=Snowflake(2))]


async def test_gateway_and_dispatch_are_injected_in_any_order(stage: Stage, gateway: Gateway) -> None:
    heard: dict[str, Any] = {}

    @gateway.listen
    def one(event: Ping, bot: Gateway) -> None:
        heard["one"] = (event, bot)

    @gateway.listen
    async def two(event: Ping, dispatch: Dispatch) -> None:
        heard["two"] = (event, dispatch)

    @gateway.listen
    def three(event: Ping, bot: Gateway, dispatch: Dispatch[Ping]) -> None:
        heard["three"] = (event, bot, dispatch)

    @gateway.listen
    async def four(event: Ping, dispatch: Dispatch, bot: Gateway) -> None:
        heard["four"] = (event, bot, dispatch)

    @gateway.listen
    def five(event: Dispatch[Ping], bot: Gateway) -> None:
        heard["five"] = (event, bot)

    await stage.open()
    await stage.say("MESSAGE_CREATE", message())
    ping, dispatch = heard["two"]
    assert ping == Ping(content="hi", channel_id=Snowflake(42))
    assert dispatch.type == "MESSAGE_CREATE"
    assert heard["one"] == (ping, gateway)
    assert heard["three"] == heard["four"] == (ping, gateway, dispatch)
    assert heard["five"] == (dispatch, gateway)


async def test_an_awaitable_from_a_plain_function_is_awaited(stage: Stage, gateway: Gateway) -> None:
    done: list[str] = []
    future = asyncio.get_running_loop().create_future()

    async def work(name: str) -> None:
        await asyncio.sleep(0)
        done.append(name)

    class Later:
        def __await__(self) -> Any:
            yield from work("awaitable").__await__()

    gateway.listen(Ready)(lambda ready: work("coroutine"))
    gateway.listen(Ready)(lambda ready: asyncio.ensure_future(work("task")))
    gateway.listen(Ready)(lambda ready: Later())
    gateway.listen(Ready)(lambda ready: future)
    gateway.listen(Ready)(lambda ready: "no awaitable")
    gateway.listen(Ready)(functools.partial(lambda name, ready: work(name), "partial"))
    await stage.open()
    await eventually(lambda: len(done) == 4)
    assert sorted(done) == ["awaitable", "coroutine", "partial", "task"]
    await eventually(lambda: gateway.metrics().pending == 1)
    future.set_result(None)
    await eventually(lambda: gateway.metrics().pending == 0)


async def test_an_event_is_decoded_once_for_each_type(
    stage: Stage, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Any] = []

    def counting(kind: Any, mending: bool = True) -> Callable[[Any], Any]:
        decode = decoder_for(kind, mending=mending)

        def counted(dispatch: Any) -> Any:
            decoded.append(kind)
            return decode(dispatch)

        return counted

    monkeypatch.setattr(propylon._delivery.plans, "decoder_for", counting)
    monkeypatch.setattr("propylon.events._decoding.decoder_for", counting)
    heard: list[Any] = []
    for kind in (MessageCreate, Ping, MessageCreate, Ping, MessageCreate, MessageCreate):
        gateway.listen(kind)(heard.append)
    gateway.listen(Dispatch[MessageCreate])(lambda dispatch: heard.append(dispatch.data))
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("1"))
    assert [kind for kind in decoded if kind is not Mark] == [MessageCreate, Ping]
    assert len({id(event) for event in heard}) == 2
    await stage.say("MESSAGE_CREATE", message("2"))
    assert [kind for kind in decoded if kind is not Mark] == [MessageCreate, Ping] * 2
    assert [event.content for event in heard] == ["1"] * 7 + ["2"] * 7


async def test_what_is_not_touched_is_not_decoded(
    stage: Stage, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(kind: Any, mending: bool = True) -> Any:
        assert kind is Mark, "decoded"
        return decoder_for(kind, mending=mending)

    monkeypatch.setattr(propylon._delivery.plans, "decoder_for", never)
    monkeypatch.setattr("propylon.events._decoding.decoder_for", never)
    heard: list[bytes] = []
    gateway.listen(Dispatch[MessageCreate])(lambda dispatch: heard.append(dispatch.raw))
    await stage.open()
    await stage.say("MESSAGE_CREATE", message())
    assert msgspec.json.decode(heard[0]) == message()


async def test_listeners_are_called_in_the_order_in_which_they_were_added(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []
    for number, kind in enumerate([Ping, Dispatch, MessageCreate, Ping, MessageCreate | MessageDelete]):
        gateway.listen(kind)(lambda event, number=number: heard.append(number))
    await stage.open()
    heard.clear()
    await stage.say("MESSAGE_CREATE", message(), message())
    assert heard == [*[0, 1, 2, 3, 4] * 2, 1]


def _plain_factory(loop: Any, coroutine: Any, **options: Any) -> Any:
    return asyncio.Task(coroutine, loop=loop, **options)


@pytest.mark.parametrize("how", ["eager", "as on 3.11", "task factory", "eager task factory"])
async def test_an_async_listener_runs_to_its_first_suspension_before_the_next_event(
    stage: Stage, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "as on 3.11":
        monkeypatch.setattr(propylon._delivery.consumer, "_EAGER", False)
    elif how == "task factory":
        asyncio.get_running_loop().set_task_factory(_plain_factory)
    elif how == "eager task factory":
        if not hasattr(asyncio, "eager_task_factory"):
            pytest.skip("from Python 3.12 on")
        if "uvloop" in type(asyncio.get_running_loop()).__module__:
            pytest.skip("uvloop passes eager_start to the factory, which asyncio's own does not take")
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    begun: list[str] = []
    ended: list[str] = []
    gate = asyncio.Event()

    @gateway.listen
    async def first(ping: Ping) -> None:
        begun.append(f"first {ping.content}")
        await gate.wait()
        ended.append(ping.content)

    @gateway.listen
    async def second(ping: Ping) -> None:
        begun.append(f"second {ping.content}")

    @gateway.listen
    async def cleans_up(ping: Ping) -> None:
        # A listener that never suspends may still use timeouts and tasks.
        async with asyncio.timeout(5):  # noqa: ASYNC100
            assert asyncio.current_task() is not None

    await stage.open()
    await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(50)])
    await eventually(lambda: len(begun) == 100)
    assert begun == [f"{name} {number}" for number in range(50) for name in ("first", "second")]
    await eventually(lambda: gateway.metrics().pending == 50)
    assert not ended
    gate.set()
    await eventually(lambda: gateway.metrics().pending == 0)
    assert ended == [str(number) for number in range(50)]
    assert gateway.metrics().listener_errors == 0


@pytest.mark.parametrize("how", ["eager", "as on 3.11", "task factory"])
async def test_no_listener_overtakes_an_earlier_one_of_the_same_event(
    stage: Stage, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "as on 3.11":
        monkeypatch.setattr(propylon._delivery.consumer, "_EAGER", False)
    elif how == "task factory":
        asyncio.get_running_loop().set_task_factory(_plain_factory)
    order: list[Any] = []

    def listener(number: int, is_async: bool) -> Callable[[Any], Any]:
        async def later(event: Any) -> None:
            order.append(number)
            await asyncio.sleep(0)

        return later if is_async else lambda event: order.append(number)

    # Several classes, so that the order crosses the steps of the plan; the last ones suspend.
    kinds = [Ping, Ping, Dispatch[MessageCreate], Ping, MessageCreate, MessageCreate, Ping, Dispatch[MessageCreate]]
    for number, kind in enumerate(kinds):
        gateway.listen(kind, priority=-number)(listener(number, number % 2 == 0 or number > 5))
    await stage.open()
    await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(20)])
    assert order == list(range(len(kinds))) * 20


async def test_without_eager_tasks_a_removed_listener_is_skipped_and_an_event_half_handed_out_has_not_finished(
    stage: Stage, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propylon._delivery.consumer, "_EAGER", False)
    heard: list[str] = []
    waiting: list[int | None] = []

    @gateway.listen
    async def first(ping: Ping) -> None:
        heard.append(f"first {ping.content}")
        waiting.extend(dispatch.sequence for dispatch in gateway._life.consumer.waiting())
        last.remove()

    @gateway.listen
    def second(ping: Ping, dispatch: Dispatch) -> None:
        heard.append(f"second {ping.content}")
        waiting.append(dispatch.sequence)

    @gateway.listen
    def last(ping: Ping) -> None:
        heard.append("removed")

    await stage.open()
    await stage.say("MESSAGE_CREATE", message("1"))
    assert heard == ["first 1", "second 1"]
    sequence = waiting[-1]
    assert waiting[0] == sequence is not None


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("kind", ["plain", "async", "callable object"])
async def test_what_a_listener_sets_in_its_context_does_not_leak(
    stage: Stage, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, kind: str, eager: bool
) -> None:
    if not eager:
        monkeypatch.setattr(propylon._delivery.consumer, "_EAGER", False)
    variable: ContextVar[str] = ContextVar("variable", default="nothing")
    variable.set("from open()")
    seen: list[str] = []

    def plain(ping: Ping) -> None:
        seen.append(variable.get())
        variable.set("leaked")

    async def later(ping: Ping) -> None:
        plain(ping)
        await asyncio.sleep(0)
        assert variable.get() == "leaked"

    class Object:
        def __call__(self, ping: Ping, dispatch: Dispatch) -> None:
            plain(ping)

    functions: dict[str, Callable[..., Awaitable[None] | None]] = {
        "plain": plain,
        "async": later,
        "callable object": Object(),
    }
    gateway.listen(Ping)(functions[kind])
    gateway.listen(Ping)(functions[kind])
    await stage.open()
    await stage.say("MESSAGE_CREATE", message(), message())
    await eventually(lambda: len(seen) == 4)
    assert seen == ["from open()"] * 4
    assert variable.get() == "from open()"


async def test_the_context_is_that_of_the_opening_whoever_frees_the_way(stage: Stage, gateway: Gateway) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("opening")
    seen: list[str] = []
    gateway.listen(Ping)(lambda ping: seen.append(variable.get()))
    async with gateway.batches(MessageCreate, size=300) as batches:  # full in the middle of a drain
        await stage.open()
        variable.set("reading")
        for _ in range(2000):
            stage.sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: batches._blocking)
        read = 0
        async for batch in batches:
            read += len(batch)
            if read == 2000:
                break
    assert set(seen) == {"opening"}
    assert len(seen) == 2000


async def test_each_gateway_of_a_loop_has_the_context_of_its_own_opening(stage: Stage, gateway: Gateway) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    other = Stage(stage.sim)
    seen: list[tuple[str, str]] = []
    for name, one in (("first", stage), ("second", other)):
        one.gateway.listen(Ping)(lambda ping, name=name: seen.append((name, variable.get())))
        variable.set(name)
        await one.open()
    await stage.say("MESSAGE_CREATE", message())
    await other.mark()
    await other.gateway.close()
    assert sorted(seen) == [("first", "first"), ("second", "second")]
