"""The token, and the id of the session, are nowhere to be seen (F40)."""

import copy
import gc
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from faults.proxies import ProxyServer, connect, says
from propylon import Backoff, Closed, Gateway, GatewayStatus, HandshakeError, Intents, Presence, PropylonError
from propylon.events import MessageCreate, Ready, VoiceServerUpdate
from propylon.testing import Simulator, steps

Start = Callable[..., Simulator]

TOKEN = "MTA0NTY3.hush-hush.0123456789abcdef"


def shown(value: object, depth: int = 4) -> str:
    """Everything that a repr, `vars` or a debugger would show of an object and what hangs on it."""
    seen: set[int] = set()
    texts: list[str] = []

    def visit(value: object, depth: int) -> None:
        if id(value) in seen or depth < 0 or isinstance(value, type):
            return
        seen.add(id(value))
        texts.extend((repr(value), str(value)))
        if isinstance(value, dict):
            for item in value.items():
                visit(item, depth - 1)
        elif isinstance(value, list | tuple | set | frozenset):
            for item in value:
                visit(item, depth - 1)
        elif type(value).__module__.startswith("propylon"):
            for name in {*getattr(value, "__dict__", ()), *getattr(type(value), "__slots__", ())}:
                visit(getattr(value, name, None), depth - 1)

    visit(value, depth)
    return "\n".join(texts)


def test_the_gateway_does_not_show_it() -> None:
    gateway = Gateway(TOKEN)
    assert "hush" not in shown(gateway)
    assert repr(gateway) == "<Gateway UNCONNECTED>"
    assert repr(Gateway(TOKEN, shard=(1, 4))) == "<Gateway UNCONNECTED shard=(1, 4)>"
    gc.collect()
    # No Python object keeps the text except this module.
    keepers = [keeper for keeper in gc.get_referrers(TOKEN) if keeper is not globals()]
    assert not [keeper for keeper in keepers if isinstance(keeper, dict) and "compression" in keeper]


@pytest.mark.parametrize("dump", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_cannot_be_pickled_or_copied(dump: Callable[[Gateway], object]) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        dump(Gateway(TOKEN))


@pytest.mark.parametrize(
    "wrong",
    ["", " ", f"{TOKEN}\n{TOKEN}", "hush-hush ä", "hush\0hush", f"Bot {TOKEN} x", 5, None, TOKEN.encode()],
)
def test_the_error_of_a_malformed_one_does_not_repeat_it(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="token") as raised:
        Gateway(wrong)
    assert "hush" not in "".join(traceback.format_exception_only(raised.value))


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_whole_life_shows_no_secret(propylon_simulator: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Token, session id, voice token and the proxy's password, whatever happens and whatever is logged."""
    caplog.set_level(logging.DEBUG)
    sim = propylon_simulator(token=TOKEN)
    through = connect("ada:hush-proxy")
    broken = [says(b"HTTP/1.1 502 hush-proxy\r\n\r\n"), says(b"HTTP/1.1 407 hush-proxy\r\n\r\n"), says(b"hush-proxy")]

    async def handler(proxy: ProxyServer, reader: Any, writer: Any) -> None:
        fails = proxy.connections > 1 and broken
        await (broken.pop() if fails else through)(proxy, reader, writer)

    async with ProxyServer(handler) as proxy:
        gateway = Gateway(
            f"Bot {TOKEN}",
            gateway_url=sim.url,
            proxy=proxy.url("http", "ada:hush-proxy"),
            backoff=Backoff(base=0.01, cap=0.05, reset_after=0.05),
        )
        texts: list[str] = []
        gateway.on_close(lambda closed: texts.append(shown(closed)))
        gateway.on_error(lambda error, *rest: texts.append("".join(traceback.format_exception(error))))
        gateway.log_payloads()

        @gateway.listen
        def on_ready(ready: Ready) -> None:
            texts.append(repr(ready))
            raise RuntimeError("listener")

        @gateway.listen
        def on_voice(voice: VoiceServerUpdate) -> None:
            texts.append(repr(voice))
            raise RuntimeError(voice)

        @gateway.listen
        def on_message(message: MessageCreate) -> None: ...

        await gateway.open(timeout=10)
        # The prefix is not part of it.
        assert sim.record()["connections"][0]["ops"][0]["payload"]["d"]["token"] == TOKEN
        session = gateway.session
        assert session is not None
        await gateway.set_presence(Presence())
        # A beat that is asked for: those of a short interval would make a zombie of a busy machine.
        sim.act(steps.request_heartbeats())
        await eventually(lambda: gateway.latency is not None)
        sim.dispatch("MESSAGE_CREATE", {"content": []})
        sim.dispatch("VOICE_SERVER_UPDATE", {"token": "hush-voice", "guild_id": "1", "endpoint": None})
        sim.dispatch("VOICE_SERVER_UPDATE", {"token": ["hush-voice"], "guild_id": "1"})
        said = steps.close(4000, f"{TOKEN} {session.id}")
        for number, step in enumerate((steps.corrupt(), steps.reconnect(), said, steps.reset()), 1):
            await eventually(lambda: gateway.status is GatewayStatus.READY)
            sim.act(step)
            sim.dispatch("TYPING_START", {})
            await sim.wait_for("resumed", count=number)
            await eventually(lambda number=number: gateway.metrics().resumes == number)
        texts += [shown(gateway), shown(gateway.metrics()), repr(session)]
        await gateway.close(resumable=True)
    texts.append(caplog.text)
    everything = "\n".join(texts)
    for spoken in (
        "listener",
        "MESSAGE_CREATE",
        "VOICE_SERVER_UPDATE",
        "answered 407",
        "answered 502",
        "IDENTIFY sent",
    ):
        assert spoken in everything
    assert not broken
    assert TOKEN not in everything
    assert "hush" not in everything
    assert session.id not in everything


def test_a_proxys_password_is_in_no_error_and_no_repr() -> None:
    gateway = Gateway(TOKEN, proxy="socks5://ada:hush@localhost:1")
    assert "hush" not in shown(gateway)
    for wrong in ("ftp://ada:hush@localhost", "hush", "http://ada:hush@localhost/x", "http://ada:hush@:80", 5):
        with pytest.raises((TypeError, ValueError), match="proxy") as raised:
            Gateway(TOKEN, proxy=wrong)  # type: ignore[arg-type]
        assert "hush" not in "".join(traceback.format_exception_only(raised.value))


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_server_that_says_it_back_is_not_repeated(
    propylon_simulator: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sim = propylon_simulator(scripts={"every": [steps.http_response(401, body=f"bad token {TOKEN}")]})
    gateway = Gateway(TOKEN, gateway_url=sim.url, auto_reconnect=False)
    with pytest.raises(HandshakeError) as raised:
        await gateway.open(timeout=10)
    assert "401" in str(raised.value)
    assert "hush" not in str(raised.value) + caplog.text


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_server_that_says_it_back_in_its_close_reason_is_not_repeated(
    propylon_simulator: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sim = propylon_simulator()
    gateway = Gateway(TOKEN, gateway_url=sim.url, auto_reconnect=False)
    sim.script("every", steps.never_ready(), steps.wait_for_op(2), steps.close(4000, f"not {TOKEN}"))
    closed: list[Closed] = []
    gateway.on_close(closed.append)
    with pytest.raises(PropylonError) as refused:
        await gateway.open(timeout=10)
    assert "hush" not in str(refused.value) + shown(closed) + caplog.text
    assert gateway.status is GatewayStatus.DISCONNECTED


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_redirect_is_not_followed_with_it(propylon_simulator: Start) -> None:
    elsewhere = propylon_simulator()
    location = {"Location": elsewhere.url.replace("ws://", "http://")}
    sim = propylon_simulator(scripts={"every": [steps.http_response(302, headers=location)]})
    with pytest.raises(HandshakeError, match="302"):
        await Gateway(TOKEN, gateway_url=sim.url, auto_reconnect=False).open(timeout=10)
    assert not elsewhere.record()["connections"]
    assert "authorization" not in {name.lower() for name in sim.record()["connections"][0]["headers"]}


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("around", ["{}\n", " {}\r\n", "\tBot {} ", "Bot  {}"])
async def test_a_token_with_surrounding_whitespace_is_stripped(
    propylon_simulator: Start, gateway_to: Any, around: str
) -> None:
    """As a file or an environment variable has it."""
    sim = propylon_simulator(guilds=0, token=TOKEN)
    async with Gateway(around.format(TOKEN), gateway_url=sim.url, intents=Intents.NONE):
        assert sim.record()["connections"][0]["ready_ms"] is not None
