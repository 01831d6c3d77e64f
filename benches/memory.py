"""Memory of a quiet shard: Propylon's, and those of discord.py and hikari with their caches off as far as they can be.

What a process of many shards holds beyond one of a single shard, divided by the shards between. Each count is a
process of its own, the server is another; all ask for zstd-stream, there is a guild for each shard, and nothing
happens but heartbeats.
``--json`` writes what the plot is made of.

    python benches/memory.py --json benches/results/memory.json
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")
SETTLE = 3.0
"""Seconds from when all shards are ready."""
CLIENTS = ("Propylon", "discord.py", "hikari")


def rss() -> int:
    """Of this process, in bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * PAGE


async def settled() -> int:
    """What is held when the start is over."""
    await asyncio.sleep(SETTLE)
    gc.collect()
    return rss()


async def of_propylon(shards: int, _url: str, api_url: str) -> int:
    from propylon import Intents, ShardManager

    manager = ShardManager("token", intents=Intents.ALL, api_url=api_url)
    await manager.open()
    await manager.wait_guilds_ready(timeout=60)
    held = await settled()
    await manager.close()
    assert len(manager.shards) == shards
    return held


async def of_discord_py(shards: int, url: str, _api_url: str) -> int:
    import aiohttp
    import discord
    import yarl
    from discord.gateway import DiscordClientWebSocketResponse, DiscordWebSocket

    class Client(discord.AutoShardedClient):
        async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
            """Without the 5 s between two: this is not about the start."""

    client = Client(
        intents=discord.Intents.all(),
        shard_count=shards,
        member_cache_flags=discord.MemberCacheFlags.none(),
        max_messages=None,
        chunk_guilds_at_startup=False,
        guild_ready_timeout=0.2,
    )
    ready = asyncio.Event()

    @client.event
    async def on_ready() -> None:
        ready.set()

    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)
    async with client:
        # What login() asks of the REST API the simulator does not have; READY tells it too.
        client.http.token = "token"
        client.http._HTTPClient__session = aiohttp.ClientSession(  # type: ignore[attr-defined]
            connector=aiohttp.TCPConnector(limit=0),
            ws_response_class=DiscordClientWebSocketResponse,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        connection = asyncio.create_task(client.connect())
        await ready.wait()
        held = await settled()
        assert len(client.shards) == shards
        await client.close()
        await connection
    return held


async def of_hikari(shards: int, _url: str, api_url: str) -> int:
    import hikari
    from hikari.impl import CacheSettings, config

    bot = hikari.GatewayBot(
        "NTAzMzE2NDgwMDAwMDAwMDAx.memory.token",
        banner=None,
        logs=None,
        intents=hikari.Intents.ALL,
        cache_settings=CacheSettings(components=config.CacheComponents.NONE),
        auto_chunk_members=False,
        rest_url=api_url,
        suppress_optimization_warning=True,
    )
    await bot.start(check_for_updates=False, shard_count=shards)
    held = await settled()
    assert len(bot.shards) == shards
    await bot.close()
    return held


def held_by(client: str, shards: int) -> int:
    """Bytes of a process with so many shards."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from endurance.server import Server

    world = {"guilds": shards, "shards": shards, "members": 5, "guild_create_members": 5, "heartbeat_interval": 41.25}
    gate = {
        "max_concurrency": 16,
        "identify_interval": 0,
        "session_start_total": 9_999,
        "session_start_remaining": 9_999,
    }
    with Server(**world, **gate, start="manual") as server:
        command = [sys.executable, "-O", __file__, "--one", client, str(shards), server.url, server.api_url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        raise RuntimeError(f"{client} with {shards} shards: {done.stderr[-2000:]}")
    return int(done.stdout.split()[-1])


def main(rounds: int, many: int, built_from: str, out: Path | None) -> None:
    from propylon import _core

    if _core.DEBUG_BUILD:
        print("propylon._core is a debug build: say so beside these figures", file=sys.stderr)
    kib: dict[str, list[float]] = {client: [] for client in CLIENTS}
    for _ in range(rounds):
        for client in CLIENTS:
            kib[client].append(round((held_by(client, many) - held_by(client, 1)) / (many - 1) / 1024, 1))
            print(f"{client}: {kib[client][-1]:.0f} KiB a shard", file=sys.stderr)
    for client, values in kib.items():
        print(f"{client}: {statistics.median(values):.0f} KiB ({min(values):.0f}–{max(values):.0f})")
    if out is not None:
        versions = {"Propylon": version("propylon"), "discord.py": version("discord.py"), "hikari": version("hikari")}
        run = {
            "command": f"benches/memory.py --rounds {rounds} --shards {many}",
            "date": time.strftime("%Y-%m-%d"),
            "machine": f"{os.cpu_count()} cores; {platform.system()}; CPython {platform.python_version()}",
            "build": f"{'debug' if _core.DEBUG_BUILD else 'release'} build of {built_from}",
            "versions": versions,
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"run": run, "shards": many, "kib_a_shard": kib}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int, default=64, help="of the process with many (64)")
    parser.add_argument(
        "--built-from", default="this commit", help="what the installed wheel was built from, to be noted"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures here")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, count, url, api_url = options.one
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        measure: Any = {"Propylon": of_propylon, "discord.py": of_discord_py, "hikari": of_hikari}[name]
        print(asyncio.run(measure(int(count), url, api_url)))
    else:
        main(options.rounds, options.shards, options.built_from, options.json)
