"""``propylon simulate``: the gateway server of the tests, for whoever connects."""

import asyncio
import time
from typing import Any, Final, NoReturn

from propylon.testing import Simulator

__all__ = ["Watcher", "simulate"]

_LOOK: Final = 0.1
"""Seconds between two looks at what has happened."""


class Watcher:
    """Tells what connections do, one line per event."""

    def __init__(self, simulator: Simulator, compression: str | None) -> None:
        """``compression``: what clients are expected to ask for; None: whatever they like."""
        self._simulator: Final = simulator
        self._compression: Final = compression
        self._connections = 0
        self._ready = 0
        self._resumed = 0
        self._open: Final[dict[int, str]] = {}

    def news(self) -> list[str]:
        """What has happened since the last call."""
        simulator = self._simulator
        # The record holds every payload; these questions cost a lock each.
        if not (
            simulator.holds("connections", count=self._connections + 1)
            or simulator.holds("ready", count=self._ready + 1)
            or simulator.holds("resumed", count=self._resumed + 1)
            or any(simulator.holds("closed", connection=number) for number in self._open)
        ):
            return []
        record = simulator.record()
        upgraded = [connection for connection in record["connections"] if connection["status"] == 101]
        self._connections = max(self._connections, len(upgraded))
        self._ready = sum(connection["ready_ms"] is not None for connection in upgraded)
        self._resumed = sum(connection["resumed_ms"] is not None for connection in upgraded)
        told: list[str] = []
        for connection in upgraded:
            told += self._tell(connection)
        return told

    def _tell(self, connection: dict[str, Any]) -> list[str]:
        number: int = connection["number"]
        stage = self._open.get(number)
        if stage == "closed":
            return []
        lines: list[str] = []
        if stage is None:
            stage = "open"
            asked = connection["query"].get("compress", "none")
            lines.append(f"connection {number}: open, compression {asked}{self._doubt(asked)}")
        if stage == "open" and connection["ready_ms"] is not None:
            stage = "served"
            lines.append(f"connection {number}: identified, session {connection['session'][-8:]}")
        if stage == "open" and connection["resumed_ms"] is not None:
            stage = "served"
            lines.append(f"connection {number}: resumed, session {connection['session'][-8:]}")
        closed = connection["closed"]
        if closed is not None:
            stage = "closed"
            code = closed["code"] or closed["sent"]
            lines.append(
                f"connection {number}: closed by {closed['by'].replace('_', ' ')}"
                f"{'' if code is None else f' with {code}'}, {connection['dispatched']:,} events sent"
            )
        self._open[number] = stage
        return lines

    def _doubt(self, asked: str) -> str:
        if self._compression is None or asked in (self._compression, "none" if self._compression == "payload" else ""):
            return ""
        return f" (expected {self._compression})"


async def simulate(simulator: Simulator, compression: str | None) -> NoReturn:
    """Serve until cancelled."""
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
