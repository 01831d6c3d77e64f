"""What ``where=`` does to a listener: a function stands before its call.

The one place that reads ``where=``, for listeners, groups, and events that are awaited.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from propylon.listeners import Wanted, is_async

__all__ = ["Where", "narrowed"]

Where: TypeAlias = Callable[[Any], object]
"""What ``where=`` takes: a function of the event that gives True or False."""


def narrowed(
    wanted: list[Wanted], where: Where | None, *, who: str
) -> tuple[list[Wanted], Callable[[Any], object] | None]:
    """The events wanted, and the function that is asked about each, where there is one. Raises TypeError."""
    if where is None:
        return wanted, None
    if not callable(where):
        raise TypeError(f"{who}: where= takes a function of the event, not {where!r}")
    if is_async(where) or inspect.isgeneratorfunction(where) or inspect.isasyncgenfunction(where):
        raise TypeError(f"{who}: where= takes a function that gives True or False at once, and {where!r} is async")
    return wanted, where
