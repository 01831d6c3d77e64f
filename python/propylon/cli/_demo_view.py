"""How ``propylon demo`` looks: a live table on a terminal, a line each second elsewhere."""

import contextlib
import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from propylon import GatewayStatus, Metrics
from propylon._core import DEBUG_BUILD

__all__ = ["Figures", "Verdict", "View", "latency_text", "size_text", "view"]

_WINDOW: Final = 1.0
"""Seconds over which rates are taken."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the gateway tells of itself at one moment."""

    elapsed: float
    status: GatewayStatus
    latency: float | None
    metrics: Metrics

    @property
    def dropped(self) -> int:
        """Events that never touched Python."""
        return self.metrics.unheard + self.metrics.filtered


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the simulator sent beside what arrived."""

    sent: int
    """Sequence numbers that the simulator gave out in the session."""
    arrived: int
    """Different sequence numbers that the engine accepted."""
    delivered: int
    """Events handed to Python."""
    called: int
    """Different sequence numbers that listeners were called with."""
    settled: bool
    """Whether the very last event arrived."""
    resumes: int
    resumed_calls: int
    identifies: int

    @property
    def lost(self) -> int:
        """Events missing on the wire and between engine and listeners."""
        return max(0, self.sent - self.arrived) + max(0, self.delivered - self.called)

    @property
    def passed(self) -> bool:
        """Whether the demo shows what it says."""
        return (
            self.settled
            and self.sent == self.arrived
            and self.delivered == self.called
            and (self.resumes, self.resumed_calls, self.identifies) == (1, 1, 1)
        )

    def lines(self) -> list[str]:
        """For the end of the demo."""
        how = "resumed" if self.resumes else "NOT resumed"
        return [
            f"session {how}: RESUMED {self.resumes}, identifies {self.identifies}",
            f"simulator's record: {self.sent:,} events sent; arrived by sequence number: {self.arrived:,}; "
            f"delivered to Python: {self.delivered:,}; listeners called: {self.called:,}",
            f"lost {self.lost if self.settled else 'unknown: the last event did not arrive'}",
        ]


def size_text(count: float) -> str:
    """Bytes."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def latency_text(seconds: float | None) -> str:
    """Of a heartbeat."""
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


class View(Protocol):
    """Where the demo shows itself."""

    def tell(self, text: str) -> None:
        """Something has happened."""

    def update(self, figures: Figures, *, last: bool = False) -> None:
        """New figures."""

    def conclude(self, verdict: Verdict) -> None:
        """How it ended."""


class _Rates:
    """Rates over the last second, from cumulative counters."""

    def __init__(self) -> None:
        self._kept: list[Figures] = []

    def before(self, figures: Figures) -> Figures | None:
        """The figures of a second ago."""
        kept = self._kept
        kept.append(figures)
        while len(kept) > 2 and figures.elapsed - kept[1].elapsed >= _WINDOW:
            del kept[0]
        return None if kept[0] is figures else kept[0]

    @staticmethod
    def per_second(now: Figures, before: Figures | None, count: int, count_before: int) -> float:
        """Of one counter."""
        if before is None or now.elapsed <= before.elapsed:
            return 0.0
        return (count - count_before) / (now.elapsed - before.elapsed)


class _Lines:
    """One line each second, for pipes and logs."""

    def __init__(self, rate: float) -> None:
        self._rates = _Rates()
        self._next = 0.0
        self._elapsed = 0.0
        print(f"demo: a bot on a simulated Discord of {rate:,.0f} events/s{' (debug build)' if DEBUG_BUILD else ''}")

    def tell(self, text: str) -> None:
        print(f"{self._elapsed:5.1f} s  {text}", flush=True)

    def update(self, figures: Figures, *, last: bool = False) -> None:
        before = self._rates.before(figures)
        self._elapsed = figures.elapsed
        if figures.elapsed < self._next and not last:
            return
        self._next += 1.0
        metrics = figures.metrics
        rate = self._rates.per_second(figures, before, metrics.received, before.metrics.received if before else 0)
        self.tell(
            f"{figures.status.name}  {rate:,.0f} events/s  delivered {metrics.delivered:,}  "
            f"dropped in Rust {figures.dropped:,}  wire {size_text(metrics.wire_bytes)}  "
            f"inflated {size_text(metrics.inflated_bytes)}  latency {latency_text(figures.latency)}  "
            f"queue {metrics.queued:,}"
        )

    def conclude(self, verdict: Verdict) -> None:
        print("\n".join(verdict.lines()), flush=True)


class _Screen:
    """A table that lives while the demo runs, what has happened above it."""

    def __init__(self, console: Console, live: Live, rate: float) -> None:
        self._console = console
        self._live = live
        self._rates = _Rates()
        self._rate = rate
        self._elapsed = 0.0

    def tell(self, text: str) -> None:
        self._console.print(Text.assemble((f"{self._elapsed:5.1f} s  ", "dim"), text))

    def update(self, figures: Figures, *, last: bool = False) -> None:
        self._elapsed = figures.elapsed
        self._live.update(self._render(figures, self._rates.before(figures)), refresh=True)

    def conclude(self, verdict: Verdict) -> None:
        self._live.stop()
        style = "bold green" if verdict.passed else "bold red"
        for line in verdict.lines():
            self._console.print(Text(line, style=style), soft_wrap=True)

    def _render(self, figures: Figures, before: Figures | None) -> RenderableType:
        metrics = figures.metrics
        rate = self._rates.per_second(figures, before, metrics.received, before.metrics.received if before else 0)
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
            *("delivered", f"{metrics.delivered:,}"),
            *("dropped in Rust", f"{figures.dropped:,}"),
            *("queue", f"{metrics.queued:,} ({size_text(metrics.queue_bytes)})"),
        )
        summary.add_row(
            *("wire", size_text(metrics.wire_bytes)),
            *("inflated", size_text(metrics.inflated_bytes)),
            *("wake-ups", f"{metrics.wakeups:,}"),
        )
        by_type = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        by_type.add_column("event")
        for title in ("events/s", "received", "delivered", "dropped in Rust"):
            by_type.add_column(title, justify="right", min_width=10)
        by_count = sorted(metrics.received_by_type.items(), key=lambda item: (-item[1], item[0]))
        for name, count in by_count:
            earlier = before.metrics.received_by_type.get(name, 0) if before else 0
            delivered = metrics.delivered_by_type.get(name, 0)
            unheard = metrics.unheard_by_type.get(name, 0) + metrics.filtered_by_type.get(name, 0)
            by_type.add_row(
                Text(name, style="bold" if delivered else ""),
                f"{self._rates.per_second(figures, before, count, earlier):,.0f}",
                f"{count:,}",
                f"{delivered:,}" if delivered else "",
                f"{unheard:,}" if unheard else "",
            )
        title = f"a bot on a simulated Discord of {self._rate:,.0f} events/s, {figures.elapsed:.1f} s"
        if DEBUG_BUILD:
            title += " (debug build)"
        return Group(Text(title, style="bold"), summary, Text(), by_type)


@contextlib.contextmanager
def view(rate: float) -> Generator[View]:
    """What fits where stdout goes."""
    if not sys.stdout.isatty():
        yield _Lines(rate)
        return
    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        yield _Screen(console, live, rate)
