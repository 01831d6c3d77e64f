"""SIGINT and SIGTERM: the one place that takes them over, for `Gateway.serve` and for the command line.

Owns the handlers of the process while something runs that they stop, and puts back what was there. What stopping means
is told by who enters.
"""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Self

__all__ = ["Stoppable", "WakingLoop"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_NO_DESCRIPTOR: Final = -1


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
    """A context inside a running event loop: whatever the loop waits for, it takes a turn at each signal.

    Python runs handlers in the main thread between two instructions. A signal that the system gave to another thread,
    or that came just before the loop began to wait, does not end the waiting: its handler would run at the next event,
    which for a quiet bot may never come, and a second signal would count as one with the first. Where the loop has
    such a descriptor of its own (uvloop, any with `loop.add_signal_handler`) nothing is done. It may be entered several
    times, and left in any order.
    """

    _wakes: Final[dict[asyncio.AbstractEventLoop, "WakingLoop"]] = {}

    def __init__(self) -> None:
        """For the loop that runs when it is entered."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entered = 0
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> Self:
        """Let signals wake it, unless they do."""
        if threading.current_thread() is not threading.main_thread():
            return self
        self._loop = asyncio.get_running_loop()
        wake = WakingLoop._wakes.setdefault(self._loop, self)
        if wake._entered == 0:
            wake._install(self._loop)
        wake._entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        """The last one puts back what was there."""
        if self._loop is None:
            return
        wake = WakingLoop._wakes[self._loop]
        wake._entered -= 1
        if wake._entered == 0:
            del WakingLoop._wakes[self._loop]
            wake._remove(self._loop)

    def _install(self, loop: asyncio.AbstractEventLoop) -> None:
        before = signal.set_wakeup_fd(_NO_DESCRIPTOR)
        if before != _NO_DESCRIPTOR:
            signal.set_wakeup_fd(before, warn_on_full_buffer=False)
            return
        ours, pythons = self._ends = socket.socketpair()
        for end in self._ends:
            end.setblocking(False)
        loop.add_reader(ours, ours.recv, 4096)
        # Full means that the loop is about to wake.
        signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)

    def _remove(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._ends is None:
            return
        ours, pythons = self._ends
        now = signal.set_wakeup_fd(_NO_DESCRIPTOR)
        if now != pythons.fileno():
            # The loop's own, since somebody added a handler to it.
            signal.set_wakeup_fd(now, warn_on_full_buffer=False)
        loop.remove_reader(ours)
        for end in self._ends:
            end.close()
