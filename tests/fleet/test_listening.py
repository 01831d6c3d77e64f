"""The one face of all shards: whose events are heard, and the events of the fleet itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from face.support import eventually, message
from fleet.support import by_shard, guild_on, identified
from propylon import Dispatch, Filter, Gateway, GatewayStatus, Intents, Listeners, ShardManager, listen
from propylon._fleet.news import all_told
from propylon._gateway.life import Life
from propylon.events import (
    FleetReady,
    GuildCreate,
    MessageCreate,
    Resharded,
    ShardClosed,
    ShardReady,
    ShardResumed,
    TypingStart,
)
from propylon.testing import Simulator, steps

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

Start = Callable[..., Simulator]
Make = Callable[..., ShardManager]

READY = GatewayStatus.READY


class TestEventsOfTheFleet:
    async def test_their_order_and_their_facts(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=4)
        manager = manager_to(sim, shards=2)
        heard: list[Any] = []

        @manager.listen
        def on(event: ShardReady | ShardResumed | ShardClosed | FleetReady | Resharded) -> None:
            heard.append(event)

        await manager.open(timeout=10)
        await eventually(lambda: len(heard) == 3)
        assert sorted((event.shard_id, event.shard_count) for event in heard[:2]) == [(0, 2), (1, 2)]
        assert (heard[2].shard_ids, heard[2].shard_count, heard[2].guild_count) == ((0, 1), 2, 4)
        heard.clear()
        sim.act(steps.close(4000, "bye"), shard=1)
        await eventually(lambda: len(heard) == 2)
        closed, back = heard
        assert (type(closed), closed.shard_id, closed.code, closed.reason) == (ShardClosed, 1, 4000, "bye")
        assert closed.reconnect is True
        assert (type(back), back.shard_id, back.shard_count) == (ShardResumed, 1, 2)
        heard.clear()
        await manager.close()
        assert {(type(event), event.reconnect, event.code) for event in heard} <= {(ShardClosed, False, 1000)}

    async def test_it_is_ready_when_each_shard_has_been_told_of(
        self, propylon_simulator: Start, manager_to: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The engine knows of the last READY earlier than the loop, which may hear of another shard's in between."""
        sim = propylon_simulator(guilds=4)
        manager = manager_to(sim, shards=2)
        heard: list[type[Any]] = []
        manager.listen(ShardReady | FleetReady)(lambda event: heard.append(type(event)))
        late: list[Callable[[], None]] = []
        notice = Life.notice

        def slow(life: Life, kind: str, *facts: Any) -> None:
            if kind == "ready" and life.shard_pair == (1, 2):
                late.append(lambda: notice(life, kind, *facts))
            else:
                notice(life, kind, *facts)

        monkeypatch.setattr(Life, "notice", slow)
        opening = asyncio.create_task(manager.open(timeout=10))
        await eventually(lambda: manager._life.team is not None)
        team = manager._life.team
        assert team is not None
        await eventually(lambda: late and team.has_guilds and ShardReady in heard)
        manager._life.guilds_ready(next(iter(team)))
        await all_told(team)
        await asyncio.sleep(0)
        assert heard == [ShardReady]
        late[0]()
        await opening
        await eventually(lambda: len(heard) == 3)
        assert heard == [ShardReady, ShardReady, FleetReady]

    async def test_fleet_ready_comes_once_for_each_opening(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=4)
        manager = manager_to(sim, shards=2)
        heard: list[FleetReady] = []
        manager.listen(FleetReady)(heard.append)
        for turn in (1, 2):
            await manager.open(timeout=10)
            await manager.wait_guilds_ready(timeout=10)
            await eventually(lambda turn=turn: len(heard) == turn)
            sim.act(steps.reset(), "every")
            await sim.wait_for("resumed", count=2 * turn)
            await eventually(lambda: manager.status is READY)
            await manager.close()
        assert len(heard) == 2

    async def test_wait_for(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=4)
        manager = manager_to(sim, shards=2)
        waiting = asyncio.create_task(manager.wait_for(FleetReady, timeout=10))
        one = asyncio.create_task(manager.wait_for(ShardReady, where=lambda event: event.shard_id == 1, timeout=10))
        both = asyncio.create_task(manager.collect(ShardReady, count=2, timeout=10))
        await asyncio.sleep(0)
        await manager.open(timeout=10)
        assert (await waiting).guild_count == 4
        assert (await one).shard_id == 1
        assert sorted(event.shard_id for event in await both) == [0, 1]

    async def test_where_as_a_filter_and_as_a_function(self, propylon_simulator: Start, manager_to: Make) -> None:
        from propylon import field

        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=4)
        heard: dict[str, list[int]] = {"filter": [], "function": []}

        @manager.listen(where=field("shard_id") == 2)
        def by_filter(event: ShardReady) -> None:
            heard["filter"].append(event.shard_id)

        @manager.listen(where=lambda event: event.shard_id > 1)
        def by_function(event: ShardReady) -> None:
            heard["function"].append(event.shard_id)

        await manager.open(timeout=10)
        await eventually(lambda: len(heard["function"]) == 2)
        assert (heard["filter"], sorted(heard["function"])) == ([2], [2, 3])
        assert Filter is not None

    async def test_a_plain_dispatch_listener_does_not_hear_them(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        all_of_them: list[str] = []
        marks: list[FleetReady] = []

        @manager.listen
        def everything(dispatch: Dispatch[Any]) -> None:
            all_of_them.append(dispatch.type)

        manager.listen(FleetReady)(marks.append)
        await manager.open(timeout=10)
        await eventually(lambda: marks and len(all_of_them) >= 2)
        assert all_of_them == ["READY", "READY"]

    async def test_by_name_with_the_dispatch(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        heard: list[tuple[str, int, int | None, Any]] = []

        @manager.listen
        async def on(event: ShardReady, dispatch: Dispatch[Any], manager: ShardManager) -> None:
            heard.append((dispatch.type, dispatch.shard_id, dispatch.sequence, manager.status))

        await manager.open(timeout=10)
        await eventually(lambda: len(heard) == 2)
        assert sorted(one[:2] for one in heard) == [("SHARD_READY", 0), ("SHARD_READY", 1)]
        assert {one[2] for one in heard} == {None}

    @pytest.mark.parametrize("kind", [ShardReady, ShardResumed, ShardClosed, FleetReady, Resharded])
    async def test_a_gateway_refuses_them(self, kind: type[Any]) -> None:
        gateway = Gateway("token", intents=Intents.ALL)
        with pytest.raises(TypeError, match=f"{kind.__name__} comes from a ShardManager only; a Gateway is one shard"):
            gateway.listen(kind)(lambda event: None)
        with pytest.raises(TypeError, match="comes from a ShardManager only"):
            gateway.listen(MessageCreate | kind)(lambda event: None)
        with pytest.raises(TypeError, match="comes from a ShardManager only"):
            await gateway.wait_for(kind, timeout=1)
        assert gateway.listeners == ()

    async def test_a_listener_that_fails_at_one_is_told_to_on_error(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        errors: list[Exception] = []
        manager.on_error(errors.append)

        @manager.listen
        async def on(event: ShardReady) -> None:
            raise LookupError(event.shard_id)

        await manager.open(timeout=10)
        await eventually(lambda: len(errors) == 2)
        assert manager.metrics().listener_errors == 2


class TestOneFace:
    async def test_one_listener_hears_all_shards_each_in_its_order(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0, max_concurrency=4)
        manager = manager_to(sim, shards=4)
        heard: list[Dispatch[Any]] = []

        @manager.listen
        def on(event: MessageCreate, dispatch: Dispatch[Any]) -> None:
            heard.append(dispatch)

        await manager.open(timeout=10)
        items = [(guild_on(n % 4, 4), message(str(n), guild_id=str(guild_on(n % 4, 4)))) for n in range(2_000)]
        sim.dispatch_many("MESSAGE_CREATE", items)
        await eventually(lambda: len(heard) == 2_000)
        orders = by_shard(heard)
        assert {shard: len(order) for shard, order in orders.items()} == dict.fromkeys(range(4), 500)
        for order in orders.values():
            assert order == sorted(order, key=lambda number: number or 0)

    async def test_batches_streams_groups_and_once(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        by_group: list[int] = []
        once: list[int] = []

        class Group(Listeners):
            @listen
            def on(self, event: MessageCreate, dispatch: Dispatch[Any]) -> None:
                by_group.append(dispatch.shard_id)

        group = manager.add(Group())
        assert isinstance(group, Group)

        @manager.listen(once=True)
        def only(event: MessageCreate) -> None:
            once.append(1)

        await manager.open(timeout=10)
        async with manager.batches(MessageCreate) as batches, manager.stream(MessageCreate) as stream:
            sim.dispatch("MESSAGE_CREATE", message())
            events = [await anext(stream) for _ in range(3)]
            assert len(events) == 3
            count = 0
            while count < 3:
                count += len(await anext(batches))
        await eventually(lambda: len(by_group) == 3)
        assert sorted(by_group) == [0, 1, 2]
        assert once == [1]

    async def test_a_filter_is_for_all_shards(self, propylon_simulator: Start, manager_to: Make) -> None:
        from propylon import field

        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        heard: list[str] = []

        @manager.listen(where=field("content") == "yes")
        def on(event: MessageCreate) -> None:
            heard.append(event.content)

        await manager.open(timeout=10)
        for content in ("no", "yes", "no"):
            sim.dispatch("MESSAGE_CREATE", message(content))
        # The last "no" may come after what is heard.
        await eventually(lambda: manager.metrics().filtered_by_type.get("MESSAGE_CREATE") == 6)
        await eventually(lambda: len(heard) >= 3)
        assert heard == ["yes"] * 3

    async def test_a_listener_added_and_removed_while_it_runs(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        await manager.open(timeout=10)
        heard: list[int] = []
        listener = manager.listen(MessageCreate)(lambda event: heard.append(1))
        sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: len(heard) == 3)
        listener.remove()
        assert manager.listeners == ()
        sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: manager.metrics().received_by_type["MESSAGE_CREATE"] == 6)
        assert len(heard) == 3

    async def test_intents_auto(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2, intents="auto")
        manager.listen(TypingStart)(lambda event: None)
        manager.listen(FleetReady)(lambda event: None)
        assert manager.intents == Intents.NONE
        await manager.open(timeout=10)
        expected = Intents.GUILD_MESSAGE_TYPING | Intents.DIRECT_MESSAGE_TYPING
        assert manager.intents == expected
        assert {session["intents"] for session in sim.record()["sessions"]} == {int(expected)}
        await manager.close()
        manager.listen(GuildCreate)(lambda event: None)
        await manager.open(timeout=10)
        assert Intents.GUILDS in manager.intents
        assert {session["intents"] for session in sim.record()["sessions"][2:]} == {int(expected | Intents.GUILDS)}

    async def test_intents_auto_and_a_reshard(self, lively_simulator: Start, manager_to: Make) -> None:
        sim = lively_simulator(guilds=0)
        manager = manager_to(sim, shards=1, intents="auto")
        manager.listen(TypingStart)(lambda event: None)
        await manager.open(timeout=10)
        await manager.reshard(2, window=0.1)
        assert len({session["intents"] for session in sim.record()["sessions"]}) == 1

    async def test_a_presence_for_each_shard(self, propylon_simulator: Start, manager_to: Make) -> None:
        from propylon import Activity, Presence

        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2, presence=lambda number: Presence(activities=[Activity(f"shard {number}")]))
        await manager.open(timeout=10)
        told = {
            op["payload"]["d"]["shard"][0]: op["payload"]["d"]["presence"]["activities"][0]["name"]
            for connection in sim.record()["connections"]
            for op in connection["ops"]
            if op["op"] == 2
        }
        assert told == {0: "shard 0", 1: "shard 1"}

    async def test_a_presence_function_that_gives_none_is_told(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2, presence=lambda shard_id: "online")
        with pytest.raises(ValueError, match="presence of shard 0"):
            await manager.open(timeout=5)
        assert identified(sim) == []

    async def test_lifespan(self, propylon_simulator: Start, manager_to: Make) -> None:
        class Http:
            pass

        told: list[Any] = []

        @contextlib.asynccontextmanager
        async def lifespan(manager: ShardManager) -> AsyncIterator[Http]:
            told.append(manager)
            yield Http()
            told.append("over")

        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2, lifespan=lifespan)

        @manager.listen
        async def on(event: MessageCreate, http: Http, dispatch: Dispatch[Any]) -> None:
            told.append((type(http), dispatch.shard_id))

        serving = asyncio.create_task(manager.serve())
        await sim.wait_for("ready", count=2)
        sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: len(told) == 3)
        await manager.close()
        async with asyncio.timeout(5):
            await serving
        assert told[0] is manager
        assert sorted(told[1:3], key=str) == [(Http, 0), (Http, 1)]
        assert told[3] == "over"
