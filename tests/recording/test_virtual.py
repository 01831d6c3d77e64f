"""`propylon.testing.replay`: a recording at the listeners of a bot, on a clock that leaps."""

import asyncio
import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from face.support import eventually, make_gateway
from propylon import Dispatch, Gateway, NotConnected, ShardManager, field
from propylon.events import GuildCreate, MessageCreate
from propylon.recording import Recording
from propylon.recording import replay as replay_in_a_loop
from propylon.testing import Simulator, _clock, replay

from .support import line, written

HOUR = 3_600.0
Bot = Gateway | ShardManager


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Nothing here waits for what it says it waits for."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 30


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("make", [Gateway, ShardManager])
def test_an_hour_passes_for_listeners_and_nobody_waits(make: Callable[[str], Bot], tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line("0", 0.0), line("1", 0.25), line("2", HOUR), line("3", HOUR + 0.5)])
    bot, told = make("token"), list[tuple[str, float]]()

    @bot.listen
    async def listener(event: MessageCreate) -> None:
        told.append((event.content, now()))
        await asyncio.sleep(1.0)
        told.append((f"{event.content} and a second", now()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        told.append((f"{event.content} and a minute", now()))

    assert replay(path, bot, drain=100.0) == 4
    assert [text for text, _ in told] == [
        *("0", "1", "0 and a second", "1 and a second", "0 and a minute", "1 and a minute"),
        *("2", "3", "2 and a second", "3 and a second", "2 and a minute", "3 and a minute"),
    ]
    times = [*(0, 0.25, 1, 1.25, 61, 61.25), *(HOUR, HOUR + 0.5, HOUR + 1, HOUR + 1.5, HOUR + 61, HOUR + 61.5)]
    assert [at for _, at in told] == pytest.approx(times, abs=1e-5)


def test_what_waits_for_an_event_gets_it_or_its_timeout_by_that_clock(tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line("ask", 0.0), line("answer", 59.0), line("ask", 100.0), line("late", 161.0)])
    gateway, told = Gateway("token"), list[str]()

    @gateway.listen(where=field("content") == "ask")
    async def listener(event: MessageCreate) -> None:
        try:
            told.append((await gateway.wait_for(MessageCreate, timeout=60)).content)
        except TimeoutError:
            told.append("nothing")

    assert replay(path, gateway) == 4
    assert told == ["answer", "nothing"]


def test_it_is_the_same_every_time(tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line(f"{number}", number * 0.37) for number in range(500)])

    def run() -> list[tuple[str, float]]:
        gateway, told = Gateway("token"), list[tuple[str, float]]()

        @gateway.listen
        async def listener(event: MessageCreate) -> None:
            for pause in (0.1, 0.5, 1.3):
                await asyncio.sleep(pause)
                told.append((event.content, now()))

        @gateway.listen
        async def other(event: MessageCreate) -> None:
            await asyncio.to_thread(int, event.content)
            told.append((f"job {event.content}", now()))

        assert replay(path, gateway) == 500
        return told

    assert run() == run()


def test_each_event_finds_the_bot_at_rest(tmp_path: Path) -> None:
    """However much the machine is held up: a drain of events gives the loop its turn by real time."""
    path = written(tmp_path / "x", [line(f"{number}", 1.0) for number in range(40)])
    gateway, told = Gateway("token"), list[str]()

    @gateway.listen
    async def listener(event: MessageCreate) -> None:
        told.append(f"begins {event.content}")
        if event.content.endswith("3"):
            time.sleep(0.003)  # noqa: ASYNC251
        for _ in range(3):
            await asyncio.sleep(0)
        await asyncio.to_thread(int, event.content)
        told.append(f"ends {event.content}")
        await asyncio.sleep(1.0)
        told.append("later")

    assert replay(path, gateway) == 40
    assert told[:80] == [f"{what} {number}" for number in range(40) for what in ("begins", "ends")]
    assert told[80:] == ["later"] * 40


def test_the_clock_stands_still_while_a_job_runs(tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line("0", 0.0), line("1", 0.001)])
    gateway, told = Gateway("token"), list[tuple[str, float]]()
    seen = threading.Event()

    @gateway.listen
    async def listener(event: MessageCreate) -> None:
        told.append((event.content, now()))
        if event.content == "0":
            # The second event would be there long before.
            await asyncio.to_thread(seen.wait, 0.2)
            told.append(("job", now()))
        seen.set()

    replay(path, gateway)
    assert told == [("0", 0.0), ("job", 0.0), ("1", pytest.approx(0.001, abs=1e-6))]


def test_a_job_that_waits_for_the_clock_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_clock, "_JOB_PATIENCE", 1.0)
    path, gateway, told = written(tmp_path / "x", [line("0", 0.0)]), Gateway("token"), list[float]()

    @gateway.listen
    async def listener(event: MessageCreate) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(pause(), loop).result(20))

    async def pause() -> None:
        await asyncio.sleep(5.0)
        told.append(now())

    assert replay(path, gateway) == 1
    assert told == [5.0]


def test_where_there_is_no_timer_real_things_are_waited_for(tmp_path: Path) -> None:
    """Such as the connection that a lifespan makes."""
    path, ends = written(tmp_path / "x", [line("0", 0.0)]), list[bytes]()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as peer:
            peer.sendall(peer.recv(100).upper())

    thread = threading.Thread(target=serve)
    thread.start()

    @contextlib.asynccontextmanager
    async def lifespan(gateway: Gateway) -> AsyncIterator[bytes]:
        reader, writer = await asyncio.open_connection(*server.getsockname())
        writer.write(b"hello")
        yield await reader.read()
        writer.close()
        await writer.wait_closed()

    gateway = Gateway("token", lifespan=lifespan)

    @gateway.listen
    def listener(event: MessageCreate, greeting: bytes) -> None:
        ends.append(greeting)

    assert replay(path, gateway) == 1
    thread.join(10)
    assert ends == [b"HELLO"]


def test_the_end_of_the_executor_is_waited_for_as_long_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From Python 3.12 on it has a timeout, of 300 s, which the clock must not leap over."""
    ends: list[str] = []

    async def shutdown(loop: asyncio.AbstractEventLoop) -> None:
        ended = loop.create_future()
        thread = threading.Timer(0.1, loop.call_soon_threadsafe, (ended.set_result, None))
        thread.start()
        async with asyncio.timeout(300):
            await ended
        ends.append("waited")
        thread.join()

    monkeypatch.setattr(asyncio.BaseEventLoop, "shutdown_default_executor", shutdown)
    assert replay(written(tmp_path / "x", [line("0", 0.0)]), Gateway("token")) == 1
    assert ends == ["waited"]


def test_calls_have_the_drain_to_finish_and_who_waits_in_vain_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line("0", 0.0)])
    for drain, end in ((HOUR - 1, "cancelled"), (HOUR + 1, "done")):
        gateway, told = Gateway("token"), list[str]()

        @gateway.listen
        async def listener(event: MessageCreate, told: list[str] = told) -> None:
            try:
                await asyncio.sleep(HOUR)
                told.append("done")
            except asyncio.CancelledError:
                told.append("cancelled")
                raise

        @gateway.listen
        async def waiting(event: MessageCreate, told: list[str] = told, gateway: Gateway = gateway) -> None:
            with pytest.raises(NotConnected):
                await gateway.wait_for(GuildCreate)
            told.append("told")

        assert replay(path, gateway, drain=drain) == 1
        assert sorted(told) == sorted([end, "told"])


@pytest.mark.parametrize("at", [1e300, -1e300])
def test_a_wrong_clock_neither_hangs_nor_fails(at: float, tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line("0", 0.0), line("1", at), line("2", 1.0), line("3", 2.0)])
    gateway, told = Gateway("token"), list[float]()

    @gateway.listen
    async def listener(event: MessageCreate) -> None:
        await asyncio.sleep(0.5)
        told.append(now())

    assert replay(path, gateway) == 4
    assert told == sorted(told)
    assert told[-1] - told[0] == pytest.approx(86_401.0, abs=1e-6), "the step counts as a day, and nothing else is lost"


def test_a_year_is_beyond_the_resolution_of_the_clock_and_goes_by(tmp_path: Path) -> None:
    """From some 116 days on a float of seconds is coarser than the nanosecond by which asyncio rounds."""
    days = 400
    path = written(tmp_path / "x", [line(f"{day}", day * 86_400.0) for day in range(days)])
    gateway, told = Gateway("token"), list[float]()

    @gateway.listen
    async def listener(event: MessageCreate) -> None:
        await asyncio.sleep(0.1)
        told.append(now())

    assert replay(path, gateway) == days
    assert told == pytest.approx([day * 86_400.0 + 0.1 for day in range(days)], abs=1e-6)


def test_listeners_that_hold_everything_back_are_given_up(tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line("0", 0.0), line("1", 1.0)])
    gateway, heard = Gateway("token", max_pending=1), list[str]()

    @gateway.listen
    async def listener(event: MessageCreate) -> None:
        heard.append(event.content)
        await gateway.wait_for(GuildCreate)

    with pytest.raises(TimeoutError, match="held back all events for two days"):
        replay(path, gateway)
    assert heard == ["0"]


def test_what_cannot_be_replayed_says_why(tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line(f"{number}", number) for number in range(300)])
    with path.open("a") as file:
        file.write("damage\n")
    gateway, heard = Gateway("token"), list[str]()

    @gateway.listen
    def listener(event: MessageCreate) -> None:
        heard.append(event.content)

    with pytest.raises(ValueError, match="after line 300"):
        replay(path, gateway)
    assert len(heard) == 300
    with pytest.raises(FileNotFoundError):
        replay(tmp_path / "none", gateway)
    with pytest.raises(ValueError, match="drain must be 0 s or more"):
        replay(path, gateway, drain=-1.0)
    wrong: Any = (gateway, path)
    with pytest.raises(TypeError, match="a recording and a Gateway or ShardManager, in this order, not "):
        replay(*wrong)


@pytest.mark.asyncio
async def test_in_a_running_loop_it_names_what_is_for_there(tmp_path: Path) -> None:
    path, gateway = written(tmp_path / "x", [line("0", 0.0)]), Gateway("token")
    with pytest.raises(RuntimeError, match=r"`await propylon\.recording\.replay\(bot, recording\)`"):
        replay(path, gateway)
    assert await replay_in_a_loop(gateway, path) == 1


@pytest.mark.asyncio
async def test_an_open_gateway_replays_nothing(propylon_simulator: Callable[..., Simulator], tmp_path: Path) -> None:
    path, gateway = written(tmp_path / "x", [line("0", 0.0)]), make_gateway(propylon_simulator())
    async with gateway:
        with pytest.raises(RuntimeError, match="is open"):
            await asyncio.to_thread(replay, path, gateway)
    assert await asyncio.to_thread(replay, path, gateway) == 1


def test_ctrl_c_leaves_it_and_the_bot_can_be_used_again(tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line(f"{number}", number) for number in range(10)])
    gateway, heard = Gateway("token"), list[str]()
    ends: list[Callable[[], Any]] = [lambda: signal.raise_signal(signal.SIGINT)]

    @gateway.listen
    def listener(event: MessageCreate) -> None:
        heard.append(event.content)
        if event.content == "5" and ends:
            ends.pop()()

    with pytest.raises(KeyboardInterrupt):
        replay(path, gateway)
    assert heard[-1] in ("5", "6")
    heard.clear()

    def interrupt() -> None:
        raise KeyboardInterrupt

    ends.append(interrupt)
    with pytest.raises(KeyboardInterrupt):
        replay(path, gateway)
    heard.clear()
    assert replay(path, gateway) == 10
    assert heard == [f"{number}" for number in range(10)]


def test_what_a_simulator_sent_is_heard_again_as_it_came(tmp_path: Path) -> None:
    path, heard = tmp_path / "x.jsonl.zst", list[tuple[str, bytes]]()

    def listener(dispatch: Dispatch) -> None:
        heard.append((dispatch.type, dispatch.raw))

    async def record() -> None:
        gateway = make_gateway(sim)
        gateway.listen(listener)
        async with gateway.record(path, secrets=True), gateway:
            await eventually(lambda: len(heard) >= 2_004, timeout=30)

    with Simulator(guilds=3, rate=4_000, count=2_000, identify_interval=0) as sim:
        asyncio.run(record())
    live = heard.copy()
    heard.clear()
    gateway = Gateway("token")
    gateway.listen(listener)
    assert replay(Recording(path), gateway) == len(live)
    assert heard == live
    metrics = gateway.metrics()
    assert metrics.received == metrics.delivered == len(live)
    assert json.loads(live[0][1])["v"] == 10


@pytest.mark.parametrize("listener", [False, True])
def test_readers_of_batches_go_by_that_clock(tmp_path: Path, listener: bool) -> None:
    path = written(tmp_path / "x", [line(str(second), float(second)) for second in range(600)])
    told: list[tuple[int, float]] = []

    @contextlib.asynccontextmanager
    async def reading(bot: Gateway) -> AsyncIterator[None]:
        async def read() -> None:
            async with bot.batches(seconds=60, size=1000, ack=True) as batches:
                async for batch in batches:
                    told.append((len(batch), now()))
                    await asyncio.sleep(1)
                    batch.ack()

        task = asyncio.create_task(read())
        await asyncio.sleep(0)
        yield
        await task

    bot = Gateway("token", lifespan=reading)
    if listener:
        bot.listen(MessageCreate)(lambda _: None)
    assert replay(path, bot) == 600
    assert sum(count for count, _ in told) == 600
    assert [round(at) for _, at in told] == [*range(60, 600, 60), 599]
