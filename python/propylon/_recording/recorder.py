"""`Recorder`: what `Gateway.record` gives. The engine matches, copies and writes; this begins, ends and tells of it."""

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import propylon._core as _core
from propylon._arguments import count_of
from propylon._delivery.loop import Delivery
from propylon._delivery.plans import Route

__all__ = ["Recorder"]

_log: Final = logging.getLogger("propylon.recording")

_PATIENCE: Final = 5.0
"""Seconds that a disk has for what is not written yet, at the end."""


class Recorder:
    """A recording under way: an asynchronous context manager, which records from entering to leaving.

    The file is opened when it is entered, and what has come is in it when it is left. Its format: docs/recording.md.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        selection: _core.Subscriptions,
        subscriptions: _core.Subscriptions,
        *,
        secrets: bool,
        max_bytes: int | None,
        queue_bytes: int,
    ) -> None:
        """Made by `Gateway.record` and `ShardManager.record`."""
        if max_bytes is not None:
            count_of("max_bytes", max_bytes, 1)
        count_of("queue_bytes", queue_bytes, 1)
        self._path: Final = Path(path)
        self._subscriptions: Final = subscriptions
        self._core: Final = _core.Recorder(self._path, selection, secrets, max_bytes, queue_bytes)
        self._delivery: Delivery | None = None
        self._closed = False
        self._whole = False

    @property
    def path(self) -> Path:
        """The file that is written now; older ones have a number in their names."""
        return self._path

    @property
    def events(self) -> int:
        """Events that have been written. Behind what has come by half a second at most."""
        return self._core.counts()[0]

    @property
    def bytes(self) -> int:
        """Bytes that have been written, compressed."""
        return self._core.counts()[1]

    @property
    def dropped(self) -> int:
        """Events that came and are not in the file: too many waited, or the disk refused them."""
        return self._core.counts()[2]

    @property
    def complete(self) -> bool:
        """Whether all that came is in the file, and nothing waits for the disk any more. False before it has ended."""
        return self._whole and not self.dropped

    @property
    def redacted(self) -> int:
        """Events that were written without secrets that they had."""
        return self._core.counts()[3]

    @property
    def error(self) -> str | None:
        """What the disk said last, where it refused something."""
        return self._core.counts()[4]

    def __repr__(self) -> str:
        """Where to, and how much."""
        events, size, dropped, _, _ = self._core.counts()
        return f"<Recorder {str(self._path)!r} events={events} bytes={size} dropped={dropped}>"

    async def __aenter__(self) -> Self:
        """Open the file and begin.

        Raises:
            OSError: The file cannot be opened or written to, or another recording writes to it.
            RuntimeError: It has begun already; make another one.
        """
        # The file may be on a disk that takes its time.
        starting = asyncio.ensure_future(asyncio.to_thread(self._core.start, self._subscriptions))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread goes on: what it has begun is ended.
            with contextlib.suppress(OSError, RuntimeError):
                await starting
                await self._end()
            raise
        self._delivery = Delivery.current()
        self._delivery.add(self._core, self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, and wait for the disk, 5 s at most. What is not in the file is told in the log."""
        await self._end()

    async def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._whole = await asyncio.to_thread(self._core.stop, self._subscriptions, _PATIENCE)
        finally:
            if self._delivery is not None:
                self._delivery.remove(self._core)
        _, _, dropped, _, error = self._core.counts()
        if not self._whole:
            _log.warning("%s: the disk takes longer than %g s; the last events may be missing", self._path, _PATIENCE)
        if dropped:
            why = "the disk did not keep up" if error is None else error
            _log.warning("%s: %d events are not in the recording: %s", self._path, dropped, why)

    # ------------------------------------------------------------------ for `Delivery`

    def notice(self, kind: str, *facts: Any) -> None:
        """The disk has refused something, for the first time."""
        (text,) = facts
        _log.warning("%s: %s; what comes meanwhile is not recorded", self._path, text)

    def feed(
        self, generation: int, dispatches: list[_core.Dispatch[Any]], routes: list[Route], *, later: bool = False
    ) -> None:
        """It has no events."""

    def torn_down(self) -> set[asyncio.Task[Any]]:
        """It calls nobody."""
        return set()

    async def left_open(self) -> None:
        """The task that recorded has gone without leaving it."""
        await self._end()
