"""Sessions that are over: forgotten, a moment waited, IDENTIFY at the base URL (protocol.md §8).

The gate lets an IDENTIFY through every 5 s, so all cases run side by side, once, and each test looks at its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from face.support import make_gateway
from faults.conftest import Witness, ops
from propylon import Timeouts
from propylon.testing import Simulator, steps

Case: TypeAlias = Callable[[Simulator], Awaitable[None]]

IDENTIFY, RESUME = 2, 6


async def _settled(sim: Simulator) -> None:
    await sim.wait_for("ready", timeout=10)


def at_once(*script: Any) -> Case:
    """The first connection goes wrong between IDENTIFY and READY."""

    async def case(sim: Simulator) -> None:
        await sim.wait_for("op", op=IDENTIFY)

    case.script = [steps.never_ready(), steps.wait_for_op(IDENTIFY), *script]  # type: ignore[attr-defined]
    return case


def when_ready(*script: Any) -> Case:
    async def case(sim: Simulator) -> None:
        await _settled(sim)
        for step in script:
            sim.act(step, 1)

    return case


def on_resume(*script: Any, times: int = 1) -> Case:
    async def case(sim: Simulator) -> None:
        await _settled(sim)
        for _ in range(times):
            sim.script("next", *script)
        sim.act(steps.reset())

    return case


async def expired(sim: Simulator) -> None:
    await _settled(sim)
    sim.act(steps.expire_sessions())
    sim.act(steps.reset(), 1)


CASES: dict[str, tuple[Case, list[list[int]]]] = {
    "op 9 after IDENTIFY": (at_once(steps.invalid_session(False)), [[2], [2]]),
    "op 9 after IDENTIFY, then a close": (at_once(steps.invalid_session(False), steps.close(4000)), [[2], [2]]),
    "op 7 before READY": (at_once(steps.reconnect()), [[2], [2]]),
    "closed before READY": (at_once(steps.close(4000)), [[2], [2]]),
    "4003 before READY": (at_once(steps.close(4003)), [[2], [2]]),
    "op 9 in a healthy session": (when_ready(steps.invalid_session(False)), [[2], [2]]),
    "op 9 null": (when_ready(steps.invalid_session(None)), [[2], [2]]),
    "op 9 text": (when_ready(steps.invalid_session("true")), [[2], [2]]),
    "4007": (when_ready(steps.close(4007)), [[2], [2]]),
    "4009": (when_ready(steps.close(4009)), [[2], [2]]),
    "4001": (when_ready(steps.close(4001)), [[2], [2]]),
    "4005": (when_ready(steps.close(4005)), [[2], [2]]),
    "expired": (expired, [[2], [6], [2]]),
    "RESUME refused with op 9": (on_resume(steps.refuse_resume()), [[2], [6], [2]]),
    "RESUME refused with 4009": (on_resume(steps.refuse_resume(code=4009)), [[2], [6], [2]]),
    "RESUME refused with op 9 true, for ever": (
        on_resume(steps.refuse_resume(resumable=True), times=3),
        [[2], [6], [6], [6], [2]],
    ),
    "RESUME dies three times": (
        on_resume(steps.not_answer_resume(), steps.wait_for_op(RESUME), steps.reset(), times=3),
        [[2], [6], [6], [6], [2]],
    ),
    "RESUME never answered": (on_resume(steps.not_answer_resume()), [[2], [6], [2]]),
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[dict[str, Any], Witness]]:
    async def run(case: Case) -> tuple[dict[str, Any], Witness]:
        script = getattr(case, "script", None)
        with Simulator(
            guilds=0,
            separate_resume_port=True,
            identify_interval=0,
            scripts={1: script} if script else {},
        ) as sim:
            witness = Witness(make_gateway(sim, timeouts=Timeouts(connect=5, hello=5, ready=4, close=5)))
            gateway = witness.gateway
            opening = asyncio.create_task(gateway.open(timeout=30))
            await case(sim)
            await opening
            await sim.wait_for("op", op=IDENTIFY, count=2, timeout=20)
            await sim.wait_for("ready", count=1 if script else 2)
            record = sim.record()
            await gateway.close()
        return record, witness

    async def everything() -> list[tuple[dict[str, Any], Witness]]:
        return await asyncio.gather(*[run(case) for case, _ in CASES.values()])

    return dict(zip(CASES, asyncio.run(everything()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_session_that_is_over_is_identified_anew(
    outcomes: dict[str, tuple[dict[str, Any], Witness]], name: str
) -> None:
    """F06, F08, F09, F20, F24, and a RESUME that is never answered."""
    record, witness = outcomes[name]
    connections = record["connections"]
    assert [ops(connection) for connection in connections] == CASES[name][1]
    # IDENTIFY never on the resume URL (I5), and a RESUME only with what is newest (I4).
    for connection in connections:
        assert connection["port"] == ("resume" if ops(connection) == [RESUME] else "main")
        assert connection["closed"] is None or connection["closed"]["code"] not in (1000, 1001)
    times = [op["ms"] for connection in connections for op in connection["ops"] if op["op"] == IDENTIFY]
    assert times[1] - times[0] >= 5_000 - 50  # I2
    assert [end.reconnect for end in witness.ends[:-1]] == [True] * (len(connections) - 1)
    assert witness.gateway.metrics().identifies == 2
