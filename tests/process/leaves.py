"""A bot that is told to stop at an awkward moment, as its arguments say. Run by test_leaving.py."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import threading
import time
import warnings
from collections.abc import AsyncGenerator
from types import FrameType

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)

from propylon import FileSessionStore, Gateway, Intents  # noqa: E402
from propylon.events import Ready, TypingStart  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
parser.add_argument("--listener", choices=["spins", "sleeps", "awaits", "stays", "signals"], default="awaits")
parser.add_argument("--drain", type=float, default=10.0)
parser.add_argument("--lifespan", choices=["quick", "begins for ever"], default="quick")
parser.add_argument("--store")
parser.add_argument("--log", action="store_true", help="tell of the first signal on stderr")
parser.add_argument("--elsewhere", action="store_true", help="for each line of stdin, SIGTERM to another thread")
parser.add_argument("--two", action="store_true", help="serve a second one beside it")
arguments = parser.parse_args()


def say(text: str) -> None:
    print(text, flush=True)


@contextlib.asynccontextmanager
async def lifespan(gateway: Gateway) -> AsyncGenerator[threading.Lock]:
    say("begins")
    if arguments.lifespan == "begins for ever":
        await asyncio.sleep(3600)
    try:
        yield threading.Lock()
    finally:
        say("lifespan over")


def signal_elsewhere() -> None:
    for _ in sys.stdin:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)


if arguments.log:
    logging.basicConfig(format="%(message)s")
    logging.getLogger("propylon.gateway").setLevel(logging.INFO)
if arguments.elsewhere:
    threading.Thread(target=signal_elsewhere, daemon=True).start()
store = None if arguments.store is None else FileSessionStore(arguments.store)
gateway = Gateway("token", intents=Intents.ALL, gateway_url=arguments.url, lifespan=lifespan, sessions=store)


if arguments.listener in ("spins", "sleeps"):

    @gateway.listen
    def blocks(event: TypingStart) -> None:
        handler = signal.getsignal(signal.SIGINT)
        assert callable(handler)

        def tells(number: int, frame: FrameType | None) -> None:
            # The second one raises.
            handler(number, frame)
            say("signal")

        signal.signal(signal.SIGINT, tells)
        say("in the listener")
        try:
            while True:
                if arguments.listener == "sleeps":
                    time.sleep(3600)
        finally:
            say("broken off")

elif arguments.listener == "signals":

    @gateway.listen
    def signals(event: Ready) -> None:
        # READY is heard before whoever opens the gateway goes on.
        signal.raise_signal(signal.SIGTERM)

    @gateway.listen
    async def works(event: Ready) -> None:
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            say("cancelled")
            raise
        say("finished")

else:

    @gateway.listen
    async def awaits(event: TypingStart) -> None:
        say("in the listener")
        try:
            await asyncio.sleep(0.5 if arguments.listener == "awaits" else 3600)
        except asyncio.CancelledError:
            say("cancelled")
            raise
        say("finished")


async def main() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        if arguments.two:
            other = Gateway("other", intents=Intents.NONE, gateway_url=arguments.url)
            async with asyncio.TaskGroup() as both:
                both.create_task(other.serve())
                both.create_task(gateway.serve(drain=arguments.drain))
        else:
            await gateway.serve(drain=arguments.drain)
    finally:
        assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        say(f"closed {gateway.status.name}")


if arguments.loop == "uvloop":
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
say("end")
