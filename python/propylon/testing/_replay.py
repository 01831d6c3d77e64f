"""`replay`: a recording at the listeners of a bot, on a clock that does not wait."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final, Protocol, cast

from propylon._playback import Line, chunks, paced
from propylon.testing._clock import VirtualLoop

if TYPE_CHECKING:
    import propylon._core as _core

__all__ = ["Bot", "replay"]

_PATIENCE: Final = 2 * 86_400.0
"""Seconds of the virtual clock for which listeners may hold events back. No two events are further apart than a day."""


class _Life(Protocol):
    async def replay(self, chunks: "AsyncIterator[list[_core.Fed]]", drain: float) -> int: ...


class Bot(Protocol):
    """What a `Gateway` and a `ShardManager` show; the test kit stands on neither."""

    @property
    def _life(self) -> _Life: ...


def replay(recording: str | os.PathLike[str], bot: Bot, *, drain: float = 10.0) -> int:
    """Hand the events of a recording to the listeners of a bot, on a virtual clock; returns how many.

    ::

        def test_a_day() -> None:
            gateway = make_the_bot()
            replay("day.jsonl.zst", gateway)

    It is `propylon.recording.replay` in an event loop of its own, for tests that are not asynchronous. Events come at
    their recorded distances, but nobody waits: as soon as nothing is left to do, the clock of the loop leaps to the
    next event or timer. So `asyncio.sleep`, `asyncio.timeout` and ``loop.time()`` in listeners go by the time of the
    recording, and an hour of it takes as long as its listeners compute. The same recording gives the same calls in the
    same order: each event comes when the one before has led to all that it can without time. A gap of more than a day
    counts as a day, and time never goes back.

    The clock stands still while a job of an executor (`asyncio.to_thread`) runs, for 5 s at most, and while a task
    spins on ``asyncio.sleep(0)``. It does not wait for sockets, processes and other threads: their answers come when
    they come, and a timeout may be over before. It is the loop's clock only: ``time.time()`` and ``time.monotonic()``
    tell the real one.

    Args:
        recording: The file, or a `propylon.recording.Recording`. Full ones that were set aside are read before it.
        bot: The `Gateway` or `ShardManager`, not open. Its lifespan is around the replay.
        drain: Seconds of the virtual clock that calls have to finish after the last event; then they are cancelled.

    Raises:
        RuntimeError: An event loop runs already; there, await `propylon.recording.replay`. Or the bot is open.
        OSError: The file cannot be read.
        ValueError: It is no recording, or damaged, and what stands before has been handed out; or ``drain`` is
            impossible.
        TimeoutError: Listeners have held back all events for two days of the virtual clock.
    """
    if not hasattr(bot, "_life"):
        raise TypeError(f"replay() takes a recording and a Gateway or ShardManager, in this order, not {bot!r:.100}")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError(
            "replay() has an event loop of its own, and one runs here already: make the test a plain function, or "
            "`await propylon.recording.replay(bot, recording)`"
        )
    source = chunks(recording)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_handed_out(source, bot, drain))


async def _handed_out(source: Iterator[list[Line]], bot: Bot, drain: float) -> int:
    life = bot._life  # pyright: ignore[reportPrivateUsage]
    loop = cast("VirtualLoop", asyncio.get_running_loop())

    async def events() -> "AsyncIterator[list[_core.Fed]]":
        async for due in paced(source, 1.0):
            # One by one, each to a bot at rest: how many would share a turn of the loop depends on the machine.
            for event in due:
                await loop.rest()
                patience.reschedule(loop.time() + _PATIENCE)
                yield [event]
        patience.reschedule(None)

    patience = asyncio.timeout(None)
    try:
        async with patience:
            return await life.replay(events(), drain)
    except TimeoutError:
        if not patience.expired():
            raise
        raise TimeoutError(
            "listeners have held back all events for two days of the recording's time: too many of their calls are "
            "unfinished (max_pending), or nobody reads a stream; give what they wait for a timeout"
        ) from None
