"""Connections that end while a session lives: RESUME at once, at the right place, nothing is lost (protocol.md §9)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from faults.conftest import Witness, ops
from propylon import Backoff, Dispatch, GatewayStatus, Timeouts
from propylon.events import TypingStart
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Make = Callable[..., Witness]

ENDS = {
    "op 7": [steps.reconnect()],
    "op 7, then its close": [steps.reconnect(), steps.close(4000)],
    "op 9 true": [steps.invalid_session(True)],
    "reset": [steps.reset()],
    "drop": [steps.drop()],
    "half close": [steps.half_close()],
    "close without code": [steps.close()],
    **{f"close {code}": [steps.close(code)] for code in (1000, 1001, 1011, 1012, 4000, 4002, 4999)},
    "malformed close": [steps.close_raw(b"\x03")],
    "reserved close code": [steps.close_raw(b"\x03\xed")],
    "close reason no UTF-8": [steps.close_raw(b"\x0f\xa0\xff\xfe")],
    "corrupt": [steps.corrupt(), steps.dispatch("TYPING_START", {"n": 1})],
    "no JSON": [steps.send_payload("no JSON")],
    "masked frame": [steps.send_frame(1, "{}", masked=True)],
    "reserved bits": [steps.send_frame(1, "{}", rsv=4)],
    "reserved opcode": [steps.send_frame(3, "{}")],
    "fragmented ping": [steps.send_frame(9, "x", fin=False)],
    "continuation of nothing": [steps.send_frame(0, "{}")],
    "interleaved messages": [steps.send_frame(1, "{", fin=False), steps.send_frame(1, "{}")],
    "announces 2^63 bytes": [steps.send_frame(2, "{}", length=2**63)],
    "announces 2^40 bytes": [steps.send_frame(2, "{}", length=2**40)],
    "reset within a frame": [steps.send_frame(2, "{}", length=100), steps.reset()],
    "FIN within a frame": [steps.send_frame(2, "{}", length=100), steps.drop()],
    "close frame without FIN": [steps.send_frame(8, b"\x0f\xa0")],
}


@pytest.mark.parametrize("end", ENDS)
async def test_the_session_is_resumed_at_once_and_without_loss(
    propylon_simulator: Start, witness_to: Make, end: str
) -> None:
    """F07, F09, F20, F21, F22, F25, F31."""
    sim = propylon_simulator(guilds=1, separate_resume_port=True)
    witness = witness_to(sim)
    gateway = witness.gateway
    await gateway.open(timeout=10)
    sim.dispatch("TYPING_START", {"n": 0})
    for step in ENDS[end]:
        try:
            sim.act(step, 1)
        except RuntimeError:  # the connection has ended by the step before
            assert step is not ENDS[end][0]
    await sim.wait_for("closed", connection=1)
    sim.dispatch("TYPING_START", {"n": 2})
    await sim.wait_for("resumed")
    await eventually(lambda: gateway.metrics().resumes == 1)
    last = sim.dispatch("TYPING_START", {"n": 3}) and sim.record()["sessions"][0]["sequence"]
    await eventually(lambda: witness.sequences and witness.sequences[-1] == last)
    assert witness.sequences == list(range(1, last + 1))
    first, second = sim.record()["connections"]
    assert (first["port"], second["port"]) == ("main", "resume")
    assert first["query"] == second["query"]
    assert (ops(first), ops(second)) == ([2], [6])
    assert first["closed"]["code"] not in (1000, 1001) or end in ("close 1000", "close 1001")  # the echo
    assert witness.ends[0].reconnect
    metrics = gateway.metrics()
    assert (metrics.reconnects, metrics.identifies, metrics.duplicates) == (1, 1, 0)
    assert gateway.status is GatewayStatus.READY


async def test_s2_the_sequence_is_stored_before_a_listener_sees_the_event(
    propylon_simulator: Start, witness_to: Make
) -> None:
    """§2: whatever a listener does to its process, a RESUME would not ask for this event again."""
    sim = propylon_simulator(guilds=2, rate=None, count=2_000)
    witness = witness_to(sim)
    gateway = witness.gateway
    stored: list[tuple[int, int]] = []

    @gateway.listen(Dispatch)
    def look(dispatch: Dispatch[Any]) -> None:
        assert dispatch.sequence is not None
        stored.append((dispatch.sequence, gateway.session.sequence if gateway.session else 0))

    await gateway.open(timeout=10)
    await eventually(lambda: len(stored) == 2_003)
    assert [heard for heard, known in stored if heard > known] == []


async def test_a_flood_that_is_cut_again_and_again_arrives_whole_and_in_order(
    propylon_simulator: Start, witness_to: Make
) -> None:
    """F22, F23: by the sequence, over every way to cut."""
    events = 4_000
    sim = propylon_simulator(guilds=2, rate=4_000, count=events, replay_buffer=1_000_000)
    witness = witness_to(sim, backoff=Backoff(base=0.005, cap=0.01, reset_after=0))
    await witness.gateway.open(timeout=10)
    cuts = [steps.reset(), steps.drop(), steps.close(4000), steps.reconnect(), steps.half_close(), steps.close()]
    for number, cut in enumerate([*cuts, *cuts], 1):
        await sim.wait_for("dispatched", count=number * 250, timeout=20)
        sim.act(cut)
        await sim.wait_for("resumed", count=number)
        # Cut before it is read, this one and the next are one to the client.
        await eventually(lambda number=number: witness.gateway.metrics().resumes == number)
    await sim.wait_for("traffic_done", timeout=30)
    last = sim.record()["sessions"][0]["sequence"]
    await eventually(lambda: witness.sequences[-1] == last)
    assert witness.sequences == list(range(1, last + 1))
    assert witness.types.count("RESUMED") == 12
    metrics = witness.gateway.metrics()
    assert (metrics.resumes, metrics.identifies) == (12, 1)


async def test_a_reset_during_the_replay_resumes_from_the_advanced_sequence(
    propylon_simulator: Start, witness_to: Make
) -> None:
    """F23."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    sim.script("next", steps.truncate_replay(30), steps.wait_for_op(6), steps.wait(0.1), steps.reset())
    sim.script("next", steps.truncate_replay(20), steps.wait_for_op(6), steps.wait(0.1), steps.reset())
    sim.act(steps.reset())
    await sim.wait_for("closed", connection=1)
    for number in range(100):
        sim.dispatch("TYPING_START", {"n": number})
    await sim.wait_for("resumed", timeout=20)
    last = sim.record()["sessions"][0]["sequence"]
    await eventually(lambda: witness.sequences[-1] == last)
    assert witness.sequences == list(range(1, last + 1))
    resumes = [op["payload"]["d"]["seq"] for c in sim.record()["connections"] for op in c["ops"] if op["op"] == 6]
    assert resumes == sorted(resumes)
    assert resumes[-1] > resumes[0]
    assert witness.gateway.metrics().identifies == 1


async def test_a_dead_resume_url_leaves_the_session_to_the_base_url(
    propylon_simulator: Start, witness_to: Make
) -> None:
    """F11, and what one library does for ever: redial it."""
    sim = propylon_simulator(guilds=0)
    # Nobody listens at port 1 of this machine.
    sim.script(1, steps.ready(set={"resume_gateway_url": "ws://127.0.0.1:1"}))
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    session = witness.gateway.session
    assert session is not None
    assert session.resume_url == "ws://127.0.0.1:1"
    sim.act(steps.reset())
    await sim.wait_for("resumed")
    await eventually(lambda: witness.gateway.metrics().resumes == 1)
    connections = sim.record()["connections"]
    assert [ops(connection) for connection in connections] == [[2], [6]]


@pytest.mark.parametrize(
    "url",
    [
        "wss://evil.example",
        "ws://evil.example",
        "http://127.0.0.1",
        "not a url",
        "",
        None,
        5,
        "wss://gateway.discord.gg.evil",
    ],
)
async def test_a_resume_url_of_another_host_is_refused_and_the_session_kept(
    propylon_simulator: Start, witness_to: Make, url: Any
) -> None:
    """F11: the token goes with a RESUME."""
    sim = propylon_simulator(guilds=0)
    sim.script(1, steps.ready(set={"resume_gateway_url": url}))
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    sim.act(steps.reset())
    await sim.wait_for("resumed")
    connections = sim.record()["connections"]
    assert [ops(connection) for connection in connections] == [[2], [6]]


async def test_a_zombie_is_dropped_and_resumed(propylon_simulator: Start, witness_to: Make) -> None:
    """F14."""
    # Long enough for a busy machine to acknowledge the beats of the second one in time.
    sim = propylon_simulator(guilds=0, heartbeat_interval=2)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    acknowledged = len(sim.record()["connections"][0]["beats"])
    sim.act(steps.stop_acking())
    await sim.wait_for("resumed")
    await sim.wait_for("closed", connection=1)
    first, second = sim.record()["connections"]
    assert first["closed"]["code"] not in (1000, 1001)
    assert [ops(first), ops(second)] == [[2], [6]]
    # Two beats without ACK at most, and so no more than two intervals of waiting.
    assert len(first["beats"]) - acknowledged <= 2
    await eventually(lambda: witness.ends)
    assert witness.ends[0].code == 4000
    await eventually(lambda: witness.gateway.latency is not None)


async def test_late_and_superfluous_acknowledgements_change_nothing(
    propylon_simulator: Start, witness_to: Make
) -> None:
    """F15."""
    # No beat but those that are asked for: the first comes at random within the interval, and its late answer would be
    # taken for that of the next.
    sim = propylon_simulator(guilds=0, heartbeat_interval=600)
    witness = witness_to(sim)
    gateway = witness.gateway
    await gateway.open(timeout=10)
    sim.act(steps.ack_delay(0.2))
    for beats in (1, 2, 3):
        sim.act(steps.acknowledge(10))
        before = gateway.latency
        sim.act(steps.request_heartbeats())
        await sim.wait_for("op", op=1, count=beats)
        await eventually(lambda before=before: gateway.latency not in (None, before))
        sim.act(steps.acknowledge(10))
        # That of the beat before, or of another connection, would be longer.
        assert 0.19 <= (gateway.latency or 0) < 5
    assert not witness.ends


async def test_requested_heartbeats_are_answered_without_flooding(propylon_simulator: Start, witness_to: Make) -> None:
    """F16: a thousand requests in one write stay below the 120 in 60 s."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    sim.act(steps.request_heartbeats(1000))
    sim.dispatch("TYPING_START", {})
    await eventually(lambda: witness.heard("TYPING_START"))
    # It comes behind all that the requests have brought.
    await witness.gateway.send(31, {"guild_ids": []})
    await sim.wait_for("op", op=31)
    await sim.wait_for("op", op=1)
    assert not witness.ends
    assert len(sim.record()["connections"][0]["beats"]) < 110


async def test_status_follows_the_connection(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(guilds=0, scripts={1: [steps.never_ready()]})
    witness = witness_to(sim, timeouts=Timeouts(close=0.5))
    gateway = witness.gateway
    opening = asyncio.create_task(gateway.open(timeout=10))
    await eventually(lambda: gateway.status is GatewayStatus.WAITING_FOR_READY)
    assert gateway.status.is_connected
    sim.act({"step": "send_json", "payload": {"op": 0, "t": "READY", "s": 1, "d": {"session_id": "x", "v": 10}}})
    await opening
    sim.script("next", steps.not_answer_resume())
    sim.act(steps.reset())
    await eventually(lambda: gateway.status is GatewayStatus.RESUMING)
    sim.act({"step": "send_json", "payload": {"op": 0, "t": "RESUMED", "s": 2, "d": {}}})
    await eventually(lambda: gateway.status is GatewayStatus.READY)
    await gateway.close()
    assert gateway.status is GatewayStatus.DISCONNECTED
    assert not gateway.status.is_connected


async def test_on_op_7_the_old_connection_serves_until_the_next_one_has_its_hello(
    propylon_simulator: Start, witness_to: Make
) -> None:
    """F07, faster than a reconnect: events stop for one round trip only."""
    sim = propylon_simulator(guilds=0, separate_resume_port=True)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    # The upgrade of the next connection takes some 0.3 s; what comes meanwhile comes on the old one.
    sim.script("next", steps.trickle_handshake(0.1, size=50))
    sim.act(steps.reconnect(), 1)
    await sim.wait_for("accepted", count=2)
    sim.dispatch("TYPING_START", {"n": 1})
    await eventually(lambda: witness.heard("TYPING_START"))
    assert witness.gateway.metrics().reconnects == 0
    assert witness.gateway.status is GatewayStatus.READY
    await sim.wait_for("resumed")
    sim.dispatch("TYPING_START", {"n": 2})
    await eventually(lambda: len(witness.heard("TYPING_START")) == 2)
    await sim.wait_for("closed", connection=1)
    first, second = sim.record()["connections"]
    # A server that reads the RESUME on the other first ends this one itself, and reads no close on it.
    assert (first["closed"]["by"], first["closed"]["code"]) in [("client_close", 4000), ("server", None)]
    assert second["upgraded_ms"] < first["closed"]["ms"]
    assert (ops(first), ops(second)) == ([2], [6])
    assert witness.sequences == sorted(set(witness.sequences))
    metrics = witness.gateway.metrics()
    assert (metrics.reconnects, metrics.resumes, metrics.duplicates) == (1, 1, 0)


@pytest.mark.parametrize("code", [1000, 1011, 4000, 4009])
async def test_the_servers_close_frame_is_answered(propylon_simulator: Start, witness_to: Make, code: int) -> None:
    """F20: by RFC 6455, section 5.5.1, with the code that it has."""
    sim = propylon_simulator(guilds=0)
    witness = witness_to(sim)
    await witness.gateway.open(timeout=10)
    sim.act(steps.close(code))
    # Of its own close the server knows before it is answered.
    await sim.wait_for("closed", connection=1)
    await eventually(lambda: sim.record()["connections"][0]["closed"]["code"] is not None)
    assert sim.record()["connections"][0]["closed"]["code"] == code


async def test_closing_does_not_wait_for_a_full_queue(propylon_simulator: Start, witness_to: Make) -> None:
    """F28: the server's answer lies behind events that nobody takes."""
    sim = propylon_simulator(guilds=0, events=["TYPING_START"], rate=None, start="manual")
    witness = witness_to(sim, queue_bytes=200_000, max_pending=1, timeouts=Timeouts(close=20))
    gateway = witness.gateway
    called = asyncio.Event()

    @gateway.listen
    async def never(_: TypingStart) -> None:
        called.set()
        await asyncio.Event().wait()

    await gateway.open(timeout=10)
    sim.flood(True)
    # It holds up all that follow: what the loop has taken by now it has, and the queue can only fill.
    await called.wait()
    await eventually(lambda: gateway.metrics().queue_bytes >= 200_000)
    async with asyncio.timeout(10):
        await gateway.close(resumable=True)
    metrics = gateway.metrics()
    assert metrics.queued > 0
    assert metrics.queued == sum(metrics.queued_by_type.values())
