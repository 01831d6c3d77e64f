"""What `/gateway/bot` may answer: nothing of it is followed blindly, kept in memory without limit, or repeated."""

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from faults.conftest import Witness
from propylon import AuthenticationFailed, Backoff, Gateway, HandshakeError, Intents
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Make = Callable[..., Witness]

TOKEN = "MTA0NTY3.hush-hush.0123456789abcdef"

ANSWERS: dict[str, tuple[dict[str, Any], str]] = {
    "429": (steps.api_response(429, body=f"slow down {TOKEN}"), "GET /gateway/bot: HTTP 429"),
    "502": (steps.api_response(502, body="x" * 1_000_000), "GET /gateway/bot: HTTP 502"),
    "not JSON": (steps.api_response(200, body=f"<html>{TOKEN}</html>"), "the answer is not what Discord's API says"),
    "no URL": (steps.api_response(200, body='{"shards":1}'), "the answer is not what Discord's API says.*url"),
    "wrong type": (
        steps.api_response(200, body=f'{{"url":"wss://x","shards":"{TOKEN}"}}'),
        "invalid type: string at line 1",
    ),
    "no URL at all": (steps.api_response(200, body=f'{{"url":"{TOKEN}"}}'), "<hidden>.* is no URL"),
    "endless URL": (steps.api_response(200, body=f'{{"url":"wss://{"x" * 300}"}}'), "over 200 bytes"),
    "deep": (steps.api_response(200, body="[" * 60_000), "the answer is not what Discord's API says"),
    "large": (steps.api_response(200, body='{"url":"' + "x" * 1_000_000), "length limit"),
    "large head": (steps.api_response(200, headers={"X": "x" * 1_000_000}), "GET /gateway/bot: "),
    "plaintext gateway": (steps.api_response(200, body='{"url":"ws://gateway.example"}'), "unencrypted"),
    "http gateway": (steps.api_response(200, body='{"url":"https://gateway.example"}'), "wss:// or ws://"),
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_an_answer_that_is_of_no_use_is_an_error(
    propylon_simulator: Start, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F03, F40."""
    caplog.set_level(logging.DEBUG)
    step, words = ANSWERS[answer]
    sim = propylon_simulator()
    sim.act(step)
    gateway = Gateway(TOKEN, api_url=sim.api_url, auto_reconnect=False)
    with pytest.raises(HandshakeError, match=words) as raised:
        await gateway.open(timeout=10)
    assert "hush" not in str(raised.value) + caplog.text
    assert len(str(raised.value)) < 300
    assert not sim.record()["connections"]


async def test_a_redirect_would_get_the_token_and_is_not_followed(propylon_simulator: Start) -> None:
    elsewhere, sim = propylon_simulator(), propylon_simulator()
    location = elsewhere.api_url + "/gateway/bot"
    sim.act(steps.api_response(307, headers={"Location": location}))
    with pytest.raises(HandshakeError, match=r"HTTP 307.*redirects are not followed, so check api_url"):
        await Gateway(TOKEN, api_url=sim.api_url, auto_reconnect=False).open(timeout=10)
    assert not elsewhere.record()["api"]


async def test_a_refused_token_is_the_end(propylon_simulator: Start) -> None:
    sim = propylon_simulator(token="another")
    with pytest.raises(AuthenticationFailed, match="HTTP 401"):
        await Gateway(TOKEN, api_url=sim.api_url).open(timeout=10)
    assert len(sim.record()["api"]) == 1


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [("0.4", 0.4, 5.0), ("1", 1.0, 5.0), ("1e9", 1.5, 10.0), ("soon", 1.5, 10.0), ("-5", 1.5, 10.0)],
    ids=["decimals", "seconds", "as long as the cap allows", "no number", "the past"],
)
async def test_retry_after_is_honoured(
    propylon_simulator: Start, witness_to: Make, said: str, least: float, most: float
) -> None:
    """F03. What is of no use says nothing: then it is half a minute, unless the cap is lower."""
    sim = propylon_simulator(guilds=0)
    sim.act(steps.api_response(429, headers={"Retry-After": said}))
    witness = witness_to(sim, gateway_url=None, api_url=sim.api_url, backoff=Backoff(base=0.001, cap=1.5))
    started = time.monotonic()
    await witness.gateway.open(timeout=20)
    assert least <= time.monotonic() - started
    first, second = sim.record()["api"]
    # Generous above: only a wait that was not asked for would be longer than what was.
    assert second["ms"] - first["ms"] < most * 1000
    assert second["headers"]["authorization"].startswith("Bot token-")
    assert second["headers"]["user-agent"].startswith("DiscordBot (https://")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://discord.com/api/v10", "allow_plaintext"),
        ("discord.com/api/v10", "is no URL"),
        ("ftp://discord.com", "https:// or http://"),
    ],
)
async def test_a_base_that_cannot_work_is_refused_where_it_is_written(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=rf"api_url .*{words}"):
        Gateway(TOKEN, api_url=url)
    # It is not asked where the gateway is known.
    Gateway(TOKEN, api_url=url, gateway_url="wss://gateway.discord.gg")


async def test_against_a_simulator_the_identify_gate_keeps_to_what_its_gateway_bot_says(
    propylon_simulator: Callable[..., Simulator],
) -> None:
    """A test that opens a gateway again with the same token need not wait for Discord's 5 s."""
    simulator = propylon_simulator(guilds=0, identify_interval=0)
    gateway = Gateway("token-of-the-quick", intents=Intents.GUILDS, api_url=simulator.api_url)
    begun = time.monotonic()
    for _ in range(4):
        await gateway.open(timeout=10)
        await gateway.close()
    assert gateway.metrics().identifies == 4
    # One interval of Discord's is longer than that; no more is said about speed.
    assert time.monotonic() - begun < 5
