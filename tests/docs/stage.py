"""Runs one block of a document as its reader would, except that Discord is a simulator on this machine.

The token stands in the environment, every `Gateway` and `ShardManager` goes to the simulator by default, and Ctrl-C
comes once one of them has handed out events, for the blocks that serve for ever.
"""

import contextlib
import os
import runpy
import signal
import sys
import threading
from typing import Any

from blocks import STAND_INS

from propylon import Gateway, ShardManager
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


made: list[Gateway | ShardManager] = []


def set_the_stage(kind: type[Gateway | ShardManager], **defaults: str) -> None:
    """Give its options other defaults, and note what is made of it."""
    make: Any = kind.__init__
    make.__kwdefaults__.update(defaults)

    def make_noted(self: Gateway | ShardManager, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        made.append(self)

    kind.__init__ = make_noted


ending = threading.Lock()
"""Held to end a block: it is interrupted before it has ended, or not at all."""


def interrupt(simulator: Simulator, ended: threading.Event) -> None:
    """Ctrl-C, once the block has heard enough."""
    while not simulator.holds("ready", count=1):
        if ended.wait(0.01):
            return
    simulator.dispatch("MESSAGE_CREATE", PING)
    while not ended.wait(0.01):
        if any(gateway.metrics().delivered >= ENOUGH for gateway in list(made)):
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


def main(block: str) -> None:
    """Run it."""
    sys.path.insert(0, str(STAND_INS))
    os.environ["DISCORD_TOKEN"] = "token"
    ended = threading.Event()
    with Simulator(rate=500, guilds=2, shards=2, identify_interval=0, respect_intents=True) as simulator:
        set_the_stage(Gateway, gateway_url=simulator.url)
        # It asks how many shards there are, and is told that IDENTIFYs are not spaced.
        set_the_stage(ShardManager, api_url=simulator.api_url)
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
