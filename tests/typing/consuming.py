"""What type checkers know of events that are awaited. Never run, only checked."""

from typing import Any, assert_type

from propylon import Batch, Batches, Dispatch, Gateway, Snowflake, Stream
from propylon.events import Event, MessageCreate, MessageDelete


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


async def wait_for(gateway: Gateway) -> None:
    assert_type(await gateway.wait_for(MessageCreate), MessageCreate)
    assert_type(await gateway.wait_for(Ping, where=lambda ping: ping.content == "", timeout=1), Ping)
    assert_type(await gateway.wait_for(Dispatch[Ping], where=lambda ping: ping.data.content), Dispatch[Ping])
    assert_type(await gateway.wait_for(Dispatch), Dispatch[Any])
    either = await gateway.wait_for(MessageCreate | MessageDelete, where=lambda event: event.id == 1)
    assert_type(either, MessageCreate | MessageDelete)
    assert_type(either.id, Snowflake)
    if isinstance(either, MessageCreate):
        assert_type(either.content, str)
    await gateway.wait_for(Ping, where=lambda ping: ping.no_such_field)  # type: ignore[attr-defined]  # pyright: ignore
    await gateway.wait_for(str)  # type: ignore[type-var]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def collect(gateway: Gateway) -> None:
    assert_type(await gateway.collect(Ping, count=3), list[Ping])
    found = await gateway.collect(MessageCreate | MessageDelete, timeout=1, idle=0.5)
    assert_type(found, list[MessageCreate | MessageDelete])
    assert_type(await gateway.collect(Dispatch[Ping], count=1), list[Dispatch[Ping]])


async def stream(gateway: Gateway) -> None:
    async with gateway.stream(Ping, where=lambda ping: ping.content, buffer=10) as pings:
        assert_type(pings, Stream[Ping])
        assert_type(pings.dropped, int)
        async for ping in pings:
            assert_type(ping, Ping)
        assert_type([ping.content async for ping in pings], list[str])
    async with gateway.stream(MessageCreate | MessageDelete) as either:
        async for event in either:
            assert_type(event, MessageCreate | MessageDelete)
    async with gateway.stream(Dispatch[Ping]) as holders:
        assert_type((await anext(holders)).data, Ping)


async def batches(gateway: Gateway) -> None:
    async with gateway.batches(MessageCreate, MessageDelete, size=10) as batches:
        assert_type(batches, Batches)
        async for batch in batches:
            assert_type(batch, Batch)
            assert_type(batch[0], Dispatch[Any])
            dispatches: list[Dispatch[Any]] = batch
            print(dispatches)
    async with gateway.batches(MessageCreate | MessageDelete, bytes=8_000, seconds=0.5, ack=True) as batches:
        batch = await anext(batches)
        batch.ack()
