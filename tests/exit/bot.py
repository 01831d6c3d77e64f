"""A bot under flood that ends in the way its arguments say. Run by test_exit.py as a process of its own."""

import argparse
import asyncio
import contextlib
import logging
import warnings
from collections.abc import Coroutine

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)
# So many events come that a busy machine, when it stands still, does so in a listener's call; that is told, and right.
logging.getLogger("propylon").addFilter(lambda record: "held the event loop" not in record.msg)

from propylon import Gateway, Intents, NotConnected, Presence  # noqa: E402
from propylon.events import MessageCreate, PresenceUpdate  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("--way", choices=["return", "exception", "signal", "run"], required=True)
parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
parser.add_argument("--control", action="store_true", help="leave control calls in flight")
parser.add_argument("--with", dest="context", action="store_true", help="close by `async with`")
arguments = parser.parse_args()

gateway = Gateway("token", gateway_url=arguments.url, intents=Intents.ALL)
seen = 0
background: set[asyncio.Task[None]] = set()
flooding: asyncio.Event


async def control(call: Coroutine[None, None, None]) -> None:
    # What a call that waits gets when the gateway closes.
    with contextlib.suppress(NotConnected):
        await call


def look() -> None:
    global seen
    seen += 1
    if seen == 2_000:
        for _ in range(20 if arguments.control else 0):
            # The limiter lets five presences through in 20 s and coalesces the rest: these wait.
            background.add(asyncio.get_running_loop().create_task(control(gateway.set_presence(Presence()))))
            background.add(asyncio.get_running_loop().create_task(control(gateway.send(3, Presence().payload()))))
        flooding.set()
        print("flooding", flush=True)


@gateway.listen
async def on_message(message: MessageCreate) -> None:
    look()
    if int(message.id) % 50 == 0:
        await asyncio.sleep(0.5)


@gateway.listen
def on_presence(presence: PresenceUpdate) -> None:
    look()


async def main() -> None:
    global flooding
    flooding = asyncio.Event()
    if arguments.context:
        async with gateway:
            await body()
    else:
        await gateway.open(timeout=30)
        await body()


async def body() -> None:
    await flooding.wait()
    if arguments.way == "exception":
        raise RuntimeError("the bot's own")
    if arguments.way == "signal":
        await asyncio.sleep(60)


if arguments.way == "run":
    flooding = asyncio.Event()
    if arguments.loop == "uvloop":
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    gateway.run()
elif arguments.loop == "uvloop":
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
