"""Events through JetStream: the engine's publisher and intake, over a real nats-server.

Over 500 lines because each case needs the same source and reader of events, and little else.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import nats
import pytest

import propylon._core as _core
from cluster.nats import NatsServer
from face.support import eventually
from propylon.cluster._feeding import unstarted
from propylon.cluster._nats import Nats, NatsBroker, connect

pytestmark = pytest.mark.asyncio

Join = Callable[[], Coroutine[Any, Any, NatsBroker]]


def subscriptions() -> _core.Subscriptions:
    """Of somebody who hears everything."""
    heard = _core.Subscriptions()
    heard.add(0, None, ["*"])
    return heard


class Source:
    """A shard of a host: what it is fed is published."""

    def __init__(
        self, broker: NatsBroker, app: str, *, session: str = "session", epoch: int = 5, shard: tuple[int, int] = (0, 1)
    ) -> None:
        self.shard = unstarted(subscriptions(), shard=shard)
        self.shard.set_session((session, 0, None, shard, 0))
        self.publisher = _core.Publisher(broker.core, app, 64, f"host{epoch}")
        self.epoch = epoch

    def begin(self, published: dict[int, int] | None = None) -> None:
        self.publisher.add(self.shard, self.epoch, published or {})
        self.publisher.renewed(self.shard.key, time.monotonic() + 60)

    def send(self, *numbers: int, guild: int = 1, size: int = 0) -> None:
        self.shard.feed(
            [
                (
                    "MESSAGE_CREATE",
                    json.dumps({"guild_id": str(guild), "n": number, "x": "x" * size}).encode(),
                    number,
                    0,
                    None,
                )
                for number in numbers
            ]
        )

    async def flushed(self) -> None:
        await eventually(lambda: self.publisher.flushed(self.shard.key))


def fleets(broker: NatsBroker, app: str) -> tuple[Source, Source]:
    """A shard of the old number of shards, which is one, and one of the new number."""
    return Source(broker, app, epoch=5), Source(broker, app, session="other", epoch=9, shard=(0, 2))


class Reader:
    """One partition in a worker."""

    def __init__(self, broker: NatsBroker, app: str, partition: int) -> None:
        self.broker, self.partition = broker, partition
        self.hub = _core.Hub()
        self.shard = unstarted(subscriptions())
        self.shard.set_session(("partition", 0, None, None, 0))
        self.shard.bind(self.hub)
        self.intake = _core.Intake(broker.core, app, partition, self.shard)
        self.dispatches: list[_core.Dispatch[Any]] = []

    @property
    def numbers(self) -> list[int]:
        for _, _, dispatches, _ in self.hub.drain(4096)[1]:
            self.dispatches += dispatches
        return [json.loads(dispatch.raw)["n"] for dispatch in self.dispatches]

    async def finish(self, up_to: int | None = None, *, left: int = 0) -> None:
        """All that came, or so much of it, is dealt with, and NATS knows; so many messages are left."""
        # Not by the number that the intake tells: it may tell that after the event.
        self.intake.finished((self.dispatches[-1].sequence or 0) if up_to is None else up_to)
        await eventually(lambda: self.intake.metrics()["unfinished"] == left)
        async with asyncio.timeout(10):
            # Who takes over asks the server, and that deals with what is acknowledged in a thread of its own.
            while await self._unacknowledged() != left:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)

    async def _unacknowledged(self) -> int:
        status = await self.broker.stream_status()
        assert status is not None
        ours = (one for one in status.consumers if one.name.startswith(f"partition-{self.partition}-"))
        return sum(one.ack_pending for one in ours)


def partition_of(guild: int) -> int:
    """As the engine has it, so that a change of it is noticed: it must not change while messages are under way."""
    mixed = guild
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = ((mixed ^ (mixed >> 33)) * factor) % 2**64
    return (mixed ^ (mixed >> 33)) % 64


async def test_events_come_in_order_with_shard_and_numbers_of_the_partition(broker: NatsBroker, nats_app: str) -> None:
    source, reader = Source(broker, nats_app), Reader(broker, nats_app, partition_of(1))
    await reader.intake.start(3)
    source.begin()
    source.send(*range(1, 501))
    await eventually(lambda: len(reader.numbers) == 500)
    assert reader.numbers == list(range(1, 501))
    assert [dispatch.sequence for dispatch in reader.dispatches] == list(range(1, 501))
    mark = reader.shard.mark
    assert mark is not None
    assert mark[0][1] == 500
    await eventually(lambda: reader.intake.last == 500)
    await source.flushed()
    assert source.publisher.metrics()["published_events"] == 500
    assert source.publisher.metrics()["published_messages"] < 500
    await reader.finish()
    status = await broker.stream_status()
    assert status is not None
    assert [consumer.ack_pending for consumer in status.consumers] == [0]


async def test_a_guild_of_ten_megabytes_is_split_and_joined(broker: NatsBroker, nats_app: str) -> None:
    source, reader = Source(broker, nats_app), Reader(broker, nats_app, partition_of(7))
    await reader.intake.start(3)
    source.begin()
    guild = noisy_guild(10_000_000)
    source.shard.feed([("GUILD_CREATE", guild, 1, 0, "joined")])
    source.send(2, guild=7)
    await eventually(lambda: len(reader.numbers) == 2, timeout=30)
    assert bytes(reader.dispatches[0].raw) == guild
    assert reader.numbers == [1, 2]
    await source.flushed()
    await reader.finish()
    assert reader.intake.metrics()["messages"] == 2


def noisy_guild(length: int) -> bytes:
    """Number 7, with a name that zstd cannot make small."""
    noise = random.Random(5).randbytes(length)
    text = "".join(chr(33 + byte % 90) for byte in noise).replace("\\", "/").replace('"', "'")
    return json.dumps({"id": "7", "n": 1, "name": text}).encode()


async def test_what_an_owner_has_not_finished_comes_again_in_order_to_the_next(
    broker: NatsBroker, nats_app: str
) -> None:
    partition = partition_of(1)
    source, first, second = (
        Source(broker, nats_app),
        Reader(broker, nats_app, partition),
        Reader(broker, nats_app, partition),
    )
    await first.intake.start(3)
    source.begin()
    for number in range(1, 6):
        source.send(number)
        await source.flushed()
    await eventually(lambda: len(first.numbers) == 5)
    await first.finish(2, left=3)
    await second.intake.start(8)
    await eventually(lambda: len(second.numbers) == 3)
    assert second.numbers == [3, 4, 5]
    # The one before has lost it: it gets nothing more, and what it acknowledges counts for nothing.
    source.send(6)
    await eventually(lambda: len(second.numbers) == 4)
    assert first.numbers == [1, 2, 3, 4, 5]
    await eventually(lambda: ("failed", "another worker has taken the partition over") in first.intake.news())
    first.intake.finished(5)
    await second.finish()


async def test_what_ends_its_workers_becomes_a_dead_letter_and_can_be_replayed(
    broker: NatsBroker, nats_app: str
) -> None:
    partition = partition_of(1)
    source = Source(broker, nats_app)
    source.begin()
    source.send(1)
    await source.flushed()
    source.send(2)
    await source.flushed()
    for epoch in range(1, 6):
        reader = Reader(broker, nats_app, partition)
        await reader.intake.start(epoch)
        await eventually(lambda reader=reader: len(reader.numbers) == 2)  # type: ignore[misc]
    last = Reader(broker, nats_app, partition)
    await last.intake.start(6)
    await eventually(lambda: last.numbers == [2] and last.intake.metrics()["dead"] == 1)
    assert "5 deliveries" in dict(last.intake.news())["dead"]
    [letter] = await broker.dead(10)
    assert letter.subject == f"propylon.{nats_app}.ev.{partition}"
    assert await broker.replay_dead(letter.sequence)
    await eventually(lambda: last.numbers == [2, 1])
    assert await broker.dead(10) == []
    # Its number among those of its publisher is an old one.
    source.send(3)
    await eventually(lambda: last.numbers == [2, 1, 3])
    assert last.intake.metrics()["expired"] == 0
    await last.finish()


async def test_what_came_in_parts_is_one_dead_letter_and_is_replayed_whole(broker: NatsBroker, nats_app: str) -> None:
    partition = partition_of(7)
    source = Source(broker, nats_app)
    source.begin()
    guild = noisy_guild(3_000_000)
    source.shard.feed([("GUILD_CREATE", guild, 1, 0, "joined")])
    await source.flushed()
    for epoch in range(1, 6):
        reader = Reader(broker, nats_app, partition)
        await reader.intake.start(epoch)
        await eventually(lambda reader=reader: len(reader.numbers) == 1)  # type: ignore[misc]
    last = Reader(broker, nats_app, partition)
    await last.intake.start(6)
    await eventually(lambda: last.intake.metrics()["dead"] == 1)
    [letter] = await broker.dead(10)
    assert letter.size > 2_000_000
    assert await broker.dead(10, after=letter.sequence) == []
    with pytest.raises(ConnectionError, match="is a part of one before"):
        await broker.replay_dead(letter.sequence + 1)
    assert last.numbers == []
    assert await broker.replay_dead(letter.sequence)
    await eventually(lambda: last.numbers == [1])
    assert bytes(last.dispatches[0].raw) == guild
    assert await broker.dead(10) == []
    await last.finish()


async def test_parts_are_not_joined_with_those_of_a_process_that_ended_before_its_last(
    broker: NatsBroker, nats_app: str
) -> None:
    partition, guild = partition_of(7), noisy_guild(3_000_000)
    first, second = Source(broker, nats_app, epoch=5), Source(broker, nats_app, epoch=6)
    counts: list[int] = []
    for source in (first, second):
        source.begin()
        source.shard.feed([("GUILD_CREATE", guild, 1, 0, "joined")])
        await source.flushed()
        status = await broker.stream_status()
        assert status is not None
        counts.append(status.messages)
    # What makes it whole is there once; what does not is each process's own.
    assert counts[1] == 2 * counts[0] - 1
    reader = Reader(broker, nats_app, partition)
    await reader.intake.start(3)
    await eventually(lambda: len(reader.numbers) == 1)
    assert bytes(reader.dispatches[0].raw) == guild
    assert reader.intake.metrics()["dead"] == 0


async def test_a_publisher_says_why_nothing_leaves(nats_app: str) -> None:
    everything = f'{{ deny: "propylon.{nats_app}.ev.>" }}'
    with NatsServer(
        f"authorization {{ users: [{{ user: u, password: p, permissions: {{ publish: {everything} }} }}] }}"
    ) as server:
        broker = await connect(Nats(server.url, user="u", password="p"), nats_app)
        source = Source(broker, nats_app)
        assert source.publisher.trouble() is None
        source.begin()
        source.send(1)
        troubles: list[str] = []

        def is_told() -> bool:
            trouble = source.publisher.trouble()
            troubles.extend([] if trouble is None else [trouble])
            return bool(troubles)

        await eventually(is_told, timeout=30)
        assert "ermissions" in troubles[0]
        assert nats_app in troubles[0]
        await broker.close()


async def test_an_older_epoch_behind_a_newer_one_is_dropped_also_by_the_next_owner(join: Join, nats_app: str) -> None:
    broker = await join()
    partition = partition_of(1)
    old, new = Source(broker, nats_app, epoch=5), Source(broker, nats_app, session="other", epoch=9)
    reader = Reader(broker, nats_app, partition)
    await reader.intake.start(3)
    for source, number in ((old, 1), (new, 2), (old, 3)):
        source.begin()
        source.send(number)
        await source.flushed()
    await eventually(lambda: reader.intake.metrics()["stale"] == 1)
    assert reader.numbers == [1, 2]
    await reader.finish()
    await reader.intake.stop()
    old.send(4)
    await old.flushed()
    new.send(5)
    await new.flushed()
    heir = Reader(broker, nats_app, partition)
    await heir.intake.start(4)
    await eventually(lambda: heir.numbers == [5])
    assert heir.intake.metrics()["stale"] == 1
    await heir.finish()


async def test_a_session_that_is_taken_over_is_published_once(broker: NatsBroker, nats_app: str) -> None:
    reader = Reader(broker, nats_app, partition_of(1))
    await reader.intake.start(3)
    began = time.time()
    first = Source(broker, nats_app, epoch=5)
    first.begin()
    first.send(1, 2, 3)
    await first.flushed()
    second = Source(broker, nats_app, epoch=9)
    published, of_another = await asyncio.gather(
        second.publisher.published("session", began - 5), second.publisher.published("another", began - 5)
    )
    assert published == {partition_of(1): 3}
    assert of_another == {}
    second.begin(published)
    # Discord replays from the mark that was saved.
    second.send(2, 3, 4)
    await second.flushed()
    await eventually(lambda: len(reader.numbers) == 4)
    assert Counter(reader.numbers) == Counter([1, 2, 3, 4])
    assert second.publisher.metrics()["known_events"] == 2


async def test_of_two_fleets_that_overlap_the_old_one_is_heard_first_and_each_event_once(
    broker: NatsBroker, nats_app: str
) -> None:
    reader = Reader(broker, nats_app, partition_of(1))
    reader.intake.overlap(1)
    await reader.intake.start(3)
    old, new = fleets(broker, nats_app)
    old.begin()
    new.begin()
    # The old fleet is late, and the new one was there from 2 on.
    new.send(2, 3, 4)
    await new.flushed()
    old.send(1, 2)
    await old.flushed()
    await eventually(lambda: reader.numbers == [1, 2])
    old.send(3)
    await old.flushed()
    reader.intake.overlap(None)
    await eventually(lambda: reader.numbers == [1, 2, 3, 4])
    await eventually(lambda: reader.intake.metrics()["overlapped"] == 2)
    await reader.finish()


async def test_what_both_of_two_fleets_brought_is_acknowledged_when_they_end_to_overlap(
    broker: NatsBroker, nats_app: str
) -> None:
    reader = Reader(broker, nats_app, partition_of(1))
    reader.intake.overlap(1)
    await reader.intake.start(3)
    old, new = fleets(broker, nats_app)
    # The old fleet is late, so that what the new one brought waits.
    for source in (new, old):
        source.begin()
        source.send(1, 2)
        await source.flushed()
    await eventually(lambda: reader.numbers == [1, 2])
    await reader.finish(left=1)
    reader.intake.overlap(None)
    # Of the new fleet's message nothing is given out, so that nobody says that it is finished.
    await eventually(lambda: reader.intake.metrics()["unfinished"] == 0)
    assert reader.numbers == [1, 2]


async def test_whoever_takes_over_while_two_fleets_overlap_knows_what_was_handled(
    broker: NatsBroker, nats_app: str
) -> None:
    partition = partition_of(1)
    first, second = Reader(broker, nats_app, partition), Reader(broker, nats_app, partition)
    old, new = fleets(broker, nats_app)
    await first.intake.start(3)
    old.begin()
    new.begin()
    old.send(1)
    await old.flushed()
    await eventually(lambda: first.numbers == [1])
    await first.finish()
    first.intake.overlap(1)
    old.send(2, 3)
    await old.flushed()
    new.send(2)
    await new.flushed()
    await eventually(lambda: first.numbers == [1, 2, 3])
    await eventually(lambda: first.intake.metrics()["overlapped"] == 1)
    await first.finish()
    # All is acknowledged, and 3 is under way on the new fleet: the owner ends as one that is killed.
    second.intake.overlap(1)
    await second.intake.start(8)
    new.send(3, 4)
    await new.flushed()
    old.send(5)
    await old.flushed()
    await eventually(lambda: second.numbers == [5])
    second.intake.overlap(None)
    await eventually(lambda: second.numbers == [5, 4])
    await second.finish()
    third = Reader(broker, nats_app, partition)
    await third.intake.start(12)
    new.send(6)
    await eventually(lambda: third.numbers == [6])


async def test_whoever_takes_over_when_the_overlap_has_ended_gives_out_what_was_held(
    broker: NatsBroker, nats_app: str
) -> None:
    partition = partition_of(1)
    first, second = Reader(broker, nats_app, partition), Reader(broker, nats_app, partition)
    old, new = fleets(broker, nats_app)
    first.intake.overlap(1)
    await first.intake.start(3)
    old.begin()
    new.begin()
    old.send(1)
    await old.flushed()
    new.send(1, 2)
    await new.flushed()
    await eventually(lambda: first.numbers == [1] and first.intake.metrics()["overlapped"] == 1)
    await first.finish(left=1)
    await second.intake.start(8)
    await eventually(lambda: second.numbers == [2])
    await second.finish()


async def test_starts_that_the_server_refused_blame_no_message_and_leave_no_consumer(nats_app: str) -> None:
    partition = partition_of(1)
    with NatsServer("accounts { A { jetstream { max_consumers: 2 }, users: [{ user: u, password: p }] } }") as server:
        broker = await connect(Nats(server.url, user="u", password="p"), nats_app)
        source, owner = Source(broker, nats_app), Reader(broker, nats_app, partition)
        await owner.intake.start(1)
        await Reader(broker, nats_app, partition + 1).intake.start(1)
        source.begin()
        source.send(1)
        await eventually(lambda: owner.numbers == [1])
        await owner.finish()
        source.send(2)
        await eventually(lambda: owner.numbers == [1, 2])
        for epoch in range(2, 10):
            with pytest.raises(ConnectionError, match="consumers"):
                await Reader(broker, nats_app, partition).intake.start(epoch)
        client = await nats.connect(server.url, user="u", password="p")
        stream = f"propylon-{nats_app}"
        [other] = [one.name for one in await client.jsm().consumers_info(stream) if f"-{partition + 1}-" in one.name]
        await client.jsm().delete_consumer(stream, other)
        await client.close()
        heir = Reader(broker, nats_app, partition)
        await heir.intake.start(10)
        await eventually(lambda: heir.numbers == [2])
        assert heir.intake.metrics()["dead"] == 0
        status = await broker.stream_status()
        assert status is not None
        assert [consumer.name for consumer in status.consumers] == [f"partition-{partition}-10-1"]
        await broker.close()


async def test_an_intake_ends_in_time_though_nats_takes_no_acknowledgements(nats_app: str) -> None:
    partition = partition_of(1)
    with NatsServer() as server:
        # What it needs is made by one that has patience.
        await (await connect(Nats(server.url, timeout=20), nats_app)).close()
        broker = await connect(Nats(server.url, timeout=2.5), nats_app, prepare=False)
        source, reader = Source(broker, nats_app), Reader(broker, nats_app, partition)
        await reader.intake.start(1)
        source.begin()
        source.send(1)
        await eventually(lambda: reader.numbers == [1])
        # More messages than the client keeps acknowledgements for while there is no server.
        client = await nats.connect(server.url)
        message = await client.jetstream().get_msg(f"propylon-{nats_app}", 1)
        assert message.headers is not None
        headers = {name: value for name, value in message.headers.items() if name != "Nats-Msg-Id"}
        for _ in range(4_000):
            await client.publish(f"propylon.{nats_app}.ev.{partition}", message.data or b"", headers=headers)
        await client.flush()
        await client.close()
        await eventually(lambda: reader.intake.metrics()["unfinished"] == 4_001)
        await asyncio.to_thread(server.stop)
        await eventually(lambda: not broker.connected)
        reader.intake.finished(reader.intake.last)
        with pytest.raises(TimeoutError, match="acknowledgements"):
            await reader.intake.stop()
        # What it could not say meanwhile it says afterwards.
        await asyncio.to_thread(server.start)
        await eventually(lambda: reader.intake.metrics()["unfinished"] == 0)
        await reader.intake.stop()
        await broker.close()


async def test_a_late_message_of_the_owner_before_is_not_heard_twice(broker: NatsBroker, nats_app: str) -> None:
    reader = Reader(broker, nats_app, partition_of(1))
    await reader.intake.start(3)
    before, after = Source(broker, nats_app, epoch=5), Source(broker, nats_app, epoch=9)
    before.begin()
    before.send(1, 2)
    await before.flushed()
    # It looked before that had come.
    after.begin({})
    after.send(2, 3)
    await after.flushed()
    await eventually(lambda: reader.numbers == [1, 2, 3])
    await eventually(lambda: reader.intake.metrics()["known"] == 1)
    await reader.finish()


async def test_what_is_too_old_before_anybody_takes_it_is_counted(join: Join, nats_app: str) -> None:
    broker = await join()
    # Long enough for what is to be heard, on a busy machine too.
    await broker.core.prepare(nats_app, max_age=3.0)
    source, reader = Source(broker, nats_app), Reader(broker, nats_app, partition_of(1))
    await reader.intake.start(3)
    source.begin()
    source.send(1)
    await eventually(lambda: reader.numbers == [1])
    await reader.finish()
    await reader.intake.stop()
    source.send(2)
    await source.flushed()
    await source_expired(broker)
    heir = Reader(broker, nats_app, partition_of(1))
    await heir.intake.start(4)
    source.send(3)
    await eventually(lambda: heir.numbers == [3])
    assert heir.intake.metrics()["expired"] == 1
    assert heir.intake.news() == [("expired", "1")]


async def source_expired(broker: NatsBroker) -> None:
    """All that is in the stream is gone."""
    while (status := await broker.stream_status()) is not None and status.messages:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.05)
