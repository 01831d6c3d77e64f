"""Another number of shards takes over while the bot runs: nothing is lost, nothing comes twice, nobody is forgotten.

Over 500 lines because all of it is one call, and what may happen while it runs.
"""

import asyncio
import collections
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from face.support import eventually, message
from fleet.support import balances, guild_on, identified, make_manager, say, worlds_guild
from propylon import (
    AuthenticationFailed,
    Closed,
    Dispatch,
    GatewayStatus,
    Intents,
    InvalidShard,
    NotConnected,
    ShardManager,
)
from propylon.events import FleetReady, GuildCreate, MessageCreate, Ready, Resharded, ShardClosed, ShardReady
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.timeout(60)

Start = Callable[..., Simulator]
Make = Callable[..., ShardManager]

READY, CLOSED = GatewayStatus.READY, GatewayStatus.DISCONNECTED
QUICK: dict[str, Any] = {"max_concurrency": 8}
WINDOW = 0.1


class Account:
    """How often each message was heard, by its content."""

    def __init__(self, manager: ShardManager) -> None:
        self.heard: collections.Counter[str] = collections.Counter()
        self.order: list[tuple[int, str]] = []
        manager.listen(MessageCreate)(self.hear)

    def hear(self, event: MessageCreate, dispatch: Dispatch[Any]) -> None:
        self.heard[event.content] += 1
        self.order.append((dispatch.shard_id, event.content))


class Shared:
    """What was heard of the simulator's shared traffic: each guild counts its events."""

    def __init__(self, sim: Simulator, manager: ShardManager) -> None:
        self.sim = sim
        self.heard: list[str] = []
        manager.listen(MessageCreate)(lambda event: self.heard.append(str(event.nonce)))

    @property
    def made(self) -> int:
        return int(self.sim.fleet()["shared"]["made"])

    def check(self) -> None:
        """Each was heard once."""
        counts = self.sim.record(payloads=False)["shared"]["guilds"]
        expected = {f"{guild}:{number}" for guild, count in enumerate(counts) for number in range(1, count + 1)}
        counted = collections.Counter(self.heard)
        assert {text: count for text, count in counted.items() if count > 1} == {}, "twice"
        assert expected - counted.keys() == set(), "lost"
        assert counted.keys() - expected == set()


@asynccontextmanager
async def traffic(sim: Simulator, rate: float) -> AsyncIterator[None]:
    sim.flood_shared(rate=rate)
    try:
        yield
    finally:
        sim.flood_shared(False)


@pytest.mark.asyncio
class TestReshard:
    @pytest.mark.parametrize(("before", "after"), [(2, 4), (4, 2), (3, 5), (1, 2), (4, 1)])
    async def test_the_new_shards_take_over(
        self, lively_simulator: Start, manager_to: Make, before: int, after: int
    ) -> None:
        sim = lively_simulator(guilds=10, **QUICK)
        manager = manager_to(sim, shards=before)
        heard: list[Any] = []
        manager.listen(Resharded | ShardReady | ShardClosed | FleetReady | Ready | GuildCreate)(heard.append)
        await manager.open(timeout=10)
        await manager.wait_guilds_ready(timeout=10)
        await eventually(lambda: any(isinstance(event, FleetReady) for event in heard))
        heard.clear()
        async with asyncio.timeout(10):
            await manager.reshard(after, window=WINDOW)
        assert (manager.total, list(manager.shards), manager.status) == (after, list(range(after)), READY)
        assert manager.guild_count == 10
        assert manager.guilds_ready
        await sim.wait_for("open", count=after)
        # READY and GUILD_CREATE of the new ones are behind the scenes, and so is their coming.
        await eventually(lambda: heard)
        assert [type(event) for event in heard] == [Resharded]
        assert (heard[0].shard_ids, heard[0].shard_count, heard[0].before) == (tuple(range(after)), after, before)
        assert sorted(identified(sim)) == sorted(
            [(number, before) for number in range(before)] + [(number, after) for number in range(after)]
        )
        codes = [
            connection["closed"] and (connection["closed"]["code"], connection["closed"]["reason"])
            for connection in sim.record(payloads=False)["connections"]
        ]
        assert codes == [(1000, "resharded")] * before + [None] * after
        metrics = manager.metrics()
        assert balances(metrics)
        assert metrics.identifies == before + after

    async def test_nothing_is_lost_and_nothing_comes_twice_under_traffic(
        self, lively_simulator: Start, manager_to: Make
    ) -> None:
        sim = lively_simulator(guilds=24, **QUICK)
        manager = manager_to(sim, shards=2)
        shared = Shared(sim, manager)
        await manager.open(timeout=10)
        async with traffic(sim, 400):
            for total in (4, 3):
                # As late as a busy machine brings the same event on one connection and on the other.
                await manager.reshard(total, window=1.5)
            made = shared.made
            await eventually(lambda: shared.made > made + 50)
        await eventually(lambda: len(shared.heard) >= shared.made)
        await eventually(lambda: manager.metrics().queued == 0)
        shared.check()
        metrics = manager.metrics()
        assert balances(metrics)
        assert metrics.overlapped > 0

    async def test_connections_that_are_cut_meanwhile_change_nothing_of_that(
        self, lively_simulator: Start, manager_to: Make
    ) -> None:
        sim = lively_simulator(guilds=24, **QUICK)
        manager = manager_to(sim, shards=2)
        shared = Shared(sim, manager)
        await manager.open(timeout=10)

        async def cut() -> None:
            turn = 0
            while True:
                turn += 1
                await sim.wait_for("dispatched", count=100 * turn)
                for options in ({"shard": 0, "shard_count": 2}, {"shard": 1, "shard_count": 4}):
                    try:
                        sim.act(steps.reset(), **options)
                    except RuntimeError:  # none of these at the moment
                        continue

        async with traffic(sim, 400):
            cutting = asyncio.create_task(cut())
            await manager.reshard(4, window=1.5)
            cutting.cancel()
        await eventually(lambda: len(shared.heard) >= shared.made)
        shared.check()
        assert manager.metrics().resumes > 0

    async def test_the_same_bytes_are_handed_out_as_often_as_they_were_sent(
        self, lively_simulator: Start, manager_to: Make
    ) -> None:
        sim = lively_simulator(guilds=0, **QUICK)
        manager = manager_to(sim, shards=2)
        account = Account(manager)
        await manager.open(timeout=10)
        guild = guild_on(1, 4)
        resharding = asyncio.create_task(manager.reshard(4, window=4.0))
        sent = 0
        while not resharding.done():
            for _ in range(5):
                sim.dispatch("MESSAGE_CREATE", message("the same", guild_id=str(guild)), guild_id=guild)
                sent += 1
            # Far longer than the engine takes for a lull, in which a count of the same bytes is sure of itself.
            await asyncio.wait([resharding], timeout=1.0)
        await resharding
        await eventually(lambda: account.heard["the same"] >= sent)
        await eventually(lambda: manager.metrics().queued == 0)
        # In more than one round, however few a busy machine comes to.
        assert account.heard["the same"] == sent > 5

    async def test_none_of_the_new_ones_is_heard_before_all_are_there(
        self, lively_simulator: Start, manager_to: Make
    ) -> None:
        """One of them does not get its READY: the old ones go on, as if nothing were."""
        sim = lively_simulator(guilds=0, **QUICK)
        manager = manager_to(sim, shards=2)
        account = Account(manager)
        await manager.open(timeout=10)
        sim.script("next", steps.never_ready())
        resharding = asyncio.create_task(manager.reshard(4, window=WINDOW))
        await sim.wait_for("ready", count=5)
        guild = guild_on(0, 4)
        sent = [sim.dispatch("MESSAGE_CREATE", message(str(n), guild_id=str(guild)), guild_id=guild) for n in range(20)]
        assert max(sent) <= 2
        await eventually(lambda: len(account.heard) == 20)
        assert manager.total == 2
        assert {shard for shard, _ in account.order} == {0}
        assert [content for _, content in account.order] == [str(number) for number in range(20)]
        assert not resharding.done()
        resharding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await resharding
        assert max(account.heard.values()) == 1

    async def test_waits_streams_and_requests_of_before_are_answered_after(
        self, lively_simulator: Start, manager_to: Make
    ) -> None:
        sim = lively_simulator(guilds=8, **QUICK)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        guild = guild_on(3, 4)
        waiting = asyncio.create_task(
            manager.wait_for(MessageCreate, where=lambda event: event.content == "the one", timeout=30)
        )
        collecting = asyncio.create_task(manager.collect(MessageCreate, count=2, timeout=30))
        async with manager.stream(MessageCreate) as stream:
            await manager.reshard(4, window=WINDOW)
            for content in ("another", "the one"):
                sim.dispatch("MESSAGE_CREATE", message(content, guild_id=str(guild)), guild_id=guild)
            assert (await waiting).content == "the one"
            assert [event.content for event in await collecting] == ["another", "the one"]
            assert [(await anext(stream)).content for _ in range(2)] == ["another", "the one"]

    async def test_a_request_under_way_is_answered_by_the_shard_that_was_asked(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=8, max_concurrency=8)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        theirs = guild_on(1, 2)
        sim.act(steps.manual(), shard=1, shard_count=2)
        asking = asyncio.create_task(manager.request_soundboard_sounds([theirs], timeout=20))
        await sim.wait_for("op", op=31)
        resharding = asyncio.create_task(manager.reshard(4, window=WINDOW))
        await eventually(lambda: manager.total == 4)
        # A sign of life of all; the old shard waits for the answer nevertheless.
        sim.dispatch("MESSAGE_CREATE", message())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(resharding), 0.5)
        sim.dispatch("SOUNDBOARD_SOUNDS", {"guild_id": str(theirs), "soundboard_sounds": []}, guild_id=theirs)
        assert [answer.guild_id for answer in await asking] == [theirs]
        async with asyncio.timeout(10):
            await resharding

    async def test_members_of_a_request_of_before_all_come(self, lively_simulator: Start, manager_to: Make) -> None:
        sim = lively_simulator(guilds=4, members=2_500, **QUICK)
        manager = manager_to(sim, shards=1)
        await manager.open(timeout=10)
        request = manager.request_members(worlds_guild(2), timeout=20)
        both = asyncio.gather(request, manager.reshard(2, window=WINDOW))
        async with asyncio.timeout(20):
            members, _ = await both
        assert len(members) == 2_500

    async def test_commands_go_to_the_new_shards(self, lively_simulator: Start, manager_to: Make) -> None:
        sim = lively_simulator(guilds=8, **QUICK)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        await manager.reshard(4, window=WINDOW)
        guild = worlds_guild(3)
        members = await manager.request_members(guild, query="")
        assert members is not None
        asked = [
            connection for connection in sim.record()["connections"] if any(op["op"] == 8 for op in connection["ops"])
        ]
        (identify,) = [op for op in asked[0]["ops"] if op["op"] == 2]
        assert identify["payload"]["d"]["shard"] == [(guild >> 22) % 4, 4]

    async def test_a_presence_of_meanwhile_is_theirs_too(self, lively_simulator: Start, manager_to: Make) -> None:
        from propylon import Presence

        sim = lively_simulator(guilds=0, **QUICK)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        await manager.set_presence(lambda shard_id: Presence(status="idle" if shard_id else "dnd"))
        await manager.reshard(3, window=WINDOW)
        presences = {
            tuple(op["payload"]["d"]["shard"]): op["payload"]["d"].get("presence", {}).get("status")
            for connection in sim.record()["connections"]
            for op in connection["ops"]
            if op["op"] == 2
        }
        assert [presences[number, 3] for number in range(3)] == ["dnd", "idle", "idle"]

    async def test_after_it_all_is_as_ever(self, lively_simulator: Start, manager_to: Make) -> None:
        """Cut, resumed, restarted, closed and opened again with the new number."""
        sim = lively_simulator(guilds=4, **QUICK)
        manager = manager_to(sim, shards=2)
        account = Account(manager)
        await manager.open(timeout=10)
        await manager.reshard(3, window=WINDOW)
        sim.act(steps.reset(), "every")
        await sim.wait_for("resumed", count=3)
        await eventually(lambda: manager.status is READY)
        await manager.shards[2].restart()
        guild = guild_on(2, 3)
        for number in range(30):
            sim.dispatch("MESSAGE_CREATE", message(str(number), guild_id=str(guild)), guild_id=guild)
        await eventually(lambda: len(account.order) == 30)
        assert account.order == [(2, str(number)) for number in range(30)]
        await manager.close()
        await sim.wait_for("open", count=0)

    async def test_those_of_one_process_of_two(self, lively_simulator: Start, manager_to: Make) -> None:
        sim = lively_simulator(guilds=8, **QUICK)
        manager = manager_to(sim, shards=[0], total=2)
        await manager.open(timeout=10)
        with pytest.raises(ValueError, match=r"this process has 1 of 2 shards: say which of the new ones are its own"):
            await manager.reshard(4)
        async with asyncio.timeout(10):
            await manager.reshard(4, shards=[0, 2], window=WINDOW)
        assert (manager.total, list(manager.shards)) == (4, [0, 2])

    async def test_without_a_total_it_takes_what_is_recommended(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=4, shards=5, heartbeat_interval=1.0, max_concurrency=2)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        await manager.reshard(window=WINDOW)
        assert manager.total == 6, "a multiple of max_concurrency"

    @pytest.mark.parametrize("window", [-1, "2", float("nan"), True])
    async def test_a_window_that_is_none(self, propylon_simulator: Start, manager_to: Make, window: Any) -> None:
        manager = manager_to(propylon_simulator(guilds=0), shards=1)
        await manager.open(timeout=10)
        with pytest.raises((ValueError, TypeError), match="window"):
            await manager.reshard(2, window=window)
        assert manager.total == 1

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"total": 2}, "there are 2 shards already"),
            ({"total": 0}, "total must be 1 to 65,536"),
            ({"total": 4, "shards": [5]}, "the last one is 3"),
            ({"total": 4, "shards": []}, "shards is empty"),
        ],
    )
    async def test_wrong_totals(self, propylon_simulator: Start, manager_to: Make, arguments: Any, text: str) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        with pytest.raises(ValueError, match=text):
            await manager.reshard(**arguments)
        assert (manager.total, manager.status) == (2, READY)
        assert len(sim.record()["connections"]) == 2

    async def test_with_a_store_the_new_sessions_are_resumed_by_the_next_process(
        self, lively_simulator: Start, manager_to: Make, tmp_path: Any
    ) -> None:
        from propylon import FileSessionStore

        sim = lively_simulator(guilds=0, **QUICK)
        store = FileSessionStore(tmp_path / "sessions.json")
        first = manager_to(sim, sessions=store, token="resharded-token", shards=2)
        await first.open(timeout=10)
        await first.reshard(4, window=WINDOW)
        await first.close()
        second = manager_to(sim, sessions=store, token="resharded-token", shards=4)
        await second.open(timeout=10)
        assert (second.metrics().identifies, second.metrics().resumes) == (0, 4)


@pytest.mark.asyncio
class TestTrouble:
    async def test_while_it_is_being_resharded(self, lively_simulator: Start, manager_to: Make) -> None:
        sim = lively_simulator(guilds=0, **QUICK)
        manager = manager_to(sim, shards=1)
        await manager.open(timeout=10)
        first = asyncio.create_task(manager.reshard(2, window=WINDOW))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="being resharded already; wait for that"):
            await manager.reshard(3)
        await first
        await manager.reshard(3, window=WINDOW)
        assert manager.total == 3

    @pytest.mark.parametrize("when", ["before READY", "in the window", "at once"])
    async def test_closing_ends_it(self, lively_simulator: Start, manager_to: Make, when: str) -> None:
        sim = lively_simulator(guilds=0, **QUICK)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        if when == "before READY":
            sim.script("next", steps.never_ready())
        resharding = asyncio.create_task(manager.reshard(4, window=60.0 if when == "in the window" else WINDOW))
        if when == "at once":
            await asyncio.sleep(0)
        else:
            await sim.wait_for("ready", count=5 if when == "before READY" else 6)
        async with asyncio.timeout(5):
            await manager.close()
            with pytest.raises(NotConnected):
                await resharding
            await manager.wait_closed()
        assert manager.status is CLOSED
        await sim.wait_for("open", count=0)
        await manager.open(timeout=10)

    async def test_closing_after_the_switch_closes_both(self, propylon_simulator: Start, manager_to: Make) -> None:
        """No heartbeat comes: the old shards wait for a sign of life."""
        sim = propylon_simulator(guilds=0, max_concurrency=8)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        resharding = asyncio.create_task(manager.reshard(4, window=WINDOW))
        await eventually(lambda: manager.total == 4)
        assert not resharding.done()
        async with asyncio.timeout(5):
            await manager.close()
            await asyncio.wait([resharding])
        await sim.wait_for("open", count=0)
        assert manager.status is CLOSED

    @pytest.mark.parametrize("switched", [False, True], ids=["before the switch", "after it"])
    async def test_cancelling_it_leaves_one_fleet(
        self, propylon_simulator: Start, manager_to: Make, switched: bool
    ) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=8)
        manager = manager_to(sim, shards=2)
        account = Account(manager)
        await manager.open(timeout=10)
        if not switched:
            sim.script("next", steps.never_ready())
        resharding = asyncio.create_task(manager.reshard(4, window=WINDOW))
        if switched:
            await eventually(lambda: manager.total == 4)
        else:
            await sim.wait_for("ready", count=5)
        resharding.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await resharding
        total = 4 if switched else 2
        assert (manager.total, manager.status) == (total, READY)
        await sim.wait_for("open", count=total)
        guild = guild_on(1, 4)
        for number in range(10):
            sim.dispatch("MESSAGE_CREATE", message(str(number), guild_id=str(guild)), guild_id=guild)
        await eventually(lambda: len(account.order) >= 10)
        assert account.heard == collections.Counter(map(str, range(10)))

    @pytest.mark.parametrize("code", [4004, 4010, 4014])
    async def test_a_new_shard_that_is_refused_leaves_the_old_ones(
        self, lively_simulator: Start, manager_to: Make, code: int
    ) -> None:
        kinds = {4004: AuthenticationFailed, 4010: InvalidShard}
        sim = lively_simulator(guilds=0, **QUICK)
        manager = manager_to(sim, shards=2)
        account = Account(manager)
        await manager.open(timeout=10)
        sim.script("next", steps.never_ready(), steps.wait_for_op(2), steps.close(code))
        async with asyncio.timeout(5):
            with pytest.raises(kinds.get(code, Exception)):
                await manager.reshard(4, window=WINDOW)
        assert (manager.total, manager.status) == (2, READY)
        await sim.wait_for("open", count=2)
        sim.dispatch("MESSAGE_CREATE", message("still"))
        await eventually(lambda: account.heard["still"] == 2)
        # And it is tried again.
        await manager.reshard(3, window=WINDOW)
        assert manager.total == 3

    async def test_an_old_shard_that_is_refused_meanwhile_ends_the_fleet_with_its_error(
        self, lively_simulator: Start, manager_to: Make
    ) -> None:
        sim = lively_simulator(guilds=0, **QUICK)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        sim.script("next", steps.never_ready())
        resharding = asyncio.create_task(manager.reshard(4, window=WINDOW))
        await sim.wait_for("ready", count=5)
        sim.act(steps.close(4004), shard=1, shard_count=2)
        async with asyncio.timeout(5):
            with pytest.raises(AuthenticationFailed):
                await manager.wait_closed()
            await asyncio.wait([resharding])
        assert isinstance(resharding.exception(), (NotConnected, AuthenticationFailed))
        await sim.wait_for("open", count=0)

    async def test_old_shards_that_are_cut_in_the_window_bring_what_they_have_left(
        self, lively_simulator: Start, manager_to: Make
    ) -> None:
        """An event reaches the old session while nobody is connected, and the new one was not there yet."""
        sim = lively_simulator(guilds=0, **QUICK)
        manager = manager_to(sim, shards=1)
        account = Account(manager)
        await manager.open(timeout=10)
        sim.act(steps.stall(), shard=0, shard_count=1)
        sim.dispatch("MESSAGE_CREATE", message("old only"), guild_id=guild_on(0, 1))
        resharding = asyncio.create_task(manager.reshard(2, window=WINDOW))
        await sim.wait_for("ready", count=3)
        await eventually(lambda: manager.total == 2)
        assert account.heard == {}
        sim.act(steps.reset(), shard=0, shard_count=1)
        async with asyncio.timeout(10):
            await resharding
        await eventually(lambda: account.heard["old only"] == 1)

    async def test_a_new_shard_that_is_stuck_at_first_is_tried_again(
        self, lively_simulator: Start, manager_to: Make
    ) -> None:
        sim = lively_simulator(guilds=0, **QUICK)
        manager = manager_to(sim, shards=1)
        await manager.open(timeout=10)
        for step in (steps.http_response(503), steps.reset()):
            sim.script("next", step)
        await manager.reshard(2, window=WINDOW)
        assert (manager.total, manager.status) == (2, READY)

    async def test_on_close_does_not_hear_of_the_old_ones(self, lively_simulator: Start, manager_to: Make) -> None:
        """They are behind the scenes by then, as what listeners hear of the fleet; the new ones are not."""
        sim = lively_simulator(guilds=0, **QUICK)
        manager = manager_to(sim, shards=2)
        ended: list[Closed] = []
        manager.on_close(ended.append)
        await manager.open(timeout=10)
        await manager.reshard(3, window=WINDOW)
        assert ended == []
        await manager.close()
        assert sorted(closed.shard or (9, 9) for closed in ended) == [(0, 3), (1, 3), (2, 3)]

    async def test_a_listener_may_reshard(self, lively_simulator: Start, manager_to: Make) -> None:
        sim = lively_simulator(guilds=0, **QUICK)
        manager = manager_to(sim, shards=1)
        done: list[int | None] = []

        @manager.listen
        async def on(event: MessageCreate) -> None:
            await manager.reshard(2, window=WINDOW)
            done.append(manager.total)

        await manager.open(timeout=10)
        sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: done == [2])
        assert manager.status is READY

    async def test_what_waits_for_a_slow_listener_on_the_old_shards_still_comes(
        self, lively_simulator: Start, manager_to: Make
    ) -> None:
        sim = lively_simulator(guilds=0, **QUICK)
        manager = manager_to(sim, shards=1, max_pending=1)
        heard: list[str] = []
        go_on = asyncio.Event()

        @manager.listen
        async def on(event: MessageCreate) -> None:
            heard.append(event.content)
            await go_on.wait()

        await manager.open(timeout=10)
        for number in range(500):
            sim.dispatch("MESSAGE_CREATE", message(str(number)), guild_id=guild_on(0, 1))
        await eventually(lambda: heard and manager.metrics().received_by_type.get("MESSAGE_CREATE") == 500)
        resharding = asyncio.create_task(manager.reshard(2, window=WINDOW))
        await eventually(lambda: manager.total == 2)
        go_on.set()
        async with asyncio.timeout(10):
            await resharding
        await eventually(lambda: len(heard) == 500)
        assert heard == [str(number) for number in range(500)]
        assert balances(manager.metrics())


@pytest.mark.asyncio
class TestByItself:
    async def test_4011_reshards_where_it_may(self, lively_simulator: Start, manager_to: Make) -> None:
        """The shards have more guilds than they may; twice as many have not."""
        sim = lively_simulator(guilds=8, shards=4, guilds_per_shard=3, **{**QUICK, "max_concurrency": 1})
        manager = manager_to(sim, shards=2, auto_reshard=True)
        heard: list[Resharded] = []
        manager.listen(Resharded)(heard.append)
        opening = asyncio.create_task(manager.open(timeout=20))
        await eventually(lambda: manager.total == 4, 20)
        await opening
        assert manager.status is READY

    async def test_4011_while_it_runs(self, lively_simulator: Start, manager_to: Make) -> None:
        sim = lively_simulator(guilds=4, shards=3, **QUICK | {"max_concurrency": 1})
        manager = manager_to(sim, shards=2, auto_reshard=True)
        heard: list[Resharded] = []
        manager.listen(Resharded)(heard.append)
        await manager.open(timeout=10)
        sim.act(steps.close(4011), shard=1)
        await eventually(lambda: heard, 20)
        assert (manager.total, manager.status) == (3, READY)
        await sim.wait_for("open", count=3)

    async def test_4011_where_it_may_not_ends_the_fleet(self, propylon_simulator: Start, manager_to: Make) -> None:
        from propylon import ShardingRequired

        sim = propylon_simulator(guilds=8, guilds_per_shard=3)
        with pytest.raises(ShardingRequired):
            await manager_to(sim, shards=2).open(timeout=10)

    async def test_shards_that_are_nearly_full_are_told_of(
        self, lively_simulator: Start, manager_to: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        guilds = [{"id": str((10**12 + number) << 22), "unavailable": True} for number in range(2_100)]
        sim = lively_simulator(guilds=0, scripts={1: [steps.ready(set={"guilds": guilds})]}, **QUICK)
        manager = manager_to(sim, shards=1, intents=Intents.GUILD_MESSAGES)
        with caplog.at_level(logging.WARNING):
            await manager.open(timeout=10)
            await eventually(lambda: "guilds on 1 shards" in caplog.text, 10)
        assert "2,100 guilds on 1 shards, 84% of what they may have: await manager.reshard(2)" in caplog.text
        assert manager.total == 1

    async def test_shards_that_are_nearly_full_are_resharded_where_it_may(
        self, lively_simulator: Start, manager_to: Make
    ) -> None:
        guilds = [{"id": str((10**12 + number) << 22), "unavailable": True} for number in range(2_100)]
        sim = lively_simulator(
            guilds=0, scripts={1: [steps.ready(set={"guilds": guilds})]}, **QUICK | {"max_concurrency": 1}
        )
        manager = manager_to(sim, shards=1, intents=Intents.GUILD_MESSAGES, auto_reshard=True)
        await manager.open(timeout=10)
        await eventually(lambda: manager.total == 2, 15)

    async def test_without_budget_it_is_not(
        self, lively_simulator: Start, manager_to: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        guilds = [{"id": str((10**12 + number) << 22), "unavailable": True} for number in range(2_100)]
        sim = lively_simulator(
            guilds=0, session_start_remaining=52, scripts={1: [steps.ready(set={"guilds": guilds})]}, **QUICK
        )
        manager = manager_to(sim, shards=1, intents=Intents.GUILD_MESSAGES, auto_reshard=True)
        await manager.open(timeout=10)
        await eventually(lambda: "could not be resharded" in caplog.text, 10)
        assert (manager.total, manager.status) == (1, READY)


def test_a_loop_that_dies_in_the_middle_leaves_the_old_fleet_to_the_next(lively_simulator: Start) -> None:
    from face.support import run_and_abandon

    sim = lively_simulator(guilds=0, **QUICK)
    manager = make_manager(sim, shards=2)
    account = Account(manager)
    tasks: list[asyncio.Task[None]] = []

    async def first() -> None:
        await manager.open(timeout=10)
        sim.script("next", steps.never_ready())
        tasks.append(asyncio.create_task(manager.reshard(3, window=WINDOW)))
        await sim.wait_for("ready", count=4)

    async def second() -> None:
        async with asyncio.timeout(10), manager:
            assert (manager.total, manager.status) == (2, READY)
            sim.dispatch("MESSAGE_CREATE", message("still"), guild_id=guild_on(0, 6))
            await eventually(lambda: account.heard["still"])
            await sim.wait_for("open", count=2)
            await manager.reshard(4, window=WINDOW)
            assert manager.total == 4

    run_and_abandon(first())
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    asyncio.run(second())
    assert account.heard == {"still": 1}


@pytest.mark.asyncio
async def test_old_shards_wait_for_readers_of_batches(
    lively_simulator: Start, manager_to: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody opens them again: what is not handed out then is heard by nobody."""
    # An upload takes longer than an ended gateway waits for its listeners.
    monkeypatch.setattr("propylon._gateway.life._DRAIN_PATIENCE", 0.1)
    sim = lively_simulator(guilds=10, **QUICK)
    manager = manager_to(sim, shards=1)
    heard: list[str] = []
    resharded = asyncio.Event()
    async with manager.batches(MessageCreate, size=256, ack=True) as batches:

        async def export() -> None:
            async for batch in batches:
                heard.extend(dispatch.json()["content"] for dispatch in batch)
                await resharded.wait()
                await asyncio.sleep(0.3)
                batch.ack()

        async with manager:
            await manager.wait_guilds_ready(timeout=10)
            for number in range(1_200):
                say(sim, worlds_guild(1), str(number))
            exporting = asyncio.create_task(export())
            await eventually(lambda: manager.metrics().received >= 1_200 and manager.metrics().queued > 0)
            resharding = asyncio.create_task(manager.reshard(2, window=WINDOW))
            await sim.wait_for("open", count=3)
            resharded.set()
            await asyncio.wait_for(resharding, 50)
            await eventually(lambda: len(heard) == 1_200)
            exporting.cancel()
    assert heard == [str(number) for number in range(1_200)]
