"""Commands on their way out: what may be sent, and who waits for it. The limits are the engine's."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final, Literal

from propylon import _core
from propylon.errors import CommandError, CommandTooLarge, NotConnected
from propylon.presence import Presence

__all__ = ["Commands", "json_of", "payload_of", "presence_json"]

_MAX_BYTES: Final = 4096


def json_of(data: Any) -> str:
    """Compact JSON. Raises CommandError for what JSON cannot hold."""
    try:
        # Not orjson: it writes NaN as null, and a wrong command must not leave.
        text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise CommandError(f"not possible in JSON: {error}") from None
    return text


def presence_json(presence: Presence) -> str:
    """The data of op 3. Raises CommandError for values that are none of a presence."""
    try:
        payload = presence.payload()
    except (AttributeError, TypeError, ValueError) as error:
        raise CommandError(f"not a presence: {error}") from None
    return json_of(payload)


def payload_of(op: int, data: str) -> str:
    """The whole payload. Raises CommandTooLarge over 4,096 bytes of UTF-8."""
    payload = f'{{"op":{op},"d":{data}}}'
    size = len(payload.encode())
    if size > _MAX_BYTES:
        raise CommandTooLarge(f"the payload is {size} bytes, Discord takes {_MAX_BYTES}")
    return payload


class Commands:
    """The commands of one shard that somebody awaits."""

    def __init__(self, shard: _core.Shard) -> None:
        """None yet."""
        self._shard: Final = shard
        self._waiting: Final[dict[int, asyncio.Future[None]]] = {}
        self._next = 0

    async def carry_out(self, submit: Callable[[int], bool]) -> None:
        """Hand a command to the engine under a number and wait until it is written. Cancelling takes it back."""
        self._next += 1
        number = self._next
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            if not submit(number):
                raise NotConnected("the gateway is closed")
            await future
        except asyncio.CancelledError:
            self._shard.cancel(number)
            raise
        finally:
            self._waiting.pop(number, None)

    def done(self, number: int, error: Literal["not connected", "queue full"] | None) -> None:
        """The engine has written a command, or never will."""
        future = self._waiting.get(number)
        if future is None or future.done():
            return
        if error is None:
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
