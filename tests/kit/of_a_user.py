"""Tests of a bot, run by test_fixtures.py under the modes of pytest-asyncio."""

import pytest


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [1, 2])
async def test_bot(propylon_simulator, propylon_gateway, number):
    sim = propylon_simulator()
    async with propylon_gateway(sim):
        identify = await sim.expect(op=2)
        assert identify["token"].startswith("token-")
