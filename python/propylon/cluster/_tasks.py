"""Tasks in the background: none ends without a word."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

__all__ = ["background", "spawn"]

_log: Final = logging.getLogger("propylon.cluster")


def background(coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Run it beside all else; whoever calls holds the task, and looks at what it raises."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    # A loop that ends without cancelling its tasks needs no word about these.
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    return task


def spawn(coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Run it beside all else; whoever calls holds the task. What it raises is told in the log, under its name."""
    task = background(coroutine, name)
    task.add_done_callback(_tell)
    return task


def _tell(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _log.error("%s has failed; please report this", task.get_name(), exc_info=error)
