"""Coroutines of listeners: what there is to await of what a call gave, and a task that starts at once."""

import asyncio
import contextlib
from collections.abc import Awaitable, Coroutine
from contextvars import Context
from operator import is_
from typing import Any, cast

__all__ = ["coroutine_of", "eagerly", "is_same", "nothing"]


def eagerly(coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any]:
    """A task that has run up to its first suspension. From Python 3.12 on; the types are those of 3.11."""
    # In two steps: where the coroutine raises one of those, the second one does, and the task would be out of reach.
    task: asyncio.Task[Any] = asyncio.Task.__new__(asyncio.Task)  # pyright: ignore[reportUnknownVariableType]
    try:
        task.__init__(coroutine, loop=loop, eager_start=True)  # type: ignore[misc]
    except (KeyboardInterrupt, SystemExit):
        # It is on its way already. A task whose exception nobody takes complains when it is let go.
        with contextlib.suppress(Exception):
            task.exception()
        raise
    return task


def coroutine_of(result: Any) -> Coroutine[Any, Any, Any] | None:
    """What there is to await; None where there is nothing."""
    if isinstance(result, Coroutine):
        return cast("Coroutine[Any, Any, Any]", cast("object", result))
    return _awaited(cast("Any", result)) if isinstance(result, Awaitable) else None


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def is_same(context: Context, other: Context) -> bool:
    """Whether the same variables hold the same objects in both."""
    if len(context) != len(other):
        return False
    # In equal ones they stand in the same order.
    return not context or (all(map(is_, context, other)) and all(map(is_, context.values(), other.values())))


async def nothing() -> None:
    """What a call gave that is no coroutine."""
