"""What the tests of commands share. They run on asyncio's own event loop and on uvloop."""

from collections.abc import Callable, Mapping
from typing import Any

from face.support import loop_factories
from propylon import Gateway
from propylon.testing import Simulator

NOBODYS: int = 77 << 22
"""A guild that the simulator's bot is not in: the simulator says nothing of it, so the test can answer."""


def guild(number: int) -> int:
    """The id of a guild of the simulated world."""
    return (160_000_000_000 + number) << 22


def sent(sim: Simulator, op: int) -> list[dict[str, Any]]:
    """The data of every command with this opcode that the server got."""
    return [
        received["payload"]["d"]
        for connection in sim.record()["connections"]
        for received in connection["ops"]
        if received["op"] == op
    ]


def nothing_waits(gateway: Gateway) -> bool:
    """Whether no request is left, and the engine is told so."""
    requests = gateway._commands._requests
    return not (requests._pending or requests._by_nonce or requests._awaited)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    return loop_factories()
