"""The broker while nats-servers go and come: stopped, killed, hanging, one of three."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cluster.nats import NatsCluster, NatsServer
from face.support import eventually
from propylon.cluster._broker import Change
from propylon.cluster._nats import Nats, NatsBroker, NatsWatch, connect

SHORT = 2.5
"""Seconds: a time-out that is waited for, and within which a busy machine still connects."""


async def collect(watch: NatsWatch, *keys: str) -> list[Change]:
    """The changes until one of each key has come, in their order."""
    changes: list[Change] = []
    async with asyncio.timeout(20):
        while set(keys) - {change.key for change in changes}:
            changes += await watch.next()
    return changes


async def short(server: NatsServer) -> NatsBroker:
    """A connection that soon gives up. What it needs is made by one that has patience."""
    await (await connect(Nats(server.url, timeout=20), "app")).close()
    return await connect(Nats(server.url, timeout=SHORT), "app", prepare=False)


@pytest_asyncio.fixture
async def mortal() -> AsyncIterator[NatsServer]:
    """A server of the test's own."""
    with NatsServer() as server:
        yield server


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_a_watch_survives_a_restart_and_misses_nothing(mortal: NatsServer, way: str) -> None:
    broker = await connect(Nats(mortal.url, timeout=10), "app")
    bucket = "propylon-app"
    await broker.put(bucket, "stays", b"1")
    await broker.put(bucket, "changes", b"1")
    # Not before the watch has seen it.
    await broker.create(bucket, "expires", b"1", ttl=4)
    watch = await broker.watch(bucket, ">")
    assert len(await watch.next()) == 3
    waiting = asyncio.ensure_future(watch.next())
    await asyncio.sleep(0)
    await asyncio.to_thread(getattr(mortal, way))
    # Asked while nobody is there: it waits, and is answered.
    writing = asyncio.ensure_future(broker.put(bucket, "changes", b"2"))
    await asyncio.to_thread(mortal.start)
    await writing
    changes = [*await waiting, *await collect_until(watch, waiting.result(), "changes", "expires")]
    last = {change.key: change.value for change in changes}
    assert last == {"changes": b"2", "expires": None}
    assert broker.connects >= 2
    assert broker.connected
    await broker.put(bucket, "after", b"1")
    assert [change.key for change in await watch.next()] == ["after"]
    await broker.close()


async def collect_until(watch: NatsWatch, before: list[Change], *keys: str) -> list[Change]:
    missing = set(keys) - {change.key for change in before}
    return await collect(watch, *missing)


@pytest.mark.asyncio
async def test_what_is_gone_with_its_mark_is_heard_of(mortal: NatsServer) -> None:
    broker = await connect(Nats(mortal.url, timeout=10), "app")
    bucket = "propylon-app"
    revision = await broker.put(bucket, "gone", b"1")
    watch = await broker.watch(bucket, ">")
    await watch.next()
    await asyncio.to_thread(mortal.kill)
    begun = asyncio.ensure_future(connect(Nats(mortal.url, timeout=10), "app"))
    await asyncio.to_thread(mortal.start)
    # Who connects while the server is just starting waits for it.
    other = await begun
    # Purged, it leaves nothing that a watch could read.
    purged = await other.request("$JS.API.STREAM.PURGE.KV_propylon-app", b"", 10)
    assert purged is not None
    assert b'"success":true' in purged
    [change] = await collect(watch, "gone")
    assert change.value is None
    assert change.revision > revision
    await other.close()
    await broker.close()


@pytest.mark.asyncio
async def test_questions_are_served_again_after_a_restart(mortal: NatsServer) -> None:
    broker, other = [await connect(Nats(mortal.url, timeout=10), "app") for _ in range(2)]
    questions = await broker.serve("asked")
    await asyncio.to_thread(mortal.kill)
    await asyncio.to_thread(mortal.start)
    async with asyncio.timeout(20):
        while True:
            asking = asyncio.ensure_future(other.request("asked", b"?", 10))
            answering = asyncio.ensure_future(questions.next())
            await asyncio.wait([asking, answering], return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                break
            # It is back before the one who answers.
            assert await asking is None
            answering.cancel()
    await broker.publish((await answering).reply, b"!")
    assert await asking == b"!"
    await broker.close()
    await other.close()


@pytest.mark.asyncio
async def test_without_a_server_a_call_times_out_and_has_no_effect_later(mortal: NatsServer) -> None:
    broker = await short(mortal)
    await asyncio.to_thread(mortal.kill)
    begun = time.monotonic()
    late, *others = await asyncio.gather(
        broker.put("propylon-app", "late", b"1"),
        broker.publish("a", b""),
        broker.request("a", b"", 0.5),
        return_exceptions=True,
    )
    assert isinstance(late, TimeoutError)
    assert f"127.0.0.1:{mortal.port}" in str(late)
    assert all(isinstance(other, TimeoutError) for other in others), others
    # With the default of a connection it would be 5 s.
    assert time.monotonic() - begun < SHORT + 2.4
    assert not broker.connected
    await asyncio.to_thread(mortal.start)
    other = await connect(Nats(mortal.url, timeout=10), "app")
    await eventually(lambda: broker.connected, 20)
    assert await other.get("propylon-app", "late") is None
    await other.close()
    await broker.close()


@pytest.mark.asyncio
async def test_a_server_that_hangs_is_a_time_out(mortal: NatsServer) -> None:
    broker, patient = await short(mortal), await connect(Nats(mortal.url, timeout=20), "app")
    mortal.suspend()
    try:
        asked, joining = await asyncio.gather(
            broker.get("propylon-app", "k"),
            connect(Nats(mortal.url, timeout=SHORT), "app"),
            return_exceptions=True,
        )
        assert isinstance(asked, TimeoutError)
        assert "did not answer within" in str(asked)
        assert isinstance(joining, ConnectionError)
        assert f"answered within {SHORT:g} s" in str(joining)
    finally:
        mortal.resume()
    # By then it answers again.
    assert await patient.get("propylon-app", "k") is None
    assert await broker.get("propylon-app", "k") is None
    await patient.close()
    await broker.close()


@pytest.mark.asyncio
async def test_what_is_asked_again_is_written_once(mortal: NatsServer) -> None:
    broker = await connect(Nats(mortal.url, timeout=20), "app")
    watch = await broker.watch("propylon-app", ">")
    await watch.next()
    mortal.suspend()
    creating = [asyncio.ensure_future(broker.create("propylon-app", f"k.{number}", b"1")) for number in range(5)]
    # Long enough for several attempts of each.
    await asyncio.sleep(4)
    mortal.resume()
    revisions = await asyncio.gather(*creating)
    written = sorted(revision for revision in revisions if revision is not None)
    # The first is the time at which the bucket was made.
    assert written == list(range(written[0], written[0] + 5))
    assert await broker.put("propylon-app", "last", b"1") == written[-1] + 1
    assert len(await collect(watch, "last")) == 6
    await broker.close()


@pytest.mark.asyncio
@pytest.mark.timeout(180)
async def test_the_leader_of_three_is_killed() -> None:
    cluster = await asyncio.to_thread(NatsCluster(3).__enter__)
    try:
        broker = await connect(Nats(cluster.urls, timeout=20), "app", prepare=False)
        await broker.prepare(replicas=3)
        bucket = "propylon-app"
        status = await broker.stream_status()
        assert status is not None
        assert status.replicas == 3
        revision = await broker.create(bucket, "k", b"1")
        assert revision is not None
        watch = await broker.watch(bucket, ">")
        assert await watch.next() == [Change("k", b"1", revision)]
        leader = await asyncio.to_thread(cluster.leader, f"KV_{bucket}")
        await asyncio.to_thread(leader.kill)
        entry = await broker.get(bucket, "k")
        assert entry is not None
        assert entry.revision == revision
        assert await broker.update(bucket, "k", b"2", revision) is not None
        changes = await collect(watch, "k")
        assert [change.value for change in changes] == [b"2"]
        await asyncio.to_thread(leader.start)
        await broker.close()
    finally:
        await asyncio.to_thread(cluster.__exit__, None, None, None)
