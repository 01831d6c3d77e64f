"""Records what a simulator sends until it is killed: ``bot.py URL FILE``. Prints a line when it is ready."""

import asyncio
import sys

from propylon import Gateway, Intents


async def main(url: str, path: str) -> None:
    gateway = Gateway("killed", intents=Intents.ALL, gateway_url=url)
    async with gateway.record(path), gateway:
        print("ready", flush=True)
        await gateway.wait_closed()


asyncio.run(main(*sys.argv[1:]))
