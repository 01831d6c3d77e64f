"""Listeners that come and go while events flow."""

import asyncio
from typing import Any

import pytest

from face.support import eventually, message
from listeners.conftest import Stage
from propylon import Dispatch, Gateway
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


async def test_thousands_of_changes_leave_no_tables_behind(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    for _ in range(1000):
        gateway.listen(Ping)(lambda ping: None).remove()
    await stage.say("MESSAGE_CREATE", message())
    await stage.mark()
    await eventually(lambda: len(gateway._consumer._tables) <= 3)


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
