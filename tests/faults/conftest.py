"""What the cases share: a gateway that writes down what it hears."""

from collections.abc import Callable
from typing import Any

import pytest

from propylon import Closed, Dispatch, Gateway
from propylon.testing import Simulator


class Witness:
    """A gateway with everything that it heard and every end of a connection that it was told."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.events: list[Any] = []
        self.ends: list[Closed] = []
        gateway.listen(Dispatch)(self.events.append)
        gateway.on_close(self.ends.append)

    @property
    def types(self) -> list[str]:
        return [dispatch.type for dispatch in self.events]

    @property
    def sequences(self) -> list[int]:
        return [dispatch.sequence for dispatch in self.events]

    def heard(self, event: str) -> list[Any]:
        return [dispatch for dispatch in self.events if dispatch.type == event]


@pytest.fixture
def witness_to(gateway_to: Callable[..., Gateway]) -> Callable[..., Witness]:
    def make(sim: Simulator, **options: Any) -> Witness:
        return Witness(gateway_to(sim, **options))

    return make


def ops(connection: dict[str, Any]) -> list[int]:
    """What the server received on a connection, heartbeats left out."""
    return [op["op"] for op in connection["ops"] if op["op"] != 1]
