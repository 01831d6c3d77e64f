"""`Simulator.expect`: the commands of a client, each given once, and what a test is told that waits in vain."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from propylon import Gateway, OnlineStatus, Presence
from propylon.testing import Simulator, steps


@pytest.mark.asyncio
async def test_it_gives_what_a_command_carries(sim: Simulator, propylon_gateway: Callable[..., Gateway]) -> None:
    async with propylon_gateway(sim, token="secret") as gateway:
        identify = await sim.expect(op=2)
        assert identify["token"] == "secret"
        await gateway.set_presence(Presence(status=OnlineStatus.IDLE))
        assert (await sim.expect(op=3))["status"] == "idle"


@pytest.mark.asyncio
async def test_it_waits_for_one_that_comes_later(sim: Simulator, propylon_gateway: Callable[..., Gateway]) -> None:
    async with propylon_gateway(sim) as gateway:
        waiting = asyncio.create_task(sim.expect(op=3))
        await asyncio.sleep(0)
        assert not waiting.done()
        await gateway.set_presence(Presence(status=OnlineStatus.DND))
        assert (await waiting)["status"] == "dnd"


@pytest.mark.asyncio
async def test_each_command_is_given_once_and_in_order(
    sim: Simulator, propylon_gateway: Callable[..., Gateway]
) -> None:
    async with propylon_gateway(sim) as gateway:
        for number in range(3):
            await gateway.send(3, {"since": None, "activities": [], "status": f"{number}", "afk": False})
            await gateway.send(4, {"guild_id": f"{number}", "channel_id": None, "self_mute": False, "self_deaf": False})
        assert [(await sim.expect(op=3))["status"] for _ in range(3)] == ["0", "1", "2"]
        assert [(await sim.expect(op=4))["guild_id"] for _ in range(3)] == ["0", "1", "2"]
        with pytest.raises(TimeoutError, match="no further command with op 3"):
            await sim.expect(op=3, timeout=0.01)


@pytest.mark.asyncio
async def test_those_of_all_connections_are_given(sim: Simulator, propylon_gateway: Callable[..., Gateway]) -> None:
    async with propylon_gateway(sim) as first, propylon_gateway(sim) as second:
        tokens = {(await sim.expect(op=2))["token"], (await sim.expect(op=2))["token"]}
        assert len(tokens) == 2
        for number, gateway in enumerate([second, first, second]):
            await gateway.send(3, {"since": None, "activities": [], "status": f"{number}", "afk": False})
            await sim.wait_for("op", op=3, count=number + 1)
        assert [(await sim.expect(op=3))["status"] for _ in range(3)] == ["0", "1", "2"]
        # READY and ten guilds: what is not read yet is lost by a reset.
        await eventually(lambda: first.metrics().received == second.metrics().received == 11)
        sim.act(steps.reset(), "every")
        assert {(await sim.expect(op=6))["seq"] for _ in range(2)} == {11}


@pytest.mark.asyncio
async def test_waiting_in_vain_tells_what_came_instead(
    sim: Simulator, propylon_gateway: Callable[..., Gateway]
) -> None:
    with pytest.raises(TimeoutError, match=r"^simulator: no command with op 4 within 0.01 s; nothing else came$"):
        await sim.expect(op=4, timeout=0.01)
    async with propylon_gateway(sim) as gateway:
        for _ in range(2):
            await gateway.send(3, {"since": None, "activities": [], "status": "idle", "afk": False})
        await sim.expect(op=3)
        await sim.wait_for("op", op=3, count=2)
        with pytest.raises(TimeoutError, match=r"within 0.01 s; not expected so far: op 2 \(1\), op 3 \(1\)$"):
            await sim.expect(op=4, timeout=0.01)
        with pytest.raises(TimeoutError, match=r"not expected so far: op 2 \(1\), op 3 \(1\)$"):
            sim.expect_sync(op=4, timeout=0.01)
        # A wait in vain takes nothing away.
        assert (await sim.expect(op=3))["status"] == "idle"


@pytest.mark.asyncio
async def test_it_blocks_where_there_is_no_loop(sim: Simulator, propylon_gateway: Callable[..., Gateway]) -> None:
    async with propylon_gateway(sim, token="secret"):
        assert (await asyncio.to_thread(sim.expect_sync, op=2))["token"] == "secret"
        with pytest.raises(TimeoutError, match="no further command with op 2"):
            sim.expect_sync(op=2, timeout=0.01)


@pytest.mark.asyncio
async def test_calls_at_once_are_given_one_command_each_in_their_order(
    sim: Simulator, propylon_gateway: Callable[..., Gateway]
) -> None:
    async with propylon_gateway(sim) as gateway:
        waiting = [asyncio.create_task(sim.expect(op=3)) for _ in range(4)]
        in_thread = asyncio.create_task(asyncio.to_thread(sim.expect_sync, op=4))
        await asyncio.sleep(0)
        for number in range(4):
            # One by one, so that those behind look while those before have not yet.
            await gateway.send(3, {"since": None, "activities": [], "status": f"{number}", "afk": False})
            await sim.wait_for("op", op=3, count=number + 1)
        await gateway.send(4, {"guild_id": "7", "channel_id": None, "self_mute": False, "self_deaf": False})
        assert [(await each)["status"] for each in waiting] == ["0", "1", "2", "3"]
        assert (await in_thread)["guild_id"] == "7"


@pytest.mark.asyncio
async def test_a_call_that_gives_up_takes_nothing_from_those_behind(
    sim: Simulator, propylon_gateway: Callable[..., Gateway]
) -> None:
    async with propylon_gateway(sim) as gateway:
        first, second = (asyncio.create_task(sim.expect(op=3, timeout=timeout)) for timeout in (0.01, 5))
        last = asyncio.create_task(sim.expect(op=3, timeout=5))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError, match=r"no command with op 3 within 0\.01 s"):
            await first
        last.cancel()
        await gateway.send(3, {"since": None, "activities": [], "status": "idle", "afk": False})
        assert (await second)["status"] == "idle"


@pytest.mark.asyncio
async def test_a_simulator_that_is_started_again_begins_anew(
    sim: Simulator, propylon_gateway: Callable[..., Gateway]
) -> None:
    for token in ("one", "two"):
        async with propylon_gateway(sim.start(), token=token):
            assert (await sim.expect(op=2))["token"] == token
        sim.close()


def test_it_has_to_run() -> None:
    async def main() -> Any:
        return await Simulator().expect(op=2)

    with pytest.raises(RuntimeError, match="the simulator is not running"):
        asyncio.run(main())
    with pytest.raises(RuntimeError, match="the simulator is not running"):
        Simulator().expect_sync(op=2)
