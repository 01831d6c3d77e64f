"""A discord.py bot with the engine, to be killed: it says on stdout what it hears."""

import asyncio
import sys

import discord
from discord.http import Route

from propylon import FileSessionStore
from propylon.adapters.discordpy import install


async def main(api_url: str, sessions: str, token: str) -> None:
    Route.BASE = api_url
    client = discord.Client(intents=discord.Intents.all(), guild_ready_timeout=0.1)
    install(client, sessions=FileSessionStore(sessions))

    @client.event
    async def on_message(message: discord.Message) -> None:
        print(message.content, flush=True)

    await client.start(token)


asyncio.run(main(*sys.argv[1:]))
