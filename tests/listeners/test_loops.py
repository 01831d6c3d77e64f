"""Delivery and the event loop: its turns, its task factory, several gateways on one loop and loops in threads."""

import asyncio
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

import propylon._delivery.consumer
from face.support import eventually, loop_factories, make_gateway, message
from listeners.conftest import Stage
from propylon import Dispatch, Gateway
from propylon.events import Event, MessageCreate
from propylon.testing import Simulator


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


class Turns:
    """Counts the turns of the loop, one after the other without a pause."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self.count += 1
        self._handle = self._loop.call_soon(self._turn)

    def stop(self) -> None:
        self._handle.cancel()


async def heard_in_each_turn(gateway: Gateway, sim: Simulator, events: int) -> list[int]:
    """How many of a flood's events were handed out between two turns of the loop."""
    turns = Turns()
    heard: list[int] = []
    gateway.listen(Dispatch[MessageCreate])(lambda dispatch: heard.append(turns.count))
    await gateway.open(timeout=10)
    # Everything is there before the first is handed out.
    gateway._life.shard.hold(True)
    sim.flood()
    await eventually(lambda: gateway.metrics().received == events + 1)
    gateway._life.shard.hold(False)
    await eventually(lambda: len(heard) == events)
    turns.stop()
    return [heard.count(turn) for turn in sorted(set(heard))]


@pytest.mark.asyncio
async def test_a_drain_yields_to_the_loop_after_256_events(
    propylon_simulator: Callable[..., Simulator], gateway_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propylon._delivery.consumer, "perf_counter", lambda: 0.0)  # no time passes
    sim = propylon_simulator(guilds=0, events=["MESSAGE_CREATE"], rate=None, count=1000, start="manual")
    counts = await heard_in_each_turn(gateway_to(sim), sim, 1000)
    assert counts == [256, 256, 256, 232]


@pytest.mark.asyncio
async def test_a_drain_yields_to_the_loop_after_2_ms(
    propylon_simulator: Callable[..., Simulator], gateway_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each look at the clock finds 0.49 ms more: one look before the first event and one after each.
    clock = iter(range(1_000_000))
    monkeypatch.setattr(propylon._delivery.consumer, "perf_counter", lambda: next(clock) / 2048)
    sim = propylon_simulator(guilds=0, events=["MESSAGE_CREATE"], rate=None, count=50, start="manual")
    counts = await heard_in_each_turn(gateway_to(sim), sim, 50)
    assert counts == [5] * 10


@pytest.mark.asyncio
async def test_a_drain_yields_to_the_loop_after_2_ms_of_events_that_do_not_fit(
    stage: Stage, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(Event, event="MESSAGE_CREATE"):
        author: int

    gateway.listen(Odd)(lambda odd: None)
    turns: list[int] = []
    loop = asyncio.get_running_loop()

    def turn() -> None:
        turns.append(gateway.metrics().undecodable)
        if turns[-1] < 40:
            loop.call_soon(turn)

    await stage.open()
    clock = iter(range(1_000_000))
    monkeypatch.setattr(propylon._delivery.consumer, "perf_counter", lambda: next(clock) / 2048)
    loop.call_soon(turn)
    await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(40)])
    await eventually(lambda: gateway.metrics().undecodable == 40)
    # The rest of what one wake-up brought may be handed out in the turn in which the next one comes.
    assert max(later - before for before, later in pairwise(turns)) <= 2 * 5


@pytest.mark.asyncio
async def test_the_tasks_of_listeners_are_made_by_the_users_factory(stage: Stage, gateway: Gateway) -> None:
    made: list[str] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        made.append(coroutine.__qualname__.rpartition(".")[2])
        return asyncio.Task(coroutine, loop=loop, **options)

    asyncio.get_running_loop().set_task_factory(factory)

    @gateway.listen
    async def on_ping(ping: Ping) -> None: ...

    await stage.open()
    await stage.say("MESSAGE_CREATE", message(), message())
    assert made.count("on_ping") == 2


@pytest.mark.asyncio
async def test_gateways_of_one_loop_each_get_their_events_in_order(
    propylon_simulator: Callable[..., Simulator], gateway_to: Any
) -> None:
    events = 1000
    sim = propylon_simulator(guilds=0, events=["MESSAGE_CREATE"], rate=None, count=events, start="manual")
    heard: dict[int, list[Any]] = {}
    gateways: list[Gateway] = [gateway_to(sim) for _ in range(3)]
    for number, gateway in enumerate(gateways):
        heard[number] = []

        @gateway.listen
        async def on(dispatch: Dispatch[MessageCreate], bot: Gateway, number: int = number) -> None:
            assert bot is gateways[number]
            heard[number].append(dispatch.sequence)

        await gateway.open(timeout=10)
    sim.flood()
    await eventually(lambda: all(len(sequences) == events for sequences in heard.values()), timeout=30)
    assert list(heard.values()) == [list(range(2, events + 2))] * 3


@pytest.mark.parametrize("name", loop_factories())
def test_gateways_of_loops_in_threads_do_not_meet(propylon_simulator: Callable[..., Simulator], name: str) -> None:
    events = 1000
    sim = propylon_simulator(guilds=0, events=["MESSAGE_CREATE"], rate=None, count=events, start="ready")
    heard: dict[int, list[int]] = {}
    errors: list[BaseException] = []

    async def serve(number: int) -> None:
        gateway = make_gateway(sim)
        mine = heard[number] = []
        loop, thread = asyncio.get_running_loop(), threading.get_ident()

        @gateway.listen
        async def on(dispatch: Dispatch[MessageCreate]) -> None:
            assert asyncio.get_running_loop() is loop
            assert threading.get_ident() == thread
            mine.append(dispatch.sequence or 0)

        async with gateway.stream(Ping, buffer=events) as pings, gateway:
            await eventually(lambda: len(mine) == events, timeout=30)
            assert gateway.metrics().listener_errors == 0
            for _ in range(events):
                await anext(pings)

    def work(number: int) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factories()[name]) as runner:
                runner.run(serve(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(heard.values()) == [list(range(2, events + 2))] * 3
