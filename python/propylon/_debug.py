"""Tells whoever imports a debug build that its speed says nothing."""

import warnings

import propylon._core as _core

__all__ = ["warn_of_debug_build"]


def warn_of_debug_build() -> None:
    """Warn once, where the package is imported."""
    if _core.DEBUG_BUILD:
        warnings.warn(
            "propylon._core is a debug build: many times slower than a wheel; build with `maturin develop --release`",
            RuntimeWarning,
            stacklevel=3,
        )
