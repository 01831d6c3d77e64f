"""How ``propylon top`` looks and what its keys do. Imports Textual; nothing else does."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.geometry import Region
from textual.message import Message
from textual.widgets import DataTable, Footer, Static

from propylon.cli._top_snapshot import Shard, Snapshot, Unanswered, fetch
from propylon.cli._top_tables import (
    EVENTS,
    LETTERS,
    LISTENERS,
    RECONNECTS,
    Rates,
    alarm,
    figures,
    reconnect_rows,
    shard_line,
    sorted_rows,
)

__all__ = ["Fleet", "Rows", "Top"]

_EVERY: Final = 1.0
"""Seconds between two questions."""
_MOST: Final = 200
"""Rows of a table: as many as anybody scrolls through."""

_KEPT: Final = (" ", "\N{NO-BREAK SPACE}")
"""A name stays on the line of its value."""
_NARROW: Final = 150
"""Columns of the terminal below which tables stand one above the other, so that names are not cut off."""

_STYLES: Final = {"READY": "bold black on green", "DISCONNECTED": "bold white on red", "UNCONNECTED": "white on grey35"}
_BUSY: Final = "bold black on yellow"
"""Any other status: on the way to READY."""


class Fleet(Static, can_focus=True):
    """A cell for each shard, with the letter of its status; arrows choose one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "shard", show=False),
        Binding("right", "move(1)", "shard", show=False),
        Binding("up", "move_row(-1)", "shard", show=False),
        Binding("down", "move_row(1)", "shard", show=False),
        Binding("home", "move(-1_000_000)", "first shard", show=False),
        Binding("end", "move(1_000_000)", "last shard", show=False),
    ]

    class Chosen(Message):
        """Another shard is to be shown."""

    def __init__(self) -> None:
        """No shards yet."""
        super().__init__(id="fleet")
        self.chosen = 0
        self._statuses: list[str] = []

    @property
    def per_row(self) -> int:
        """Cells in a row: two columns each, a letter and a gap."""
        return max(1, (self.size.width + 1) // 2)

    def fill(self, shards: Sequence[Shard]) -> None:
        """New shards, or new states of theirs; draws where something has changed."""
        statuses = [shard.status for shard in shards]
        if statuses == self._statuses:
            return
        self._statuses = statuses
        self.chosen = max(0, min(self.chosen, len(statuses) - 1))
        self._draw()

    def on_resize(self) -> None:
        """Another number of cells fits in a row."""
        self._draw()

    def _draw(self) -> None:
        rows: list[Text] = []
        for start in range(0, len(self._statuses), self.per_row):
            row = Text()
            for at in range(start, min(start + self.per_row, len(self._statuses))):
                status = self._statuses[at]
                style = _STYLES.get(status, _BUSY)
                row.append(LETTERS.get(status, "?"), f"{style} reverse underline" if at == self.chosen else style)
                row.append(" ")
            row.right_crop(1)
            rows.append(row)
        self.update(Text("\n").join(rows))

    def action_move(self, by: int) -> None:
        """So many shards on."""
        to = max(0, min(self.chosen + by, len(self._statuses) - 1))
        if to != self.chosen:
            self.chosen = to
            self._draw()
            self.query_ancestor(VerticalScroll).scroll_to_region(Region(0, to // self.per_row, 1, 1), animate=False)
            self.post_message(self.Chosen())

    def action_move_row(self, by: int) -> None:
        """So many rows on, where there is one."""
        if 0 <= self.chosen + by * self.per_row < len(self._statuses):
            self.action_move(by * self.per_row)


class Rows(DataTable[Text]):
    """A table whose rows are replaced in their places, so that what the user scrolled to stays there."""

    def __init__(self, name: str, heads: Sequence[str], *, sortable: bool = True) -> None:
        """Without rows yet."""
        super().__init__(id=name, cursor_type="row", zebra_stripes=True)
        self.heads: Final = list(heads)
        self.sortable: Final = sortable
        self.by = 0
        self._shown: list[list[str]] = []

    def on_mount(self) -> None:
        """The headings."""
        for at, head in enumerate(self.heads):
            self.add_column(self._head(at), key=head)

    def _head(self, at: int) -> Text:
        return Text(f"{self.heads[at]} ▾" if self.sortable and at == self.by else f"{self.heads[at]}  ".rstrip())

    def sort_next(self) -> None:
        """By the next column."""
        self.by = (self.by + 1) % len(self.heads)
        for at, column in enumerate(self.ordered_columns):
            column.label = self._head(at)
        # Labels are not watched; the cells follow with the new order.
        self._shown = []
        self.clear()

    def fill(self, rows: Sequence[Sequence[str]]) -> None:
        """The rows as they are now."""
        wanted = [list(row) for row in rows[:_MOST]]
        while len(self._shown) > len(wanted):
            self._shown.pop()
            self.remove_row(str(len(self._shown)))
        for at, row in enumerate(wanted):
            if at == len(self._shown):
                self.add_row(*(self._cell(place, text) for place, text in enumerate(row)), key=str(at))
                self._shown.append(row)
                continue
            for place, text in enumerate(row):
                if self._shown[at][place] != text:
                    self.update_cell(str(at), self.heads[place], self._cell(place, text), update_width=True)
            self._shown[at] = row

    def _cell(self, place: int, text: str) -> Text:
        return Text(text, justify="left" if place == len(self.heads) - 1 else "right")


class Top(App[None]):
    """The same facts as the dashboard's, asked for once a second."""

    TITLE = "propylon top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #alarm, #lost { height: auto; padding: 0 1; background: red; color: white; text-style: bold; display: none; }
    #alarm.shown, #lost.shown { display: block; }
    #figures { height: auto; padding: 0 1; }
    #map { height: auto; max-height: 30%; border: round $primary; }
    #map:focus-within { border: round $accent; }
    #fleet { width: 1fr; height: auto; }
    #shard { height: auto; min-height: 2; padding: 0 1; }
    #tables { height: 1fr; }
    #side { width: 1fr; }
    DataTable { height: 1fr; border: round $primary; }
    DataTable:focus { border: round $accent; }
    #events { width: 1fr; }
    .narrow #tables { layout: vertical; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "quit"),
        Binding("s", "sort", "sort by the next column"),
        Binding("p", "pause", "pause"),
        Binding("tab", "app.focus_next", "next table"),
    ]

    def __init__(self, base: str, *, every: float = _EVERY) -> None:
        """Ask there, every so many seconds."""
        super().__init__()
        self._base: Final = base
        self._every: Final = every
        self._rates: Final = Rates()
        self._latest: Snapshot | None = None
        self.paused = False

    def compose(self) -> ComposeResult:
        """From the top to the bottom."""
        yield Static(id="lost")
        yield Static(id="alarm")
        yield Static(f"asking {self._base}", id="figures")
        with VerticalScroll(id="map", can_focus=False):
            yield Fleet()
        yield Static(id="shard")
        with Horizontal(id="tables"):
            yield Rows("events", [column.title for column in EVENTS])
            with Vertical(id="side"):
                yield Rows("listeners", [column.title for column in LISTENERS])
                yield Rows("reconnects", RECONNECTS, sortable=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to ask."""
        for name in ("events", "listeners", "reconnects"):
            self.query_one(f"#{name}").border_title = name
        self.query_one(Fleet).focus()
        self.run_worker(self._ask(), exclusive=True)

    def on_resize(self) -> None:
        """One table below the other where two do not fit side by side."""
        self.screen.set_class(self.size.width < _NARROW, "narrow")

    async def _ask(self) -> None:
        while True:
            found, trouble = None, None
            try:
                found, _ = await asyncio.to_thread(fetch, self._base)
            except Unanswered as error:
                trouble = f"LOST: {error} What is shown is old; trying again."
            if not self.is_running:
                # It ends: what could be drawn on goes away first, and this worker last.
                return
            self._say("lost", trouble)
            if found is not None and not self.paused:
                self._latest = found
                self._rates.add(found)
                self._draw()
            await asyncio.sleep(self._every)

    def _say(self, where: str, text: str | None) -> None:
        line = self.query_one(f"#{where}", Static)
        line.set_class(text is not None, "shown")
        line.update(Text(text or ""))

    def _draw(self) -> None:
        latest = self._latest
        if latest is None:
            return
        self._say("alarm", (text := alarm(latest)) and f"ALARM: {text}")
        told = Text("  ").join(
            Text.assemble((f"{name} ".replace(*_KEPT), "dim"), (value.replace(*_KEPT), "bold"))
            for name, value in figures(latest, self._rates)
        )
        if self.paused:
            told = Text.assemble(("PAUSED  ", "bold reverse"), told)
        self.query_one("#figures", Static).update(told)
        self.query_one(Fleet).fill(latest.shards)
        self._draw_shard()
        events, listeners = self.query_one("#events", Rows), self.query_one("#listeners", Rows)
        events.fill(sorted_rows(self._rates.events(), EVENTS, events.by))
        listeners.fill(sorted_rows(latest.listeners, LISTENERS, listeners.by))
        self.query_one("#reconnects", Rows).fill(reconnect_rows(latest))

    def _draw_shard(self) -> None:
        if self._latest is not None and self._latest.shards:
            shard = self._latest.shards[self.query_one(Fleet).chosen]
            self.query_one("#shard", Static).update(Text(shard_line(shard, self._latest.time)))

    def on_fleet_chosen(self) -> None:
        """Show that shard."""
        self._draw_shard()

    def action_sort(self) -> None:
        """Sort the table that has the focus, or else the events, by its next column."""
        table = self.focused if isinstance(self.focused, Rows) and self.focused.sortable else None
        (table or self.query_one("#events", Rows)).sort_next()
        self._draw()

    def action_pause(self) -> None:
        """Let what is shown stand still, or go on."""
        self.paused = not self.paused
        self._draw()
