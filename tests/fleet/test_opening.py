"""Opening a fleet: side by side, one stuck shard delays no other, one that fails is tried again; and closing it."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from face.support import SHORT, eventually, message
from fleet.support import connections_of, identified, make_manager, number_of, times_of
from propylon import Backoff, CertificateError, Closed, GatewayStatus, NotConnected, ShardManager, Timeouts
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

Start = Callable[..., Simulator]
Make = Callable[..., ShardManager]

READY, CLOSED = GatewayStatus.READY, GatewayStatus.DISCONNECTED
PATIENT: dict[str, Any] = {**SHORT, "timeouts": Timeouts(connect=30, hello=30, ready=30, close=0.5)}


class TestOpen:
    async def test_returns_when_all_are_ready(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=8, max_concurrency=4)
        manager = manager_to(sim, shards=4)
        assert (manager.status, manager.latency, manager.guilds_ready) == (GatewayStatus.UNCONNECTED, None, False)
        await manager.open(timeout=10)
        assert manager.status is READY
        assert [shard.status for shard in manager.shards.values()] == [READY] * 4
        assert sorted(identified(sim)) == [(number, 4) for number in range(4)]
        await manager.wait_guilds_ready(timeout=10)
        assert manager.guilds_ready
        assert [shard.guilds_ready for shard in manager.shards.values()] == [True] * 4
        assert manager.guild_count == sum(shard.guild_count for shard in manager.shards.values()) == 8
        # Nobody asks for what one answer has told to all.
        assert len(sim.record()["api"]) == 1

    async def test_as_fast_as_the_buckets_allow_and_no_faster(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        """Eight shards, four buckets: two rounds; the server answers op 9 to whoever comes too early."""
        sim = propylon_simulator(guilds=0, max_concurrency=4, identify_interval=3.0)
        manager = manager_to(sim, shards=8)
        await manager.open(timeout=20)
        times = times_of(sim, 2)
        assert len(times) == 8
        # One bucket after the other would take 9 s.
        assert times[3] - times[0] < 3, "buckets wait for each other"
        assert times[4] - times[0] > 2.9
        assert manager.metrics().identifies == 8

    async def test_one_without_hello_delays_no_other_and_open_names_it(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=4, identify_interval=0.1, scripts={1: [steps.no_hello()]})
        manager = manager_to(sim, shards=4, **PATIENT)
        with pytest.raises(TimeoutError) as raised:
            await manager.open(timeout=3)
        stuck = {0, 1, 2, 3} - {shard_id for shard_id, _ in identified(sim)}
        assert len(stuck) == 1
        assert str(raised.value) == (
            f"the fleet was not ready within 3 s: 1 of 4 shards are missing: {stuck.pop()} (WAITING_FOR_HELLO)"
        )
        assert manager.status is CLOSED
        await sim.wait_for("open", count=0)
        await manager.wait_closed()

    async def test_one_without_ready_delays_no_other_bucket(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=4, scripts={1: [steps.never_ready()]})
        manager = manager_to(sim, shards=4, **PATIENT)
        opening = asyncio.create_task(manager.open())
        await sim.wait_for("ready", count=3)
        await eventually(lambda: sum(shard.status is READY for shard in manager.shards.values()) == 3)
        await eventually(lambda: manager.status is GatewayStatus.WAITING_FOR_READY)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert manager.status is CLOSED
        await sim.wait_for("open", count=0)

    @pytest.mark.parametrize("total", [30])
    async def test_of_many_that_are_missing_some_are_named(
        self, propylon_simulator: Start, manager_to: Make, total: int
    ) -> None:
        sim = propylon_simulator(guilds=0, scripts={"every": [steps.no_hello()]})
        with pytest.raises(TimeoutError, match=r"30 of 30 shards are missing: 0 \(.*, 19 \([A-Z_]+\) and 10 more$"):
            await manager_to(sim, shards=total).open(timeout=2.5)

    async def test_one_that_fails_is_tried_again_on_its_own(self, propylon_simulator: Start, manager_to: Make) -> None:
        scripts = {
            1: [steps.http_response(503)],
            2: [steps.reset()],
            3: [steps.never_ready(), steps.wait_for_op(2), steps.close(4000)],
        }
        sim = propylon_simulator(guilds=0, max_concurrency=4, scripts=scripts)
        manager = manager_to(sim, shards=4)
        ended: list[Closed] = []
        manager.on_close(ended.append)
        await manager.open(timeout=10)
        assert manager.status is READY
        assert len(sim.record()["connections"]) >= 6
        assert {closed.reconnect for closed in ended} <= {True}

    async def test_one_answered_by_op_9_identifies_again_and_the_others_are_left_alone(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        scripts = {1: [steps.never_ready(), steps.wait_for_op(2), steps.invalid_session(False)]}
        sim = propylon_simulator(guilds=0, max_concurrency=3, scripts=scripts)
        manager = manager_to(sim, shards=3)
        await manager.open(timeout=20)
        assert sorted(metrics.identifies for metrics in manager.metrics(by_shard=True).values()) == [1, 1, 2]

    async def test_an_open_manager_is_not_opened_twice(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        opening = asyncio.create_task(manager.open(timeout=10))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="the manager is open already"):
            await manager.open()
        await opening
        with pytest.raises(RuntimeError, match="open already"):
            await manager.open()
        async with manager as same:
            assert same is manager
            assert manager.status is READY
        assert manager.status is CLOSED
        assert len(sim.record()["connections"]) == 2

    async def test_async_with_opens_and_closes(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        async with manager_to(sim, shards=2) as manager:
            assert manager.status is READY
        await sim.wait_for("open", count=0)
        assert [one["closed"]["code"] for one in sim.record()["connections"]] == [1000, 1000]

    async def test_cancelling_it_closes_all(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0, scripts={"every": [steps.never_ready()]})
        manager = manager_to(sim, shards=3, **PATIENT)
        opening = asyncio.create_task(manager.open())
        await sim.wait_for("connections", count=3)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert manager.status is CLOSED
        await sim.wait_for("open", count=0)

    @pytest.mark.parametrize("turns", range(12))
    async def test_cancelling_it_at_any_moment_leaves_nothing(
        self, propylon_simulator: Start, manager_to: Make, turns: int
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        opening = asyncio.create_task(manager.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening], timeout=5)
        assert opening.cancelled()
        await manager.open(timeout=10)
        await manager.close()
        await sim.wait_for("open", count=0)

    async def test_a_certificate_that_is_refused(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0, tls=True, certificate="expired")
        manager = manager_to(sim, shards=3, gateway_url=sim.url)
        with pytest.raises(CertificateError, match="expired"):
            await manager.open(timeout=10)
        await manager.wait_closed()
        assert manager.status is CLOSED

    async def test_a_certificate_of_the_api_that_is_refused(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0, tls=True, certificate="wrong_host")
        manager = manager_to(sim)
        with pytest.raises(CertificateError):
            await manager.open(timeout=10)
        assert manager.status is GatewayStatus.UNCONNECTED
        await manager.wait_closed()

    async def test_with_tls(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0, tls=True)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        assert [connection["tls"] for connection in sim.record()["connections"]] == [True, True]

    @pytest.mark.parametrize("seconds", [-1, "1", True, float("nan")])
    async def test_a_timeout_that_is_none(self, propylon_simulator: Start, manager_to: Make, seconds: Any) -> None:
        manager = manager_to(propylon_simulator(), shards=2)
        with pytest.raises((ValueError, TypeError), match="timeout"):
            await manager.open(timeout=seconds)
        assert manager.status is GatewayStatus.UNCONNECTED


class TestClose:
    @pytest.mark.parametrize(
        ("arguments", "code", "keeps"),
        [({}, 1000, False), ({"code": 1001, "reason": "Restarting"}, 1001, False), ({"resumable": True}, 4000, True)],
    )
    async def test_the_server_sees_its_code_on_each(
        self, propylon_simulator: Start, manager_to: Make, arguments: Any, code: int, keeps: bool
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        await manager.open(timeout=10)
        await manager.close(**arguments)
        assert manager.status is CLOSED
        assert [one["closed"]["code"] for one in sim.record()["connections"]] == [code] * 3
        assert [one["closed"]["reason"] for one in sim.record()["connections"]] == [arguments.get("reason", "")] * 3
        assert [shard.session is not None for shard in manager.shards.values()] == [keeps] * 3

    @pytest.mark.parametrize("arguments", [{"code": 1005}, {"code": 1000, "resumable": True}, {"reason": "ä" * 62}])
    async def test_what_cannot_be_sent_is_refused(
        self, propylon_simulator: Start, manager_to: Make, arguments: Any
    ) -> None:
        manager = manager_to(propylon_simulator(guilds=0), shards=2)
        await manager.open(timeout=10)
        with pytest.raises(ValueError, match=r"\w"):
            await manager.close(**arguments)
        assert manager.status is READY

    async def test_closing_what_is_not_open_does_nothing(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        await manager.close()
        await manager.wait_closed()
        await manager.open(timeout=10)
        await asyncio.gather(manager.close(), manager.close(code=4000), manager.wait_closed(), manager.close())
        await manager.close()
        assert [one["closed"]["code"] for one in sim.record()["connections"]] == [1000, 1000]

    async def test_it_makes_a_waiting_open_fail(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0, scripts={1: [steps.never_ready()]})
        manager = manager_to(sim, shards=2, **PATIENT)
        opening = asyncio.create_task(manager.open())
        await sim.wait_for("op", op=2)
        await manager.close()
        with pytest.raises(NotConnected, match="closed while it was opening"):
            await opening
        await manager.wait_closed()

    async def test_open_close_and_open_again(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        shards = manager.shards
        for turn in range(3):
            await manager.open(timeout=10)
            assert [shard.status for shard in shards.values()] == [READY, READY]
            await manager.close(resumable=True)
            assert manager.metrics().resumes == 2 * turn
        assert manager.metrics().identifies == 2

    async def test_a_server_that_does_not_answer_holds_it_no_longer_than_its_deadline(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=16, timeouts=Timeouts(close=0.5))
        await manager.open(timeout=10)
        sim.act(steps.stop_reading(), "every")
        started = asyncio.get_running_loop().time()
        await manager.close()
        # All of them at once: one after the other would take 8 s.
        assert 0.4 < asyncio.get_running_loop().time() - started < 4

    async def test_drain_lets_calls_of_all_shards_finish(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        begun: list[int] = []
        finished: list[int] = []

        @manager.listen
        async def on(event: MessageCreate) -> None:
            begun.append(1)
            await asyncio.sleep(0.1)
            finished.append(1)

        await manager.open(timeout=10)
        sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: len(begun) == 3)
        await manager.close(drain=5)
        assert len(finished) == 3
        with pytest.raises(ValueError, match="drain"):
            await manager.close(drain=-1)


class TestOutage:
    async def test_a_network_cut_under_all_is_resumed_by_all_spread_and_without_an_identify(
        self, propylon_simulator: Start, manager_to: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # 2.4 s for the 24: a machine that stops for a while must not make one moment of it.
        monkeypatch.setattr("propylon._fleet.making._BETWEEN_STARTS", 0.1)
        sim = propylon_simulator(guilds=0, max_concurrency=16)
        manager = manager_to(sim, shards=24)
        await manager.open(timeout=20)
        asked = len(sim.record()["api"])
        sim.act(steps.reset(), "every")
        await sim.wait_for("resumed", count=24)
        await eventually(lambda: manager.status is READY and manager.metrics().resumes >= 24)
        assert (manager.metrics().identifies, manager.metrics().resumes) == (24, 24)
        times = times_of(sim, 6)
        # In one moment they would come within a few milliseconds.
        assert times[-1] - times[0] > 0.03
        assert len(sim.record()["api"]) == asked
        assert [len(of) for of in connections_of(sim).values()] == [2] * 24

    async def test_each_backs_off_by_itself_while_nothing_can_be_reached(
        self, propylon_simulator: Start, manager_to: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=4)
        manager = manager_to(sim, shards=4)
        await manager.open(timeout=10)
        sim.act(steps.stop_listening())
        sim.act(steps.reset(), "every")
        with caplog.at_level(logging.WARNING):
            for shard_id in range(4):
                await eventually(lambda shard_id=shard_id: caplog.text.count(f"shard {shard_id}: no connection") >= 2)
        sim.act(steps.listen())
        await sim.wait_for("resumed", count=4)
        await eventually(lambda: manager.status is READY)
        assert manager.metrics().identifies == 4

    async def test_half_is_resumed_and_half_is_not(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=4)
        manager = manager_to(sim, shards=4)
        await manager.open(timeout=10)
        # The next two connections, whosever they are, get op 9 for their RESUME.
        for _ in range(2):
            sim.script("next", steps.refuse_resume())
        sim.act(steps.reset(), "every")
        await sim.wait_for("resumed", count=2)
        await sim.wait_for("ready", count=6, timeout=20)
        await eventually(lambda: manager.status is READY and manager.metrics().resumes >= 2)
        metrics = manager.metrics(by_shard=True).values()
        assert sorted(one.identifies for one in metrics) == [1, 1, 2, 2]
        assert manager.metrics().resumes == 2

    async def test_one_that_is_cut_leaves_the_others_alone(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        await manager.open(timeout=10)
        sim.act(steps.reset(), number_of(sim, 1, 3))
        await sim.wait_for("resumed")
        await eventually(lambda: manager.status is READY)
        assert [metrics.reconnects for metrics in manager.metrics(by_shard=True).values()] == [0, 1, 0]

    async def test_a_backoff_of_one_shard_is_no_others(self, propylon_simulator: Start, manager_to: Make) -> None:
        """One connection after another of the same shard fails; the others neither wait nor reconnect."""
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3, backoff=Backoff(base=0.02, cap=0.1, reset_after=5))
        await manager.open(timeout=10)
        for _ in range(4):
            sim.script("next", steps.http_response(500))
        sim.act(steps.reset(), number_of(sim, 2, 3))
        await sim.wait_for("resumed")
        await eventually(lambda: manager.status is READY)
        assert [metrics.reconnects for metrics in manager.metrics(by_shard=True).values()][:2] == [0, 0]
        assert len(sim.record()["connections"]) == 8


async def test_two_managers_in_one_loop(propylon_simulator: Start, manager_to: Make) -> None:
    sims = [propylon_simulator(guilds=0, seed=number) for number in range(2)]
    first, second = (manager_to(sim, shards=2) for sim in sims)
    heard: dict[ShardManager, list[int]] = {first: [], second: []}
    for manager, calls in heard.items():
        manager.listen(MessageCreate)(lambda event, calls=calls: calls.append(1))
    await asyncio.gather(first.open(timeout=10), second.open(timeout=10))
    for sim in sims:
        sim.dispatch("MESSAGE_CREATE", message())
    # Neither is deaf because the other one has asked how many shards there should be at the same moment.
    await eventually(lambda: [len(calls) for calls in heard.values()] == [2, 2])
    assert first.shards[0] != second.shards[0]
    await first.close()
    assert second.status is READY
    sims[1].act(steps.reset(), "every")
    await sims[1].wait_for("resumed", count=2)
    await eventually(lambda: second.status is READY)
    assert first.status is CLOSED


async def test_run_refuses_a_running_loop(propylon_simulator: Start) -> None:
    with pytest.raises(RuntimeError, match=r"await manager\.serve\(\)"):
        make_manager(propylon_simulator()).run()
