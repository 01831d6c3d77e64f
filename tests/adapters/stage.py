"""Runs one program of docs/adapters.md as its reader would, except that Discord is a simulator on this machine.

Ctrl-C comes when the bot is READY and has had a message.
"""

import asyncio
import contextlib
import os
import runpy
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parents[1]))

from adapters.api import Api  # noqa: E402
from propylon.testing import Simulator  # noqa: E402


def serve(simulator: Simulator, ready: threading.Event, url: list[str]) -> None:
    """The REST API, in a thread of its own."""

    async def run() -> None:
        async with Api(simulator) as api:
            url.append(api.url)
            ready.set()
            await asyncio.Event().wait()

    asyncio.run(run())


def interrupt(simulator: Simulator) -> None:
    """Ctrl-C, some time after READY."""
    simulator.wait("ready", count=1, timeout=30)
    time.sleep(3)
    os.kill(os.getpid(), signal.SIGINT)


def main(program: str) -> None:
    """Run it."""
    os.environ["DISCORD_TOKEN"] = "NTAzMzE2NDgwMDAwMDAwMDAx.simulator.documents"
    with Simulator(guilds=2, members=3, identify_interval=0) as simulator:
        ready, url = threading.Event(), list[str]()
        threading.Thread(target=serve, args=(simulator, ready, url), daemon=True).start()
        ready.wait(10)
        if "import discord" in Path(program).read_text("utf-8"):
            from discord.http import Route

            Route.BASE = url[0]
        else:
            from hikari import urls

            urls.REST_API_URL = url[0]
        threading.Thread(target=interrupt, args=(simulator,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            runpy.run_path(program, run_name="__main__")
        print("identified", simulator.fleet()["identifies"], flush=True)
        # The server's loop is a daemon's.
        os._exit(0)


main(sys.argv[1])
