"""Delivery to one event loop: waits on the engine's wake-up and hands what it drains to the gateways.

One per loop, shared by all its gateways. Owns how a loop is woken; what becomes of events is
`propylon._delivery.consumer`'s.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary, ref

import propylon._core as _core
from propylon._core import Dispatch
from propylon._delivery.plans import Route

__all__ = ["Delivery", "Receiver", "Source"]

_log: Final = logging.getLogger("propylon")

_BATCH: Final = 256
"""Events of one drain; then the loop gets its turn."""


class Receiver(Protocol):
    """What a gateway shows of itself to its delivery."""

    def notice(self, kind: str, *facts: Any) -> None:
        """News about the connection."""

    def feed(
        self, generation: int, dispatches: list[Dispatch[Any]], routes: list[Route], *, later: bool = False
    ) -> None:
        """Events, in order; ``later``: their listeners are called when the loop gets its turn."""

    def torn_down(self) -> set[asyncio.Task[Any]]:
        """The loop is about to end: call no more listeners; return the calls that are unfinished."""
        ...

    async def left_open(self) -> None:
        """Every task of the loop has ended, and nobody has closed it: say so, and close."""


class Source(Protocol):
    """What has notices and events for a loop: a shard, or a question to the API."""

    @property
    def key(self) -> int:
        """By which they are told from those of others."""
        ...

    def bind(self, hub: _core.Hub | None, /) -> None:
        """Give them to a hub, or to none."""


class Delivery:
    """The hub of one loop and the gateways behind it."""

    # Weak on both sides: a delivery holds its loop, by the gateways. What waits for the hub in the loop holds it.
    _of_loop: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, ref["Delivery"]]] = WeakKeyDictionary()

    def __init__(self) -> None:
        """Make a delivery that no loop waits on yet; see `current`."""
        self.hub: Final = _core.Hub()
        self._receivers: Final[dict[int, Receiver]] = {}
        self._watching: asyncio.AbstractEventLoop | None = None
        self._poller: asyncio.Task[None] | None = None
        self._guard: asyncio.Task[None] | None = None
        self._last: AsyncGenerator[None, None] | None = None

    @classmethod
    def current(cls) -> "Delivery":
        """The delivery of the running loop."""
        loop = asyncio.get_running_loop()
        known = cls._of_loop.get(loop)
        delivery = None if known is None else known()
        if delivery is None:
            delivery = cls()
            cls._of_loop[loop] = ref(delivery)
        return delivery

    def add(self, shard: Source, receiver: Receiver) -> None:
        """Bind a shard to this loop."""
        self._receivers[shard.key] = receiver
        loop = asyncio.get_running_loop()
        if self._watching is None:
            self._watch(loop)
        if self._guard is None or self._guard.done():
            self._guard = loop.create_task(self._until_cancelled(), name="propylon guard")
            # A loop that ends without cancelling its tasks needs no word about this one.
            self._guard._log_destroy_pending = False  # type: ignore[attr-defined]
        if self._last is None:
            self._last = self._until_all_ended()
            # Begun at once, which is when the loop notes it; it awaits nothing before its yield.
            with contextlib.suppress(StopIteration):
                self._last.asend(None).send(None)
        shard.bind(self.hub)

    def remove(self, shard: Source) -> None:
        """Unbind it; the last one stops the waiting."""
        shard.bind(None)
        self._receivers.pop(shard.key, None)
        if not self._receivers:
            self._unwatch()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watching = loop
        try:
            loop.add_reader(self.hub.fd, self._drain)
        except NotImplementedError:
            # Windows' proactor loop has no add_reader, but it can receive from a socket.
            self._poller = loop.create_task(self._poll(loop), name="propylon delivery")

    def _unwatch(self) -> None:
        loop, self._watching = self._watching, None
        guard, self._guard = self._guard, None
        if guard is not None and loop is not None and not loop.is_closed():
            guard.cancel()
        if self._poller is not None:
            self._poller.cancel()
            self._poller = None
        elif loop is not None and not loop.is_closed():
            loop.remove_reader(self.hub.fd)
        last, self._last = self._last, None
        if last is not None:
            # Where it is what closes the last gateway, it runs and cannot be closed; that is its end anyway.
            with contextlib.suppress(StopIteration, RuntimeError):
                last.aclose().send(None)

    async def _until_cancelled(self) -> None:
        """Hears of the end of the loop: `asyncio.run` cancels what is left and lets the loop run on for that.

        A listener called then would begin a task that nobody cancels, and that the loop's end destroys with a
        complaint.
        """
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if self._guard is not asyncio.current_task():
                # Nobody was left to guard, and perhaps another one has come meanwhile, with a guard of its own.
                raise
            _log.info("the loop's tasks are being cancelled: listeners are not called before the next open()")
            calls = {call for receiver in self._receivers.values() for call in receiver.torn_down()}
            for call in calls:
                call.cancel()
            if calls:
                await asyncio.wait(calls)
            raise

    async def _until_all_ended(self) -> AsyncGenerator[None, None]:
        """Hears of the last that a loop does: `asyncio.run` closes asynchronous generators when no task is left."""
        try:
            yield
        finally:
            for receiver in list(self._receivers.values()):
                await receiver.left_open()

    async def _poll(self, loop: asyncio.AbstractEventLoop) -> None:
        waker = socket.socket(fileno=self.hub.fd)
        waker.setblocking(False)
        # Whoever polled before may have received a wake-up and ended before it drained: no other one would come.
        self._drain()
        try:
            while True:
                # The drain leaves the socket readable while something waits.
                await loop.sock_recv(waker, 1)
                self._drain()
        finally:
            # The descriptor is the hub's.
            waker.detach()

    def _drain(self) -> None:
        notices, batches = self.hub.drain(_BATCH)
        try:
            while notices:
                self._tell(*notices.pop(0))
            while batches:
                self._feed(*batches.pop(0))
        finally:
            # A listener or handler raised KeyboardInterrupt or SystemExit: what others were to get is kept for them.
            loop = asyncio.get_running_loop()
            for notice in notices:
                loop.call_soon(self._tell, *notice)
            for batch in batches:
                # Taken in at once: what a gateway does not know of would count as finished.
                self._feed(*batch, later=True)

    def _tell(self, key: int, kind: str, *facts: Any) -> None:
        receiver = self._receivers.get(key)
        if receiver is not None:
            receiver.notice(kind, *facts)

    def _feed(
        self, key: int, generation: int, dispatches: list[Dispatch[Any]], routes: list[Route], *, later: bool = False
    ) -> None:
        receiver = self._receivers.get(key)
        if receiver is not None:
            receiver.feed(generation, dispatches, routes, later=later)
