"""A bot of many shards in one process: started side by side, restarted without a gap, watched shard by shard.

With ``DISCORD_TOKEN`` in the environment it runs against Discord, with as many shards as Discord recommends; without,
with four of them against a simulated Discord of its own::

    python examples/sharded_bot.py

``complete_bot.py`` has what a bot of one shard sets up; all of that goes for this one too.
"""

import asyncio
import contextlib
import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

from propylon import (
    Activity,
    Dispatch,
    FileIdentifyGate,
    FileSessionStore,
    GatewayClosed,
    Intents,
    Presence,
    ShardManager,
)
from propylon.events import FleetReady, MessageCreate, Resharded, ShardClosed, ShardReady, ShardResumed
from propylon.testing import Simulator

log = logging.getLogger("sharded_bot")


class Messages(Counter[int]):
    """How many came on each shard. A real bot has its database here."""


async def report(manager: ShardManager, every: float) -> None:
    """Now and then, how the fleet is."""
    while True:
        await asyncio.sleep(every)
        by_shard = manager.metrics(by_shard=True)
        behind = max(by_shard, key=lambda shard_id: by_shard[shard_id].queued)
        log.info(
            "%s, %d guilds, latency %.0f ms; most events wait on shard %d: %d",
            manager.status.name,
            manager.guild_count,
            1000 * (manager.latency or 0),
            behind,
            by_shard[behind].queued,
        )


@contextlib.asynccontextmanager
async def lifespan(manager: ShardManager) -> AsyncGenerator[Messages]:
    """Around the run: SIGINT and SIGTERM let calls finish, close all shards, and end this."""
    messages = Messages()
    reporting = asyncio.create_task(report(manager, every=60))
    try:
        yield messages
    finally:
        reporting.cancel()
        log.info("messages by shard: %s", dict(sorted(messages.items())))


def make_bot(token: str, **options: Any) -> ShardManager:
    """The manager with its listeners; nothing is sent before it is opened."""
    bot = ShardManager(
        token,
        lifespan=lifespan,
        intents=Intents.GUILDS | Intents.GUILD_MESSAGES,
        presence=lambda shard_id: Presence([Activity.custom(f"Shard {shard_id}")]),
        **options,
    )

    @bot.listen
    def on_shard(event: ShardReady | ShardResumed | ShardClosed) -> None:
        log.info("%s", event)

    @bot.listen
    def on_fleet(fleet: FleetReady) -> None:
        log.info("all %d shards are there, with %d guilds", fleet.shard_count, fleet.guild_count)

    @bot.listen
    def on_resharded(event: Resharded) -> None:
        log.info("%d shards instead of %d", event.shard_count, event.before)

    @bot.listen
    async def on_message(message: MessageCreate, dispatch: Dispatch, messages: Messages) -> None:
        messages[dispatch.shard_id] += 1
        log.info("shard %d, guild %s: %s", dispatch.shard_id, message.guild_id, message.author.username)

    @bot.on_error
    def on_error(error: Exception) -> None:
        log.error("a listener failed", exc_info=error)

    # Pyright takes functions that nobody calls by name for mistakes; the decorators have registered them.
    _ = on_shard, on_fleet, on_resharded, on_message, on_error
    return bot


async def main() -> None:
    """Against Discord, or against the simulator."""
    token = os.environ.get("DISCORD_TOKEN")
    if token:
        # The next process goes on where this one ended, and may start before that. Both take turns at the gate.
        sessions, gate = FileSessionStore("sessions.json"), FileIdentifyGate("identifies.json")
        await make_bot(token, sessions=sessions, gate=gate).serve()
        return
    log.info("DISCORD_TOKEN is not set: this is a simulated Discord with a message each half second")
    async with Simulator(shards=4, max_concurrency=4, guilds=20, shared_rate=2) as simulator:
        await make_bot("simulated", api_url=simulator.api_url).serve()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        asyncio.run(main())
    except GatewayClosed as error:
        # The text says what to do: another token, an intent to switch on.
        raise SystemExit(str(error)) from None
