"""`Gateway.run`: serving until the gateway is closed, by a signal among others."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Protocol

from propylon.errors import SessionTakenOver

__all__ = ["serve"]


class _Servable(Protocol):
    async def open(self) -> None: ...
    async def wait_closed(self) -> None: ...
    async def close(self) -> None: ...


async def serve(gateway: _Servable, is_opening: Callable[[], bool]) -> None:
    """Open it and wait for its end; SIGINT and SIGTERM close it, or stop the opening.

    It is no error where another process has taken the session over.
    """
    loop = asyncio.get_running_loop()
    caught: list[signal.Signals] = []
    serving = asyncio.current_task()
    closing: set[asyncio.Task[None]] = set()

    def stop() -> None:
        # The second signal of an impatient user has its usual effect.
        for number in caught:
            loop.remove_signal_handler(number)
        caught.clear()
        if not is_opening():
            closing.add(loop.create_task(gateway.close()))
        elif serving is not None:
            serving.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        # Not on Windows, and not outside the main thread.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop)
            caught.append(number)
    stoppable = bool(caught)
    try:
        await gateway.open()
        try:
            await gateway.wait_closed()
        finally:
            await gateway.close()
    except SessionTakenOver:
        # Not a failure: the new version of the bot goes on with the session.
        pass
    except asyncio.CancelledError:
        # Stopped while it was opening; `open` has closed it.
        if not stoppable or caught:
            raise
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
