"""Listeners that come and go while events flow."""

import asyncio
import gc
import json
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face.support import eventually, message
from listeners.conftest import Stage
from propylon import Dispatch, Filter, Gateway, Listener, field
from propylon._listening.entry import Entry
from propylon._listening.waiting import Wait
from propylon.events import Event, MessageCreate, MessageDelete

pytestmark = pytest.mark.asyncio


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


async def test_a_removed_listener_hears_no_more(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []
    listener = gateway.listen(Ping)(lambda ping: heard.append(ping.content))
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("1"))
    listener.remove()
    listener.remove()  # nothing the second time
    await stage.say("MESSAGE_CREATE", message("2"))
    assert heard == ["1"]


async def test_a_listener_may_remove_itself_and_others_skip_what_waits(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []

    @gateway.listen
    def once(ping: Ping) -> None:
        heard.append(f"once {ping.content}")
        once.remove()
        doomed.remove()

    @gateway.listen
    def doomed(ping: Ping) -> None:
        heard.append(f"doomed {ping.content}")

    @gateway.listen
    def stays(ping: Ping) -> None:
        heard.append(f"stays {ping.content}")

    await stage.open()
    await stage.say("MESSAGE_CREATE", message("1"), message("2"))
    # The removed ones are skipped at once, for the event in hand and for the one that had matched them already.
    assert heard == ["once 1", "stays 1", "stays 2"]


async def test_a_listener_may_add_one_and_it_hears_what_comes_after(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []

    @gateway.listen
    def adds(ping: Ping) -> None:
        adds.remove()

        @gateway.listen
        async def added(ping: Ping) -> None:
            heard.append(ping.content)

    await stage.open()
    await stage.say("MESSAGE_CREATE", message("1"))
    await stage.say("MESSAGE_CREATE", message("2"))
    await stage.say("MESSAGE_CREATE", message("3"))
    assert heard == ["2", "3"]


async def test_a_listener_added_while_all_is_quiet_hears_the_very_next_event(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    for number in range(5):
        await asyncio.sleep(0.01)
        heard: list[Any] = []
        listener = gateway.listen(MessageDelete)(heard.append)
        await stage.say("MESSAGE_DELETE", {"id": str(number), "channel_id": "2"})
        assert [event.id for event in heard] == [number]
        listener.remove()
    assert gateway.metrics().unheard == 1  # READY


async def test_an_event_without_listeners_left_is_dropped_in_the_engine_again(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    listener = gateway.listen(Ping)(lambda ping: None)
    await stage.say("MESSAGE_CREATE", message())
    listener.remove()
    await stage.mark()
    await stage.say("MESSAGE_CREATE", message())
    metrics = gateway.metrics()
    assert metrics.delivered_by_type["MESSAGE_CREATE"] == 1
    assert metrics.unheard_by_type["MESSAGE_CREATE"] == 1


async def test_what_has_gone_is_let_go_at_once_events_or_none(stage: Stage, gateway: Gateway) -> None:
    """Neither the listeners nor their slots and plans wait for an event to be cleared away."""
    await stage.open()
    await stage.say("MESSAGE_CREATE", message())

    def come_and_go(number: int) -> weakref.ref[Any]:
        def on(ping: Ping) -> None: ...

        gateway.listen(on, where=field("nonce") > number % 100).remove()
        return weakref.ref(on)

    kept = [come_and_go(number) for number in range(200)]
    assert [one() for one in kept] == [None] * 200
    registry, plans = gateway._listening.registry, gateway._life.consumer._plans
    assert len(registry._slots) == len(registry._by_number) == len(registry.entries) == 1  # the mark's
    assert set(plans._routes) <= {0}


WHERES: list[Filter | Callable[[Ping], object] | None] = [
    None,
    field("content").endswith("7"),
    field("content") == "none of them",
    lambda ping: ping.content.endswith("3"),
    (field("channel_id") == 42) & field("content").endswith("1"),
]


def resident_bytes() -> int:
    """0 where the system does not tell it so."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_listener_that_comes_and_goes_100_000_times_while_events_flow(stage: Stage, gateway: Gateway) -> None:
    """Flat memory; and whoever comes hears what is read from then on, in order, and in its turn among the others."""
    steady: list[int] = []
    passing: list[tuple[int, int]] = []
    turns: list[tuple[int, str]] = []
    changes = sent = 0

    @gateway.listen
    def on(dispatch: Dispatch[MessageCreate]) -> None:
        steady.append(int(json.loads(dispatch.raw)["content"]))
        if steady[-1] % 100 == 0:
            turns.append((steady[-1], "steady"))

    await stage.open()

    async def churn() -> None:
        nonlocal changes
        there: deque[Listener[..., Any]] = deque()
        while changes < 100_000:

            def heard(ping: Ping, here: int = changes) -> None:
                if ping.content.endswith("0"):
                    passing.append((here, int(ping.content)))

            def first(ping: Ping) -> None:
                if ping.content.endswith("00"):
                    turns.append((int(ping.content), "first"))

            where = WHERES[changes // 2 % len(WHERES)]
            there.append(gateway.listen(Ping, where=where)(heard))
            there.append(gateway.listen(Ping, priority=1)(first))
            changes += 2
            # Long enough for events to come meanwhile.
            while len(there) > 400:
                there.popleft().remove()
            if changes % 50 == 0:
                await asyncio.sleep(0)
        while there:
            there.popleft().remove()

    churning = asyncio.create_task(churn())
    before = 0
    while not churning.done():
        # Few, because the server writes down each of them, in this process.
        stage.sim.dispatch("MESSAGE_CREATE", {"content": str(sent), "channel_id": "42"})
        sent += 1
        await asyncio.sleep(0)
        if changes >= 20_000 and not before:
            before = resident_bytes()
    await churning
    await stage.mark()
    assert steady == list(range(sent))
    # In order, and nobody twice.
    assert len(passing) > 100
    assert [content for _, content in passing] == sorted(content for _, content in passing)
    assert len(set(passing)) == len(passing)
    # Whoever came later did not hear what those before had heard without it: their events are one stretch, and no two
    # stretches lie the wrong way round.
    begun: dict[int, int] = {}
    for here, content in passing:
        begun.setdefault(here, content)
    assert [begun[here] for here in sorted(begun)] == sorted(begun.values())
    # The one with the higher priority before the other, event by event.
    places = {turn: place for place, turn in enumerate(turns)}
    firsts = [content for content, who in turns if who == "first"]
    assert len(firsts) > 100
    assert all(places[content, "first"] < places[content, "steady"] for content in firsts)
    assert len(gateway._listening.registry.entries) == 2
    plans = gateway._life.consumer._plans
    assert len(plans.kept) < 50
    assert sum(len(routes) for by_event in plans._routes.values() for routes in by_event.values()) < 50
    assert resident_bytes() - before < 4 * 1024 * 1024


async def test_plans_are_forgotten_under_all_the_slots_they_depend_on(stage: Stage, gateway: Gateway) -> None:
    """One that comes and goes leaves nothing at those that stay, which would never be looked through."""
    for number in range(40):
        gateway.listen(Ping, where=field("nonce") >= number)(lambda ping: None)
    await stage.open()
    heard: list[str] = []
    for turn in range(50):
        listener = gateway.listen(Ping, where=field("content") == str(turn))(lambda ping: heard.append(ping.content))
        await stage.say("MESSAGE_CREATE", message(str(turn), nonce=turn % 7))
        listener.remove()
    assert heard == list(map(str, range(50)))
    plans = gateway._life.consumer._plans
    noted = {route for by_event in plans._routes.values() for routes in by_event.values() for route in routes}
    assert noted == set(plans.kept)


async def test_waits_that_are_over_are_no_garbage(stage: Stage, gateway: Gateway) -> None:
    """Nothing of them holds another in a circle, which the collector would have to find."""
    await stage.open()
    gc.collect()

    def there() -> list[Any]:
        return [thing for thing in gc.get_objects() if type(thing) in (Wait, Entry)]

    # Other tests may have left some.
    before = set(map(id, there()))
    gc.disable()
    try:
        for options in ({}, {"timeout": 60.0}):
            waits = [asyncio.create_task(gateway.wait_for(MessageDelete, **options)) for _ in range(50)]
            collecting = [
                asyncio.create_task(gateway.collect(MessageDelete, count=9, idle=60.0, **options)) for _ in range(50)
            ]
            await eventually(lambda: len(gateway._listening._waits) == 100)
            for task in [*waits, *collecting]:
                task.cancel()
            await asyncio.gather(*waits, *collecting, return_exceptions=True)
            del waits, collecting, task
            await stage.mark()
        assert [thing for thing in there() if id(thing) not in before] == []
    finally:
        gc.enable()


async def test_changes_in_the_middle_of_a_flood_lose_and_double_nothing(stage: Stage, gateway: Gateway) -> None:
    seen: list[int] = []
    extra: list[Any] = []

    @gateway.listen
    def on(dispatch: Dispatch[MessageCreate]) -> None:
        seen.append(dispatch.sequence or 0)
        if len(seen) % 10 == 0:
            extra.append(gateway.listen(Ping)(lambda ping: None))
        if len(seen) % 15 == 0:
            extra.pop().remove()

    await stage.open()
    await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(600)])
    assert seen == list(range(seen[0], seen[0] + 600))
