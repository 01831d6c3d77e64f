"""`request_soundboard_sounds`, `request_channel_info`, and the limit on what leaves (protocol.md §7)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from commands.conftest import NOBODYS, guild, nothing_waits, sent
from face.support import eventually
from propylon import CommandError, CommandTooLarge, Gateway, NotConnected, RateLimit, RateLimited, RequestTimeout
from propylon.events import ChannelInfo, SoundboardSounds
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]


async def test_the_sounds_of_each_guild_in_the_order_asked(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    answers = await gateway.request_soundboard_sounds([guild(3), str(guild(1)), guild(3)])
    assert [answer.guild_id for answer in answers] == [guild(3), guild(1)]
    assert all(type(answer) is SoundboardSounds and answer.soundboard_sounds for answer in answers)
    assert sent(sim, 31) == [{"guild_ids": [str(guild(3)), str(guild(1))]}]
    assert nothing_waits(gateway)


async def test_the_fields_of_channels(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    both = await gateway.request_channel_info(guild(2))
    assert type(both) is ChannelInfo
    assert both.channels[0].status == "watching otters"
    assert both.channels[0].voice_start_time
    one = await gateway.request_channel_info(str(guild(2)), ["status"])
    assert not one.channels[0].voice_start_time
    asked = {"guild_id": str(guild(2))}
    assert sent(sim, 43) == [{**asked, "fields": ["status", "voice_start_time"]}, {**asked, "fields": ["status"]}]


async def test_answers_go_to_requests_in_their_order(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    sim.act(steps.manual())
    tasks = [asyncio.create_task(gateway.request_channel_info(NOBODYS)) for _ in range(2)]
    await sim.wait_for("op", op=43, count=2)
    for number in (1, 2):
        channels = [{"id": str(number), "status": None}]
        sim.dispatch("CHANNEL_INFO", {"guild_id": str(NOBODYS), "channels": channels})
    answers = await asyncio.gather(*tasks)
    assert [answer.channels[0].id for answer in answers] == [1, 2]


async def test_what_is_missing_is_told(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    sim.act(steps.manual())
    task = asyncio.create_task(gateway.request_soundboard_sounds([1, 2, 3], timeout=2.5))
    await sim.wait_for("op", op=31)
    sim.dispatch("SOUNDBOARD_SOUNDS", {"guild_id": "2", "soundboard_sounds": []})
    with pytest.raises(RequestTimeout, match="no answer for 1, 3 "):
        await task
    with pytest.raises(RequestTimeout, match="channel info of guild 1: no answer"):
        await gateway.request_channel_info(1, timeout=0.05)


async def test_rate_limits_and_ends(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    sim.act(steps.manual())
    sounds = [asyncio.create_task(gateway.request_soundboard_sounds([number])) for number in (1, 2)]
    info = asyncio.create_task(gateway.request_channel_info(1))
    await sim.wait_for("op", op=43)
    await sim.wait_for("op", op=31, count=2)
    sim.dispatch("RATE_LIMITED", {"opcode": 31, "retry_after": 3, "meta": {"guild_id": "2"}})
    with pytest.raises(RateLimited) as caught:
        await sounds[1]
    assert caught.value.retry_after == 3
    sim.dispatch("RATE_LIMITED", {"opcode": 43, "retry_after": 4.5, "meta": {}})
    with pytest.raises(RateLimited) as caught:
        await info
    assert caught.value.retry_after == 4.5
    assert not sounds[0].done()
    await gateway.close()
    with pytest.raises(NotConnected):
        await sounds[0]
    assert nothing_waits(gateway)


@pytest.mark.parametrize("guilds", [[], "123", 5, [True], [1.0], [float("nan")], [None]])
async def test_what_are_no_guilds(propylon_simulator: Start, gateway_to: Any, guilds: Any) -> None:
    gateway: Gateway = gateway_to(propylon_simulator())
    with pytest.raises(CommandError, match="guild_ids"):
        await gateway.request_soundboard_sounds(guilds)


@pytest.mark.parametrize("fields", [[], "status", [1], [""], [None]])
async def test_what_are_no_fields(propylon_simulator: Start, gateway_to: Any, fields: Any) -> None:
    gateway: Gateway = gateway_to(propylon_simulator())
    with pytest.raises(CommandError, match="fields must be"):
        await gateway.request_channel_info(1, fields)


async def test_more_guilds_than_fit_are_refused(propylon_simulator: Start, gateway_to: Any) -> None:
    """F38."""
    gateway: Gateway = gateway_to(propylon_simulator())
    with pytest.raises(CommandTooLarge):
        await gateway.request_soundboard_sounds(range(2**63, 2**63 + 200))


async def test_the_rate_limit_can_be_read(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    fresh = gateway.rate_limit
    assert isinstance(fresh, RateLimit)
    assert fresh.resets_in == 0
    await gateway.open(timeout=10)
    # IDENTIFY has taken one; room for beats every 41.25 s and for answers to Discord's is kept aside.
    await eventually(lambda: gateway.rate_limit.remaining == 120 - 3 - 5 - 1)
    for _ in range(10):
        await gateway.send(31, {"guild_ids": []})
    await eventually(lambda: gateway.rate_limit.remaining == 120 - 3 - 5 - 11)
    assert 50 < gateway.rate_limit.resets_in < 61
    # A new connection has a window of its own, with RESUME in it.
    sim.act(steps.reset())
    await sim.wait_for("resumed")
    await eventually(lambda: gateway.rate_limit.remaining == 120 - 3 - 5 - 1)


async def test_commands_never_exceed_discords_limit_and_keep_their_order(
    propylon_simulator: Start, gateway_to: Any
) -> None:
    """The simulator closes with 4008 beyond 120 in 60 s."""
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    waiting = [asyncio.create_task(gateway.send(31, {"n": number})) for number in range(200)]
    await eventually(lambda: gateway.rate_limit.remaining == 0)
    # Beats that are asked for: those of a short interval would make a zombie of a busy machine.
    for beats in (1, 2):
        sim.act(steps.request_heartbeats())
        await eventually(lambda beats=beats: gateway.metrics().heartbeats >= beats)
    assert gateway.metrics().reconnects == 0
    await gateway.close()
    # Now that the close is answered, all that was sent before it has been read.
    numbers = [data["n"] for data in sent(sim, 31)]
    assert numbers == list(range(len(numbers)))
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(outcome, NotConnected) for outcome in outcomes) == 200 - len(numbers)
