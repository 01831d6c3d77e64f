"""Which shard belongs to which host, and the leases that make it so."""

import asyncio
import random

import pytest

from cluster.hosts import APP, virtually
from cluster.memory import MemoryBroker, MemoryServer
from propylon.cluster._keys import Lease, bucket, lease_key, read
from propylon.cluster._leases import ShardLease, assignment
from propylon.cluster._membership import Member, Times, View, check_name, new_id

KEYS = bucket(APP)


# ---------------------------------------------------------------------- the assignment


def counts(assigned: dict[int, str]) -> dict[str, int]:
    return {host: list(assigned.values()).count(host) for host in sorted(set(assigned.values()))}


def test_shards_are_spread_evenly() -> None:
    assert counts(assignment({"a": 64, "b": 64}, range(8), {})) == {"a": 4, "b": 4}


def test_shards_are_spread_by_capacity() -> None:
    assert counts(assignment({"a": 30, "b": 10}, range(8), {})) == {"a": 6, "b": 2}


def test_without_hosts_nobody_has_any() -> None:
    assert assignment({}, range(4), {0: "a"}) == {}


def test_what_does_not_fit_is_left_out() -> None:
    assert counts(assignment({"a": 2, "b": 1}, range(8), {})) == {"a": 2, "b": 1}


def test_each_keeps_what_it_has() -> None:
    held = {0: "b", 1: "a", 2: "b", 3: "a"}
    assert assignment({"a": 64, "b": 64}, range(4), held) == held


def test_one_that_joins_gets_its_part_and_no_more_moves() -> None:
    held = {shard: "a" if shard < 4 else "b" for shard in range(8)}
    after = assignment({"a": 64, "b": 64, "c": 64}, range(8), held)
    moved = [shard for shard in range(8) if after[shard] != held[shard]]
    assert counts(after)["c"] in (2, 3)
    assert all(after[shard] == "c" for shard in moved)
    assert len(moved) == counts(after)["c"]


def test_one_that_leaves_moves_its_own_alone() -> None:
    held = {0: "a", 1: "b", 2: "c", 3: "a", 4: "b", 5: "c"}
    after = assignment({"a": 64, "b": 64}, range(6), held)
    assert all(after[shard] == host for shard, host in held.items() if host != "c")
    assert counts(after) == {"a": 3, "b": 3}


def test_what_is_uneven_does_not_move_for_it() -> None:
    held = {0: "b", 1: "b", 2: "a"}
    assert assignment({"a": 64, "b": 64}, range(3), held) == held


@pytest.mark.parametrize("seed", range(200))
def test_it_is_even_sparing_and_settled(seed: int) -> None:
    chance = random.Random(seed)
    hosts = {f"h{index}": chance.choice([1, 4, 64, 100]) for index in range(chance.randint(1, 9))}
    total = chance.randint(1, 60)
    gone = [*hosts, "dead"]
    held = {shard: chance.choice(gone) for shard in range(total) if chance.random() < 0.8}
    after = assignment(hosts, range(total), held)
    room = sum(hosts.values())
    assert len(after) == min(total, room)
    each = counts(after)
    for host, capacity in hosts.items():
        assert each.get(host, 0) <= capacity
        if total < room:
            assert abs(each.get(host, 0) - total * capacity / room) < 1
    # Nothing moves but to whoever is below its part, and from whoever is above it.
    had = {host: sum(one == host for one in held.values()) for host in hosts}
    for shard, host in after.items():
        if held.get(shard) in hosts and held[shard] != host:
            assert had[held[shard]] > each.get(held[shard], 0)
            assert had[host] < each[host]
    assert assignment(hosts, range(total), after) == after
    assert assignment(dict(reversed(list(hosts.items()))), range(total), held) == after


# ---------------------------------------------------------------------- the leases


class Holder:
    """A lease, and what it has told."""

    def __init__(self, broker: MemoryBroker, host: str = "a", *, times: Times | None = None) -> None:
        self.lost: list[tuple[float, str]] = []
        self.until: list[float] = []
        self.status = "CONNECTING"
        self.lease = ShardLease(
            broker,
            APP,
            host,
            4,
            2,
            times=times or Times(),
            status=lambda: (self.status, True),
            renewed=self.until.append,
            lost=lambda why: self.lost.append((asyncio.get_running_loop().time(), why)),
        )


def seen(server: MemoryServer) -> Lease | None:
    entry = server.keys(KEYS).get(lease_key(4, 2))
    return None if entry is None else read(Lease, entry.value)


def test_a_lease_is_renewed_with_its_epoch_and_status() -> None:
    async def main() -> None:
        server = MemoryServer()
        holder = Holder(server.client())
        assert await holder.lease.take()
        begun = seen(server)
        assert begun is not None
        assert (begun.host, begun.epoch, begun.status) == ("a", 0, "CONNECTING")
        holder.status = "READY"
        holder.lease.changed()
        await asyncio.sleep(0.1)
        now = seen(server)
        assert now is not None
        assert (now.epoch, now.status, now.since) == (holder.lease.epoch, "READY", begun.since)
        await asyncio.sleep(120)
        assert seen(server) == now
        assert holder.lost == []
        assert holder.until == sorted(holder.until)
        assert len(holder.until) == 26
        await holder.lease.release()
        assert seen(server) is None
        assert holder.lost == []

    virtually(main)


def test_nobody_else_can_have_it_and_the_next_epoch_is_larger() -> None:
    async def main() -> None:
        server = MemoryServer()
        first, second = Holder(server.client()), Holder(server.client(), "b")
        assert await first.lease.take()
        assert not await second.lease.take()
        await first.lease.release()
        assert await second.lease.take()
        assert second.lease.epoch > first.lease.epoch
        await second.lease.release()

    virtually(main)


def test_one_that_is_cut_off_gives_up_before_another_can_have_it() -> None:
    async def main() -> None:
        server = MemoryServer()
        client = server.client()
        first, second = Holder(client), Holder(server.client(), "b")
        assert await first.lease.take()
        await asyncio.sleep(12)
        loop = asyncio.get_running_loop()
        client.cut()
        cut_at = loop.time()
        while not await second.lease.take():  # noqa: ASYNC110 - it asks, as hosts do
            await asyncio.sleep(0.1)
        taken_at = loop.time()
        ((gave_up_at, why),) = first.lost
        assert "renewed" in why
        assert not first.lease.is_held
        assert gave_up_at == pytest.approx(first.until[-1])
        assert gave_up_at <= cut_at + 10
        assert taken_at - gave_up_at >= 5 - 0.1
        assert taken_at - cut_at <= 15.2
        await second.lease.release()

    virtually(main)


def test_a_short_cut_loses_nothing() -> None:
    async def main() -> None:
        server = MemoryServer(timeout=2)
        client = server.client()
        holder = Holder(client)
        assert await holder.lease.take()
        for _ in range(5):
            await asyncio.sleep(7)
            client.cut()
            await asyncio.sleep(3)
            client.restore()
        assert holder.lost == []
        assert holder.lease.is_held
        await holder.lease.release()

    virtually(main)


def test_a_renewal_whose_answer_is_lost_is_found_again() -> None:
    async def main() -> None:
        server = MemoryServer(timeout=2)
        client = server.client()
        holder = Holder(client)
        assert await holder.lease.take()
        client.loses_answers = True
        await asyncio.sleep(6)
        client.loses_answers = False
        await asyncio.sleep(30)
        assert holder.lost == []
        await holder.lease.release()
        assert seen(server) is None

    virtually(main)


def test_a_taking_whose_answer_is_lost_is_found_again() -> None:
    async def main() -> None:
        server = MemoryServer(timeout=2)
        client = server.client()
        holder = Holder(client)
        client.loses_answers = True
        with pytest.raises(TimeoutError):
            await holder.lease.take()
        assert not holder.lease.is_held
        client.loses_answers = False
        assert await holder.lease.take()
        assert holder.lease.epoch == server.keys(KEYS)[lease_key(4, 2)].revision
        await holder.lease.release()
        assert seen(server) is None

    virtually(main)


def test_who_finds_another_in_it_has_lost_it() -> None:
    async def main() -> None:
        server = MemoryServer()
        first, second = Holder(server.client()), Holder(server.client(), "b")
        assert await first.lease.take()
        server.expire(KEYS, lease_key(4, 2))
        assert await second.lease.take()
        await asyncio.sleep(6)
        assert [why for _, why in first.lost] == ["somebody else has it"]
        await first.lease.release()
        now = seen(server)
        assert now is not None
        assert now.host == "b"
        await second.lease.release()

    virtually(main)


# ---------------------------------------------------------------------- members and views


def test_a_member_is_seen_until_it_stops_or_dies() -> None:
    async def main() -> None:
        server = MemoryServer(timeout=2)
        client = server.client()
        changed: list[str] = []
        view = View(server.client(), KEYS, "lease.*", Lease, changed.append)
        await view.start()
        said = [b'{"host":"a"}']
        member = Member(client, KEYS, "lease.x", lambda: said[0])
        await member.start()
        await asyncio.sleep(60)
        assert view.keys["lease.x"].value == Lease("a")
        # Renewals say nothing new.
        assert changed == ["lease.x"]
        said[0] = b'{"host":"b"}'
        member.changed()
        await asyncio.sleep(0.1)
        assert view.keys["lease.x"].value == Lease("b")
        client.cut()
        await asyncio.sleep(16)
        assert view.keys == {}
        client.restore()
        await asyncio.sleep(3)
        assert view.keys["lease.x"].value == Lease("b")
        await member.stop()
        await asyncio.sleep(0.1)
        assert view.keys == {}
        await view.stop()

    virtually(main)


def test_a_view_hears_what_it_missed_while_it_was_cut_off() -> None:
    async def main() -> None:
        server = MemoryServer(timeout=2)
        client, other = server.client(), server.client()
        await other.put(KEYS, "lease.a", b'{"host":"1"}')
        await other.put(KEYS, "lease.b", b'{"host":"2"}')
        view = View(client, KEYS, "lease.*", Lease, lambda _: None)
        await view.start()
        assert sorted(view.keys) == ["lease.a", "lease.b"]
        client.cut()
        await other.delete(KEYS, "lease.a")
        await other.put(KEYS, "lease.c", b'{"host":"3"}')
        await other.put(KEYS, "lease.d", b"not what it should be")
        await asyncio.sleep(5)
        assert sorted(view.keys) == ["lease.a", "lease.b"]
        client.restore()
        await asyncio.sleep(0.1)
        assert sorted(view.keys) == ["lease.b", "lease.c"]
        await view.stop()

    virtually(main)


def test_a_view_finds_by_itself_what_its_watch_did_not_tell() -> None:
    async def main() -> None:
        server = MemoryServer()
        other = server.client()
        view = View(server.client(), KEYS, "lease.*", Lease, lambda _: None)
        await other.put(KEYS, "lease.a", b'{"host":"1"}')
        await view.start()
        server.watches.clear()
        await other.delete(KEYS, "lease.a")
        await other.put(KEYS, "lease.b", b'{"host":"2"}')
        await asyncio.sleep(31)
        assert sorted(view.keys) == ["lease.b"]
        await view.stop()

    virtually(main)


def test_names_are_parts_of_keys() -> None:
    check_name(None)
    check_name("host_1-a")
    for bad in ("", "a.b", "a b", "a" * 33, "é", "*"):
        with pytest.raises(ValueError, match="name must be"):
            check_name(bad)
    assert new_id("web") != new_id("web")
    assert new_id("web").startswith("web-")
    check_name(new_id(None)[:32])
