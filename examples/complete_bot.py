"""A complete bot: everything that a real one sets up, and nothing else.

With ``DISCORD_TOKEN`` in the environment it runs against Discord; without, against a simulated Discord of its own::

    python examples/complete_bot.py

It needs the Message Content intent, to be switched on for the application in the Developer Portal.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator

from propylon import Activity, Closed, FileSessionStore, Gateway, GatewayClosed, Intents, OnlineStatus, Presence
from propylon.events import MessageCreate, Ready
from propylon.testing import Simulator

log = logging.getLogger("complete_bot")


class Counter:
    """What listeners share while the bot runs. A real bot has its HTTP client or its database here."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self.messages = 0


@contextlib.asynccontextmanager
async def lifespan(gateway: Gateway) -> AsyncGenerator[Counter]:
    """Around the run: SIGINT and SIGTERM let calls finish, close the gateway, and end this."""
    counter = Counter()
    try:
        yield counter
    finally:
        log.info("%d messages of users, %d events in all", counter.messages, gateway.metrics().received)


def make_bot(token: str, gateway_url: str | None = None) -> Gateway:
    """The gateway with its listeners; nothing is sent before it is opened."""
    bot = Gateway(
        token,
        lifespan=lifespan,
        intents=Intents.GUILDS | Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT,
        compression="zstd-stream",
        presence=Presence(activities=[Activity.custom("Waking up")], status=OnlineStatus.IDLE),
        gateway_url=gateway_url,
        # The next process goes on where this one ended. What a simulator knew is gone with it.
        sessions=FileSessionStore("sessions.json") if gateway_url is None else None,
    )

    @bot.listen
    async def on_ready(ready: Ready, gateway: Gateway) -> None:
        log.info("ready as %s in %d guilds", ready.user.username, len(ready.guilds))
        await gateway.set_presence(Presence(activities=[Activity.watching("for messages")]))

    @bot.listen
    async def on_message(message: MessageCreate, counter: Counter) -> None:
        if not message.author.bot:
            counter.messages += 1
            log.info("#%s %s: %s", message.channel_id, message.author.username, message.content)

    @bot.on_close
    def on_close(closed: Closed) -> None:
        how = "was lost" if closed.code is None else f"was closed with {closed.code} {closed.reason}".rstrip()
        log.info("the connection %s%s", how, ", making it anew" if closed.reconnect else "")

    @bot.on_error
    def on_error(error: Exception) -> None:
        log.error("a listener failed", exc_info=error)

    # Pyright takes functions that nobody calls by name for mistakes; the decorators have registered them.
    _ = on_ready, on_message, on_close, on_error
    return bot


async def main() -> None:
    """Against Discord, or against the simulator."""
    token = os.environ.get("DISCORD_TOKEN")
    if token:
        await make_bot(token).serve()
        return
    log.info("DISCORD_TOKEN is not set: this is a simulated Discord with a message each half second")
    async with Simulator(rate=2, events=["MESSAGE_CREATE"]) as simulator:
        await make_bot("simulated", simulator.url).serve()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        asyncio.run(main())
    except GatewayClosed as error:
        # The text says what to do: another token, an intent to switch on.
        raise SystemExit(str(error)) from None
