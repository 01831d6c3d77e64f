"""The day's IDENTIFYs, and what the REST API tells: protocol.md §1, §5, F10."""

import time
from collections.abc import Callable

import pytest

from face.support import eventually
from faults.conftest import Witness, ops
from propylon import DisallowedIntents, GatewayStatus, IdentifyBudgetExhausted, Intents
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Make = Callable[..., Witness]


async def test_at_the_floor_of_the_budget_a_new_gateway_is_refused(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(guilds=0, session_start_remaining=50)
    witness = witness_to(sim, gateway_url=None, api_url=sim.api_url)
    with pytest.raises(IdentifyBudgetExhausted, match="wait until") as raised:
        await witness.gateway.open(timeout=10)
    assert abs(raised.value.resets_at - (time.time() + 86_400)) < 60
    assert witness.gateway.identify_blocked_until == raised.value.resets_at
    assert witness.gateway.metrics().identifies == 0
    await sim.wait_for("closed", connection=1)
    (connection,) = sim.record()["connections"]
    assert ops(connection) == []
    assert connection["closed"]["code"] == 4000


async def test_a_running_gateway_waits_until_the_budget_is_full_again(
    propylon_simulator: Start, witness_to: Make
) -> None:
    sim = propylon_simulator(guilds=0, session_start_remaining=51, session_start_reset_after=3.0)
    witness = witness_to(sim, gateway_url=None, api_url=sim.api_url)
    gateway = witness.gateway
    await gateway.open(timeout=10)
    assert gateway.identify_blocked_until is None
    sim.act(steps.invalid_session(False))
    await eventually(lambda: gateway.identify_blocked_until is not None)
    assert gateway.metrics().identifies == 1
    # What is left was asked for again before it was believed.
    assert len(sim.record()["api"]) >= 2
    await sim.wait_for("ready", count=2, timeout=20)
    await eventually(lambda: gateway.status is GatewayStatus.READY)
    assert gateway.identify_blocked_until is None
    assert gateway.metrics().identifies == 2


async def test_gateway_bot_is_asked_again_until_it_answers(propylon_simulator: Start, witness_to: Make) -> None:
    """§1: with retry; only 401 is final."""
    sim = propylon_simulator(guilds=0)
    sim.act(steps.api_response(503, times=2))
    witness = witness_to(sim, gateway_url=None, api_url=sim.api_url)
    await witness.gateway.open(timeout=10)
    assert [call["status"] for call in sim.record()["api"]] == [503, 503, 200]


async def test_the_bucket_of_a_shard_follows_max_concurrency(propylon_simulator: Start, witness_to: Make) -> None:
    """§5: shards of different buckets identify at once, side by side."""
    sim = propylon_simulator(guilds=0, max_concurrency=2, identify_interval=5.0)
    witnesses = [witness_to(sim, gateway_url=None, api_url=sim.api_url, shard=(number, 2)) for number in range(2)]
    before = time.monotonic()
    for witness in witnesses:
        await witness.gateway.open(timeout=10)
    assert time.monotonic() - before < 5


ASKED = Intents.GUILDS | Intents.GUILD_MEMBERS | Intents.GUILD_PRESENCES | Intents.MESSAGE_CONTENT


async def test_4014_names_the_intents_that_the_application_may_not_use(
    propylon_simulator: Start, witness_to: Make
) -> None:
    """§10: the close code does not say which; the application's flags do."""
    sim = propylon_simulator(guilds=0, disallowed_intents=Intents.GUILD_MEMBERS | Intents.MESSAGE_CONTENT)
    witness = witness_to(sim, gateway_url=None, api_url=sim.api_url, intents=ASKED)
    with pytest.raises(DisallowedIntents, match="not enabled: GUILD_MEMBERS, MESSAGE_CONTENT") as raised:
        await witness.gateway.open(timeout=10)
    assert raised.value.intents == Intents.GUILD_MEMBERS | Intents.MESSAGE_CONTENT
    error = witness.ends[0].error
    assert isinstance(error, DisallowedIntents)
    assert error.intents == raised.value.intents


async def test_4014_names_all_that_were_asked_for_where_the_api_does_not_answer(
    propylon_simulator: Start, witness_to: Make
) -> None:
    sim = propylon_simulator(guilds=0, disallowed_intents=Intents.GUILD_MEMBERS)
    witness = witness_to(sim, gateway_url=None, api_url=sim.api_url, intents=ASKED)
    sim.script(1, steps.wait_for_op(2))
    sim.act(steps.api_response(200, body=f'{{"url": "{sim.url}"}}'))
    sim.act(steps.api_response(500, times=5))
    with pytest.raises(DisallowedIntents, match="asked for") as raised:
        await witness.gateway.open(timeout=10)
    assert raised.value.intents == ASKED & Intents.PRIVILEGED
