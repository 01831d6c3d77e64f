"""The pytest plugin: fixtures ``propylon_simulator`` and ``propylon_gateway``. Loaded wherever propylon is installed.

Both are plain fixtures that give a function, and nothing in them is awaited. An asynchronous fixture belongs to one
plugin: in its strict mode pytest-asyncio runs those alone that are made by its own decorator, and a bot's tests may use
another plugin. A gateway that is opened in the test is also in the test's own event loop.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from propylon._gateway.gateway import Gateway
from propylon._gateway.options import Backoff, Timeouts
from propylon.intents import Intents
from propylon.testing._simulator import Simulator

_numbers = itertools.count(1)


@pytest.fixture
def propylon_simulator() -> Iterator[Callable[..., Simulator]]:
    """Make started simulators, stopped after the test: ``sim = propylon_simulator(guilds=3)``.

    Takes the options of `propylon.testing.Simulator`. IDENTIFYs are not spaced (``identify_interval=0``) unless the
    test asks for it.
    """
    started: list[Simulator] = []

    def start(**options: Any) -> Simulator:
        options.setdefault("identify_interval", 0.0)
        simulator = Simulator(**options).start()
        started.append(simulator)
        return simulator

    yield start
    for simulator in started:
        simulator.close()


@pytest.fixture
def propylon_gateway() -> Callable[..., Gateway]:
    """Make gateways for a simulator, to be opened by the test: ``async with propylon_gateway(sim) as gateway:``.

    Takes the options of `propylon.Gateway`. Unless the test says otherwise, a gateway has all intents and connects
    again within 50 ms, each deadline is 5 s, and its token is no other gateway's, so that none waits for the IDENTIFYs
    of the test before. It asks the simulator's ``/gateway/bot``.
    """

    def make(simulator: Simulator, **options: Any) -> Gateway:
        made: dict[str, Any] = {
            "token": f"token-{next(_numbers)}",
            "intents": Intents.ALL,
            "api_url": simulator.api_url,
            "ca_file": simulator.ca_file,
            "timeouts": Timeouts(connect=5, hello=5, ready=5, close=0.5),
            "backoff": Backoff(base=0.01, cap=0.05, reset_after=0.05),
            **options,
        }
        return Gateway(**made)

    return make
