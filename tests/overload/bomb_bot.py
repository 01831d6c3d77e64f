"""A bot that meets a decompression bomb; tells by how much its peak memory grew. Run by test_bomb.py as a process."""

import asyncio
import json
import resource
import sys
import warnings

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)

from propylon import Backoff, Closed, Gateway, Intents  # noqa: E402
from propylon.events import Ready, Resumed  # noqa: E402

url, compression = sys.argv[1:]
gateway = Gateway(
    "token",
    gateway_url=url,
    intents=Intents.ALL,
    compression=compression,  # type: ignore[arg-type]
    backoff=Backoff(base=0.01, cap=0.05),
)
errors: list[str] = []
resumed = asyncio.Event()


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@gateway.on_close
def on_close(closed: Closed) -> None:
    if closed.error is not None:
        errors.append(type(closed.error).__name__)


@gateway.listen
def on_resumed(_: Resumed) -> None:
    resumed.set()


@gateway.listen
def on_ready(_: Ready) -> None: ...


async def main() -> None:
    async with gateway:
        await gateway.wait_guilds_ready(timeout=20)
        before = peak()
        print("ready", flush=True)
        async with asyncio.timeout(60):
            await resumed.wait()
        metrics = gateway.metrics()
        facts = {"growth": peak() - before, "errors": errors, "identifies": metrics.identifies}
        print(json.dumps(facts | {"status": gateway.status.name}), flush=True)


asyncio.run(main())
