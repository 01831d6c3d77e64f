"""The listener face by itself: an object that one shard has, or several."""

from typing import Any

import pytest

from listeners.conftest import Stage
from propylon import Batches, Dispatch, Gateway, field
from propylon._delivery.consumer import Consumer
from propylon._delivery.plans import Plans
from propylon._listening.entry import Options
from propylon._listening.face import ListenerFace
from propylon._listening.lifespan import Lifespan
from propylon._listening.registry import EVENT_INDEX
from propylon.events import Event

pytestmark = pytest.mark.asyncio

ROUTE = 1 << 8 | EVENT_INDEX["MESSAGE_CREATE"]


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


class Shard:
    """What a consumer asks of the engine's."""

    waiting = False

    def __init__(self) -> None:
        self.held: list[bool] = []

    def hold(self, held: bool) -> None:
        self.held.append(held)


class Fleet:
    """Something that has several shards and one face."""

    def __init__(self, count: int) -> None:
        self.face = ListenerFace(self, Lifespan(self, None), check_usable=lambda: None, adding=lambda entries: None)
        plans = Plans(self.face.registry)
        self.shards = [Shard() for _ in range(count)]
        self.consumers = [
            Consumer(
                shard,  # type: ignore[arg-type]
                self.face.registry,
                plans,
                100,
                report=self.face.handlers.report,
                excused=self.face.excused,
            )
            for shard in self.shards
        ]
        for consumer in self.consumers:
            self.face.bind(consumer)

    def feed(self, number: int, *contents: str) -> None:
        dispatches: list[Dispatch[Any]] = [
            Dispatch("MESSAGE_CREATE", b'{"content":"%s"}' % content.encode(), shard_id=number) for content in contents
        ]
        self.consumers[number].feed(self.face.registry.generation, dispatches, [ROUTE] * len(contents))


async def test_it_serves_several_shards_and_gives_its_owner_to_listeners() -> None:
    fleet = Fleet(3)
    heard: list[tuple[str, Fleet, int]] = []

    def on(ping: Ping, owner: Fleet, dispatch: Dispatch[Any]) -> None:
        heard.append((ping.content, owner, dispatch.shard_id))

    listener = fleet.face.listen((on,), Options(), locals())
    for number in range(3):
        fleet.feed(number, str(number))
    assert heard == [(str(number), fleet, number) for number in range(3)]
    listener.remove()
    fleet.feed(0, "gone")
    assert len(heard) == 3


async def test_a_reader_that_lags_holds_all_shards_back() -> None:
    fleet = Fleet(2)
    batches: Batches = fleet.face.batches([Ping], None, 1)
    async with batches:
        fleet.feed(0, *map(str, range(600)))
        assert [shard.held for shard in fleet.shards] == [[True], []]
        fleet.feed(1, "late")
        assert fleet.shards[1].held == [True]
        read = [dispatch.json()["content"] for _ in range(600) for dispatch in await anext(batches)]
        assert read == list(map(str, range(600)))
        assert [dispatch.json()["content"] for dispatch in await anext(batches)] == ["late"]


async def test_a_gateway_has_one_and_is_none(stage: Stage, gateway: Gateway) -> None:
    assert isinstance(gateway._listening, ListenerFace)
    assert Gateway.__mro__ == (Gateway, object)
    gateway.listen(Ping, where=field("content") == "1")(lambda ping: None)
    assert [entry.wanted[0].kind for entry in gateway._listening.registry.entries] == [Ping]
