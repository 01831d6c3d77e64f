"""The worker over a broker in memory: its events to its listeners, and acknowledged when they are finished.

Over 500 lines because all of it stands on one cluster in memory.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from cluster.intake import MemoryIntake, MemoryStream, partition_of
from cluster.memory import MemoryBroker, MemoryServer
from face.support import eventually, message
from propylon import Dispatch, ForkedError, Listeners, NotConnected, field, listen
from propylon._sessions import keeping
from propylon.cluster import Worker
from propylon.cluster._keys import (
    ACTIVE,
    OVERLAP,
    Active,
    Heard,
    OverlapKey,
    WorkerInfo,
    bucket,
    encode,
    heard_key,
    read,
)
from propylon.cluster._membership import Times
from propylon.cluster._partitions import partitions_of
from propylon.cluster._worker_life import Joined
from propylon.events import FleetReady, MessageCreate, MessageUpdate, Ready, ShardReady

pytestmark = pytest.mark.asyncio

KEYS = bucket("app")
GUILD = 41


class Cluster:
    """Workers around one broker and one stream."""

    def __init__(self) -> None:
        self.server = MemoryServer(timeout=0.1)
        self.stream = MemoryStream()
        self.brokers: dict[Worker, MemoryBroker] = {}

    def worker(self, *, times: Times | None = None, **options: Any) -> Worker:
        worker = Worker("nats://nowhere.invalid", app="app", **options)
        life = worker._life

        async def join() -> Joined:
            broker = self.brokers[worker] = self.server.client()
            return Joined(broker, self.stream.make)

        life.join = join
        if times is not None:
            life.times = times
        return worker

    def say(self, content: str, guild_id: int = GUILD, **fields: Any) -> int:
        return self.stream.publish("MESSAGE_CREATE", message(content, guild_id=str(guild_id), **fields), guild_id)

    def heard(self, worker: Worker) -> Heard | None:
        entry = self.server.keys(KEYS).get(heard_key(worker.id or ""))
        return read(Heard, None if entry is None else entry.value)

    @property
    def workers(self) -> list[WorkerInfo]:
        several = [read(WorkerInfo, entry.value) for entry in self.server.keys(KEYS, "worker.*").values()]
        return [one for one in several if one is not None]

    def intake(self, guild_id: int = GUILD) -> MemoryIntake:
        return next(one for one in reversed(self.stream.made) if one.partition == partition_of(guild_id))


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    one = Cluster()
    yield one
    for worker in one.brokers:
        await worker.close()


@pytest.fixture
def heard() -> list[str]:
    return []


def listening(worker: Worker, heard: list[str]) -> None:
    @worker.listen
    def on_message(event: MessageCreate) -> None:
        heard.append(event.content)


async def test_it_hears_the_events_of_its_partitions_in_order(cluster: Cluster, heard: list[str]) -> None:
    worker = cluster.worker()
    listening(worker, heard)
    cluster.say("before")
    await worker.open()
    assert worker.partitions == tuple(range(64))
    for number in range(500):
        cluster.say(str(number))
    await eventually(lambda: len(heard) == 501)
    assert heard == ["before", *map(str, range(500))]
    await eventually(lambda: cluster.stream.outstanding == 0)
    metrics = worker.metrics()
    assert metrics.received == metrics.delivered == 501
    assert metrics.intake == {"fed": 501, "lag": 0}
    assert metrics.partitions == worker.partitions


async def test_what_a_listener_gets_says_where_it_came_from(cluster: Cluster) -> None:
    worker = cluster.worker()
    got: list[tuple[int | None, int, Worker]] = []

    @worker.listen(MessageCreate)
    async def on_message(event: MessageCreate, dispatch: Dispatch[Any], here: Worker) -> None:
        got.append((dispatch.sequence, dispatch.shard_id, here))

    await worker.open()
    cluster.stream.publish("MESSAGE_CREATE", message(), GUILD, shard_id=3)
    await eventually(lambda: got == [(1, 3, worker)])


async def test_groups_streams_batches_and_waits_are_those_of_a_gateway(cluster: Cluster) -> None:
    worker = cluster.worker()
    seen: list[str] = []

    class Group(Listeners):
        @listen
        async def message(self, event: MessageCreate) -> None:
            seen.append(event.content)

    worker.add(Group())
    assert [listener.name for listener in worker.listeners] == [Group.message.__qualname__]
    await worker.open()
    waiting = asyncio.ensure_future(worker.wait_for(MessageCreate, where=field("content") == "two", timeout=5))
    collecting = asyncio.ensure_future(worker.collect(MessageCreate, count=2))
    async with worker.batches(MessageCreate) as batches, worker.stream(MessageCreate) as stream:
        await asyncio.sleep(0)
        cluster.say("one")
        cluster.say("two")
        assert (await waiting).content == "two"
        assert [event.content for event in await collecting] == ["one", "two"]
        assert (await anext(stream)).content == "one"
        assert [dispatch.type for dispatch in await anext(batches)] == ["MESSAGE_CREATE"] * 2
    await eventually(lambda: seen == ["one", "two"] and cluster.stream.outstanding == 0)


async def test_an_event_is_acknowledged_when_each_call_for_it_has_finished(cluster: Cluster) -> None:
    worker = cluster.worker()
    gates = {"one": asyncio.Event(), "two": asyncio.Event()}
    begun: list[str] = []

    @worker.listen
    async def on_message(event: MessageCreate) -> None:
        begun.append(event.content)
        await gates[event.content].wait()

    await worker.open()
    cluster.say("one")
    cluster.say("two")
    await eventually(lambda: begun == ["one", "two"])
    gates["two"].set()
    await asyncio.sleep(0.1)
    assert cluster.stream.outstanding == 2
    gates["one"].set()
    await eventually(lambda: cluster.stream.outstanding == 0)


async def test_a_call_holds_its_event_for_as_long_as_that_could_come_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_LONG_CALL", 0.0)
    worker = cluster.worker()
    begun, gate = asyncio.Event(), asyncio.Event()

    @worker.listen
    async def on_message(_: MessageCreate) -> None:
        begun.set()
        await gate.wait()

    await worker.open()
    cluster.say("one")
    await begun.wait()
    await asyncio.sleep(0.1)
    assert cluster.stream.outstanding == 1
    cluster.intake().keeps = 0.0
    await eventually(lambda: cluster.stream.outstanding == 0)
    gate.set()


async def test_what_nobody_hears_and_what_raises_is_finished(cluster: Cluster) -> None:
    worker = cluster.worker()
    errors: list[Exception] = []

    @worker.listen
    async def on_message(event: MessageCreate) -> None:
        raise ValueError(event.content)

    worker.on_error(errors.append)
    await worker.open()
    cluster.stream.publish("TYPING_START", {}, GUILD)
    await eventually(lambda: cluster.stream.outstanding == 0)
    cluster.say("one")
    await eventually(lambda: cluster.stream.outstanding == 0)
    assert [str(error) for error in errors] == ["one"]


async def test_batches_are_acknowledged_by_their_reader(cluster: Cluster) -> None:
    worker = cluster.worker()
    await worker.open()
    async with worker.batches(MessageCreate, ack=True) as batches:
        cluster.say("one")
        batch = await anext(batches)
        await asyncio.sleep(0.1)
        assert cluster.stream.outstanding == 1
        batch.ack()
        await eventually(lambda: cluster.stream.outstanding == 0)


async def test_hosts_read_what_it_listens_to(cluster: Cluster) -> None:
    worker = cluster.worker()

    @worker.listen(where=field("content").startswith("!"))
    def on_message(event: MessageCreate) -> None: ...

    await worker.open()
    told = cluster.heard(worker)
    assert told is not None
    assert [(slot.where, slot.events) for slot in told.slots] == [('["startswith","content","!"]', ["MESSAGE_CREATE"])]
    worker.listen(Ready)(lambda event: None)
    await eventually(lambda: len((cluster.heard(worker) or Heard()).slots) == 2)
    (info,) = cluster.workers
    assert info.id == worker.id
    assert info.version
    await worker.close()
    assert cluster.server.keys(KEYS, "worker.*") == cluster.server.keys(KEYS, "part.*") == {}
    # For another minute, so that whoever follows misses nothing.
    assert len((cluster.heard(worker) or Heard()).slots) == 2


async def test_two_share_the_partitions_and_one_that_leaves_gives_its_own_back(
    cluster: Cluster, heard: list[str]
) -> None:
    a, b = cluster.worker(name="a"), cluster.worker(name="b")
    heard_by_b: list[str] = []
    listening(a, heard)
    listening(b, heard_by_b)
    await a.open()
    await b.open()
    theirs = partitions_of(b.id or "", [a.id or "", b.id or ""])
    await eventually(lambda: set(b.partitions) == theirs and not set(a.partitions) & theirs)
    assert sorted([*a.partitions, *b.partitions]) == list(range(64))
    for guild_id in range(128):
        cluster.say(str(guild_id), guild_id)
    await eventually(lambda: cluster.stream.outstanding == 0)
    assert sorted(map(int, heard + heard_by_b)) == list(range(128))
    assert {int(guild) % 64 for guild in heard_by_b} == theirs
    await b.close()
    await eventually(lambda: a.partitions == tuple(range(64)))
    # Counters are kept of partitions that have gone.
    assert a.metrics().received + b.metrics().received == 128


async def test_one_at_which_nobody_listens_takes_no_partition(
    cluster: Cluster, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("propylon.cluster._worker_life._LINGERS", 0.05)
    idle, busy = cluster.worker(name="idle"), cluster.worker(name="busy")
    listening(busy, heard)
    await idle.open()
    assert idle.partitions == ()
    await busy.open()
    assert busy.partitions == tuple(range(64))
    for guild_id in range(64):
        cluster.say(str(guild_id), guild_id)
    await eventually(lambda: sorted(map(int, heard)) == list(range(64)))
    # It joins with the first that listens or waits...
    waiting = asyncio.ensure_future(idle.wait_for(MessageCreate, where=field("content") == "now"))
    await eventually(lambda: idle.partitions and len(idle.partitions) + len(busy.partitions) == 64)
    cluster.say("now", idle.partitions[0])
    assert (await waiting).content == "now"
    # ...and leaves with the last.
    await eventually(lambda: idle.partitions == () and len(busy.partitions) == 64)
    assert [info.listens for info in sorted(cluster.workers, key=lambda info: info.id)] == [True, False]
    cluster.say("later", 0)
    await eventually(lambda: "later" in heard)


async def test_one_that_listens_again_at_once_keeps_its_partitions(
    cluster: Cluster, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Far more than a busy machine may add to a pause.
    monkeypatch.setattr("propylon.cluster._worker_life._LINGERS", 2.5)
    idle, busy = cluster.worker(name="idle"), cluster.worker(name="busy")
    listening(busy, heard)
    await idle.open()
    await busy.open()

    async def waits() -> None:
        with pytest.raises(TimeoutError):
            await idle.wait_for(MessageCreate, timeout=0.05)

    while not idle.partitions:
        await waits()
    written = cluster.workers
    # For longer than it lingers, and never that long without a wait.
    for _ in range(14):
        await asyncio.sleep(0.2)
        assert idle.partitions
        await waits()
    assert idle.partitions
    assert [info.listens for info in cluster.workers] == [info.listens for info in written] == [True, True]
    await eventually(lambda: not idle.partitions)


async def test_what_nobody_else_would_take_it_keeps(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propylon.cluster._worker_life._LINGERS", 0.05)
    alone = cluster.worker(name="alone")
    await alone.open()
    waiting = asyncio.ensure_future(alone.wait_for(MessageCreate, where=field("content") == "now"))
    await eventually(lambda: len(alone.partitions) == 64)
    cluster.say("now", 0)
    await waiting
    await eventually(lambda: [info.listens for info in cluster.workers] == [False])
    # What hosts publish until they hear of that is not left to a wait of later.
    for guild_id in range(64):
        cluster.say("now", guild_id)
    await eventually(lambda: cluster.stream.outstanding == 0)
    assert len(alone.partitions) == 64
    heard: list[str] = []
    busy = cluster.worker(name="busy")
    listening(busy, heard)
    await busy.open()
    await eventually(lambda: len(busy.partitions) == 64)
    assert (alone.partitions, heard) == ((), [])


async def test_workers_with_different_listeners_are_told_of_once(
    cluster: Cluster, heard: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("propylon.cluster._worker_life._DIFFER_FOR", 0.1)
    a, b, same, idle = (cluster.worker(name=name) for name in ("a", "b", "same", "idle"))
    for worker in (a, b, same):
        listening(worker, heard)
    for worker in (a, same, idle):
        await worker.open()
    # Who waits for an event does so for a while.
    with pytest.raises(TimeoutError):
        await a.wait_for(MessageUpdate, timeout=0.3)
    assert "different listeners" not in caplog.text
    b.listen(MessageUpdate)(lambda event: None)
    await b.open()
    text = "the workers {} and {} have different listeners"
    await eventually(lambda: text.format(a.id, b.id) in caplog.text and text.format(same.id, b.id) in caplog.text)
    # And b of one of them.
    await eventually(lambda: caplog.text.count("different listeners") >= 3)
    b.listen(Ready)(lambda event: None)
    await asyncio.sleep(0.3)
    assert caplog.text.count("different listeners") == 3


async def test_a_partition_moves_when_its_events_are_finished_and_none_comes_twice(cluster: Cluster) -> None:
    a = cluster.worker(name="a")
    gate = asyncio.Event()
    handled: list[tuple[str, str]] = []

    def slow(worker: Worker, name: str) -> None:
        @worker.listen
        async def on_message(event: MessageCreate) -> None:
            await gate.wait()
            handled.append((name, event.content))

    slow(a, "a")
    await a.open()
    b = cluster.worker(name="b")
    slow(b, "b")
    for guild_id in range(64):
        cluster.say(str(guild_id), guild_id)
    await eventually(lambda: a.metrics().pending == 64)
    await b.open()
    theirs = partitions_of(b.id or "", [a.id or "", b.id or ""])
    await asyncio.sleep(0.1)
    assert b.partitions == ()
    # What comes meanwhile is not a's any more.
    moving = min(theirs)
    cluster.say("later", moving)
    gate.set()
    await eventually(lambda: set(b.partitions) == theirs)
    await eventually(lambda: cluster.stream.outstanding == 0)
    assert sorted(handled) == sorted([("b", "later"), *(("a", str(guild_id)) for guild_id in range(64))])


async def test_calls_that_do_not_finish_go_on_and_their_events_come_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("propylon.cluster._worker_life._HAND_OVER", 0.1)
    a, b = cluster.worker(name="a"), cluster.worker(name="b")
    gate, cancelled, handled = asyncio.Event(), [], list[str]()

    @a.listen
    async def slow(event: MessageCreate) -> None:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            cancelled.append(event)
            raise
        handled.append("a")

    @b.listen
    def quick(event: MessageCreate) -> None:
        handled.append("b")

    await a.open()
    for guild_id in range(64):
        cluster.say("hi", guild_id)
    await eventually(lambda: a.metrics().pending == 64)
    await b.open()
    theirs = partitions_of(b.id or "", [a.id or "", b.id or ""])
    await eventually(lambda: handled == ["b"] * len(theirs))
    assert "come again" in caplog.text
    assert cancelled == []
    gate.set()
    await eventually(lambda: handled.count("a") == 64)


async def test_the_events_of_a_worker_that_died_come_to_another(cluster: Cluster) -> None:
    quick = Times(ttl=1, every=0.2, given_up=0.6, retry=0.05)
    # Only who dies has short leases: on a busy machine they are lost before, too.
    a, b = cluster.worker(name="a"), cluster.worker(name="b", times=quick)
    heard_a: list[str] = []
    heard_b: list[str] = []
    listening(a, heard_a)
    listening(b, heard_b)
    await a.open()
    await b.open()
    before = partitions_of(b.id or "", [a.id or "", b.id or ""])
    await eventually(lambda: set(b.partitions) == before and not set(a.partitions) & before)
    # As if it had been killed: it says nothing any more.
    cluster.brokers[b].cut()
    await eventually(lambda: b.partitions == ())
    for guild_id in before:
        cluster.say(str(guild_id), guild_id)
    await eventually(lambda: sorted(map(int, heard_a)) == sorted(before))
    assert heard_b == []
    cluster.brokers[b].restore()
    await eventually(lambda: set(b.partitions) == before)
    assert sorted([*a.partitions, *b.partitions]) == list(range(64))


async def test_no_listener_is_called_when_the_lease_is_over_not_even_for_what_waits(
    cluster: Cluster, heard: list[str]
) -> None:
    # Long enough for the first call to begin on a busy machine.
    worker = cluster.worker(times=Times(ttl=60, every=20, given_up=3, retry=10))

    @worker.listen
    async def on_message(event: MessageCreate) -> None:
        heard.append(event.content)
        if event.content == "0":
            # As a process that is stopped, and goes on.
            time.sleep(3.2)  # noqa: ASYNC251

    await worker.open()
    for number in range(100):
        cluster.say(str(number))
    await eventually(lambda: worker.partitions == ())
    assert heard == ["0"]
    assert cluster.stream.acknowledged[partition_of(GUILD)] == 0
    cluster.say("more")
    await asyncio.sleep(0.05)
    assert heard == ["0"]


async def test_its_end_waits_for_the_intakes_of_partitions_that_were_lost(
    cluster: Cluster, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = cluster.worker()
    listening(worker, heard)
    await worker.open()
    stopped = asyncio.Event()
    monkeypatch.setattr(cluster.intake(), "stop", stopped.wait)
    worker._life.lose(partition_of(GUILD))
    closing = asyncio.create_task(worker.close())
    await asyncio.sleep(0.1)
    assert not closing.done()
    stopped.set()
    await closing


async def test_a_drain_hands_out_what_has_come_and_acknowledges_it(cluster: Cluster) -> None:
    worker = cluster.worker()
    begun: list[str] = []

    @worker.listen(concurrency=1)
    async def on_message(event: MessageCreate) -> None:
        begun.append(event.content)
        await asyncio.sleep(0.001)

    await worker.open()
    for number in range(300):
        cluster.say(str(number))
    await eventually(lambda: bool(begun))
    intake = cluster.intake()
    await worker.close(drain=10)
    assert begun == list(map(str, range(300)))
    assert cluster.stream.outstanding == 0
    assert intake not in cluster.stream.intakes
    assert cluster.workers == []


async def test_what_a_drain_cancels_is_not_acknowledged(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    worker = cluster.worker()
    begun: list[str] = []
    waiting: list[str] = []

    @worker.listen
    async def on_message(event: MessageCreate) -> None:
        begun.append(event.content)
        if event.content == "waits":
            try:
                await worker.wait_for(MessageUpdate)
            except NotConnected:
                waiting.append("told")
                raise
        else:
            await asyncio.Event().wait()

    await worker.open()
    cluster.say("waits")
    cluster.say("stuck")
    await eventually(lambda: begun == ["waits", "stuck"])
    await worker.close(drain=0.4)
    assert waiting == ["told"]
    assert cluster.stream.acknowledged[partition_of(GUILD)] == 1
    assert "1 listener calls have not finished within 0.4 s" in caplog.text


async def test_a_listener_that_closes_it_has_finished_with_its_event(cluster: Cluster) -> None:
    worker = cluster.worker()

    @worker.listen
    async def on_message(event: MessageCreate) -> None:
        await worker.close(drain=5)

    await worker.open()
    cluster.say("stop")
    async with asyncio.timeout(3):
        await worker.wait_closed()
    assert cluster.stream.outstanding == 0


async def test_without_a_drain_calls_go_on_and_come_again(cluster: Cluster) -> None:
    worker = cluster.worker()
    gate = asyncio.Event()
    done: list[str] = []

    @worker.listen
    async def on_message(event: MessageCreate) -> None:
        await gate.wait()
        done.append(event.content)

    async with worker:
        cluster.say("one")
        await eventually(lambda: worker.metrics().pending == 1)
    assert cluster.stream.outstanding == 1
    gate.set()
    await eventually(lambda: done == ["one"])
    # Opened again, it has another name, and takes up what is left.
    first = worker.id
    await worker.open()
    await eventually(lambda: done == ["one", "one"])
    assert worker.id != first


async def test_events_come_while_two_totals_publish_and_the_intakes_know(cluster: Cluster) -> None:
    worker = cluster.worker()
    listening(worker, [])
    await worker.open()
    other = cluster.server.client()
    assert cluster.intake().overlapping is None
    await other.put(KEYS, OVERLAP, encode(OverlapKey(time.time() + 5, old=4)))
    await eventually(lambda: all(intake.overlapping == 4 for intake in cluster.stream.intakes))
    late = cluster.worker()
    listening(late, [])
    await late.open()
    await eventually(lambda: len(late.partitions) > 0)
    assert all(intake.overlapping == 4 for intake in cluster.stream.intakes)
    await other.delete(KEYS, OVERLAP)
    await eventually(lambda: all(intake.overlapping is None for intake in cluster.stream.intakes))


async def test_how_many_shards_there_are_is_what_the_hosts_say(cluster: Cluster) -> None:
    worker = cluster.worker()
    await worker.open()
    assert worker.total is None
    with pytest.raises(RuntimeError, match="how many shards"):
        worker.shard_of(41)
    other = cluster.server.client()
    await other.put(KEYS, ACTIVE, encode(Active(8)))
    await eventually(lambda: worker.total == 8)
    assert worker.shard_of((8_003) << 22) == 3


async def test_an_intake_that_cannot_go_on_is_begun_anew(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    worker = cluster.worker()
    listening(worker, [])
    await worker.open()
    intake = cluster.intake()
    intake.pending_news = [("dead", "5 deliveries"), ("expired", "17"), ("failed", "no such stream")]
    await eventually(lambda: cluster.intake() is not intake and worker.partitions == tuple(range(64)))
    for text in ("dead letter: 5 deliveries", "17 messages expired", "taken anew: no such stream"):
        assert text in caplog.text
    assert cluster.intake().epoch > intake.epoch


@pytest.mark.parametrize("kind", [ShardReady, FleetReady])
async def test_news_of_a_fleet_are_refused(cluster: Cluster, kind: type[Any]) -> None:
    worker = cluster.worker()
    with pytest.raises(TypeError, match="comes from a ShardManager only"):
        worker.listen(kind)(lambda event: None)
    assert worker.listeners == ()


async def test_a_broker_that_is_not_there_is_told_at_once(cluster: Cluster) -> None:
    worker = cluster.worker()

    async def join() -> Joined:
        raise ConnectionError("no NATS at nats://nowhere.invalid")

    worker._life.join = join
    ended: list[object] = []
    worker.on_close(ended.append)
    with pytest.raises(ConnectionError, match="nowhere"):
        await worker.open()
    assert ended == []
    await worker.close()


async def test_one_that_does_not_answer_costs_the_time_out(cluster: Cluster) -> None:
    worker = cluster.worker()

    async def join() -> Joined:
        await asyncio.Event().wait()
        raise AssertionError

    worker._life.join = join
    with pytest.raises(TimeoutError, match=r"not open within 0\.05 s"):
        await worker.open(timeout=0.05)
    opening = asyncio.ensure_future(worker.open())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await worker.close()
    with pytest.raises(NotConnected, match="while it was opening"):
        await opening


async def test_on_close_hears_of_the_end_once(cluster: Cluster) -> None:
    worker = cluster.worker()
    ended: list[Any] = []

    @worker.on_close
    async def on_close(closed: Any) -> None:
        await asyncio.sleep(0)
        ended.append(closed)

    await worker.open()
    await asyncio.gather(worker.close(), worker.close(drain=1))
    (closed,) = ended
    assert (closed.reconnect, closed.error) == (False, None)
    await worker.wait_closed()
    with pytest.raises(NotConnected, match="not open"):
        await worker.send(3, {}, shard_id=0)


async def test_serve_has_the_lifespan_around_it(cluster: Cluster) -> None:
    from collections.abc import AsyncGenerator
    from contextlib import asynccontextmanager

    steps: list[str] = []

    @asynccontextmanager
    async def lifespan(worker: Worker) -> AsyncGenerator[str]:
        steps.append("begin")
        yield "value"
        steps.append("end")

    worker = cluster.worker(lifespan=lifespan)

    @worker.listen
    async def on_message(event: MessageCreate, value: str) -> None:
        steps.append(value)
        await worker.close()

    cluster.say("hi")
    async with asyncio.timeout(5):
        await worker.serve()
    assert steps == ["begin", "value", "end"]


async def test_it_is_opened_once_at_a_time(cluster: Cluster) -> None:
    worker = cluster.worker()
    listening(worker, [])
    await worker.open()
    with pytest.raises(RuntimeError, match="open already"):
        await worker.open()
    assert "64 partitions" in repr(worker)
    await worker.close()
    assert "closed" in repr(worker)
    with pytest.raises(TypeError, match="cannot be pickled"):
        worker.__reduce__()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"max_pending": 0}, "max_pending"),
        ({"misfits": "other"}, "misfits"),
        ({"name": "a.b"}, "name"),
        ({"admin": "nonsense"}, "address|admin"),
    ],
)
async def test_impossible_options_are_told(options: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Worker("nats://127.0.0.1", app="app", **options)


async def test_an_admin_server_is_there_while_it_is_open(cluster: Cluster) -> None:
    worker = cluster.worker(admin="127.0.0.1:0")
    assert worker.admin_address is None
    await worker.open()
    assert worker.admin_address is not None
    (info,) = cluster.workers
    assert info.admin == f"127.0.0.1:{worker.admin_address[1]}"
    await worker.close()
    assert worker.admin_address is None


async def test_it_belongs_to_its_loop_and_process(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = cluster.worker()
    await worker.open()

    def elsewhere() -> None:
        asyncio.run(worker.wait_for(MessageCreate))

    with pytest.raises(RuntimeError, match="belongs to the event loop"):
        await asyncio.to_thread(elsewhere)
    monkeypatch.setattr("os.getpid", lambda: 1)
    with pytest.raises(ForkedError, match="parent process"):
        await worker.close()
    with pytest.raises(ForkedError, match="parent process"):
        worker.listen(MessageCreate)(lambda event: None)
    assert "parent process" in repr(worker)
    monkeypatch.undo()


async def test_one_that_is_forgotten_while_it_is_open_says_so(cluster: Cluster) -> None:
    worker = cluster.worker()
    await worker.open()
    with pytest.warns(ResourceWarning, match="forgotten while it was open"):
        worker.__del__()
