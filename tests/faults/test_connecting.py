"""Servers that never become a gateway: deadlines hold, nothing spins, the next attempt succeeds (protocol.md §1)."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from faults.conftest import Witness, ops
from propylon import Backoff, GatewayStatus, HandshakeError, Timeouts
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Make = Callable[..., Witness]

SHORT = Timeouts(connect=0.3, hello=0.3, ready=0.3, close=0.3)


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
    witness = witness_to(sim, timeouts=SHORT)
    started, burnt = time.monotonic(), time.process_time()
    await witness.gateway.open(timeout=10)
    assert time.monotonic() - started < 3
    assert time.process_time() - burnt < 1
    connections = sim.record()["connections"]
    assert [ops(connection) for connection in connections] in ([[], [2]], [[2]])
    assert len(connections) == 2
    assert witness.types[:1] in ([], ["READY"])


@pytest.mark.parametrize("script", [steps.silent_accept(), steps.trickle_handshake(0.01)])
async def test_a_deadline_tells_what_was_waited_for(propylon_simulator: Start, witness_to: Make, script: Any) -> None:
    """F01, F02."""
    sim = propylon_simulator(guilds=0, scripts={"every": [script]})
    witness = witness_to(sim, timeouts=SHORT, auto_reconnect=False)
    with pytest.raises(HandshakeError, match=r"no connection within 0\.3 s: the server does not answer the HTTP"):
        await witness.gateway.open(timeout=10)


async def test_retry_after_is_honoured(propylon_simulator: Start, witness_to: Make) -> None:
    """F03."""
    sim = propylon_simulator(guilds=0, scripts={1: [steps.http_response(429, headers={"Retry-After": "1"})]})
    witness = witness_to(sim, backoff=Backoff(base=0.001, cap=0.6))
    await witness.gateway.open(timeout=10)
    first, second = sim.record()["connections"]
    assert 500 < second["accepted_ms"] - first["accepted_ms"] < 2_000  # as long as the cap allows


async def test_a_server_that_accepts_and_closes_is_not_redialled_in_a_spin(
    propylon_simulator: Start, witness_to: Make
) -> None:
    """One library makes 3,707 connections in 11 s here, because its backoff ends with the handshake."""
    sim = propylon_simulator(guilds=0, scripts={"every": [steps.hello(), steps.close(4000)]})
    witness = witness_to(sim, backoff=Backoff(base=0.1, cap=0.4))
    with pytest.raises(TimeoutError):
        await witness.gateway.open(timeout=1.5)
    assert 3 <= len(sim.record()["connections"]) <= 25


async def test_ready_that_never_comes_is_waited_for_while_beats_are_acknowledged(
    propylon_simulator: Start, witness_to: Make
) -> None:
    """F12: an outage; another IDENTIFY would make it worse."""
    sim = propylon_simulator(guilds=0, heartbeat_interval=0.1, scripts={1: [steps.never_ready()]})
    witness = witness_to(sim, timeouts=Timeouts(connect=5, hello=5, ready=0.3, close=0.3))
    opening = asyncio.create_task(witness.gateway.open(timeout=20))
    await sim.wait_for("op", op=1, count=10)
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
