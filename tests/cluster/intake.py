"""The stream of events in memory, and an `Intake` of one partition of it."""

import json
from typing import Any, Final

import propylon._core as _core
from propylon.cluster._keys import PARTITIONS

__all__ = ["MemoryIntake", "MemoryStream"]

_ENDLESS: Final = 10**12


def partition_of(guild_id: int) -> int:
    """Any that is the same each time."""
    return guild_id % PARTITIONS


class MemoryStream:
    """Events by partition, and up to where each is acknowledged."""

    def __init__(self) -> None:
        self.events: Final[dict[int, list[_core.Fed]]] = {partition: [] for partition in range(PARTITIONS)}
        self.acknowledged: Final[dict[int, int]] = dict.fromkeys(range(PARTITIONS), 0)
        self.intakes: Final[list[MemoryIntake]] = []
        self.made: Final[list[MemoryIntake]] = []

    def make(self, partition: int, shard: _core.Shard) -> "MemoryIntake":
        intake = MemoryIntake(self, partition, shard)
        self.made.append(intake)
        return intake

    def publish(self, event: str, data: dict[str, Any], guild_id: int = 0, shard_id: int = 0) -> int:
        """The partition that it is in."""
        partition = partition_of(guild_id)
        self.events[partition].append((event, json.dumps(data).encode(), None, shard_id, None))
        for intake in list(self.intakes):
            if intake.partition == partition:
                intake.read()
        return partition

    @property
    def outstanding(self) -> int:
        """Events that nobody has acknowledged."""
        return sum(len(events) - self.acknowledged[partition] for partition, events in self.events.items())


class MemoryIntake:
    """Reads one partition from where it is acknowledged."""

    def __init__(self, stream: MemoryStream, partition: int, shard: _core.Shard) -> None:
        self.stream: Final = stream
        self.partition: Final = partition
        self._shard: Final = shard
        self._begin = 0
        self.last = 0
        self.keeps = 300.0
        self.overlapping: int | None = None
        self.epoch = 0
        self.pending_news: list[tuple[str, str]] = []
        self.failing: Exception | None = None

    async def start(self, epoch: int, /) -> None:
        if self.failing is not None:
            raise self.failing
        self.epoch = epoch
        self._begin = self.stream.acknowledged[self.partition]
        # As if every number had been accepted: what waits in the engine says how far it is.
        self._shard.set_session(("partition", _ENDLESS, None, None, 0))
        self.stream.intakes.append(self)
        self.read()

    def read(self) -> None:
        """Feed what is new."""
        new = self.stream.events[self.partition][self._begin + self.last :]
        fed = [(event, raw, self.last + number, shard, None) for number, (event, raw, _, shard, _) in enumerate(new, 1)]
        self.last += len(new)
        self._shard.feed(fed)

    def finished(self, number: int, /) -> None:
        assert number <= self.last
        at = self._begin + number
        assert at >= self.stream.acknowledged[self.partition]
        self.stream.acknowledged[self.partition] = at

    def overlap(self, old: int | None, /) -> None:
        self.overlapping = old

    async def stop(self) -> None:
        if self in self.stream.intakes:
            self.stream.intakes.remove(self)

    def news(self) -> list[tuple[str, str]]:
        news, self.pending_news = self.pending_news, []
        return news

    def metrics(self) -> dict[str, int]:
        return {"fed": self.last, "lag": 0}
