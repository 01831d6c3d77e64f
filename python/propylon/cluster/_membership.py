"""Keys that live as long as somebody renews them, and seeing those of others.

`Member` is a key that is written whatever is there: who lives. `HeldKey` is one that only one may have at a time, by
compare and set: a lease. `View` is what others have written. Which keys these are, and what follows from them, is for
those who use them: `propylon.cluster._leases`, `propylon.cluster._partitions`, `propylon.cluster._gate`.

Times are the event loop's.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from propylon.cluster._broker import Broker, Change, Entry, Watch
from propylon.cluster._keys import GIVEN_UP_AFTER, RENEWED_EVERY, TTL, read
from propylon.cluster._tasks import spawn

__all__ = ["AWAY", "HeldKey", "Member", "Seen", "Times", "View", "check_name", "new_id"]

_log: Final = logging.getLogger("propylon.cluster")

_S = TypeVar("_S", bound=msgspec.Struct)

AWAY: Final = (TimeoutError, ConnectionError)
"""What a broker raises that cannot be reached."""
_RESYNC: Final = 30.0
"""Seconds between two looks at all keys of a view: what a watch has missed, if it ever does, costs no more."""
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_MOST_LETTERS: Final = 32


@dataclass(frozen=True, slots=True)
class Times:
    """How long keys live and how often they are renewed, in seconds."""

    ttl: float = TTL
    every: float = RENEWED_EVERY
    given_up: float = GIVEN_UP_AFTER
    """Since the beginning of the last renewal that succeeded. Below ``ttl``: who had a key knows before others do."""
    retry: float = 1.0
    """Between two tries of what failed."""

    @property
    def patience(self) -> float:
        """For one renewal: shorter than that of the connection, so that there is time for another one."""
        return self.every * 0.4


def check_name(name: str | None) -> None:
    """Raise ValueError for a name that cannot be part of a key."""
    if name is None:
        return
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"name takes a text, not {name!r:.100}")
    if not (0 < len(name) <= _MOST_LETTERS and _LETTERS.issuperset(name)):
        raise ValueError(
            f"name must be 1 to {_MOST_LETTERS} letters, digits, dashes and underscores, not {name!r:.100}"
        )


def new_id(name: str | None) -> str:
    """The id of a process: its name, else its machine's, and what tells it from one before it with that name."""
    given = socket.gethostname().partition(".")[0] if name is None else name
    known = "".join(letter if letter in _LETTERS else "-" for letter in given)[:_MOST_LETTERS] or "host"
    return f"{known}-{secrets.token_hex(3)}"


class Member:
    """A key of one's own that others see for as long as this lives."""

    def __init__(
        self, broker: Broker, bucket: str, key: str, value: Callable[[], bytes], times: Times | None = None
    ) -> None:
        """``value`` is asked for at each writing."""
        self._broker: Final = broker
        self._bucket: Final = bucket
        self._key: Final = key
        self._value: Final = value
        self._times: Final = times or Times()
        self._changed: Final = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.written_at: float | None = None
        """When the last writing that succeeded began."""

    @property
    def is_fresh(self) -> bool:
        """Whether it was written lately, as it is while the broker takes it."""
        now = asyncio.get_running_loop().time()
        return self.written_at is not None and now < self.written_at + 2 * self._times.every

    async def start(self) -> None:
        """Return when it is written for the first time; renew it from then on.

        Raises:
            TimeoutError, ConnectionError: The broker does not answer.
        """
        await self._write()
        self._task = spawn(self._run(), f"propylon {self._key}")

    def changed(self) -> None:
        """Write it now, because it says something else."""
        self._changed.set()

    async def write(self) -> None:
        """Write it now, and return when it is written. Raises TimeoutError or ConnectionError."""
        await self._write()

    async def stop(self, *, delete: bool = True) -> None:
        """Renew it no more. With ``delete`` it is gone at once, where the broker can be reached."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if delete:
            with contextlib.suppress(*AWAY):
                await self._broker.delete(self._bucket, self._key)

    async def _write(self) -> None:
        begun = asyncio.get_running_loop().time()
        self._changed.clear()
        await self._broker.put(self._bucket, self._key, self._value(), ttl=self._times.ttl)
        self.written_at = begun

    async def _run(self) -> None:
        pause = self._times.every
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            try:
                async with asyncio.timeout(self._times.patience):
                    await self._write()
            except AWAY:
                pause = self._times.retry
            else:
                pause = self._times.every


class HeldKey:
    """A key that this process has and nobody else, until it lets go of it, loses it or cannot renew it."""

    def __init__(
        self,
        broker: Broker,
        bucket: str,
        key: str,
        *,
        value: Callable[[int], bytes],
        is_mine: Callable[[bytes], bool],
        times: Times | None = None,
        renewed: Callable[[float], None] = lambda _: None,
        lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Nothing is taken yet.

        Args:
            broker: Of the key.
            bucket: Of the key.
            key: Its name.
            value: Gives what is written, from the epoch; 0 in the taking itself, which makes the epoch.
            is_mine: Whether a value was written by this very object: an answer of the broker may have been lost.
            times: When it is renewed and given up.
            renewed: Hears at each renewal until when it is held, whatever happens, as the loop's time.
            lost: Hears once why it is not held any more, unless `release` is the reason.
        """
        self._broker: Final = broker
        self._bucket: Final = bucket
        self.key: Final = key
        self._value: Final = value
        self._is_mine: Final = is_mine
        self._times: Final = times or Times()
        self._renewed: Final = renewed
        self._lost: Final = lost
        self._lock: Final = asyncio.Lock()
        self._changed: Final = asyncio.Event()
        self._revision = 0
        self._unsure = False
        """Whether a write was not answered: it may have been carried out."""
        self._giving_up: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.epoch = 0
        """The revision with which it was taken."""
        self.is_held = False
        self.held_until = 0.0
        """The loop's time at which it is given up, unless it is renewed."""

    async def take(self) -> bool:
        """Take it, where nobody has it, and hold it from then on.

        Raises:
            TimeoutError, ConnectionError: The broker does not answer. It may have been taken all the same; taking it
                again finds out.
        """
        begun = asyncio.get_running_loop().time()
        revision = await self._broker.create(self._bucket, self.key, self._value(0), ttl=self._times.ttl)
        if revision is None:
            # It may be this one's all the same: taken by a call whose answer was lost, or given up and not expired yet.
            entry = await self._broker.get(self._bucket, self.key)
            if entry is None or not self._is_mine(entry.value):
                return False
            begun = asyncio.get_running_loop().time()
            revision = await self._broker.update(
                self._bucket, self.key, self._value(0), entry.revision, ttl=self._times.ttl
            )
            if revision is None:
                return False
        self.epoch = self._revision = revision
        self.is_held = True
        self._unsure = False
        self._note(begun)
        self._task = spawn(self._run(begun), f"propylon {self.key}")
        return True

    def changed(self) -> None:
        """Renew it now, because its value has changed, or somebody else seems to have it."""
        self._changed.set()

    async def release(self) -> None:
        """Let go of it, so that others can have it at once; where the broker cannot be reached, when it expires."""
        held, self.is_held = self.is_held, False
        self._end()
        if not held:
            return
        with contextlib.suppress(*AWAY):
            # A renewal that is under way knows the revision when it is done.
            async with self._lock:
                if await self._broker.delete(self._bucket, self.key, revision=self._revision) or not self._unsure:
                    return
                entry = await self._broker.get(self._bucket, self.key)
                if entry is not None and self._is_mine(entry.value):
                    await self._broker.delete(self._bucket, self.key, revision=entry.revision)

    def _note(self, begun: float) -> None:
        self.held_until = begun + self._times.given_up
        if self._giving_up is not None:
            self._giving_up.cancel()
        self._giving_up = asyncio.get_running_loop().call_at(self.held_until, self.lose, "it could not be renewed")
        self._renewed(self.held_until)

    def _end(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        self._changed.set()

    def lose(self, why: str) -> None:
        """It is somebody else's, or may be before it is known here."""
        if self.is_held:
            self.is_held = False
            self._end()
            self._lost(why)

    async def _run(self, begun: float) -> None:
        loop = asyncio.get_running_loop()
        due = begun + self._times.every
        while self.is_held:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._changed.wait()
            self._changed.clear()
            if not self.is_held:
                return
            begun = loop.time()
            try:
                async with self._lock, asyncio.timeout(self._times.patience):
                    renewed = await self._renew()
            except AWAY:
                self._unsure = True
                due = loop.time() + self._times.retry
                continue
            if not renewed:
                self.lose("somebody else has it")
            elif loop.time() >= self.held_until:
                # Who uses it has looked at the clock by itself, and acts as if it were lost: so it is.
                self.lose("it was renewed too late")
            elif self.is_held:
                self._note(begun)
                due = begun + self._times.every

    async def _renew(self) -> bool:
        value = self._value(self.epoch)
        revision = await self._broker.update(self._bucket, self.key, value, self._revision, ttl=self._times.ttl)
        if revision is None and self._unsure:
            entry = await self._broker.get(self._bucket, self.key)
            if entry is not None and self._is_mine(entry.value):
                revision = await self._broker.update(self._bucket, self.key, value, entry.revision, ttl=self._times.ttl)
        if revision is None:
            return False
        self._revision = revision
        self._unsure = False
        return True


class Seen(NamedTuple, Generic[_S]):
    """A key of a view."""

    value: _S
    revision: int


class View(Generic[_S]):
    """What the keys of a pattern say, as far as it is known here; changes are told."""

    def __init__(
        self,
        broker: Broker,
        bucket: str,
        pattern: str,
        kind: type[_S],
        changed: Callable[[str], object],
        *,
        linger: float = 0.0,
    ) -> None:
        """Nothing is known yet.

        Args:
            broker, bucket, pattern: Of the keys.
            kind: What their values are.
            changed: Hears each key that says something else than before, was deleted or has expired.
            linger: Seconds for which a key counts on that is gone: its writer may be about to write it again, as where
                the store was lost.
        """
        self._broker: Final = broker
        self._bucket: Final = bucket
        self._pattern: Final = pattern
        self._kind: Final = kind
        self._changed: Final = changed
        self._linger: Final = linger
        self._watch: Watch | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.keys: Final[dict[str, Seen[_S]]] = {}
        """By their names. A value that cannot be read is as good as none."""

    async def start(self) -> None:
        """Return when all that is there is known; hear of changes from then on.

        Raises:
            TimeoutError, ConnectionError: The broker does not answer.
        """
        await self._begin()
        self._tasks = [
            spawn(self._run(), f"propylon watch {self._pattern}"),
            spawn(self._look_again(), f"propylon watch {self._pattern}"),
        ]

    async def stop(self) -> None:
        """Hear no more; what is known stays."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        if tasks:
            await asyncio.wait(tasks)

    def forget(self) -> None:
        """None of it is so any more, and there is nobody who would tell. What is written again is known again."""
        for key in list(self.keys):
            self._take(key, None, 0)

    async def _begin(self) -> None:
        watch = await self._broker.watch(self._bucket, self._pattern)
        try:
            first = await watch.next()
        except BaseException:
            watch.stop()
            raise
        self._watch = watch
        there = {change.key for change in first if change.value is not None}
        for key in self.keys.keys() - there:
            self._take(key, None, 0)
        self._hear(first)

    async def _run(self) -> None:
        while True:
            try:
                if self._watch is None:
                    await self._begin()
                assert self._watch is not None
                self._hear(await self._watch.next())
            except AWAY:
                if self._watch is not None:
                    self._watch.stop()
                    self._watch = None
                await asyncio.sleep(Times().retry)

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(_RESYNC)
            before = {key: seen.revision for key, seen in self.keys.items()}
            try:
                entries = await self._broker.entries(self._bucket, self._pattern)
            except AWAY:
                continue
            self._compare(entries, before)

    def _compare(self, entries: list[Entry], before: dict[str, int]) -> None:
        """Take what a watch did not tell; what has changed since the look began is newer than what it found."""
        for entry in entries:
            seen = self.keys.get(entry.key)
            if seen is None and entry.key in before:
                continue
            if seen is None or seen.revision < entry.revision:
                self._take(entry.key, entry.value, entry.revision)
        there = {entry.key for entry in entries}
        for key, revision in before.items():
            seen = self.keys.get(key)
            if key not in there and seen is not None and seen.revision == revision:
                self._take(key, None, 0)

    def _hear(self, changes: list[Change]) -> None:
        for change in changes:
            self._take(change.key, change.value, change.revision)

    def _take(self, key: str, value: bytes | None, revision: int) -> None:
        known = read(self._kind, value)
        if value is None and key in self.keys and self._linger:
            asyncio.get_running_loop().call_later(self._linger, self._let_go, key, self.keys[key].revision)
            return
        if value is not None and known is None:
            _log.warning("the key %s says what this version does not understand; it is ignored", key)
        before = self.keys.pop(key, None)
        if known is not None:
            self.keys[key] = Seen(known, revision)
        # Most writes are renewals, which say what was said before.
        if known != (None if before is None else before.value):
            self._changed(key)

    def _let_go(self, key: str, revision: int) -> None:
        seen = self.keys.get(key)
        if seen is not None and seen.revision == revision:
            del self.keys[key]
            self._changed(key)
