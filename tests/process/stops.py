"""A bot that tells READY, events and ends on stdout. Run by test_process.py, which stops and continues it."""

import asyncio
import sys
import warnings

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)

from propylon import Closed, Gateway, Intents  # noqa: E402
from propylon.events import Ready, Resumed, TypingStart  # noqa: E402

gateway = Gateway("token", gateway_url=sys.argv[1], intents=Intents.ALL)


@gateway.listen
def on_event(event: Ready | Resumed | TypingStart) -> None:
    print(type(event).__name__, flush=True)


@gateway.on_close
def on_close(closed: Closed) -> None:
    print("closed", closed.code, flush=True)


async def main() -> None:
    async with gateway:
        # As long as the test leaves its stdin open.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        print("reconnects", gateway.metrics().reconnects, flush=True)


asyncio.run(main())
