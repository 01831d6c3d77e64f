"""Waiting for what somebody else does."""

import asyncio
from collections.abc import Callable

__all__ = ["until"]


async def until(condition: Callable[[], object], what: str = "", timeout: float = 10.0) -> None:
    """Return when it is so."""
    end = asyncio.get_running_loop().time() + timeout
    while not condition():
        if asyncio.get_running_loop().time() > end:
            raise TimeoutError(what or "it did not come to that")
        await asyncio.sleep(0.005)
