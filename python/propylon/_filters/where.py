"""What ``where=`` may be: a filter, which Rust evaluates, or a function that stands before the listener's call.

The one place that reads ``where=``, for listeners, groups, and events that are awaited.
"""

import inspect
from collections.abc import Callable
from typing import Any

from propylon._filters.expression import Field, Filter, Where

__all__ = ["is_async", "parted"]


def parted(where: Where | None, *, who: str) -> tuple[Filter | None, Callable[[Any], object] | None]:
    """The filter, or the function; raises TypeError where it is neither."""
    if where is None or isinstance(where, Filter):
        return where, None
    if isinstance(where, Field) or not callable(where):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"{who}: where= takes a condition, as in where=field('author.id') == 7, or a function of the event, "
            f"not {where!r}"
        )
    if is_async(where) or inspect.isgeneratorfunction(where) or inspect.isasyncgenfunction(where):
        raise TypeError(f"{who}: where= takes a function that gives True or False at once, and {where!r} is async")
    return None, where


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it only makes a coroutine, which runs in a context of its own anyway."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
