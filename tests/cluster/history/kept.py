"""What NATS has kept, read by a client that is not ours: no message of events twice.

A host sends a message again where its acknowledgement did not come. The server knows it by its id, and keeps it once.
Workers would drop a second one by the numbers of the sessions, so it is only to be seen in the stream itself. A message
is told by its partition and by what it says it has of each session.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import nats
from nats.errors import Error, TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

__all__ = ["Kept"]

EVERY: Final = 90.0
"""Seconds from one look to the next: what is older than five minutes is gone."""
KNOWN: Final = 300.0
"""Seconds for which a message is known: more than the two minutes for which the server knows it."""
BATCH: Final = 500
RANGES: Final = "Propylon-Ranges"
PATIENCE: Final = 30.0


class Kept:
    """Reads the stream of an application, from its beginning to the end that it has at each look."""

    def __init__(self, servers: Sequence[str], app: str) -> None:
        self._servers: Final = list(servers)
        self._app: Final = app
        self._next = 1
        """The place in the stream up to which all was read."""
        # A dict whose oldest are removed looks through the places of all of them, each time.
        self._known: Final[OrderedDict[tuple[str, str], tuple[int, float]]] = OrderedDict()
        """Of each message where it is and when it was kept, by the server's clock; in that order."""
        self.messages = 0
        """So many were read."""
        self.faults: Final[list[str]] = []
        """Messages that are there twice, and what was gone before it was read."""

    async def watch(self) -> None:
        """Look every now and then, until cancelled. While NATS is away there is nothing to see."""
        while True:
            await asyncio.sleep(EVERY)
            with contextlib.suppress(Error, OSError):
                await self.look()

    async def look(self) -> None:
        """Read what has come since the last look.

        Raises:
            nats.errors.Error, OSError: NATS is out of reach, or has gone away meanwhile.
        """
        client = await nats.connect(self._servers, allow_reconnect=False, error_cb=_ignored)
        try:
            async with asyncio.timeout(PATIENCE):
                state = (await client.jetstream().stream_info(f"propylon-{self._app}")).state
                while self._next <= state.last_seq:
                    await self._read(client, state.last_seq)
        finally:
            with contextlib.suppress(Error, OSError):
                await client.close()

    async def catch_up(self) -> None:
        """Read to the end, for as long as it gets on: a busy machine writes faster than this reads.

        Raises:
            nats.errors.Error, OSError: As `look`.
        """
        while True:
            before = self._next
            try:
                return await self.look()
            except TimeoutError:
                if self._next == before:
                    raise

    async def _read(self, client: nats.NATS, last: int) -> None:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._next,
            ack_policy=AckPolicy.NONE,
            headers_only=True,
            inactive_threshold=10.0,
            mem_storage=True,
            num_replicas=1,
        )
        reader = await client.jetstream().pull_subscribe(
            f"propylon.{self._app}.ev.*", stream=f"propylon-{self._app}", config=config
        )
        with contextlib.suppress(TimeoutError):
            while self._next <= last:
                for message in await reader.fetch(BATCH, timeout=5):
                    place = message.metadata.sequence.stream
                    if place > self._next:
                        self.faults.append(
                            f"{self._next} to {place - 1} were gone from the stream before they were read"
                        )
                    self._take(place, message.metadata.timestamp.timestamp(), message.subject, message.headers or {})
                    self._next = place + 1
        await reader.unsubscribe()

    def _take(self, place: int, at: float, subject: str, headers: dict[str, str]) -> None:
        self.messages += 1
        # A part that is not the last has none.
        if not (ranges := headers.get(RANGES)):
            return
        known = self._known
        if (before := known.get((subject, ranges))) is not None:
            self.faults.append(
                f"NATS has a message twice: {subject} with {ranges} at {before[0]}, and again at {place}, "
                f"{at - before[1]:.1f} s later"
            )
        known[subject, ranges] = place, at
        while at - next(iter(known.values()))[1] > KNOWN:
            known.popitem(last=False)


async def _ignored(error: Exception) -> None:
    """Whoever calls is told of it, and nobody else."""
