"""``where=`` on listeners and batches, over the simulator."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually, message, open_and_quiet
from face.test_metrics import adds_up
from listeners.conftest import Stage
from propylon import Dispatch, Gateway, ModelError, field
from propylon._listening.registry import EVENT_INDEX
from propylon.events import Event, MessageCreate, MessageDelete, MessageUpdate
from propylon.testing import Simulator

pytestmark = pytest.mark.asyncio

BOT = {"id": "8", "username": "bot", "discriminator": "0", "avatar": None, "bot": True}


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


async def feed(gateway: Gateway, generation: int, dispatch: Dispatch[Any], route: int | tuple[int, ...]) -> None:
    """Return when its listeners have been called: at the loop's next turn, where those before it took long."""
    gateway._life.consumer.feed(generation, [dispatch], [route])
    waits = gateway._life.consumer.handed_out()
    if waits is not None:
        await waits


async def test_a_listener_gets_what_matches_and_nothing_else(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []

    @gateway.listen(where=(field("guild_id") == 41) & field("content").startswith("!"))
    def command(message: MessageCreate) -> None:
        heard.append(message.content)

    @gateway.listen(MessageCreate, where=~field("author.bot").is_true())
    async def human(message: Any) -> None:
        heard.append(f"human {message.content}")

    await stage.open()
    await stage.say(
        "MESSAGE_CREATE",
        message("!a"),
        message("b"),
        message("!c", guild_id="40", author=BOT),
        message("!d", author=BOT),
    )
    assert heard == ["!a", "human !a", "human b", "!d"]
    metrics = gateway.metrics()
    assert metrics.filtered_by_type == {"MESSAGE_CREATE": 1}
    assert metrics.delivered_by_type["MESSAGE_CREATE"] == 3
    assert adds_up(metrics)


async def test_filtered_events_never_wake_python(
    propylon_simulator: Callable[..., Simulator], gateway_to: Callable[..., Gateway]
) -> None:
    events = 10_000
    sim = propylon_simulator(guilds=2, rate=None, count=events, start="manual")
    gateway = gateway_to(sim)
    heard: list[Any] = []
    for number in range(3):
        gateway.listen(Dispatch, where=field("guild_id") == number)(heard.append)
    gateway.listen(MessageCreate, where=field("content").contains("\0"))(heard.append)
    await open_and_quiet(sim, gateway)
    before = gateway.metrics()
    sim.flood()
    await sim.wait_for("traffic_done", timeout=60)
    await eventually(lambda: gateway.metrics().received == before.received + events)
    after = gateway.metrics()
    assert (after.wakeups, after.delivered, after.unheard) == (before.wakeups, before.delivered, before.unheard)
    assert after.filtered - before.filtered == events == sum(after.filtered_by_type.values()) - before.filtered
    assert adds_up(after)
    assert heard == []
    assert gateway.session is not None
    assert gateway.session.sequence == 4 + events  # READY, two guilds, a mark


async def test_each_of_many_listeners_gets_exactly_its_own(stage: Stage, gateway: Gateway) -> None:
    """More filters on one event than the engine tells by bits."""
    heard: dict[int, list[str]] = {number: [] for number in range(100)}
    for number, mine in heard.items():
        # Half of them are found by their value, half are asked one by one.
        where = (
            field("channel_id") == number
            if number % 2
            else (number <= field("channel_id")) & (field("channel_id") < number + 1)
        )
        gateway.listen(Ping, where=where)(lambda ping, mine=mine: mine.append(ping.content))
        gateway.listen(Ping, where=field("channel_id").is_in([number]))(lambda ping: None)
    everything: list[str] = []
    gateway.listen(Ping)(lambda ping: everything.append(ping.content))
    await stage.open()
    channels = [*range(100), 7, 99, 1000]
    await stage.say("MESSAGE_CREATE", *[message(str(channel), channel_id=str(channel)) for channel in channels])
    assert everything == [str(channel) for channel in channels]
    assert heard == {number: [str(number)] * (2 if number in (7, 99) else 1) for number in range(100)}


async def test_beyond_the_slots_of_the_engine_nothing_reaches_python_in_vain(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []
    for number in range(100):
        gateway.listen(Ping, where=field("channel_id") == number)(lambda ping: heard.append(ping.content))
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("x", channel_id="1000"), message("y", channel_id="98"))
    assert heard == ["y"]
    assert gateway.metrics().filtered_by_type == {"MESSAGE_CREATE": 1}


async def test_listeners_with_filters_come_and_go_inside_listeners(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []

    @gateway.listen(where=field("content") == "1")
    def first(ping: Ping) -> None:
        heard.append(f"first {ping.content}")
        first.remove()

        @gateway.listen(where=field("content") == "2")
        def second(ping: Ping) -> None:
            heard.append(f"second {ping.content}")
            second.remove()

    await stage.open()
    await stage.say("MESSAGE_CREATE", message("2"), message("1"))
    await stage.say("MESSAGE_CREATE", message("1"), message("2"))
    await stage.say("MESSAGE_CREATE", message("2"), message("1"))
    assert heard == ["first 1", "second 2"]
    metrics = gateway.metrics()
    assert metrics.filtered_by_type == {"MESSAGE_CREATE": 2}
    assert metrics.unheard_by_type["MESSAGE_CREATE"] == 2


async def test_changes_in_the_middle_of_a_flood_lose_and_double_nothing(stage: Stage, gateway: Gateway) -> None:
    even: list[str] = []
    strays: list[str] = []
    extra: list[Any] = []

    @gateway.listen(where=field("content").endswith("0"))
    def on(ping: Ping) -> None:
        even.append(ping.content)
        for _ in range(3):
            # Listeners before and behind it, so that slots move.
            extra.append(gateway.listen(Ping, where=field("content") == f"{len(extra)}x")(strays.append))
        if len(even) % 5 == 0:
            extra.pop(0).remove()

    await stage.open()
    await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(600)])
    assert even == [str(number) for number in range(0, 600, 10)]
    assert strays == []


async def test_an_event_is_not_for_whoever_has_the_number_of_its_slot_by_now(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []
    registry = gateway._listening.registry
    first = gateway.listen(Ping, where=field("content") == "1")(lambda ping: heard.append("one"))
    await stage.open()
    then = registry.generation
    first.remove()
    gateway.listen(Ping, where=field("content") == "2")(lambda ping: heard.append("two"))
    dispatch: Dispatch[Any] = Dispatch("MESSAGE_CREATE", b'{"content":"1"}')
    route = 1 << 1 << 8 | EVENT_INDEX["MESSAGE_CREATE"]
    await feed(gateway, then, dispatch, route)
    assert heard == []
    await feed(gateway, registry.generation, dispatch, route)
    await feed(gateway, then, dispatch, route)
    assert heard == ["two"]


@pytest.mark.parametrize("count", [1, 40, 200])
async def test_what_is_shared_by_old_and_new_goes_to_the_old(stage: Stage, gateway: Gateway, count: int) -> None:
    """Events that waited when a listener came are not for it, though it shares its slot with one that was there."""
    heard: list[str] = []
    wheres = [field("channel_id") == number for number in range(count)]
    for where in wheres:
        gateway.listen(Ping, where=where)(lambda ping: heard.append("old"))
    await stage.open()
    registry = gateway._listening.registry
    slot = registry._slots[wheres[-1]]
    event = EVENT_INDEX["MESSAGE_CREATE"]
    route = 1 << slot.number << 8 | event if slot.number < 64 else (event, slot.number)
    dispatch: Dispatch[Any] = Dispatch("MESSAGE_CREATE", b'{"content":"1","channel_id":"%d"}' % (count - 1))
    then = registry.generation
    gateway.listen(Ping, priority=1, where=wheres[-1])(lambda ping: heard.append("new"))
    for generation in (then, registry.generation, then):
        await feed(gateway, generation, dispatch, route)
    assert heard == ["old", "new", "old", "old"]


async def test_events_that_no_table_names_are_filtered_too(stage: Stage, gateway: Gateway) -> None:
    class News(Event, event="PROPYLON_NEWS"):
        text: str = ""

    class Gossip(Event, event="PROPYLON_GOSSIP"):
        text: str = ""

    heard: list[str] = []
    gateway.listen(News, where=field("text") == "a")(lambda event: heard.append(f"news {event.text}"))
    gateway.listen(Gossip, where=field("text") == "b")(lambda event: heard.append(f"gossip {event.text}"))
    gateway.listen(Dispatch, where=field("text") == "b")(lambda dispatch: heard.append(f"any {dispatch.type}"))
    await stage.open()
    await stage.say("PROPYLON_NEWS", {"text": "a"}, {"text": "b"})
    await stage.say("PROPYLON_GOSSIP", {"text": "a"}, {"text": "b"})
    assert heard == ["news a", "any PROPYLON_NEWS", "gossip b", "any PROPYLON_GOSSIP"]


async def test_a_union_is_filtered_event_by_event(stage: Stage, gateway: Gateway) -> None:
    heard: list[Any] = []

    @gateway.listen(where=field("channel_id") == "42")
    def on(event: MessageCreate | MessageUpdate) -> None:
        heard.append(type(event))

    await stage.open()
    await stage.say("MESSAGE_CREATE", message(), message(channel_id="43"))
    await stage.say("MESSAGE_UPDATE", {"id": "1", "channel_id": "42"}, {"id": "1", "channel_id": "43"})
    assert heard == [MessageCreate, MessageUpdate]
    with pytest.raises(ValueError, match="MESSAGE_DELETE has no field 'content'"):
        gateway.listen(MessageCreate, MessageDelete, where=field("content") == "x")(heard.append)
    with pytest.raises(ValueError, match="MESSAGE_DELETE has no field 'content'"):

        @gateway.listen(where=field("content") == "x")
        def wrong(event: MessageCreate | MessageDelete) -> None: ...

    assert len(gateway._listening.registry.entries) == 2  # `on` and the stage's own


async def test_batches_take_filters(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    async with (
        gateway.batches(MessageCreate, where=field("content") == "b") as some,
        gateway.batches(where=lambda dispatch: b'"c"' in dispatch.raw) as others,
    ):
        await stage.say("MESSAGE_CREATE", *[message(content) for content in "abcb"])
        got: list[Any] = []
        async with asyncio.timeout(10):
            while len(got) < 2:
                got += await anext(some)
            (other,) = await anext(others)
    assert [dispatch.data.content for dispatch in got] == ["b", "b"]
    assert other.data.content == "c"


async def test_batches_alone_take_filters(stage: Stage, gateway: Gateway) -> None:
    """Where nobody else listens a whole drain is handed over unseen."""
    await gateway.open(timeout=10)
    async with gateway.batches(where=lambda dispatch: dispatch.type == "MESSAGE_CREATE") as batches:
        stage.sim.dispatch("MESSAGE_DELETE", {"id": "1", "channel_id": "2"})
        stage.sim.dispatch("MESSAGE_CREATE", message("x"))
        async with asyncio.timeout(10):
            assert [dispatch.type for dispatch in await anext(batches)] == ["MESSAGE_CREATE"]


async def test_batches_of_an_event_that_no_table_names_hold_that_event_only(stage: Stage, gateway: Gateway) -> None:
    class News(Event, event="PROPYLON_NEWS"):
        text: str = ""

    await gateway.open(timeout=10)
    async with gateway.batches(News) as batches:
        stage.sim.dispatch("PROPYLON_GOSSIP", {})
        stage.sim.dispatch("PROPYLON_NEWS", {})
        async with asyncio.timeout(10):
            assert [dispatch.type for dispatch in await anext(batches)] == ["PROPYLON_NEWS"]


async def test_a_function_is_asked_before_the_listener(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []

    @gateway.listen(where=lambda message: len(message.content) > 1)
    async def longer(message: MessageCreate, gateway: Gateway, dispatch: Dispatch) -> None:
        heard.append(f"{message.content} {gateway is stage.gateway} {dispatch.type}")

    @gateway.listen(Dispatch[MessageCreate], where=lambda dispatch: dispatch.data.content == "a")
    def on(dispatch: Any) -> None:
        heard.append(dispatch.data.content)

    await stage.open()
    await stage.say("MESSAGE_CREATE", message("a"), message("bb"))
    assert heard == ["a", "bb True MESSAGE_CREATE"]
    assert gateway.metrics().filtered == 0


async def test_what_a_function_raises_is_the_listeners_error(stage: Stage, gateway: Gateway) -> None:
    heard: list[Any] = []
    errors: list[Exception] = []
    gateway.on_error(errors.append)

    def fails(ping: Ping) -> bool:
        raise LookupError(ping.content)

    gateway.listen(Ping, where=fails)(heard.append)
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("a"))
    assert heard == []
    assert [repr(error) for error in errors] == ["LookupError('a')"]
    assert gateway.metrics().listener_errors == 1


async def test_a_payload_that_does_not_fit_its_class_is_filtered_by_its_bytes(stage: Stage, gateway: Gateway) -> None:
    heard: list[Any] = []
    errors: list[Exception] = []
    gateway.on_error(errors.append)
    gateway.listen(MessageCreate, where=field("content") == "a")(heard.append)
    await stage.open()
    await stage.say("MESSAGE_CREATE", {"content": "a"}, {"content": "b"})
    assert heard == []
    assert [type(error) for error in errors] == [ModelError]
    assert gateway.metrics().filtered_by_type == {"MESSAGE_CREATE": 1}


async def test_plans_are_bounded(stage: Stage, gateway: Gateway) -> None:
    """Sixteen filters match in 65,536 combinations."""
    heard: list[str] = []
    for number in range(16):
        gateway.listen(Ping, where=field("nonce") > number)(lambda ping: None)
    for letter in "abcdefghijklmnop":
        gateway.listen(Ping, where=field("content").contains(letter))(lambda ping: heard.append(ping.content))
    await stage.open()
    words = [
        "".join(letter for bit, letter in enumerate("abcdefghijklmnop") if number >> bit & 1)
        for number in range(1, 1500)
    ]
    await stage.say("MESSAGE_CREATE", *[message(word) for word in words])
    assert len(heard) == sum(map(len, words))
    plans = gateway._life.consumer._plans
    assert len(plans.kept) <= 1024
    assert sum(len(routes) for by_event in plans._routes.values() for routes in by_event.values()) <= 1024 * 33
