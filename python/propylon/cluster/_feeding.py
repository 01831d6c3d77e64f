"""One partition that a worker has: its events go from the engine's intake to the listeners, in order, and are
acknowledged when every call has finished.

Owns the order of beginning and ending, and the fence: when the lease is over no further listener is called. Whether a
partition is this worker's is `propylon.cluster._partitions`'s.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

import propylon._core as _core
from propylon._delivery.consumer import Consumer
from propylon._delivery.loop import Delivery
from propylon._delivery.plans import Plans, Route
from propylon._gateway.metrics import Metrics
from propylon._gateway.settings import engine_options
from propylon._listening.face import ListenerFace
from propylon._sessions.keeping import finished_mark
from propylon.cluster._tasks import spawn
from propylon.events._decoding import Misfits

__all__ = ["Intake", "MakeIntake", "Partition", "Setting", "unstarted"]

_log: Final = logging.getLogger("propylon.cluster")

_QUEUE_BYTES: Final = 64 * 1024 * 1024
"""Bytes of events of one partition that may wait for listeners."""
_WAKE_INTERVAL: Final = 0.002
_LOOK: Final = 0.01
"""Seconds between two looks whether what has come is finished, while a partition is handed over."""


def unstarted(
    subscriptions: _core.Subscriptions, room: _core.Room | None = None, *, shard: tuple[int, int] | None = None
) -> _core.Shard:
    """A shard that connects nowhere: the way of events to listeners, and nothing else of it, is used."""
    options = engine_options(
        "none",
        intents=0,
        compression=None,
        presence=None,
        large_threshold=50,
        auto_reconnect=False,
        shard=shard,
        session=None,
        gateway_url="wss://gateway.invalid",
        api_url="https://api.invalid",
        timeouts=None,
        backoff=None,
        overflow="pause",
        queue_bytes=_QUEUE_BYTES,
        max_payload_bytes=_QUEUE_BYTES,
        wake_interval=_WAKE_INTERVAL,
        proxy=None,
        ca_file=None,
        native_roots=False,
        identify_properties=None,
        allow_plaintext=False,
    )
    return _core.Shard(options, subscriptions, room)


class Intake(Protocol):
    """Reads the events of a partition and feeds them to a shard, numbered 1, 2, … as their `Dispatch.sequence`.

    `propylon._core.Intake` is the one over NATS. It stamps what it feeds as received when it is fed, and counts the
    number up that the shard's mark has as accepted.
    """

    @property
    def last(self) -> int:
        """The number of the last event that was fed; 0 before the first."""
        ...

    @property
    def keeps(self) -> float:
        """Seconds for which what is not acknowledged is kept, and could come again; infinite where that has no end."""
        ...

    def start(self, epoch: int, /) -> Awaitable[None]:
        """Feed from now on what was not acknowledged; ``epoch`` is above those of all who had the partition before."""
        ...

    def finished(self, number: int, /) -> None:
        """Every event up to this number is dealt with: acknowledge it. Also after `stop`."""

    def overlap(self, old: int | None, /) -> None:
        """Two numbers of shards publish, of which this is the one that ends: give out once what both bring. None: no
        longer.
        """

    def stop(self) -> Awaitable[None]:
        """Feed nothing from now on; returns when what was acknowledged is on its way. May be called again."""
        ...

    def news(self) -> Sequence[tuple[str, str]]:
        """What became of messages since the last call: ``("dead", reason)``, ``("expired", number)`` of messages, and
        ``("failed", why)`` where it cannot go on."""
        ...

    def metrics(self) -> dict[str, int]:
        """What it has counted."""
        ...


MakeIntake: TypeAlias = Callable[[int, _core.Shard], Intake]
"""Makes the intake of a partition."""


class Setting(Protocol):
    """What all partitions of a worker share."""

    @property
    def listening(self) -> ListenerFace:
        """Who listens."""
        ...

    @property
    def plans(self) -> Plans:
        """Of all partitions."""
        ...

    @property
    def max_pending(self) -> int:
        """Listener calls of one partition that may be unfinished."""
        ...

    @property
    def mending(self) -> bool:
        """Whether events that do not fit are mended."""
        ...

    def fed(self) -> None:
        """Events have come."""

    async def left_open(self) -> None:
        """Every task of the loop has ended."""


class _FencedConsumer(Consumer):
    """Calls no listener when the lease is over: also where the process was stopped, and finds it so when it goes on."""

    until = 0.0
    """In seconds of `time.monotonic`."""

    @property
    def is_over(self) -> bool:
        """Whether another worker may have the partition by now."""
        return time.monotonic() >= self.until

    def run(self) -> None:
        """Call listeners, unless the lease is over."""
        if self.is_over:
            # What waits is kept: forgotten, it would look finished.
            self.suspend()
            return
        super().run()


class Partition:
    """One partition, from when it was taken to when it is given up."""

    def __init__(self, number: int, setting: Setting, make_intake: MakeIntake, room: _core.Room) -> None:
        """``room`` is that of all partitions, for events that wait."""
        self.number: Final = number
        self._setting: Final = setting
        face = setting.listening
        self.shard: Final = unstarted(face.registry.subscriptions, room)
        self.consumer: Final = _FencedConsumer(
            self.shard,
            face.registry,
            setting.plans,
            setting.max_pending,
            report=face.handlers.report,
            excused=face.excused,
        )
        self._misfits: Final = Misfits(self.shard.key, mending=setting.mending)
        # It makes the numbers of events a mark: what may be acknowledged.
        self.shard.set_session(("partition", 0, None, None, 0))
        self.intake: Final = make_intake(number, self.shard)
        self._acknowledged = 0
        self._frozen = False
        self._delivery: Delivery | None = None

    async def begin(self, epoch: int, until: float, *, overlap: int | None) -> None:
        """Hand its events out from now on, under a lease that holds until then."""
        self.consumer.until = until
        self._setting.listening.bind(self.consumer)
        self._delivery = Delivery.current()
        self._delivery.add(self.shard, self)
        self.consumer.resume()
        if overlap is not None:
            self.intake.overlap(overlap)
        await self.intake.start(epoch)

    def renewed(self, until: float) -> None:
        """The lease holds until then."""
        self.consumer.until = until

    def acknowledge(self) -> bool:
        """Tell the intake what is finished; whether anything is not."""
        if self._frozen or self.consumer.is_over:
            # It comes again elsewhere, and is acknowledged there.
            return False
        last = self.intake.last
        if last > self._acknowledged:
            unfinished = self._setting.listening.unfinished
            mark = finished_mark(self.shard, self.consumer, unfinished, replayed=self.intake.keeps)
            finished = 0 if mark is None else min(mark.sequence, last)
            if finished > self._acknowledged:
                self._acknowledged = finished
                self.intake.finished(finished)
        return last > self._acknowledged

    def freeze(self) -> None:
        """What is not acknowledged by now comes again, whatever becomes of the calls."""
        self._frozen = True

    @property
    def is_at_work(self) -> bool:
        """Whether a call has not finished with its event."""
        return any(True for _ in self.consumer.unfinished())

    async def stop_intake(self) -> None:
        """Take no more events."""
        try:
            await self.intake.stop()
        except (TimeoutError, ConnectionError) as error:
            _log.warning("partition %d: the intake did not stop in order: %s", self.number, error)

    async def finish(self, seconds: float) -> bool:
        """Let what has come be handed out, and the calls finish; whether all of it is acknowledged.

        Calls that take longer go on; their events come again elsewhere.
        """
        end = time.monotonic() + seconds
        while self.acknowledge():
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(_LOOK)
        return True

    async def end(self) -> None:
        """Call no further listener; acknowledge what is finished by now."""
        self.consumer.suspend()
        self.acknowledge()
        await self.stop_intake()
        self._unbind()

    def lose(self) -> asyncio.Task[None]:
        """At once, without a word to the broker: the partition is somebody else's. The task is its end."""
        self.drop()
        return spawn(self.stop_intake(), "propylon intake")

    def drop(self) -> None:
        """Call no further listener, and acknowledge nothing; its loop may have died."""
        self.consumer.suspend()
        self.consumer.until = 0.0
        self._unbind()

    def _unbind(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.remove(self.shard)
            self._setting.listening.unbind(self.consumer)
        # What it was broken off before comes again, to whoever has the partition then; here it would look finished.
        self.freeze()
        self.consumer.forget()

    def tell(self) -> None:
        """For the admin server, which does not ask Python."""
        self.shard.tell(self._misfits.mended, self.consumer.undecodable, self.consumer.errors)
        self.consumer.timing.tell()

    def metrics(self) -> Metrics:
        """What it has counted."""
        return Metrics(
            **self.shard.snapshot(),
            blocked_seconds=0.0,
            running=None,
            pending=self.consumer.pending,
            mended=self._misfits.mended,
            undecodable=self.consumer.undecodable,
            listener_errors=self.consumer.errors,
        )

    # ------------------------------------------------------------------ news from the engine

    def feed(
        self, generation: int, dispatches: list[_core.Dispatch[Any]], routes: list[Route], *, later: bool = False
    ) -> None:
        """Take events. For `Delivery`."""
        if self.consumer.is_over:
            return
        self.consumer.feed(generation, dispatches, routes, later=later)
        self._setting.fed()

    def notice(self, kind: str, *facts: Any) -> None:
        """Take news. For `Delivery`. A shard that was never started has none but lines for the log."""
        _log.debug("partition %d: %s %s", self.number, kind, facts)

    def torn_down(self) -> set[asyncio.Task[Any]]:
        """The loop is about to end. For `Delivery`."""
        return self.consumer.torn_down()

    async def left_open(self) -> None:
        """The loop has nothing left to do but this. For `Delivery`."""
        await self._setting.left_open()
