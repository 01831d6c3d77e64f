"""What ``where=`` does to a listener: filters narrow what it wants in Rust, functions stand before its call.

The one place that reads ``where=``, for listeners, groups, and events that are awaited.
"""

import inspect
from collections.abc import Callable
from typing import Any

from propylon._filters.expression import Field, Filter, Where
from propylon._listening.listener import Wanted, is_async

__all__ = ["narrowed"]


def narrowed(
    wanted: list[Wanted], where: Where | None, *, who: str
) -> tuple[list[Wanted], Callable[[Any], object] | None]:
    """The events wanted, each with its filter; and the function, where ``where`` is one.

    Raises TypeError or ValueError where ``where`` fits one of the events not.
    """
    if where is None:
        return wanted, None
    if isinstance(where, Filter):
        return [
            Wanted(want.event, want.kind, where.fitted(want.event, want.kind), want.change) for want in wanted
        ], None
    if isinstance(where, Field) or not callable(where):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"{who}: where= takes a condition, as in where=field('author.id') == 7, or a function of the event, "
            f"not {where!r}"
        )
    if is_async(where) or inspect.isgeneratorfunction(where) or inspect.isasyncgenfunction(where):
        raise TypeError(f"{who}: where= takes a function that gives True or False at once, and {where!r} is async")
    return wanted, where
