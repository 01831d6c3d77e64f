"""Waiting for what somebody else does."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from propylon.testing import Simulator

__all__ = ["saved", "until"]


async def until(condition: Callable[[], object], what: str = "", timeout: float = 10.0) -> None:
    """Return when it is so."""
    end = asyncio.get_running_loop().time() + timeout
    while not condition():
        if asyncio.get_running_loop().time() > end:
            raise TimeoutError(what or "it did not come to that")
        await asyncio.sleep(0.005)


async def saved(store: Path, simulator: Simulator) -> None:
    """Return when a ``FileSessionStore`` has the one session, up to its last event. It is written once a second."""
    (session,) = simulator.record()["sessions"]

    def is_there() -> bool:
        kept = json.loads(store.read_text())["sessions"].values() if store.exists() else ()
        return [one["session"]["sequence"] for one in kept] == [session["sequence"]]

    await until(is_there, "the session in the store", timeout=20)
