"""Ends: one shard that is refused ends the fleet with one error, one that is closed does not; restart and resume."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from fleet.support import connections_of, number_of, world_on
from propylon import (
    AuthenticationFailed,
    Closed,
    DisallowedIntents,
    GatewayClosed,
    GatewayStatus,
    InvalidApiVersion,
    InvalidIntents,
    InvalidShard,
    NotConnected,
    ShardingRequired,
    ShardManager,
)
from propylon.events import MessageCreate, ShardClosed, ShardReady, ShardResumed
from propylon.testing import Simulator, steps

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

Start = Callable[..., Simulator]
Make = Callable[..., ShardManager]

READY, CLOSED = GatewayStatus.READY, GatewayStatus.DISCONNECTED
FATAL: dict[int, type[GatewayClosed]] = {
    4004: AuthenticationFailed,
    4010: InvalidShard,
    4011: ShardingRequired,
    4012: InvalidApiVersion,
    4013: InvalidIntents,
    4014: DisallowedIntents,
}


class TestFatal:
    @pytest.mark.parametrize("code", FATAL)
    async def test_open_raises_it_once_and_the_others_are_closed(
        self, propylon_simulator: Start, manager_to: Make, code: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        script = [steps.never_ready(), steps.wait_for_op(2), steps.close(code, "no way")]
        sim = propylon_simulator(guilds=0, max_concurrency=3, scripts={2: script})
        manager = manager_to(sim, shards=3)
        with pytest.raises(FATAL[code]) as raised:
            await manager.open(timeout=10)
        assert type(raised.value) is FATAL[code]
        assert (raised.value.code, raised.value.reason) == (code, "no way")
        async with asyncio.timeout(5):
            await manager.wait_closed()  # it has been told
        assert manager.status is CLOSED
        await sim.wait_for("open", count=0)
        # Nobody tries again.
        assert len(sim.record()["connections"]) <= 3
        assert "never retrieved" not in caplog.text

    @pytest.mark.parametrize("code", FATAL)
    async def test_wait_closed_raises_it_once_and_the_others_are_closed(
        self, propylon_simulator: Start, manager_to: Make, code: int
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        await manager.open(timeout=10)
        waiting = [asyncio.create_task(manager.wait_for(MessageCreate)), asyncio.create_task(manager.wait_closed())]
        await asyncio.sleep(0)
        sim.act(steps.close(code), number_of(sim, 1, 3))
        async with asyncio.timeout(5):
            results = await asyncio.gather(*waiting, return_exceptions=True)
        assert type(results[1]) is FATAL[code]
        # Those who wait for an event are told why none comes.
        assert isinstance(results[0], (NotConnected, FATAL[code]))
        await manager.wait_closed()
        await manager.close()
        assert manager.status is CLOSED
        await sim.wait_for("open", count=0)
        codes = [connection["closed"]["code"] for connection in sim.record()["connections"]]
        assert sorted(codes, key=str) == sorted([1000, 1000, code], key=str)

    async def test_with_a_store_the_others_keep_their_sessions(
        self, propylon_simulator: Start, manager_to: Make, tmp_path: Any
    ) -> None:
        from propylon import FileSessionStore

        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3, sessions=FileSessionStore(tmp_path / "sessions.json"))
        await manager.open(timeout=10)
        sim.act(steps.close(4004), number_of(sim, 1, 3))
        with pytest.raises(AuthenticationFailed):
            await manager.wait_closed()
        assert [shard.session is not None for shard in manager.shards.values()] == [True, False, True]

    async def test_several_at_once_are_one_error(
        self, propylon_simulator: Start, manager_to: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        sim = propylon_simulator(token="another", guilds=0, max_concurrency=4)
        manager = manager_to(sim, shards=4, gateway_url=sim.url)
        with pytest.raises(AuthenticationFailed):
            await manager.open(timeout=20)
        await manager.wait_closed()
        assert "never retrieved" not in caplog.text

    async def test_a_token_that_the_api_refuses(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(token="another")
        manager = manager_to(sim)
        with pytest.raises(AuthenticationFailed) as raised:
            await manager.open(timeout=10)
        assert raised.value.code is None
        await manager.wait_closed()
        assert sim.record()["connections"] == []

    async def test_who_asks_late_hears_it_too(
        self, propylon_simulator: Start, manager_to: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        sim.act(steps.close(4014))
        await eventually(lambda: manager.status is CLOSED and "the fleet has ended" in caplog.text)
        assert [record.levelno for record in caplog.records if "has ended" in record.getMessage()] == [logging.ERROR]
        with pytest.raises(DisallowedIntents):
            await manager.wait_closed()
        await manager.wait_closed()

    async def test_it_is_opened_again_after_one(self, propylon_simulator: Start, manager_to: Make) -> None:
        script = [steps.never_ready(), steps.wait_for_op(2), steps.close(4004)]
        sim = propylon_simulator(guilds=0, scripts={1: script})
        manager = manager_to(sim, shards=2)
        with pytest.raises(AuthenticationFailed):
            await manager.open(timeout=10)
        await manager.open(timeout=10)
        assert manager.status is READY

    async def test_with_auto_reconnect_off_a_lost_connection_ends_the_fleet(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3, auto_reconnect=False)
        await manager.open(timeout=10)
        sim.act(steps.reset(), 2)
        with pytest.raises(GatewayClosed, match="auto_reconnect=False"):
            await manager.wait_closed()
        await sim.wait_for("open", count=0)


class TestOnClose:
    async def test_it_hears_of_each_shard_and_which(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        heard: list[tuple[Closed, ShardManager]] = []

        @manager.on_close
        async def on_close(closed: Closed, manager: ShardManager) -> None:
            await asyncio.sleep(0)
            heard.append((closed, manager))

        await manager.open(timeout=10)
        sim.act(steps.close(4000, "bye"), number_of(sim, 2, 3))
        await sim.wait_for("resumed")
        await eventually(lambda: heard)
        assert [(closed.shard, closed.code, closed.reason, closed.reconnect) for closed, _ in heard] == [
            ((2, 3), 4000, "bye", True)
        ]
        assert heard[0][1] is manager
        await manager.close()
        # The end waits for the handlers.
        assert sorted(closed.shard or (9, 9) for closed, _ in heard[1:]) == [(0, 3), (1, 3), (2, 3)]

    async def test_false_for_one_shard_ends_that_shard(self, propylon_simulator: Start, manager_to: Make) -> None:
        """The others go on; when the last one is closed, the fleet ends with the error."""
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)

        @manager.on_close
        def on_close(closed: Closed) -> object:
            return False if closed.shard == (1, 3) else None

        await manager.open(timeout=10)
        sim.act(steps.reset(), number_of(sim, 0, 3))
        await sim.wait_for("resumed")
        await eventually(lambda: manager.status is READY)
        sim.act(steps.reset(), number_of(sim, 1, 3))
        await eventually(lambda: manager.shards[1].status is CLOSED)
        assert [manager.shards[number].status for number in (0, 2)] == [READY, READY]
        for number in (0, 2):
            await manager.shards[number].close()
        with pytest.raises(GatewayClosed, match="on_close handler that returned False"):
            async with asyncio.timeout(5):
                await manager.wait_closed()
        # While the answer of the handler is on its way, shard 1 may have resumed; then it is closed again.
        numbers = {shard: len(of) for shard, of in connections_of(sim).items()}
        assert (numbers[0, 3], numbers[2, 3]) == (2, 1)
        assert numbers[1, 3] <= 2

    async def test_it_may_close_the_manager_but_not_wait_for_the_end(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        told: list[str] = []

        @manager.on_close
        async def on_close(closed: Closed) -> None:
            if told:
                return
            try:
                await manager.wait_closed()
            except RuntimeError as error:
                told.append(str(error))
            await manager.close()

        await manager.open(timeout=10)
        sim.act(steps.reset(), 1)
        async with asyncio.timeout(5):
            await manager.wait_closed()
        assert "cannot wait for the end" in told[0]
        assert manager.status is CLOSED

    async def test_a_listener_may_close_the_manager(self, propylon_simulator: Start, manager_to: Make) -> None:
        from face.support import message

        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)

        @manager.listen
        async def on_message(_: MessageCreate) -> None:
            await manager.close(drain=10)

        await manager.open(timeout=10)
        sim.dispatch("MESSAGE_CREATE", message())
        async with asyncio.timeout(5):
            await manager.wait_closed()


class TestOneShard:
    async def test_closed_it_ends_its_session_and_the_others_go_on(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        await manager.open(timeout=10)
        await manager.shards[1].close()
        await manager.shards[1].close()
        assert [shard.status for shard in manager.shards.values()] == [READY, CLOSED, READY]
        assert manager.status is CLOSED, "the worst"
        assert manager.shards[1].session is None
        await sim.wait_for("open", count=2)
        with pytest.raises(NotConnected):
            await manager.send(31, {"guild_ids": ["1"]}, shard_id=1)
        await manager.send(31, {"guild_ids": ["1"]}, shard_id=0)

    async def test_when_the_last_is_closed_so_is_the_manager(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        await manager.open(timeout=10)
        waiting = asyncio.create_task(manager.wait_closed())
        for shard in list(manager.shards.values())[:2]:
            await shard.close()
        await asyncio.sleep(0)
        assert not waiting.done()
        await manager.shards[2].close()
        async with asyncio.timeout(5):
            await waiting
        await manager.open(timeout=10)
        assert manager.status is READY

    async def test_restarted_it_identifies_anew(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=4)
        manager = manager_to(sim, shards=2)
        heard: list[ShardReady | ShardResumed | ShardClosed] = []
        await manager.open(timeout=10)
        manager.listen(ShardReady | ShardResumed | ShardClosed)(heard.append)
        before = manager.shards[1].session
        assert before is not None
        async with asyncio.timeout(10):
            await manager.shards[1].restart()
        after = manager.shards[1].session
        assert after is not None
        assert before.id != after.id
        assert manager.status is READY
        assert [metrics.identifies for metrics in manager.metrics(by_shard=True).values()] == [1, 2]
        await eventually(lambda: len(heard) == 2)
        assert [type(event) for event in heard] == [ShardClosed, ShardReady]
        assert {event.shard_id for event in heard} == {1}

    async def test_resumed_it_goes_on_with_its_session(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        before = manager.shards[0].session
        assert before is not None
        async with asyncio.timeout(10):
            await manager.shards[0].resume()
        after = manager.shards[0].session
        assert after is not None
        assert before.id == after.id
        assert (manager.metrics().identifies, manager.metrics().resumes) == (2, 1)

    async def test_one_that_was_closed_is_restarted(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        await manager.shards[0].close()
        await manager.shards[0].restart()
        assert manager.status is READY
        await manager.close()
        await sim.wait_for("open", count=0)

    async def test_the_only_one_is_restarted_and_the_manager_does_not_end(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=1)
        await manager.open(timeout=10)
        waiting = asyncio.create_task(manager.wait_closed())
        for again in (manager.shards[0].restart, manager.shards[0].resume):
            await again()
        assert not waiting.done()
        await manager.close()
        await waiting

    async def test_the_manager_is_closed_while_one_is_restarted(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        sim.script("next", steps.never_ready())
        restarting = asyncio.create_task(manager.shards[0].restart())
        await sim.wait_for("connections", count=3)
        async with asyncio.timeout(5):
            await manager.close()
            with pytest.raises(NotConnected):
                await restarting
        assert manager.status is CLOSED
        await sim.wait_for("open", count=0)

    async def test_two_restarts_of_one_shard_at_once(self, propylon_simulator: Start, manager_to: Make) -> None:
        """The second either waits for the first or is told; the shard is ready in the end, and no task hangs."""
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        both = [manager.shards[0].restart(), manager.shards[0].restart()]
        async with asyncio.timeout(10):
            results = await asyncio.gather(*both, return_exceptions=True)
        assert [result for result in results if result is not None] in (
            [],
            [result for result in results if isinstance(result, (NotConnected, RuntimeError))],
        )
        await eventually(lambda: manager.status is READY)
        await manager.close()
        await sim.wait_for("open", count=0)

    async def test_cancelling_a_restart_leaves_the_fleet_usable(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        sim.script("next", steps.never_ready())
        restarting = asyncio.create_task(manager.shards[0].restart())
        await sim.wait_for("connections", count=3)
        restarting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await restarting
        assert manager.shards[1].status is READY
        await manager.shards[0].restart()
        assert manager.status is READY

    async def test_a_restart_that_is_refused_ends_the_fleet(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        sim.script("next", steps.never_ready(), steps.wait_for_op(2), steps.close(4014))
        with pytest.raises(DisallowedIntents):
            async with asyncio.timeout(5):
                await manager.shards[0].restart()
        # Whoever restarted it was told; a shard that stays closed for good must not stay unnoticed.
        async with asyncio.timeout(5):
            with pytest.raises(DisallowedIntents):
                await manager.wait_closed()

    async def test_what_a_shard_tells(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=4)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        await manager.wait_guilds_ready(timeout=10)
        sim.act(steps.request_heartbeats(), "every")
        await eventually(lambda: all(shard.latency is not None for shard in manager.shards.values()))
        for shard_id, shard in manager.shards.items():
            assert shard.shard == (shard_id, 2)
            assert repr(shard) == f"<ManagedShard {shard_id} of 2 READY>"
            assert shard.session is not None
            assert shard.session.shard == (shard_id, 2)
            assert 0 < (shard.latency or 0) < 10
            assert shard.metrics().identifies == 1
            assert shard.rate_limit.remaining > 0
            assert shard.identify_blocked_until is None
            assert (shard.guild_count, shard.guilds_ready) == (2, True)
            assert shard == manager.shards[shard_id]
            assert hash(shard) == hash(manager.shards[shard_id])
        assert manager.shards[0] != manager.shards[1]
        assert world_on(0, 2) >> 22 & 1 == 0
