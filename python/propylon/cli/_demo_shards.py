"""``propylon demo --shards``: many shards on a simulated Discord, and twice as many that take over under traffic.

The simulator numbers the events of each guild, and sends each to every session that has the guild: while the fleet is
resharded, to one of the old and to one of the new shards. Owns what happens and what is counted; how it looks is
`propylon.cli._demo_shards_view`'s.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from propylon import GatewayStatus, Intents, ShardManager
from propylon.cli._demo_shards_view import ShardFigures, ShardsVerdict, ShardsView, shards_view
from propylon.events import Event, FleetReady, Resharded, ShardClosed
from propylon.testing import Simulator

__all__ = ["Fleet", "Tally", "run_shards_demo", "verdict"]

_BEFORE: Final = 16
_AFTER: Final = 32
_GUILDS: Final = 320
_CONCURRENCY: Final = 16
"""Sessions that may start at once, as of a bot with very many guilds; 32 shards take two turns, 5 s apart."""
_TICK: Final = 0.125
_RESHARD_AT: Final = 0.25
"""Of the whole time."""
_PATIENCE: Final = 10.0
"""Seconds for the last events to arrive."""
_PATIENCE_FOR_SHARDS: Final = 60.0
"""Seconds for shards to start, or to take over."""


class Numbered(Event, event="MESSAGE_CREATE"):
    """What the simulator numbers; nothing else of the message is decoded."""

    nonce: str
    """``"4:17"``: the 17th event of guild 4."""


class Tally:
    """The numbers that listeners were called with, by guild: each of them once if all is well, and mostly in order."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.called = 0
        self.twice = 0
        self.late = 0
        """Those that came after a higher one."""
        self._highest: Final[Counter[int]] = Counter()
        self._missing: Final[defaultdict[int, set[int]]] = defaultdict(set)

    def note(self, nonce: str) -> None:
        """One call."""
        guild, number = map(int, nonce.split(":"))
        self.called += 1
        highest = self._highest[guild]
        if number > highest:
            self._highest[guild] = number
            if number > highest + 1:
                self._missing[guild].update(range(highest + 1, number))
        elif number in self._missing[guild]:
            self._missing[guild].discard(number)
            self.late += 1
        else:
            self.twice += 1

    def lost(self, made: Sequence[int]) -> int:
        """Of so many events for each guild."""
        return sum(max(0, count - self._highest[guild]) + len(self._missing[guild]) for guild, count in enumerate(made))


class Fleet:
    """What a user would write: a manager and its listeners. It notes what it sees."""

    def __init__(self, api_url: str, tell: Callable[[str], None]) -> None:
        """Make the manager; `ShardManager.open` it afterwards."""
        self.tally: Final = Tally()
        self.resharded: Final[list[Resharded]] = []
        self.manager: Final = ShardManager(
            "demo", intents=Intents.GUILDS | Intents.GUILD_MESSAGES, shards=_BEFORE, api_url=api_url
        )

        @self.manager.listen
        def on_message(message: Numbered) -> None:  # pyright: ignore[reportUnusedFunction]
            self.tally.note(message.nonce)

        @self.manager.listen
        def on_ready(fleet: FleetReady) -> None:  # pyright: ignore[reportUnusedFunction]
            tell(f"FleetReady: {fleet.shard_count} shards, {fleet.guild_count:,} guilds")

        @self.manager.listen
        def on_resharded(event: Resharded) -> None:  # pyright: ignore[reportUnusedFunction]
            self.resharded.append(event)
            tell(f"Resharded: {event.shard_count} shards have taken over, the {event.before} old ones are closed")

        @self.manager.listen
        def on_closed(closed: ShardClosed) -> None:  # pyright: ignore[reportUnusedFunction]
            if closed.reconnect:
                tell(f"shard {closed.shard_id} of {closed.shard_count} has lost its connection, making it anew")


def _memory() -> int | None:
    """Bytes of this process, where the system tells."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource
    except ImportError:  # Windows
        return None
    # The most that it had, then.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _figures(elapsed: float, fleet: Fleet, simulator: Simulator) -> ShardFigures:
    manager = fleet.manager
    by_shard = manager.metrics(by_shard=True)
    return ShardFigures(
        elapsed=elapsed,
        status=manager.status,
        total=manager.total or _BEFORE,
        ready={shard_id: shard.status is GatewayStatus.READY for shard_id, shard in manager.shards.items()},
        received={shard_id: metrics.received for shard_id, metrics in by_shard.items()},
        connected={total: found["connected"] for total, found in simulator.fleet()["sessions"].items()},
        called=fleet.tally.called,
        latency=manager.latency,
        metrics=manager.metrics(),
        memory=_memory(),
    )


def verdict(made: Sequence[int], fleet: Fleet, *, settled: bool, seconds: float | None) -> ShardsVerdict:
    """The counts of both sides, beside each other: ``made`` are the simulator's, for each guild."""
    metrics = fleet.manager.metrics()
    return ShardsVerdict(
        before=_BEFORE,
        after=_AFTER,
        seconds=seconds,
        resharded=[event.shard_count for event in fleet.resharded] == [_AFTER],
        guilds=len(made),
        made=sum(made),
        called=fleet.tally.called,
        lost=fleet.tally.lost(made),
        twice=fleet.tally.twice,
        late=fleet.tally.late,
        settled=settled,
        identifies=metrics.identifies,
        overlapped=metrics.overlapped,
    )


async def _settle(fleet: Fleet, simulator: Simulator) -> tuple[list[int], bool]:
    """Stop the events and let the last ones arrive: how many there were for each guild, and whether they have."""
    simulator.flood_shared(False)
    made: list[int] = simulator.record(payloads=False)["shared"]["guilds"]
    for _ in range(round(_PATIENCE / _TICK)):
        if not fleet.tally.lost(made):
            return made, True
        await asyncio.sleep(_TICK)
    return made, False


async def _reshard(fleet: Fleet, show: ShardsView) -> float | None:
    """Twice as many shards take over; the seconds that it took, None where it failed."""
    show.tell(f"await manager.reshard({_AFTER}), while events go on")
    begun = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE_FOR_SHARDS):
            await fleet.manager.reshard(_AFTER)
    except TimeoutError:
        show.tell(f"the new shards have not taken over within {_PATIENCE_FOR_SHARDS:g} s")
        return None
    return time.monotonic() - begun


async def run_shards_demo(seconds: float, rate: float, seed: int) -> int:
    """Run it; 0 if the fleet was resharded, and each event of each guild handed out once."""
    simulator = Simulator(
        shards=_BEFORE,
        max_concurrency=_CONCURRENCY,
        guilds=_GUILDS,
        seed=seed,
        shared_rate=rate,
        start="manual",
        heartbeat_interval=2.0,
        respect_intents=True,
    )
    start = time.monotonic()
    with simulator, shards_view(_BEFORE, _GUILDS, rate) as show:
        fleet = Fleet(simulator.api_url, show.tell)

        def look(*, last: bool = False) -> None:
            show.update(_figures(time.monotonic() - start, fleet, simulator), last=last)

        async def watch() -> None:
            while True:
                look()
                await asyncio.sleep(_TICK)

        watching = asyncio.create_task(watch())
        try:
            await fleet.manager.open(timeout=_PATIENCE_FOR_SHARDS)
            async with fleet.manager:
                await fleet.manager.wait_guilds_ready(timeout=_PATIENCE_FOR_SHARDS)
                simulator.flood_shared()
                await asyncio.sleep(_RESHARD_AT * seconds)
                took = await _reshard(fleet, show)
                await asyncio.sleep(max(0.0, start + seconds - time.monotonic()))
                made, settled = await _settle(fleet, simulator)
                if not settled:
                    show.tell(f"the last events did not arrive within {_PATIENCE:g} s")
                result = verdict(made, fleet, settled=settled, seconds=took)
                look(last=True)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        show.conclude(result)
    return 0 if result.passed else 1
