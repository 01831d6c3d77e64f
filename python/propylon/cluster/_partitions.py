"""Which partitions are a worker's, and the keeping of their leases.

A partition is that living worker's which a hash of both names ranks highest, so every worker comes to the same answer
by itself, and one that comes or goes moves no partition but its own. What becomes of the events of a partition is
`propylon.cluster._feeding`'s; that the worker lives, `propylon.cluster._membership`'s.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Collection, Coroutine, Iterable
from typing import Any, Final, Protocol

from propylon.cluster._broker import Broker
from propylon.cluster._keys import (
    ALL_PARTS,
    PARTITIONS,
    PartitionLease,
    bucket,
    encode,
    part_key,
    read,
)
from propylon.cluster._membership import HeldKey, Times, View
from propylon.cluster._tasks import background, spawn

__all__ = ["Holder", "PartitionKeeper", "owner_of", "partitions_of"]

_log: Final = logging.getLogger("propylon.cluster")


def _rank(worker: str, partition: int) -> tuple[bytes, str]:
    """Two workers never rank alike."""
    return hashlib.blake2b(f"{worker}\0{partition}".encode(), digest_size=8).digest(), worker


def owner_of(partition: int, workers: Iterable[str]) -> str | None:
    """The worker that should have a partition; None where nobody lives."""
    return max(workers, key=lambda worker: _rank(worker, partition), default=None)


def partitions_of(worker: str, workers: Collection[str], partitions: int = PARTITIONS) -> set[int]:
    """The partitions that a worker should have."""
    return {partition for partition in range(partitions) if owner_of(partition, workers) == worker}


class Holder(Protocol):
    """What has the events of the partitions that were taken."""

    async def take(self, partition: int, epoch: int, until: float) -> None:
        """Begin with a partition, whose lease holds until that `time.monotonic`; each lease has a later epoch."""

    def renewed(self, partition: int, until: float) -> None:
        """The lease holds until then."""

    async def hand_over(self, partition: int) -> None:
        """Another worker is to have it: finish with what has come, for a while, and acknowledge that."""

    def lose(self, partition: int) -> None:
        """The lease is gone: call no further listener for it."""


class PartitionKeeper:
    """Keeps the leases of those partitions that are this worker's."""

    def __init__(
        self,
        broker: Broker,
        app: str,
        worker: str,
        holder: Holder,
        *,
        times: Times | None = None,
        partitions: int = PARTITIONS,
    ) -> None:
        """``worker`` is its id, which no other process has or had."""
        self._broker: Final = broker
        self._bucket: Final = bucket(app)
        self._worker: Final = worker
        self._holder: Final = holder
        self._times: Final = times or Times()
        self._partitions: Final = partitions
        self._leases: Final = View(broker, self._bucket, ALL_PARTS, PartitionLease, lambda _: self._look_soon())
        self._mine: set[int] = set()
        """Those that should be this worker's."""
        self._held: Final[dict[int, HeldKey]] = {}
        self._busy: Final[dict[int, asyncio.Task[None]]] = {}
        """Partitions that are being taken or handed over."""
        self._soon: asyncio.Handle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._keeps = False
        """Whether any are to be taken."""
        self._over = False
        self._losses: Final[dict[str, list[int]]] = {}
        """By their reason, those that the log has not been told of."""
        self._failures: Final[dict[int, str]] = {}
        """The same of those that could be neither taken nor handed over, with the reason."""
        self._telling: asyncio.TimerHandle | None = None

    @property
    def held(self) -> tuple[int, ...]:
        """The partitions that are this worker's now."""
        return tuple(sorted(self._held))

    @property
    def wanted(self) -> int:
        """How many partitions should be this worker's now."""
        return len(self._mine)

    def workers_are(self, living: Iterable[str]) -> None:
        """These workers live, and are not about to go."""
        self._mine = partitions_of(self._worker, frozenset(living), self._partitions)
        self._look_soon()

    async def begin(self) -> None:
        """Take what is free and this worker's, and return when that is done; keep it from then on.

        Raises:
            TimeoutError, ConnectionError: The broker does not answer.
        """
        await self._leases.start()
        if self._over:
            await self._leases.stop()
            return
        self._keeps = True
        self._look()
        self._looking = spawn(self._look_again(), "propylon partitions")
        if self._busy:
            await asyncio.wait(list(self._busy.values()))

    async def end(self) -> None:
        """Hand over all of them, those that are being taken too, and keep none any more."""
        self._keeps, self._over = False, True
        while self._busy or self._held:
            self._look()
            await asyncio.wait(list(self._busy.values()))
        if self._soon is not None:
            self._soon.cancel()
        if self._telling is not None:
            self._telling.cancel()
            self._tell()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait([looking])
        await self._leases.stop()

    def restart(self, partition: int) -> None:
        """Something is wrong with it: hand it over, to whoever takes it then."""
        key = self._held.get(partition)
        if key is not None and partition not in self._busy:
            self._start(partition, self._hand_over(partition, key))

    # ------------------------------------------------------------------ what is to be done

    def _look_soon(self) -> None:
        """News come by the dozen: they are looked at together."""
        if self._keeps and self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._look)

    async def _look_again(self) -> None:
        """What failed is tried again."""
        while True:
            await asyncio.sleep(self._times.retry)
            self._look()

    def _look(self) -> None:
        """Begin with whatever is to be taken or handed over."""
        self._soon = None
        for partition in range(self._partitions):
            if partition in self._busy:
                continue
            mine = self._keeps and partition in self._mine
            key = self._held.get(partition)
            if key is not None:
                if not mine:
                    self._start(partition, self._hand_over(partition, key))
            elif mine:
                lease = self._leases.keys.get(part_key(partition))
                # One that is this worker's all the same was lost while nobody answered, or its answer was.
                if lease is None or lease.value.worker == self._worker:
                    self._start(partition, self._take(partition))

    def _start(self, partition: int, step: Coroutine[Any, Any, None]) -> None:
        task = self._busy[partition] = background(step, f"propylon part {partition}")

        def done(task: asyncio.Task[None]) -> None:
            if self._busy.get(partition) is task:
                del self._busy[partition]
            if not task.cancelled() and (error := task.exception()) is not None:
                self._failures[partition] = str(error) or type(error).__name__
                self._tell_soon()

        task.add_done_callback(done)

    # ------------------------------------------------------------------ one partition

    async def _take(self, partition: int) -> None:
        def value(_: int) -> bytes:
            return encode(PartitionLease(self._worker))

        def renewed(until: float) -> None:
            self._renewed(partition, key, until)

        def lost(why: str) -> None:
            self._lost(partition, key, why)

        key = HeldKey(
            self._broker,
            self._bucket,
            part_key(partition),
            value=value,
            is_mine=self._is_mine,
            times=self._times,
            renewed=renewed,
            lost=lost,
        )
        if not await key.take():
            return
        self._held[partition] = key
        try:
            await self._holder.take(partition, key.epoch, _monotonic(key.held_until))
        except BaseException:
            # It may have been lost meanwhile, and even be there anew.
            if self._held.get(partition) is key:
                del self._held[partition]
                self._holder.lose(partition)
            await key.release()
            raise

    def _is_mine(self, value: bytes) -> bool:
        lease = read(PartitionLease, value)
        return lease is not None and lease.worker == self._worker

    def _renewed(self, partition: int, key: HeldKey, until: float) -> None:
        if self._held.get(partition) is key:
            self._holder.renewed(partition, _monotonic(until))

    def _lost(self, partition: int, key: HeldKey, why: str) -> None:
        if self._held.get(partition) is not key:
            return
        del self._held[partition]
        self._losses.setdefault(why, []).append(partition)
        self._tell_soon()
        busy = self._busy.pop(partition, None)
        if busy is not None:
            busy.cancel()
        self._holder.lose(partition)

    def _tell_soon(self) -> None:
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(self._times.retry, self._tell)

    def _tell(self) -> None:
        """Where the broker is away all are lost, within a moment: one line tells it."""
        self._telling = None
        if self._failures:
            numbers, why = sorted(self._failures), self._failures[min(self._failures)]
            several = f"{len(numbers)} partitions" if len(numbers) > 1 else "partition"
            _log.warning(
                "%s %s can be neither taken nor handed over in order: %s", several, ", ".join(map(str, numbers)), why
            )
            self._failures.clear()
        for why, partitions in self._losses.items():
            _log.warning("%d partitions are lost (%s): %s", len(partitions), why, ", ".join(map(str, partitions)))
        self._losses.clear()

    async def _hand_over(self, partition: int, key: HeldKey) -> None:
        try:
            await self._holder.hand_over(partition)
        finally:
            # Unless it was lost meanwhile.
            if self._held.get(partition) is key:
                del self._held[partition]
                await key.release()


def _monotonic(moment: float) -> float:
    """A time of the loop as one of `time.monotonic`, which goes on while the loop stands still."""
    return moment - asyncio.get_running_loop().time() + time.monotonic()
