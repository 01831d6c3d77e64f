"""How ``propylon demo --cluster`` looks: a live table on a terminal, a line each second elsewhere."""

import contextlib
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from propylon._core import DEBUG_BUILD
from propylon.cli._demo_cluster_records import ClusterTally

__all__ = ["ClusterFigures", "ClusterVerdict", "ClusterView", "HostRow", "ShardRow", "WorkerRow", "cluster_view"]

_WINDOW: Final = 1.0
"""Seconds over which rates are taken."""


@dataclass(frozen=True, slots=True)
class HostRow:
    """A gateway host that lives."""

    name: str
    shards: int
    draining: bool


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A shard, and who has it."""

    number: int
    host: str | None
    """None: nobody, at this moment."""
    epoch: int
    status: str


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker that lives."""

    name: str
    partitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFigures:
    """What NATS holds and what workers have noted, at one moment."""

    elapsed: float
    hosts: Sequence[HostRow]
    shards: Sequence[ShardRow]
    workers: Sequence[WorkerRow]
    made: int
    """Events that the simulator made so far."""
    done: int
    """Different ones that listeners are done with."""
    by_worker: Mapping[str, int]

    @property
    def lag(self) -> int:
        """Events that are on their way."""
        return max(0, self.made - self.done)

    @property
    def ready(self) -> int:
        """Shards that are."""
        return sum(shard.status == "READY" for shard in self.shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterVerdict:
    """What the simulator made beside what workers noted."""

    tally: ClusterTally
    identifies: int
    wanted: int
    """IDENTIFYs that there must be: one a shard."""
    moves: Mapping[str, float]
    """What was done to the cluster, and the seconds until all shards were READY again."""

    @property
    def passed(self) -> bool:
        """Whether the demo shows what it says."""
        tally = self.tally
        return (tally.lost, tally.late) == (0, 0) and self.identifies == self.wanted and tally.made > 0

    def lines(self) -> list[str]:
        """For the end of the demo."""
        tally = self.tally
        moves = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in self.moves.items())
        return [
            f"until all was well again: {moves}",
            f"simulator's record: {tally.made:,} events numbered; workers' records: {tally.done:,} of them handled, "
            f"{tally.again:,} calls a second time because a worker was killed",
            f"lost {tally.lost:,}, out of order {tally.late:,}, identifies {self.identifies}",
        ]


class ClusterView(Protocol):
    """Where the demo shows itself."""

    def tell(self, text: str) -> None:
        """Something has happened."""

    def update(self, figures: ClusterFigures, *, last: bool = False) -> None:
        """New figures."""

    def conclude(self, verdict: ClusterVerdict) -> None:
        """How it ended."""


class _Rates:
    """Events per second over the last one, of all and of each worker."""

    def __init__(self) -> None:
        self._kept: list[ClusterFigures] = []

    def of(self, figures: ClusterFigures) -> tuple[float, dict[str, float]]:
        kept = self._kept
        kept.append(figures)
        while len(kept) > 2 and figures.elapsed - kept[1].elapsed >= _WINDOW:
            del kept[0]
        before = kept[0]
        passed = figures.elapsed - before.elapsed
        if passed <= 0:
            return 0.0, {}
        each = {name: (count - before.by_worker.get(name, 0)) / passed for name, count in figures.by_worker.items()}
        return (figures.done - before.done) / passed, each


def _title(shards: int, guilds: int, rate: float) -> str:
    text = f"{shards} shards on two hosts and two workers, a simulated Discord of {rate:,.0f} events/s, {guilds} guilds"
    return f"{text} (debug build)" if DEBUG_BUILD else text


class _Lines:
    """One line each second, for pipes and logs."""

    def __init__(self, title: str) -> None:
        self._rates = _Rates()
        self._next = 0.0
        self._elapsed = 0.0
        print(f"demo: {title}", flush=True)

    def tell(self, text: str) -> None:
        print(f"{self._elapsed:5.1f} s  {text}", flush=True)

    def update(self, figures: ClusterFigures, *, last: bool = False) -> None:
        rate, _ = self._rates.of(figures)
        self._elapsed = figures.elapsed
        if figures.elapsed < self._next and not last:
            return
        self._next = max(self._next + 1.0, figures.elapsed)
        hosts = ", ".join(f"{host.name} {host.shards}{' draining' * host.draining}" for host in figures.hosts)
        workers = ", ".join(f"{worker.name} {worker.partitions}" for worker in figures.workers)
        self.tell(
            f"shards READY {figures.ready} of {len(figures.shards)} (hosts: {hosts or 'none'}; "
            f"epochs {' '.join(str(shard.epoch) for shard in figures.shards)})  "
            f"partitions: {workers or 'none'}  {rate:,.0f} events/s  on their way {figures.lag:,}"
        )

    def conclude(self, verdict: ClusterVerdict) -> None:
        print("\n".join(verdict.lines()), flush=True)


class _Screen:
    """Tables that live while the demo runs, what has happened above them."""

    def __init__(self, console: Console, live: Live, title: str) -> None:
        self._console = console
        self._live = live
        self._rates = _Rates()
        self._title = title
        self._elapsed = 0.0
        self._there = "■" if console.encoding.lower().startswith("utf") else "#"

    def tell(self, text: str) -> None:
        self._console.print(Text.assemble((f"{self._elapsed:5.1f} s  ", "dim"), text), soft_wrap=True)

    def update(self, figures: ClusterFigures, *, last: bool = False) -> None:
        self._elapsed = figures.elapsed
        self._live.update(self._render(figures), refresh=True)

    def conclude(self, verdict: ClusterVerdict) -> None:
        self._live.stop()
        style = "bold green" if verdict.passed else "bold red"
        for line in verdict.lines():
            self._console.print(Text(line, style=style), soft_wrap=True)

    def _render(self, figures: ClusterFigures) -> RenderableType:
        rate, each = self._rates.of(figures)
        summary = Table.grid(padding=(0, 2))
        for _ in range(3):
            summary.add_column(style="dim")
            summary.add_column(justify="right", min_width=10)
        all_ready = figures.ready == len(figures.shards)
        summary.add_row(
            *("shards ready", Text(f"{figures.ready} of {len(figures.shards)}", "green" if all_ready else "yellow")),
            *("events/s", f"{rate:,.0f}"),
            *("on their way", f"{figures.lag:,}"),
        )
        shards = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
        for head in ("shard", "host", "epoch", "status"):
            shards.add_column(head, justify="right" if head in ("shard", "epoch") else "left", min_width=8)
        for shard in figures.shards:
            ready = shard.status == "READY"
            shards.add_row(
                str(shard.number),
                Text(shard.host or "nobody", "" if shard.host else "red"),
                str(shard.epoch or "-"),
                Text(shard.status, "green" if ready else "yellow"),
            )
        lives = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
        lives.add_column("process", min_width=10)
        lives.add_column("has")
        lives.add_column("events/s", justify="right", min_width=8)
        for host in figures.hosts:
            state = Text(" draining", "yellow") if host.draining else Text()
            has = Text.assemble((self._there * host.shards, "green"), f" {host.shards} shards", state)
            lives.add_row(host.name, has, "")
        for worker in figures.workers:
            bar = (self._there * (worker.partitions // 4), "cyan")
            lives.add_row(
                worker.name,
                Text.assemble(bar, f" {worker.partitions} partitions"),
                f"{each.get(worker.name, 0.0):,.0f}",
            )
        title = Text(f"{self._title}, {figures.elapsed:.1f} s", style="bold")
        return Group(title, summary, Text(), shards, Text(), lives)


@contextlib.contextmanager
def cluster_view(shards: int, guilds: int, rate: float, *, plain: bool) -> Generator[ClusterView]:
    """What fits where stdout goes; ``plain``: lines in any case."""
    title = _title(shards, guilds, rate)
    if plain or not sys.stdout.isatty():
        yield _Lines(title)
        return
    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        yield _Screen(console, live, title)
