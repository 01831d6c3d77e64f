"""A bot whose only way out is a proxy: HTTP CONNECT, or SOCKS5.

``BOT_PROXY`` is the proxy, such as ``http://user:p%40ss@proxy.example:3128`` or ``socks5://127.0.0.1:1080``; without it
``HTTPS_PROXY`` and its like count. ``BOT_CA_FILE`` is a certificate authority to trust, where the proxy looks into TLS.
With ``DISCORD_TOKEN`` in the environment it runs against Discord; without, against a simulated Discord of its own, and
through a proxy of its own unless there is one::

    python examples/behind_a_proxy.py
"""

import asyncio
import contextlib
import logging
import os

from propylon import Closed, Gateway, Intents, PropylonError
from propylon.events import MessageCreate, Ready
from propylon.testing import Simulator

log = logging.getLogger("behind_a_proxy")


def make_bot(token: str, *, proxy: str, ca_file: str | None = None, gateway_url: str | None = None) -> Gateway:
    """The gateway. ``proxy="env"`` reads HTTPS_PROXY, ALL_PROXY and NO_PROXY when it is opened, as curl does."""
    bot = Gateway(
        token,
        intents=Intents.GUILD_MESSAGES,
        proxy=proxy,
        ca_file=ca_file,
        gateway_url=gateway_url,
    )

    @bot.listen
    def on_ready(ready: Ready) -> None:
        log.info("ready as %s", ready.user.username)

    @bot.listen
    def on_message(message: MessageCreate) -> None:
        log.info("#%s %s", message.channel_id, message.author.username)

    @bot.on_close
    def on_close(closed: Closed) -> None:
        # A connection that the proxy drops is made anew, as any other. Many have a limit of some minutes or hours.
        log.info("the connection has ended: %s %s", closed.code, closed.reason)

    # Pyright takes functions that nobody calls by name for mistakes; the decorators have registered them.
    _ = on_ready, on_message, on_close
    return bot


async def main() -> None:
    """Against Discord, or against the simulator."""
    token = os.environ.get("DISCORD_TOKEN")
    proxy, ca_file = os.environ.get("BOT_PROXY"), os.environ.get("BOT_CA_FILE")
    if token:
        await make_bot(token, proxy=proxy or "env", ca_file=ca_file).serve()
        return
    from stand_ins import http_proxy

    log.info("DISCORD_TOKEN is not set: this is a simulated Discord with a message each half second")
    async with contextlib.AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(rate=2, events=["MESSAGE_CREATE"]))
        if not proxy:
            proxy = await stack.enter_async_context(http_proxy())
        await make_bot("simulated", proxy=proxy, gateway_url=simulator.url).serve()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        asyncio.run(main())
    except (PropylonError, ValueError) as error:
        # What is wrong with the proxy or its URL, and what to do.
        raise SystemExit(str(error)) from None
