"""discord.py as the client: its caches off as far as they can be (guilds and channels stay).

`Client.login` asks Discord's REST API who it is; here only its HTTP session is made, and its gateway is the simulator.
The compression is the library's choice: zstd-stream, since zstandard is installed. In mode ``plain`` it is as it comes
without its ``speed`` extra: the json of the standard library and zlib-stream.
"""

import sys

from meter import Meter, arguments, run

options = arguments()
if options.mode == "plain":
    sys.modules["orjson"] = sys.modules["zstandard"] = None

import aiohttp  # noqa: E402 (after the modules that it must not find)
import discord  # noqa: E402
import yarl  # noqa: E402
from discord.gateway import DiscordClientWebSocketResponse, DiscordWebSocket  # noqa: E402


async def main() -> None:
    meter = Meter(options)
    client = discord.Client(
        intents=discord.Intents.all(),
        member_cache_flags=discord.MemberCacheFlags.none(),
        max_messages=None,
        chunk_guilds_at_startup=False,
        guild_ready_timeout=0.2,
    )

    @client.event
    async def on_ready() -> None:
        await meter.begin()

    @client.event
    async def on_message(message: discord.Message) -> None:
        _ = message.content, message.author.id, message.channel.id
        meter.messages += 1
        if options.stamp:
            meter.late(message.nonce)

    @client.event
    async def on_invite_delete(_: discord.Invite) -> None:
        meter.end(version=discord.__version__)

    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(options.url)
    async with client:
        client.http.token = "token"
        client.http._HTTPClient__session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            ws_response_class=DiscordClientWebSocketResponse,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        await client.connect(reconnect=False)


run(main(), options)
