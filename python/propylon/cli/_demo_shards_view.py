"""How ``propylon demo --shards`` looks: a live table on a terminal, a line each second elsewhere."""

import contextlib
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from propylon import GatewayStatus, Metrics
from propylon._core import DEBUG_BUILD
from propylon.cli._demo_view import latency_text, size_text

__all__ = ["ShardFigures", "ShardsVerdict", "ShardsView", "shards_view"]

_WINDOW: Final = 1.0
"""Seconds over which rates are taken."""
_BARS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_BARS: Final = "123456789"
"""For terminals that have no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFigures:
    """What the manager and the simulator tell at one moment."""

    elapsed: float
    status: GatewayStatus
    total: int
    ready: Mapping[int, bool]
    """Whether a shard is, by its id."""
    received: Mapping[int, int]
    """Events of a shard, by its id."""
    connected: Mapping[int, int]
    """Sessions with a connection by the simulator's record, for each number of shards."""
    called: int
    """Calls of the listener."""
    latency: float | None
    metrics: Metrics
    memory: int | None
    """Bytes of the process, the simulator's among them."""

    @property
    def ready_text(self) -> str:
        """How many shards are ready."""
        return f"{sum(self.ready.values())} of {self.total}"

    def beside(self) -> dict[int, int]:
        """Sessions of another number of shards that are connected, while one takes over from the other."""
        return {total: count for total, count in self.connected.items() if total != self.total and count}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardsVerdict:
    """What the simulator made beside what listeners were called with."""

    before: int
    after: int
    seconds: float | None
    """That the reshard took; None where it failed."""
    resharded: bool
    """Whether listeners heard of it, once."""
    guilds: int
    made: int
    """Events that the simulator numbered, over all guilds."""
    called: int
    """Calls of the listener."""
    lost: int
    twice: int
    late: int
    """Events that came after a later one of their guild."""
    settled: bool
    """Whether all had arrived when the patience was over."""
    identifies: int
    overlapped: int
    """Events dropped in Rust because the other fleet brings them."""

    @property
    def passed(self) -> bool:
        """Whether the demo shows what it says. Order is only told: at the switch a guild is on two shards."""
        return self.resharded and self.settled and (self.lost, self.twice) == (0, 0) and self.made == self.called > 0

    def lines(self) -> list[str]:
        """For the end of the demo."""
        how = f"in {self.seconds:.1f} s" if self.seconds is not None and self.resharded else "NOT done"
        order = f"; {self.late:,} came after a later one of their guild" if self.late else ""
        return [
            f"reshard from {self.before} to {self.after} {how}: identifies {self.identifies}, "
            f"dropped in Rust because both fleets bring them {self.overlapped:,}",
            f"simulator's record: {self.made:,} events numbered for {self.guilds:,} guilds; "
            f"listeners called: {self.called:,}{order}",
            f"lost {self.lost:,}, twice {self.twice:,}",
        ]


class ShardsView(Protocol):
    """Where the demo shows itself."""

    def tell(self, text: str) -> None:
        """Something has happened."""

    def update(self, figures: ShardFigures, *, last: bool = False) -> None:
        """New figures."""

    def conclude(self, verdict: ShardsVerdict) -> None:
        """How it ended."""


class _Rates:
    """Events per second over the last one: of the listener, and of each shard."""

    def __init__(self) -> None:
        self._kept: list[ShardFigures] = []

    def of(self, figures: ShardFigures) -> tuple[float, dict[int, float]]:
        kept = self._kept
        if kept and kept[-1].total != figures.total:
            # The same ids are other shards now.
            kept[:] = [earlier for earlier in kept if earlier.total == figures.total]
        kept.append(figures)
        while len(kept) > 2 and figures.elapsed - kept[1].elapsed >= _WINDOW:
            del kept[0]
        before = kept[0]
        passed = figures.elapsed - before.elapsed
        if passed <= 0:
            return 0.0, {}
        by_shard = {
            shard_id: (count - before.received.get(shard_id, 0)) / passed
            for shard_id, count in figures.received.items()
        }
        return (figures.called - before.called) / passed, by_shard


def _memory_text(figures: ShardFigures) -> str:
    return "-" if figures.memory is None else size_text(figures.memory)


def _title(shards: int, guilds: int, rate: float) -> str:
    text = f"{shards} shards on a simulated Discord of {rate:,.0f} events/s for {guilds:,} guilds"
    return f"{text} (debug build)" if DEBUG_BUILD else text


class _Lines:
    """One line each second, for pipes and logs."""

    def __init__(self, shards: int, guilds: int, rate: float) -> None:
        self._rates = _Rates()
        self._next = 0.0
        self._elapsed = 0.0
        print(f"demo: {_title(shards, guilds, rate)}", flush=True)

    def tell(self, text: str) -> None:
        print(f"{self._elapsed:5.1f} s  {text}", flush=True)

    def update(self, figures: ShardFigures, *, last: bool = False) -> None:
        rate, by_shard = self._rates.of(figures)
        self._elapsed = figures.elapsed
        if figures.elapsed < self._next and not last:
            return
        self._next += 1.0
        spread = f"{min(by_shard.values()):,.0f} to {max(by_shard.values()):,.0f}/s" if by_shard else "-"
        beside = "".join(f"  beside them {count} of {total}" for total, count in figures.beside().items())
        self.tell(
            f"{figures.status.name}  shards {figures.ready_text}{beside}  {rate:,.0f} events/s  each shard {spread}  "
            f"listeners called {figures.called:,}  memory {_memory_text(figures)}"
        )

    def conclude(self, verdict: ShardsVerdict) -> None:
        print("\n".join(verdict.lines()), flush=True)


class _Screen:
    """A table that lives while the demo runs, what has happened above it."""

    def __init__(self, console: Console, live: Live, shards: int, guilds: int, rate: float) -> None:
        self._console = console
        self._live = live
        self._rates = _Rates()
        self._title = _title(shards, guilds, rate)
        self._elapsed = 0.0
        is_rich = console.encoding.lower().startswith("utf")
        self._bars = _BARS if is_rich else _PLAIN_BARS
        self._there, self._missing = ("■", "·") if is_rich else ("#", ".")

    def tell(self, text: str) -> None:
        self._console.print(Text.assemble((f"{self._elapsed:5.1f} s  ", "dim"), text), soft_wrap=True)

    def update(self, figures: ShardFigures, *, last: bool = False) -> None:
        self._elapsed = figures.elapsed
        self._live.update(self._render(figures), refresh=True)

    def conclude(self, verdict: ShardsVerdict) -> None:
        self._live.stop()
        style = "bold green" if verdict.passed else "bold red"
        for line in verdict.lines():
            self._console.print(Text(line, style=style), soft_wrap=True)

    def _render(self, figures: ShardFigures) -> RenderableType:
        rate, by_shard = self._rates.of(figures)
        metrics = figures.metrics
        ready = figures.status is GatewayStatus.READY
        summary = Table.grid(padding=(0, 2))
        for _ in range(3):
            summary.add_column(style="dim")
            summary.add_column(justify="right", min_width=12)
        summary.add_row(
            *("status", Text(figures.status.name, style="green" if ready else "yellow")),
            *("events/s", f"{rate:,.0f}"),
            *("latency", latency_text(figures.latency)),
        )
        summary.add_row(
            *("shards ready", figures.ready_text),
            *("listeners called", f"{figures.called:,}"),
            *("memory", _memory_text(figures)),
        )
        summary.add_row(
            *("identifies", f"{metrics.identifies:,}"),
            *("came on both", f"{metrics.overlapped:,}"),
            *("queue", f"{metrics.queued:,} ({size_text(metrics.queue_bytes)})"),
        )
        fleets = Table.grid(padding=(0, 2))
        fleets.add_row(
            Text(f"{figures.total} shards", style="bold"),
            Text.assemble(
                *((self._there, "green") if here else (self._missing, "dim") for here in self._cells(figures))
            ),
            "",
        )
        fleets.add_row(Text("events/s of each", style="dim"), self._sparks(figures, by_shard), self._spread(by_shard))
        for total, count in sorted(figures.beside().items()):
            cells = Text.assemble((self._there * count, "yellow"), (self._missing * (total - count), "dim"))
            fleets.add_row(Text(f"{total} beside them", style="bold"), cells, Text("connected", style="dim"))
        title = Text(f"{self._title}, {figures.elapsed:.1f} s", style="bold")
        return Group(title, summary, Text(), fleets)

    def _cells(self, figures: ShardFigures) -> list[bool]:
        return [figures.ready.get(shard_id, False) for shard_id in range(figures.total)]

    def _sparks(self, figures: ShardFigures, by_shard: Mapping[int, float]) -> Text:
        """A bar for each shard; the highest is the one with the most events."""
        most = max(by_shard.values(), default=0.0) or 1.0
        steps = len(self._bars) - 1
        heights = [by_shard.get(shard_id, 0.0) / most for shard_id in range(figures.total)]
        return Text("".join(self._bars[round(height * steps)] for height in heights), style="cyan")

    @staticmethod
    def _spread(by_shard: Mapping[int, float]) -> Text:
        if not by_shard:
            return Text()
        each = by_shard.values()
        return Text(f"{min(each):,.0f} to {max(each):,.0f}, median {median(each):,.0f}", style="dim")


@contextlib.contextmanager
def shards_view(shards: int, guilds: int, rate: float) -> Generator[ShardsView]:
    """What fits where stdout goes."""
    if not sys.stdout.isatty():
        yield _Lines(shards, guilds, rate)
        return
    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        yield _Screen(console, live, shards, guilds, rate)
