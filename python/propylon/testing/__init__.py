"""A Discord-compatible gateway server for tests, demos and benchmarks: no token, no network."""

from propylon.testing import steps
from propylon.testing._simulator import Connection, Simulator, Until
from propylon.testing.steps import Step

__all__ = ["Connection", "Simulator", "Step", "Until", "steps"]
