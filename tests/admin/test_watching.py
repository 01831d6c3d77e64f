"""A deaf bot does not look healthy: what blocks its loop is told while it does."""

import asyncio
import ctypes
import logging
import re
import sys
import threading
import time
from collections.abc import Callable

import pytest

from admin.support import ADMIN, address_of, ask
from face.support import eventually, make_gateway, message
from propylon import Dispatch, Gateway
from propylon._gateway import watching
from propylon.events import MessageCreate
from propylon.testing import Simulator

Start = Callable[..., Simulator]
Make = Callable[..., Gateway]

pytestmark = pytest.mark.asyncio


released = threading.Event()


def blocker(event: MessageCreate) -> None:
    # Ends when a test has seen enough: no busy machine is too late for it.
    released.wait(60)


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "propylon-watch"]


async def test_who_blocks_the_loop_is_told_by_all_ways_while_it_does(
    propylon_simulator: Start,
    gateway_to: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(watching, "_WARN_AFTER", 2.0)
    # One that is there for an earlier test's looks at seconds of its own.
    await eventually(lambda: not watchers())
    sim = propylon_simulator()
    gateway = gateway_to(sim, admin=ADMIN)
    seen: list[tuple[float, str | None, dict[str, object]]] = []
    released.clear()

    def warned() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    def look() -> None:
        # Another thread, as an exporter or a watchdog is. The block lasts until it has seen everything.
        try:
            end = time.monotonic() + 40
            while time.monotonic() < end:
                metrics = gateway.metrics()
                live = ask(address, "/livez").json
                seen.append((metrics.blocked_seconds, metrics.running, live))
                if metrics.blocked_seconds > 2.5 and len(warned()) >= 2:
                    return
                time.sleep(0.2)
        finally:
            released.set()

    gateway.listen(blocker)
    begun = time.monotonic()
    await gateway.open(timeout=10)
    address = address_of(gateway)
    looking = asyncio.get_running_loop().run_in_executor(None, look)
    sim.dispatch("MESSAGE_CREATE", message())
    await looking
    await eventually(lambda: gateway.metrics().blocked_seconds == 0.0)
    name = "admin.test_watching.blocker"
    assert [name] == sorted({running for _, running, _ in seen if running})
    blocked, _, live = seen[-1]
    assert 2.5 < blocked < time.monotonic() - begun
    assert live["listener"] == name
    assert live["ok"] is True
    assert isinstance(live["since"], float)
    # At 2 s and at 4 s; what it was, and that it is over.
    *told, held, over = warned()
    assert len(told) >= 2, told
    for warning in told:
        assert "taken no turn" in warning
        assert f"{name} blocks it" in warning
        assert "released.wait(60)" in warning
    assert re.match(rf"listener {re.escape(name)} held the event loop for \d", held), held
    assert re.search(r"takes turns again, after \d+ s", over), over
    metrics = gateway.metrics()
    assert metrics.running is None


@pytest.mark.skipif(sys.platform == "win32", reason="needs a C library that sleeps with the GIL held")
async def test_what_keeps_the_gil_is_told_by_the_engine_meanwhile_and_by_the_log_afterwards(
    propylon_simulator: Start,
    gateway_to: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(watching, "_WARN_AFTER", 2.0)
    sim = propylon_simulator()
    gateway = gateway_to(sim, admin=ADMIN)
    # PyDLL, unlike CDLL, keeps the GIL during the call.
    sleep = ctypes.PyDLL(None).sleep

    @gateway.listen(Dispatch)
    def hog(dispatch: Dispatch[object]) -> None:
        if dispatch.type == "MESSAGE_CREATE":
            sleep(3)

    await gateway.open(timeout=10)
    # A process of its own: no thread of this one can ask.
    program = (
        "import http.client, sys, time\n"
        "for _ in range(45):\n"
        "    connection = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=5)\n"
        "    connection.request('GET', '/livez')\n"
        "    print(connection.getresponse().read().decode(), flush=True)\n"
        "    time.sleep(0.1)\n"
    )
    asking = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(address_of(gateway)[1]), stdout=asyncio.subprocess.PIPE
    )
    assert asking.stdout is not None
    assert b'"blocked_seconds":0.0' in await asking.stdout.readline()
    sim.dispatch("MESSAGE_CREATE", message())
    told, _ = await asking.communicate()
    blocked = [line for line in told.splitlines() if b'"blocked_seconds":0.0' not in line]
    hogged = [line for line in blocked if b"<locals>.hog" in line]
    assert hogged
    # A machine that stands still holds the loop without a listener, for a moment.
    assert len(blocked) - len(hogged) <= len(hogged) / 2, blocked
    await eventually(lambda: any("taken no turn" in text for text in caplog.messages))


async def test_a_loop_that_turns_is_never_warned_of_and_the_thread_ends_with_the_last_gateway(
    propylon_simulator: Start, gateway_to: Make, caplog: pytest.LogCaptureFixture
) -> None:
    await eventually(lambda: not watchers())
    sim = propylon_simulator()
    first, second = gateway_to(sim), gateway_to(sim)
    await first.open(timeout=10)
    await second.open(timeout=10)
    assert len(watchers()) == 1
    assert watchers()[0].daemon
    await first.close()
    assert len(watchers()) == 1
    await second.close(resumable=True)
    await eventually(lambda: not watchers())
    await second.open(timeout=10)
    assert len(watchers()) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_the_thread_ends_also_where_a_loop_died_with_an_open_gateway(propylon_simulator: Start) -> None:
    await eventually(lambda: not watchers())
    gateway = make_gateway(propylon_simulator())

    def die_open() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(gateway.open(timeout=10))
        loop.close()

    await asyncio.to_thread(die_open)
    assert watchers()
    # Held all the while, as by a bot that makes its gateway once.
    await eventually(lambda: not watchers())
    async with gateway:
        assert len(watchers()) == 1
    await eventually(lambda: not watchers())


async def test_ages_tell_when_something_came_last(propylon_simulator: Start, gateway_to: Make) -> None:
    sim = propylon_simulator(heartbeat_interval=0.2)
    gateway = gateway_to(sim)
    metrics = gateway.metrics()
    assert (metrics.last_frame_at, metrics.last_event_at, metrics.last_ack_at) == (None, None, None)
    before = time.time()
    await gateway.open(timeout=10)
    await eventually(lambda: gateway.metrics().last_ack_at is not None)
    first = gateway.metrics()
    assert first.last_event_at is not None
    assert first.last_frame_at is not None
    assert first.last_ack_at is not None
    assert before - 0.01 <= first.last_event_at <= first.last_frame_at + 0.01 <= time.time() + 0.02
    await eventually(lambda: (gateway.metrics().last_ack_at or 0) > first.last_ack_at + 0.1)  # type: ignore[operator]
    # Heartbeats are frames, and no events.
    later = gateway.metrics()
    assert later.last_frame_at is not None
    assert later.last_frame_at > first.last_frame_at


async def test_what_the_users_log_raises_stops_neither_the_beat_nor_the_thread(
    propylon_simulator: Start, gateway_to: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_WARN_AFTER", 1.5)
    raised: list[str] = []

    def odd(record: logging.LogRecord) -> bool:
        if "turn" in record.getMessage():
            raised.append(threading.current_thread().name)
            raise ArithmeticError
        return True

    log = logging.getLogger("propylon")
    log.addFilter(odd)
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context.get("exception")))
    try:
        gateway = gateway_to(propylon_simulator())
        await gateway.open(timeout=10)
        for _ in range(2):
            raised.clear()
            # The thread looks once a second, and on a busy machine 2 s later.
            time.sleep(4.6)  # noqa: ASYNC251 - what is tested
            # From the thread while it lasts, and from the loop when it is over.
            await eventually(lambda: len(set(raised)) == 2)
            await eventually(lambda: gateway.metrics().blocked_seconds == 0.0)
    finally:
        log.removeFilter(odd)
    assert all(isinstance(error, ArithmeticError) for error in errors)


async def test_who_ends_between_two_looks_of_the_thread_is_not_said_to_keep_the_gil(
    propylon_simulator: Start, gateway_to: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The thread is not to come to it.
    monkeypatch.setattr(watching, "_WARN_AFTER", 2.5)
    monkeypatch.setattr(watching.LoopWatch, "look", lambda watch: setattr(watch, "_looked_at", time.monotonic()))
    gateway = gateway_to(propylon_simulator())
    await gateway.open(timeout=10)
    time.sleep(3)  # noqa: ASYNC251 - what is tested
    await eventually(lambda: any("taken no turn" in text for text in caplog.messages))
    assert not any("GIL" in text for text in caplog.messages)
