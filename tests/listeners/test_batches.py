"""When a batch is full, what holds its shard back meanwhile, and what acknowledging does to that."""

import asyncio
import copy
import pickle
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from face.support import eventually
from propylon import Batch, Batches, Dispatch, Gateway
from propylon._delivery.consumer import Consumer
from propylon._delivery.plans import Plans
from propylon._listening import batches as module
from propylon._listening.face import ListenerFace
from propylon._listening.lifespan import Lifespan
from propylon._listening.registry import EVENT_INDEX
from propylon.events import MessageCreate
from propylon.testing import Simulator

asynchronous = pytest.mark.asyncio

ROUTE = 1 << 8 | EVENT_INDEX["MESSAGE_CREATE"]
LONG = 3600.0


class Shard:
    """What a consumer asks of the engine's."""

    waiting = False
    held = False
    mark = None

    def hold(self, held: bool) -> None:
        self.held = held


class Owner:
    """Something with one shard and a face."""

    def __init__(self) -> None:
        self.face = ListenerFace(self, Lifespan(self, None), check_usable=lambda: None, adding=lambda entries: None)
        self.shard = Shard()
        self.consumer = Consumer(
            self.shard,  # type: ignore[arg-type]
            self.face.registry,
            Plans(self.face.registry),
            100,
            report=self.face.handlers.report,
            excused=self.face.excused,
        )
        self.face.bind(self.consumer)

    def batches(self, size: int = 256, **options: Any) -> Batches:
        return self.face.batches([MessageCreate], None, size, **options)

    def feed(self, *lengths: int, ago: float = 0.0) -> None:
        """An event of each length, received so many seconds ago."""
        dispatches: list[Dispatch[Any]] = [
            Dispatch("MESSAGE_CREATE", b" " * length, received_at=monotonic() - ago) for length in lengths
        ]
        self.consumer.feed(self.face.registry.generation, dispatches, [ROUTE] * len(dispatches))


@pytest.fixture
def owner() -> Owner:
    return Owner()


def lengths(batch: Batch) -> list[int]:
    return [len(dispatch) for dispatch in batch]


async def turns(count: int = 5) -> None:
    """Let everybody do what can be done now."""
    for _ in range(count):
        await asyncio.sleep(0)


@asynchronous
class TestFull:
    async def test_by_default_it_is_given_as_soon_as_there_is_an_event(self, owner: Owner) -> None:
        async with owner.batches(size=2) as batches:
            reading = asyncio.create_task(anext(batches))
            await turns()
            owner.feed(1)
            assert lengths(await reading) == [1]
            owner.feed(2, 3, 4)
            assert [lengths(await anext(batches)) for _ in range(2)] == [[2, 3], [4]]

    async def test_by_size(self, owner: Owner) -> None:
        async with owner.batches(size=3, seconds=LONG) as batches:
            reading = asyncio.create_task(anext(batches))
            for length in (1, 2):
                await turns()
                owner.feed(length)
            await turns()
            assert not reading.done()
            owner.feed(3, 4)
            assert lengths(await reading) == [1, 2, 3]

    async def test_by_bytes_and_a_larger_event_comes_alone(self, owner: Owner) -> None:
        async with owner.batches(bytes=10, seconds=LONG) as batches:
            reading = asyncio.create_task(anext(batches))
            await turns()
            owner.feed(4, 5)
            await turns()
            assert not reading.done()
            owner.feed(2)
            assert lengths(await reading) == [4, 5]
            owner.feed(8)
            assert lengths(await anext(batches)) == [2, 8]
            owner.feed(3, 11, 10)
            assert [lengths(await anext(batches)) for _ in range(3)] == [[3], [11], [10]]
            assert batches._buffer_bytes == 0

    async def test_bytes_bound_what_is_given_at_once_too(self, owner: Owner) -> None:
        async with owner.batches(bytes=10) as batches:
            owner.feed(1, 9, 1)
            assert [lengths(await anext(batches)) for _ in range(2)] == [[1, 9], [1]]

    async def test_by_time(self, owner: Owner) -> None:
        async with owner.batches(size=1000, seconds=0.05) as batches:
            reading = asyncio.create_task(anext(batches))
            await turns()
            owner.feed(1, 2)
            batch = await reading
            assert lengths(batch) == [1, 2]
            # The clock of uvloop has milliseconds.
            assert monotonic() - batch[0].received_at >= 0.045

    async def test_the_time_is_that_of_the_oldest_event(self, owner: Owner) -> None:
        async with owner.batches(size=3, seconds=LONG) as batches:
            owner.feed(1, 2, ago=LONG)
            assert lengths(await anext(batches)) == [1, 2]
            owner.feed(1, 2, 3, 4, ago=LONG / 2)
            assert lengths(await anext(batches)) == [1, 2, 3]
            reading = asyncio.create_task(anext(batches))
            await turns()
            assert not reading.done()
            owner.feed(5, 6)
            assert lengths(await reading) == [4, 5, 6]

    async def test_no_time_is_not_waited_for(self, owner: Owner) -> None:
        async with owner.batches(seconds=0) as batches:
            owner.feed(1)
            assert lengths(await anext(batches)) == [1]

    async def test_for_ever_is_a_time(self, owner: Owner) -> None:
        async with owner.batches(size=2, seconds=float("inf")) as batches:
            reading = asyncio.create_task(anext(batches))
            owner.feed(1)
            await turns()
            assert not reading.done()
            owner.feed(2)
            assert lengths(await reading) == [1, 2]

    async def test_a_reader_waits_once_and_not_for_each_event(
        self, owner: Owner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with owner.batches(size=100, seconds=LONG) as batches:
            waited: list[float] = []
            woken = batches._woken

            async def counted(seconds: float = float("inf")) -> None:
                waited.append(seconds)
                await woken(seconds)

            monkeypatch.setattr(batches, "_woken", counted)
            reading = asyncio.create_task(anext(batches))
            for _ in range(100):
                await turns(2)
                owner.feed(1)
            assert len(await reading) == 100
            # For the first event, and with a timer for the rest.
            assert len(waited) == 2
            assert LONG - 5 < waited[1] <= LONG

    async def test_the_end_gives_what_is_there_at_once(self, owner: Owner) -> None:
        async with owner.batches(size=3, seconds=LONG) as batches:
            owner.feed(1, 2, 3, 4)
            assert len(await anext(batches)) == 3
            reading = asyncio.create_task(anext(batches))
            await turns()
            owner.face.end(None)
            assert lengths(await reading) == [4]
            assert [batch async for batch in batches] == []

    async def test_being_cancelled_loses_nothing(self, owner: Owner) -> None:
        async with owner.batches(size=3, seconds=LONG) as batches:
            owner.feed(1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(batches)
            owner.feed(2, 3)
            assert lengths(await anext(batches)) == [1, 2, 3]

    async def test_one_task_reads(self, owner: Owner) -> None:
        async with owner.batches(size=3, seconds=LONG) as batches:
            owner.feed(1)
            reading = asyncio.create_task(anext(batches))
            await turns()
            with pytest.raises(RuntimeError, match="another task reads here already"):
                await anext(batches)
            reading.cancel()

    async def test_leaving_ends_a_reader_that_waits_for_more(self, owner: Owner) -> None:
        async with owner.batches(size=3, seconds=LONG) as batches:
            owner.feed(1)
            reading = asyncio.create_task(anext(batches))
            await turns()
        with pytest.raises(StopAsyncIteration):
            await reading

    @pytest.mark.parametrize(
        ("options", "error", "why"),
        [
            ({"bytes": 0}, ValueError, "bytes must be a whole number of at least 1"),
            ({"bytes": 1.5}, ValueError, "bytes must be a whole number"),
            ({"seconds": -1}, ValueError, "seconds must be 0 s or more"),
            ({"seconds": float("nan")}, ValueError, "seconds must be 0 s or more"),
            ({"seconds": "1"}, TypeError, "seconds is a number of seconds"),
        ],
    )
    async def test_impossible_limits_are_told(
        self, owner: Owner, options: dict[str, Any], error: type[Exception], why: str
    ) -> None:
        with pytest.raises(error, match=why):
            owner.batches(**options)


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=200)
@given(
    found=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=20), max_size=8),
    size=st.integers(1, 12),
    limit=st.none() | st.integers(1, 40),
    seconds=st.sampled_from([None, LONG]),
    ack=st.booleans(),
)
def test_any_events_come_once_and_in_order_and_no_batch_is_larger_than_asked_for(
    found: list[list[int]], size: int, limit: int | None, seconds: float | None, ack: bool
) -> None:
    async def main() -> list[list[int]]:
        owner = Owner()
        async with owner.batches(size=size, bytes=limit, seconds=seconds, ack=ack) as batches:
            for each in found:
                owner.feed(*each)
            owner.face.end(None)
            read = []
            async for batch in batches:
                read.append(lengths(batch))
                if ack:
                    batch.ack()
            assert (batches._buffer_bytes, batches._given_bytes, len(batches._given)) == (0, 0, 0)
            return read

    read = asyncio.run(main())
    assert [length for each in read for length in each] == [length for each in found for length in each]
    for batch, following in zip(read, [*read, None][1:], strict=True):
        assert 1 <= len(batch) <= size
        assert limit is None or sum(batch) <= limit or len(batch) == 1
        # As large as it may be: nothing more would have gone in.
        if following is not None and len(batch) < size:
            assert limit is not None
            assert sum(batch) + following[0] > limit


@asynchronous
class TestHoldingBack:
    async def test_by_bytes(self, owner: Owner) -> None:
        async with owner.batches(bytes=100) as batches:
            owner.feed(99, 100)
            assert not owner.shard.held
            owner.feed(1)
            assert owner.shard.held
            assert lengths(await anext(batches)) == [99]
            assert lengths(await anext(batches)) == [100]
            await turns()
            assert not owner.shard.held

    @pytest.mark.parametrize(("size", "limit"), [(1, 512), (256, 512), (1_000, 2_000)])
    async def test_a_batch_can_be_full_before_it_holds_back(self, owner: Owner, size: int, limit: int) -> None:
        async with owner.batches(size=size, seconds=LONG, ack=True) as batches:
            owner.feed(*[1] * size)
            assert len(await anext(batches)) == size
            owner.feed(*[1] * (limit - size - 1))
            assert not owner.shard.held
            owner.feed(1)
            assert owner.shard.held

    async def test_what_is_not_acknowledged_counts(self, owner: Owner) -> None:
        async with owner.batches(size=256, ack=True) as batches:
            owner.feed(*[1] * 256)
            first = await anext(batches)
            owner.feed(*[1] * 256)
            assert owner.shard.held
            second = await anext(batches)
            await turns()
            assert owner.shard.held
            first.ack()
            await turns()
            assert not owner.shard.held
            owner.feed(*[1] * 256)
            assert owner.shard.held
            second.ack()
            await turns()
            assert not owner.shard.held

    async def test_bytes_that_are_not_acknowledged_count(self, owner: Owner) -> None:
        async with owner.batches(bytes=100, ack=True) as batches:
            owner.feed(100)
            first = await anext(batches)
            owner.feed(99)
            assert not owner.shard.held
            owner.feed(1)
            assert owner.shard.held
            second = await anext(batches)
            assert lengths(second) == [99, 1]
            second.ack()
            await turns()
            assert not owner.shard.held
            first.ack()
            assert batches._given_bytes == 0

    async def test_where_no_more_can_come_a_batch_is_given_as_it_is(self, owner: Owner) -> None:
        async with owner.batches(size=256, seconds=LONG, ack=True) as batches:
            owner.feed(*[1] * 256)
            await anext(batches)
            owner.feed(*[1] * 255)
            reading = asyncio.create_task(anext(batches))
            await turns()
            owner.feed(*[1] * 256)
            assert len(await reading) == 256
            # 255 are left, fewer than a batch; with what is unacknowledged there is no room for more.
            assert owner.shard.held
            assert len(await anext(batches)) == 255

    async def test_who_never_acknowledges_is_told(
        self, owner: Owner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(module, "_PATIENCE", 0.01)
        async with owner.batches(ack=True) as batches:
            owner.feed(*[1] * 600)
            taken = [await anext(batches) for _ in range(2)]
            await eventually(lambda: "512 events of batches(ack=True) have been taken and none was" in caplog.text)
            assert "call ack() on a batch" in caplog.text
            taken[1].ack()
            await turns()
            assert not owner.shard.held
            assert batches._complaint is None

    async def test_who_only_reads_slowly_is_not_told_that(
        self, owner: Owner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(module, "_PATIENCE", 0.01)
        async with owner.batches(ack=True) as batches:
            owner.feed(*[1] * 600)
            before = batches._complaint
            assert before is not None
            await eventually(lambda: batches._complaint is not before)
            assert "none was acknowledged" not in caplog.text
            assert owner.shard.held

    async def test_leaving_lets_go(self, owner: Owner) -> None:
        async with owner.batches(ack=True) as batches:
            owner.feed(*[1] * 600)
            batch = await anext(batches)
            assert owner.shard.held
        await turns()
        assert not owner.shard.held
        assert batches._complaint is None
        batch.ack()


@asynchronous
class TestBatch:
    async def test_acknowledging_is_for_all_before_and_twice_is_harmless(self, owner: Owner) -> None:
        async with owner.batches(size=1, ack=True) as batches:
            owner.feed(1, 2, 3)
            one, two, three = [await anext(batches) for _ in range(3)]
            two.ack()
            assert batches._marks.finished == 2
            one.ack()
            two.ack()
            assert batches._marks.finished == 2
            owner.face.end(None)
            three.ack()
            assert batches._marks.finished == 3
        for batch in (one, two, three):
            batch.ack()

    async def test_without_ack_there_is_nothing_to_acknowledge(self, owner: Owner) -> None:
        async with owner.batches() as batches:
            owner.feed(1)
            with pytest.raises(RuntimeError, match=r"ask for batches\(ack=True\)"):
                (await anext(batches)).ack()

    async def test_another_thread_is_told_where_to_acknowledge(self, owner: Owner) -> None:
        async with owner.batches(ack=True) as batches:
            owner.feed(1)
            batch = await anext(batches)
            with pytest.raises(RuntimeError, match=r"ack\(\) is called in the thread of the event loop"):
                await asyncio.to_thread(batch.ack)

            async def elsewhere() -> None:
                batch.ack()

            with pytest.raises(RuntimeError, match=r"ack\(\) is called in the thread of the event loop"):
                await asyncio.to_thread(asyncio.run, elsewhere())
            assert batches._marks.finished == 0
            batch.ack()
            assert batches._marks.finished == 1

    @pytest.mark.parametrize("copied", [copy.copy, lambda batch: pickle.loads(pickle.dumps(batch))])
    async def test_a_copy_has_the_events_only(self, owner: Owner, copied: Callable[[Batch], Batch]) -> None:
        async with owner.batches(ack=True) as batches:
            owner.feed(1, 2)
            batch = await anext(batches)
            other = copied(batch)
            assert isinstance(other, Batch)
            assert lengths(other) == [1, 2]
            with pytest.raises(RuntimeError, match="not on a copy"):
                other.ack()
            batch.ack()

    async def test_it_is_a_list(self, owner: Owner) -> None:
        async with owner.batches() as batches:
            owner.feed(1, 2)
            batch = await anext(batches)
            assert isinstance(batch, list)
            assert batch == list(batch)
            assert type(batch[:1]) is list
            assert [*batch, *batch] == batch + batch


@asynchronous
async def test_a_gateway_takes_the_limits(gateway: Gateway) -> None:
    batches = gateway.batches(MessageCreate, size=2, bytes=3, seconds=4, ack=True)
    assert (batches._size, batches._bytes, batches._seconds, batches._ack) == (2, 3, 4, True)


@asynchronous
async def test_who_never_acknowledges_holds_the_socket_back_and_loses_nothing(
    propylon_simulator: Callable[..., Simulator], gateway_to: Callable[..., Gateway]
) -> None:
    count = 3_000
    sim = propylon_simulator(
        guilds=0, events=["MESSAGE_CREATE"], rate=None, count=count, start="manual", send_buffer=65_536
    )
    gateway = gateway_to(sim, queue_bytes=50_000, compression=None)
    async with gateway.batches(MessageCreate, size=64, ack=True) as batches:
        await gateway.open(timeout=10)
        sim.flood()
        await eventually(lambda: batches._blocking and gateway.metrics().queue_bytes > 25_000)
        taken: list[Batch] = []
        while batches._buffer:
            taken.append(await anext(batches))
        # What a drain brings may be beyond the limit.
        assert 512 <= sum(map(len, taken)) <= 512 + 256
        await turns()
        assert not batches._buffer
        taken[-1].ack()
        while sum(map(len, taken)) < count:
            taken.append(await anext(batches))
            taken[-1].ack()
    assert [dispatch.sequence for batch in taken for dispatch in batch] == list(range(2, count + 2))
    assert gateway.metrics().overflowed == 0
