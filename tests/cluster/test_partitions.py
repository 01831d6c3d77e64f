"""Which partition is whose, and the keeping of the leases."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cluster.hosts import CALM, virtually
from cluster.memory import MemoryBroker, MemoryServer
from face.support import eventually
from propylon.cluster._keys import PartitionLease, bucket, encode, part_key, read
from propylon.cluster._membership import Times
from propylon.cluster._partitions import PartitionKeeper, owner_of, partitions_of

KEYS = bucket("app")
QUICK = Times(ttl=1.5, every=0.3, given_up=0.8, retry=0.05)
"""Of virtual time: in real time a busy machine would lose a lease."""


def test_each_partition_is_one_workers_and_they_share_alike() -> None:
    workers = [f"worker-{number}" for number in range(5)]
    of = Counter(owner_of(partition, workers) for partition in range(64))
    assert sum(of.values()) == 64
    assert min(of.values()) >= 5
    assert {p for worker in workers for p in partitions_of(worker, workers)} == set(range(64))
    assert owner_of(7, []) is None


def test_the_order_in_which_they_are_known_is_nothing_to_it() -> None:
    assert partitions_of("b", ["a", "b", "c"]) == partitions_of("b", ["c", "b", "a"])
    assert partitions_of("d", ["a", "b"]) == set()


def test_one_that_comes_or_goes_moves_no_partition_but_its_own() -> None:
    three = {partition: owner_of(partition, ["a", "b", "c"]) for partition in range(64)}
    two = {partition: owner_of(partition, ["a", "b"]) for partition in range(64)}
    assert {partition for partition in range(64) if three[partition] != two[partition]} == {
        partition for partition in range(64) if three[partition] == "c"
    }


class Recording:
    """A `Holder` that notes what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.epochs: dict[int, int] = {}
        self.until: dict[int, float] = {}
        self.gate: asyncio.Event | None = None
        self.failing: Exception | None = None

    async def take(self, partition: int, epoch: int, until: float) -> None:
        self.events.append(("take", partition))
        self.epochs[partition] = epoch
        self.until[partition] = until
        if self.failing is not None:
            raise self.failing

    def renewed(self, partition: int, until: float) -> None:
        self.until[partition] = until

    async def hand_over(self, partition: int) -> None:
        self.events.append(("hand over", partition))
        if self.gate is not None:
            await self.gate.wait()

    def lose(self, partition: int) -> None:
        self.events.append(("lose", partition))

    def of(self, what: str) -> list[int]:
        return sorted(partition for event, partition in self.events if event == what)


class One:
    """A keeper with its client."""

    def __init__(self, server: MemoryServer, name: str, partitions: int = 8, times: Times = CALM) -> None:
        self.broker: MemoryBroker = server.client(name)
        self.holder = Recording()
        self.keeper = PartitionKeeper(self.broker, "app", name, self.holder, times=times, partitions=partitions)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[MemoryServer]:
    yield MemoryServer(timeout=0.1)


def owners(server: MemoryServer) -> dict[str, str]:
    leases = {key: read(PartitionLease, entry.value) for key, entry in server.keys(KEYS, "part.*").items()}
    return {key: lease.worker for key, lease in leases.items() if lease is not None}


@pytest.mark.asyncio
async def test_what_is_free_is_taken_before_begin_returns(server: MemoryServer) -> None:
    a = One(server, "a")
    a.keeper.workers_are(["a"])
    await a.keeper.begin()
    assert a.keeper.held == tuple(range(8))
    assert a.holder.of("take") == list(range(8))
    # The revision of the lease, as it was taken.
    assert a.holder.epochs[3] == server.keys(KEYS)[part_key(3)].revision
    await a.keeper.end()
    assert a.holder.of("hand over") == list(range(8))
    assert owners(server) == {}
    assert a.keeper.held == ()


@pytest.mark.asyncio
async def test_one_that_joins_gets_its_own_when_they_are_handed_over(server: MemoryServer) -> None:
    a, b = One(server, "a"), One(server, "b")
    a.keeper.workers_are(["a"])
    await a.keeper.begin()
    a.holder.gate = asyncio.Event()
    for one in (a, b):
        one.keeper.workers_are(["a", "b"])
    await b.keeper.begin()
    theirs = sorted(partitions_of("b", ["a", "b"], 8))
    assert theirs
    await eventually(lambda: a.holder.of("hand over") == theirs)
    # Not before the other one is done with it.
    assert b.keeper.held == ()
    a.holder.gate.set()
    await eventually(lambda: b.keeper.held == tuple(theirs))
    assert b.holder.epochs[theirs[0]] > a.holder.epochs[theirs[0]]
    assert a.holder.of("lose") == []
    assert sorted([*a.keeper.held, *b.keeper.held]) == list(range(8))
    await b.keeper.end()
    a.keeper.workers_are(["a"])
    await eventually(lambda: a.keeper.held == tuple(range(8)))
    await a.keeper.end()


def test_leases_are_renewed_and_tell_until_when() -> None:
    async def main() -> None:
        server = MemoryServer(timeout=0.1)
        a = One(server, "a", 2, QUICK)
        a.keeper.workers_are(["a"])

        def told_since(begun: float) -> bool:
            # By the real clock, which hardly goes on here.
            now = time.monotonic()
            return all(begun < until - QUICK.given_up < now for until in a.holder.until.values())

        begun = time.monotonic()
        await a.keeper.begin()
        assert a.keeper.held == (0, 1)
        assert told_since(begun)
        begun = time.monotonic()
        await asyncio.sleep(10 * QUICK.ttl)
        assert told_since(begun)
        assert ("expire", part_key(0)) not in server.log
        assert a.holder.of("lose") == []
        lease = read(PartitionLease, server.keys(KEYS)[part_key(0)].value)
        assert lease == PartitionLease("a")
        await a.keeper.end()

    virtually(main)


def test_one_whose_broker_is_away_loses_them_before_others_can_have_them(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server = MemoryServer(timeout=0.1)
        a, b = One(server, "a", 2, QUICK), One(server, "b", 2, QUICK)
        a.keeper.workers_are(["a"])
        await a.keeper.begin()
        b.keeper.workers_are(["b"])
        await b.keeper.begin()
        a.broker.cut()
        await eventually(lambda: a.holder.of("lose") == [0, 1])
        assert b.holder.of("take") == []
        assert a.keeper.held == ()
        await eventually(lambda: b.keeper.held == (0, 1))
        a.keeper.workers_are([])
        a.broker.restore()
        await a.keeper.end()
        await b.keeper.end()

    virtually(main)
    # In virtual time both are lost at once, in whichever order.
    assert re.search(r"2 partitions are lost \(it could not be renewed\): (0, 1|1, 0)$", caplog.text, re.MULTILINE)


@pytest.mark.asyncio
async def test_one_whose_broker_comes_back_takes_its_own_again_at_once(server: MemoryServer) -> None:
    a = One(server, "a", 2, Times(ttl=60, every=0.1, given_up=0.3, retry=0.05))
    a.keeper.workers_are(["a"])
    await a.keeper.begin()
    before = a.holder.epochs[0]
    a.broker.cut()
    await eventually(lambda: a.keeper.held == ())
    a.broker.restore()
    # Its leases have not expired: nobody else could have had them.
    await eventually(lambda: a.keeper.held == (0, 1))
    assert a.holder.epochs[0] > before
    await a.keeper.end()


@pytest.mark.asyncio
async def test_one_whose_lease_somebody_else_has_loses_it_with_the_next_renewal(server: MemoryServer) -> None:
    a = One(server, "a", 1)
    a.keeper.workers_are(["a"])
    await a.keeper.begin()
    other = server.client("other")
    await other.put(KEYS, part_key(0), encode(PartitionLease("other")))
    await eventually(lambda: a.holder.of("lose") == [0])
    assert owners(server) == {part_key(0): "other"}
    # Free again, it is taken again.
    await other.delete(KEYS, part_key(0))
    await eventually(lambda: a.keeper.held == (0,))
    await a.keeper.end()


@pytest.mark.asyncio
async def test_a_partition_that_cannot_be_begun_is_given_back_and_tried_again(server: MemoryServer) -> None:
    a = One(server, "a", 1)
    a.holder.failing = OSError("no stream")
    a.keeper.workers_are(["a"])
    await a.keeper.begin()
    assert a.keeper.held == ()
    assert a.holder.of("lose") == [0]
    assert owners(server) == {}
    a.holder.failing = None
    await eventually(lambda: a.keeper.held == (0,))
    a.keeper.restart(0)
    await eventually(lambda: a.holder.of("take") == [0, 0, 0] and a.keeper.held == (0,))
    await a.keeper.end()


@pytest.mark.asyncio
async def test_an_answer_that_was_lost_costs_no_partition(server: MemoryServer) -> None:
    a = One(server, "a", 1, Times(ttl=60, every=0.1, given_up=30, retry=0.05))
    a.keeper.workers_are(["a"])
    a.broker.loses_answers = True
    await a.keeper.begin()
    assert a.keeper.held == ()
    assert owners(server) == {part_key(0): "a"}
    a.broker.loses_answers = False
    await eventually(lambda: a.keeper.held == (0,))
    await a.keeper.end()
    assert owners(server) == {}
