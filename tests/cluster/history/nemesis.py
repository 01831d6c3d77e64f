"""What goes wrong in the check, in an order that a seed gives: two faults at a time at most, and a reshard alone.

At least one host and one worker are always left in peace, so that there is somebody to take over.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, Protocol

from face.support import eventually

from .links import Cut
from .processes import Member, Members

__all__ = ["FAULTS", "RARE", "Nats", "Nemesis", "Operator"]

AGAIN: Final = 45.0
"""Seconds until a message whose acknowledgement was lost has come again: 30 s, and room for a busy machine."""
LET_GO: Final = 13.0
"""Seconds after which a host that NATS is out of reach for has no connection to Discord: 10 s, and room for a busy
machine. The leases last 15 s."""
AROUND: Final = 5.0
"""Seconds after a switch in which the old shards end, and a busy machine's workers are as far."""
HELD: Final = 64 * 1024 * 1024
"""Bytes that a host may grow by while NATS is away. Each shard may hold `queue_bytes`; one that is let go of after ten
seconds uses little of it."""


class Nats(Protocol):
    """The server, or servers, of the check."""

    async def kill_and_restart(self, pause: float) -> str:
        """Kill one (-9), the leader where there are several, and start it anew; says which."""
        ...


class Operator(Protocol):
    """What operators do."""

    async def drain(self, host: Member) -> None:
        """`propylon cluster drain`; returns when the request was taken."""
        ...

    async def reshard(self, total: int) -> None:
        """`propylon cluster reshard`; returns when the new total counts and the old shards are gone."""
        ...


class Nemesis:
    """One run's."""

    def __init__(
        self,
        dice: random.Random,
        members: Members,
        options: dict[str, Any],
        nats: Nats,
        operator: Operator,
        *,
        shards: int,
        pace: float = 1.0,
    ) -> None:
        """``pace``: how long faults last, beside what the functions say."""
        self._dice: Final = dice
        self._members: Final = members
        self._options: Final = options
        self._nats: Final = nats
        self._operator: Final = operator
        self._pace: Final = pace
        self._troubled: Final[set[Member]] = set()
        self._alone: Final = asyncio.Lock()
        self._at_nats: Final = asyncio.Lock()
        self._under_way = 0
        self._began: Final = time.monotonic()
        self.shards: int = shards
        self.identifies: int = shards
        """As many as there are to be, by what was done."""
        self.done: Final[Counter[str]] = Counter()
        self.told: Final[list[str]] = []
        self.cuts: Final[list[tuple[str | None, float, float]]] = []
        """When acknowledgements may have been lost, or replays come twice, from and until: of one process, or of all
        (None)."""
        self.faults: Final[list[str]] = []
        """Rules that did not hold while it was at work."""

    def lost_acks(self, process: str, at: float) -> bool:
        """Whether what this process acknowledges may have been lost before that time, and come again by then."""
        return any(who in (None, process) and begun <= at <= end + AGAIN for who, begun, end in self.cuts)

    def tell(self, text: str) -> None:
        self.told.append(f"{time.monotonic() - self._began:6.1f} s  {text}")

    async def run(self, seconds: float, faults: Sequence[str]) -> None:
        """Each of ``faults`` once, and then any of them, for so long; all is healed at the end."""
        end = time.monotonic() + seconds
        bag = list(faults)
        self._dice.shuffle(bag)

        async def lane() -> None:
            while time.monotonic() < end:
                name = bag.pop() if bag else self._dice.choice(list(faults))
                await self._do(name, end)
                await asyncio.sleep(self._dice.uniform(0.2, 1.0))

        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(lane())
            if len(faults) > 1:
                lanes.create_task(lane())

    async def _do(self, name: str, end: float) -> None:
        fault = (FAULTS | RARE)[name]
        if name == "reshard":
            async with self._alone:
                await eventually(lambda: not self._under_way, 90)
                if time.monotonic() < end:
                    await self._carry_out(name, fault)
            return
        async with self._alone:
            # A reshard waits for those before it, and those after it wait for the reshard.
            self._under_way += 1
        try:
            if time.monotonic() < end:
                await self._carry_out(name, fault)
        finally:
            self._under_way -= 1

    async def _carry_out(self, name: str, fault: Callable[["Nemesis"], Awaitable[None]]) -> None:
        try:
            await fault(self)
        except Exception as error:
            # What operators do has to be possible whatever happens beside it.
            self.faults.append(f"{name}: {type(error).__name__}: {error}")
            self.tell(self.faults[-1][:500])
        self.done[name] += 1

    def _seconds(self, least: float, most: float) -> float:
        return self._dice.uniform(least, most) * self._pace

    @asynccontextmanager
    async def _victim(self, kind: Literal["host", "worker"]):
        while True:
            living = [
                member
                for member in self._members.living(kind)
                # Before it has joined it ends with an error when it cannot, as it should.
                if member not in self._troubled and member.has_joined
            ]
            if len(living) >= 2:
                break
            await asyncio.sleep(0.1)
        victim = self._dice.choice(living)
        self._troubled.add(victim)
        try:
            yield victim
        finally:
            self._troubled.discard(victim)

    def _start(self, kind: Literal["host", "worker"]) -> Member:
        member = self._members.start(kind, {**self._options, "shards": self.shards})
        self.tell(f"start {member.name}")
        return member

    # ------------------------------------------------------------------ faults

    async def _kill(self, kind: Literal["host", "worker"]) -> None:
        async with self._victim(kind) as victim:
            self.tell(f"kill -9 {victim.name}")
            victim.kill()
            await asyncio.sleep(self._seconds(0.5, 6.0))
            self._start(kind)

    async def kill_host(self) -> None:
        await self._kill("host")

    async def kill_worker(self) -> None:
        await self._kill("worker")

    async def _stop(self, kind: Literal["host", "worker"], seconds: float) -> None:
        async with self._victim(kind) as victim:
            self.tell(f"stop {victim.name} for {seconds:.1f} s")
            victim.stop()
            try:
                await asyncio.sleep(seconds)
            finally:
                victim.go_on()

    async def stop_host(self) -> None:
        await self._stop("host", self._seconds(2.0, 30.0))

    async def stop_worker(self) -> None:
        await self._stop("worker", self._seconds(2.0, 30.0))

    async def _cut(self, kind: Literal["host", "worker"], which: Literal["nats", "discord"], seconds: float) -> None:
        async with self._victim(kind) as victim:
            how: Cut = self._dice.choice(["stall", "reset"])
            self.tell(f"cut {victim.name} off from {which} for {seconds:.1f} s: {how}")
            begun = time.monotonic()
            victim.ways.cut(which, how)
            try:
                if kind == "host" and which == "nats" and seconds > LET_GO + 0.5:
                    await asyncio.sleep(LET_GO)
                    if victim.ways.to_discord.open:
                        self.faults.append(
                            f"{victim.name} could not renew its leases for {LET_GO:g} s, and still has "
                            f"{victim.ways.to_discord.open} connections to Discord"
                        )
                    seconds -= LET_GO
                await asyncio.sleep(seconds)
            finally:
                victim.ways.heal()
                if which == "nats":
                    self.cuts.append((victim.name, begun, time.monotonic()))

    async def cut_host_from_nats(self) -> None:
        await self._cut("host", "nats", self._seconds(2.0, 25.0))

    async def cut_host_from_discord(self) -> None:
        await self._cut("host", "discord", self._seconds(1.0, 10.0))

    async def mute_nats_for_host(self) -> None:
        """What NATS has acknowledged, as the host does not know, is sent again."""
        async with self._victim("host") as victim:
            seconds = self._dice.uniform(0.3, 1.0)
            self.tell(f"{victim.name} hears nothing of NATS for {seconds:.1f} s, then its connections are reset")
            begun = time.monotonic()
            try:
                victim.ways.cut("nats", "mute")
                await asyncio.sleep(seconds)
                victim.ways.cut("nats", "reset")
                await asyncio.sleep(0.2)
            finally:
                victim.ways.heal()
                self.cuts.append((victim.name, begun, time.monotonic()))

    async def cut_worker_from_nats(self) -> None:
        await self._cut("worker", "nats", self._seconds(2.0, 25.0))

    async def _ended(self, member: Member, what: str) -> None:
        begun = time.monotonic()
        while member.ended is None:
            if time.monotonic() - begun > 40:
                self.faults.append(f"{member.name} runs 40 s after {what}")
                member.kill()
                return
            await asyncio.sleep(0.05)
        self.tell(f"{member.name} has ended {time.monotonic() - begun:.1f} s after {what}")
        if member.ended != 0:
            self.faults.append(f"{member.name} ended with {member.ended} after {what}")

    async def drain_host(self) -> None:
        self._start("host")
        async with self._victim("host") as victim:
            self.tell(f"drain {victim.name}")
            await self._operator.drain(victim)
            await self._ended(victim, "the drain")

    async def _deploy(self, kind: Literal["host", "worker"]) -> None:
        self._start(kind)
        async with self._victim(kind) as victim:
            self.tell(f"SIGTERM to {victim.name}")
            victim.terminate()
            await self._ended(victim, "SIGTERM")

    async def deploy_host(self) -> None:
        await self._deploy("host")

    async def deploy_worker(self) -> None:
        await self._deploy("worker")

    async def restart_nats(self) -> None:
        pause = self._seconds(0.2, 4.0)
        # Of three servers one may be away at a time.
        async with self._at_nats:
            begun = time.monotonic()
            which = await self._nats.kill_and_restart(pause)
            self.cuts.append((None, begun, time.monotonic()))
        self.tell(f"killed {which}, and started it again {pause:.1f} s later")

    async def nats_away(self) -> None:
        """Longer than leases last. Hosts keep what their queues hold, and leave the rest to Discord."""
        hosts = [member for member in self._members.all if member.kind == "host" and member.ended is None]
        before = {host: host.resident() for host in hosts}
        most = dict(before)

        async def watch() -> None:
            while True:
                for host in hosts:
                    most[host] = max(most[host], host.resident())
                await asyncio.sleep(0.25)

        pause = self._seconds(60, 60)
        begun = time.monotonic()
        watching = asyncio.create_task(watch())
        await self._nats.kill_and_restart(pause)
        self.cuts.append((None, begun, time.monotonic()))
        watching.cancel()
        for host in hosts:
            grown = most[host] - before[host]
            self.tell(f"NATS away for {pause:.0f} s: {host.name} {before[host] >> 20} MiB, at most {most[host] >> 20}")
            if grown > HELD:
                self.faults.append(f"{host.name} has grown by {grown >> 20} MiB while NATS was away")

    async def reshard(self) -> None:
        total = 16 if self.shards == 8 else 8
        self.tell(f"reshard to {total}")
        # Before: a host that starts meanwhile asks for the one that counts, whatever it was told.
        self.identifies += total
        begun = time.monotonic()
        await self._operator.reshard(total)
        # What a new shard that is lost about then replays, when the old ones have ended, comes again: docs/cluster.md.
        self.cuts.append((None, begun, time.monotonic() + AROUND))
        self.shards = total
        self.tell(f"{total} shards count")


RARE: Final[dict[str, Callable[[Nemesis], Awaitable[None]]]] = {
    "nats away": Nemesis.nats_away,
    "mute nats for host": Nemesis.mute_nats_for_host,
}
"""Faults that a run has only where it is told to."""

FAULTS: Final[dict[str, Callable[[Nemesis], Awaitable[None]]]] = {
    "kill host": Nemesis.kill_host,
    "kill worker": Nemesis.kill_worker,
    "stop host": Nemesis.stop_host,
    "stop worker": Nemesis.stop_worker,
    "cut host from nats": Nemesis.cut_host_from_nats,
    "cut host from discord": Nemesis.cut_host_from_discord,
    "cut worker from nats": Nemesis.cut_worker_from_nats,
    "drain host": Nemesis.drain_host,
    "deploy host": Nemesis.deploy_host,
    "deploy worker": Nemesis.deploy_worker,
    "restart nats": Nemesis.restart_nats,
    "reshard": Nemesis.reshard,
}
