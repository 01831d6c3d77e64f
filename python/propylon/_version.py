"""The version of the installed package: Cargo.toml's, which maturin writes into the metadata."""

from importlib.metadata import version
from typing import Final

__all__ = ["__version__"]

__version__: Final = version("propylon")
"""Of the installed package, such as ``0.1.0``."""
