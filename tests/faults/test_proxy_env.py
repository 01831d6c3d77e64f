"""``proxy="env"``: the environment's proxies, read when the gateway is opened and chosen for each host as curl does."""

from collections.abc import Callable
from typing import Any

import pytest

from faults.proxies import ProxyServer, connect, socks5
from propylon import Gateway
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]

VARIABLES = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]


@pytest.fixture(autouse=True)
def none_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def open_and_close(gateway: Gateway) -> None:
    await gateway.open(timeout=10)
    await gateway.close()


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
async def test_it_is_read_when_the_gateway_is_opened(
    propylon_simulator: Start, gateway_to: Any, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    sim = propylon_simulator(guilds=0, tls=tls)
    gateway: Gateway = gateway_to(sim, proxy="env")
    await open_and_close(gateway)
    async with ProxyServer(connect()) as proxy:
        monkeypatch.setenv("https_proxy" if tls else "http_proxy", proxy.url("http"))
        await open_and_close(gateway)
        assert proxy.targets == [("localhost" if tls else "127.0.0.1", sim.port)]
        monkeypatch.setenv("NO_PROXY", "example.org, localhost, 127.0.0.0/8")
        await open_and_close(gateway)
        assert proxy.connections == 1
    assert len(sim.record()["connections"]) == 3


async def test_it_is_not_read_unless_it_is_asked_for(
    propylon_simulator: Start, gateway_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    await open_and_close(gateway_to(propylon_simulator(guilds=0)))


async def test_each_host_has_its_own_way(
    propylon_simulator: Start, gateway_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API is asked through the proxy, and the gateway that it names is excepted by its port."""
    api, sim = propylon_simulator(guilds=0), propylon_simulator(guilds=0)
    api.act(steps.api_response(200, body=f'{{"url":"{sim.url}"}}'))
    async with ProxyServer(socks5()) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url("socks5"))
        monkeypatch.setenv("no_proxy", f"127.0.0.1:{sim.port}")
        await open_and_close(gateway_to(api, gateway_url=None, api_url=api.api_url, proxy="env"))
        assert proxy.targets == [("127.0.0.1", api.port)]
    assert len(sim.record()["connections"]) == 1


async def test_a_value_that_is_no_proxy_is_told_by_its_variable_and_not_repeated(
    propylon_simulator: Start, gateway_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F40: a password may stand anywhere in it."""
    gateway: Gateway = gateway_to(propylon_simulator(guilds=0), proxy="env")
    monkeypatch.setenv("http_proxy", "ftp://ada:hush@hush")
    with pytest.raises(ValueError, match=r"^http_proxy: it must start with http://") as raised:
        await gateway.open(timeout=10)
    assert "hush" not in str(raised.value)
    monkeypatch.delenv("http_proxy")
    await open_and_close(gateway)
