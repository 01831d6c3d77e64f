"""What the cluster needs of an engine for messages: keys that are compared and set, questions, and news of both.

`propylon._core.Broker` is the one over NATS; tests have one in memory. Everything here is a control call: rare,
awaited, cancellable. Events go another way, in the engine: `_core.Publisher` and `_core.Intake`.
"""

from collections.abc import Awaitable
from typing import NamedTuple, Protocol

__all__ = ["Asked", "Broker", "Change", "Entry", "Questions", "Watch"]


class Entry(NamedTuple):
    """A key's value, as it was when it was read."""

    key: str
    value: bytes
    revision: int
    """Of the bucket, so that of two entries the later one has the larger revision, whatever their keys."""
    created: float
    """When it was written: Unix time in seconds, by the server's clock."""


class Change(NamedTuple):
    """A key was written, deleted or has expired."""

    key: str
    value: bytes | None
    """None: the key is gone."""
    revision: int


class Asked(NamedTuple):
    """A question that somebody waits for."""

    data: bytes
    reply: str
    """Where the answer goes: `Broker.publish`; more than one may follow."""


class Watch(Protocol):
    """News of a bucket. What it holds when the watch begins comes first, as changes."""

    def next(self) -> Awaitable[list[Change]]:
        """All changes since the last call, in their order; waits where there are none.

        The first call returns what there was when it began, which may be an empty list.

        Raises:
            ConnectionError: The broker was closed.
        """
        ...

    def stop(self) -> None:
        """No more; who waits gets a ConnectionError."""
        ...


class Questions(Protocol):
    """Requests to one subject."""

    def next(self) -> Awaitable[Asked]:
        """The next one; raises ConnectionError when the broker is closed, or `stop` was called."""
        ...

    def stop(self) -> None:
        """Take no more: who asks hears at once that nobody answers."""
        ...


class Broker(Protocol):
    """Buckets of keys, and subjects. Every method but `publish` raises TimeoutError where no answer comes within the
    time-out of the connection, and ConnectionError where the broker was closed."""

    def get(self, bucket: str, key: str, /) -> Awaitable[Entry | None]:
        """The entry; None where there is none."""
        ...

    def entries(self, bucket: str, pattern: str, /) -> Awaitable[list[Entry]]:
        """Those whose key matches, such as ``"lease.8.*"``, ``"worker.>"``, in no order."""
        ...

    def put(self, bucket: str, key: str, value: bytes, /, *, ttl: float | None = None) -> Awaitable[int]:
        """Write it whatever is there; the revision. With ``ttl`` it is gone after so many seconds (whole ones)."""
        ...

    def create(self, bucket: str, key: str, value: bytes, /, *, ttl: float | None = None) -> Awaitable[int | None]:
        """Write it where the key is not there; None: it is."""
        ...

    def update(
        self, bucket: str, key: str, value: bytes, revision: int, /, *, ttl: float | None = None
    ) -> Awaitable[int | None]:
        """Write it where the key still has this revision; None: it has not. The time to live begins anew."""
        ...

    def delete(self, bucket: str, key: str, /, *, revision: int | None = None) -> Awaitable[bool]:
        """Remove it, where it has this revision; whether it was removed. Without a revision always true."""
        ...

    def watch(self, bucket: str, pattern: str, /) -> Awaitable[Watch]:
        """Hear of the keys that match, from now on."""
        ...

    def request(self, subject: str, data: bytes, timeout: float, /) -> Awaitable[bytes | None]:
        """Ask whoever serves the subject; None at once where nobody does. Raises TimeoutError after ``timeout`` s."""
        ...

    def serve(self, subject: str, /) -> Awaitable[Questions]:
        """Answer what is asked there, from when this returns."""
        ...

    def publish(self, subject: str, data: bytes, /) -> Awaitable[None]:
        """Send it to whoever is there: an answer, most of all."""
        ...

    def inbox(self) -> str:
        """A subject that nobody else has, for `serve`."""
        ...

    def close(self) -> Awaitable[None]:
        """What was sent is on its way; everything that waits gets a ConnectionError."""
        ...
