"""Calls of an async listener share a task where they cannot tell, and only there.

From Python 3.12 on; before that each has its own.
"""

import asyncio
import contextlib
import sys
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from face.support import eventually, message
from listeners.conftest import Stage
from propylon import Dispatch, Gateway
from propylon.events import Event

pytestmark = pytest.mark.asyncio


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


_VARIABLE: ContextVar[str] = ContextVar("_VARIABLE", default="")


class _Incomparable:
    """Cannot be told from another one: what is set of it is set anew."""

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError

    __hash__ = None  # type: ignore[assignment]


_LIST: ContextVar[list[str]] = ContextVar("_LIST")
_ODD: ContextVar[_Incomparable] = ContextVar("_ODD")


@pytest.mark.parametrize(
    "how",
    [
        "keeps its task",
        "keeps it weakly",
        "names it",
        "adds a callback",
        "sets a variable",
        "sets an odd one",
        "sets an equal one",
        "cancels itself",
    ],
)
async def test_calls_of_an_async_listener_cannot_tell_that_they_share_a_task(
    stage: Stage, gateway: Gateway, how: str
) -> None:
    kept: list[asyncio.Task[Any]] = []
    ended: list[asyncio.Task[Any]] = []
    shared: list[str] = []
    _LIST.set(shared)
    names: WeakKeyDictionary[asyncio.Task[Any], str] = WeakKeyDictionary()
    heard: list[str] = []

    @gateway.listen
    async def on_ping(ping: Ping) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task not in names
        assert task not in kept
        assert not task.cancelling()
        assert not _VARIABLE.get()
        assert _ODD.get(None) is None
        assert _LIST.get() is shared
        assert task.get_name() != "named"
        heard.append(ping.content)
        match how:
            case "keeps its task":
                kept.append(task)
            case "keeps it weakly":
                names[task] = ping.content
            case "names it":
                task.set_name("named")
            case "adds a callback":
                task.add_done_callback(ended.append)
            case "sets an equal one":
                _LIST.set([])
            case "sets a variable":
                _VARIABLE.set(ping.content)
            case "sets an odd one":
                _ODD.set(_Incomparable())
            case _:
                task.cancel()

    await stage.open()
    await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(50)])
    assert heard == [str(number) for number in range(50)]
    assert gateway.metrics().listener_errors == 0
    if how == "adds a callback":
        await eventually(lambda: len(ended) == 50)
        assert len(set(ended)) == 50


async def test_a_task_that_somebody_keeps_gives_what_its_call_gave(stage: Stage, gateway: Gateway) -> None:
    kept: list[asyncio.Task[Any]] = []

    @gateway.listen
    async def on_ping(ping: Ping) -> int:
        task = asyncio.current_task()
        assert task is not None
        if int(ping.content) % 3 != 0:
            kept.append(task)
        if int(ping.content) % 3 == 1:
            await asyncio.sleep(0)
        return int(ping.content)

    await stage.open()
    await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(30)])
    assert [await task for task in kept] == [number for number in range(30) if number % 3 != 0]


async def test_what_cancels_a_call_of_an_async_listener_does_not_reach_the_next(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []
    gone: list[str] = []

    @gateway.listen
    async def on_ping(ping: Ping) -> None:
        if int(ping.content) % 3 == 0:
            # Over before it begins: it cancels the call at its first suspension and takes that back.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await asyncio.sleep(30)
                    gone.append("not cancelled")
        elif int(ping.content) % 3 == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            task.uncancel()
            if sys.version_info < (3, 13):
                # The cancellation stays although it was taken back, as for any task.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
        await asyncio.sleep(0)
        heard.append(ping.content)

    await stage.open()
    await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(60)])
    await eventually(lambda: len(heard) == 60)
    assert not gone
    assert sorted(heard, key=int) == [str(number) for number in range(60)]


async def test_among_calls_that_share_a_task_each_has_its_own_fate(stage: Stage, gateway: Gateway) -> None:
    gate = asyncio.Event()
    heard: list[str] = []
    errors: list[tuple[str, int | None, str]] = []
    suspended: list[str] = []

    @gateway.on_error
    def on_error(error: Exception, dispatch: Dispatch) -> None:
        assert error.__traceback__ is not None
        errors.append((str(error), dispatch.sequence, error.__traceback__.tb_frame.f_code.co_name))

    @gateway.listen
    async def on_ping(ping: Ping) -> None:
        heard.append(ping.content)
        match int(ping.content) % 5:
            case 1:
                raise ValueError(ping.content)
            case 2:
                await gate.wait()
                suspended.append(ping.content)
            case 3:
                await gate.wait()
                raise KeyError(ping.content)

    await stage.open()
    await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(50)])
    assert heard == [str(number) for number in range(50)]
    await eventually(lambda: gateway.metrics().pending == 20)
    assert len({dispatch.sequence for dispatch in gateway._life.consumer.unfinished()}) == 20
    gate.set()
    await eventually(lambda: gateway.metrics().pending == 0)
    assert suspended == [str(number) for number in range(50) if number % 5 == 2]
    assert [text for text, _, _ in errors] == [
        *[str(number) for number in range(50) if number % 5 == 1],
        *[repr(str(number)) for number in range(50) if number % 5 == 3],
    ]
    assert {name for _, _, name in errors} == {"on_ping"}
    numbers = {text.strip("'"): sequence for text, sequence, _ in errors}
    first = numbers["1"]
    assert first is not None
    assert all(sequence == first + int(text) - 1 for text, sequence in numbers.items())
