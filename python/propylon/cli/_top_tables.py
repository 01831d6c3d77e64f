"""What ``propylon top`` shows of a snapshot, as text: figures, rows, their order. How it looks is its callers'."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from propylon.cli._demo_view import size_text
from propylon.cli._top_snapshot import Counters, Listener, Shard, Snapshot

__all__ = [
    "BLOCKED",
    "EVENTS",
    "LETTERS",
    "LISTENERS",
    "RECONNECTS",
    "Column",
    "EventRow",
    "Rates",
    "alarm",
    "clean",
    "figures",
    "reconnect_rows",
    "shard_line",
    "sorted_rows",
]

BLOCKED: Final = 1.0
"""Seconds without a turn of the event loop that are worth an alarm."""
_WINDOW: Final = 5.5
"""Seconds over which rates are taken."""

LETTERS: Final = {
    "READY": "R",
    "RESUMING": "S",
    "WAITING_FOR_READY": "W",
    "IDENTIFYING": "I",
    "WAITING_FOR_HELLO": "H",
    "CONNECTING": "C",
    "DISCONNECTED": "D",
    "UNCONNECTED": "U",
}
"""One for each status, those of the dashboard: colour is not all that tells them apart."""

_Row = TypeVar("_Row")
_NONE: Final = "-"
_HOW: Final = {True: "resumed", False: "new", None: "under way"}
"""What became of the session."""


def clean(text: str) -> str:
    """A name or reason that somebody else wrote, without what a terminal would take for a command."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _rate(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:,.1f}" if 0 < value < 99.95 else f"{value:,.0f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value * 1000:,.0f} ms" if value < 1 else f"{value:,.1f} s"


def _clock(value: float | None) -> str:
    return _NONE if value is None else time.strftime("%H:%M:%S", time.localtime(value))


def _duration(value: float) -> str:
    minutes, seconds = divmod(max(0, int(value)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@dataclass(frozen=True, slots=True)
class EventRow:
    """Events a second of one type, by outcome; None before there is a second snapshot."""

    name: str
    received: float | None
    delivered: float | None
    dropped: float | None
    total: int
    """Received since the process started."""


@dataclass(frozen=True, slots=True)
class Column(Generic[_Row]):
    """A column of a table, and what its rows are sorted by where it is chosen."""

    title: str
    text: Callable[[_Row], str]
    key: Callable[[_Row], float | str]
    """Numbers are sorted from the highest, names from the first."""
    is_number: bool = True


EVENTS: Final[Sequence[Column[EventRow]]] = (
    Column("received/s", lambda row: _rate(row.received), lambda row: row.received or 0.0),
    Column("delivered/s", lambda row: _rate(row.delivered), lambda row: row.delivered or 0.0),
    Column("dropped/s", lambda row: _rate(row.dropped), lambda row: row.dropped or 0.0),
    Column("in all", lambda row: f"{row.total:,}", lambda row: row.total),
    Column("event", lambda row: clean(row.name), lambda row: row.name, is_number=False),
)
LISTENERS: Final[Sequence[Column[Listener]]] = (
    Column("time", lambda row: _seconds(row.seconds), lambda row: row.seconds),
    Column("longest", lambda row: _seconds(row.longest_seconds), lambda row: row.longest_seconds),
    Column("slow", lambda row: f"{row.slow:,}", lambda row: row.slow),
    Column("calls", lambda row: f"{row.calls:,}", lambda row: row.calls),
    Column("errors", lambda row: f"{row.errors:,}", lambda row: row.errors),
    Column("listener", lambda row: clean(row.name), lambda row: row.name, is_number=False),
)
RECONNECTS: Final = ("time", "shard", "session", "reason")


def sorted_rows(rows: Sequence[_Row], columns: Sequence[Column[_Row]], by: int) -> list[list[str]]:
    """The cells of a table whose order the column of this number says; names where that is equal."""
    column, name = columns[by], columns[-1]
    ordered = sorted(rows, key=name.key)
    ordered.sort(key=column.key, reverse=column.is_number)
    return [[column.text(row) for column in columns] for row in ordered]


def reconnect_rows(snapshot: Snapshot) -> list[list[str]]:
    """The latest first."""
    return [
        [
            _clock(each.at),
            str(each.shard),
            _HOW[each.resumed],
            clean(" ".join(str(part) for part in (each.code, each.reason) if part not in (None, ""))) or _NONE,
        ]
        for each in reversed(snapshot.reconnects)
    ]


@dataclass(frozen=True, slots=True)
class _Kept:
    time: float
    process: float
    events: dict[str, Counters]
    sums: tuple[int, int, int]


def _sums(counters: Sequence[Counters]) -> tuple[int, int, int]:
    return (
        sum(each.received for each in counters),
        sum(each.delivered for each in counters),
        sum(each.dropped for each in counters),
    )


class Rates:
    """Events a second, from the counters of the snapshots of the last seconds."""

    def __init__(self) -> None:
        """None yet."""
        self._kept: Final[deque[_Kept]] = deque()

    def add(self, snapshot: Snapshot) -> None:
        """The next snapshot."""
        kept = self._kept
        process = snapshot.process.started_at
        if kept and (kept[-1].process != process or kept[-1].time > snapshot.time):
            # Another process under the same address, or another clock.
            kept.clear()
        kept.append(_Kept(snapshot.time, process, snapshot.events, _sums(snapshot.shards)))
        while len(kept) > 2 and snapshot.time - kept[0].time > _WINDOW:
            kept.popleft()

    def _between(self, now: Sequence[int], before: Sequence[int]) -> list[float | None]:
        passed = self._kept[-1].time - self._kept[0].time
        if passed <= 0:
            return [None] * len(now)
        # A counter that fell is of other shards than before.
        return [max(0, new - old) / passed for new, old in zip(now, before, strict=True)]

    def totals(self) -> list[float | None]:
        """Received, delivered and dropped, of all events."""
        return self._between(self._kept[-1].sums, self._kept[0].sums)

    def events(self) -> list[EventRow]:
        """Of each type."""
        first, last = self._kept[0].events, self._kept[-1].events
        rows: list[EventRow] = []
        for name, counters in last.items():
            before = _sums([first[name]]) if name in first else (0, 0, 0)
            received, delivered, dropped = self._between(_sums([counters]), before)
            rows.append(EventRow(name, received, delivered, dropped, counters.received))
        return rows


def figures(snapshot: Snapshot, rates: Rates) -> list[tuple[str, str]]:
    """The headline: names and values."""
    shards, process, budget = snapshot.shards, snapshot.process, snapshot.budget
    latencies = [shard.latency_seconds for shard in shards if shard.latency_seconds is not None]
    lags = [loop.lag_seconds for loop in snapshot.loops if loop.lag_seconds is not None]
    received, delivered, dropped = rates.totals()
    queue = f"{sum(shard.queued for shard in shards):,} ({size_text(sum(shard.queue_bytes for shard in shards))})"
    return [
        ("shards ready", f"{snapshot.ready.ready:,}/{snapshot.ready.shards:,}"),
        ("received/s", _rate(received)),
        ("delivered/s", _rate(delivered)),
        ("dropped/s", _rate(dropped)),
        ("latency", _seconds(max(latencies, default=None))),
        ("queue", queue),
        ("loop blocked", _seconds(snapshot.blocked_seconds)),
        ("loop lag", _seconds(max(lags, default=None))),
        ("guilds", f"{sum(shard.guilds for shard in shards):,}"),
        ("reconnects", f"{sum(shard.reconnects for shard in shards):,}"),
        ("listener errors", f"{sum(shard.listener_errors for shard in shards):,}"),
        ("memory", _NONE if process.rss_bytes is None else size_text(process.rss_bytes)),
        ("starts left", _NONE if budget is None else f"{budget.remaining:,}/{budget.total:,}"),
        ("up", _duration(snapshot.time - process.started_at)),
        ("process", f"{process.pid}, {clean(process.propylon)}, Python {clean(process.python)}"),
    ]


def alarm(snapshot: Snapshot) -> str | None:
    """A blocked event loop, by whom and since when: its shards look READY meanwhile, for the engine goes on beating."""
    blocked = snapshot.blocked_seconds
    if snapshot.live.ok and blocked < BLOCKED:
        return None
    culprits = [snapshot.live.listener, *(loop.running for loop in snapshot.loops if loop.blocked_seconds >= BLOCKED)]
    listener = next(filter(None, culprits), None)
    since = snapshot.time - blocked if snapshot.live.since is None else snapshot.live.since
    by = f"in {clean(listener)}" if listener else "nobody knows by what"
    return f"the event loop has been blocked for {_seconds(blocked)}, since {_clock(since)}, {by}"


def shard_line(shard: Shard, now: float) -> str:
    """One shard in two lines or so."""

    def ago(at: float | None) -> str:
        return _NONE if at is None else f"{_duration(now - at)} ago"

    reasons = ", ".join(f"{clean(reason)}: {count:,}" for reason, count in shard.reconnects_by_reason.items())
    parts = [
        f"shard {shard.id} of {shard.count}: {clean(shard.status)}",
        f"latency {_seconds(shard.latency_seconds)}",
        f"guilds {shard.guilds:,}",
        f"queue {shard.queued:,} ({size_text(shard.queue_bytes)})",
        f"received {shard.received:,}",
        f"delivered {shard.delivered:,}",
        f"dropped {shard.dropped:,}",
        f"last frame {ago(shard.last_frame_at)}",
        f"last ACK {ago(shard.last_ack_at)}",
        f"reconnects {shard.reconnects:,}" + (f" ({reasons})" if reasons else ""),
        f"resumes {shard.resumes:,}",
        f"identifies {shard.identifies:,}",
        f"window left {shard.send_window_left}",
    ]
    if shard.identify_blocked_until is not None:
        parts.append(f"identify blocked until {_clock(shard.identify_blocked_until)}")
    return "  ".join(parts)
