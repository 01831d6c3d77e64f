"""Examples are started as the command line is."""

from cli.conftest import start

__all__ = ["start"]
