"""One run of the check: a simulated Discord, NATS, hosts and workers as processes, and the nemesis among them.

As a program: so many runs, or one long one (``make soak-cluster``).
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from cluster.history.kept import Reader
from cluster.history.links import Links
from cluster.history.nemesis import FAULTS, RARE, Nemesis
from cluster.history.processes import Member, Members
from cluster.history.records import SHOWN, Verdict, check, read
from cluster.nats import NatsCluster, NatsServer
from endurance.server import Server
from face.support import eventually
from propylon.cluster import _control as control
from propylon.cluster._broker import Broker
from propylon.cluster._nats import Nats, connect

__all__ = ["Outcome", "history"]

APP: Final = "history"
SHARDS: Final = 8
GUILDS: Final = 48
FIRST_GUILD: Final = 160_000_000_000
"""The simulator's guild number 0, without the 22 bits below."""
PATIENCE: Final = 60.0
"""Seconds in which all is handled once nothing goes wrong any more."""
REDELIVERING: Final = {name for name in FAULTS | RARE if "worker" in name or "nats" in name} - {
    "cut host from nats",
    "mute nats for host",
}


@dataclass
class Outcome:
    """What one run came to."""

    seed: int
    verdict: Verdict
    faults: list[str]
    """Rules that did not hold, beside those of the verdict."""
    told: list[str]
    done: dict[str, int]
    identifies: int
    settled: float
    """Seconds from the last event until all were handled."""
    messages: int
    """In which NATS had the events."""
    troubles: list[str] = field(default_factory=list[str])
    """Tracebacks in the logs of hosts and workers."""

    @property
    def passed(self) -> bool:
        return self.verdict.passed and not self.faults and not self.troubles

    def __str__(self) -> str:
        done = ", ".join(f"{count} x {name}" for name, count in sorted(self.done.items()))
        return "\n".join(
            [
                f"seed {self.seed}: {'passed' if self.passed else 'FAILED'}; {done or 'nothing'}; "
                f"identifies {self.identifies}; settled in {self.settled:.1f} s; {self.messages:,} messages in NATS",
                *self.faults,
                str(self.verdict),
                *(text[-1500:] for text in self.troubles),
            ]
        )


class _Nats:
    """The servers, as the nemesis sees them."""

    def __init__(self, servers: NatsServer | NatsCluster) -> None:
        self._servers: Final = servers

    async def kill_and_restart(self, pause: float) -> str:
        victim = self._servers
        name = "nats-server"
        if isinstance(victim, NatsCluster):
            victim = await asyncio.to_thread(victim.leader, f"propylon-{APP}")
            name = "the leader of three nats-servers"
        await asyncio.to_thread(victim.kill)
        await asyncio.sleep(pause)
        await asyncio.to_thread(victim.start)
        # It has caught up with what the others have.
        await eventually(lambda: victim.tell("/healthz") is not None, 30)
        return name


class _Operator:
    """Whoever runs `propylon cluster`, beside NATS."""

    def __init__(self, broker: Broker) -> None:
        self._broker: Final = broker

    async def drain(self, host: Member) -> None:
        """Also where the host has only begun, or NATS is away for a moment."""
        async with asyncio.timeout(60):
            while True:
                try:
                    await control.drain(self._broker, APP, f"{host.name}-", wait=False)
                except (control.ClusterError, TimeoutError, ConnectionError):
                    # As an operator would: once more.
                    await asyncio.sleep(0.5)
                else:
                    return

    async def reshard(self, total: int) -> None:
        await control.reshard(self._broker, APP, total, timeout=60)


class _Progress:
    """How far the workers are, from what they have written; each line is read once."""

    def __init__(self, members: Members) -> None:
        self._members: Final = members
        self._offsets: Final[dict[Path, int]] = {}
        self.probes: Final[set[int]] = set()
        self.done: Final[dict[int, set[int]]] = {}

    def look(self) -> None:
        for member in self._members.all:
            if member.kind != "worker" or not member.record.exists():
                continue
            with member.record.open("rb") as file:
                file.seek(self._offsets.get(member.record, 0))
                data = file.read()
            end = data.rfind(b"\n") + 1
            self._offsets[member.record] = self._offsets.get(member.record, 0) + end
            for line in data[:end].splitlines():
                words = line.split()
                if words[0] == b"#":
                    self.probes.add(int(words[1]))
                elif words[3] == b"0":
                    self.done.setdefault(int(words[1]), set()).add(int(words[2]))

    def is_whole(self, made: Sequence[int]) -> bool:
        self.look()
        return all(len(self.done.get(guild, ())) >= count for guild, count in enumerate(made))


async def _settled(progress: _Progress, made: Sequence[int]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not progress.is_whole(made):  # noqa: ASYNC110 - files say nothing by themselves
            await asyncio.sleep(0.25)


async def _begin(server: Server, progress: _Progress) -> None:
    """Return when an event of each guild has come all the way."""
    until = time.monotonic() + 60
    while len(progress.probes) < GUILDS:
        if time.monotonic() > until:
            missing = sorted(set(range(GUILDS)) - progress.probes)
            raise TimeoutError(f"events of these guilds reach no worker: {missing}; {server.call('fleet')['sessions']}")
        items = [
            (str((FIRST_GUILD + guild) << 22), _probe(guild)) for guild in range(GUILDS) if guild not in progress.probes
        ]
        await asyncio.to_thread(server.call, "dispatch_many", "MESSAGE_CREATE", items)
        await asyncio.sleep(0.5)
        progress.look()


def _probe(guild: int) -> dict[str, Any]:
    return {"id": "1", "guild_id": str((FIRST_GUILD + guild) << 22), "channel_id": "1", "nonce": f"probe:{guild}"}


async def history(
    seed: int,
    folder: Path,
    *,
    seconds: float,
    rate: float = 2_000.0,
    hosts: int = 3,
    workers: int = 3,
    servers: int = 1,
    faults: Sequence[str] = tuple(FAULTS),
    pace: float = 1.0,
    calm: float = 15.0,
) -> Outcome:
    """One run.

    Args:
        seed: Gives what goes wrong, and when.
        folder: For the records and logs of the processes.
        seconds: For which events come.
        rate: Events a second, over all guilds.
        hosts, workers, servers: How many; with 3 servers all is kept on all of them.
        faults: Which of `FAULTS`.
        pace: How long faults last, beside the usual.
        calm: The last of ``seconds``, in which nothing more goes wrong.
    """
    with ExitStack() as stack:
        links = stack.enter_context(Links())
        nats = stack.enter_context(NatsServer() if servers == 1 else NatsCluster(servers))
        addresses = (
            [("127.0.0.1", nats.port)] if isinstance(nats, NatsServer) else [("127.0.0.1", p) for p in nats.ports]
        )
        server = stack.enter_context(
            Server(
                guilds=GUILDS,
                channels=2,
                members=5,
                guild_create_members=2,
                shards=SHARDS,
                max_concurrency=8,
                identify_interval=0,
                heartbeat_interval=5.0,
                session_start_total=100_000,
                session_start_remaining=100_000,
                shared_rate=rate,
                start="manual",
                replay_buffer=1_000_000,
            )
        )
        members = Members(links, addresses, folder)
        stack.callback(members.end)
        options = {"app": APP, "api_url": server.api_url, "replicas": servers}
        progress = _Progress(members)
        for _ in range(workers):
            members.start("worker", options)
        for _ in range(hosts):
            members.start("host", {**options, "shards": SHARDS})
        try:
            await _begin(server, progress)
        except TimeoutError as error:
            logs = [f"{member.name}:\n{member.log.read_text()[-3000:]}" for member in members.all]
            raise AssertionError("\n".join([str(error), *logs])) from None
        urls = [f"nats://127.0.0.1:{port}" for _, port in addresses]
        broker = await connect(Nats(urls), APP, prepare=False)
        nemesis = Nemesis(
            random.Random(seed), members, options, _Nats(nats), _Operator(broker), shards=SHARDS, pace=pace
        )
        reader = Reader(urls, APP)
        stack.callback(reader.kill)
        server.call("flood_shared", True)
        begun = time.monotonic()
        try:
            await nemesis.run(max(1.0, seconds - calm), faults)
            await asyncio.sleep(max(0.0, begun + seconds - time.monotonic()))
            server.call("flood_shared", False)
            stopped = time.monotonic()
            made = server.call("record", payloads=False)["shared"]["guilds"]
            # What is missing is told by the verdict.
            with suppress(TimeoutError):
                await _settled(progress, made)
            settled = time.monotonic() - stopped
            # Whatever comes twice comes with what came last.
            await asyncio.sleep(1.0)
            identifies = server.call("fleet")["identifies"]
            messages, kept = await asyncio.to_thread(reader.end)
        finally:
            await broker.close()
            (folder / "nemesis.log").write_text("\n".join(nemesis.told) + "\n")
        members.end()
        found = [*nemesis.faults, *kept[:SHOWN]]
        # Shards of a total that was left may go on with their sessions when it counts again.
        if identifies > nemesis.identifies or (identifies < nemesis.identifies and not nemesis.done["reshard"]):
            found.append(f"{identifies} IDENTIFYs, where {nemesis.identifies} were needed")
        verdict = check(
            [read(member.record) for member in members.all if member.kind == "worker" and member.record.exists()],
            made,
            redelivers=any(name in REDELIVERING for name in nemesis.done),
            lost_acks=nemesis.lost_acks,
        )
        return Outcome(
            seed=seed,
            verdict=verdict,
            faults=found,
            told=nemesis.told,
            done=dict(nemesis.done),
            identifies=identifies,
            settled=settled,
            messages=messages,
            troubles=[text for member in members.all if (text := member.troubles())],
        )


def main() -> int:
    """So many runs; 1 where one of them failed, whose files are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--rate", type=float, default=2_000.0)
    parser.add_argument("--servers", type=int, default=1, choices=(1, 3))
    parser.add_argument("--faults", help="names with commas between: " + ", ".join(FAULTS | RARE))
    parser.add_argument("--pace", type=float, default=1.0)
    parser.add_argument("--verbose", action="store_true", help="tell what was done also where it passed")
    given = parser.parse_args()
    faults = [name.strip() for name in given.faults.split(",")] if given.faults else list(FAULTS)
    failed = 0
    for number in range(given.runs):
        seed = random.randrange(2**32) if given.seed is None else given.seed + number
        print(f"seed {seed}", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="propylon-history-"))
        outcome = asyncio.run(
            history(
                seed,
                folder,
                seconds=given.seconds,
                rate=given.rate,
                servers=given.servers,
                faults=faults,
                pace=given.pace,
            )
        )
        print(outcome, flush=True)
        if given.verbose or not outcome.passed:
            print("\n".join(outcome.told), flush=True)
        if outcome.passed:
            shutil.rmtree(folder)
        else:
            failed += 1
            print(f"records and logs: {folder}", flush=True)
    print(f"{given.runs - failed} of {given.runs} runs passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
