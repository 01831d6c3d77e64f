"""Listeners that come and go while events flow."""

import asyncio
import json
import os
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face.support import message
from listeners.conftest import Stage
from propylon import Dispatch, Filter, Gateway, field
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
    """Flat memory, and the order and the generations right: each event is for those that were there when it came."""
    steady: list[int] = []
    passing: list[tuple[int, int]] = []
    changes = 0

    @gateway.listen
    async def on(dispatch: Dispatch[MessageCreate]) -> None:
        steady.append(int(json.loads(dispatch.raw)["content"]))
        await asyncio.sleep(0)

    await stage.open()

    async def churn() -> None:
        nonlocal changes
        while changes < 100_000:
            for _ in range(250):
                number = len(steady)
                listener = gateway.listen(Ping, priority=changes % 3, where=WHERES[changes % len(WHERES)])(
                    lambda ping, number=number: passing.append((number, int(ping.content)))
                )
                changes += 1
                if changes % 50 == 0:
                    # It hears one, where one is on its way.
                    await asyncio.sleep(0)
                listener.remove()
            await asyncio.sleep(0)

    churning = asyncio.create_task(churn())
    sent = 0
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
    # None heard an event that had been handed out before it came, and none more than one of a time.
    assert all(number <= content for number, content in passing)
    assert len(gateway._listening.registry.entries) == 2
    assert len(gateway._life.consumer._plans.kept) < 50
    assert resident_bytes() - before < 4 * 1024 * 1024


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
