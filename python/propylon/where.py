"""What ``where=`` does to a listener: filters narrow what it wants in Rust, functions stand before its call."""

import inspect
from collections.abc import Callable
from typing import Any

from propylon.filters import Field, Filter, Where
from propylon.listeners import Wanted, is_async

__all__ = ["guarded", "narrowed"]


def narrowed(
    wanted: list[Wanted], where: Where | None, *, who: str
) -> tuple[list[Wanted], Callable[[Any], object] | None]:
    """The events wanted, each with its filter; and the function, where ``where`` is one.

    Raises TypeError or ValueError where ``where`` fits one of the events not.
    """
    if where is None:
        return wanted, None
    if isinstance(where, Filter):
        return [Wanted(want.event, want.kind, where.fitted(want.event, want.kind)) for want in wanted], None
    if isinstance(where, Field) or not callable(where):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"{who}: where= takes a condition, as in where=field('author.id') == 7, or a function of the event, "
            f"not {where!r}"
        )
    if is_async(where) or inspect.isgeneratorfunction(where) or inspect.isasyncgenfunction(where):
        raise TypeError(f"{who}: where= takes a function that gives True or False at once, and {where!r} is async")
    return wanted, where


def guarded(call: Callable[..., Any], where: Callable[[Any], object]) -> Callable[..., Any]:
    """``call``, made only for events of which ``where`` is true. What ``where`` raises is the listener's error."""

    def call_where(event: Any, /, **extra: Any) -> Any:
        return call(event, **extra) if where(event) else None

    return call_where
