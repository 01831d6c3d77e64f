"""Through a proxy: the same gateway; and every way in which a proxy fails is told apart, without its password."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from faults.conftest import Witness
from faults.proxies import Handler, ProxyServer, connect, says, socks5
from propylon import Backoff, CertificateError, Gateway, GatewayStatus, HandshakeError, Timeouts
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
Make = Callable[..., Witness]

USER = "ada:hush%3Ahush"
CREDENTIALS = "ada:hush:hush"

WAYS: dict[str, tuple[str, str, Handler]] = {
    "CONNECT": ("http", "", connect()),
    "CONNECT with a password": ("http", USER, connect(CREDENTIALS)),
    "SOCKS5": ("socks5", "", socks5()),
    "SOCKS5 with a password": ("socks5", USER, socks5(CREDENTIALS)),
    "SOCKS5 that does not ask for it": ("socks5h", USER, socks5()),
    "SOCKS5 bound to a name": ("socks5h", "", socks5(bound=b"\3\4host\0\1")),
    "SOCKS5 bound to IPv6": ("socks5", "", socks5(bound=b"\4" + bytes(18))),
}


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_gateway_connects_and_resumes_through_it(
    propylon_simulator: Start, witness_to: Make, way: str, tls: bool
) -> None:
    scheme, credentials, handler = WAYS[way]
    sim = propylon_simulator(guilds=0, tls=tls)
    async with ProxyServer(handler) as proxy:
        witness = witness_to(sim, proxy=proxy.url(scheme, credentials))
        await witness.gateway.open(timeout=10)
        sim.act(steps.reset())
        sim.dispatch("TYPING_START", {"n": 1})
        await sim.wait_for("resumed")
        await eventually(lambda: "RESUMED" in witness.types)
        assert witness.types == ["READY", "TYPING_START", "RESUMED"]
        host = "localhost" if tls else "127.0.0.1"
        assert proxy.targets == [(host, sim.port)] * 2
        await witness.gateway.close()


@pytest.mark.parametrize("way", ["CONNECT", "SOCKS5"])
async def test_the_proxy_looks_the_name_up_and_the_certificate_is_the_gateways(
    propylon_simulator: Start, gateway_to: Any, way: str
) -> None:
    scheme, _, handler = WAYS[way]
    sim = propylon_simulator(tls=True, certificate="wrong_host")  # good for gateway.example.net
    async with ProxyServer(handler, to=("127.0.0.1", sim.port)) as proxy:
        gateway: Gateway = gateway_to(sim, gateway_url="wss://gateway.example.net", proxy=proxy.url(scheme))
        await gateway.open(timeout=10)
        assert proxy.targets == [("gateway.example.net", 443)]
        other: Gateway = gateway_to(sim, gateway_url="wss://gateway.discord.gg", proxy=proxy.url(scheme))
        with pytest.raises(CertificateError, match=r"gateway\.discord\.gg"):
            await other.open(timeout=10)
        await gateway.close()


@pytest.mark.parametrize("way", ["CONNECT", "SOCKS5"])
async def test_an_ipv6_address_is_asked_for_as_one(propylon_simulator: Start, gateway_to: Any, way: str) -> None:
    scheme, _, handler = WAYS[way]
    sim = propylon_simulator()
    async with ProxyServer(handler, to=("127.0.0.1", sim.port)) as proxy:
        url = "ws://[2001:db8::1]:81"
        gateway: Gateway = gateway_to(sim, gateway_url=url, allow_plaintext=True, proxy=proxy.url(scheme))
        await gateway.open(timeout=10)
        assert proxy.targets == [("2001:db8::1", 81)]
        assert way == "SOCKS5" or "Host: [2001:db8::1]:81\r\n" in proxy.heads[0]
        await gateway.close()


async def test_the_api_is_asked_through_it_too(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    async with ProxyServer(connect()) as proxy:
        gateway: Gateway = gateway_to(sim, gateway_url=None, api_url=sim.api_url, proxy=proxy.url("http"))
        await gateway.open(timeout=10)
        assert len(proxy.targets) == 2
        assert len(sim.record()["api"]) == 1
        # CONNECT says who asks, never for whom: the token is the far end's.
        assert all("User-Agent: DiscordBot (https://" in head for head in proxy.heads)
        assert not any("Authorization" in head for head in proxy.heads)
        await gateway.close()


async def greets(_: ProxyServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks before it is asked, as SSH, SMTP and the like do."""
    writer.write(b"SSH-2.0-hush\r\n")
    await reader.read()


def answer(status: str, *headers: str) -> Handler:
    return says("\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode())


FAILURES: dict[str, tuple[str, str, Handler, str]] = {
    "407 without a password": ("http", "", connect(CREDENTIALS), r"answered 407: give user and password in proxy="),
    "407 to the wrong one": ("http", "ada:hush", connect(CREDENTIALS), r"answered 407: check user and password"),
    "407 for NTLM": ("http", USER, answer("407 No", "Proxy-Authenticate: NTLM"), r"takes only NTLM"),
    "403": ("http", USER, answer("403 Forbidden"), r"answered 403: it does not allow connections to 127\.0\.0\.1"),
    "502": ("http", USER, answer("502 Bad Gateway"), r"answered 502: it cannot reach 127\.0\.0\.1:\d+"),
    "302": ("http", USER, answer("302 Found", "Location: http://hush/"), r"answered 302 to CONNECT"),
    "504 with a body": ("http", "", answer("504 Late", "Content-Length: 9", "", "hush!"), r"answered 504: it cannot"),
    "100 first": (
        "http",
        "",
        says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\n\r\n"),
        r"answered 500 to CONNECT",
    ),
    "many headers": ("http", "", answer("200 OK", *["X: x"] * 65), r"over 16384 bytes of headers, or over 64"),
    "greets": ("http", USER, greets, r"does not answer in HTTP"),
    "garbage": ("http", USER, says(b"\0\1garbage\r\n\r\n"), r"does not answer in HTTP"),
    "SOCKS5 asked by CONNECT": ("http", USER, says(b"\5\xff"), r"does not answer in HTTP; for a SOCKS proxy"),
    "endless headers": ("http", USER, says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), r"over 16384 bytes"),
    "closes without a word": ("http", USER, says(b""), r"closed the connection instead of answering CONNECT"),
    "closes mid-way": ("http", USER, says(b"HTTP/1.1 200 O"), r"closed the connection instead of answering CONNECT"),
    "speaks first": ("http", USER, says(b"HTTP/1.1 200 OK\r\n\r\nhello"), r"said more than that"),
    "wants a password": ("socks5", "", socks5(CREDENTIALS), r"wants to know who is asking: give user and password"),
    "refuses the password": ("socks5", "ada:hush", socks5(CREDENTIALS), r"refused user and password: check user"),
    "takes no method": ("socks5", USER, says(b"\5\xff"), r"takes neither"),
    "takes a method of its own": ("socks5", USER, says(b"\5\1"), r"was not offered \(1\)"),
    "SOCKS4": ("socks5", USER, says(b"\0\x5b"), r"does not speak SOCKS5: its answer begins with 0"),
    "HTTP asked by SOCKS5": ("socks5", USER, says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), r"answers in HTTP.*http://"),
    "no known address": ("socks5", "", socks5(bound=b"\7"), r"an address of no known kind \(7\)"),
    "greets and closes": ("socks5", "", says(b"\5\0"), r"closed the connection instead of connecting"),
    "half a reply": ("socks5", "", says(b"\5\0", b"\5\0\0\1\0"), r"closed the connection instead of connecting"),
    **{
        f"reply {code}": (
            "socks5h",
            "",
            socks5(reply=code),
            rf"cannot connect to 127\.0\.0\.1:\d+: {words}.* \(reply {code}\)",
        )
        for code, words in {
            1: "it failed",
            2: "its rules",
            3: "the network",
            4: "the host",
            5: "the connection was refused",
            6: "the time to live",
            7: "it does not know the command",
            8: "it does not know such addresses",
            99: "it does not say why",
        }.items()
    },
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_proxy_that_fails_is_named_with_what_it_said(
    propylon_simulator: Start, gateway_to: Any, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    scheme, credentials, handler, words = FAILURES[failure]
    sim = propylon_simulator()
    async with ProxyServer(handler) as proxy:
        gateway: Gateway = gateway_to(sim, proxy=proxy.url(scheme, credentials), auto_reconnect=False)
        with pytest.raises(HandshakeError, match=r"^the proxy 127\.0\.0\.1:\d+ .*" + words) as raised:
            await gateway.open(timeout=10)
        assert gateway.status is GatewayStatus.DISCONNECTED
        assert proxy.connections == 1
    assert "hush" not in str(raised.value) + caplog.text
    assert not sim.record()["connections"]


async def drips(_: ProxyServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Goes on answering, and is never done: in SOCKS5 with the name from which it connects, in HTTP with a header."""
    asked = await reader.read(4096)
    answer = b"HTTP/1.1 200 OK\r\nX: "
    if asked.startswith(b"\5"):
        writer.write(b"\5\0")
        await reader.read(4096)
        answer = b"\5\0\0\3\xff"
    writer.write(answer)
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("scheme", "handler"),
    [
        ("http", says(b"", close=False)),
        ("http", says(b"HTTP/1.1 200", close=False)),
        ("http", drips),
        ("socks5", drips),
        ("socks5", says(b"", close=False)),
        ("socks5", says(b"\5\0", close=False)),
        ("socks5", says(b"\5\0", b"\5\0\0\1", close=False)),
        ("https", says(b"", close=False)),
    ],
)
async def test_the_deadline_holds_for_a_silent_one(
    propylon_simulator: Start, gateway_to: Any, scheme: str, handler: Handler
) -> None:
    sim = propylon_simulator()
    async with ProxyServer(handler) as proxy:
        gateway: Gateway = gateway_to(
            sim, proxy=proxy.url(scheme), auto_reconnect=False, timeouts=Timeouts(connect=0.3, close=0.3)
        )
        with pytest.raises(HandshakeError, match=r"no connection within 0\.3 s: the proxy does not answer"):
            await gateway.open(timeout=10)


async def test_a_proxy_that_is_not_there(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    async with ProxyServer(connect()) as proxy:
        url = proxy.url("http")
    with pytest.raises(HandshakeError, match=r"the proxy .* cannot be reached"):
        await gateway_to(sim, proxy=url, auto_reconnect=False).open(timeout=10)


async def test_a_refused_password_is_not_tried_for_ever(propylon_simulator: Start, gateway_to: Any) -> None:
    """Like a certificate: as long as nothing has worked it is a setting, later a rotation in progress."""
    sim = propylon_simulator()
    async with ProxyServer(connect(CREDENTIALS)) as proxy:
        with pytest.raises(HandshakeError, match="407"):
            await gateway_to(sim, proxy=proxy.url("http", "ada:wrong")).open(timeout=10)
        assert proxy.connections == 1


async def test_a_proxy_in_trouble_is_tried_again_when_it_wants_to(propylon_simulator: Start, witness_to: Make) -> None:
    sim = propylon_simulator(guilds=0)
    busy, fine = answer("429 Later", "Retry-After: 0.5"), connect()
    handlers = [busy]

    async def handler(proxy: ProxyServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (handlers.pop() if handlers else fine)(proxy, reader, writer)

    async with ProxyServer(handler) as proxy:
        witness = witness_to(sim, proxy=proxy.url("http"), backoff=Backoff(base=0.001, cap=5))
        started = time.monotonic()
        await witness.gateway.open(timeout=10)
        assert time.monotonic() - started >= 0.5
        assert proxy.connections == 2
        await witness.gateway.close()
