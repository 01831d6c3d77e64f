"""``propylon simulate``: the gateway server of the tests, for whoever connects."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, NoReturn

from propylon.testing import Simulator

__all__ = ["Watcher", "simulate"]

_LOOK: Final = 0.1
"""Seconds between two looks at what has happened."""

_MANY: Final = 20
"""So many lines of one look are read; more of them become one."""

_FILES: Final = 65_536
"""Enough for any fleet that fits on one machine."""


class Watcher:
    """Tells what connections do, one line per event; of many at once, one line in all."""

    def __init__(self, simulator: Simulator, compression: str | None) -> None:
        """``compression``: what clients are expected to ask for; None: whatever they like."""
        self._simulator: Final = simulator
        self._compression: Final = compression
        self._counted: tuple[int, ...] = ()
        self._open: Final[dict[int, str]] = {}

    def news(self) -> list[str]:
        """What has happened since the last call."""
        simulator = self._simulator
        # The record has every connection; these counts cost as much for a thousand as for one.
        fleet = simulator.fleet()
        connections = fleet["connections"]
        counted = (connections["upgraded"], connections["open"], fleet["ready"], fleet["resumed"])
        if counted == self._counted:
            return []
        self._counted = counted
        told: list[str] = []
        happened: Counter[str] = Counter()
        for connection in simulator.record(payloads=False)["connections"]:
            if connection["status"] == 101:
                for what, line in self._tell(connection):
                    happened[what] += 1
                    told.append(line)
        if len(told) <= _MANY:
            return told
        shards = ", ".join(
            f"{sessions['connected']:,} of {count:,} shards connected" for count, sessions in fleet["sessions"].items()
        )
        everything = ", ".join(f"{count:,} {what}" for what, count in happened.items())
        return [f"{everything}; {connections['open']:,} open{shards and '; ' + shards}"]

    def _tell(self, connection: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """What is new of a connection: in a word or two, and as a line."""
        number: int = connection["number"]
        stage = self._open.get(number)
        if stage == "closed":
            return
        if stage is None:
            stage = "open"
            asked = connection["query"].get("compress", "none")
            doubt = self._doubt(asked)
            yield f"opened{doubt}", f"connection {number}: open, compression {asked}{doubt}"
        for what in ("ready_ms", "resumed_ms"):
            if stage == "open" and connection[what] is not None:
                stage = "served"
                done = "identified" if what == "ready_ms" else "resumed"
                shard, count = connection["shard"]
                # A client that gave none is 0 of 1, which says nothing.
                which = f" shard {shard}/{count}" if count > 1 else ""
                yield done, f"connection {number}: {done}{which}, session {connection['session'][-8:]}"
        closed = connection["closed"]
        if closed is not None:
            stage = "closed"
            code = closed["code"] or closed["sent"]
            how = f"closed by {closed['by'].replace('_', ' ')}{'' if code is None else f' with {code}'}"
            yield how, f"connection {number}: {how}, {connection['dispatched']:,} events sent"
        self._open[number] = stage

    def _doubt(self, asked: str) -> str:
        if self._compression is None or asked in (self._compression, "none" if self._compression == "payload" else ""):
            return ""
        return f" (expected {self._compression})"


def _allow_connections() -> None:
    """Let this process have more files open than shells allow at first: each connection is one."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def simulate(simulator: Simulator, compression: str | None) -> NoReturn:
    """Serve until cancelled."""
    _allow_connections()
    with simulator:
        print(f"gateway  {simulator.url}")
        print(f"api      {simulator.api_url}")
        command = f"propylon events --gateway-url {simulator.url}"
        if simulator.ca_file is not None:
            print(f"ca file  {simulator.ca_file}")
            command += f" --ca-file {simulator.ca_file}"
        if compression is not None:
            command += f" --compression {compression}"
        print(f"try      {command}", flush=True)
        watcher = Watcher(simulator, compression)
        while True:
            for line in watcher.news():
                print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
            await asyncio.sleep(_LOOK)
