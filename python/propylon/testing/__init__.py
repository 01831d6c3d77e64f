"""What tests of a bot need: a Discord-compatible gateway server, payloads, and recordings. No token, no network."""

from propylon.testing import steps
from propylon.testing._payloads import make, make_event
from propylon.testing._replay import replay
from propylon.testing._simulator import Connection, Simulator, Until
from propylon.testing.steps import Step

__all__ = ["Connection", "Simulator", "Step", "Until", "make", "make_event", "replay", "steps"]
