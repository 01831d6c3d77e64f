"""The sessions of a fleet: saved together, resumed together by the next process, taken over without a fight."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from face.support import eventually, message
from fleet.support import guild_on, identified, say, times_of
from propylon import (
    Batches,
    Closed,
    FileSessionStore,
    GatewayStatus,
    NotConnected,
    Session,
    SessionTakenOver,
    ShardManager,
)
from propylon._sessions.keeping import finished_mark
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps
from sessions.conftest import FencedStore, MemoryStore

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

Start = Callable[..., Simulator]
Make = Callable[..., ShardManager]

READY, CLOSED = GatewayStatus.READY, GatewayStatus.DISCONNECTED
TOKEN = "token-of-two-processes"


class FleetStore(FencedStore):
    """A store that takes many keys at once, and writes when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def load_all(self, keys: Iterable[str], /) -> Mapping[str, Session]:
        self.calls.append(("load_all", len(list(keys))))
        self._fail()
        return {key: self.sessions[key] for key in keys if key in self.sessions}

    async def claim_all(self, keys: Iterable[str], /) -> Mapping[str, int]:
        self.calls.append(("claim_all", len(list(keys))))
        self._fail()
        for key in keys:
            self.epochs[key] = self.epochs.get(key, 0) + 1
        return {key: self.epochs[key] for key in keys}

    async def save_all(self, changes: Mapping[str, tuple[Session | None, int | None]], /) -> set[str]:
        self.calls.append(("save_all", len(changes)))
        await self.gate.wait()
        self._fail()
        refused = {key for key, (_, epoch) in changes.items() if epoch is not None and epoch != self.epochs.get(key)}
        for key, (session, _) in changes.items():
            if key in refused:
                continue
            if session is None:
                self.sessions.pop(key, None)
            else:
                self.sessions[key] = session
        return refused


async def saved(path: Path, count: int) -> None:
    """Return when the store has so many sessions."""
    await eventually(lambda: path.exists() and len(json.loads(path.read_text())["sessions"]) == count)


def resumed(manager: ShardManager) -> tuple[int, int]:
    """IDENTIFYs and RESUMEs."""
    metrics = manager.metrics()
    return metrics.identifies, metrics.resumes


class TestMark:
    @pytest.mark.parametrize("ack", [False, True])
    async def test_what_readers_have_not_read_of_one_shard_is_nothing_to_another(
        self, propylon_simulator: Start, manager_to: Make, ack: bool
    ) -> None:
        """Each shard counts by itself, and a reader of batches gets the events of all."""
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        await manager.open(timeout=10)
        lives = [manager.shards[number]._life for number in range(3)]

        def marks() -> list[int]:
            found = [finished_mark(life.shard, life.consumer, manager._listening.unfinished) for life in lives]
            return [0 if session is None else session.sequence for session in found]

        # The second shard's numbers are far ahead of the others'.
        for _ in range(20):
            say(sim, guild_on(1, 3), "unheard")
        await eventually(lambda: manager.metrics().unheard == 3 + 20)
        async with manager.batches(MessageCreate, size=1, ack=ack) as batches:
            for shard in (1, 0, 0):
                before = len(batches._buffer)
                say(sim, guild_on(shard, 3), "heard")
                await eventually(lambda before=before: len(batches._buffer) > before)
            assert marks() == [1, 21, 1]
            taken = [await anext(batches), await anext(batches)]
            assert [batch[0].shard_id for batch in taken] == [1, 0]
            assert marks() == ([1, 21, 1] if ack else [2, 22, 1])
            if ack:
                taken[0].ack()
                assert marks() == [1, 22, 1]
                taken[1].ack()
                assert marks() == [2, 22, 1]
        assert marks() == ([2, 22, 1] if ack else [3, 22, 1])

    async def test_a_drain_lets_readers_of_batches_acknowledge(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        store = MemoryStore()
        manager = manager_to(sim, shards=2, sessions=store)

        async def export(batches: Batches) -> None:
            async for batch in batches:
                await asyncio.sleep(0.1)
                batch.ack()

        async with manager.batches(MessageCreate, seconds=3600, ack=True) as batches:
            exporting = asyncio.create_task(export(batches))
            await manager.open(timeout=10)
            for shard in range(2):
                say(sim, guild_on(shard, 2), "heard")
            await eventually(lambda: len(batches._buffer) == 2)
            await manager.close(drain=30)
            await exporting
        assert [session.sequence for session in store.sessions.values()] == [2, 2]


class TestRestart:
    async def test_all_are_resumed_without_an_identify(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path
    ) -> None:
        """What happens meanwhile comes to the next process."""
        sim = propylon_simulator(guilds=0, max_concurrency=8)
        options: dict[str, Any] = {"token": TOKEN, "shards": 8}
        first = manager_to(sim, sessions=FileSessionStore(tmp_path / "sessions.json"), **options)
        await first.open(timeout=10)
        await first.close()
        assert [connection["closed"]["code"] for connection in sim.record()["connections"]] == [4000] * 8
        sim.dispatch("MESSAGE_CREATE", message("meanwhile"))
        heard: list[int] = []
        second = manager_to(sim, sessions=FileSessionStore(tmp_path / "sessions.json"), **options)

        @second.listen
        def on(event: MessageCreate) -> None:
            heard.append(1)

        await second.open(timeout=10)
        assert resumed(second) == (0, 8)
        await eventually(lambda: len(heard) == 8)
        assert sim.record()["identifies"] == 8

    async def test_they_come_back_spread_over_a_moment(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=128)
        store = FileSessionStore(tmp_path / "sessions.json")
        first = manager_to(sim, sessions=store, token=TOKEN, shards=128)
        await first.open(timeout=20)
        await first.close()
        # 2.56 s for the 128: a machine that stops for a while must not make one moment of it.
        monkeypatch.setattr("propylon._fleet.making._BETWEEN_STARTS", 0.02)
        second = manager_to(sim, sessions=store, token=TOKEN, shards=128)
        await second.open(timeout=20)
        times = times_of(sim, 6)
        assert len(times) == 128
        assert times[-1] - times[0] > 0.05

    async def test_a_fleet_writes_seldom(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=16)
        store = FleetStore()
        manager = manager_to(sim, sessions=store, token=TOKEN, shards=32)
        await manager.open(timeout=20)
        await eventually(lambda: len(store.sessions) == 32)
        claims = [count for name, count in store.calls if name == "claim_all"]
        loads = [count for name, count in store.calls if name == "load_all"]
        assert sum(claims) == sum(loads) == 32
        assert len(claims) + len(loads) <= 6
        store.calls.clear()
        # However far apart they end, a write under way gathers those of the others.
        store.gate.clear()
        closing = asyncio.create_task(manager.close())
        shards = manager.shards.values()
        await eventually(lambda: not any(shard._life.shard.running for shard in shards))
        store.gate.set()
        await closing
        saves = [count for name, count in store.calls if name == "save_all"]
        assert 1 <= len(saves) <= 8
        assert {session.shard for session in store.sessions.values()} == {(number, 32) for number in range(32)}

    @pytest.mark.parametrize("kind", [MemoryStore, FencedStore])
    async def test_a_store_that_knows_one_key_at_a_time(
        self, propylon_simulator: Start, manager_to: Make, kind: type[MemoryStore]
    ) -> None:
        sim = propylon_simulator(guilds=0)
        store = kind()
        for turn in range(2):
            manager = manager_to(sim, sessions=store, token=TOKEN, shards=3)
            await manager.open(timeout=10)
            assert resumed(manager) == ((3, 0), (0, 3))[turn]
            await manager.close()

    async def test_half_is_resumed_and_half_is_not(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path
    ) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=4)
        store = FileSessionStore(tmp_path / "sessions.json")
        first = manager_to(sim, sessions=store, token=TOKEN, shards=4)
        await first.open(timeout=10)
        await first.close()
        for shard_id in (1, 3):
            sim.act(steps.expire_sessions(), shard=shard_id)
        second = manager_to(sim, sessions=store, token=TOKEN, shards=4)
        await second.open(timeout=20)
        assert resumed(second) == (2, 2)
        assert [one.identifies for one in second.metrics(by_shard=True).values()] == [0, 1, 0, 1]
        await second.close()
        third = manager_to(sim, sessions=store, token=TOKEN, shards=4)
        await third.open(timeout=10)
        assert resumed(third) == (0, 4)

    async def test_sessions_of_another_total_are_kept_aside(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path
    ) -> None:
        """Identified anew; whoever goes back to the first total finds its sessions."""
        sim = propylon_simulator(guilds=0, max_concurrency=4)
        path = tmp_path / "sessions.json"
        expected = [(2, (2, 0)), (4, (4, 0)), (2, (0, 2)), (4, (0, 4))]
        for total, what in expected:
            manager = manager_to(sim, sessions=FileSessionStore(path), token=TOKEN, shards=total)
            await manager.open(timeout=10)
            assert resumed(manager) == what
            await manager.close()
        assert len(json.loads(path.read_text())["sessions"]) == 6

    async def test_sessions_of_other_intents_are_not_resumed(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path
    ) -> None:
        from propylon import Intents

        sim = propylon_simulator(guilds=0, max_concurrency=2)
        for intents in (Intents.GUILDS, Intents.GUILD_MESSAGES):
            store = FileSessionStore(tmp_path / "sessions.json")
            manager = manager_to(sim, sessions=store, token=TOKEN, shards=2, intents=intents)
            await manager.open(timeout=10)
            assert resumed(manager) == (2, 0)
            await manager.close()

    async def test_a_close_that_is_not_resumable_leaves_no_sessions(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path
    ) -> None:
        sim = propylon_simulator(guilds=0)
        path = tmp_path / "sessions.json"
        manager = manager_to(sim, sessions=FileSessionStore(path), token=TOKEN, shards=3)
        await manager.open(timeout=10)
        await manager.close(resumable=False)
        assert json.loads(path.read_text())["sessions"] == {}

    async def test_a_store_that_is_set_up_wrong_is_told_and_closes_all(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path
    ) -> None:
        sim = propylon_simulator(guilds=0)
        store = FileSessionStore(tmp_path / "nowhere" / "sessions.json")
        manager = manager_to(sim, sessions=store, shards=3)
        with pytest.raises(FileNotFoundError, match="nowhere"):
            await manager.open(timeout=5)
        async with asyncio.timeout(5):
            await manager.wait_closed()
        await sim.wait_for("open", count=0)
        assert manager.status in (CLOSED, GatewayStatus.UNCONNECTED)
        (tmp_path / "nowhere").mkdir()
        await manager.open(timeout=10)

    async def test_a_store_that_fails_costs_no_more_than_identifys(
        self, propylon_simulator: Start, manager_to: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        sim = propylon_simulator(guilds=0)
        store = FleetStore()
        store.fails = OSError("the database is gone")
        manager = manager_to(sim, sessions=store, token=TOKEN, shards=3)
        await manager.open(timeout=10)
        assert resumed(manager) == (3, 0)
        assert "the database is gone" in caplog.text
        store.fails = None
        await eventually(lambda: len(store.sessions) == 3)
        await manager.close()

    async def test_a_store_that_hangs_is_told_by_open(self, propylon_simulator: Start, manager_to: Make) -> None:
        class Hanging(FleetStore):
            async def claim_all(self, keys: Iterable[str], /) -> Mapping[str, int]:
                await asyncio.get_running_loop().create_future()
                raise AssertionError

        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, sessions=Hanging(), shards=2)
        async with asyncio.timeout(10):
            with pytest.raises(TimeoutError, match="2 of 2 shards are missing"):
                await manager.open(timeout=2.5)
            await manager.wait_closed()


class TestTakenOver:
    async def test_a_second_process_takes_all_over_and_the_first_ends_without_a_fight(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=4)
        options: dict[str, Any] = {"token": TOKEN, "shards": 4}
        first = manager_to(sim, sessions=FileSessionStore(tmp_path / "sessions.json"), **options)
        ended: list[Closed] = []
        first.on_close(ended.append)
        await first.open(timeout=10)
        await saved(tmp_path / "sessions.json", 4)
        waiting = asyncio.create_task(first.wait_closed())
        await asyncio.sleep(0)
        second = manager_to(sim, sessions=FileSessionStore(tmp_path / "sessions.json"), **options)
        await second.open(timeout=10)
        async with asyncio.timeout(10):
            with pytest.raises(SessionTakenOver):
                await waiting
        await first.wait_closed()
        assert first.status is CLOSED
        assert second.status is READY
        assert resumed(second) == (0, 4)
        # Who is replaced may dial once more, but asks the store before it resumes.
        assert len(times_of(sim, 6)) == 4
        assert sim.record()["identifies"] == 4
        heard: list[int] = []
        second.listen(MessageCreate)(lambda event: heard.append(1))
        sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: len(heard) == 4)
        assert second.metrics().reconnects == 0

    async def test_served_it_returns(self, propylon_simulator: Start, manager_to: Make, tmp_path: Path) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=4)
        options: dict[str, Any] = {"token": TOKEN, "shards": 2}
        first = manager_to(sim, sessions=FileSessionStore(tmp_path / "sessions.json"), **options)
        serving = asyncio.create_task(first.serve())
        await sim.wait_for("ready", count=2)
        await saved(tmp_path / "sessions.json", 2)
        second = manager_to(sim, sessions=FileSessionStore(tmp_path / "sessions.json"), **options)
        await second.open(timeout=10)
        async with asyncio.timeout(10):
            assert await serving is None

    async def test_it_may_be_taken_back(self, propylon_simulator: Start, manager_to: Make, tmp_path: Path) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=4)
        options: dict[str, Any] = {"token": TOKEN, "shards": 2}
        managers = [manager_to(sim, sessions=FileSessionStore(tmp_path / "sessions.json"), **options) for _ in range(2)]
        await managers[0].open(timeout=10)
        await saved(tmp_path / "sessions.json", 2)
        for turn in range(3):
            old, new = managers[turn % 2], managers[(turn + 1) % 2]
            await new.open(timeout=10)
            async with asyncio.timeout(10):
                with pytest.raises(SessionTakenOver):
                    await old.wait_closed()
        assert sim.record()["identifies"] == 2

    async def test_of_one_process_of_two_only_its_own(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path
    ) -> None:
        """Two processes share the store, and one is replaced: the other one's shards are none of its business."""
        sim = propylon_simulator(guilds=0, max_concurrency=4)
        path = tmp_path / "sessions.json"

        def half(ids: range) -> ShardManager:
            return manager_to(sim, sessions=FileSessionStore(path), token=TOKEN, shards=ids, total=4)

        lower, upper = half(range(2)), half(range(2, 4))
        await asyncio.gather(lower.open(timeout=10), upper.open(timeout=10))
        await saved(path, 4)
        newer = half(range(2, 4))
        await newer.open(timeout=10)
        async with asyncio.timeout(10):
            with pytest.raises(SessionTakenOver):
                await upper.wait_closed()
        assert lower.status is READY
        assert sorted(identified(sim)) == [(number, 4) for number in range(4)]
        assert lower.metrics().reconnects == 0

    async def test_of_one_shard_of_it_ends_that_one(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path
    ) -> None:
        """The rest goes on until it is taken over too, or closed: then the manager ends, with what has become of it."""
        sim = propylon_simulator(guilds=0, max_concurrency=4)
        path = tmp_path / "sessions.json"
        whole = manager_to(sim, sessions=FileSessionStore(path), token=TOKEN, shards=3)
        await whole.open(timeout=10)
        await saved(path, 3)
        part = manager_to(sim, sessions=FileSessionStore(path), token=TOKEN, shards=[1], total=3)
        await part.open(timeout=10)
        await eventually(lambda: whole.shards[1].status is CLOSED)
        assert [whole.shards[number].status for number in (0, 2)] == [READY, READY]
        assert resumed(part) == (0, 1)
        with pytest.raises(NotConnected):
            await whole.send(31, {"guild_ids": ["1"]}, shard_id=1)
