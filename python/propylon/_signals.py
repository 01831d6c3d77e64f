"""SIGINT and SIGTERM: the one place that takes them over, for `Gateway.serve` and for the command line.

Owns the handlers of the process while something runs that they stop, and puts back what was there. What stopping means
is told by who enters.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Self

__all__ = ["Stoppable", "WakingLoop"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_LOOK: Final = 0.5
"""Seconds. A turn of the loop in which nothing is to be done costs some 50 µs."""


class Stoppable:
    """A context that signals stop: the first asks, every further one raises KeyboardInterrupt where the code stands.

    Not the loop's signal handlers: those wait until the loop gets its turn, which never comes while a listener blocks.
    Those of `signal.signal` run in the main thread between two instructions of Python, and break off a blocking call.

    Several may be entered at a time, and left in any order: all are asked. Outside the main thread Python allows no
    handlers, so nothing is taken over there. Windows knows Ctrl-C as SIGINT; what ends a process there otherwise comes
    as no signal.
    """

    _entered: Final[list["Stoppable"]] = []
    _before: Final[dict[signal.Signals, Any]] = {}

    def __init__(self, ask: Callable[[], object]) -> None:
        """``ask`` is called inside a signal handler: it may do no more than tell its loop."""
        self.caught: signal.Signals | None = None
        """The first signal that came."""
        self.blocking = False
        """Set around calls that may block for long although nothing is lost by breaking them off, such as writing into
        a full pipe: there the first signal raises too."""
        self._ask: Final = ask

    def __enter__(self) -> Self:
        """Take the signals over, unless that has been done."""
        if threading.current_thread() is threading.main_thread():
            Stoppable._entered.append(self)
            if len(Stoppable._entered) == 1:
                for number in _SIGNALS:
                    # What other than Python has set is None, and could not be put back. A shell that starts a job in
                    # the background has it ignore the Ctrl-C of the foreground, on purpose.
                    if signal.getsignal(number) not in (None, signal.SIG_IGN):
                        Stoppable._before[number] = signal.signal(number, _handle)
        return self

    def __exit__(self, *_: object) -> None:
        """The last one puts back what was there."""
        if self not in Stoppable._entered:
            return
        if len(Stoppable._entered) == 1:
            for number, handler in Stoppable._before.items():
                signal.signal(number, handler)
            Stoppable._before.clear()
        Stoppable._entered.remove(self)

    @classmethod
    def _handle(cls, number: int) -> None:
        again = any(entered.caught is not None for entered in cls._entered)
        for entered in cls._entered:
            entered.caught = entered.caught or signal.Signals(number)
        if again or any(entered.blocking for entered in cls._entered):
            raise KeyboardInterrupt
        for entered in cls._entered:
            entered._ask()


def _handle(number: int, _: FrameType | None) -> None:
    Stoppable._handle(number)  # pyright: ignore[reportPrivateUsage]


class WakingLoop:
    """A context inside a running event loop: whatever the loop waits for, it soon takes a turn after a signal.

    Python runs handlers in the main thread between two instructions. A signal that the system gave to another thread,
    or that came just before the loop began to wait, does not end the waiting: its handler would run at the next event,
    which for a quiet bot may never come, and a second signal would count as one with the first. A timer is dull, but
    the descriptor that Python can write to at a signal belongs to the process, and loops set and reset it as they like.
    """

    def __init__(self) -> None:
        """For the loop that runs when it is entered."""
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        """Look from now on."""
        # Elsewhere there are no handlers to run.
        if threading.current_thread() is threading.main_thread():
            self._look()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)
