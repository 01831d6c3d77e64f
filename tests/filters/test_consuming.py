"""Filters of what is awaited: Rust drops the rest there too."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually, message
from propylon import Gateway, Listeners, field, listen
from propylon.events import MessageCreate
from propylon.testing import Simulator

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]


def say(sim: Simulator, *contents: str) -> None:
    for content in contents:
        sim.dispatch("MESSAGE_CREATE", message(content))


async def test_wait_for_stream_and_collect_are_filtered_in_rust(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    command = field("content").startswith("!")
    waiting = asyncio.create_task(gateway.wait_for(MessageCreate, where=command, timeout=10))
    collecting = asyncio.create_task(gateway.collect(MessageCreate, where=command, count=2, timeout=10))
    async with gateway.stream(MessageCreate, where=command) as messages:
        await asyncio.sleep(0)  # both tasks have begun to wait
        say(sim, "a", "!b", "c", "!d", "e")
        assert (await waiting).content == "!b"
        assert [each.content for each in await collecting] == ["!b", "!d"]
        assert (await anext(messages)).content == "!b"
        assert (await anext(messages)).content == "!d"
        await eventually(lambda: gateway.metrics().filtered_by_type.get("MESSAGE_CREATE") == 3)
    assert gateway.metrics().delivered_by_type["MESSAGE_CREATE"] == 2


async def test_a_group_may_filter_and_what_does_not_match_uses_up_no_once(
    propylon_simulator: Start, gateway_to: Any
) -> None:
    heard: list[str] = []

    class Commands(Listeners):
        @listen(where=field("content").startswith("!"), once=True)
        def first(self, message: MessageCreate) -> None:
            heard.append(message.content)

    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    gateway.add(Commands())
    await gateway.open(timeout=10)
    say(sim, "a", "!b", "!c")
    await eventually(lambda: gateway.metrics().received_by_type.get("MESSAGE_CREATE") == 3)
    await eventually(lambda: heard == ["!b"])
    await gateway.close()
    assert heard == ["!b"]
