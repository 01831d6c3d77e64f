"""``wake_interval``: events that come one by one are read and handed out together."""

import asyncio
from collections.abc import Callable

import pytest

from face.support import eventually, make_gateway
from propylon import Dispatch
from propylon.testing import Simulator, steps

EVENTS = 500
INTERVAL = 0.05


@pytest.mark.asyncio
@pytest.mark.parametrize("others", [0, 2], ids=["alone", "beside two that may wait longer"])
async def test_events_that_come_one_by_one_wake_the_loop_once_in_an_interval(
    propylon_simulator: Callable[..., Simulator], others: int
) -> None:
    sim = propylon_simulator(guilds=0, rate=1000, tick=0.001, count=EVENTS, start="manual", identify_interval=0)
    gateway = make_gateway(sim, wake_interval=INTERVAL)
    beside = [make_gateway(sim, wake_interval=1.0, gateway_url=None, api_url=sim.api_url) for _ in range(others)]
    heard: list[int | None] = []

    @gateway.listen
    def on_any(dispatch: Dispatch) -> None:
        heard.append(dispatch.sequence)

    try:
        for each in (gateway, *beside):
            await each.open(timeout=10)
        before = gateway.metrics()
        async with gateway.stream(Dispatch) as stream:
            sim.flood()
            async for dispatch in stream:
                if dispatch.sequence == EVENTS + 1:
                    break
        after = gateway.metrics()
        # The second of the others must not count: so many would take more than twice as long as there is.
        async with asyncio.timeout(10):
            while others and gateway.metrics().wakeups - after.wakeups < 25:
                sim.dispatch("TYPING_START", {})
                await asyncio.sleep(0.01)
        # Nor are heartbeats and what acknowledges them held up.
        sim.act(steps.request_heartbeats(), "every")
        await eventually(lambda: all(each.latency is not None for each in (gateway, *beside)))
    finally:
        for each in (gateway, *beside):
            await each.close()
    assert heard[1 : EVENTS + 1] == list(range(2, EVENTS + 2))
    # 0.5 s of them are some ten intervals; on a machine that is slow it is the server that makes more come together.
    assert after.wakeups - before.wakeups < EVENTS // 5
    assert all(connection["closed"]["code"] == 1000 for connection in sim.record()["connections"])
