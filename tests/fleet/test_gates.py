"""``gate=``: each permit that was given is given back exactly once, whatever becomes of its IDENTIFY."""

import asyncio
import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from face.support import SHORT, eventually, message
from fleet.support import identified, make_manager, number_of, times_of
from propylon import (
    FileIdentifyGate,
    GatewayStatus,
    IdentifyBudgetExhausted,
    NotConnected,
    ShardManager,
    Timeouts,
)
from propylon._sessions.locks import take
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.timeout(60)

Start = Callable[..., Simulator]
Make = Callable[..., ShardManager]

READY = GatewayStatus.READY
PATIENT: dict[str, Any] = {**SHORT, "timeouts": Timeouts(connect=30, hello=30, ready=30, close=0.5)}


class Permit:
    def __init__(self, gate: "Gate", shard_id: int) -> None:
        self.gate = gate
        self.shard_id = shard_id
        self.releases = 0

    def release(self) -> None:
        self.releases += 1
        self.gate.told.append(("release", self.shard_id))
        if self.gate.release_raises:
            raise OSError("a permit that cannot be given back")


class Gate:
    """Gives a permit at once, unless it is told otherwise, and writes down what it was asked."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.permits: list[Permit] = []
        self.concurrency: set[int] = set()
        self.learned: list[dict[str, Any]] = []
        self.raises: dict[int, list[BaseException]] = {}
        self.release_raises = False
        self.never: set[int] = set()
        self.cancelled: list[int] = []

    async def acquire(self, shard_id: int, max_concurrency: int, /) -> Permit:
        self.told.append(("acquire", shard_id))
        self.concurrency.add(max_concurrency)
        # As it was when it was asked.
        never = shard_id in self.never
        if self.raises.get(shard_id):
            raise self.raises[shard_id].pop(0)
        try:
            await asyncio.sleep(0)
            if never:
                await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.append(shard_id)
            raise
        permit = Permit(self, shard_id)
        self.permits.append(permit)
        return permit

    def learn(self, *, total: int, remaining: int, reset_after: float) -> None:
        self.learned.append({"total": total, "remaining": remaining, "reset_after": reset_after})

    @property
    def balances(self) -> bool:
        """Whether each permit was given back, and once."""
        return all(permit.releases == 1 for permit in self.permits)

    def asked(self, shard_id: int) -> int:
        return self.told.count(("acquire", shard_id))


@pytest.mark.asyncio
class TestPermits:
    async def test_one_for_each_identify_given_back_at_ready(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=2)
        gate = Gate()
        manager = manager_to(sim, shards=4, gate=gate)
        await manager.open(timeout=10)
        await eventually(lambda: gate.balances)
        assert sorted(permit.shard_id for permit in gate.permits) == [0, 1, 2, 3]
        assert gate.concurrency == {2}
        assert len(identified(sim)) == 4
        # And not once more at the end.
        await manager.close()
        assert gate.balances
        assert gate.learned
        assert gate.learned[0]["total"] == 1000

    async def test_the_gate_is_asked_after_hello(self, propylon_simulator: Start, manager_to: Make) -> None:
        """A connection that does not come about holds no turn."""
        scripts = {1: [steps.no_hello()], 2: [steps.http_response(500)], 3: [steps.reset()]}
        sim = propylon_simulator(guilds=0, scripts=scripts)
        gate = Gate()
        manager = manager_to(sim, shards=1, gate=gate, timeouts=Timeouts(hello=0.1))
        await manager.open(timeout=10)
        await eventually(lambda: gate.balances)
        assert gate.told == [("acquire", 0), ("release", 0)]

    async def test_given_back_at_op_9_and_asked_for_again(self, propylon_simulator: Start, manager_to: Make) -> None:
        scripts = {1: [steps.never_ready(), steps.wait_for_op(2), steps.invalid_session(False)]}
        sim = propylon_simulator(guilds=0, scripts=scripts)
        gate = Gate()
        manager = manager_to(sim, shards=1, gate=gate)
        await manager.open(timeout=20)
        await eventually(lambda: gate.balances)
        assert gate.told == [("acquire", 0), ("release", 0)] * 2

    @pytest.mark.parametrize("end", [steps.close(4000), steps.reset(), steps.close(4009)])
    async def test_given_back_at_a_close(self, propylon_simulator: Start, manager_to: Make, end: Any) -> None:
        sim = propylon_simulator(guilds=0, scripts={1: [steps.never_ready(), steps.wait_for_op(2), end]})
        gate = Gate()
        manager = manager_to(sim, shards=1, gate=gate)
        await manager.open(timeout=10)
        await eventually(lambda: gate.balances)
        assert gate.told == [("acquire", 0), ("release", 0)] * 2

    async def test_given_back_at_a_fatal_close(self, propylon_simulator: Start, manager_to: Make) -> None:
        from propylon import AuthenticationFailed

        sim = propylon_simulator(guilds=0, token="another")
        gate = Gate()
        manager = manager_to(sim, shards=2, gate=gate, gateway_url=sim.url)
        with pytest.raises(AuthenticationFailed):
            await manager.open(timeout=10)
        await manager.close()
        await eventually(lambda: gate.balances)

    async def test_given_back_when_it_is_closed_meanwhile(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=2, scripts={"every": [steps.never_ready()]})
        gate = Gate()
        manager = manager_to(sim, shards=2, gate=gate, **PATIENT)
        opening = asyncio.create_task(manager.open())
        await sim.wait_for("op", op=2, count=2)
        await manager.close()
        with pytest.raises(NotConnected):
            await opening
        await eventually(lambda: gate.balances)
        assert len(gate.permits) == 2

    async def test_a_resume_asks_nobody(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        gate = Gate()
        manager = manager_to(sim, shards=3, gate=gate)
        await manager.open(timeout=10)
        sim.act(steps.reset(), "every")
        await sim.wait_for("resumed", count=3)
        await eventually(lambda: manager.status is READY)
        assert len(gate.permits) == 3
        # One that is refused does.
        sim.script("next", steps.refuse_resume())
        sim.act(steps.reset(), number_of(sim, 1, 3))
        await sim.wait_for("ready", count=4, timeout=20)
        await eventually(lambda: len(gate.permits) == 4 and gate.balances)
        assert gate.permits[-1].shard_id == 1

    async def test_a_restart_asks_again(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        gate = Gate()
        manager = manager_to(sim, shards=2, gate=gate)
        await manager.open(timeout=10)
        await manager.shards[1].restart()
        await manager.shards[1].resume()
        await eventually(lambda: gate.balances)
        assert [gate.asked(0), gate.asked(1)] == [1, 2]

    async def test_a_reshard_asks_for_each_of_the_new(self, lively_simulator: Start, manager_to: Make) -> None:
        sim = lively_simulator(guilds=0)
        gate = Gate()
        manager = manager_to(sim, shards=2, gate=gate)
        await manager.open(timeout=10)
        await manager.reshard(3, window=0.05)
        await eventually(lambda: gate.balances)
        assert sorted(permit.shard_id for permit in gate.permits) == [0, 0, 1, 1, 2]
        assert len(gate.learned) == 2


@pytest.mark.asyncio
class TestTrouble:
    async def test_an_acquire_that_raises_is_asked_again_and_delays_only_its_shard(
        self, propylon_simulator: Start, manager_to: Make, monkeypatch: pytest.MonkeyPatch, caplog: Any
    ) -> None:
        monkeypatch.setattr("propylon._fleet.permits._PAUSE", 0.05)
        sim = propylon_simulator(guilds=0)
        gate = Gate()
        gate.raises[1] = [OSError("the gate's server is gone"), RuntimeError("still")]
        manager = manager_to(sim, shards=3, gate=gate)
        await manager.open(timeout=10)
        await eventually(lambda: gate.balances)
        assert [gate.asked(shard_id) for shard_id in range(3)] == [1, 3, 1]
        assert caplog.text.count("the identify gate failed") == 1
        assert "the gate's server is gone" in caplog.text

    async def test_one_that_never_returns_delays_only_its_shard_and_is_cancelled_at_the_end(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=3)
        gate = Gate()
        gate.never = {1}
        manager = manager_to(sim, shards=3, gate=gate, **PATIENT)
        with pytest.raises(TimeoutError, match=r"1 of 3 shards are missing: 1 \(IDENTIFYING\)"):
            await manager.open(timeout=3)
        assert sorted(identified(sim)) == [(0, 3), (2, 3)]
        await eventually(lambda: gate.cancelled == [1])
        assert gate.balances
        assert len(gate.permits) == 2

    async def test_a_connection_that_ends_while_it_waits_gives_its_place_up(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        gate = Gate()
        gate.never = {0}
        manager = manager_to(sim, shards=1, gate=gate, **PATIENT)
        opening = asyncio.create_task(manager.open())
        await eventually(lambda: gate.asked(0) == 1)
        sim.act(steps.reset(), "every")
        await eventually(lambda: gate.asked(0) == 2)
        assert gate.cancelled == [0]
        gate.never = set()
        sim.act(steps.reset(), "every")
        await opening
        await eventually(lambda: gate.balances)
        assert (len(gate.permits), gate.asked(0)) == (1, 3)

    async def test_a_gate_that_swallows_its_cancellation_gets_its_permit_back(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        class Stubborn(Gate):
            async def acquire(self, shard_id: int, max_concurrency: int, /) -> Permit:
                self.told.append(("acquire", shard_id))
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    self.cancelled.append(shard_id)
                permit = Permit(self, shard_id)
                self.permits.append(permit)
                return permit

        sim = propylon_simulator(guilds=0)
        gate = Stubborn()
        manager = manager_to(sim, shards=1, gate=gate, **PATIENT)
        opening = asyncio.create_task(manager.open())
        await eventually(lambda: gate.told)
        await manager.close()
        with pytest.raises(NotConnected):
            await opening
        await eventually(lambda: gate.permits and gate.balances)

    async def test_a_release_that_raises_is_logged_and_harms_nobody(
        self, propylon_simulator: Start, manager_to: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        sim = propylon_simulator(guilds=0)
        gate = Gate()
        gate.release_raises = True
        manager = manager_to(sim, shards=2, gate=gate)
        await manager.open(timeout=10)
        await eventually(lambda: gate.balances)
        assert caplog.text.count("failed to take a permit back") == 2
        await manager.close()

    async def test_its_budget_ends_the_opening_with_its_time(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        gate = Gate()
        resets_at = time.time() + 3_600
        gate.raises[1] = [IdentifyBudgetExhausted("the gate's own words", resets_at)]
        manager = manager_to(sim, shards=3, gate=gate)
        with pytest.raises(IdentifyBudgetExhausted) as raised:
            await manager.open(timeout=10)
        assert raised.value.resets_at == resets_at
        async with asyncio.timeout(5):
            await manager.wait_closed()
        await sim.wait_for("open", count=0)
        await eventually(lambda: gate.balances)

    async def test_its_budget_in_the_middle_of_a_reshard_leaves_the_old_fleet(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        gate = Gate()
        manager = manager_to(sim, shards=2, gate=gate)
        heard: list[MessageCreate] = []
        manager.listen(MessageCreate)(heard.append)
        await manager.open(timeout=10)
        gate.raises[3] = [IdentifyBudgetExhausted("none left", time.time() + 3_600)]
        async with asyncio.timeout(5):
            with pytest.raises(IdentifyBudgetExhausted):
                await manager.reshard(4, window=0.05)
        assert (manager.total, manager.status) == (2, READY)
        await sim.wait_for("open", count=2)
        sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: len(heard) == 2)
        await eventually(lambda: gate.balances)
        async with asyncio.timeout(5):
            await manager.close()

    async def test_its_budget_while_it_runs_does_not_end_the_fleet(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        """A shard whose session was lost waits for the next budget; the others go on."""
        sim = propylon_simulator(guilds=0)
        gate = Gate()
        manager = manager_to(sim, shards=2, gate=gate)
        await manager.open(timeout=10)
        resets_at = time.time() + 3.5  # a busy machine has to see it before that
        gate.raises[1] = [IdentifyBudgetExhausted("none left", resets_at)]
        sim.act(steps.invalid_session(False), number_of(sim, 1, 2))
        await eventually(lambda: manager.shards[1].identify_blocked_until is not None, 15)
        assert manager.shards[0].status is READY
        await sim.wait_for("ready", count=3, timeout=20)
        await eventually(lambda: manager.status is READY and gate.balances)
        assert gate.asked(1) == 3
        assert time.time() >= resets_at

    async def test_closing_while_one_waits_for_the_next_budget(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        gate = Gate()
        manager = manager_to(sim, shards=2, gate=gate)
        await manager.open(timeout=10)
        gate.raises[1] = [IdentifyBudgetExhausted("none left", time.time() + 3_600)]
        sim.act(steps.invalid_session(False), number_of(sim, 1, 2))
        await eventually(lambda: manager.shards[1].identify_blocked_until is not None, 15)
        async with asyncio.timeout(5):
            await manager.close()
            await manager.wait_closed()
        await sim.wait_for("open", count=0)


@pytest.mark.asyncio
class TestBudget:
    async def test_at_the_floor_the_opening_is_refused(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0, session_start_remaining=50)
        manager = manager_to(sim, shards=2)
        with pytest.raises(IdentifyBudgetExhausted, match="wait until") as raised:
            await manager.open(timeout=10)
        assert abs(raised.value.resets_at - (time.time() + 86_400)) < 60
        async with asyncio.timeout(5):
            await manager.wait_closed()
        assert identified(sim) == []
        await sim.wait_for("open", count=0)

    async def test_too_few_for_all_is_told_and_no_session_is_thrown_away(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        """Three are left above the floor, and five shards need one each."""
        sim = propylon_simulator(guilds=0, session_start_remaining=53)
        manager = manager_to(sim, shards=5)
        with pytest.raises(IdentifyBudgetExhausted):
            await manager.open(timeout=10)
        async with asyncio.timeout(5):
            await manager.wait_closed()
        assert len(identified(sim)) <= 3

    async def test_a_reshard_that_it_does_not_allow_leaves_all_as_it_is(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0, session_start_remaining=54)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        with pytest.raises(
            IdentifyBudgetExhausted,
            match=r"^4 shards need as many IDENTIFYs, and \d+ are left of 1000 today, of which 50 are never spent: ",
        ) as raised:
            await manager.reshard(4, window=0.05)
        assert raised.value.resets_at > time.time()
        assert (manager.total, manager.status) == (2, READY)
        assert len(identified(sim)) == 2


@pytest.mark.asyncio
class TestFileGate:
    async def test_two_managers_keep_to_its_spacing_and_share_its_budget(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path
    ) -> None:
        spacing = 0.15
        sim = propylon_simulator(guilds=0, max_concurrency=2, identify_interval=0.1)
        # As in two processes: other tokens, so that the gate in this one does not space them.
        managers = [
            manager_to(sim, gate=FileIdentifyGate(tmp_path / "gate.json", spacing=spacing), shards=ids, total=8)
            for ids in (range(4), range(4, 8))
        ]
        await asyncio.gather(*[manager.open(timeout=20) for manager in managers])
        told = sorted(
            (op["ms"], op["payload"]["d"]["shard"][0] % 2)
            for connection in sim.record()["connections"]
            for op in connection["ops"]
            if op["op"] == 2
        )
        assert len(told) == 8
        for bucket in range(2):
            times = [ms for ms, of in told if of == bucket]
            # At the server, however long the way there took: the next one follows the answer.
            assert all(later - sooner > 100 for sooner, later in pairwise(times)), times
        assert manager_identifies(managers) == 8

    async def test_the_spacing_runs_from_the_answer_where_that_takes_long(self, tmp_path: Path) -> None:
        spacing = 0.2
        gates = [FileIdentifyGate(tmp_path / "gate.json", spacing=spacing) for _ in range(2)]
        permit = await gates[0].acquire(0, 1)
        await asyncio.sleep(spacing)
        answered = time.monotonic()
        permit.release()
        (await gates[1].acquire(0, 1)).release()
        assert time.monotonic() - answered >= 0.96 * spacing

    async def test_an_answer_while_the_file_is_changed_is_written_down_after_that(self, tmp_path: Path) -> None:
        path = tmp_path / "gate.json"
        gate = FileIdentifyGate(path, spacing=0.1)
        permit = await gate.acquire(0, 1)
        left = json.loads(path.read_text())["buckets"]["0"]
        changing = take(tmp_path / ".gate.json.lock")
        assert changing is not None
        await asyncio.sleep(0.1)
        permit.release()
        permit.release()
        assert take(tmp_path / ".gate.json.bucket-0.lock") is None, "nobody is let in before it is written down"
        changing.release()
        (await gate.acquire(0, 1)).release()
        assert json.loads(path.read_text())["buckets"]["0"] >= left + 0.1 + 0.96 * 0.1

    async def test_an_answer_that_comes_in_another_loop_is_written_down_there(self, tmp_path: Path) -> None:
        path = tmp_path / "gate.json"
        gate = FileIdentifyGate(path, spacing=0)
        other = asyncio.new_event_loop()
        try:
            permit = await asyncio.to_thread(lambda: other.run_until_complete(gate.acquire(0, 1)))
        finally:
            await asyncio.to_thread(other.close)
        changing = take(tmp_path / ".gate.json.lock")
        assert changing is not None
        permit.release()
        assert take(tmp_path / ".gate.json.bucket-0.lock") is None
        changing.release()
        (await gate.acquire(0, 1)).release()

    async def test_what_is_left_is_known_to_the_next_process(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path
    ) -> None:
        path = tmp_path / "gate.json"
        sim = propylon_simulator(guilds=0, session_start_remaining=52)
        first = manager_to(sim, shards=1, gate=FileIdentifyGate(path, spacing=0))
        await first.open(timeout=10)
        await first.shards[0].restart()
        # The second one has no API to ask, only the file.
        second = manager_to(sim, shards=1, gateway_url=sim.url, gate=FileIdentifyGate(path, spacing=0))
        with pytest.raises(IdentifyBudgetExhausted):
            await second.open(timeout=10)
        assert len(times_of(sim, 2)) == 2

    async def test_a_folder_that_is_not_there(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Path
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=1, gate=FileIdentifyGate(tmp_path / "nowhere" / "gate.json"))
        with pytest.raises(FileNotFoundError, match="make it, or name another"):
            await manager.open(timeout=3)
        await manager.wait_closed()


def manager_identifies(managers: list[ShardManager]) -> int:
    return sum(manager.metrics().identifies for manager in managers)


def test_a_gate_serves_the_next_loop_after_one_that_was_abandoned(propylon_simulator: Start) -> None:
    from face.support import run_and_abandon

    sim = propylon_simulator(guilds=0)
    gate = Gate()
    manager = make_manager(sim, shards=2, gate=gate)
    run_and_abandon(manager.open(timeout=10))

    async def second() -> None:
        async with asyncio.timeout(20), manager:
            sim.act(steps.invalid_session(False), 1)
            await sim.wait_for("ready", count=3, timeout=20)
            await eventually(lambda: manager.status is READY and gate.balances)

    asyncio.run(second())
    assert len(gate.permits) == 3
