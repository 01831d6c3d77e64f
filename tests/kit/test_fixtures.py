"""The fixtures of the plugin, as the tests of a bot use them."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from propylon import Gateway, GatewayStatus, Intents
from propylon.events import MessageCreate
from propylon.testing import Simulator, make, steps

pytest_plugins = ["pytester"]


@pytest.mark.asyncio
async def test_a_gateway_is_made_for_a_simulator(
    propylon_simulator: Callable[..., Simulator], propylon_gateway: Callable[..., Gateway]
) -> None:
    sim = propylon_simulator(tls=True)
    gateway = propylon_gateway(sim, intents=Intents.GUILD_MESSAGES)
    assert gateway.status is GatewayStatus.UNCONNECTED
    async with gateway, gateway.stream(MessageCreate) as messages:
        sim.dispatch("MESSAGE_CREATE", make(MessageCreate, content="!ping"))
        assert (await anext(messages)).content == "!ping"
    assert sim.record()["sessions"][0]["intents"] == Intents.GUILD_MESSAGES


@pytest.mark.asyncio
async def test_no_gateway_waits_for_the_identify_of_another_or_of_its_own(
    propylon_simulator: Callable[..., Simulator], propylon_gateway: Callable[..., Gateway]
) -> None:
    """Against Discord each of these IDENTIFYs would come 5 s after the one before."""
    sim, began = propylon_simulator(), time.monotonic()
    async with propylon_gateway(sim), propylon_gateway(sim):
        sim.act(steps.expire_sessions())
        sim.act(steps.reset(), "every")
        await sim.wait_for("ready", count=4)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_they_work_in_both_modes_of_pytest_asyncio(
    pytester: pytest.Pytester, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(__file__).with_name("of_a_user.py").read_text()
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:propylon._core is a debug build:RuntimeWarning")
    pytester.makepyfile(test_bot=source)
    done = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", "-o", f"asyncio_mode={mode}", timeout=60)
    done.assert_outcomes(passed=2)


def test_a_test_without_a_plugin_for_asyncio_uses_them_too(
    propylon_simulator: Callable[..., Simulator], propylon_gateway: Callable[..., Gateway]
) -> None:
    async def main() -> None:
        async with propylon_gateway(sim):
            await sim.expect(op=2)

    sim = propylon_simulator()
    asyncio.run(main())
