"""A bot whose listener cannot keep up; prints its counters and its memory as JSON. Run by test_flood.py."""

import asyncio
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)

from propylon import Gateway, Intents  # noqa: E402
from propylon.events import MessageCreate, PresenceUpdate  # noqa: E402

url, overflow, seconds, queue_bytes = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
policy: Any = overflow
gateway = Gateway(
    "token", gateway_url=url, intents=Intents.ALL, overflow=policy, queue_bytes=queue_bytes, max_pending=500
)
order: list[int] = []


def resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS")


@gateway.listen
def slow(presence: PresenceUpdate) -> None:
    end = time.perf_counter() + 0.002
    while time.perf_counter() < end:
        pass


@gateway.listen
async def slow_too(message: MessageCreate) -> None:
    order.append(message.id)
    await asyncio.sleep(0.05)


async def main() -> None:
    await gateway.open(timeout=30)
    base = peak = resident()
    whole = True
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.05)
        peak = max(peak, resident())
        metrics = gateway.metrics()
        whole = whole and metrics.received == (
            metrics.delivered + metrics.unheard + metrics.filtered + metrics.overflowed + metrics.queued
        )
    metrics = gateway.metrics()
    status = gateway.status.name
    await gateway.close()
    print(
        json.dumps(
            {
                "base": base,
                "peak": peak,
                "whole": whole,
                "status": status,
                "in_order": order == sorted(order),
                "listened": len(order),
                "queue_bytes": metrics.queue_bytes,
                "queued": metrics.queued,
                "pending": metrics.pending,
                "overflowed": metrics.overflowed,
                "pauses": metrics.pauses,
                "paused_seconds": metrics.paused_seconds,
                "received": metrics.received,
                "reconnects": metrics.reconnects,
            }
        )
    )


asyncio.run(main())
