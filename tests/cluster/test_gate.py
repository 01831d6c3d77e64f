"""The identify gate of a cluster: one coordinator, and IDENTIFYs that are far enough from each other."""

import asyncio
import itertools
import time
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest

from cluster.hosts import APP, virtually
from cluster.memory import MemoryBroker, MemoryServer
from propylon._sessions.gates import IdentifyPermit
from propylon.cluster._gate import ClusterGate, Coordinator
from propylon.cluster._keys import BUDGET, COORDINATOR, IDENTIFIED, BudgetKey, bucket, encode, identify_subject, read
from propylon.errors import IdentifyBudgetExhausted

KEYS = bucket(APP)


def now() -> float:
    return asyncio.get_running_loop().time()


class Host:
    def __init__(self, server: MemoryServer, name: str) -> None:
        self.client: MemoryBroker = server.client(name)
        self.gate = ClusterGate(self.client, APP, name)
        self.changes = 0
        self.coordinator = Coordinator(self.client, APP, name, changed=self.changed)

    def changed(self) -> None:
        self.changes += 1

    async def start(self) -> "Host":
        await self.coordinator.start()
        return self

    async def stop(self) -> None:
        await self.coordinator.stop()


async def let_through(gate: ClusterGate, shard_id: int, concurrency: int, left: list[tuple[float, int]]) -> None:
    permit = await gate.acquire(shard_id, concurrency)
    left.append((now(), shard_id))
    await asyncio.sleep(0.3)
    permit.release()


async def together(*coroutines: Coroutine[Any, Any, Any]) -> None:
    await asyncio.gather(*coroutines)


def test_identifies_of_a_bucket_are_five_seconds_apart() -> None:
    async def main() -> None:
        server = MemoryServer()
        hosts = [await Host(server, name).start() for name in "abc"]
        left: list[tuple[float, int]] = []
        await together(*(let_through(hosts[shard % 3].gate, shard, 2, left) for shard in range(8)))
        for bucket_ in (0, 1):
            times = [at for at, shard in left if shard % 2 == bucket_]
            assert len(times) == 4
            # From one answer to the next IDENTIFY.
            gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
            assert all(5.25 <= gap <= 6.5 for gap in gaps), gaps
        assert sum(host.coordinator.is_here for host in hosts) == 1
        for host in hosts:
            await host.stop()
        assert COORDINATOR not in server.keys(KEYS)

    virtually(main)


def test_one_that_is_not_answered_holds_its_bucket_for_fifteen_seconds() -> None:
    async def main() -> None:
        host = await Host(MemoryServer(), "a").start()
        await host.gate.acquire(0, 1)
        begun = now()
        await host.gate.acquire(1, 1)
        assert 15 <= now() - begun <= 16
        await host.stop()

    virtually(main)


def test_one_that_gives_up_holds_nothing() -> None:
    async def main() -> None:
        host = await Host(MemoryServer(), "a").start()
        permit = await host.gate.acquire(0, 1)
        waiting = asyncio.create_task(host.gate.acquire(1, 1))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.sleep(1)
        permit.release()
        permit.release()
        begun = now()
        await host.gate.acquire(2, 1)
        assert 4.9 <= now() - begun <= 5.5
        await host.stop()

    virtually(main)


def test_another_host_is_the_coordinator_when_one_dies_and_waits_a_window() -> None:
    async def main() -> None:
        server = MemoryServer()
        first = await Host(server, "a").start()
        await asyncio.sleep(0.1)
        second = await Host(server, "b").start()
        assert first.coordinator.is_here
        left: list[tuple[float, int]] = []
        await let_through(second.gate, 0, 1, left)
        first.client.cut()
        cut_at = now()
        await let_through(second.gate, 1, 1, left)
        assert second.coordinator.is_here
        assert not first.coordinator.is_here
        assert cut_at + 5.25 < left[1][0] < cut_at + 25
        # Back again, it leaves the part to the other.
        first.client.restore()
        await asyncio.sleep(20)
        assert second.coordinator.is_here
        assert not first.coordinator.is_here
        assert first.coordinator.host == "b"
        await together(first.stop(), second.stop())

    virtually(main)


def test_one_that_ends_is_followed_at_once() -> None:
    async def main() -> None:
        server = MemoryServer()
        first, second = await Host(server, "a").start(), await Host(server, "b").start()
        left: list[tuple[float, int]] = []
        await let_through(second.gate, 0, 1, left)
        await first.stop()
        await let_through(second.gate, 1, 1, left)
        assert 5.25 <= left[1][0] - left[0][0] <= 8
        assert IDENTIFIED in server.keys(KEYS)
        await second.stop()

    virtually(main)


def test_the_first_of_all_does_not_wait() -> None:
    async def main() -> None:
        host = await Host(MemoryServer(), "a").start()
        await host.gate.acquire(0, 1)
        assert now() < 1
        await host.stop()

    virtually(main)


def test_it_asks_until_there_is_a_coordinator() -> None:
    async def main() -> None:
        server = MemoryServer()
        host = Host(server, "a")
        waiting = asyncio.create_task(host.gate.acquire(0, 1))
        await asyncio.sleep(30)
        assert not waiting.done()
        await host.start()
        permit: IdentifyPermit = await waiting
        permit.release()
        assert now() < 32
        await host.stop()

    virtually(main)


def test_a_lost_answer_costs_no_turn() -> None:
    async def main() -> None:
        server = MemoryServer()
        host, other = await Host(server, "a").start(), Host(server, "b")
        await asyncio.sleep(0.1)
        publish = host.client.publish
        lost: list[str] = []

        async def lose(subject: str, data: bytes) -> None:
            if lost:
                await publish(subject, data)
            else:
                lost.append(subject)

        host.client.publish = lose
        begun = now()
        permit = await other.gate.acquire(0, 1)
        assert lost
        assert now() - begun < 5
        permit.release()
        await host.stop()

    virtually(main)


def test_the_budget_is_counted_by_all_and_its_end_is_kept() -> None:
    async def main() -> None:
        server = MemoryServer()
        host, other = await Host(server, "a").start(), Host(server, "b")
        host.gate.learn(total=100, remaining=12, reset_after=3600)
        await asyncio.sleep(0.1)
        for gate in (host.gate, other.gate):
            (await gate.acquire(0, 1)).release()
        told = read(BudgetKey, server.keys(KEYS)[BUDGET].value)
        assert told is not None
        assert told.remaining == 10
        with pytest.raises(IdentifyBudgetExhausted) as caught:
            await other.gate.acquire(0, 1)
        assert caught.value.resets_at == pytest.approx(time.time() + 3600, abs=60)
        # A later word of Discord counts.
        earlier = msgspec.structs.replace(told, told_at=told.told_at - 600)
        await host.client.put(KEYS, BUDGET, encode(earlier))
        other.gate.learn(total=100, remaining=50, reset_after=3600)
        await asyncio.sleep(0.1)
        await other.gate.acquire(0, 1)
        await host.stop()

    virtually(main)


def test_of_what_hosts_are_told_together_the_lesser_number_counts() -> None:
    async def main() -> None:
        server = MemoryServer()
        host, other = await Host(server, "a").start(), Host(server, "b")

        def remaining() -> int | None:
            told = read(BudgetKey, server.keys(KEYS)[BUDGET].value)
            return None if told is None else told.remaining

        # Discord told the other one first; it writes at the same time, or later.
        for first, second in ((998, 999), (500, 700)):
            host.gate.learn(total=1000, remaining=first, reset_after=3600)
            other.gate.learn(total=1000, remaining=second, reset_after=3600)
            await asyncio.sleep(1)
            assert remaining() == first
        # One that has left since counts too.
        await host.gate.acquire(0, 1)
        other.gate.learn(total=1000, remaining=700, reset_after=3600)
        await asyncio.sleep(1)
        assert remaining() == 499
        # Another day begins with all of them.
        other.gate.learn(total=1000, remaining=1000, reset_after=86_400)
        await asyncio.sleep(1)
        assert remaining() == 1000
        await host.stop()

    virtually(main)


def test_a_budget_whose_day_is_over_refuses_nobody() -> None:
    async def main() -> None:
        server = MemoryServer()
        host = await Host(server, "a").start()
        over = BudgetKey(100, 0, time.time() - 1)
        await host.client.put(KEYS, BUDGET, encode(over))
        await host.gate.acquire(0, 1)
        await host.stop()

    virtually(main)


def test_what_is_no_question_is_not_answered() -> None:
    async def main() -> None:
        server = MemoryServer()
        host = await Host(server, "a").start()
        await asyncio.sleep(0.1)
        with pytest.raises(TimeoutError):
            await server.client().request(identify_subject(APP), b"nonsense", 1.0)
        await host.gate.acquire(0, 1)
        await host.stop()

    virtually(main)
