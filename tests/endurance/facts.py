"""What a process holds, read from ``/proc``: Linux only."""

import asyncio
import gc
import os
import threading
from pathlib import Path

from face.support import eventually

__all__ = ["facts", "settled"]


def facts() -> dict[str, int]:
    """Of this process, with its garbage collected: in a running loop. ``rss`` in bytes."""
    gc.collect()
    return _facts()


def _facts() -> dict[str, int]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "python threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "rss": pages * os.sysconf("SC_PAGE_SIZE"),
    }


async def settled() -> dict[str, int]:
    """The same, once all but the memory stands still: what was closed a moment ago is let go of by other threads."""
    gc.collect()
    last: dict[str, int] = {}
    alike = 0

    def still() -> bool:
        nonlocal last, alike
        previous, last = last, _facts()
        same = all(previous.get(name) == last[name] for name in last.keys() - {"rss"})
        alike = alike + 1 if same else 0
        return alike == 10

    await eventually(still)
    return last
