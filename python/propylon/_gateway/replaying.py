"""Handing events that no connection brings to the listeners of a gateway, or of a fleet by way of one of its shards."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import propylon._core as _core
from propylon._arguments import check_seconds
from propylon._delivery.consumer import Consumer
from propylon._delivery.loop import Delivery, Receiver
from propylon._listening.face import ListenerFace
from propylon._listening.lifespan import Lifespan

__all__ = ["replayed"]

_PATIENCE: Final = 5.0
"""Seconds between two looks whether listeners that stand still have gone on."""


_BATCH: Final = 4096


async def replayed(
    shard: _core.Shard,
    receiver: Receiver,
    consumer: Consumer,
    face: ListenerFace,
    lifespan: Lifespan,
    chunks: "AsyncIterator[list[_core.Fed]]",
    drain: float,
) -> int:
    """Feed it chunk by chunk, each when the one before has been handed out; how many events there were."""
    check_seconds("replay()", drain=drain)
    count = 0
    loop = asyncio.get_running_loop()
    async with lifespan.entered():
        delivery = Delivery.current()
        consumer.resume()
        delivery.add(shard, receiver)
        try:
            async for chunk in chunks:
                shard.feed(chunk)
                count += len(chunk)
                # Listeners that have too much unfinished are waited for, however long that takes: nothing is lost.
                while not (await consumer.drained(_PATIENCE) or consumer.is_suspended):
                    pass
        finally:
            face.end(None)
            face.let_go()
            end = loop.time() + drain
            await consumer.settle(drain)
            # Those who read batches have had this time as well.
            await face.acknowledged(max(end - loop.time(), 0))
            consumer.suspend()
            delivery.remove(shard)
            # What it was broken off before is not for who opens the gateway next.
            consumer.forget()
            hub = _core.Hub()
            shard.bind(hub)
            while hub.drain(_BATCH)[1]:
                pass
            shard.bind(None)
            face.ended()
    return count
