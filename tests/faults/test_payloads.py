"""Bytes that are wrong, too many, or merely new: at most the connection is lost."""

from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually, message
from faults.conftest import Witness
from faults.memory import Peak
from propylon import DecompressionError, GatewayStatus, PayloadTooLarge
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Make = Callable[..., Witness]

COMPRESSIONS = ["zstd-stream", "zlib-stream", "payload", None]


@pytest.mark.parametrize("compression", COMPRESSIONS)
async def test_a_bomb_is_stopped_at_the_cap(propylon_simulator: Start, witness_to: Make, compression: Any) -> None:
    """F30."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim, compression=compression, max_payload_bytes=1024 * 1024)
    await witness.gateway.open(timeout=10)
    sim.act(steps.bomb(1))  # what Python, simulator and inflater need once
    await sim.wait_for("resumed")
    await eventually(lambda: witness.gateway.status is GatewayStatus.READY)
    peak = Peak()
    sim.act(steps.bomb(32))
    await sim.wait_for("resumed", count=2, timeout=30)
    # Uncompressed, the server itself holds 32 MiB; payload compression is asked for by IDENTIFY, not by RESUME.
    if compression not in ("payload", None):
        assert peak.growth < 24 * 1024 * 1024
    await eventually(lambda: witness.types.count("RESUMED") == 2)
    assert witness.types == ["READY", "RESUMED", "RESUMED"]
    for end in witness.ends:
        assert end.reconnect
        assert isinstance(end.error, PayloadTooLarge)


@pytest.mark.parametrize("compression", ["zstd-stream", "zlib-stream", "payload"])
@pytest.mark.parametrize("kind", ["corrupt", "garbage", "empty window", "dictionary", "truncated"])
async def test_what_cannot_be_inflated_costs_the_connection_alone(
    propylon_simulator: Start, witness_to: Make, compression: Any, kind: str
) -> None:
    """F31."""
    garbage: dict[str, dict[str, Any]] = {
        "zstd-stream": {
            # A frame of its own that announces a window of 2 GiB, and one with a dictionary.
            "empty window": steps.send_binary(bytes.fromhex("28b52ffd00a8010000")),
            "dictionary": steps.send_binary(bytes.fromhex("28b52ffd014007010000")),
            "truncated": steps.send_binary(bytes.fromhex("28b52ffd")),
        },
        "zlib-stream": {
            "empty window": steps.send_binary(bytes.fromhex("789c") * 4 + bytes.fromhex("0000ffff")),
            "dictionary": steps.send_binary(bytes.fromhex("78bb00000001") + bytes.fromhex("0000ffff")),
            "truncated": steps.send_binary(bytes.fromhex("ff0000ffff")),
        },
        "payload": {
            "empty window": steps.send_binary(bytes.fromhex("1f8b0800")),
            "dictionary": steps.send_binary(bytes.fromhex("78bb00000001")),
            "truncated": steps.send_binary(bytes.fromhex("789c")),
        },
    }
    step = (
        garbage[compression].get(kind)
        or {
            "corrupt": steps.corrupt(),
            "garbage": steps.send_binary(b"\xff" * 40 + b"\x00\x00\xff\xff"),
        }[kind]
    )
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim, compression=compression)
    await witness.gateway.open(timeout=10)
    sim.act(step)
    sim.dispatch("TYPING_START", {"n": 1})
    await sim.wait_for("resumed")
    sim.dispatch("TYPING_START", {"n": 2})
    await eventually(lambda: len(witness.heard("TYPING_START")) == 2)
    assert [event.json() for event in witness.heard("TYPING_START")] == [{"n": 1}, {"n": 2}]
    assert witness.gateway.metrics().malformed == 1
    (end,) = witness.ends
    assert end.reconnect
    if (compression, kind) == ("payload", "corrupt"):
        # A small document comes as plain text: there it is the JSON that is wrong.
        assert "not JSON" in end.reason
    else:
        assert isinstance(end.error, DecompressionError)
        assert str(end.error)


@pytest.mark.parametrize("compression", COMPRESSIONS)
async def test_a_plain_text_in_a_compressed_stream_is_taken(
    propylon_simulator: Start, witness_to: Make, compression: Any
) -> None:
    """F32."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim, compression=compression)
    await witness.gateway.open(timeout=10)
    sim.act(steps.send_text('{"op":0,"t":"TYPING_START","s":2,"d":{"n":1}}'))
    await eventually(lambda: witness.heard("TYPING_START"))
    assert not witness.ends


ODD_EVENTS: dict[str, tuple[str, str, str]] = {
    "unknown event": ('{"t":"GUILD_TOMORROW","s":2,"op":0,"d":{"a":[1]}}', "GUILD_TOMORROW", '{"a":[1]}'),
    "unknown fields": ('{"x":{"op":9,"d":false},"t":"RESUMED_NOT","s":2,"op":0,"d":1,"_trace":[]}', "RESUMED_NOT", "1"),
    "op inside d first": ('{"d":{"op":7,"t":"X","s":99},"op":0,"s":2,"t":"TYPING_START"}', "TYPING_START", ""),
    "white space": (' {\n"t" : "TYPING_START" ,\t"s": 2,"op" :0,"d": { } } ', "TYPING_START", "{ }"),
    "escapes": ('{"t":"TYPING\\u005fSTART","s":2,"op":0,"d":{}}', "TYPING_START", "{}"),
    "null": ('{"t":"TYPING_START","s":2,"op":0,"d":null}', "TYPING_START", "null"),
    "lone surrogate": ('{"t":"TYPING_START","s":2,"op":0,"d":{"x":"\\ud800"}}', "TYPING_START", '{"x":"\\ud800"}'),
    "no JSON": ('{"t":"TYPING_START","s":2,"op":0,"d":{"a":tru,}}', "TYPING_START", '{"a":tru,}'),
    "NUL": ('{"t":"TYPING_START","s":2,"op":0,"d":{"x":"\0"}}', "TYPING_START", '{"x":"\0"}'),
    "BOM": ('{"t":"TYPING_START","s":2,"op":0,"d":"\ufeff"}', "TYPING_START", '"\ufeff"'),
    # As they came: 0xFF, and a slash in two bytes.
    "no UTF-8": ('{"t":"TYPING_START","s":2,"op":0,"d":"\udcff"}', "TYPING_START", '"\udcff"'),
    "overlong": ('{"t":"TYPING_START","s":2,"op":0,"d":"\udcc0\udcaf"}', "TYPING_START", '"\udcc0\udcaf"'),
    "huge number": ('{"t":"TYPING_START","s":2,"op":0,"d":1e999}', "TYPING_START", "1e999"),
    "long number": ('{"t":"TYPING_START","s":2,"op":0,"d":' + "9" * 100_000 + "}", "TYPING_START", "9" * 100_000),
    "deep": (
        '{"t":"TYPING_START","s":2,"op":0,"d":' + "[" * 100_000 + "]" * 100_000 + "}",
        "TYPING_START",
        "[" * 100_000 + "]" * 100_000,
    ),
}


@pytest.mark.parametrize("name", ODD_EVENTS)
async def test_odd_events_arrive_as_they_are(propylon_simulator: Start, witness_to: Make, name: str) -> None:
    """F33, F34, F35."""
    payload, event, raw = ODD_EVENTS[name]
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    sim.act(steps.send_payload(payload.encode("utf-8", "surrogateescape")))
    await eventually(lambda: witness.heard(event))
    (dispatch,) = witness.heard(event)
    assert dispatch.sequence == 2
    assert dispatch.raw.decode("utf-8", "surrogateescape") == (raw or '{"op":7,"t":"X","s":99}')
    assert witness.gateway.session is not None
    assert witness.gateway.session.sequence == 2
    # The server has not sent it as its own, so it will not resume there; but that is what it is asked for.
    sim.act(steps.reset())
    await sim.wait_for("op", op=6)
    assert sim.record()["connections"][1]["ops"][0]["payload"]["d"]["seq"] == 2


@pytest.mark.parametrize(
    "payload",
    [
        '{"op":99,"d":null}',
        '{"op":12,"d":{},"s":null,"t":null}',
        '{"op":"0","t":"TYPING_START","s":2,"d":{}}',
        '{"op":1.5,"d":null}',
        '{"op":18446744073709551616,"d":null}',
        '{"op":-1}',
        '{"d":null}',
        "{}",
        '{"op":10,"d":{"heartbeat_interval":20}}',
    ],
)
async def test_unknown_opcodes_are_counted_and_ignored(
    propylon_simulator: Start, witness_to: Make, payload: str
) -> None:
    """F34, F35."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    before = witness.gateway.metrics().ignored
    sim.send_raw(payload)
    sim.dispatch("TYPING_START", {})
    await eventually(lambda: witness.heard("TYPING_START"))
    # The engine may tell the event before it shows what it has counted of the same read.
    await eventually(lambda: witness.gateway.metrics().ignored == before + 1)
    assert not witness.ends


async def test_sequences_that_jump_go_back_or_are_missing(propylon_simulator: Start, witness_to: Make) -> None:
    """F36."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim)
    gateway = witness.gateway
    await gateway.open(timeout=10)
    for sequence in ("2", "9", "9", "3", "null", "10"):
        sim.send_raw(f'{{"t":"TYPING_START","s":{sequence},"op":0,"d":{{}}}}')
    await eventually(lambda: len(witness.heard("TYPING_START")) == 6)
    assert witness.sequences == [1, 2, 9, 9, 3, None, 10]
    assert gateway.session is not None
    assert gateway.session.sequence == 10
    await eventually(lambda: gateway.metrics().duplicates == 2)
    assert not witness.ends


async def test_any_damage_to_known_events_leaves_the_shard_alive(propylon_simulator: Start, witness_to: Make) -> None:
    """F35."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    for event in (
        "PRESENCE_UPDATE",
        "GUILD_CREATE",
        "MESSAGE_CREATE",
        "TYPING_START",
        "READY",
        "RESUMED",
        "RATE_LIMITED",
    ):
        for data in ({}, [], None, 5, "x", {"id": None, "user": 5, "guild_id": []}):
            if event == "READY":
                continue  # a second READY would be a new session: see below
            sim.dispatch(event, data)
    sim.dispatch("MESSAGE_CREATE", message("fine"))
    await eventually(lambda: witness.types.count("MESSAGE_CREATE") == 7)
    assert witness.sequences == list(range(1, 6 * 6 + 3))
    assert witness.heard("MESSAGE_CREATE")[-1].data.content == "fine"
    for dispatch in witness.events:
        assert dispatch.raw
        _ = dispatch.model_error
    assert not witness.ends


async def test_a_second_ready_is_adopted(propylon_simulator: Start, witness_to: Make) -> None:
    """F13."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    sim.send_raw('{"t":"READY","s":1,"op":0,"d":{"session_id":"another","resume_gateway_url":null}}')
    await eventually(lambda: len(witness.heard("READY")) == 2)
    assert witness.gateway.session is not None
    assert witness.gateway.session.id == "another"
    sim.send_raw('{"t":"RESUMED","s":2,"op":0,"d":{}}')
    await eventually(lambda: witness.heard("RESUMED"))
    assert witness.gateway.metrics().resumes == 0
    assert not witness.ends


@pytest.mark.parametrize(
    "step",
    [
        steps.ping_flood(20_000, size=125),
        steps.continuation_flood(20_000),
        steps.continuation_flood(20_000, finish=True),
    ],
    ids=["pings", "endless message", "message of nothing"],
)
async def test_floods_of_frames_are_survived(propylon_simulator: Start, witness_to: Make, step: Any) -> None:
    """F26, F27: alive in the same or the next connection, the server's events heard."""
    sim = propylon_simulator(guilds=0, heartbeat_interval=3)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    peak = Peak()
    sim.act(step)
    if step["step"] == "continuation_flood":
        # The message never makes sense; it is the server's own end of it that frees the way.
        sim.act(steps.reset())
        await sim.wait_for("resumed")
    sim.dispatch("TYPING_START", {})
    await eventually(lambda: witness.heard("TYPING_START"))
    assert peak.growth < 32 * 1024 * 1024
