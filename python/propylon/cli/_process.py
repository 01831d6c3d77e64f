"""How a command lives and ends as a process: signals, exit codes, errors as one line.

Every command goes through `serve`, so that Ctrl-C, ``kill`` and a refused token look the same in all of them.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Final

from propylon.errors import PropylonError

__all__ = ["Interrupts", "complain", "serve"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """SIGINT and SIGTERM while a command runs: the first one cancels its task, a second one breaks it off."""

    def __init__(self) -> None:
        """Nothing caught yet."""
        self.caught: signal.Signals | None = None
        self.blocking = False
        """Set around calls that may block the thread for long, such as writing into a full pipe: the loop could
        not run the cancellation meanwhile, so the signal is raised right there."""
        self._cancel: Callable[[], object] | None = None

    def bind(self, task: asyncio.Task[Any]) -> None:
        """From now on cancel this task."""
        loop = task.get_loop()
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Act on a signal; the handler as `signal.signal` takes it."""
        again, self.caught = self.caught is not None, signal.Signals(number)
        if again or self.blocking or self._cancel is None:
            raise KeyboardInterrupt
        self._cancel()


def complain(message: str) -> None:
    """One line on stderr."""
    print(f"propylon: {message}", file=sys.stderr, flush=True)


def serve(command: Callable[[Interrupts], Coroutine[Any, Any, int]], *, stopped: int | None = None) -> int:
    """Run a command in an event loop; its exit code.

    Args:
        command: Returns the exit code.
        stopped: Exit code after SIGINT or SIGTERM; None: 128 and the signal's number, as shells have it.
    """
    interrupts = Interrupts()

    async def bound() -> int:
        task = asyncio.current_task()
        assert task is not None
        interrupts.bind(task)
        return await command(interrupts)

    # Not the loop's signal handlers: those wait until the loop gets its turn.
    before = [signal.signal(number, interrupts.handle) for number in _SIGNALS]
    try:
        return asyncio.run(bound())
    except (KeyboardInterrupt, asyncio.CancelledError):
        if interrupts.caught is None:
            raise
        return 128 + interrupts.caught if stopped is None else stopped
    except (PropylonError, OSError, ValueError) as error:
        complain(f"{type(error).__name__}: {error}")
        return 1
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)
