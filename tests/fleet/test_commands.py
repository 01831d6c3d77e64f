"""Commands of a fleet: each goes to the shard that has the guild; what concerns several is split and joined."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from commands.conftest import sent
from face.support import eventually
from fleet.support import connections_of, guild_on, worlds_guild
from propylon import CommandError, GatewayStatus, NotConnected, Presence, RequestTimeout, ShardManager
from propylon.testing import Simulator, steps

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

Start = Callable[..., Simulator]
Make = Callable[..., ShardManager]


def by_shard(sim: Simulator, op: int) -> dict[int, list[Any]]:
    """The data of commands, by the shard that sent them."""
    return {
        shard_id: [one["payload"]["d"] for connection in connections for one in connection["ops"] if one["op"] == op]
        for (shard_id, _), connections in connections_of(sim).items()
    }


async def test_members_come_from_the_shard_of_the_guild(propylon_simulator: Start, manager_to: Make) -> None:
    sim = propylon_simulator(guilds=8, members=30)
    manager = manager_to(sim, shards=4)
    await manager.open(timeout=10)
    for number in range(4):
        guild = worlds_guild(number)
        members = await manager.request_members(guild)
        assert len(members) == 30
        asked = by_shard(sim, 8)[manager.shard_of(guild)]
        assert [one["guild_id"] for one in asked] == [str(guild)]


async def test_voice_goes_to_the_shard_of_the_guild(propylon_simulator: Start, manager_to: Make) -> None:
    sim = propylon_simulator(guilds=8)
    manager = manager_to(sim, shards=4)
    await manager.open(timeout=10)
    guild = worlds_guild(2)
    voice = await manager.update_voice_state(guild, guild + 1, self_mute=True)
    assert voice.guild_id == guild
    assert voice.endpoint
    assert await manager.update_voice_state(guild, None) is None
    # Nothing answers the second one.
    wanted = [2 if number == manager.shard_of(guild) else 0 for number in range(4)]
    await eventually(lambda: [len(told) for _, told in sorted(by_shard(sim, 4).items())] == wanted)


async def test_channel_info_goes_to_the_shard_of_the_guild(propylon_simulator: Start, manager_to: Make) -> None:
    sim = propylon_simulator(guilds=8)
    manager = manager_to(sim, shards=4)
    await manager.open(timeout=10)
    guild = worlds_guild(3)
    info = await manager.request_channel_info(str(guild), ["status"])
    assert info.channels[0].status == "watching otters"
    assert by_shard(sim, 43)[manager.shard_of(guild)] == [{"guild_id": str(guild), "fields": ["status"]}]


class TestSoundboard:
    async def test_it_is_split_by_shard_and_joined_in_the_order_asked(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=8)
        manager = manager_to(sim, shards=4)
        await manager.open(timeout=10)
        guilds = [worlds_guild(number) for number in (5, 0, 3, 4, 1, 7)]
        answers = await manager.request_soundboard_sounds([guilds[0], str(guilds[1]), *guilds[2:], guilds[0]])
        assert [answer.guild_id for answer in answers] == guilds
        asked = by_shard(sim, 31)
        assert sum(len(told) for told in asked.values()) == len({manager.shard_of(guild) for guild in guilds})
        for shard_id, told in asked.items():
            of_it = [str(guild) for guild in guilds if manager.shard_of(guild) == shard_id]
            assert [one["guild_ids"] for one in told] == ([of_it] if of_it else [])

    async def test_one_that_is_not_answered_ends_all_with_its_error(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=8)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        sim.act(steps.manual(), shard=0)
        with pytest.raises(RequestTimeout):
            await manager.request_soundboard_sounds([worlds_guild(0), worlds_guild(1)], timeout=0.3)
        # And nothing is left of it.
        sim.act(steps.serve(), shard=0)
        answers = await manager.request_soundboard_sounds([worlds_guild(0), worlds_guild(1)])
        assert len(answers) == 2

    async def test_cancelled_it_leaves_nothing(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=8)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        sim.act(steps.manual(), "every")
        asking = asyncio.create_task(manager.request_soundboard_sounds([guild_on(0, 2), guild_on(1, 2)]))
        await sim.wait_for("op", op=31, count=2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not any(life.commands.waits for life in manager._life.open_lives().values())

    @pytest.mark.parametrize("guilds", [[], "123", ["general"], 5])
    async def test_what_is_no_list_of_guilds(self, propylon_simulator: Start, manager_to: Make, guilds: Any) -> None:
        manager = manager_to(propylon_simulator(guilds=0), shards=2)
        await manager.open(timeout=10)
        with pytest.raises(CommandError, match="guild_ids"):
            await manager.request_soundboard_sounds(guilds)


class TestPresence:
    async def test_one_for_all(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        await manager.open(timeout=10)
        await manager.set_presence(Presence(status="idle"))
        await sim.wait_for("op", op=3, count=3)
        assert [one["status"] for one in sent(sim, 3)] == ["idle"] * 3

    async def test_a_function_of_the_shard(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        await manager.open(timeout=10)
        await manager.set_presence(lambda shard_id: Presence(status=["idle", "dnd", "online"][shard_id]))
        await sim.wait_for("op", op=3, count=3)
        told = {shard_id: [one["status"] for one in told] for shard_id, told in by_shard(sim, 3).items()}
        assert told == {0: ["idle"], 1: ["dnd"], 2: ["online"]}

    @pytest.mark.parametrize("presence", ["idle", lambda shard_id: None, 5])
    async def test_what_is_none_is_sent_on_no_shard(
        self, propylon_simulator: Start, manager_to: Make, presence: Any
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        await manager.open(timeout=10)
        with pytest.raises(CommandError, match="presence"):
            await manager.set_presence(presence)
        assert sent(sim, 3) == []

    async def test_it_is_that_of_the_next_session(self, propylon_simulator: Start, manager_to: Make) -> None:
        """As a gateway's: an IDENTIFY that follows carries it."""
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=2)
        await manager.open(timeout=10)
        await manager.set_presence(lambda shard_id: Presence(status=["idle", "dnd"][shard_id]))
        await manager.shards[1].restart()
        identifies = by_shard(sim, 2)[1]
        assert identifies[-1]["presence"]["status"] == "dnd"

    async def test_with_one_shard_closed_the_others_show_it(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=3)
        await manager.open(timeout=10)
        await manager.shards[1].close()
        with contextlib.suppress(NotConnected):
            await manager.set_presence(Presence(status="idle"))
        await sim.wait_for("op", op=3, count=2)


async def test_a_raw_payload_on_a_shard(propylon_simulator: Start, manager_to: Make) -> None:
    sim = propylon_simulator(guilds=0)
    manager = manager_to(sim, shards=3)
    await manager.open(timeout=10)
    await manager.send(31, {"guild_ids": ["1"]}, shard_id=2)
    await sim.wait_for("op", op=31)
    assert by_shard(sim, 31)[2] == [{"guild_ids": ["1"]}]
    with pytest.raises(CommandError, match="no shard 'x'"):
        await manager.send(31, {}, shard_id="x")  # type: ignore[arg-type]


async def test_a_command_waits_for_a_shard_that_is_coming_back(propylon_simulator: Start, manager_to: Make) -> None:
    sim = propylon_simulator(guilds=8)
    manager = manager_to(sim, shards=2)
    await manager.open(timeout=10)
    guild = worlds_guild(1)
    shard_id = manager.shard_of(guild)
    # What has left on a connection that is lost is lost with it: so it is known to be before anything is asked.
    sim.act(steps.stop_listening())
    sim.act(steps.reset(), shard=shard_id)
    await eventually(lambda: manager.shards[shard_id].status is not GatewayStatus.READY)
    asking = asyncio.create_task(manager.request_channel_info(guild))
    await asyncio.sleep(0)
    assert not asking.done()
    sim.act(steps.listen())
    info = await asking
    assert info.channels
