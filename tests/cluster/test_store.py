"""Sessions in NATS: fenced by the leases."""

import asyncio
from typing import Any

import pytest

from cluster.hosts import APP, virtually
from cluster.memory import MemoryServer
from propylon._sessions.keeping import session_key
from propylon._sessions.session import Session
from propylon.cluster._keys import bucket
from propylon.cluster._keys import session_key as key_of
from propylon.cluster._leases import ShardLease
from propylon.cluster._membership import Times
from propylon.cluster._store import ClusterSessions, Kept, newer
from propylon.errors import SessionTakenOver

TOKEN = "MTIz.abc.def"
KEY = session_key(TOKEN, (2, 4))


def session(sequence: int, id: str = "s1") -> Session:
    return Session(id, sequence, "ws://localhost", (2, 4), 1)


class Host:
    def __init__(self, server: MemoryServer, name: str, token: str = TOKEN) -> None:
        self.client = server.client(name)
        self.lease: ShardLease | None = None
        self.name = name
        self.store = ClusterSessions(self.client, APP, token, lambda total, shard_id: self.lease)

    async def take(self) -> "Host":
        nothing: Any = lambda _: None  # noqa: E731
        self.lease = ShardLease(
            self.client,
            APP,
            self.name,
            4,
            2,
            times=Times(),
            status=lambda: ("READY", True),
            renewed=nothing,
            lost=nothing,
        )
        assert await self.lease.take()
        return self

    async def let_go(self) -> None:
        assert self.lease is not None
        await self.lease.release()


def test_a_session_goes_from_host_to_host() -> None:
    async def main() -> None:
        server = MemoryServer()
        first, second = await Host(server, "a").take(), Host(server, "b")
        epoch = await first.store.claim(KEY)
        assert await first.store.load(KEY) is None
        for sequence in range(1, 20):
            await first.store.save(KEY, session(sequence), epoch)
        await first.let_go()
        await second.take()
        assert await second.store.load(KEY) == session(19)
        assert await second.store.claim(KEY) > epoch
        assert await second.store.load(KEY) == session(19)
        await second.store.delete(KEY)
        assert await second.store.load(KEY) is None
        await second.let_go()

    virtually(main)


def test_who_has_lost_the_lease_is_refused() -> None:
    async def main() -> None:
        server = MemoryServer()
        first, second = await Host(server, "a").take(), Host(server, "b")
        epoch = await first.store.claim(KEY)
        await first.store.save(KEY, session(5), epoch)
        server.expire(bucket(APP), "lease.4.2")
        await second.take()
        later = await second.store.claim(KEY)
        # It has not heard of it yet: the store is what refuses it.
        assert first.lease is not None
        assert first.lease.is_held
        with pytest.raises(SessionTakenOver):
            await first.store.save(KEY, session(9), epoch)
        with pytest.raises(SessionTakenOver):
            await first.store.delete(KEY, epoch)
        assert await second.store.load(KEY) == session(5)
        await second.store.save(KEY, session(6), later)
        await asyncio.sleep(6)
        with pytest.raises(SessionTakenOver):
            await first.store.claim(KEY)
        await second.let_go()

    virtually(main)


def test_without_a_lease_nothing_is_written() -> None:
    async def main() -> None:
        server = MemoryServer()
        host = Host(server, "a")
        for change in (host.store.claim(KEY), host.store.save(KEY, session(1)), host.store.delete(KEY)):
            with pytest.raises(SessionTakenOver):
                await change
        assert server.keys(bucket(APP)) == {}

    virtually(main)


def test_another_token_does_not_get_the_session() -> None:
    async def main() -> None:
        server = MemoryServer()
        first = await Host(server, "a").take()
        await first.store.save(KEY, session(5))
        await first.let_go()
        second = await Host(server, "b", "MTIz.other.token").take()
        assert await second.store.load(session_key("MTIz.other.token", (2, 4))) is None
        await second.store.claim(KEY)
        assert await second.store.load(KEY) is None
        text = server.keys(bucket(APP))[key_of(4, 2)].value.decode()
        assert "abc" not in text
        assert "other" not in text
        await second.let_go()

    virtually(main)


def test_what_cannot_be_read_is_no_session() -> None:
    async def main() -> None:
        server = MemoryServer()
        host = await Host(server, "a").take()
        await host.client.put(bucket(APP), key_of(4, 2), b"[]")
        assert await host.store.load(KEY) is None
        await host.store.claim(KEY)
        await host.store.save(KEY, session(1))
        assert await host.store.load(KEY) == session(1)
        await host.let_go()

    virtually(main)


def test_where_to_go_on() -> None:
    def kept(sequence: int, epoch: int, id: str = "s1") -> Kept:
        return Kept(session(sequence, id), epoch, 0.0)

    assert newer(None, kept(5, 3), 3) == kept(5, 3)
    assert newer(None, None, 0) is None
    # Nobody has had it since: the later of both.
    assert newer(kept(9, 3), kept(5, 3), 3) == kept(9, 3)
    assert newer(kept(5, 3), kept(9, 3), 3) == kept(9, 3)
    # A session that began while the broker was away.
    assert newer(kept(2, 3, "new"), kept(9, 3, "old"), 3) == kept(2, 3, "new")
    assert newer(kept(2, 3), None, 3) == kept(2, 3)
    # Somebody has.
    assert newer(kept(9, 3), kept(5, 4), 4) == kept(5, 4)
    assert newer(kept(9, 3), None, 4) is None
