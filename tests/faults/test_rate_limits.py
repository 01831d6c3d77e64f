"""HTTP 429 has a name of its own in the log and in the error (F03). When it is knocked on again is Rust's to prove."""

from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from faults.conftest import Witness
from propylon import Backoff, Gateway, HandshakeError
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Make = Callable[..., Witness]


@pytest.mark.parametrize("by_api", [False, True], ids=["upgrade", "/gateway/bot"])
async def test_f03_a_rate_limit_is_called_so(
    propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture, by_api: bool
) -> None:
    sim = propylon_simulator(guilds=0)
    body = '{"message": "You are being rate limited.", "retry_after": 0.5, "global": false}'
    sim.act(steps.api_response(429, body=body)) if by_api else sim.script(1, steps.http_response(429, body=body))
    way = {"gateway_url": None, "api_url": sim.api_url} if by_api else {}
    once: Gateway = gateway_to(sim, auto_reconnect=False, **way)
    with pytest.raises(HandshakeError, match=r"^rate limited: .*HTTP 429.*: too many connections from here; wait"):
        await once.open(timeout=10)
    sim.act(steps.api_response(429, body=body)) if by_api else sim.script("next", steps.http_response(429, body=body))
    again: Gateway = gateway_to(sim, backoff=Backoff(base=0.01, cap=10), **way)
    await again.open(timeout=10)
    await eventually(lambda: "no connection (rate limited): " in caplog.text)
    assert "trying again in 0.5 s" in caplog.text
    assert "unreachable" not in caplog.text
