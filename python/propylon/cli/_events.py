"""``propylon events``: events as JSON lines on stdout."""

import asyncio
import os
import select
import sys
from collections.abc import Sequence
from typing import Any, Final

import orjson

from propylon import Batches, Dispatch, Gateway, ShardManager
from propylon._signals import Stoppable
from propylon.cli._process import complain
from propylon.events import Event

__all__ = ["lines_of", "print_events"]

_LINE_ENDS: Final = bytes.maketrans(b"\n\r", b"  ")


def _line(dispatch: Dispatch[Any]) -> tuple[bytes, Dispatch[Any], bytes]:
    head = orjson.dumps(
        {
            "type": dispatch.type,
            "shard_id": dispatch.shard_id,
            "sequence": dispatch.sequence,
            "received_at": dispatch.received_at,
        }
    )
    # The data is not decoded and encoded again: it goes out as Discord wrote it.
    return head[:-1] + b',"data":', dispatch, b"}\n"


def lines_of(batch: Sequence[Dispatch[Any]]) -> bytes:
    """One line for each event."""
    lines = b"".join(part for dispatch in batch for part in _line(dispatch))
    if lines.count(b"\n") != len(batch) or b"\r" in lines:
        # Somebody sent JSON over several lines. A line end in JSON is white space, never text.
        lines = b"".join(
            b"".join((head, bytes(memoryview(data)).translate(_LINE_ENDS), tail))
            for head, data, tail in map(_line, batch)
        )
    return lines


def _write(data: bytes, signals: Stoppable) -> None:
    """All of it, past Python's buffer: what an interrupted write leaves there would be flushed at exit."""
    stdout = sys.stdout.fileno()
    rest = memoryview(data)
    signals.blocking = True
    try:
        while rest:
            try:
                rest = rest[os.write(stdout, rest) :]
            except BlockingIOError:
                select.select((), (stdout,), ())
    finally:
        signals.blocking = False


async def _open(gateway: Gateway | ShardManager, batches: Batches) -> Exception | None:
    """Open it; where that fails no batch comes, and the error is returned, so that it is told once."""
    try:
        await gateway.open()
    except Exception as error:
        batches.close()
        return error
    return None


async def print_events(
    gateway: Gateway | ShardManager,
    events: Sequence[type[Event]],
    signals: Stoppable,
    *,
    count: int | None = None,
    seconds: float | None = None,
) -> int:
    """Print until the gateway ends, ``count`` events are out, ``seconds`` are over, or nobody reads any more."""
    left = sys.maxsize if count is None else count
    try:
        async with asyncio.timeout(seconds), gateway.batches(*events) as batches:
            # Beside the reading: the first of many shards have events long before the last one is ready.
            opening = asyncio.create_task(_open(gateway, batches))
            async for batch in batches:
                _write(lines_of(batch[:left]), signals)
                left -= len(batch)
                if left <= 0:
                    return 0
            # The batches have ended with the gateway, or because it could not be opened.
            error = await opening
            if error is not None:
                raise error
            await gateway.wait_closed()
            return 0
    except TimeoutError:
        if not gateway.metrics().received:
            complain(f"not connected within {seconds:g} s")
            return 1
        return 0
    except BrokenPipeError:
        # As in `propylon events | head`: the reader has what it wanted.
        return 0
    finally:
        await gateway.close()
