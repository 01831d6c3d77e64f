"""A simulator for each test of the kit."""

from collections.abc import Iterator

import pytest

from propylon.testing import Simulator


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(identify_interval=0) as simulator:
        yield simulator
