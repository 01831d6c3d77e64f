"""What NATS keeps of an app may be gone while hosts and workers live: its store was lost, or the app was purged.

Owns the noticing, the waiting and the one line in the log. What is made again, and how, is for whoever does it: a host,
which knows how the streams should be. A worker only tells.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias

from propylon.cluster._broker import Broker
from propylon.cluster._keys import ACTIVE, bucket
from propylon.cluster._membership import AWAY, Times
from propylon.cluster._nats import NatsBroker

__all__ = ["Missing", "Upkeep"]

_log: Final = logging.getLogger("propylon.cluster")

Missing: TypeAlias = Literal["keys", "events"]
"""The bucket, or the stream of events alone."""


class Upkeep:
    """Looks whether it is all there, where something hints at that it is not."""

    def __init__(
        self,
        broker: Broker,
        app: str,
        times: Times,
        *,
        is_well: Callable[[], bool],
        gone: Callable[[], None],
        make: Callable[[Missing], Awaitable[None]] | None = None,
    ) -> None:
        """Nothing is looked at yet.

        Args:
            broker: Of the app.
            app: Its name.
            times: Of leases.
            is_well: Whether nothing hints at it: then nobody is asked.
            gone: Hears once that the keys are gone, and with them each lease.
            make: Makes what is missing again. None: that is somebody else's.
        """
        self._broker: Final = broker
        self._app: Final = app
        self._times: Final = times
        self._is_well: Final = is_well
        self._gone: Final = gone
        self._make: Final = make
        self.is_gone = False
        """Whether the keys are gone, as far as is known."""

    async def run(self) -> None:
        """Look, until this is cancelled."""
        loop = asyncio.get_running_loop()
        since: float | None = None
        while True:
            await asyncio.sleep(self._times.every if since is None else self._times.retry)
            if since is None and self._is_well():
                continue
            try:
                missing = await self._missing()
                if missing == "events" and self._make is not None:
                    _log.error("the events that NATS kept of %s are gone; their stream is made again", self._app)
                    await self._make(missing)
                elif missing != "keys":
                    since = None
                    if self.is_gone:
                        self.is_gone = False
                        _log.info("what NATS keeps of %s is there again", self._app)
                elif since is None:
                    # A server that has just started is asked once more.
                    since = loop.time()
                else:
                    if not self.is_gone:
                        self.is_gone = True
                        self._tell()
                        self._gone()
                    # By then every lease of the time before is given up: who takes one of the new ones is alone.
                    if self._make is not None and loop.time() >= since + self._times.given_up:
                        await self._make(missing)
            except AWAY as error:
                _log.debug("whether all is there of %s is not known: %s", self._app, error)

    def _tell(self) -> None:
        if self._make is None:
            then = "a gateway host makes it again"
        else:
            then = f"it is made again in {self._times.given_up:g} s, and the shards are resumed"
        _log.error(
            "what NATS kept of %s is gone: its store was lost, or the app was purged; %s. Events that no worker had "
            "handled are lost",
            self._app,
            then,
        )

    async def _missing(self) -> Missing | None:
        """What is not there, if anything. Raises TimeoutError where that is not known."""
        try:
            entry = await self._broker.get(bucket(self._app), ACTIVE)
        except ConnectionError:
            # The server says so: one that does not answer costs the time-out.
            return "keys"
        if self._make is None:
            # Before the first host there is none.
            return None
        if entry is None:
            return "keys"
        if isinstance(self._broker, NatsBroker) and await self._broker.stream_status() is None:
            return "events"
        return None
