"""The broker in memory: one server, and several clients of it, each of which can be cut off.

Times are the running loop's, so that under a `VirtualLoop` keys expire without anybody waiting. What a cut client asks
raises TimeoutError after the time-out of its connection, as the real one does; its watches catch up when it is back,
with the last of each key.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from propylon.cluster._broker import Asked, Change, Entry

__all__ = ["MemoryBroker", "MemoryServer"]


def fits(pattern: str, name: str) -> bool:
    """Whether a subject or key matches: ``*`` is one part, ``>`` the rest."""
    wanted, parts = pattern.split("."), name.split(".")
    for index, part in enumerate(wanted):
        if part == ">":
            return len(parts) > index
        if index >= len(parts) or part not in ("*", parts[index]):
            return False
    return len(wanted) == len(parts)


class _Kept:
    def __init__(self, value: bytes, revision: int, created: float) -> None:
        self.value: Final = value
        self.revision: Final = revision
        self.created: Final = created
        self.expiry: asyncio.TimerHandle | None = None


class MemoryServer:
    """Keys and subjects. Belongs to the loop in which it is first used."""

    def __init__(self, *, timeout: float = 5.0, now: Callable[[], float] = time.time) -> None:
        """``timeout``: of the connections; ``now``: Unix time of what is written."""
        self.timeout: Final = timeout
        self.now = now
        self._keys: Final[dict[tuple[str, str], _Kept]] = {}
        self._revisions: Final = itertools.count(1)
        self._inboxes: Final = itertools.count(1)
        self.watches: Final[set[MemoryWatch]] = set()
        self.services: Final[list[MemoryQuestions]] = []
        self.log: Final[list[tuple[str, str]]] = []
        """What was written and deleted, as ``("create", key)``."""
        self.away = False
        """Whether it is down: no client reaches it. Keys go on expiring."""

    def client(self, name: str = "") -> "MemoryBroker":
        """One more connection."""
        return MemoryBroker(self, name)

    def keys(self, bucket: str, pattern: str = ">") -> dict[str, Entry]:
        """What is there, looked at from outside."""
        return {
            key: Entry(key, kept.value, kept.revision, kept.created)
            for (of, key), kept in sorted(self._keys.items())
            if of == bucket and fits(pattern, key)
        }

    def expire(self, bucket: str, key: str) -> None:
        """Let a key go as if its time were over."""
        self._remove(bucket, key, "expire")

    # -- of the clients --

    def read(self, bucket: str, key: str) -> Entry | None:
        kept = self._keys.get((bucket, key))
        return None if kept is None else Entry(key, kept.value, kept.revision, kept.created)

    def write(self, what: str, bucket: str, key: str, value: bytes, ttl: float | None) -> int:
        before = self._keys.pop((bucket, key), None)
        if before is not None and before.expiry is not None:
            before.expiry.cancel()
        kept = self._keys[bucket, key] = _Kept(bytes(value), next(self._revisions), self.now())
        if ttl is not None:
            kept.expiry = asyncio.get_running_loop().call_later(ttl, self._remove, bucket, key, "expire")
        self.log.append((what, key))
        self._tell(bucket, Change(key, kept.value, kept.revision))
        return kept.revision

    def remove(self, bucket: str, key: str) -> None:
        self._remove(bucket, key, "delete")

    def _remove(self, bucket: str, key: str, what: str) -> None:
        kept = self._keys.pop((bucket, key), None)
        if kept is None:
            return
        if kept.expiry is not None:
            kept.expiry.cancel()
        self.log.append((what, key))
        self._tell(bucket, Change(key, None, next(self._revisions)))

    def _tell(self, bucket: str, change: Change) -> None:
        for watch in list(self.watches):
            if watch.bucket == bucket and fits(watch.pattern, change.key):
                watch.hear(change)

    def inbox(self) -> str:
        return f"_INBOX.{next(self._inboxes)}"


class MemoryWatch:
    """A `Watch`."""

    def __init__(self, broker: "MemoryBroker", bucket: str, pattern: str) -> None:
        self._broker: Final = broker
        self.bucket: Final = bucket
        self.pattern: Final = pattern
        self._first = True
        self._stopped = False
        self._changes: list[Change] = []
        self._known: Final[set[str]] = set()
        self._wake = asyncio.Event()
        self.catch_up()

    def hear(self, change: Change) -> None:
        if self._broker.reaches:
            self._take(change)

    def _take(self, change: Change) -> None:
        (self._known.discard if change.value is None else self._known.add)(change.key)
        self._changes.append(change)
        self._wake.set()

    def catch_up(self) -> None:
        """All that is there, and what has gone meanwhile."""
        there = self._broker.server.keys(self.bucket, self.pattern)
        for gone in self._known - there.keys():
            self._take(Change(gone, None, 0))
        for entry in sorted(there.values(), key=lambda entry: entry.revision):
            self._take(Change(entry.key, entry.value, entry.revision))

    async def next(self) -> list[Change]:
        while not (self._changes or self._first or self._stopped):
            self._wake.clear()
            await self._wake.wait()
        if self._stopped:
            raise ConnectionError("the watch was stopped")
        self._first = False
        changes, self._changes = self._changes, []
        return changes

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()
        self._broker.server.watches.discard(self)


class MemoryQuestions:
    """`Questions`."""

    def __init__(self, broker: "MemoryBroker", subject: str) -> None:
        self.broker: Final = broker
        self.subject: Final = subject
        self._asked: Final[deque[Asked]] = deque()
        self._wake = asyncio.Event()
        self._stopped = False

    def take(self, asked: Asked) -> None:
        self._asked.append(asked)
        self._wake.set()

    async def next(self) -> Asked:
        while not (self._asked or self._stopped):
            self._wake.clear()
            await self._wake.wait()
        if self._stopped:
            raise ConnectionError("no more questions are taken")
        return self._asked.popleft()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()
        if self in self.broker.server.services:
            self.broker.server.services.remove(self)


class MemoryBroker:
    """A `Broker`: one client of a `MemoryServer`."""

    def __init__(self, server: MemoryServer, name: str = "") -> None:
        self.server: Final = server
        self.name: Final = name
        self._cut = False
        self._closed = False
        self._back = asyncio.Event()
        self._opened: Final[list[MemoryWatch | MemoryQuestions]] = []
        self.loses_answers = False
        """Whether what it writes arrives, and the answer does not."""

    @property
    def reaches(self) -> bool:
        """Whether the server hears it."""
        return not (self._cut or self.server.away or self._closed)

    def cut(self) -> None:
        """It reaches the server no more, and hears nothing."""
        self._cut = True

    def restore(self) -> None:
        """It is back, and hears what it has missed."""
        self._cut = False
        self.catch_up()

    def catch_up(self) -> None:
        """After the server was away."""
        if self.reaches:
            for one in self._opened:
                if isinstance(one, MemoryWatch) and one in self.server.watches:
                    one.catch_up()

    async def _there_and_back(self) -> None:
        # An answer takes a turn of the loop, as over any wire.
        await asyncio.sleep(0)
        if self._closed:
            raise ConnectionError("the connection to the broker was closed")
        if not self.reaches:
            await asyncio.sleep(self.server.timeout)
            raise TimeoutError(f"no answer within {self.server.timeout:g} s")

    async def _answered(self) -> None:
        if self.loses_answers:
            await asyncio.sleep(self.server.timeout)
            raise TimeoutError(f"no answer within {self.server.timeout:g} s")

    async def get(self, bucket: str, key: str, /) -> Entry | None:
        await self._there_and_back()
        return self.server.read(bucket, key)

    async def entries(self, bucket: str, pattern: str, /) -> list[Entry]:
        await self._there_and_back()
        return list(self.server.keys(bucket, pattern).values())

    async def put(self, bucket: str, key: str, value: bytes, /, *, ttl: float | None = None) -> int:
        await self._there_and_back()
        revision = self.server.write("put", bucket, key, value, ttl)
        await self._answered()
        return revision

    async def create(self, bucket: str, key: str, value: bytes, /, *, ttl: float | None = None) -> int | None:
        await self._there_and_back()
        there = self.server.read(bucket, key)
        revision = None if there is not None else self.server.write("create", bucket, key, value, ttl)
        await self._answered()
        return revision

    async def update(
        self, bucket: str, key: str, value: bytes, revision: int, /, *, ttl: float | None = None
    ) -> int | None:
        await self._there_and_back()
        there = self.server.read(bucket, key)
        fits = there is not None and there.revision == revision
        written = self.server.write("update", bucket, key, value, ttl) if fits else None
        await self._answered()
        return written

    async def delete(self, bucket: str, key: str, /, *, revision: int | None = None) -> bool:
        await self._there_and_back()
        there = self.server.read(bucket, key)
        removed = revision is None or (there is not None and there.revision == revision)
        if removed:
            self.server.remove(bucket, key)
        await self._answered()
        return removed

    async def watch(self, bucket: str, pattern: str, /) -> MemoryWatch:
        await self._there_and_back()
        watch = MemoryWatch(self, bucket, pattern)
        self.server.watches.add(watch)
        self._opened.append(watch)
        return watch

    async def request(self, subject: str, data: bytes, timeout: float, /) -> bytes | None:
        await self._there_and_back()
        reply = self.inbox()
        waiting = await self.serve(reply)
        try:
            takers = [one for one in self.server.services if one.subject == subject]
            if not takers:
                return None
            for one in takers:
                if one.broker.reaches:
                    one.take(Asked(data, reply))
            async with asyncio.timeout(timeout):
                return (await waiting.next()).data
        finally:
            waiting.stop()

    async def serve(self, subject: str, /) -> MemoryQuestions:
        await self._there_and_back()
        questions = MemoryQuestions(self, subject)
        self.server.services.append(questions)
        self._opened.append(questions)
        return questions

    async def publish(self, subject: str, data: bytes, /) -> None:
        if self._closed:
            raise ConnectionError("the connection to the broker was closed")
        if not self.reaches:
            return
        for one in list(self.server.services):
            if one.broker.reaches and fits(one.subject, subject):
                one.take(Asked(data, ""))

    def inbox(self) -> str:
        return self.server.inbox()

    async def close(self) -> None:
        self._closed = True
        for one in self._opened:
            one.stop()
