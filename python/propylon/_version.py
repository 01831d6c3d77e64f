"""The version, written here too: to ask the package's metadata for it would load `email` and more with every import."""

from typing import Final

__all__ = ["__version__"]

__version__: Final[str] = "0.2.0"
"""Of the installed package, such as ``0.2.0``: that of Cargo.toml, to which a test holds it."""
