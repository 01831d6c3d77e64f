"""What the log tells: the turns of a connection, and, on request, payloads without their secrets."""

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually, message
from propylon import Dispatch, Gateway
from propylon.events import MessageCreate, Ready, VoiceServerUpdate
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])

Start = Callable[..., Simulator]


def told(caplog: pytest.LogCaptureFixture, name: str = "propylon.gateway") -> list[str]:
    """The lines of one logger, with their levels."""
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records if record.name == name]


async def test_the_turns_of_a_connections_life(
    propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "propylon")
    sim = propylon_simulator(guilds=0, heartbeat_interval=30, shards=4)
    gateway: Gateway = gateway_to(sim, shard=(1, 4))
    await gateway.open(timeout=10)
    sim.dispatch("TYPING_START", {})
    await eventually(lambda: gateway.metrics().received == 2)
    sim.act(steps.close(4000, "go"))
    await eventually(lambda: gateway.metrics().resumes == 1)
    await eventually(lambda: "RESUMED" in caplog.text)
    await gateway.close()
    here = f"127.0.0.1:{sim.port}"
    assert told(caplog) == [
        f"DEBUG shard 1: connecting to {here}",
        "DEBUG shard 1: connected; waiting for HELLO",
        "DEBUG shard 1: HELLO: a heartbeat every 30 s; waiting for leave to IDENTIFY",
        "DEBUG shard 1: IDENTIFY sent; waiting for READY",
        "INFO shard 1: READY: a new session",
        "INFO shard 1: connection closed: 4000 'go', reconnect=True",
        f"DEBUG shard 1: connecting to {here}, to resume",
        "DEBUG shard 1: connected; waiting for HELLO",
        "DEBUG shard 1: HELLO: a heartbeat every 30 s; RESUME sent, from sequence 2",
        "INFO shard 1: RESUMED: the session goes on",
        "INFO shard 1: connection closed: 1000 '', reconnect=False",
    ]


async def test_the_delay_before_the_next_connection(
    propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "propylon")
    sim = propylon_simulator(guilds=0, scripts={1: [steps.no_hello(), steps.close(4000, "not now")]})
    await gateway_to(sim).open(timeout=10)
    lines = told(caplog)
    closed = lines.index("INFO connection closed: 4000 'not now', reconnect=True")
    assert lines[closed + 1].startswith("DEBUG next connection in 0.")
    assert lines[closed + 2].startswith("DEBUG connecting to")


async def test_nothing_is_said_unless_the_program_lets_it(
    propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    gateway.log_payloads()
    await gateway.open(timeout=10)
    await eventually(lambda: gateway.metrics().delivered > 5)
    await gateway.close()
    # A busy machine may stop a listener for as long as is warned of.
    assert not [record for record in caplog.records if "held the event loop" not in record.msg]


async def test_pauses_of_the_reading(
    propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "propylon")
    sim = propylon_simulator(guilds=0, rate=None, start="manual")
    gateway: Gateway = gateway_to(sim, queue_bytes=1)

    @gateway.listen
    def everything(dispatch: Dispatch) -> None: ...

    await gateway.open(timeout=10)
    sim.flood()
    await eventually(lambda: gateway.metrics().pauses > 100)
    await eventually(lambda: "read again" in caplog.text)
    sim.flood(False)
    lines = [line for line in told(caplog) if "socket" in line]
    # A queue so small pauses with every event: one of its pauses is told, not thousands.
    assert lines[0].startswith("INFO listeners do not keep up and the queue is full: the socket is not read until")
    assert re.match(r"INFO the socket is read again, after \d+\.\d", lines[1])
    assert len(lines) <= 2 + 2 * 30 / 10


async def test_payloads_are_written_as_they_come_without_their_secrets(
    propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "propylon")
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    log = gateway.log_payloads(Ready, VoiceServerUpdate | MessageCreate, "GUILD_TOMORROW")
    await gateway.open(timeout=10)
    session = gateway.session
    assert session is not None
    sim.dispatch("VOICE_SERVER_UPDATE", b'{"t\\u006fken":"hush","guild_id":"1","endpoint":null}')
    sim.dispatch("MESSAGE_CREATE", message("x" * 5_000))
    sim.dispatch("GUILD_TOMORROW", {"deep": [{"session_id": "hush", "token": None, "secrets": {"join": "hush"}}]})
    sim.dispatch("GUILD_TOMORROW", b'["hush",1e999x]')
    sim.dispatch("MESSAGE_CREATE", message("\x1b[31m\n\u009b31m\u2028forged"))
    sim.dispatch("TYPING_START", {"n": 1})
    sim.dispatch("MESSAGE_CREATE", message("last"))
    await eventually(lambda: "last" in caplog.text)
    ready, voice, long, tomorrow, broken, forged, last = told(caplog, "propylon.payload")
    assert ready.startswith("DEBUG shard 0: READY s=1 {")
    assert '"session_id":"<hidden>"' in ready
    assert session.id not in caplog.text
    assert voice == 'DEBUG shard 0: VOICE_SERVER_UPDATE s=2 {"token":"<hidden>","guild_id":"1","endpoint":null}'
    assert len(long) < 2_200
    assert long.endswith("characters)")
    expected = {"deep": [{"session_id": "<hidden>", "token": None, "secrets": "<hidden>"}]}
    assert json.loads(tomorrow.partition("s=4 ")[2]) == expected
    assert "bytes that are not JSON" in broken
    assert r"\u001b[31m\n\x9b31m\u2028forged" in forged
    assert '"content":"last"' in last
    assert "hush" not in caplog.text

    log.remove()
    sim.dispatch("MESSAGE_CREATE", message("unlogged"))
    await eventually(lambda: gateway.metrics().unheard_by_type.get("MESSAGE_CREATE"))
    assert "unlogged" not in caplog.text


@pytest.mark.parametrize("wrong", ["message_create", "", "MESSAGE CREATE", 5, str])
async def test_what_is_no_event_cannot_be_logged(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="log_payloads"):
        Gateway("token").log_payloads(wrong)
