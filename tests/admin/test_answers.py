"""What the admin server tells, and what it never tells."""

import asyncio
import functools
import json
import time
from collections.abc import Callable

import pytest

from admin.support import ADMIN, address_of, get
from face.support import SHORT, eventually, message
from fleet.support import make_manager
from propylon import Gateway, GatewayStatus, Intents
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps

Start = Callable[..., Simulator]
Make = Callable[..., Gateway]

pytestmark = pytest.mark.asyncio

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
COUNTED = (
    *("received", "delivered", "unheard", "filtered", "overflowed", "overlapped", "queued", "queue_bytes"),
    *("duplicates", "ignored", "malformed", "mended", "undecodable", "listener_errors", "wire_bytes"),
    *("inflated_bytes", "pauses", "paused_seconds", "wakeups", "heartbeats", "reconnects", "resumes", "identifies"),
    "commands_sent",
)


async def test_it_is_there_while_the_gateway_is_open(propylon_simulator: Start, gateway_to: Make) -> None:
    gateway = gateway_to(propylon_simulator(), admin=ADMIN)
    assert gateway.admin_address is None
    await gateway.open(timeout=10)
    host, port = address_of(gateway)
    assert host == "127.0.0.1"
    assert port > 0
    ready = await get(gateway, "/readyz")
    assert (ready.status, ready.json) == (200, {"ok": True, "shards": 1, "ready": 1})
    live = await get(gateway, "/livez")
    assert (live.status, live.json) == (
        200,
        {"ok": True, "blocked_seconds": 0.0, "since": None, "listener": None},
    )
    await gateway.close()
    assert gateway.admin_address is None
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)
    # The port is free again at once, and the same gateway may take it.
    other = gateway_to(propylon_simulator(), admin=f"127.0.0.1:{port}")
    await other.open(timeout=10)
    assert address_of(other) == (host, port)


async def test_without_it_nothing_listens(propylon_simulator: Start, gateway_to: Make) -> None:
    gateway = gateway_to(propylon_simulator())
    await gateway.open(timeout=10)
    assert gateway.admin_address is None


async def test_readyz_waits_for_ready(propylon_simulator: Start, gateway_to: Make) -> None:
    sim = propylon_simulator()
    sim.script("every", steps.never_ready())
    gateway = gateway_to(sim, admin=ADMIN)
    opening = asyncio.create_task(gateway.open())
    await eventually(lambda: gateway.admin_address is not None)
    ready = await get(gateway, "/readyz")
    assert (ready.status, ready.json) == (503, {"ok": False, "shards": 1, "ready": 0})
    assert (await get(gateway, "/livez")).status == 200
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening


async def test_a_fleet_that_is_resharded_stays_ready(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=2, max_concurrency=16)
    async with make_manager(sim, shards=1, admin=ADMIN) as manager:
        assert (await get(manager, "/readyz")).json == {"ok": True, "shards": 1, "ready": 1}
        sim.script("every", steps.never_ready())
        resharding = asyncio.create_task(manager.reshard(2, window=0.1))
        await sim.wait_for("open", count=3)
        ready = await get(manager, "/readyz")
        assert (ready.status, ready.json) == (200, {"ok": True, "shards": 1, "ready": 1})
        # They are shown, all the same.
        assert len((await get(manager, "/snapshot")).json["shards"]) == 3
        resharding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await resharding


async def test_the_snapshot_has_what_metrics_has(propylon_simulator: Start, gateway_to: Make) -> None:
    sim = propylon_simulator(guilds=3)
    gateway = gateway_to(sim, admin=ADMIN)
    heard: list[MessageCreate] = []

    @gateway.listen
    def on_message(event: MessageCreate) -> None:
        heard.append(event)
        raise RuntimeError

    gateway.on_error(lambda *_: None)
    before = time.time()
    await gateway.open(timeout=10)
    for _ in range(5):
        sim.dispatch("MESSAGE_CREATE", message())
    sim.dispatch("MESSAGE_CREATE", message(content=[]))
    sim.dispatch("TYPING_START", {})
    await eventually(lambda: gateway.metrics().received == 11)
    await eventually(lambda: gateway.metrics().listener_errors == 6)
    # What Python counts is told once a second.
    shard: dict[str, object] = {}
    async with asyncio.timeout(5):
        while shard.get("listener_errors") != 6:
            shard = (await get(gateway, "/snapshot")).json["shards"][0]
    async with asyncio.timeout(5):
        while True:
            metrics = gateway.metrics()
            snapshot = (await get(gateway, "/snapshot")).json
            (shard,) = snapshot["shards"]
            # Nothing came in between, as the first heartbeat may.
            after = gateway.metrics()
            if all(getattr(after, name) == getattr(metrics, name) for name in COUNTED):
                break
    assert {name: shard[name] for name in COUNTED} == {name: getattr(metrics, name) for name in COUNTED}
    assert metrics.undecodable + metrics.mended == 1
    assert (shard["id"], shard["count"], shard["status"], shard["guilds"]) == (0, 1, "READY", 3)
    session = gateway.session
    assert session is not None
    assert shard["sequence"] == session.sequence
    for name in ("last_frame_at", "last_event_at"):
        assert before <= shard[name] <= time.time() + 0.1
        assert shard[name] == pytest.approx(getattr(metrics, name), abs=0.1)
    assert snapshot["events"]["MESSAGE_CREATE"] == {
        **dict.fromkeys(("filtered", "overflowed", "overlapped", "unheard"), 0),
        "received": 6,
        "delivered": 6,
    }
    assert snapshot["events"]["TYPING_START"]["unheard"] == 1
    assert snapshot["version"] == 1
    assert snapshot["time"] == pytest.approx(time.time(), abs=5)
    process = snapshot["process"]
    assert process["started_at"] < before
    assert process["rss_bytes"] is None or process["rss_bytes"] > 1_000_000
    (loop,) = snapshot["loops"]
    assert loop["running"] is None
    assert loop["blocked_seconds"] == 0.0
    assert snapshot["budget"] is None
    (listener,) = snapshot["listeners"]
    assert listener["name"] == "admin.test_answers.test_the_snapshot_has_what_metrics_has.<locals>.on_message"
    assert (listener["calls"], listener["errors"]) == (6, 6)
    # A busy machine may stand still in one of them.
    assert listener["slow"] <= 1
    assert 0 < listener["longest_seconds"] <= listener["seconds"] < 5


async def test_lost_connections_are_told_with_their_reasons(propylon_simulator: Start, gateway_to: Make) -> None:
    sim = propylon_simulator()
    gateway = gateway_to(sim, admin=ADMIN)
    await gateway.open(timeout=10)
    ends = (
        (steps.reconnect(), "op 7"),
        (steps.close(4000, "maintenance"), "close 4xxx"),
        (steps.close(1001), "close 1xxx"),
        (steps.reset(), "network"),
        (steps.invalid_session(True), "op 9"),
    )
    for number, (step, _) in enumerate(ends, 1):
        sim.act(step)
        await eventually(lambda number=number: gateway.metrics().resumes == number)  # type: ignore[misc]
        await eventually(lambda: gateway.status is GatewayStatus.READY)
    snapshot = (await get(gateway, "/snapshot")).json
    (shard,) = snapshot["shards"]
    assert shard["reconnects_by_reason"] == {reason: 1 for _, reason in ends}
    assert sum(shard["reconnects_by_reason"].values()) == shard["reconnects"]
    told = snapshot["reconnects"]
    assert [entry["shard"] for entry in told] == [0] * len(ends)
    assert all(entry["resumed"] is True for entry in told)
    assert [entry["at"] for entry in told] == sorted(entry["at"] for entry in told)
    assert (4000, "maintenance") in [(entry["code"], entry["reason"]) for entry in told]


async def test_a_fleet_is_shown_shard_by_shard_and_what_is_gone_still_counts(propylon_simulator: Start) -> None:
    # What a resharding waits for, kept short.
    sim = propylon_simulator(shards=2, guilds=4, identify_interval=0, heartbeat_interval=1)
    async with make_manager(sim, shards=2, admin=ADMIN) as manager:
        snapshot = (await get(manager, "/snapshot")).json
        assert [(shard["id"], shard["count"]) for shard in snapshot["shards"]] == [(0, 2), (1, 2)]
        received = sum(shard["received"] for shard in snapshot["shards"])
        assert snapshot["ready"] == {"ok": True, "shards": 2, "ready": 2}
        assert snapshot["budget"]["remaining"] == snapshot["budget"]["total"] - 2
        await manager.shards[1].close()
        snapshot = (await get(manager, "/snapshot")).json
        assert [shard["id"] for shard in snapshot["shards"]] == [0]
        assert snapshot["ready"] == {"ok": True, "shards": 1, "ready": 1}
        counted = [counts["received"] for counts in snapshot["events"].values()]
        assert sum(counted) >= received
        text = (await get(manager, "/metrics")).text
        assert 'propylon_identifies_total{shard="1"} 1' in text
        await manager.shards[1].restart()
        assert (await get(manager, "/readyz")).json == {"ok": True, "shards": 2, "ready": 2}
        await manager.reshard(4)
        snapshot = (await get(manager, "/snapshot")).json
        assert [(shard["id"], shard["count"]) for shard in snapshot["shards"]] == [(shard, 4) for shard in range(4)]
        text = (await get(manager, "/metrics")).text
        assert 'propylon_identifies_total{shard="0"} 2' in text
    assert manager.admin_address is None


async def test_the_stream_sends_the_snapshot_each_second(propylon_simulator: Start, gateway_to: Make) -> None:
    gateway = gateway_to(propylon_simulator(), admin=ADMIN)
    await gateway.open(timeout=10)
    streams = []
    begun = time.monotonic()
    try:
        for number in range(9):
            reader, writer = await asyncio.open_connection(*address_of(gateway))
            streams.append(writer)
            writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            # Eight at once.
            assert head.startswith("HTTP/1.1 200 OK" if number < 8 else "HTTP/1.1 503"), head
            if number == 0:
                first, assert_head = reader, head
        assert "content-type: text/event-stream" in assert_head
        assert f"content-security-policy: {POLICY}" in assert_head
        times = []
        for _ in range(3):
            event = await asyncio.wait_for(first.readuntil(b"\n\n"), 10)
            lines = [line for line in event.decode().splitlines() if not line.strip("\r").isalnum()]
            assert lines[0].strip() == "event: snapshot"
            times.append(json.loads(lines[1].removeprefix("data: "))["time"])
            await first.readexactly(2)
        assert time.monotonic() - begun > 0.9
        # Two seconds, and what a busy machine adds: each 5 s would be 10 s.
        assert 1.3 < times[2] - times[0] < 6
    finally:
        for writer in streams:
            writer.close()


async def test_headers_methods_and_paths(propylon_simulator: Start, gateway_to: Make) -> None:
    gateway = gateway_to(propylon_simulator(), admin=ADMIN)
    await gateway.open(timeout=10)
    for path, kind in (
        ("/", "text/html; charset=utf-8"),
        ("/app.css", "text/css; charset=utf-8"),
        ("/livez", "application/json"),
        ("/readyz", "application/json"),
        ("/snapshot", "application/json"),
        ("/history", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
    ):
        answer = await get(gateway, path)
        assert (answer.status, answer.headers["content-type"]) == (200, kind), path
        head = await get(gateway, path, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert (await get(gateway, f"{path}?x=1")).status == 200
        for one in (answer, head):
            assert one.headers["content-security-policy"] == POLICY
            assert one.headers["x-content-type-options"] == "nosniff"
            assert one.headers["cache-control"] == "no-store"
            assert one.headers["referrer-policy"] == "no-referrer"
            assert not [name for name in one.headers if name.startswith("access-control")]
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = await get(gateway, "/snapshot", method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    for path in ("/x", "/livez/", "//livez", "/../etc/passwd", "/..%2f..%2fetc/passwd", "/page/index.html", "*"):
        assert (await get(gateway, path)).status == 404, path
    history = (await get(gateway, "/history")).json
    assert history.pop("interval") == 5.0
    assert set(history) == {"time", "received", "delivered", "dropped", "latency_seconds", "queued"}


async def test_only_this_machine_is_answered_under_its_own_name(propylon_simulator: Start, gateway_to: Make) -> None:
    gateway = gateway_to(propylon_simulator(), admin=ADMIN)
    await gateway.open(timeout=10)
    _, port = address_of(gateway)
    for host in ("localhost", f"LOCALHOST:{port}", "127.0.0.1:1", "[::1]:80"):
        assert (await get(gateway, "/livez", Host=host)).status == 200, host
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "", "192.0.2.1"):
        assert (await get(gateway, "/livez", Host=host)).status == 421, host
    assert (await get(gateway, "http://evil.example/livez")).status == 421
    # Whoever allows other machines has another name for this one.
    remote = gateway_to(propylon_simulator(), admin="0.0.0.0:0", admin_remote=True)
    await remote.open(timeout=10)
    _, port = address_of(remote)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: bot.example\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    writer.close()


async def test_no_secret_is_in_any_answer(propylon_simulator: Start, gateway_to: Make) -> None:
    token = "MTA0NTY3.hush-hush.0123456789abcdef"
    sim = propylon_simulator(token=token)
    gateway = Gateway(token, gateway_url=sim.url, ca_file=sim.ca_file, admin=ADMIN, intents=Intents.ALL, **SHORT)
    heard: list[MessageCreate] = []
    gateway.listen(MessageCreate)(heard.append)
    async with gateway:
        session = gateway.session
        assert session is not None
        assert session.resume_url is not None
        sim.dispatch("MESSAGE_CREATE", message(content="hush-content"))
        await eventually(lambda: heard)
        sim.act(steps.close(4000, f"{token} {session.id}"))
        await eventually(lambda: gateway.metrics().resumes == 1)
        everything = b""
        for path in ("/", "/livez", "/readyz", "/metrics", "/snapshot", "/history", "/nowhere"):
            answer = await get(gateway, path)
            everything += json.dumps(answer.headers).encode() + answer.body
    for secret in ("hush", session.id, session.resume_url, "0123456789abcdef"):
        assert secret.encode() not in everything
    # It looked at what is there.
    assert b'"code":4000' in everything


async def test_a_listener_is_never_called_by_what_it_holds(propylon_simulator: Start, gateway_to: Make) -> None:
    class Holder:
        def __init__(self, password: str) -> None:
            self.password = password

        def __repr__(self) -> str:
            return f"Holder({self.password})"

        def __call__(self, event: MessageCreate) -> None: ...

    def plain(event: MessageCreate, password: str) -> None: ...

    sim = propylon_simulator()
    gateway = gateway_to(sim, admin=ADMIN)
    gateway.listen(MessageCreate)(functools.partial(plain, password="hunter2"))
    gateway.listen(MessageCreate)(Holder("hunter2"))
    await gateway.open(timeout=10)
    sim.dispatch("MESSAGE_CREATE", message())
    listeners: list[dict[str, object]] = []
    async with asyncio.timeout(5):
        while len(listeners) < 2:
            listeners = (await get(gateway, "/snapshot")).json["listeners"]
    assert {str(listener["name"]).rpartition(".")[2] for listener in listeners} == {"plain", "Holder"}
    assert "hunter2" not in (await get(gateway, "/metrics")).text


async def test_a_shard_that_is_closed_and_started_again_counts_on(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=4)
    manager = make_manager(sim, shards=2, admin=ADMIN)
    async with manager:
        for _ in range(3):
            await manager.shards[1].close()
            await manager.shards[1].restart()
        asked = (await get(manager, "/metrics")).text
        shard = manager.metrics(by_shard=True)[1]
        (line,) = [line for line in asked.splitlines() if line.startswith('propylon_identifies_total{shard="1"}')]
        assert line.split()[1] == str(shard.identifies) == "4"


async def test_a_page_from_elsewhere_is_refused(propylon_simulator: Start, gateway_to: Make) -> None:
    gateway = gateway_to(propylon_simulator(), admin=ADMIN)
    await gateway.open(timeout=10)
    for path in ("/stream", "/snapshot"):
        assert (await get(gateway, path, Sec_Fetch_Site="cross-site")).status == 421
    assert (await get(gateway, "/snapshot", Sec_Fetch_Site="same-origin")).status == 200
