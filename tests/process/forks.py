"""A bot that forks while it is connected. Run by test_process.py; what parent and child see is told on stdout."""

import asyncio
import atexit
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

left = 0.0


def tell_how_long_leaving_took() -> None:
    # In a process whose engine has no threads, waiting for them would take all of the 5 s that they are given.
    if time.monotonic() - left > 2.5:
        say("waited for threads that are not there")


# Hooks run in the reverse of their order: this one after propylon's own.
atexit.register(tell_how_long_leaving_took)

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)
# Python warns of threads at a fork since 3.12: that is what is tried here.
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)

from propylon import ForkedError, Gateway, Intents, Presence  # noqa: E402
from propylon.events import TypingStart  # noqa: E402

url, own = sys.argv[1], "--own" in sys.argv
gateway = Gateway("token", gateway_url=url, intents=Intents.ALL)
heard = asyncio.Event()


@gateway.listen(TypingStart)
def on_typing(_: TypingStart) -> None:
    heard.set()


def say(text: str) -> None:
    print(text, flush=True)


def awaited(call: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: asyncio.run(call())


USES: dict[str, Callable[[], Any]] = {
    "status": lambda: gateway.status,
    "session": lambda: gateway.session,
    "latency": lambda: gateway.latency,
    "metrics": gateway.metrics,
    "open": awaited(gateway.open),
    "close": awaited(gateway.close),
    "set_presence": awaited(lambda: gateway.set_presence(Presence())),
    "send": awaited(lambda: gateway.send(31, {})),
}


def child() -> None:
    for name, use in USES.items():
        try:
            use()
        except ForkedError:
            say(f"refused {name}")
        else:
            say(f"allowed {name}")

    async def another() -> None:
        async with Gateway("token-of-the-child", gateway_url=url) as gateway:
            say(f"child {gateway.status.name}")

    if own:
        asyncio.run(another())


async def parent() -> None:
    say(f"parent {gateway.status.name}")
    # The server speaks when it reads this: on the connection that was there before the fork.
    await heard.wait()
    metrics = gateway.metrics()
    say(f"heard after {metrics.reconnects} reconnects")
    await gateway.close()


loop = asyncio.new_event_loop()
loop.run_until_complete(gateway.open(timeout=20))
number = os.fork()
if number == 0:
    child()
    left = time.monotonic()
    # The regular end of a process, with everything that `atexit` does.
    sys.exit(7)
_, status = os.waitpid(number, 0)
say(f"child ended with {os.waitstatus_to_exitcode(status)}")
loop.run_until_complete(parent())
loop.close()
left = time.monotonic()
