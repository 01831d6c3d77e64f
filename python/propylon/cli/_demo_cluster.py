"""``propylon demo --cluster``: hosts and workers as processes over NATS; one of each is killed, and a host drained.

The simulator numbers the events of each guild, and each worker notes what it handles. Owns what happens and what is
counted; how it looks is `propylon.cli._demo_cluster_view`'s, and the records `propylon.cli._demo_cluster_records`'.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from propylon.cli._demo_cluster_records import Progress, read_notes, tally
from propylon.cli._demo_cluster_view import (
    ClusterFigures,
    ClusterVerdict,
    ClusterView,
    HostRow,
    ShardRow,
    WorkerRow,
    cluster_view,
)
from propylon.cli._nats_server import LocalNats, NoNatsServer
from propylon.cli._process import complain
from propylon.cluster._broker import Broker
from propylon.cluster._keys import (
    ALL_HOSTS,
    ALL_PARTS,
    ALL_WORKERS,
    HostInfo,
    Lease,
    PartitionLease,
    WorkerInfo,
    all_leases,
    bucket,
    last_of,
    read,
)
from propylon.cluster._nats import Nats, connect
from propylon.errors import PropylonError
from propylon.testing import Simulator

__all__ = ["run_cluster_demo"]

_APP: Final = "demo"
_SHARDS: Final = 4
_GUILDS: Final = 32
_PARTITIONS: Final = 64
_TICK: Final = 0.25
_PATIENCE: Final = 60.0
"""Seconds for everything to be well again, and for the last events to arrive."""
_BREATH: Final = 3.0
"""Seconds between two troubles, so that one sees it go well."""


class _Failed(PropylonError):
    """The demo cannot go on; the text says why."""


def _name(member_id: str) -> str:
    """What a host or worker was started as, without what tells it from others of that name."""
    return member_id.rpartition("-")[0]


class _Processes:
    """Hosts and workers, each with its log."""

    def __init__(self, nats: str, api_url: str, folder: Path) -> None:
        self._nats: Final = nats
        self._api_url: Final = api_url
        self._folder: Final = folder
        self._by_name: Final[dict[str, subprocess.Popen[bytes]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all. What they would hand over nobody takes any more."""
        for process in self._by_name.values():
            process.kill()
            process.wait()

    def _start(self, name: str, *arguments: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            self._by_name[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONWARNINGS": "ignore", "DISCORD_TOKEN": "demo"},
                # A Ctrl-C of the terminal is for us, who end them.
                start_new_session=True,
            )

    def host(self, name: str) -> None:
        """Start `propylon gateway`."""
        shards, where = ("--shards", str(_SHARDS)), ("--nats", self._nats, "--app", _APP, "--name", name)
        self._start(name, "propylon", "gateway", *shards, *where, "--api-url", self._api_url)

    def worker(self, name: str) -> None:
        """Start a worker."""
        self._start(name, "propylon.cli._demo_cluster_worker", self._nats, _APP, name, str(self.record(name)))

    def record(self, name: str) -> Path:
        """What a worker notes."""
        return self._folder / f"{name}.record"

    @property
    def records(self) -> list[Path]:
        """Of all workers that there were."""
        return [self.record(name) for name in self._by_name if name.startswith("worker")]

    def kill(self, name: str) -> None:
        """As the end of its machine would."""
        self._by_name[name].send_signal(signal.SIGKILL)
        self._by_name[name].wait()

    def check(self, gone: Sequence[str]) -> None:
        """Raise `_Failed` where one has ended that is to run."""
        for name, process in self._by_name.items():
            if name not in gone and process.poll() is not None:
                said = (self._folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
                raise _Failed(f"{name} has ended with {process.returncode}: {said[-1] if said else 'it says nothing'}")

    def exit_code(self, name: str) -> int | None:
        """None while it runs."""
        return self._by_name[name].poll()

    async def drain(self, name: str) -> None:
        """As an operator does it."""
        command = [
            sys.executable,
            "-m",
            "propylon",
            "cluster",
            "drain",
            f"{name}-",
            "--nats",
            self._nats,
            "--app",
            _APP,
        ]
        env = {**os.environ, "PYTHONWARNINGS": "ignore"}
        pipe = asyncio.subprocess.PIPE
        running = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env=env)
        said, _ = await running.communicate()
        if running.returncode:
            raise _Failed(f"`propylon cluster drain {name}` fails: {said.decode(errors='replace').strip()}")


class _Demo:
    """One run."""

    def __init__(self, simulator: Simulator, processes: _Processes, broker: Broker, show: ClusterView) -> None:
        self._simulator: Final = simulator
        self._processes: Final = processes
        self._broker: Final = broker
        self._show: Final = show
        self._progress: Final = Progress()
        self._begun: Final = time.monotonic()
        self._gone: Final[list[str]] = []
        self._looked: asyncio.Event = asyncio.Event()
        self.figures: ClusterFigures | None = None
        self.moves: Final[dict[str, float]] = {}

    async def look(self, *, last: bool = False) -> None:
        """Read what NATS holds and what workers have noted, and show it."""
        self._processes.check(self._gone)
        where = bucket(_APP)
        hosts = [read(HostInfo, entry.value) for entry in await self._broker.entries(where, ALL_HOSTS)]
        leases: dict[int, tuple[Lease, int]] = {}
        for entry in await self._broker.entries(where, all_leases(_SHARDS)):
            lease = read(Lease, entry.value)
            if lease is not None:
                leases[int(last_of(entry.key))] = lease, lease.epoch or entry.revision
        workers = [read(WorkerInfo, entry.value) for entry in await self._broker.entries(where, ALL_WORKERS)]
        parts: Counter[str] = Counter()
        for entry in await self._broker.entries(where, ALL_PARTS):
            part = read(PartitionLease, entry.value)
            if part is not None:
                parts[part.worker] += 1
        self._progress.look(self._processes.records)
        held = Counter(lease.host for lease, _ in leases.values())
        self.figures = ClusterFigures(
            elapsed=time.monotonic() - self._begun,
            hosts=sorted(
                (HostRow(_name(host.id), held[host.id], host.draining) for host in hosts if host is not None),
                key=lambda host: host.name,
            ),
            shards=[self._shard(number, leases.get(number)) for number in range(_SHARDS)],
            workers=sorted(
                (WorkerRow(_name(worker.id), parts[worker.id]) for worker in workers if worker is not None),
                key=lambda worker: worker.name,
            ),
            made=self._simulator.fleet()["shared"]["made"],
            done=self._progress.done,
            by_worker=dict(self._progress.by_worker),
        )
        self._show.update(self.figures, last=last)
        self._looked.set()
        self._looked = asyncio.Event()

    def _shard(self, number: int, lease: tuple[Lease, int] | None) -> ShardRow:
        if lease is None:
            return ShardRow(number, None, 0, "-")
        name = _name(lease[0].host)
        # Nobody has noticed yet: until the lease runs out it says what it said.
        is_dead = name in self._gone and self._processes.exit_code(name) is not None
        return ShardRow(number, name, lease[1], "killed" if is_dead else lease[0].status)

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_TICK)

    def _have(self, hosts: set[str]) -> bool:
        """Whether these have all shards, and each has some."""
        figures = self.figures
        if figures is None or figures.ready < _SHARDS:
            return False
        return {shard.host for shard in figures.shards} == hosts

    def _work(self, workers: set[str]) -> bool:
        """Whether these have all partitions."""
        figures = self.figures
        held = {worker.name: worker.partitions for worker in figures.workers} if figures else {}
        return sum(held.get(name, 0) for name in workers) == _PARTITIONS and all(held.get(name) for name in workers)

    async def until(self, condition: Callable[[], bool], what: str) -> float:
        """Return when it is so; the seconds that it took."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE):
                while not condition():
                    await self._looked.wait()
        except TimeoutError:
            raise _Failed(f"after {_PATIENCE:g} s it is not so that {what}") from None
        return time.monotonic() - begun

    async def begin(self) -> None:
        """Return when all is there."""
        await self.until(lambda: self._have({"host-1", "host-2"}), "two hosts have all shards")
        await self.until(lambda: self._work({"worker-1", "worker-2"}), "two workers have all partitions")

    async def breathe(self) -> None:
        """Let it run for a moment."""
        await asyncio.sleep(_BREATH)

    def kill(self, name: str) -> None:
        """Without a word."""
        self._gone.append(name)
        self._show.tell(f"kill -9 {name}")
        self._processes.kill(name)

    async def _replace_host(self) -> None:
        self.kill("host-1")
        self.moves["a host killed"] = await self.until(lambda: self._have({"host-2"}), "host-2 has all shards")
        self._show.tell("host-2 has all shards, each resumed where host-1 had stopped")

    async def _replace_worker(self) -> None:
        # While nobody has the shards of host-1: one trouble does not wait for another.
        await asyncio.sleep(2 * _BREATH)
        self.kill("worker-1")
        took = await self.until(lambda: self._work({"worker-2"}), "worker-2 has all partitions")
        self.moves["a worker killed"] = took
        self._show.tell("worker-2 has all partitions, from what worker-1 had not finished on")

    async def troubles(self) -> None:
        """All that is done to it."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._replace_host())
            both.create_task(self._replace_worker())
        await self.breathe()
        self._show.tell("host-3 starts, and gets its share")
        self._processes.host("host-3")
        await self.until(lambda: self._have({"host-2", "host-3"}), "host-3 has its share")
        await self.breathe()
        self._show.tell("propylon cluster drain host-2")
        self._gone.append("host-2")
        begun = time.monotonic()
        drained = asyncio.create_task(self._processes.drain("host-2"))
        await self.until(lambda: self._have({"host-3"}), "host-3 has all shards")
        self.moves["a host drained"] = time.monotonic() - begun
        self._show.tell("host-3 has all shards")
        await drained
        await self.breathe()

    async def settle(self) -> list[int]:
        """Stop the events and let the last ones arrive: how many there were for each guild."""
        self._simulator.flood_shared(False)
        made: list[int] = self._simulator.record(payloads=False)["shared"]["guilds"]
        try:
            async with asyncio.timeout(_PATIENCE):
                while self.figures is None or self.figures.done < sum(made):
                    await self._looked.wait()
        except TimeoutError:
            self._show.tell(f"the last events did not arrive within {_PATIENCE:g} s")
        return made


async def _beside(watching: "asyncio.Task[None]", what: Callable[[], Awaitable[None]]) -> None:
    """Do it; where the watch fails, so does this."""
    doing = asyncio.ensure_future(what())
    done, _ = await asyncio.wait([watching, doing], return_when=asyncio.FIRST_COMPLETED)
    if watching in done:
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        watching.result()
    doing.result()


async def run_cluster_demo(rate: float, seed: int, *, plain: bool = False) -> int:
    """Run it; 0 if nothing was lost or out of order, and there was one IDENTIFY for each shard."""
    try:
        return await _run(rate, seed, plain=plain)
    except (_Failed, NoNatsServer) as error:
        complain(str(error))
        return 1


async def _run(rate: float, seed: int, *, plain: bool) -> int:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="propylon-demo-")))
        nats = stack.enter_context(LocalNats())
        simulator = stack.enter_context(
            Simulator(
                shards=_SHARDS,
                max_concurrency=_SHARDS,
                guilds=_GUILDS,
                seed=seed,
                shared_rate=rate,
                start="manual",
                heartbeat_interval=5.0,
                # What comes while nobody has a shard is to be replayed: Discord's rule would keep a few seconds of it.
                replay_buffer=int(60 * rate),
                respect_intents=True,
            )
        )
        show = stack.enter_context(cluster_view(_SHARDS, _GUILDS, rate, plain=plain))
        processes = stack.enter_context(_Processes(nats.url, simulator.api_url, folder))
        show.tell(f"nats-server at {nats.url}, simulated Discord at {simulator.url}")
        for name in ("worker-1", "worker-2"):
            processes.worker(name)
        for name in ("host-1", "host-2"):
            processes.host(name)
        broker = await connect(Nats(nats.url), _APP)
        demo = _Demo(simulator, processes, broker, show)
        watching = asyncio.create_task(demo.watch())
        made: list[int] = []

        async def life() -> None:
            await demo.begin()
            show.tell(f"{_SHARDS} shards are READY; events begin")
            simulator.flood_shared()
            await demo.breathe()
            await demo.troubles()
            made.extend(await demo.settle())

        try:
            await _beside(watching, life)
            await demo.look(last=True)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await watching
            await broker.close()
        result = ClusterVerdict(
            tally=tally([read_notes(path) for path in processes.records], made),
            identifies=simulator.fleet()["identifies"],
            wanted=_SHARDS,
            moves=demo.moves,
        )
        show.conclude(result)
    return 0 if result.passed else 1
