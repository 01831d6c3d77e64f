"""Who waits until a command is written. The limits are the engine's."""

import asyncio
from collections.abc import Callable
from typing import Final, Literal

import propylon._core as _core
from propylon.errors import CommandError, NotConnected

__all__ = ["CommandTable"]


class CommandTable:
    """The commands of one shard that somebody awaits."""

    def __init__(self, shard: _core.Shard) -> None:
        """None yet."""
        self._shard: Final = shard
        self._waiting: Final[dict[int, asyncio.Future[None]]] = {}
        self._written: Final[dict[int, Callable[[], None]]] = {}
        self._next = 0

    @property
    def waits(self) -> bool:
        """Whether somebody does."""
        return bool(self._waiting)

    async def carry_out(self, submit: Callable[[int], bool], written: Callable[[], None] | None = None) -> None:
        """Hand a command to the engine under a number and wait until it is written. Cancelling takes it back.

        ``written`` is called with the news itself, before later news is looked at.
        """
        self._next += 1
        number = self._next
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        if written is not None:
            self._written[number] = written
        try:
            if not submit(number):
                raise NotConnected("the gateway is closed")
            await future
        except asyncio.CancelledError:
            self._shard.cancel(number)
            raise
        finally:
            self._waiting.pop(number, None)
            self._written.pop(number, None)

    def done(self, number: int, error: Literal["not connected", "queue full"] | None) -> None:
        """The engine has written a command, or never will."""
        future = self._waiting.get(number)
        if future is None or future.done():
            return
        if error is None:
            if number in self._written:
                self._written.pop(number)()
            future.set_result(None)
        elif error == "queue full":
            future.set_exception(CommandError("too many commands wait already; await them one by one"))
        else:
            future.set_exception(NotConnected("the gateway was closed before the command was sent"))

    def fail_all(self) -> None:
        """The gateway has ended."""
        for number in list(self._waiting):
            self.done(number, "not connected")

    def clear(self) -> None:
        """Forget those that wait in a loop that has died."""
        self._waiting.clear()
        self._written.clear()
