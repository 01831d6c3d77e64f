"""A worker that writes down what it is called for, and what it has done. Run by `processes`: options as JSON."""

import asyncio
import json
import logging
import os
import random
import sys
import time
import warnings

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)

from propylon import Dispatch  # noqa: E402
from propylon.cluster import Worker  # noqa: E402
from propylon.events import Event  # noqa: E402

options = json.loads(sys.argv[1])
# It says when it has joined.
logging.basicConfig(level=logging.INFO)
# Appended in one write each: what is in the file has happened, however the process ends.
record = os.open(options["record"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
worker = Worker(options["nats"], app=options["app"], name=options["name"])
dice = random.Random(options["name"])


class Numbered(Event, event="MESSAGE_CREATE"):
    """What the simulator counts by guild: ``"4:17"`` is the 17th of guild number 4."""

    nonce: str


@worker.listen
async def handle(dispatch: Dispatch[Numbered]) -> None:
    guild, _, number = dispatch.decode(Numbered).nonce.partition(":")
    if guild == "probe":
        os.write(record, f"# {number}\n".encode())
        return
    os.write(record, f"{time.monotonic():.6f} {guild} {number} {dispatch.sequence}\n".encode())
    # Some take their time, and later ones overtake them: what is not done when this process is killed must come again.
    if dice.random() < 0.2:
        await asyncio.sleep(dice.random() * 0.05)
    os.write(record, f"{time.monotonic():.6f} {guild} {number} 0\n".encode())


worker.run()
