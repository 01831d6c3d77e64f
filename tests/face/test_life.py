"""Opening, closing, opening again: from any loop, at any moment."""

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually, make_gateway, message, run_and_abandon
from propylon import AuthenticationFailed, Gateway, GatewayStatus, Intents, NotConnected, Timeouts
from propylon._delivery.loop import Delivery
from propylon.events import MessageCreate, MessageDelete, Ready
from propylon.testing import Simulator, steps

Start = Callable[..., Simulator]

READY, CLOSED = GatewayStatus.READY, GatewayStatus.DISCONNECTED


def closes(sim: Simulator) -> list[Any]:
    return [connection["closed"] and connection["closed"]["code"] for connection in sim.record()["connections"]]


@pytest.mark.asyncio
class TestOpen:
    async def test_returns_when_ready(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        assert gateway.status is GatewayStatus.UNCONNECTED
        assert gateway.session is None
        assert gateway.latency is None
        await gateway.open(timeout=10)
        assert gateway.status is READY
        assert gateway.status.is_connected
        assert gateway.session is not None
        assert gateway.session.id == sim.record()["sessions"][0]["id"]

    async def test_who_waits_at_the_identify_gate_is_told_so(self, propylon_simulator: Start) -> None:
        sim = propylon_simulator()
        options: dict[str, Any] = {"gateway_url": sim.url, "intents": Intents.ALL}
        first, second = Gateway("one-token", **options), Gateway("one-token", **options)
        async with first:
            with pytest.raises(TimeoutError, match=r"within 2\.5 s; it waits at the identify gate, .* every 5 s"):
                await second.open(timeout=2.5)

    async def test_when_its_time_is_over_it_raises_and_leaves_the_gateway_closed(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        sim = propylon_simulator(scripts={"every": [steps.never_ready()]})
        gateway: Gateway = gateway_to(sim)
        with pytest.raises(TimeoutError, match=r"not ready within 0\.2 s"):
            await gateway.open(timeout=0.2)
        assert gateway.status is CLOSED
        await sim.wait_for("open", count=0)
        await gateway.wait_closed()  # nothing is left to be raised

    async def test_its_timeout_tells_the_last_failure(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator(scripts={"every": [steps.http_response(503, body="maintenance")]})
        with pytest.raises(TimeoutError, match=r"the last attempt failed: .*503"):
            await gateway_to(sim).open(timeout=2.5)

    async def test_cancelling_it_closes(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator(scripts={"every": [steps.never_ready()]})
        gateway: Gateway = gateway_to(sim)
        opening = asyncio.create_task(gateway.open())
        await sim.wait_for("op", op=2)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert gateway.status is CLOSED
        await sim.wait_for("open", count=0)

    async def test_an_open_gateway_is_not_opened_twice(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        opening = asyncio.create_task(gateway.open(timeout=10))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="open already"):
            await gateway.open()
        await opening
        with pytest.raises(RuntimeError, match="open already"):
            await gateway.open()
        async with gateway:  # but this is no second opening
            assert gateway.status is READY
        assert gateway.status is CLOSED
        assert len(sim.record()["connections"]) == 1

    async def test_close_makes_a_waiting_open_fail(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator(scripts={"every": [steps.never_ready()]})
        gateway: Gateway = gateway_to(sim)
        opening = asyncio.create_task(gateway.open())
        await sim.wait_for("op", op=2)
        await gateway.close()
        with pytest.raises(NotConnected):
            await opening

    async def test_a_session_is_not_given_up_because_it_could_not_be_reached(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        await gateway.close(resumable=True)
        saved = gateway.session
        assert saved is not None
        sim.script("next", steps.silent_accept())
        with pytest.raises(TimeoutError):
            await gateway.open(timeout=0.1)
        assert gateway.session == saved
        await gateway.open(timeout=10)
        await eventually(lambda: gateway.metrics().resumes == 1)
        assert gateway.metrics().identifies == 1

    async def test_run_refuses_a_running_loop(self, propylon_simulator: Start, gateway_to: Any) -> None:
        with pytest.raises(RuntimeError, match=r"await gateway\.serve\(\)"):
            gateway_to(propylon_simulator()).run()


@pytest.mark.asyncio
class TestClose:
    @pytest.mark.parametrize(
        ("arguments", "code", "keeps"),
        [
            ({}, 1000, False),
            ({"code": 1001, "reason": "Restarting"}, 1001, False),
            ({"resumable": False}, 1000, False),
            ({"resumable": True}, 4000, True),
            ({"code": 3999}, 3999, True),
            ({"code": 4900, "resumable": True}, 4900, True),
        ],
    )
    async def test_the_server_sees_its_code(
        self, propylon_simulator: Start, gateway_to: Any, arguments: Any, code: int, keeps: bool
    ) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        await gateway.close(**arguments)
        assert gateway.status is CLOSED
        (connection,) = sim.record()["connections"]
        assert connection["closed"]["code"] == code
        assert connection["closed"]["reason"] == arguments.get("reason", "")
        assert (gateway.session is not None) == keeps

    @pytest.mark.parametrize(
        "arguments",
        [
            {"code": 999},
            {"code": 1002},
            {"code": 1005},
            {"code": 2999},
            {"code": 5000},
            {"code": 1000, "resumable": True},
            {"code": 1001, "resumable": True},
            {"code": 4000, "resumable": False},
            {"reason": "ä" * 62},
        ],
    )
    async def test_what_cannot_be_sent_is_refused_and_the_connection_kept(
        self, propylon_simulator: Start, gateway_to: Any, arguments: Any
    ) -> None:
        gateway: Gateway = gateway_to(propylon_simulator())
        await gateway.open(timeout=10)
        with pytest.raises(ValueError, match=r"\w"):
            await gateway.close(**arguments)
        assert gateway.status is READY

    async def test_closing_what_is_not_open_does_nothing(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.close()
        await gateway.wait_closed()
        await gateway.open(timeout=10)
        await asyncio.gather(gateway.close(), gateway.close(code=4000), gateway.wait_closed(), gateway.close())
        await gateway.close()
        assert closes(sim) == [1000]

    @pytest.mark.parametrize("where", ["connecting", "waiting for HELLO", "backing off"])
    async def test_before_it_is_ready(self, propylon_simulator: Start, gateway_to: Any, where: str) -> None:
        script = {"connecting": steps.silent_accept(), "waiting for HELLO": steps.no_hello()}
        sim = propylon_simulator(scripts={"every": [script.get(where, steps.http_response(500))]})
        gateway: Gateway = gateway_to(sim)
        if where == "backing off":
            sim.close()
        opening = asyncio.create_task(gateway.open())
        states = {"connecting": "CONNECTING", "waiting for HELLO": "WAITING_FOR_HELLO", "backing off": "DISCONNECTED"}
        await eventually(lambda: gateway.status.name == states[where])
        # Every other deadline is five seconds.
        async with asyncio.timeout(4):
            await gateway.close()
        assert gateway.status is CLOSED
        with pytest.raises(NotConnected):
            await opening

    async def test_a_server_that_does_not_answer_holds_it_no_longer_than_its_deadline(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim, timeouts=Timeouts(close=0.5))
        await gateway.open(timeout=10)
        sim.act(steps.stop_reading())
        started = asyncio.get_running_loop().time()
        await gateway.close()
        assert 0.4 < asyncio.get_running_loop().time() - started < 3

    async def test_no_listener_is_called_after_it_and_what_waited_is_heard_after_the_next_opening(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        sim = propylon_simulator(guilds=0)
        gateway: Gateway = gateway_to(sim, max_pending=1)
        heard: list[str] = []
        gate = asyncio.Event()

        @gateway.listen
        async def on(message: MessageCreate) -> None:
            heard.append(message.content)
            await gate.wait()

        await gateway.open(timeout=10)
        for number in range(600):
            sim.dispatch("MESSAGE_CREATE", message(str(number)))
        await eventually(lambda: heard and gateway.metrics().received_by_type.get("MESSAGE_CREATE") == 600)
        await gateway.close(resumable=True)
        gate.set()
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert heard == ["0"]
        await gateway.open(timeout=10)
        await eventually(lambda: len(heard) == 600)
        assert heard == [str(number) for number in range(600)]
        metrics = gateway.metrics()
        assert metrics.delivered_by_type["MESSAGE_CREATE"] == 600

    async def test_it_starts_anew_after_it(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        for turn in range(1, 4):
            async with gateway:
                assert gateway.status is READY
                await gateway.close(resumable=True)
            assert gateway.metrics().resumes == turn - 1
        assert gateway.metrics().identifies == 1
        assert closes(sim) == [4000] * 3


class TestLoops:
    def test_it_moves_to_the_loop_that_opens_it(self, propylon_simulator: Start) -> None:
        sim = propylon_simulator(guilds=0)
        gateway = make_gateway(sim)
        heard: list[tuple[str, asyncio.AbstractEventLoop]] = []

        @gateway.listen
        async def on(message: MessageCreate) -> None:
            heard.append((message.content, asyncio.get_running_loop()))

        async def main(number: int) -> asyncio.AbstractEventLoop:
            await gateway.open(timeout=10)
            sim.dispatch("MESSAGE_CREATE", message(str(number)))
            await eventually(lambda: len(heard) > number)
            await gateway.close(resumable=True)
            return asyncio.get_running_loop()

        loops = [asyncio.run(main(number)) for number in range(3)]
        assert heard == [(str(number), loop) for number, loop in enumerate(loops)]

    def test_one_left_open_when_its_loop_died_can_be_closed_in_the_next(self, propylon_simulator: Start) -> None:
        sim = propylon_simulator(guilds=0)
        gateway = make_gateway(sim)
        run_and_abandon(gateway.open(timeout=10))
        assert gateway.status is READY

        async def main() -> None:
            with pytest.raises(RuntimeError, match="open already"):
                await gateway.open()
            async with asyncio.timeout(5):
                await gateway.close(resumable=True)
                assert gateway.status is CLOSED
                await gateway.open(timeout=10)
                await gateway.close()

        asyncio.run(main())
        assert closes(sim) == [4000, 1000]

    def test_a_loop_that_ends_with_listeners_at_work_does_not_deafen_the_next(self, propylon_simulator: Start) -> None:
        sim = propylon_simulator(guilds=0)
        gateway = make_gateway(sim, max_pending=1)
        heard: list[str] = []

        @gateway.listen
        async def on(message: MessageCreate) -> None:
            heard.append(message.content)
            if message.content == "first":
                await asyncio.Event().wait()

        async def first() -> None:
            await gateway.open(timeout=10)
            for content in ("first", "second"):
                sim.dispatch("MESSAGE_CREATE", message(content))
            await eventually(lambda: heard)
            await gateway.close(resumable=True)

        async def second() -> None:
            await gateway.open(timeout=10)
            await eventually(lambda: heard == ["first", "second"])
            await gateway.close()

        asyncio.run(first())
        asyncio.run(second())

    @pytest.mark.parametrize("is_ready", [True, False])
    def test_its_end_in_the_next_loop_is_told_to_those_who_ask_there_and_complained_of_by_nobody(
        self, propylon_simulator: Start, caplog: pytest.LogCaptureFixture, is_ready: bool
    ) -> None:
        sim = propylon_simulator()
        gateway = make_gateway(sim)
        run_and_abandon(gateway.open(timeout=10))
        if not is_ready:
            sim.script(2, steps.no_hello(), steps.wait(0.1), steps.close(4004))

        async def second() -> None:
            ended = asyncio.ensure_future(gateway.wait_closed())
            await asyncio.sleep(0)
            sim.act(steps.close(4004) if is_ready else steps.drop())
            with pytest.raises(AuthenticationFailed):
                await ended

        asyncio.run(second())
        gc.collect()
        assert "never retrieved" not in caplog.text

    def test_what_a_dead_loop_left_undone_is_handed_out_by_the_next(self, propylon_simulator: Start) -> None:
        sim = propylon_simulator(guilds=0)
        gateway = make_gateway(sim)
        heard: list[str] = []

        @gateway.listen
        def slowly(message: MessageCreate) -> None:
            heard.append(message.content)
            time.sleep(0.003)  # longer than a turn of the loop may take

        async def first() -> None:
            await gateway.open(timeout=10)
            for number in range(100):
                sim.dispatch("MESSAGE_CREATE", message(str(number)))
            await eventually(lambda: heard)

        async def second() -> None:
            await gateway.__aenter__()
            await eventually(lambda: len(heard) == 100)
            await gateway.close()

        run_and_abandon(first())
        assert 0 < len(heard) < 100
        asyncio.run(second())
        assert heard == [str(number) for number in range(100)]

    def test_an_open_gateway_belongs_to_its_loop(self, propylon_simulator: Start) -> None:
        gateway = make_gateway(propylon_simulator())

        async def elsewhere() -> None:
            for call in (gateway.close, gateway.wait_closed):
                with pytest.raises(RuntimeError, match="the event loop in which it was opened"):
                    await call()

        async def main() -> None:
            async with gateway:
                await asyncio.to_thread(asyncio.run, elsewhere())
                assert gateway.status is READY

        asyncio.run(main())

    def test_two_gateways_share_a_loop_and_two_loops_share_nothing(self, propylon_simulator: Start) -> None:
        sims = [propylon_simulator(guilds=0, seed=number) for number in range(4)]
        heard: dict[int, list[tuple[int, str]]] = {number: [] for number in range(4)}

        async def main(numbers: tuple[int, ...]) -> None:
            gateways = [make_gateway(sims[number]) for number in numbers]
            for number, gateway in zip(numbers, gateways, strict=True):
                gateway.listen(MessageCreate)(
                    lambda message, number=number: heard[number].append((threading.get_ident(), message.content))
                )
            await asyncio.gather(*[gateway.open(timeout=10) for gateway in gateways])
            assert len({id(gateway._life._delivery) for gateway in gateways}) == 1
            for number in numbers:
                sims[number].dispatch("MESSAGE_CREATE", message(str(number)))
            await eventually(lambda: all(heard[number] for number in numbers))
            await gateways[0].close()
            sims[numbers[1]].dispatch("MESSAGE_CREATE", message("still"))
            await eventually(lambda: len(heard[numbers[1]]) == 2)
            await gateways[1].close()

        threads = [threading.Thread(target=asyncio.run, args=(main(pair),)) for pair in ((0, 1), (2, 3))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert [[content for _, content in heard[number]] for number in range(4)] == [
            ["0"],
            ["1", "still"],
            ["2"],
            ["3", "still"],
        ]
        assert heard[0][0][0] == heard[1][0][0] != heard[2][0][0]

    @pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
    def test_loops_and_gateways_leave_no_descriptor_behind(self, propylon_simulator: Start) -> None:
        sim = propylon_simulator(guilds=0)

        async def main() -> None:
            async with make_gateway(sim):
                pass

        asyncio.run(main())
        sim.wait("open", count=0)
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        # Those that other tests have left are none of ours.
        known = len(Delivery._of_loop)
        for _ in range(10):
            asyncio.run(main())
        sim.wait("open", count=0)
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= before + 2
        assert len(Delivery._of_loop) <= known


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_state_can_be_read_from_any_thread(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(rate=20_000, command_limit=0)
    gateway: Gateway = gateway_to(sim)
    gateway.listen(Ready)(lambda ready: None)
    await gateway.open(timeout=10)
    stop = threading.Event()
    errors: list[BaseException] = []
    sequences: list[int] = []

    def read() -> None:
        try:
            while not stop.is_set():
                assert gateway.status in GatewayStatus
                assert gateway.latency is None or gateway.latency >= 0
                assert gateway.metrics().received >= 1
                session = gateway.session
                assert session is not None
                sequences.append(session.sequence)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    # A short interval would make a zombie of a busy machine, and the server keeps too few events for a RESUME.
    sim.act(steps.request_heartbeats())
    await sim.wait_for("dispatched", count=20_000, timeout=30)
    await eventually(lambda: gateway.latency is not None)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert sequences[-1] > 1000


@pytest.mark.asyncio
async def test_after_all_tasks_were_cancelled_no_listener_is_called_until_the_next_open(
    propylon_simulator: Start, gateway_to: Any
) -> None:
    """What `asyncio.run` does at its end: a call begun then would be destroyed while it is pending."""
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    heard: list[int] = []
    cancelled = 0

    @gateway.listen
    async def on_delete(message: MessageDelete) -> None:
        nonlocal cancelled
        heard.append(message.id)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise

    await gateway.open(timeout=10)
    sim.dispatch("MESSAGE_DELETE", {"id": "1", "channel_id": "2"})
    await eventually(lambda: heard == [1])
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.wait(others)
    assert cancelled == 1
    sim.dispatch("MESSAGE_DELETE", {"id": "2", "channel_id": "2"})
    await eventually(lambda: gateway.metrics().received_by_type.get("MESSAGE_DELETE") == 2)
    await gateway.close()
    assert heard == [1]
    await gateway.open(timeout=10)
    await eventually(lambda: heard == [1, 2])
