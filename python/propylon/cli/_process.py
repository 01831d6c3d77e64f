"""How a command lives and ends as a process: signals, exit codes, errors as one line.

Every command goes through `serve`, so that Ctrl-C, ``kill`` and a refused token look the same in all of them.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from propylon._signals import Stoppable, WakingLoop
from propylon.errors import PropylonError

__all__ = ["complain", "serve"]


def complain(message: str) -> None:
    """One line on stderr."""
    print(f"propylon: {message}", file=sys.stderr, flush=True)


def serve(command: Callable[[Stoppable], Coroutine[Any, Any, int]], *, stopped: int | None = None) -> int:
    """Run a command in an event loop; its exit code.

    Args:
        command: Returns the exit code.
        stopped: Exit code after SIGINT or SIGTERM; None: 128 and the signal's number, as shells have it.
    """
    running: asyncio.Task[Any] | None = None

    def cancel() -> None:
        if running is None:
            raise KeyboardInterrupt
        running.get_loop().call_soon_threadsafe(running.cancel)

    signals = Stoppable(cancel)

    async def bound() -> int:
        nonlocal running
        running = asyncio.current_task()
        with WakingLoop():
            return await command(signals)

    with signals:
        try:
            return asyncio.run(bound())
        except (KeyboardInterrupt, asyncio.CancelledError):
            if signals.caught is None:
                raise
            return 128 + signals.caught if stopped is None else stopped
        except (PropylonError, OSError, ValueError) as error:
            complain(f"{type(error).__name__}: {error}")
            return 1
