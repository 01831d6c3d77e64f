"""A simulator for each test of the kit."""

from collections.abc import Iterator

import pytest

from propylon.testing import Simulator


@pytest.fixture
def sim() -> Iterator[Simulator]:
    # No beat comes by itself, which would be one more command.
    with Simulator(identify_interval=0, heartbeat_interval=600) as simulator:
        yield simulator
