"""A bot that shows how it is: a page, health checks and metrics by HTTP, figures in the log, the log as JSON.

``BOT_ADMIN`` is the address of the admin server, 127.0.0.1:9464 unless it is set; with port 0 the log tells which.
With ``DISCORD_TOKEN`` in the environment it runs against Discord; without, against a simulated Discord of its own::

    python examples/observed_bot.py
    curl -s 127.0.0.1:9464/metrics      # in another terminal; http://127.0.0.1:9464 is a page
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator

from propylon import Gateway, GatewayClosed, Intents, field
from propylon.events import MessageCreate, MessageReactionAdd
from propylon.logs import JsonFormatter
from propylon.testing import Simulator

log = logging.getLogger("observed_bot")


async def report(gateway: Gateway, every: float) -> None:
    """Now and then, the figures of the last interval: for who has a log, and nothing that scrapes."""
    before = gateway.metrics()
    while True:
        await asyncio.sleep(every)
        now = gateway.metrics()
        figures = {
            "status": gateway.status.name,
            "latency": gateway.latency,
            "received": now.received - before.received,
            "delivered": now.delivered - before.delivered,
            "dropped_in_rust": now.unheard + now.filtered - before.unheard - before.filtered,
            "waiting": now.queued + now.pending,
            "failed": now.listener_errors - before.listener_errors,
        }
        # What is given as `extra` are keys of their own in a line of JSON.
        log.info("figures of %g s", every, extra=figures)
        before = now


@contextlib.asynccontextmanager
async def lifespan(gateway: Gateway) -> AsyncGenerator[None]:
    """Around the run."""
    reporting = asyncio.create_task(report(gateway, float(os.environ.get("BOT_REPORT", "60"))))
    try:
        yield
    finally:
        reporting.cancel()


def make_bot(token: str, *, admin: str, gateway_url: str | None = None) -> Gateway:
    """The gateway. The admin server is the engine's: it answers while a listener blocks the event loop, and says so."""
    bot = Gateway(
        token,
        intents=Intents.GUILD_MESSAGES | Intents.GUILD_MESSAGE_REACTIONS | Intents.MESSAGE_CONTENT,
        admin=admin,
        lifespan=lifespan,
        gateway_url=gateway_url,
    )

    # Listeners are named in metrics and on the page by what they are called here.
    @bot.listen(where=~field("author.bot").is_true())
    async def on_message(message: MessageCreate) -> None:
        await asyncio.sleep(0.01)

    @bot.listen
    def on_reaction(reaction: MessageReactionAdd) -> None:
        if reaction.emoji.name == "🔥":
            # The log has the first traceback, then a count once a minute; the metrics have the number.
            raise RuntimeError("too hot")

    _ = on_message, on_reaction
    return bot


async def main() -> None:
    """Against Discord, or against the simulator."""
    token = os.environ.get("DISCORD_TOKEN")
    admin = os.environ.get("BOT_ADMIN", "127.0.0.1:9464")
    if token:
        await make_bot(token, admin=admin).serve()
        return
    log.info("DISCORD_TOKEN is not set: this is a simulated Discord with 50 events a second")
    async with Simulator(rate=50, events=["MESSAGE_CREATE", "MESSAGE_REACTION_ADD", "TYPING_START"]) as simulator:
        await make_bot("simulated", admin=admin, gateway_url=simulator.url).serve()


if __name__ == "__main__":
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        asyncio.run(main())
    except GatewayClosed as error:
        raise SystemExit(str(error)) from None
