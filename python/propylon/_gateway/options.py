"""Options of a gateway that are values of their own."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Backoff", "Compression", "Misfits", "Overflow", "Timeouts"]

Compression: TypeAlias = Literal["zstd-stream", "zlib-stream", "payload"] | None
"""How Discord compresses what it sends; "payload" is zlib document by document. None: not at all."""

Misfits: TypeAlias = Literal["mend", "error"]
"""What becomes of an event in which something does not fit its class."""

Overflow: TypeAlias = Literal["pause", "drop_oldest"]
"""What happens when listeners do not keep up and the queue is full."""


def _check(owner: object, **seconds: float) -> None:
    for name, value in seconds.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not (is_number and math.isfinite(value) and value >= 0):
            raise ValueError(f"{type(owner).__name__}({name}={value!r}): must be a number of seconds, 0 or more")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Deadlines of the steps of a connection, in seconds."""

    connect: float = 20.0
    """Proxy, TCP, TLS and the HTTP upgrade together, and ``/gateway/bot`` where it is asked."""
    hello: float = 20.0
    """From the upgrade to HELLO."""
    ready: float = 60.0
    """From IDENTIFY to READY, extended by acknowledged heartbeats; from RESUME to RESUMED, not extended."""
    close: float = 2.0
    """The closing handshake."""

    def __post_init__(self) -> None:
        """Refuse what is no number of seconds."""
        _check(self, connect=self.connect, hello=self.hello, ready=self.ready, close=self.close)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays between connections, in seconds: full jitter below ``base * 2**n``, at most ``cap``.

    A connection that stayed READY or RESUMED for ``reset_after`` ends the series. The first attempt after the drop of
    such a connection does not wait at all.
    """

    base: float = 1.0
    cap: float = 60.0
    reset_after: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what is no number of seconds."""
        _check(self, base=self.base, cap=self.cap, reset_after=self.reset_after)
