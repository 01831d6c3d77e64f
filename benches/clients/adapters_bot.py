"""A bot of discord.py or hikari, as the library comes or with Propylon's engine under it; `adapters.py` starts it.

Messages tell it what to do: ``__end__`` prints what it has used, ``__block__`` blocks its event loop. JSON lines on
stdout.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import signal
import sys
import time
import warnings
from typing import Any

warnings.simplefilter("ignore")

SETTLE = 1.0
PAGE = os.sysconf("SC_PAGE_SIZE")
BEGAN = time.monotonic()


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def rss() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * PAGE


class Meter:
    """What the bot uses from `begin` on."""

    def __init__(self) -> None:
        self.messages = 0
        self.numbers: list[int] = []
        self.disconnects = 0
        self.resumed = 0

    async def begin(self, guilds: int) -> None:
        await asyncio.sleep(SETTLE)
        gc.collect()
        self.rss = rss()
        self.usage = resource.getrusage(resource.RUSAGE_SELF)
        say(ready=True, after=time.monotonic() - BEGAN - SETTLE, guilds=guilds)

    def message(self, content: str, guild: object) -> None:
        if content == "__end__":
            now, was = resource.getrusage(resource.RUSAGE_SELF), self.usage
            say(
                cpu=now.ru_utime + now.ru_stime - was.ru_utime - was.ru_stime,
                rss_before=self.rss,
                rss=rss(),
                messages=self.messages,
                disconnects=self.disconnects,
                resumed=self.resumed,
            )
        elif content == "__block__":
            time.sleep(options.block)
        elif content.startswith("number "):
            say(number=int(content.split()[1]), guild=guild is not None, after=time.monotonic() - BEGAN)
        self.messages += 1


def store() -> Any:
    from propylon import FileSessionStore

    return FileSessionStore(options.sessions) if options.sessions else None


async def discordpy(meter: Meter) -> None:
    import aiohttp
    import discord
    import yarl
    from discord.gateway import DiscordClientWebSocketResponse, DiscordWebSocket

    lean: dict[str, Any] = {"member_cache_flags": discord.MemberCacheFlags.none(), "max_messages": None}
    client = discord.Client(
        intents=discord.Intents.all(),
        chunk_guilds_at_startup=False,
        guild_ready_timeout=0.3,
        **(lean if options.cache == "none" else {}),
    )

    @client.event
    async def on_ready() -> None:
        await meter.begin(len(client.guilds))

    @client.event
    async def on_disconnect() -> None:
        meter.disconnects += 1

    @client.event
    async def on_resumed() -> None:
        meter.resumed += 1

    @client.event
    async def on_message(message: discord.Message) -> None:
        meter.message(message.content, message.guild)

    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(options.url)
    if options.mode == "adapted":
        from propylon.adapters.discordpy import install

        install(client, sessions=store())
    async with client:
        # Who it is, login() asks of the REST API, which the simulator has not; READY tells it too.
        client.http.token = options.token
        client.http._HTTPClient__session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            ws_response_class=DiscordClientWebSocketResponse,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: asyncio.create_task(client.close()))
        await client.connect()


async def hikari_(meter: Meter) -> None:
    import hikari
    from hikari.impl import config

    none = config.CacheSettings(components=config.CacheComponents.NONE)
    bot = hikari.GatewayBot(
        options.token,
        banner=None,
        logs=None,
        intents=hikari.Intents.ALL,
        cache_settings=none if options.cache == "none" else None,
        auto_chunk_members=False,
        rest_url=options.api_url,
        suppress_optimization_warning=True,
    )

    @bot.listen()
    async def on_ready(_: hikari.ShardReadyEvent) -> None:
        await meter.begin(len(bot.cache.get_guilds_view()))

    @bot.listen()
    async def on_disconnect(_: hikari.ShardDisconnectedEvent) -> None:
        meter.disconnects += 1

    @bot.listen()
    async def on_resumed(_: hikari.ShardResumedEvent) -> None:
        meter.resumed += 1

    @bot.listen()
    async def on_message(event: hikari.GuildMessageCreateEvent) -> None:
        meter.message(event.content or "", event.get_guild())

    if options.mode == "adapted":
        from propylon.adapters.hikari import install

        install(bot, sessions=store())
    await bot.start(check_for_updates=False)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await bot.close()


parser = argparse.ArgumentParser()
parser.add_argument("--library", choices=["discord.py", "hikari"], required=True)
parser.add_argument("--mode", choices=["stock", "adapted"], required=True)
parser.add_argument("--url", required=True)
parser.add_argument("--api-url", required=True)
parser.add_argument("--token", required=True)
parser.add_argument("--cache", choices=["all", "none"], default="all")
parser.add_argument("--block", type=float, default=10.0)
parser.add_argument("--sessions")
options = parser.parse_args()
asyncio.run({"discord.py": discordpy, "hikari": hikari_}[options.library](Meter()))
sys.stdout.flush()
