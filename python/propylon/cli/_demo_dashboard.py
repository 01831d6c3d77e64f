"""``propylon demo --dashboard``: a lively fleet on a simulated Discord, to look at through its dashboard until Ctrl-C.

Owns what happens to it: traffic, connections that are cut, listeners that are slow or fail now and then. The same seed
cuts the same shards.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from propylon import Intents, Listeners, ShardManager, field, listen
from propylon.events import FleetReady, MessageCreate, MessageReactionAdd, MessageUpdate, ShardClosed
from propylon.testing import Simulator, steps

__all__ = ["Bot", "run_dashboard_demo"]

_SHARDS: Final = 64
_GUILDS: Final = 1280
_TROUBLE: Final = 3.0
"""Seconds between two cuts, more or less."""
_SLOW: Final = 0.15
"""Seconds of a call that is slow: over the 100 ms from which on it is counted as that."""
_BLOCKING: Final = 2.5
"""Seconds of a call that shows the banner of a blocked event loop."""
_PATIENCE: Final = 60.0
"""Seconds for the shards to start."""

_CUTS: Final[Sequence[tuple[str, Sequence[steps.Step], int]]] = (
    ("cut by TCP reset", (steps.reset(),), 4),
    ("told to reconnect (op 7)", (steps.reconnect(),), 4),
    ("closed with 4000", (steps.close(4000, "Unknown error"),), 2),
    ("cut, its session gone", (steps.expire_sessions(), steps.reset()), 1),
)
"""What happens to a shard, and how often, one in comparison with the others."""


class Bot(Listeners):
    """What a user would write: listeners, some of them slow, or failing, now and then."""

    def __init__(self, seed: int, tell: Callable[[str], None]) -> None:
        """``tell`` is for people."""
        self._chance: Final = random.Random(seed)
        self._tell: Final = tell
        self._slow_at = 0.0
        self._blocked_at = time.monotonic() + self._chance.uniform(10.0, 20.0)

    @listen
    def on_message(self, message: MessageCreate) -> None:
        """Quick, as most."""
        _ = message.author.username

    @listen
    def check_links(self, message: MessageCreate) -> None:
        """Slow each few seconds; blocks the event loop each minute, as if it asked a database that hangs."""
        now = time.monotonic()
        if now >= self._blocked_at:
            self._blocked_at = now + self._chance.uniform(40.0, 80.0)
            self._tell(f"check_links blocks the event loop for {_BLOCKING:g} s")
            time.sleep(_BLOCKING)
        elif now >= self._slow_at:
            self._slow_at = now + self._chance.uniform(4.0, 12.0)
            time.sleep(_SLOW)

    @listen(where=~field("author.bot").is_true())
    async def on_edit(self, message: MessageUpdate) -> None:
        """Waits for something, and fails once in a while."""
        await asyncio.sleep(self._chance.uniform(0.0, 0.02))
        if self._chance.random() < 0.002:
            raise RuntimeError(f"the edit of {message.id} cannot be kept, as happens in this demo")

    @listen
    def on_reaction(self, reaction: MessageReactionAdd) -> None:
        """Quick."""
        _ = reaction.emoji.name

    @listen
    def on_ready(self, fleet: FleetReady) -> None:
        """All shards are there."""
        self._tell(f"{fleet.shard_count} shards are ready, with {fleet.guild_count:,} guilds")

    @listen
    def on_closed(self, closed: ShardClosed) -> None:
        """A shard has lost its connection."""
        if closed.reconnect:
            self._tell(f"shard {closed.shard_id} has lost its connection, making it anew")


def _manager(api_url: str, bot: Bot) -> ShardManager:
    manager = ShardManager("demo", intents=Intents.ALL, shards=_SHARDS, api_url=api_url, admin="127.0.0.1:0")
    manager.add(bot)

    @manager.on_error
    def on_error(error: Exception) -> None:  # pyright: ignore[reportUnusedFunction]
        """Nothing: it is counted, and a traceback now and then would hide what the demo tells."""

    return manager


async def _trouble(simulator: Simulator, seed: int, tell: Callable[[str], None]) -> None:
    """Cut connections, for ever."""
    chance = random.Random(seed + 1)
    weights = [weight for *_, weight in _CUTS]
    while True:
        await asyncio.sleep(chance.uniform(0.5, 1.5) * _TROUBLE)
        shard = chance.randrange(_SHARDS)
        ((what, done, _),) = chance.choices(_CUTS, weights)
        try:
            for step in done:
                simulator.act(step, shard=shard)
        except RuntimeError:
            # It has no connection at this moment: it recovers from the last time.
            continue
        tell(f"shard {shard} is {what}")


async def run_dashboard_demo(seconds: float | None, rate: float, seed: int) -> int:
    """Run it, for so long or until it is cancelled; 0."""
    # The watch on blocked loops warns, with a stack, of what is done here on purpose: the dashboard shows it.
    logging.getLogger("propylon").addHandler(logging.NullHandler())
    begun = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {text}", flush=True)

    simulator = Simulator(
        shards=_SHARDS,
        max_concurrency=_SHARDS,
        guilds=_GUILDS,
        members=20,
        rate=rate / _SHARDS,
        seed=seed,
        heartbeat_interval=5.0,
        # More than are used up in days: each session that is gone costs one.
        session_start_total=100_000,
        session_start_remaining=100_000,
        respect_intents=True,
    )
    with simulator:
        manager = _manager(simulator.api_url, Bot(seed, tell))
        await manager.open(timeout=_PATIENCE)
        async with manager:
            address = manager.admin_address
            if address is None:
                raise RuntimeError("the admin server is not there although the manager is open")
            host, port = address
            print(f"dashboard  http://{host}:{port}/")
            print(f"terminal   propylon top {host}:{port}")
            print("until      Ctrl-C" if seconds is None else f"until      {seconds:g} s are over", flush=True)
            troubles = asyncio.create_task(_trouble(simulator, seed, tell))
            try:
                # It ends by itself only where something is wrong with it.
                async with asyncio.timeout(seconds):
                    await troubles
            except TimeoutError:
                pass
            finally:
                troubles.cancel()
    return 0
