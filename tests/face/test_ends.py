"""Ends of connections: what handlers hear, what is raised, what is made anew."""

import asyncio
import logging
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from propylon import (
    AuthenticationFailed,
    Closed,
    DisallowedIntents,
    Gateway,
    GatewayClosed,
    GatewayStatus,
    HandshakeError,
    Intents,
    InvalidApiVersion,
    InvalidIntents,
    InvalidShard,
    NotConnected,
    PropylonError,
    ShardingRequired,
)
from propylon.errors import error_of_end
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]

FATAL = {
    4004: AuthenticationFailed,
    4010: InvalidShard,
    4011: ShardingRequired,
    4012: InvalidApiVersion,
    4013: InvalidIntents,
    4014: DisallowedIntents,
}


class TestFatal:
    @pytest.mark.parametrize("code", FATAL)
    async def test_open_raises_its_own_type_once(self, propylon_simulator: Start, gateway_to: Any, code: int) -> None:
        script = [steps.never_ready(), steps.wait_for_op(2), steps.close(code, "no\nway")]
        sim = propylon_simulator(scripts={"every": script})
        gateway: Gateway = gateway_to(sim)
        heard: list[Closed] = []
        gateway.on_close(heard.append)
        with pytest.raises(FATAL[code]) as raised:
            await gateway.open(timeout=10)
        assert type(raised.value) is FATAL[code]
        assert (raised.value.code, raised.value.reason) == (code, "no\nway")
        assert raised.value.advice
        assert raised.value.advice in str(raised.value)
        assert gateway.status is GatewayStatus.DISCONNECTED
        assert gateway.session is None
        await gateway.wait_closed()  # it has been told
        ((closed),) = heard
        assert (closed.code, closed.reconnect, type(closed.error)) == (code, False, FATAL[code])
        assert len(sim.record()["connections"]) == 1

    @pytest.mark.parametrize("code", FATAL)
    async def test_wait_closed_raises_it_once(self, propylon_simulator: Start, gateway_to: Any, code: int) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        sim.act(steps.close(code))
        async with asyncio.timeout(5):
            with pytest.raises(FATAL[code]):
                await gateway.wait_closed()
        await gateway.wait_closed()
        await gateway.close()

    async def test_who_asks_late_hears_it_too(
        self, propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        sim.act(steps.close(4004))
        # Nobody waits: then the log says that the bot is dead.
        await eventually(lambda: caplog.records)
        assert caplog.records[-1].levelno == logging.ERROR
        assert "4004" in caplog.text
        with pytest.raises(AuthenticationFailed):
            await gateway.wait_closed()
        await gateway.wait_closed()

    async def test_disallowed_intents_are_named(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator(disallowed_intents=Intents.MESSAGE_CONTENT)
        gateway: Gateway = gateway_to(sim, intents=Intents.GUILDS | Intents.MESSAGE_CONTENT)
        with pytest.raises(DisallowedIntents, match="MESSAGE_CONTENT") as raised:
            await gateway.open(timeout=10)
        assert raised.value.intents == Intents.MESSAGE_CONTENT
        assert "GUILD_MEMBERS" not in str(raised.value)

    async def test_a_refused_token_of_the_api_is_the_same_error(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        sim = propylon_simulator(token="another")
        gateway: Gateway = gateway_to(sim, gateway_url=None, api_url=sim.api_url)
        with pytest.raises(AuthenticationFailed, match=r"^the REST API refused the token \(.*HTTP 401\)") as raised:
            await gateway.open(timeout=10)
        # No WebSocket was there to be closed with a code.
        assert raised.value.code is None
        assert not re.search("4004|clos", str(raised.value))
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)

    async def test_it_raises_out_of_run(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator(token="another")
        gateway: Gateway = gateway_to(sim)
        with pytest.raises(AuthenticationFailed) as raised:
            await asyncio.to_thread(gateway.run)
        # It is no consequence of run() having looked for a loop.
        assert raised.value.__context__ is None

    async def test_listeners_get_what_came_before_the_end(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator(guilds=0, rate=None, count=2000, start="manual", events=["MESSAGE_CREATE"])
        gateway: Gateway = gateway_to(sim, max_pending=5)
        heard: list[Any] = []

        @gateway.listen
        async def on(message: MessageCreate) -> None:
            await asyncio.sleep(0)
            heard.append(message)

        await gateway.open(timeout=10)
        sim.flood()
        await sim.wait_for("traffic_done")
        sim.act(steps.close(4004))
        with pytest.raises(AuthenticationFailed):
            await gateway.wait_closed()
        assert len(heard) >= 2000 - 5

    async def test_a_reader_that_stands_still_does_not_hold_the_end_for_ever(
        self, propylon_simulator: Start, gateway_to: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
    ) -> None:
        monkeypatch.setattr("propylon._gateway.life._DRAIN_PATIENCE", 0.05)
        sim = propylon_simulator(guilds=0, rate=None, count=3000, start="manual", events=["MESSAGE_CREATE"])
        gateway: Gateway = gateway_to(sim)
        async with gateway.batches(MessageCreate):
            await gateway.open(timeout=10)
            sim.flood()
            await sim.wait_for("traffic_done")
            sim.act(steps.close(4004))
            async with asyncio.timeout(5):
                with pytest.raises(AuthenticationFailed):
                    await gateway.wait_closed()
        assert "do not take the events that still wait" in caplog.text

    async def test_close_cuts_that_wait_short(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator(guilds=0, rate=None, count=3000, start="manual", events=["MESSAGE_CREATE"])
        gateway: Gateway = gateway_to(sim)
        ended: list[Closed] = []
        gateway.on_close(ended.append)
        async with gateway.batches(MessageCreate):
            await gateway.open(timeout=10)
            sim.flood()
            await sim.wait_for("traffic_done")
            sim.act(steps.close(4004))
            await eventually(lambda: ended)
            # It would wait for five seconds.
            async with asyncio.timeout(4):
                await gateway.close()


class TestOnClose:
    async def test_every_end_is_told_the_users_own_included(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        heard: list[Closed] = []

        @gateway.on_close
        def sync(closed: Closed, gateway: Gateway) -> None:
            heard.append(closed)

        @gateway.on_close
        async def later(closed: Closed) -> None:
            await asyncio.sleep(0)
            heard.append(closed)

        await gateway.open(timeout=10)
        sim.act(steps.close(4000, "bye"))
        await sim.wait_for("resumed")
        await eventually(lambda: gateway.status is GatewayStatus.READY and len(heard) == 2)
        sim.act(steps.reset())
        await sim.wait_for("resumed", count=2)
        await eventually(lambda: len(heard) == 4)
        await gateway.close()
        told = [(closed.code, closed.reconnect, closed.error) for closed in heard if closed.code is not None]
        assert told == [(4000, True, None)] * 2 + [(1000, False, None)] * 2
        assert [closed.reconnect for closed in heard if closed.code is None] == [True, True]
        assert heard[0].reason == "bye"

    @pytest.mark.parametrize("end", ["fatal in open", "fatal", "by the user"])
    async def test_the_end_waits_for_it(self, propylon_simulator: Start, gateway_to: Any, end: str) -> None:
        fatal = [steps.never_ready(), steps.wait_for_op(2), steps.close(4004)]
        sim = propylon_simulator(scripts={1: fatal} if end == "fatal in open" else {})
        gateway: Gateway = gateway_to(sim)
        done: list[bool] = []

        @gateway.on_close
        async def slow(closed: Closed) -> None:
            await asyncio.sleep(0.05)
            done.append(True)

        if end == "fatal in open":
            with pytest.raises(AuthenticationFailed):
                await gateway.open(timeout=10)
        else:
            await gateway.open(timeout=10)
            if end == "fatal":
                sim.act(steps.close(4004))
                with pytest.raises(AuthenticationFailed):
                    await gateway.wait_closed()
            else:
                await gateway.close()
        assert done == [True]

    @pytest.mark.parametrize("kind", ["sync", "async", "slow"])
    async def test_false_stops_the_remaking(self, propylon_simulator: Start, gateway_to: Any, kind: str) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)

        def sync(closed: Closed) -> bool:
            return False

        async def at_once(closed: Closed) -> bool:
            return False

        async def slow(closed: Closed) -> bool:
            # By now the connection is there again.
            if closed.reconnect:
                await sim.wait_for("resumed")
            return False

        gateway.on_close({"sync": sync, "async": at_once, "slow": slow}[kind])
        await gateway.open(timeout=10)
        sim.act(steps.close(4000, "enough"))
        async with asyncio.timeout(5):
            with pytest.raises(GatewayClosed) as raised:
                await gateway.wait_closed()
        assert (raised.value.code, raised.value.reason) == (4000, "enough")
        assert gateway.status is GatewayStatus.DISCONNECTED
        await sim.wait_for("open", count=0)
        assert gateway.session is not None  # it can be resumed

    async def test_none_and_other_values_do_not(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        gateway.on_close(lambda closed: None)
        gateway.on_close(lambda closed: 0)
        await gateway.open(timeout=10)
        sim.act(steps.reset())
        await sim.wait_for("resumed")
        await eventually(lambda: gateway.status is GatewayStatus.READY)

    async def test_a_failing_handler_is_logged_and_changes_nothing(
        self, propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)

        @gateway.on_close
        def sync(closed: Closed) -> None:
            raise RuntimeError("sync")

        @gateway.on_close
        async def later(closed: Closed) -> None:
            raise RuntimeError("async")

        await gateway.open(timeout=10)
        sim.act(steps.reset())
        await sim.wait_for("resumed")
        await eventually(lambda: len(caplog.records) == 2)
        assert [record.getMessage() for record in caplog.records] == ["on_close handler failed"] * 2

    async def test_a_handler_may_close(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)

        @gateway.on_close
        async def give_up(closed: Closed, gateway: Gateway) -> None:
            await gateway.close()

        await gateway.open(timeout=10)
        sim.act(steps.reset())
        async with asyncio.timeout(5):
            await gateway.wait_closed()

    async def test_a_listener_and_an_error_handler_may_close(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)

        @gateway.listen
        async def fails(message: MessageCreate) -> None:
            raise RuntimeError

        @gateway.on_error
        async def give_up(error: Exception, gateway: Gateway) -> None:
            await gateway.close()

        await gateway.open(timeout=10)
        sim.dispatch("MESSAGE_CREATE", {})
        async with asyncio.timeout(5):
            await gateway.wait_closed()

    async def test_the_reason_cannot_forge_a_line_of_the_log(
        self, propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """F21."""
        caplog.set_level(logging.DEBUG, "propylon")
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        sim.act(steps.close(4000, "x\nERROR forged\x1b[31m"))
        await sim.wait_for("resumed")
        await eventually(lambda: "forged" in caplog.text)
        assert not any("\n" in record.getMessage() or "\x1b" in record.getMessage() for record in caplog.records)


class TestNotMadeAnew:
    @pytest.mark.parametrize("code", [4000, 1000, None])
    async def test_auto_reconnect_false(self, propylon_simulator: Start, gateway_to: Any, code: int | None) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim, auto_reconnect=False)
        await gateway.open(timeout=10)
        sim.act(steps.reset() if code is None else steps.close(code, "bye"))
        with pytest.raises(GatewayClosed) as raised:
            await gateway.wait_closed()
        assert type(raised.value) is GatewayClosed
        assert raised.value.code == code
        assert len(sim.record()["connections"]) == 1

    async def test_in_open(self, propylon_simulator: Start, gateway_to: Any) -> None:
        script = [steps.never_ready(), steps.wait_for_op(2), steps.close(4000, "early")]
        sim = propylon_simulator(scripts={"every": script})
        with pytest.raises(GatewayClosed, match=r"4000 .*early"):
            await gateway_to(sim, auto_reconnect=False).open(timeout=10)

    async def test_no_connection_at_all(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator(scripts={"every": [steps.http_response(403, body="go away " * 100)]})
        with pytest.raises(HandshakeError, match="403") as raised:
            await gateway_to(sim, auto_reconnect=False).open(timeout=10)
        assert len(str(raised.value)) < 400  # F03: the body is cut
        gateway: Gateway = gateway_to(sim, auto_reconnect=False)
        sim.close()
        with pytest.raises(HandshakeError):
            await gateway.open(timeout=10)
        assert issubclass(HandshakeError, PropylonError)

    async def test_none_after_the_users_own_close(self, propylon_simulator: Start, gateway_to: Any) -> None:
        gateway: Gateway = gateway_to(propylon_simulator(), auto_reconnect=False)
        await gateway.open(timeout=10)
        waiting = asyncio.create_task(gateway.wait_closed())
        await asyncio.sleep(0)
        await gateway.close()
        await waiting


class TestTexts:
    """``str(error)`` says what to do next, in one line."""

    async def test_of_an_end_that_is_not_made_anew(self) -> None:
        error = error_of_end(("not remade", 4000, "a\n\x1b[31mb"), Intents.NONE)
        assert isinstance(error, GatewayClosed)
        assert error.reason == "a\n\x1b[31mb"
        assert str(error).isprintable()
        assert r"(a\n\x1b[31mb)" in str(error)
        assert "auto_reconnect=False or an on_close handler that returned False" in str(error)

    async def test_of_disallowed_intents_of_which_none_was_asked_for(self) -> None:
        error = error_of_end(("fatal", 4014, "", "Enable them.", None), Intents.GUILDS)
        assert "asked for: )" not in str(error)
        assert "asked for no privileged one" in str(error)


class TestHandlersThatWait:
    """The end of the gateway waits for `on_close` handlers, and they may wait for what the end brings."""

    @pytest.mark.parametrize("how", ["close", "fatal"])
    @pytest.mark.parametrize("what", ["wait_for", "collect", "request", "again and again"])
    async def test_what_a_handler_awaits_ends_with_the_gateway(
        self, propylon_simulator: Start, gateway_to: Any, how: str, what: str
    ) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        ended: list[Any] = []

        @gateway.on_close
        async def on_close(closed: Closed) -> None:
            if what == "collect":
                ended.append(await gateway.collect(MessageCreate, count=1))
                return
            for _ in range(3 if what == "again and again" else 1):
                with pytest.raises(NotConnected):
                    await (gateway.request_members(41) if what == "request" else gateway.wait_for(MessageCreate))
            ended.append([])

        await gateway.open(timeout=10)
        async with asyncio.timeout(5):
            if how == "close":
                await gateway.close()
            else:
                sim.act(steps.close(4004))
                with pytest.raises(AuthenticationFailed):
                    await gateway.wait_closed()
        assert ended == [[]]
        # The next life waits as the first one did.
        waiting = asyncio.ensure_future(gateway.wait_for(MessageCreate))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()

    @pytest.mark.parametrize("stubborn", [False, True])
    async def test_one_that_stands_still_is_cancelled(
        self, propylon_simulator: Start, gateway_to: Any, monkeypatch: Any, caplog: Any, stubborn: bool
    ) -> None:
        monkeypatch.setattr("propylon._gateway.life._DRAIN_PATIENCE", 0.05)
        gateway: Gateway = gateway_to(propylon_simulator())
        let_go = asyncio.Event()
        heard: list[str] = []

        @gateway.on_close
        async def on_close(closed: Closed) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                heard.append("cancelled")
                if stubborn:
                    await let_go.wait()
                raise

        await gateway.open(timeout=10)
        async with asyncio.timeout(5):
            await gateway.close()
        assert heard == ["cancelled"]
        assert gateway.status is GatewayStatus.DISCONNECTED
        assert "on_close handlers are cancelled" in caplog.text
        assert ("do not end although they were cancelled" in caplog.text) is stubborn
        let_go.set()


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "keeps this client out"), (404, "check the path"), (429, "too many"), (503, "try again later")],
)
async def test_an_answer_that_is_no_upgrade_says_what_to_do(
    propylon_simulator: Start, gateway_to: Any, status: int, advice: str
) -> None:
    sim = propylon_simulator(scripts={"every": [steps.http_response(status)]})
    with pytest.raises(HandshakeError, match=f"{status}.*{advice}"):
        await gateway_to(sim, auto_reconnect=False).open(timeout=10)


async def test_a_refused_connection_says_what_to_do(propylon_simulator: Start, gateway_to: Any) -> None:
    gateway = gateway_to(propylon_simulator(), auto_reconnect=False, gateway_url="ws://127.0.0.1:1")
    with pytest.raises(HandshakeError, match="nothing listens there"):
        await gateway.open(timeout=10)
