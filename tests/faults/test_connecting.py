"""Servers that never become a gateway: deadlines hold, nothing spins, the next attempt succeeds (protocol.md §1)."""

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Any

import pytest

from face.support import asking, eventually
from faults.conftest import Witness, ops
from propylon import Backoff, GatewayStatus, HandshakeError, NotConnected, Timeouts
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Make = Callable[..., Witness]

# The only deadline that ends a connection here, by the step that it ends. The attempt after it is held to it too: hence
# it has time enough on a busy machine.
SHORT = 2.5
ENDED_BY = {"silent_accept": "connect", "trickle_handshake": "connect", "no_hello": "hello"}


@pytest.mark.parametrize(
    "script",
    [
        [steps.silent_accept()],
        [steps.trickle_handshake(0.1)],
        [steps.huge_header(20_000_000)],
        *[[steps.http_response(status, body="x" * 10_000)] for status in (200, 301, 401, 403, 429, 500, 502, 520)],
        [steps.no_hello()],
        *[
            [steps.hello({"op": 10, "d": data})]
            for data in (
                {"heartbeat_interval": 0},
                {"heartbeat_interval": -1},
                {"heartbeat_interval": 1e18},
                {"heartbeat_interval": "45000"},
                {"heartbeat_interval": None},
                {},
                None,
                [],
            )
        ],
        [steps.send_json({"op": 7, "d": None})],
    ],
    ids=lambda script: str(script[0])[:60],
)
async def test_the_next_attempt_succeeds(propylon_simulator: Start, witness_to: Make, script: Any) -> None:
    """F01 to F06."""
    sim = propylon_simulator(guilds=0, scripts={1: script})
    # No other deadline ends it within the time that opening has.
    deadlines = {"connect": 30.0, "hello": 30.0, "ready": 30.0, "close": 5.0}
    if script[0]["step"] in ENDED_BY:
        deadlines[ENDED_BY[script[0]["step"]]] = SHORT
    witness = witness_to(sim, timeouts=Timeouts(**deadlines))
    gc.collect()  # what earlier tests have left is not burnt here
    burnt = time.process_time()
    await witness.gateway.open(timeout=10)
    # Who spins until the deadline burns all of it.
    assert time.process_time() - burnt < SHORT / 2
    connections = sim.record()["connections"]
    assert [ops(connection) for connection in connections] in ([[], [2]], [[2]])
    assert len(connections) == 2
    assert witness.types[:1] in ([], ["READY"])


@pytest.mark.parametrize("script", [steps.silent_accept(), steps.trickle_handshake(0.1)])
async def test_a_deadline_tells_what_was_waited_for(propylon_simulator: Start, witness_to: Make, script: Any) -> None:
    """F01, F02."""
    sim = propylon_simulator(guilds=0, scripts={"every": [script]})
    witness = witness_to(sim, timeouts=Timeouts(connect=SHORT), auto_reconnect=False)
    with pytest.raises(HandshakeError, match=r"no connection within 2\.5 s: the server does not answer the HTTP"):
        await witness.gateway.open(timeout=10)


async def test_retry_after_is_honoured(propylon_simulator: Start, witness_to: Make) -> None:
    """F03."""
    sim = propylon_simulator(guilds=0, scripts={1: [steps.http_response(429, headers={"Retry-After": "60"})]})
    witness = witness_to(sim, backoff=Backoff(base=0.001, cap=0.6))
    await witness.gateway.open(timeout=10)
    first, second = sim.record()["connections"]
    # As long as the cap allows: opening has no time for the whole minute.
    assert second["accepted_ms"] - first["accepted_ms"] > 500


async def test_a_server_that_accepts_and_closes_is_not_redialled_in_a_spin(
    propylon_simulator: Start, witness_to: Make
) -> None:
    """One library makes 3,707 connections in 11 s here, because its backoff ends with the handshake."""
    sim = propylon_simulator(guilds=0, scripts={"every": [steps.hello(), steps.close(4000)]})
    witness = witness_to(sim, backoff=Backoff(base=0.1, cap=0.4))
    opening = asyncio.create_task(witness.gateway.open())
    await sim.wait_for("accepted", count=10)
    accepted = [connection["accepted_ms"] for connection in sim.record()["connections"]]
    # Nine pauses of up to 100, 200, 400, 400 ... ms, 1.5 s as a rule; a spin takes 30 ms.
    assert accepted[9] - accepted[0] > 250
    await witness.gateway.close()
    with pytest.raises(NotConnected):
        await opening


async def test_ready_that_never_comes_is_waited_for_while_beats_are_acknowledged(
    propylon_simulator: Start, witness_to: Make
) -> None:
    """F12: an outage; another IDENTIFY would make it worse."""
    sim = propylon_simulator(guilds=0, identify_interval=0, heartbeat_interval=3, scripts={1: [steps.never_ready()]})
    witness = witness_to(sim, timeouts=Timeouts(ready=2.5), **asking(sim))
    opening = asyncio.create_task(witness.gateway.open(timeout=30))
    await eventually(lambda: witness.gateway.status is GatewayStatus.WAITING_FOR_READY)
    began = time.monotonic()
    # More beats are asked for: those of a short interval would make a zombie of a busy machine.
    while time.monotonic() - began < 4:
        beats = len(sim.record()["connections"][0]["beats"])
        sim.act(steps.request_heartbeats())
        await sim.wait_for("op", op=1, count=beats + 1)
        await asyncio.sleep(0.2)
    assert witness.gateway.status is GatewayStatus.WAITING_FOR_READY
    assert not witness.ends
    # Once it stays silent altogether, that is no outage any more.
    sim.act(steps.stop_acking())
    await eventually(lambda: witness.ends)
    await opening


async def test_a_server_that_is_gone_for_a_while_costs_no_session(
    propylon_simulator: Start, witness_to: Make, caplog: pytest.LogCaptureFixture
) -> None:
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    sim.act(steps.stop_listening())
    sim.act(steps.reset())
    await eventually(lambda: caplog.text.count("no connection (unreachable)") >= 4)
    sim.dispatch("TYPING_START", {"n": 1})
    sim.act(steps.listen())
    await sim.wait_for("resumed")
    await eventually(lambda: "RESUMED" in witness.types)
    assert witness.types == ["READY", "TYPING_START", "RESUMED"]
