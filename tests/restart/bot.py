"""A bot with a session store that writes down each message it has dealt with.

Run by test_restart.py and test_takeover.py. SIGUSR1 blocks its event loop for the seconds of the last argument.
"""

import asyncio
import logging
import os
import signal
import sys
import time
import warnings

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)
# So many events come that a busy machine, when it stands still, does so in a listener's call; that is told, and right.
logging.getLogger("propylon").addFilter(lambda record: "held the event loop" not in record.msg)

from propylon import FileSessionStore, Gateway, Intents, Snowflake  # noqa: E402
from propylon.events import Event  # noqa: E402

url, store, log, *blocked = sys.argv[1:]
# Appended in one write each: what is in the file was dealt with, however the process ends.
written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
gateway = Gateway("token", intents=Intents.GUILD_MESSAGES, gateway_url=url, sessions=FileSessionStore(store))


class Message(Event, event="MESSAGE_CREATE"):
    id: Snowflake


@gateway.listen
async def on_message(message: Message) -> None:
    # Some take their time, and later ones overtake them.
    if message.id % 3 == 0:
        await asyncio.sleep(0.05)
    os.write(written, f"{message.id}\n".encode())


if blocked:
    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(float(blocked[0])))

gateway.run()
