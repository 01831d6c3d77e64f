"""`Gateway.collect`: each of its limits, and the end of the gateway."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from face.support import eventually, message
from listeners.conftest import Stage
from propylon import Dispatch, Gateway, field
from propylon.events import Event, MessageCreate
from propylon.testing import replay
from recording.support import line, written

pytestmark = pytest.mark.asyncio


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


async def begin(gateway: Gateway, call: Any) -> asyncio.Task[list[Any]]:
    task = asyncio.ensure_future(call)
    await eventually(lambda: gateway._listening._waits)
    return task


async def test_count_ends_it(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    task = await begin(gateway, gateway.collect(Ping, where=lambda ping: ping.content != "1", count=3))
    await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(6)])
    assert [ping.content for ping in await task] == ["0", "2", "3"]
    assert len(gateway._listening.registry.entries) == 1  # the mark's
    assert gateway._listening._waits == set()


async def collected(path: Path, times: Iterable[int], **limits: Any) -> tuple[list[int], float]:
    """Which of the events that come at these times are collected from second 0 on, and when it ends.

    By a clock that leaps: by the real one a busy machine makes pauses of its own.
    """
    bot, told = Gateway("token"), list[tuple[list[int], float]]()

    @bot.listen(where=field("content") == "ask")
    async def on_ask(event: MessageCreate) -> None:
        found = await bot.collect(Dispatch[MessageCreate], **limits)
        told.append(([int(dispatch.data.content) for dispatch in found], asyncio.get_running_loop().time()))

    lines = [line("ask", 0), *(line(str(at), at) for at in times)]
    assert await asyncio.to_thread(replay, written(path, lines), bot) == len(lines)
    (end,) = told
    return end


async def test_timeout_ends_it_with_what_has_come(stage: Stage, gateway: Gateway, tmp_path: Path) -> None:
    came, ended = await collected(tmp_path / "x", (10, 20, 31), count=100, timeout=30)
    assert (came, ended) == ([10, 20], pytest.approx(30, abs=1e-5))
    # And by the clock of a loop that is not ours.
    await stage.open()
    assert await gateway.collect(Ping, timeout=0.01) == []


async def test_idle_ends_it_after_a_pause_and_each_event_puts_that_off(
    stage: Stage, gateway: Gateway, tmp_path: Path
) -> None:
    came, ended = await collected(tmp_path / "x", (10, 20, 30, 40, 50, 71), idle=20)
    # Longer than `idle` in all: it did not end in between, and not before the pause.
    assert (came, ended) == ([10, 20, 30, 40, 50], pytest.approx(70, abs=1e-5))
    # And by the clock of a loop that is not ours.
    await stage.open()
    assert await gateway.collect(Ping, idle=0.01) == []


async def test_closing_ends_it_with_what_has_come(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    task = await begin(gateway, gateway.collect(Ping, count=100))
    await stage.say("MESSAGE_CREATE", message("1"))
    await gateway.close()
    assert [ping.content for ping in await task] == ["1"]


async def test_cancelling_leaves_nothing_behind(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    task = await begin(gateway, gateway.collect(Ping, count=100, idle=60, timeout=60))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(gateway._listening.registry.entries) == 1
    assert gateway._listening._waits == set()


@pytest.mark.parametrize(
    ("limits", "error", "text"),
    [
        ({}, TypeError, "collect() would never return: give it count=, timeout= or idle="),
        ({"count": 0}, ValueError, "count must be a whole number of at least 1"),
        ({"count": True}, ValueError, "count must be a whole number of at least 1"),
        ({"timeout": -1}, ValueError, "collect(): timeout must be 0 s or more"),
        ({"idle": 0}, ValueError, "collect(): idle must be more than 0 s"),
        ({"idle": None, "timeout": "5"}, TypeError, "collect(): timeout is a number of seconds"),
    ],
)
async def test_impossible_limits_are_told(gateway: Gateway, limits: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as raised:
        await gateway.collect(Ping, **limits)
    assert text in str(raised.value)
