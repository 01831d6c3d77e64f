"""`Gateway.stream`: typed, bounded, counted, and at an end with its gateway."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually, message
from listeners.conftest import Stage
from propylon import Dispatch, Gateway, Stream
from propylon.events import Event, MessageCreate, MessageDelete
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


async def test_it_yields_typed_events_in_order_from_entering_to_leaving(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("before"))
    seen: list[Ping] = []
    async with gateway.stream(Ping) as pings:
        await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(5)])
        async for ping in pings:
            seen.append(ping)
            if len(seen) == 5:
                break
        await stage.say("MESSAGE_CREATE", message("not read"))
    assert seen == [Ping(content=str(number)) for number in range(5)]
    assert pings.dropped == 0
    with pytest.raises(StopAsyncIteration):
        await anext(pings)
    assert len(gateway._listening.registry.entries) == 1  # the mark's


async def test_a_reader_is_woken_by_what_comes(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    async with gateway.stream(Ping) as pings:
        for number in range(3):
            task = asyncio.ensure_future(anext(pings))
            await eventually(lambda: pings._reader is not None)
            stage.sim.dispatch("MESSAGE_CREATE", message(str(number)))
            assert (await task).content == str(number)


async def test_where_and_dispatch_and_unions_are_as_for_wait_for(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    async with (
        gateway.stream(Ping, where=lambda ping: ping.content != "1") as pings,
        gateway.stream(Dispatch[MessageCreate]) as holders,
        gateway.stream(Ping | MessageDelete) as either,
    ):
        await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(3)])
        await stage.say("MESSAGE_DELETE", {"id": "1", "channel_id": "2"})
        assert [(await anext(pings)).content for _ in range(2)] == ["0", "2"]
        assert [(await anext(holders)).data.content for _ in range(3)] == ["0", "1", "2"]
        assert [type(await anext(either)) for _ in range(4)] == [Ping, Ping, Ping, MessageDelete]


async def test_a_full_buffer_drops_the_oldest_and_counts_them(stage: Stage, gateway: Gateway) -> None:
    await stage.open()
    async with gateway.stream(Ping, buffer=3) as pings:
        await stage.say("MESSAGE_CREATE", *[message(str(number)) for number in range(10)])
        assert pings.dropped == 7
        assert [(await anext(pings)).content for _ in range(3)] == ["7", "8", "9"]
        await stage.say("MESSAGE_CREATE", message("10"))
        assert (await anext(pings)).content == "10"
        assert pings.dropped == 7
    assert gateway.metrics().overflowed == 0


async def test_what_does_not_fit_goes_to_on_error_and_not_into_the_stream(stage: Stage, gateway: Gateway) -> None:
    errors: list[Exception] = []
    gateway.on_error(errors.append)
    await stage.open()
    async with gateway.stream(Ping) as pings:
        await stage.say("MESSAGE_CREATE", {"content": 1}, message("fits"))
        assert (await anext(pings)).content == "fits"
    assert len(errors) == 1


async def test_it_ends_when_the_gateway_is_closed_and_all_is_read(stage: Stage, gateway: Gateway) -> None:
    async with gateway.stream(Ping) as pings:
        await stage.open()
        await stage.say("MESSAGE_CREATE", message("1"), message("2"))
        await gateway.close()
        assert [ping.content async for ping in pings] == ["1", "2"]


async def test_a_reader_that_waits_hears_of_the_end(
    propylon_simulator: Callable[..., Simulator], gateway_to: Any
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim, auto_reconnect=False)
    async with gateway.stream(Ping) as pings:
        await gateway.open(timeout=10)
        sim.dispatch("MESSAGE_CREATE", message("last"))
        sim.act(steps.close(4000))
        assert [ping.content async for ping in pings] == ["last"]


async def test_each_stream_has_one_reader_and_is_entered_once(stage: Stage, gateway: Gateway) -> None:
    stream: Stream[Ping] = gateway.stream(Ping)
    with pytest.raises(RuntimeError, match=r"async with gateway.stream\(\)"):
        await anext(stream)
    async with stream:
        reader = asyncio.ensure_future(anext(stream))
        await eventually(lambda: stream._reader is not None)
        with pytest.raises(RuntimeError, match="another task reads here already"):
            await anext(stream)
        reader.cancel()
    with pytest.raises(RuntimeError, match="entered once"):
        await stream.__aenter__()


@pytest.mark.parametrize("buffer", [0, -1, True, 1.5])
async def test_an_impossible_buffer_is_told(gateway: Gateway, buffer: Any) -> None:
    with pytest.raises(ValueError, match="buffer must be a whole number of at least 1"):
        gateway.stream(Ping, buffer=buffer)


async def test_bad_events_are_told_at_once(gateway: Gateway) -> None:
    with pytest.raises(TypeError, match=r"stream\(\): 'MESSAGE_CREATE' is no event"):
        gateway.stream("MESSAGE_CREATE")  # type: ignore[call-overload]
