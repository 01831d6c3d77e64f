"""Where the admin server may listen, and who shares one."""

import asyncio
import errno
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from admin.support import ADMIN, address_of, get
from propylon import Gateway, ShardManager
from propylon.testing import Simulator

Start = Callable[..., Simulator]
Make = Callable[..., Gateway]


@pytest.mark.parametrize("kind", [Gateway, ShardManager])
@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("0.0.0.0:9464", "admin_remote=True"),
        ("[::]:9464", "admin_remote=True"),
        ("192.0.2.1:9464", "admin_remote=True"),
        ("9464", "such as"),
        ("127.0.0.1", "such as"),
        ("example.com:80", "such as"),
        ("", "such as"),
    ],
)
def test_what_cannot_be_is_told_at_once(kind: type[Gateway | ShardManager], address: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        kind("token", admin=address)


def test_wrong_types_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    wrong: Any = 9464
    with pytest.raises(TypeError, match="admin takes an address"):
        Gateway("token", admin=wrong)
    with pytest.raises(TypeError, match="admin_remote takes"):
        Gateway("token", admin=ADMIN, admin_remote=wrong)


@pytest.mark.asyncio
async def test_an_address_that_is_taken_is_an_error_that_says_so(propylon_simulator: Start, gateway_to: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gateway = gateway_to(propylon_simulator(), admin=f"127.0.0.1:{port}")
        with pytest.raises(OSError, match="something else listens there; name another port") as raised:
            await gateway.open(timeout=10)
        assert raised.value.errno == errno.EADDRINUSE
        assert not gateway.metrics().identifies
    # Nothing is left of the attempt.
    await gateway.open(timeout=10)
    assert address_of(gateway) == ("127.0.0.1", port)


@pytest.mark.asyncio
async def test_gateways_of_one_process_share_a_server(
    propylon_simulator: Start, gateway_to: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "propylon.gateway")
    sim = propylon_simulator()
    first = gateway_to(sim, admin=ADMIN)
    second = gateway_to(sim, admin=ADMIN, shard=(3, 4))
    await first.open(timeout=10)
    await second.open(timeout=10)
    assert address_of(first) == address_of(second)
    host, port = address_of(first)
    assert f"admin server: http://{host}:{port}" in caplog.messages
    shown = (await get(first, "/snapshot")).json["shards"]
    assert [(shard["id"], shard["count"]) for shard in shown] == [(0, 1), (3, 4)]
    await first.close()
    assert first.admin_address is None
    shown = (await get(second, "/snapshot")).json["shards"]
    assert [shard["id"] for shard in shown] == [3]
    await second.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)


@pytest.mark.asyncio
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork()")
async def test_a_forked_child_has_none(propylon_simulator: Start, gateway_to: Make) -> None:
    gateway = gateway_to(propylon_simulator(), admin=ADMIN)
    await gateway.open(timeout=10)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            gateway.admin_address  # noqa: B018
        except Exception as error:
            status = 0 if type(error).__name__ == "ForkedError" else 2
        finally:
            os._exit(status)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert (await get(gateway, "/livez")).status == 200


@pytest.mark.asyncio
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork(), and a port that is closed for all who have it")
async def test_a_forked_child_does_not_keep_the_port_open(propylon_simulator: Start, gateway_to: Make) -> None:
    sim = propylon_simulator()
    gateway = gateway_to(sim, admin=ADMIN)
    await gateway.open(timeout=10)
    host, port = address_of(gateway)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # Until the test has closed the other end.
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        await gateway.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
        again = gateway_to(sim, admin=f"{host}:{port}")
        await again.open(timeout=10)
        assert (await get(again, "/livez")).status == 200
    finally:
        os.close(reading)
        os.close(writing)
        await asyncio.to_thread(os.waitpid, child, 0)
