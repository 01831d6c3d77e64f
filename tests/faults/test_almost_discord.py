"""Servers that are almost Discord: compatible ones and proxies differ in small ways, and are served all the same."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from faults.conftest import Witness, ops
from propylon import Gateway, GatewayStatus
from propylon.events import Ready
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Make = Callable[..., Witness]


async def test_ready_with_sequence_zero_and_hello_without_s_and_t(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(scripts={1: [steps.manual(), steps.hello({"op": 10, "d": {"heartbeat_interval": 45000}})]})
    witness = witness_to(sim)

    async def serve() -> None:
        await sim.wait_for("op", op=2)
        sim.send_raw('{"op":0,"t":"READY","s":0,"d":{"session_id":"one"}}')

    await asyncio.gather(witness.gateway.open(timeout=10), serve())
    assert witness.gateway.session is not None
    assert (witness.gateway.session.id, witness.gateway.session.sequence) == ("one", 0)
    # An ACK of another shape is an ACK.
    sim.send_raw('{"op":1,"d":null}')
    await sim.wait_for("op", op=1)
    sim.send_raw('{"op":11,"d":{}}')
    await eventually(lambda: witness.gateway.latency is not None)
    sim.send_raw('{"op":0,"t":"TYPING_START","s":1,"d":{}}')
    await eventually(lambda: witness.heard("TYPING_START"))
    assert witness.gateway.metrics().duplicates == 0
    assert not witness.ends


async def test_resumed_with_sequence_null_keeps_the_last_one(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(guilds=1)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    await eventually(lambda: len(witness.events) == 2)
    sim.script("next", steps.not_answer_resume())
    sim.act(steps.reset())
    await sim.wait_for("op", op=6)
    sim.send_raw('{"op":0,"t":"RESUMED","s":null,"d":{"_trace":["[]"]}}')
    await eventually(lambda: witness.gateway.metrics().resumes == 1)
    assert witness.gateway.session is not None
    assert witness.gateway.session.sequence == 2
    assert witness.gateway.status is GatewayStatus.READY


@pytest.mark.parametrize("remove", [["session_id"], ["resume_gateway_url"], ["user", "guilds", "application", "v"]])
async def test_ready_without_what_it_must_have(propylon_simulator: Start, witness_to: Make, remove: list[str]) -> None:
    """F11: the shard lives; without an id there is nothing to resume."""
    sim = propylon_simulator(guilds=0, scripts={1: [steps.ready(remove=remove)]})
    witness = witness_to(sim)
    typed: list[Any] = []
    reported: list[Any] = []
    witness.gateway.listen(Ready)(typed.append)
    witness.gateway.on_error(reported.append)
    await witness.gateway.open(timeout=10)
    await eventually(lambda: witness.heard("READY"))
    assert (witness.gateway.session is None) == ("session_id" in remove)
    # What the engine does without, the model does without.
    assert len(typed) == 1
    assert not reported
    sim.act(steps.reset())
    await sim.wait_for("connections", count=2)
    if "session_id" not in remove:
        await sim.wait_for("resumed")


async def test_every_zstd_message_its_own_frame(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(scripts={"every": [steps.own_frames()]}, guilds=3, rate=None, count=300)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    await eventually(lambda: len(witness.events) == 304)
    assert witness.gateway.metrics().malformed == 0


async def test_an_invalid_token_closed_with_4000_is_backed_off_and_never_a_spin(
    propylon_simulator: Start, gateway_to: Any
) -> None:
    script = [steps.never_ready(), steps.wait_for_op(2), steps.close(4000, "Invalid token")]
    sim = propylon_simulator(scripts={"every": script})
    gateway: Gateway = gateway_to(sim)
    opening = asyncio.create_task(gateway.open())
    await sim.wait_for("accepted", count=2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(opening, 1)
    # Redialled, but the gate holds the second IDENTIFY back for five seconds.
    assert [ops(connection) for connection in sim.record()["connections"]] == [[2], []]


async def test_one_that_requires_a_user_agent(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(require_user_agent=True)
    await witness_to(sim).gateway.open(timeout=10)
    agent = {name.lower(): value for name, value in sim.record()["connections"][0]["headers"].items()}["user-agent"]
    assert agent.startswith("DiscordBot (")


async def test_the_url_keeps_its_own_path_and_query(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim, gateway_url=f"{sim.url}/?region=eu&v=9")
    await witness.gateway.open(timeout=10)
    (connection,) = sim.record()["connections"]
    assert connection["query"]["region"] == "eu"
    assert connection["query"]["encoding"] == "json"
    assert connection["query"]["compress"] == "zstd-stream"
