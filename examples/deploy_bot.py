"""A bot that is deployed without downtime: the new process takes the session over while the old one still runs.

With ``DISCORD_TOKEN`` in the environment it runs against Discord: start it, start it once more, and the first one ends
by itself. Without, it shows that: on a simulated Discord, each of three processes takes over from the one before::

    python examples/deploy_bot.py

Each message is handled at least once, and no second IDENTIFY is spent.
"""

import argparse
import asyncio
import contextlib
import itertools
import logging
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from propylon import FileSessionStore, Gateway, GatewayClosed, Intents
from propylon.events import MessageCreate
from propylon.testing import Simulator, make

log = logging.getLogger(f"deploy_bot[{os.getpid()}]")


class Journal:
    """What has been handled: a line for each message, in a file that outlives the process."""

    def __init__(self, path: Path) -> None:
        """The file may be there already; several processes append to it."""
        self.path = path

    def add(self, message_id: int) -> None:
        """Note a message."""
        with self.path.open("a") as file:
            file.write(f"{message_id}\n")

    def read(self) -> Counter[int]:
        """How often each message has been handled."""
        return Counter(map(int, self.path.read_text().split())) if self.path.exists() else Counter()


def make_bot(token: str, folder: Path, *, gateway_url: str | None = None) -> Gateway:
    """The gateway. Old and new process have the same file; that is all there is to it."""
    journal = Journal(folder / "handled.txt")
    bot = Gateway(
        token,
        # The next process can resume only with the same intents.
        intents=Intents.GUILD_MESSAGES,
        sessions=FileSessionStore(folder / "sessions.json"),
        gateway_url=gateway_url,
    )

    @bot.listen(concurrency=10)
    async def on_message(message: MessageCreate) -> None:
        await asyncio.sleep(0.01)  # a database, say
        # An event may come twice, never not at all: so make what a listener does safe to repeat. Ids stay the same.
        journal.add(message.id)

    _ = on_message
    return bot


async def run(token: str, folder: Path, gateway_url: str | None) -> None:
    """One process. It returns after SIGTERM or SIGINT, or when another process has taken its session over."""
    log.info("starting")
    # On SIGTERM, and when it is replaced, calls that run have so many seconds to finish.
    await make_bot(token, folder, gateway_url=gateway_url).serve(drain=10)
    log.info("ended")


async def rehearse(folder: Path) -> None:
    """Three processes, each of which takes over from the one before, while messages come."""
    journal = Journal(folder / "handled.txt")
    sent = 0

    async def talk(simulator: Simulator) -> None:
        nonlocal sent
        for number in itertools.count(1):
            simulator.dispatch("MESSAGE_CREATE", make(MessageCreate, id=number))
            sent = number
            await asyncio.sleep(0.005)

    async with Simulator(guilds=0, replay_buffer=1_000_000) as simulator, contextlib.AsyncExitStack() as stack:
        command = [sys.executable, __file__, "--folder", str(folder), "--gateway-url", simulator.url]
        environment = {**os.environ, "DISCORD_TOKEN": "simulated"}

        async def start() -> asyncio.subprocess.Process:
            process = await asyncio.create_subprocess_exec(*command, env=environment)

            async def end() -> None:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

            stack.push_async_callback(end)
            return process

        async def until_handled(count: int) -> None:
            async with asyncio.timeout(60):
                # Another process writes the file: there is nothing to await but time.
                while len(journal.read()) < count:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

        bot = await start()
        await simulator.wait_for("ready", count=1, timeout=60)
        talking = asyncio.create_task(talk(simulator))
        for _ in range(2):
            await until_handled(sent + 300)
            old, bot = bot, await start()
            log.info("process %d was replaced by %d and ended with %d", old.pid, bot.pid, await old.wait())
        talking.cancel()
        await until_handled(sent)
        bot.terminate()
        await bot.wait()
        identifies = simulator.record()["identifies"]
    handled = journal.read()
    twice = sum(count > 1 for count in handled.values())
    log.info("sent %d, handled %d, of these twice %d; IDENTIFYs: %d", sent, len(handled), twice, identifies)


async def main(folder: Path | None, gateway_url: str | None) -> None:
    """Against Discord, or the rehearsal."""
    token = os.environ.get("DISCORD_TOKEN")
    if token:
        folder = folder or Path("state")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await run(token, folder, gateway_url)
        return
    log.info("DISCORD_TOKEN is not set: this is a rehearsal on a simulated Discord")
    with tempfile.TemporaryDirectory() as temporary:
        await rehearse(Path(temporary))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    parser = argparse.ArgumentParser(description="A bot that is deployed without downtime.")
    parser.add_argument("--folder", type=Path, help="where the session and what was handled are kept; ./state")
    parser.add_argument("--gateway-url", help="another server than Discord")
    arguments = parser.parse_args()
    try:
        asyncio.run(main(arguments.folder, arguments.gateway_url))
    except GatewayClosed as error:
        raise SystemExit(str(error)) from None
