"""``propylon top``: what a bot's admin server tells, in a terminal, or once as plain text or JSON."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from propylon._signals import Stoppable
from propylon.cli._process import complain
from propylon.cli._top_snapshot import Snapshot, Unanswered, fetch
from propylon.cli._top_tables import (
    EVENTS,
    LISTENERS,
    RECONNECTS,
    Rates,
    alarm,
    clean,
    figures,
    reconnect_rows,
    sorted_rows,
)

__all__ = ["once", "watch"]

_APART: Final = 1.0
"""Seconds between the two snapshots that rates need."""
_FEW: Final = 20
"""Rows of a table in plain text."""


def _columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned to the right, but for the last column, which is names."""
    shown = [heads, *rows[:_FEW]]
    widths = [max(len(row[at]) for row in shown) for at in range(len(heads) - 1)]
    lines = ["  ".join([*(f"{row[at]:>{width}}" for at, width in enumerate(widths)), row[-1]]) for row in shown]
    return [*lines, f"and {len(rows) - _FEW} more"] if len(rows) > _FEW else lines


def _plain(snapshot: Snapshot, rates: Rates) -> list[str]:
    told = figures(snapshot, rates)
    width = max(len(name) for name, _ in told)
    lines = [f"{name:<{width}}  {value}" for name, value in told]
    trouble = alarm(snapshot)
    if trouble is not None:
        lines = [f"ALARM: {trouble}", *lines]
    statuses = Counter(shard.status for shard in snapshot.shards)
    lines.append(f"{'fleet':<{width}}  {', '.join(f'{clean(name)} {count:,}' for name, count in statuses.items())}")
    lines += ["", *_columns([column.title for column in EVENTS], sorted_rows(rates.events(), EVENTS, 0))]
    lines += ["", *_columns([column.title for column in LISTENERS], sorted_rows(snapshot.listeners, LISTENERS, 0))]
    return [*lines, "", *_columns(RECONNECTS, reconnect_rows(snapshot))]


async def once(base: str, *, as_json: bool) -> int:
    """Print it; the exit code, 1 where nobody answers."""
    try:
        first, body = await asyncio.to_thread(fetch, base)
        if as_json:
            print(body.decode("utf-8", "replace"))
            return 0
        rates = Rates()
        rates.add(first)
        await asyncio.sleep(_APART)
        last, _ = await asyncio.to_thread(fetch, base)
        rates.add(last)
    except Unanswered as error:
        complain(str(error))
        return 1
    print("\n".join(_plain(last, rates)))
    return 0


async def watch(base: str, signals: Stoppable) -> int:
    """Show it in the terminal until the user has seen enough; the exit code."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        complain("top draws on a terminal, and this is none; use --once, or --once --json")
        return 1
    if find_spec("textual") is None:
        complain('top draws with textual, not installed here: pip install "propylon[cli]"; --once needs none')
        return 1
    # A large import: only where something is drawn with it.
    from propylon.cli._top_view import Top

    app = Top(base)
    await app.run_async()
    # Textual takes being cancelled for the end of the app, and puts the terminal back as it was.
    return (app.return_code or 0) if signals.caught is None else 128 + signals.caught
