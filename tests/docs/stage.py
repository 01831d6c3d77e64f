"""Runs one block of a document as its reader would, except that Discord is a simulator on this machine.

The token stands in the environment, every `Gateway`, `ShardManager` and `GatewayHost` goes to the simulator by
default, and Ctrl-C comes once one of them has handed out events, for the blocks that serve for ever. A block about a
cluster gets a nats-server of its own, whatever address it names, and its worker a host.
"""

import asyncio
import contextlib
import functools
import os
import runpy
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from blocks import STAND_INS

from propylon import Gateway, Intents, ShardManager
from propylon.cli._nats_server import LocalNats
from propylon.cluster import GatewayHost, Nats, Worker
from propylon.testing import Simulator

ENOUGH = 50
PING = {
    "id": "3",
    "channel_id": "2",
    "guild_id": "1",
    "author": {"id": "4", "username": "reader", "discriminator": "0", "avatar": None},
    "content": "!ping",
    "timestamp": "2026-01-01T00:00:00.000000+00:00",
    "edited_timestamp": None,
    "tts": False,
    "mention_everyone": False,
    "mentions": [],
    "mention_roles": [],
    "attachments": [],
    "embeds": [],
    "pinned": False,
    "type": 0,
}


Actor: TypeAlias = Gateway | ShardManager | GatewayHost | Worker
made: list[Actor] = []


def set_the_stage(kind: type[Actor], **defaults: str) -> None:
    """Give its options other defaults, and note what is made of it."""
    make: Any = kind.__init__
    make.__kwdefaults__.update(defaults)

    @functools.wraps(make)
    def make_noted(self: Actor, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        made.append(self)

    kind.__init__ = make_noted


def handled(actor: Actor) -> int:
    """How many events it has dealt with."""
    return actor.metrics().gateway.received if isinstance(actor, GatewayHost) else actor.metrics().delivered


ending = threading.Lock()
"""Held to end a block: it is interrupted before it has ended, or not at all."""


def interrupt(simulator: Simulator, ended: threading.Event) -> None:
    """Ctrl-C, once the block has heard enough."""
    while not simulator.holds("ready", count=1):
        if ended.wait(0.01):
            return
    simulator.dispatch("MESSAGE_CREATE", PING)
    while not ended.wait(0.01):
        if any(handled(actor) >= ENOUGH for actor in list(made)):
            with ending:
                if not ended.is_set():
                    os.kill(os.getpid(), signal.SIGINT)
            return


def end(ended: threading.Event) -> None:
    """No interrupt comes after this."""
    while not ended.is_set():
        # It may come while this waits for the lock.
        with contextlib.suppress(KeyboardInterrupt), ending:
            ended.set()


@contextlib.contextmanager
def cluster(simulator: Simulator, *, has_host: bool) -> Iterator[None]:
    """NATS, and a gateway host unless the block has one itself."""
    with LocalNats() as nats:
        Nats.addresses = property(lambda _: (nats.url,))  # type: ignore[assignment,method-assign]
        set_the_stage(Worker)
        if has_host:
            set_the_stage(GatewayHost, api_url=simulator.api_url)
            yield
            return
        over = threading.Event()

        async def host() -> None:
            intents = Intents.GUILDS | Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT
            async with GatewayHost("token", nats.url, app="mybot", intents=intents, api_url=simulator.api_url):
                await asyncio.to_thread(over.wait)

        hosting = threading.Thread(target=lambda: asyncio.run(host()), daemon=True)
        hosting.start()
        try:
            yield
        finally:
            over.set()
            hosting.join()


def main(block: str) -> None:
    """Run it."""
    sys.path.insert(0, str(STAND_INS))
    os.environ["DISCORD_TOKEN"] = "token"
    ended = threading.Event()
    text = Path(block).read_text("utf-8")
    with contextlib.ExitStack() as stage:
        simulator = stage.enter_context(
            Simulator(rate=500, guilds=2, shards=2, identify_interval=0, respect_intents=True)
        )
        set_the_stage(Gateway, gateway_url=simulator.url)
        # It asks how many shards there are, and is told that IDENTIFYs are not spaced.
        set_the_stage(ShardManager, api_url=simulator.api_url)
        if "propylon.cluster" in text:
            stage.enter_context(cluster(simulator, has_host="GatewayHost(" in text))
        interrupting = threading.Thread(target=interrupt, args=(simulator, ended), daemon=True)
        interrupting.start()
        try:
            runpy.run_path(block, run_name="__main__")
        except KeyboardInterrupt:
            pass
        finally:
            end(ended)
            # It asks the simulator, which ends below.
            interrupting.join()


if __name__ == "__main__":
    main(sys.argv[1])
