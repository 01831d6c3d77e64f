"""What NATS has kept, read by a client that is not ours: no message of events twice.

A host sends a message again where its acknowledgement did not come. The server knows it by its id, and keeps it once.
Workers would drop a second one by the numbers of the sessions, so it is only to be seen in the stream itself. A message
is told by its partition and by what it says it has of each session.

Read by a process of its own, all along: in that of the check, where all connections go through, it would come too late
for what is removed after five minutes.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import nats
from nats.errors import Error, TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

__all__ = ["Kept", "Reader"]

EVERY: Final = 2.0
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
        """Read to the end, for as long as it gets on; that it does not is a fault.

        Raises:
            nats.errors.Error, OSError: As `look`.
        """
        before = 0
        while self._next > before:
            before = self._next
            with contextlib.suppress(TimeoutError):
                await self.look()
                return
        self.faults.append(f"what NATS has could not be read to its end, after {self.messages:,} messages")

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


class Reader:
    """`Kept` in a process of its own, from now on; it ends with this one, whatever becomes of it."""

    def __init__(self, servers: Sequence[str], app: str) -> None:
        self._process: Final = subprocess.Popen(
            [sys.executable, __file__, app, *servers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def end(self) -> tuple[int, list[str]]:
        """How many messages there were, and the faults, once all has been read.

        Raises:
            RuntimeError: It has failed; its own words are on the standard error.
        """
        told, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"the reader of what NATS has ended with {self._process.returncode}")
        messages, faults = json.loads(told)
        return messages, faults

    def kill(self) -> None:
        """Where nobody wants to know any more; nothing is done where it has ended."""
        with self._process:
            self._process.kill()


async def _ignored(error: Exception) -> None:
    """Whoever calls is told of it, and nobody else."""


async def main(app: str, servers: Sequence[str]) -> None:
    """Read until the standard input ends, then to the end of the stream, and tell."""
    kept = Kept(servers, app)
    # Not cancelled: nats-py may take a cancellation for itself, and go on.
    over = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    while not over.done():
        # While NATS is away there is nothing to see.
        with contextlib.suppress(Error, OSError):
            await kept.look()
        await asyncio.wait([over], timeout=EVERY)
    await kept.catch_up()
    print(json.dumps([kept.messages, kept.faults]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
