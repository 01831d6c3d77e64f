"""What a worker listens to, written where gateway hosts read it: they publish what some worker hears, and no more.

Owns how the register becomes a key, and when that is written. Hosts put the keys of all workers together.
"""

import asyncio
import contextlib
import logging
from typing import Final

import msgspec

from propylon._filters.expression import description
from propylon._listening.entry import ALL
from propylon._listening.registry import Registry
from propylon.cluster._asked import asked_by
from propylon.cluster._broker import Broker
from propylon.cluster._keys import HEARD_FOR, Heard, HeardSlot, bucket, encode, heard_key
from propylon.cluster._membership import Times
from propylon.cluster._nats import NatsBroker
from propylon.cluster._tasks import spawn
from propylon.events._projection import Fields, joined

__all__ = ["Announcer", "covers", "heard_of"]

_log: Final = logging.getLogger("propylon.cluster")

_AFTER: Final = 0.01
"""Seconds by which a change waits for others, so that they are written together."""
_AGAIN: Final = 0.5
"""Seconds until a write that failed is tried again."""
_MOST: Final = 256 * 1024
"""Bytes of a key. A worker with more conditions than that announces its events without any."""
_AROUND: Final = 1024
"""Bytes of a message to NATS that are not the key's value."""
_TOO_LARGE: Final = (
    "what this worker listens to does not fit into a message to NATS; give the server a larger max_payload, or listen "
    "to fewer events"
)


def heard_of(registry: Registry, most: int = _MOST) -> Heard:
    """All that is listened to; the functions of ``where=`` aside, which only Python can ask."""
    slots: list[HeardSlot] = []
    for where, events in registry.heard():
        names = [ALL] if ALL in events else sorted(events)
        projections = {name: fields for name in names if (fields := events[name]) is not None}
        slots.append(HeardSlot(None if where is None else description(where), names, projections))
    heard = Heard(sorted(slots, key=lambda slot: slot.where or ""))
    return heard if len(encode(heard)) <= most else _without_conditions(heard)


def _without_conditions(heard: Heard) -> Heard:
    """More than is wanted: the engine of the worker asks its filters all the same."""
    names = {name for slot in heard.slots for name in slot.events}
    return Heard([HeardSlot(None, [ALL] if ALL in names else sorted(names))])


def covers(wide: Heard, narrow: Heard) -> bool:
    """Whether who publishes for ``wide`` publishes all of ``narrow``."""
    known = {slot.where: slot for slot in wide.slots}
    # Whoever hears an event whatever is in it hears it under each condition.
    always = known.get(None)
    for slot in narrow.slots:
        same = known.get(slot.where)
        for event in slot.events:
            wanted = slot.projections.get(event)
            if same is not None and _has(same, event, wanted):
                continue
            if slot.where is not None and wanted is not None:
                # Hosts do not know of the condition, so what it reads is not in a part.
                asked = asked_by(slot.where)
                wanted = None if asked is None else joined([wanted, asked])
            if always is None or not _has(always, event, wanted):
                return False
    return True


def _has(slot: HeardSlot, event: str, wanted: Fields | None) -> bool:
    """Whether a slot has an event with the fields that are wanted; None: all of it."""
    if event not in slot.events and ALL not in slot.events:
        return False
    part = slot.projections.get(event)
    return part is None or (wanted is not None and joined([part, wanted]) == part)


class Announcer:
    """Keeps the key of one worker, while it is open."""

    def __init__(
        self, broker: Broker, app: str, worker: str, registry: Registry, *, times: Times | None = None
    ) -> None:
        """``worker`` is its id."""
        self._broker: Final = broker
        self._bucket: Final = bucket(app)
        self._key: Final = heard_key(worker)
        self._registry: Final = registry
        self._times: Final = times or Times()
        self._written = Heard()
        self._told_too_large = False
        self.overlap: int | None = None
        """The total that is to end, where the partitions know that two publish."""
        self._renew_at = 0.0
        self._changed: Final = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Write it, and again whenever it changes. Raises what the broker raises.

        Raises:
            ValueError: The server takes no message that is so large.
        """
        try:
            await self._write(self._heard())
        except ValueError as error:
            raise ValueError(f"{_TOO_LARGE}: {error}") from error
        self._task = spawn(self._run(), "propylon announcer")

    def changed(self) -> None:
        """Somebody listens who did not, or no longer does."""
        self._changed.set()

    async def end(self) -> None:
        """The worker goes. What it heard is heard for another while, for whoever follows it."""
        await self.stop()
        await self._broker.put(self._bucket, self._key, encode(self._written), ttl=HEARD_FOR)

    async def stop(self) -> None:
        """Write nothing any more; the key expires."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            due = self._renew_at - asyncio.get_running_loop().time()
            if due > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(due):
                        await self._changed.wait()
            if self._changed.is_set():
                await asyncio.sleep(_AFTER)
            self._changed.clear()
            heard = self._heard()
            is_told = self._written.overlap == heard.overlap
            if asyncio.get_running_loop().time() < self._renew_at and is_told and covers(self._written, heard):
                # What is published in vain until the next renewal costs less than a write for each `wait_for`.
                continue
            try:
                await self._write_or_keep(heard)
            # What was written before may not fit a server that it has come to since.
            except (TimeoutError, ConnectionError, ValueError):
                await asyncio.sleep(_AGAIN)
                # Whatever was written, or not: once more.
                self._renew_at = 0.0

    def _heard(self) -> Heard:
        most = _MOST
        if isinstance(self._broker, NatsBroker):
            most = min(most, self._broker.max_payload - _AROUND)
        return msgspec.structs.replace(heard_of(self._registry, most), overlap=self.overlap)

    async def _write_or_keep(self, heard: Heard) -> None:
        """Where the server does not take it, what was written last stays: it is heard on."""
        try:
            await self._write(heard)
        except ValueError as error:
            if not self._told_too_large:
                self._told_too_large = True
                _log.error("%s; what it listened to before is heard on: %s", _TOO_LARGE, error)
            await self._write(msgspec.structs.replace(self._written, overlap=heard.overlap))
        else:
            self._told_too_large = False

    async def _write(self, heard: Heard) -> None:
        begun = asyncio.get_running_loop().time()
        # One that dies without a word is missed after the time to live of its other keys, and followed from then on.
        await self._broker.put(self._bucket, self._key, encode(heard), ttl=self._times.ttl + HEARD_FOR)
        self._written = heard
        self._renew_at = begun + self._times.every
