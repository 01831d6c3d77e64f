"""Identify gates: whose turn it is to IDENTIFY where several processes share a token, and the one that is a file.

Discord takes one IDENTIFY per bucket, ``shard_id % max_concurrency``, in 5 s, and so many a day. The shards of one
process are spaced by the engine; a gate stands behind that and sees one of them per bucket, or all.
"""

import asyncio
import contextlib
import logging
import math
import os
import random
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec

from propylon._arguments import count_of
from propylon._sessions.files import SharedFile
from propylon._sessions.locks import FileLock
from propylon.errors import budget_exhausted

__all__ = ["FileIdentifyGate", "IdentifyGate", "IdentifyPermit"]

_log: Final = logging.getLogger("propylon")

_SPACING: Final = 5.25
"""Seconds. Discord's 5 s are measured at its end: a little more at ours."""
_DRIFT: Final = 0.96
"""Of the spacing, from an answer on: the server had the IDENTIFY before it answered, however long that was on its way.
Only its clock may go another way than ours."""
_HOLD: Final = 15.0
"""Seconds after which an IDENTIFY that is not answered keeps nobody waiting."""
_POLL: Final = (0.02, 0.05)
"""Seconds between two looks whether a bucket is free, at first and after some."""
_WRITE_POLL: Final = 0.002
"""Seconds until whoever changes the file has done it."""
_LEARN_TRIES: Final = 5
_LONGEST_RESET: Final = 48 * 3600.0
"""Seconds. A day is the longest that Discord says."""


class IdentifyPermit(Protocol):
    """The right to one IDENTIFY, which leaves at once."""

    def release(self) -> None:
        """The IDENTIFY was answered, by READY or opcode 9, or its connection has ended, or 15 s are over.

        Called once; must not wait.
        """
        ...


class IdentifyGate(Protocol):
    """Spaces the IDENTIFYs of all that share a token, on this machine or on many. Any object with ``acquire`` is one.

    A gate may have a second method, ``learn(*, total, remaining, reset_after)``. It is called with each answer of
    ``/gateway/bot``, whose ``session_start_limit`` this is; ``reset_after`` is in seconds:
    https://discord.com/developers/docs/events/gateway#session-start-limit-object.
    """

    async def acquire(self, shard_id: int, max_concurrency: int, /) -> IdentifyPermit:
        """Return when the IDENTIFY of this shard may leave.

        The engine asks for one shard of a bucket at a time: a gate that never answers holds up the others of it. The
        bucket is ``shard_id % max_concurrency``. It belongs to the permit until that is released, and has its next
        IDENTIFY 5 s after this one was answered, or 15 s after it left, at the soonest. Cancelled, the turn is given up
        and nothing is held: https://discord.com/developers/docs/events/gateway#sharding-max-concurrency.

        Raises:
            IdentifyBudgetExhausted: Hardly any IDENTIFY is left of the day's.
        """
        ...


class _Budget(msgspec.Struct, frozen=True):
    """What ``/gateway/bot`` told, less the IDENTIFYs that left since. Unix times in seconds."""

    total: int
    remaining: int
    resets_at: float
    told_at: float


class _Content(msgspec.Struct):
    version: Literal[1]
    buckets: dict[int, float]
    """When the last IDENTIFY left, or was answered, less what then need not be waited for; as `time.monotonic` tells
    it, which is one clock for all processes of a machine."""
    budget: _Budget | None = None


class FileIdentifyGate:
    """An `IdentifyGate` for the processes of one machine that share a token, by one JSON file.

    Beside it lie empty files, ``.<name>.lock`` and ``.<name>.bucket-<n>.lock``. By the lock of the latter a process
    holds a bucket until its IDENTIFY is answered; the system lets go of it with the process. The folder should not be a
    network's, where such locks are not reliable. One file is for one token.
    """

    def __init__(self, path: str | os.PathLike[str], *, spacing: float = _SPACING) -> None:
        """Share the file ``path``; its folder must be there.

        Args:
            path: Of the file.
            spacing: Seconds between two IDENTIFYs of a bucket.

        Raises:
            ValueError: ``spacing`` is no finite number of at least 0.
        """
        if isinstance(spacing, bool) or not isinstance(spacing, int | float) or not 0 <= spacing < math.inf:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"spacing must be a number of seconds of at least 0, not {spacing!r:.100}")
        self._file: Final = SharedFile(path, "FileIdentifyGate")
        self._spacing: Final = float(spacing)
        self._told: _Budget | None = None
        """What was learned and is not in the file yet."""
        self._tidied = False
        self._warned = False

    def __repr__(self) -> str:
        """Where it is."""
        return f"FileIdentifyGate({str(self._file.path)!r})"

    async def acquire(self, shard_id: int, max_concurrency: int, /) -> IdentifyPermit:
        """Return when the IDENTIFY of this shard may leave.

        First come first served within the process; processes take turns as it comes.

        Raises:
            IdentifyBudgetExhausted: Hardly any IDENTIFY is left of those that `learn` was told of.
            ValueError: ``shard_id`` is below 0 or ``max_concurrency`` below 1.
            FileNotFoundError, NotADirectoryError: The file's folder is not there.
            OSError: The file cannot be written.
        """
        concurrency = count_of("max_concurrency", max_concurrency, 1)
        bucket = count_of("shard_id", shard_id, 0) % concurrency
        self._prepare()
        # Those who are refused need not queue for it.
        _check_budget(self._read().budget)
        line = _lines.setdefault((self._file.path, bucket), _Line())
        place = line.enter(asyncio.get_running_loop())
        try:
            await place.called
            pace = _Pace(self._spacing)
            # Nothing is held where this waits, neither for its being cancelled nor while other processes could go.
            while True:
                result = self._try(bucket, pace)
                if isinstance(result, FileLock):
                    return _FilePermit(self, bucket, result)
                await asyncio.sleep(result)
        finally:
            line.leave(place)

    def learn(self, *, total: int, remaining: int, reset_after: float) -> None:
        """Keep what ``/gateway/bot`` told just now. Without it there is no budget to keep.

        Args:
            total: IDENTIFYs of a day.
            remaining: How many are left.
            reset_after: Seconds until all are there again.

        Raises:
            ValueError: These are no such numbers.
            FileNotFoundError, NotADirectoryError: The file's folder is not there.
            OSError: The file cannot be written.
        """
        total, remaining = count_of("total", total, 0), count_of("remaining", remaining, 0)
        if isinstance(reset_after, bool) or not isinstance(reset_after, int | float) or not 0 <= reset_after < math.inf:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"reset_after must be a number of seconds of at least 0, not {reset_after!r:.100}")
        now = time.time()
        self._told = _Budget(total, remaining, now + min(reset_after, _LONGEST_RESET), now)
        self._prepare()
        for _ in range(_LEARN_TRIES):
            lock = self._file.try_lock()
            if lock is not None:
                try:
                    self._write(self._read())
                finally:
                    lock.release()
                return
            # Whoever has it writes, for less than that. The loop waits no longer: acquire writes it, too.
            time.sleep(0.001)

    def _answered(self, bucket: int, entered: float) -> bool:
        """Count the spacing from now on; False where the file is being changed by somebody else."""
        changing = self._file.try_lock()
        if changing is None:
            return False
        try:
            content = self._read()
            counted = min(time.monotonic(), entered + _HOLD - self._spacing) - (1 - _DRIFT) * self._spacing
            if counted > content.buckets.get(bucket, -math.inf):
                content.buckets[bucket] = counted
                self._write(content)
        finally:
            changing.release()
        return True

    def _prepare(self) -> None:
        self._file.check_folder()
        if not self._tidied:
            self._tidied = True
            self._file.tidy()

    def _try(self, bucket: int, pace: "_Pace") -> FileLock | float:
        """The lock of the bucket where its IDENTIFY may leave now, otherwise the seconds until the next try."""
        content = self._read()
        _check_budget(content.budget)
        wait = pace.until_free(content.buckets.get(bucket))
        if wait > 0:
            return wait
        held = self._file.try_lock(f"bucket-{bucket}")
        if held is None:
            return pace.until_next_look()
        wait = _WRITE_POLL
        try:
            changing = self._file.try_lock()
            if changing is not None:
                try:
                    wait = self._enter(bucket, pace)
                finally:
                    changing.release()
        except BaseException:
            held.release()
            raise
        if wait > 0:
            held.release()
            return wait
        return held

    def _enter(self, bucket: int, pace: "_Pace") -> float:
        """Write down that an IDENTIFY leaves now; not so where it must wait, for the seconds that are returned."""
        # Again: another process may have had it since.
        content = self._read()
        _check_budget(content.budget)
        wait = pace.until_free(content.buckets.get(bucket))
        if wait > 0:
            return wait
        if content.budget is not None:
            left = max(content.budget.remaining - 1, 0)
            content.budget = msgspec.structs.replace(content.budget, remaining=left)
        content.buckets[bucket] = time.monotonic()
        self._write(content)
        return 0.0

    def _read(self) -> _Content:
        content = self._read_file()
        told = self._told
        if told is not None and not _is_newer(content.budget, told):
            content.budget = told
        return content

    def _read_file(self) -> _Content:
        text = self._file.read()
        if text is None:
            return _Content(1, {})
        try:
            content = msgspec.json.decode(text, type=_Content)
        except (ValueError, RecursionError) as error:
            # Read again and again until the next IDENTIFY replaces it.
            if not self._warned:
                _log.warning("%s is no file of an identify gate (%s); taken for an empty one", self._file.path, error)
            self._warned = True
            return _Content(1, {})
        self._warned = False
        return content

    def _write(self, content: _Content) -> None:
        """Under the lock of the file."""
        # Its times end with the machine, so it need not last.
        self._file.write(msgspec.json.encode(content), lasting=False)
        told = self._told
        # Another thread may have learned meanwhile.
        if told is not None and content.budget is not None and content.budget.told_at >= told.told_at:
            self._told = None


class _FilePermit:
    """The lock of a bucket, until it is written down when its IDENTIFY was answered."""

    def __init__(self, gate: FileIdentifyGate, bucket: int, lock: FileLock) -> None:
        self._gate: Final = gate
        self._bucket: Final = bucket
        self._lock: FileLock | None = lock
        self._entered: Final = time.monotonic()

    def release(self) -> None:
        """The first call counts."""
        lock, self._lock = self._lock, None
        if lock is not None:
            self._let_go(lock)

    def _let_go(self, lock: FileLock) -> None:
        try:
            done = self._gate._answered(self._bucket, self._entered)  # pyright: ignore[reportPrivateUsage]
        except BaseException:
            lock.release()
            raise
        try:
            # Of now: the one in which it was acquired may have been given up.
            loop = None if done else asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is None:
            lock.release()
        else:
            # Others take a millisecond. The bucket is still this one's, so nobody is too early.
            loop.call_later(_WRITE_POLL, self._let_go, lock)


def _is_newer(budget: _Budget | None, told: _Budget) -> bool:
    # What was told in the future was told by a clock that was wrong.
    return budget is not None and told.told_at < budget.told_at <= time.time()


def _floor(total: int) -> int:
    """IDENTIFYs that are never spent: 5 % of the day's, or ten, or a tenth where there are few at all."""
    return max(total // 20, min(total // 10, 10))


def _check_budget(budget: _Budget | None) -> None:
    if budget is None or budget.remaining > _floor(budget.total):
        return
    # A time beyond reckoning is the word of a clock that was wrong.
    if 0 < budget.resets_at - time.time() < 2 * _LONGEST_RESET:
        raise budget_exhausted(budget.resets_at)


class _Pace:
    """How long one who waits for a bucket sleeps until the next look."""

    def __init__(self, spacing: float) -> None:
        self._spacing: Final = spacing
        self._last: float | None = None
        self._free_at = 0.0
        self._poll = _POLL[0]

    def until_free(self, last: float | None) -> float:
        """Seconds until ``spacing`` after the last IDENTIFY; 0 where that is over."""
        now = time.monotonic()
        if last is None:
            return 0.0
        if last != self._last:
            self._last = last
            # A time that is still to come was written before the machine was started anew.
            self._free_at = min(last, now) + self._spacing
        wait = self._free_at - now
        # Not all processes at the same moment, of which the same one would win each time.
        return wait + random.random() * min(self._spacing / 20, _POLL[0]) if wait > 0 else 0.0

    def until_next_look(self) -> float:
        """Seconds after which a held bucket is looked at again."""
        pause, self._poll = self._poll, min(self._poll * 1.25, _POLL[1])
        return pause * (0.8 + 0.4 * random.random())


class _Place:
    """Of one call in a line."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: Final = loop
        self.called: Final[asyncio.Future[None]] = loop.create_future()
        self.is_called = False

    def call(self) -> None:
        if not self.called.done():
            self.called.set_result(None)


class _Line:
    """Who waits in this process for one bucket, in whatever event loops. The first tries, the others sleep."""

    def __init__(self) -> None:
        # Reentrant: what was abandoned leaves the line when it is collected, which may be at any moment.
        self._lock: Final = threading.RLock()
        self._places: Final[deque[_Place]] = deque()

    def enter(self, loop: asyncio.AbstractEventLoop) -> _Place:
        place = _Place(loop)
        with self._lock:
            self._places.append(place)
            self._call_first()
        return place

    def leave(self, place: _Place) -> None:
        with self._lock:
            with contextlib.suppress(ValueError):
                self._places.remove(place)
            self._call_first()

    def _call_first(self) -> None:
        while (place := next(iter(self._places), None)) is not None:
            try:
                if place.is_called and not place.loop.is_closed():
                    return
                place.loop.call_soon_threadsafe(place.call)
            except RuntimeError:
                # A loop that was closed under those who waited in it.
                self._places.popleft()
            else:
                place.is_called = True
                return


_lines: Final[dict[tuple[Path, int], _Line]] = {}

if hasattr(os, "register_at_fork"):  # not on Windows
    # Those who wait are the parent's.
    os.register_at_fork(after_in_child=_lines.clear)
