"""``propylon record`` and ``propylon replay``: events into a file, and out of it to clients or to a user's bot."""

import asyncio
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from propylon import Field, Filter, Gateway, ShardManager, field
from propylon.cli._arguments import value_of
from propylon.cli._process import complain
from propylon.cli._run import Missing, bot_of, log_by_default
from propylon.recording import replay
from propylon.testing import Simulator

__all__ = ["condition_of", "record_events", "replay_to_bot", "replay_to_clients", "speed_of"]

_TELL: Final = 10.0
"""Seconds between two lines about how far it is."""

_OPERATORS: Final = {
    "==": Field.__eq__,
    "!=": Field.__ne__,
    "<": Field.__lt__,
    "<=": Field.__le__,
    ">": Field.__gt__,
    ">=": Field.__ge__,
    "startswith": Field.startswith,
    "endswith": Field.endswith,
    "contains": Field.contains,
    "in": Field.is_in,
}


def condition_of(texts: Sequence[str]) -> Filter | None:
    """``author.id == 7``, several of them and-ed. Raises ValueError for what is none."""
    condition: Filter | None = None
    for text in texts:
        words = text.split(maxsplit=2)
        operator = _OPERATORS.get(words[1]) if len(words) == 3 else None
        if operator is None:
            raise ValueError(
                f"{text!r} is no condition: write FIELD OPERATOR VALUE; operators: {', '.join(_OPERATORS)}"
            )
        value: Any = value_of(words[2])
        one: Filter = operator(field(words[0]), value)
        condition = one if condition is None else condition & one
    return condition


def speed_of(text: str) -> "float | Literal['max']":
    """``10`` or ``max``. Raises ValueError."""
    if text == "max":
        return "max"
    speed = float(text)
    if not 0 < speed < float("inf"):
        raise ValueError(text)
    return speed


async def record_events(
    gateway: Gateway | ShardManager,
    path: Path,
    *,
    events: Sequence[str],
    where: Filter | None,
    secrets: bool,
    max_bytes: int | None,
    seconds: float | None,
) -> int:
    """Record until the gateway ends or ``seconds`` are over. 1 where something is missing."""
    try:
        recorder = gateway.record(path, events=events, where=where, secrets=secrets, max_bytes=max_bytes)
    except TypeError as error:
        complain(str(error))
        return 1
    try:
        async with asyncio.timeout(seconds), recorder, gateway:
            ended = asyncio.ensure_future(gateway.wait_closed())
            told = -1
            while not ended.done():
                await asyncio.wait([ended], timeout=_TELL)
                if recorder.events != told:
                    told = recorder.events
                    complain(f"{told:,} events, {recorder.bytes:,} bytes in {os.fspath(path)}")
            await ended
    except TimeoutError:
        if not gateway.metrics().received:
            complain(f"not connected within {seconds:g} s")
            return 1
    finally:
        complain(f"{recorder.events:,} events recorded, {recorder.dropped:,} dropped, {recorder.bytes:,} bytes")
    return 0 if recorder.complete else 1


async def replay_to_clients(path: Path, speed: "float | Literal['max']", port: int) -> int:
    """Serve a recording: each session is sent it from its READY on.

    Ends when at least one session has come, each has been sent everything or has ended, and nobody is connected.
    """
    simulator = Simulator(guilds=0, port=port, identify_interval=0.0, max_lag=None, recording=path, speed=speed)
    with simulator:
        print(f"gateway  {simulator.url}")
        print(f"try      propylon events --gateway-url {simulator.url}", flush=True)
        await simulator.wait_for("ready", timeout=math.inf)
        began = time.monotonic()
        damage: Exception | None = None
        while damage is None:
            try:
                await simulator.wait_for("played", timeout=math.inf)
            except (OSError, ValueError) as error:
                # What stands before may not be read yet.
                damage = error
            print("sent; this ends when no client is connected, or by Ctrl-C", flush=True)
            await simulator.wait_for("open", count=0, timeout=math.inf)
            if simulator.holds("played"):
                break
        print(f"{simulator.fleet()['ready']:,} sessions in {time.monotonic() - began:.1f} s")
    if damage is not None:
        raise damage
    return 0


async def replay_to_bot(path: Path, speed: "float | Literal['max']", target: str, drain: float) -> int:
    """Hand a recording to the listeners of a gateway or shard manager that is named as for ``run``."""
    try:
        bot = bot_of(target)
    except Missing as error:
        complain(str(error))
        return 1
    log_by_default()
    began = time.monotonic()
    count = await replay(bot, path, speed=speed, drain=drain)
    errors = bot.metrics().listener_errors
    print(f"{count:,} events handed out in {time.monotonic() - began:.1f} s; {errors:,} listener calls failed")
    return 1 if errors else 0
