"""The pytest plugin: fixture ``propylon_simulator``. Loaded by pytest wherever propylon is installed."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from propylon.testing._simulator import Simulator


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
