"""The broker over a real nats-server: keys, news of them, questions, streams."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from cluster.nats import NatsServer
from propylon.cluster._broker import Broker, Change
from propylon.cluster._nats import NatsBroker, NatsWatch, connect


@pytest.fixture
def bucket(nats_app: str) -> str:
    return f"propylon-{nats_app}"


async def collect(watch: NatsWatch, *keys: str) -> list[Change]:
    """The changes until one of each key has come, in their order."""
    changes: list[Change] = []
    async with asyncio.timeout(20):
        while set(keys) - {change.key for change in changes}:
            changes += await watch.next()
    return changes


def test_the_class_is_the_protocol() -> None:
    def takes(broker: Broker) -> None: ...

    def gives(broker: NatsBroker) -> None:
        takes(broker)

    assert gives


# ---------------------------------------------------------------- keys


@pytest.mark.asyncio
async def test_a_key_is_written_read_and_removed(broker: NatsBroker, bucket: str) -> None:
    assert await broker.get(bucket, "a.b") is None
    before = time.time()
    revision = await broker.put(bucket, "a.b", b"one")
    entry = await broker.get(bucket, "a.b")
    assert entry is not None
    assert (entry.key, entry.value, entry.revision) == ("a.b", b"one", revision)
    assert before - 1 <= entry.created <= time.time() + 1
    later = await broker.put(bucket, "c", b"\x00\xff")
    assert later > revision
    assert await broker.delete(bucket, "a.b")
    assert await broker.get(bucket, "a.b") is None
    assert await broker.delete(bucket, "never.there")
    assert [entry.value for entry in await broker.entries(bucket, ">")] == [b"\x00\xff"]


@pytest.mark.asyncio
async def test_of_two_who_compare_and_set_one_wins(join: Callable[[], Awaitable[NatsBroker]], bucket: str) -> None:
    brokers = [await join() for _ in range(2)]
    created = await asyncio.gather(*(broker.create(bucket, "lease.8.1", b"x") for broker in brokers for _ in range(10)))
    [revision] = [revision for revision in created if revision is not None]
    updated = await asyncio.gather(
        *(broker.update(bucket, "lease.8.1", b"y", revision) for broker in brokers for _ in range(10))
    )
    [second] = [revision for revision in updated if revision is not None]
    assert second > revision
    assert not await brokers[0].delete(bucket, "lease.8.1", revision=revision)
    assert await brokers[1].delete(bucket, "lease.8.1", revision=second)
    assert await brokers[1].update(bucket, "lease.8.1", b"z", second) is None


@pytest.mark.asyncio
async def test_a_key_that_was_deleted_can_be_created(broker: NatsBroker, bucket: str) -> None:
    first = await broker.create(bucket, "k", b"1")
    assert first is not None
    assert await broker.create(bucket, "k", b"2") is None
    await broker.delete(bucket, "k")
    second = await broker.create(bucket, "k", b"2")
    assert second is not None
    assert second > first
    assert await broker.update(bucket, "k", b"3", first) is None


@pytest.mark.asyncio
async def test_a_key_expires_and_a_watch_hears_of_it(broker: NatsBroker, bucket: str) -> None:
    watch = await broker.watch(bucket, "lease.>")
    assert await watch.next() == []
    begun = time.monotonic()
    first = await broker.create(bucket, "lease.1", b"a", ttl=1)
    assert first is not None
    *_, written, gone = await collect_until_gone(watch, "lease.1")
    assert written == Change("lease.1", b"a", first)
    assert gone.revision > first
    assert 0.5 < time.monotonic() - begun < 5
    assert await broker.get(bucket, "lease.1") is None
    assert await broker.entries(bucket, ">") == []
    # What comes after an expired key expires as well.
    second = await broker.create(bucket, "lease.1", b"b", ttl=1)
    assert second is not None
    assert second > gone.revision
    *_, written, gone = await collect_until_gone(watch, "lease.1")
    assert written == Change("lease.1", b"b", second)


async def collect_until_gone(watch: NatsWatch, key: str) -> list[Change]:
    changes: list[Change] = []
    async with asyncio.timeout(20):
        while not changes or changes[-1] != Change(key, None, changes[-1].revision):
            changes += await watch.next()
    return changes


@pytest.mark.asyncio
async def test_a_key_that_is_renewed_lives_on(broker: NatsBroker, bucket: str) -> None:
    watch = await broker.watch(bucket, "held")
    revision = await broker.create(bucket, "held", b"0", ttl=3)
    assert revision is not None
    revision = await broker.update(bucket, "held", b"1", revision, ttl=60)
    assert revision is not None
    # The time of the first writing is over by then.
    await asyncio.sleep(4)
    assert await broker.get(bucket, "held") is not None
    assert await broker.update(bucket, "held", b"2", revision, ttl=1) is not None
    values = [change.value for change in await collect_until_gone(watch, "held")]
    assert values.count(None) == 1


@pytest.mark.asyncio
async def test_the_mark_of_a_deleted_key_goes_without_news(broker: NatsBroker, bucket: str) -> None:
    await broker.put(bucket, "k", b"v")
    watch = await broker.watch(bucket, ">")
    assert [change.key for change in await watch.next()] == ["k"]
    await broker.delete(bucket, "k")
    await broker.delete(bucket, "k")
    await broker.put(bucket, "other", b"v")
    changes = await collect(watch, "other")
    assert [(change.key, change.value) for change in changes] == [("k", None), ("other", b"v")]


@pytest.mark.asyncio
async def test_entries_are_those_that_match(broker: NatsBroker, bucket: str) -> None:
    assert await broker.entries(bucket, "lease.8.*") == []
    for total in (8, 16):
        for shard in range(total):
            await broker.put(bucket, f"lease.{total}.{shard}", str(shard).encode())
    await broker.delete(bucket, "lease.8.7")
    found = {entry.key: entry.value for entry in await broker.entries(bucket, "lease.8.*")}
    assert found == {f"lease.8.{shard}": str(shard).encode() for shard in range(7)}
    assert len(await broker.entries(bucket, "lease.>")) == 23


@pytest.mark.asyncio
async def test_what_cannot_be_asked_is_refused_at_once(broker: NatsBroker, bucket: str) -> None:
    with pytest.raises(ValueError, match='"a b" is no key'):
        await broker.put(bucket, "a b", b"")
    with pytest.raises(ValueError, match="is no key"):
        await broker.get(bucket, "a.*")
    with pytest.raises(ValueError, match="is no pattern"):
        await broker.watch(bucket, "a.>.b")
    with pytest.raises(ValueError, match="one second"):
        await broker.put(bucket, "a", b"", ttl=0.5)
    with pytest.raises(ValueError, match="ttl"):
        await broker.put(bucket, "a", b"", ttl=-1)
    with pytest.raises(ValueError, match="payload"):
        await broker.put(bucket, "a", b"." * (broker.max_payload + 1))
    with pytest.raises(ConnectionError, match="stream not found"):
        await broker.get("propylon-none-such", "a")
    with pytest.raises(ValueError, match="no name of a bucket"):
        await broker.get("a.b", "a")


# ---------------------------------------------------------------- watches


@pytest.mark.asyncio
async def test_a_watch_begins_with_what_there_is(broker: NatsBroker, bucket: str) -> None:
    for number in range(300):
        await broker.put(bucket, f"k.{number}", b"v")
    await broker.put(bucket, "other", b"v")
    await broker.delete(bucket, "k.0")
    watch = await broker.watch(bucket, "k.*")
    changes = await watch.next()
    assert {change.key for change in changes} == {f"k.{number}" for number in range(1, 300)}
    await broker.put(bucket, "k.0", b"again")
    assert [(change.key, change.value) for change in await watch.next()] == [("k.0", b"again")]


@pytest.mark.asyncio
async def test_what_comes_while_nobody_awaits_is_not_lost(broker: NatsBroker, bucket: str) -> None:
    watch = await broker.watch(bucket, ">")
    await watch.next()
    for number in range(50):
        waiting = asyncio.ensure_future(watch.next())
        await asyncio.sleep(0)
        await broker.put(bucket, f"k.{number}", b"v")
        waiting.cancel()
        await asyncio.wait([waiting])
        if not waiting.cancelled():
            assert [change.key for change in waiting.result()] == [f"k.{number}"]
        else:
            assert [change.key for change in await watch.next()] == [f"k.{number}"]


@pytest.mark.asyncio
async def test_who_waits_hears_that_a_watch_is_stopped(broker: NatsBroker, bucket: str) -> None:
    watch = await broker.watch(bucket, ">")
    await watch.next()
    waiting = [asyncio.ensure_future(watch.next()) for _ in range(3)]
    await asyncio.sleep(0)
    watch.stop()
    for waiter in waiting:
        with pytest.raises(ConnectionError):
            await waiter
    with pytest.raises(ConnectionError):
        await watch.next()


@pytest.mark.asyncio
async def test_a_burst_is_all_there(broker: NatsBroker, join: Callable[[], Awaitable[NatsBroker]], bucket: str) -> None:
    watch = await broker.watch(bucket, ">")
    await watch.next()
    writer = await join()
    await asyncio.gather(*(writer.put(bucket, f"k.{number % 500}", b"v") for number in range(5_000)))
    revision = await writer.put(bucket, "last", b"v")
    changes = await collect(watch, "last")
    assert changes[-1] == Change("last", b"v", revision)
    assert {change.key for change in changes} == {"last", *(f"k.{number}" for number in range(500))}
    revisions = [change.revision for change in changes]
    assert revisions == sorted(revisions)


# ---------------------------------------------------------------- questions


@pytest.mark.asyncio
async def test_a_question_is_answered(broker: NatsBroker, join: Callable[[], Awaitable[NatsBroker]]) -> None:
    other = await join()
    begun = time.monotonic()
    assert await other.request(f"{broker.app}.cmd.1.0", b"?", 10) is None
    assert time.monotonic() - begun < 5
    questions = await broker.serve(f"{broker.app}.cmd.1.0")
    asking = asyncio.ensure_future(other.request(f"{broker.app}.cmd.1.0", b"?", 10))
    asked = await questions.next()
    assert asked.data == b"?"
    await broker.publish(asked.reply, b"!")
    assert await asking == b"!"
    with pytest.raises(TimeoutError, match="did not answer within"):
        await other.request(f"{broker.app}.cmd.1.0", b"?", 0.2)
    await questions.next()
    questions.stop()
    with pytest.raises(ConnectionError):
        await questions.next()
    assert await other.request(f"{broker.app}.cmd.1.0", b"?", 10) is None


@pytest.mark.asyncio
async def test_more_than_one_answer_comes_to_an_inbox(broker: NatsBroker) -> None:
    inbox = broker.inbox()
    assert inbox != broker.inbox()
    answers = await broker.serve(inbox)
    for number in range(200):
        await broker.publish(inbox, str(number).encode())
    assert [(await answers.next()).data for _ in range(200)] == [str(number).encode() for number in range(200)]


@pytest.mark.asyncio
async def test_a_question_is_not_lost_with_who_awaited_it(broker: NatsBroker) -> None:
    subject = f"{broker.app}.asked"
    questions = await broker.serve(subject)
    for number in range(50):
        waiting = asyncio.ensure_future(questions.next())
        await asyncio.sleep(0)
        await broker.publish(subject, str(number).encode())
        waiting.cancel()
        await asyncio.wait([waiting])
        asked = await questions.next() if waiting.cancelled() else waiting.result()
        assert asked.data == str(number).encode()


@pytest.mark.asyncio
async def test_closing_ends_everything_that_waits(nats_server: NatsServer, nats_app: str) -> None:
    broker = await connect(nats_server.url, nats_app)
    bucket = f"propylon-{nats_app}"
    watch, questions = await broker.watch(bucket, ">"), await broker.serve(f"{nats_app}.a")
    await watch.next()
    waiting = [asyncio.ensure_future(watch.next()), asyncio.ensure_future(questions.next())]
    # One that nobody answers.
    waiting.append(asyncio.ensure_future(broker.request(f"{nats_app}.a", b"", 30)))
    await asyncio.sleep(0)
    await broker.purge()
    await broker.close()
    for waiter in waiting[1:]:
        try:
            await waiter
        except ConnectionError:
            continue
    with pytest.raises(ConnectionError, match="was closed"):
        await waiting[0]
    with pytest.raises(ConnectionError, match="was closed"):
        await broker.get(bucket, "a")
    with pytest.raises(ConnectionError, match="was closed"):
        await broker.publish("a", b"")
    await broker.close()


# ---------------------------------------------------------------- streams


@pytest.mark.asyncio
async def test_streams_are_made_once_and_changed_where_that_is_asked(
    broker: NatsBroker, join: Callable[[], Awaitable[NatsBroker]]
) -> None:
    made = await broker.stream_status()
    assert made is not None
    assert (made.messages, made.replicas, made.max_age, made.max_bytes, made.dead) == (0, 1, 300, 1 << 30, 0)
    await broker.prepare(max_age=60, max_bytes=1 << 20)
    # Whoever asks for nothing leaves it so.
    await join()
    changed = await broker.stream_status()
    assert changed is not None
    assert (changed.max_age, changed.max_bytes) == (60, 1 << 20)


@pytest.mark.asyncio
async def test_many_make_the_same_streams_at_once(nats_server: NatsServer, nats_app: str) -> None:
    brokers = await asyncio.gather(*(connect(nats_server.url, nats_app) for _ in range(8)))
    assert await brokers[0].put(f"propylon-{nats_app}", "k", b"v") > 0
    await brokers[0].purge()
    assert await brokers[0].stream_status() is None
    await brokers[0].purge()
    for broker in brokers:
        await broker.close()


@pytest.mark.asyncio
async def test_a_stream_fills_and_tells_of_it(broker: NatsBroker) -> None:
    for number in range(10):
        answer = await broker.request(f"propylon.{broker.app}.ev.{number % 4}", b"data", 5)
        assert answer is not None
        assert b'"stream"' in answer
    status = await broker.stream_status()
    assert status is not None
    assert (status.messages, status.first_sequence, status.last_sequence, status.consumers) == (10, 1, 10, [])


@pytest.mark.asyncio
async def test_dead_letters_are_listed_and_sent_again(broker: NatsBroker) -> None:
    assert await broker.dead() == []
    assert not await broker.replay_dead(1)
    # Without headers it does not say where it belongs.
    await broker.request(f"propylon.{broker.app}.dead", b"data", 5)
    [letter] = await broker.dead()
    assert (letter.sequence, letter.subject, letter.reason, letter.size, letter.headers) == (1, "", "", 4, [])
    assert abs(letter.at - time.time()) < 60
    with pytest.raises(ConnectionError, match="does not say"):
        await broker.replay_dead(1)
    status = await broker.stream_status()
    assert status is not None
    assert status.dead == 1


def published(port: int, subject: str, data: bytes, **headers: str) -> bytes:
    """One message with headers, spoken by hand; the server's answer."""
    text = ("NATS/1.0\r\n" + "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items()) + "\r\n").encode()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        connection.makefile("rb") as answers,
    ):
        answers.readline()
        hello = b'CONNECT {"verbose":false,"headers":true}\r\nSUB by.hand 1\r\n'
        message = f"HPUB {subject} by.hand {len(text)} {len(text) + len(data)}\r\n".encode() + text + data + b"\r\n"
        connection.sendall(hello + message)
        while not answers.readline().startswith(b"MSG "):
            pass
        return answers.readline()


@pytest.mark.asyncio
async def test_a_dead_letter_is_sent_to_where_it_belongs(broker: NatsBroker, nats_server: NatsServer) -> None:
    app, events = broker.app, f"propylon.{broker.app}.ev.7"
    # Its id is known to the server: sent again under the same one it would be dropped.
    await asyncio.to_thread(published, nats_server.port, events, b"events", Nats_Msg_Id="a:1")
    told = {"Propylon_Subject": events, "Propylon_Reason": "5 tries", "Nats_Msg_Id": "a:1", "Propylon_Part": "1/2"}
    await asyncio.to_thread(published, nats_server.port, f"propylon.{app}.dead", b"events", **told)
    [letter] = await broker.dead()
    assert (letter.subject, letter.reason) == (events, "5 tries")
    assert letter.headers == [("Nats-Msg-Id", "a:1"), ("Propylon-Part", "1/2")]
    assert await broker.replay_dead(letter.sequence)
    assert await broker.dead() == []
    assert not await broker.replay_dead(letter.sequence)
    status = await broker.stream_status()
    assert status is not None
    assert (status.messages, status.dead) == (2, 0)


@pytest.mark.asyncio
async def test_a_broker_says_where_it_is(
    join: Callable[[], Coroutine[Any, Any, NatsBroker]], nats_server: NatsServer
) -> None:
    broker = await join()
    assert repr(broker) == f"<NatsBroker {broker.app!r} at 127.0.0.1:{nats_server.port}, connected>"
    assert broker.max_payload == 1 << 20
    assert broker.connects == 1
