"""Hosts and workers as processes, each with ways of its own to what it talks to."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from .links import Cut, Link, Links

__all__ = ["Member", "Members", "troubles_in"]

HERE: Final = Path(__file__).parent
UNREACHED: Final = (
    "ConnectionError: no NATS server ",
    "TimeoutError: there was no connection to NATS ",
    "TimeoutError: NATS at ",
)
JOINED: Final = re.compile(r"has joined the cluster|has \d+ of \d+ partitions")
OPENING: Final = "await life.open("


def troubles_in(log: str) -> str:
    """The first fault that a log tells of; empty where there is none.

    A process that does not reach NATS at its start ends with an error, as it should: NATS may have been killed then.
    """
    at = log.find("Traceback")
    last = log.rstrip().rpartition("\n")[2]
    if at < 0 or (log.count("Traceback") == 1 and OPENING in log and last.startswith(UNREACHED)):
        return ""
    return log[at : at + 2000]


class Member:
    """A host or a worker, from the start of its process to its end; another one has another name."""

    def __init__(
        self, kind: Literal["host", "worker"], name: str, options: dict[str, Any], folder: Path, ways: "Ways"
    ) -> None:
        self.kind: Final = kind
        self.name: Final = name
        self.ways: Final = ways
        self.record: Final = folder / f"{name}.record"
        self.log: Final = folder / f"{name}.log"
        options = {**options, "name": name, "record": str(self.record), "nats": ways.nats, "proxy": ways.proxy}
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / f"{kind}.py"), json.dumps(options)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
            )
        self.stopped = False
        self._has_joined = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def resident(self) -> int:
        """Bytes of memory that it has; Linux tells."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def has_joined(self) -> bool:
        """Whether it says so in its log."""
        self._has_joined = self._has_joined or JOINED.search(self.log.read_text()) is not None
        return self._has_joined

    def kill(self) -> None:
        """As the machine's end would: nothing more is done or said."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """It does nothing from now on, and its connections stay."""
        self._process.send_signal(signal.SIGSTOP)
        self.stopped = True

    def go_on(self) -> None:
        """As if no time had passed, it will think."""
        self._process.send_signal(signal.SIGCONT)
        self.stopped = False

    def terminate(self) -> None:
        """As a supervisor ends it."""
        self._process.terminate()

    def end(self) -> None:
        """At the end of the check; killed where it does not end by itself."""
        if self.ended is not None:
            return
        self.go_on()
        self.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def troubles(self) -> str:
        """What its log says of faults, where it does."""
        said = troubles_in(self.log.read_text(errors="replace"))
        return f"{self.name}: {said}" if said else ""


class Ways:
    """What one process has instead of addresses."""

    def __init__(self, links: Links, servers: Sequence[tuple[str, int]]) -> None:
        self.to_nats: Final[list[Link]] = [links.to(*server) for server in servers]
        self.to_discord: Final[Link] = links.proxy()

    @property
    def nats(self) -> list[str]:
        return [f"nats://127.0.0.1:{link.port}" for link in self.to_nats]

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self.to_discord.port}"

    def cut(self, which: Literal["nats", "discord"], how: Cut) -> None:
        for link in self.to_nats if which == "nats" else [self.to_discord]:
            link.cut(how)

    def heal(self) -> None:
        for link in [*self.to_nats, self.to_discord]:
            link.heal()


class Members:
    """All that were ever there."""

    def __init__(self, links: Links, servers: Sequence[tuple[str, int]], folder: Path) -> None:
        self._links: Final = links
        self._servers: Final = servers
        self._folder: Final = folder
        self.all: Final[list[Member]] = []

    def start(self, kind: Literal["host", "worker"], options: dict[str, Any]) -> Member:
        """One more."""
        number = sum(member.kind == kind for member in self.all) + 1
        member = Member(kind, f"{kind}-{number}", options, self._folder, Ways(self._links, self._servers))
        self.all.append(member)
        return member

    def living(self, kind: Literal["host", "worker"]) -> Iterator[Member]:
        """Those whose process runs, stopped ones among them."""
        return (member for member in self.all if member.kind == kind and member.ended is None)

    def end(self) -> None:
        """Hosts last: what workers do at their end needs nobody, and hosts hand over what nobody takes."""
        for member in sorted(self.all, key=lambda member: member.kind == "host"):
            member.end()
