"""A bot of many shards, with a session store, that writes down the number of each message it has dealt with.

Run by test_fleet.py.
"""

import asyncio
import logging
import os
import sys
import warnings

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)
# So many events come that a busy machine, when it stands still, does so in a listener's call; that is told, and right.
logging.getLogger("propylon").addFilter(lambda record: "held the event loop" not in record.msg)

from propylon import FileSessionStore, Intents, ShardManager  # noqa: E402
from propylon.events import Event  # noqa: E402

api_url, store, log = sys.argv[1:]
# Appended in one write each: what is in the file was dealt with, however the process ends.
written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
manager = ShardManager("token", intents=Intents.GUILD_MESSAGES, api_url=api_url, sessions=FileSessionStore(store))


class Message(Event, event="MESSAGE_CREATE"):
    nonce: str


@manager.listen
async def on_message(message: Message) -> None:
    # Some take their time, and later ones overtake them.
    if message.nonce.endswith("3"):
        await asyncio.sleep(0.05)
    os.write(written, f"{message.nonce}\n".encode())


manager.run()
