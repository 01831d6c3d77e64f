"""Asking an admin server, as its clients do."""

import asyncio
import http.client
import json
from dataclasses import dataclass
from typing import Any

from propylon import Gateway, ShardManager
from propylon.cluster import GatewayHost, Worker

ADMIN = "127.0.0.1:0"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


def address_of(gateway: Gateway | ShardManager | GatewayHost | Worker) -> tuple[str, int]:
    address = gateway.admin_address
    assert address is not None
    return address


def ask(address: tuple[str, int], path: str, method: str = "GET", **headers: str) -> Answer:
    """One request on a connection of its own, from whichever thread."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


async def get(
    gateway: Gateway | ShardManager | GatewayHost | Worker, path: str, method: str = "GET", **headers: str
) -> Answer:
    """The same, from the loop's thread, which goes on meanwhile."""
    return await asyncio.to_thread(ask, address_of(gateway), path, method, **headers)
