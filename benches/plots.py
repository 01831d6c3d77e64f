"""Draws the results in ``benches/results`` into docs/images: `make plots`. No figure of a plot is written here.

A plot for each table of README.md, from ``events.json``; and the three of the documents' first page: CPU of an event, a
blocked event loop (``adapters.json``), memory of a shard (``memory.json``). The ground is transparent and all else has
colours that can be read on a light page and on a dark one, so that one file serves both.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scenarios import DISCORD_PY, DISGO, HIKARI, LOOP, SECTIONS, TWILIGHT, TYPED, Section

HERE = Path(__file__).parent
RESULTS = HERE / "results"
IMAGES = HERE.parent / "docs" / "images"

OURS, THEIRS, FLOOR = "#6b76f5", "#9aa0aa", "#9aa0aa70"
INK = "#777c86"
"""Of text and lines: as far from white as from the black of dark pages."""
OPTIONS: dict[str, Any] = {
    # The same bytes for the same results; text stays text.
    "svg.hashsalt": "propylon",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "savefig.transparent": True,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


def bars(axes: Axes, values: dict[str, list[float]], colours: dict[str, str]) -> None:
    """Medians as bars, on them from the least to the most, and the median in digits."""
    middles = [median(runs) for runs in values.values()]
    low, high = ([function(runs) for runs in values.values()] for function in (min, max))
    axes.barh(
        [*values],
        middles,
        color=[colours.get(name, THEIRS) for name in values],
        xerr=[
            [middle - least for middle, least in zip(middles, low, strict=True)],
            [most - middle for middle, most in zip(middles, high, strict=True)],
        ],
        error_kw={"elinewidth": 1, "capsize": 2, "ecolor": INK},
    )
    axes.invert_yaxis()
    for row, (middle, most) in enumerate(zip(middles, high, strict=True)):
        # Three digits, as the tables have them, but never 1e+02.
        text = f"{middle:.0f}" if middle >= 100 else f"{middle:.3g}"
        axes.annotate(text, (most, row), (5, 0), textcoords="offset points", va="center")
    axes.spines[["top", "right"]].set_visible(False)


def section_plot(section: Section, results: dict[str, list[float]]) -> Figure:
    """CPU of an event by case, the least at the top."""
    cases = sorted(
        (case for case in section.cases if results.get(case.name)), key=lambda case: median(results[case.name])
    )
    kinds = {"propylon_bot": OURS, "floor": FLOOR}
    values = {case.name: results[case.name] for case in cases}
    figure = Figure(figsize=(7.2, 0.9 + 0.32 * len(cases)), layout="constrained")
    axes = figure.subplots()
    bars(axes, values, {case.name: kinds.get(case.client, THEIRS) for case in cases})
    middles = [median(runs) for runs in values.values()]
    if max(middles) > 12 * min(middles):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    reach = max(max(runs) for runs in values.values())
    axes.set_xlim(right=reach * (1.6 if axes.get_xscale() == "log" else 1.15))
    axes.set_xlabel("µs of CPU for an event, the whole process; less is better")
    axes.set_title(section.title, loc="left")
    return figure


def small(values: dict[str, list[float]], label: str, ours: Callable[[str], bool]) -> Figure:
    """One of the three that stand side by side."""
    figure = Figure(figsize=(4.4, 0.75 + 0.36 * len(values)), layout="constrained")
    axes = figure.subplots()
    bars(axes, values, {name: OURS for name in values if ours(name)})
    axes.set_xlim(right=max(max(runs) for runs in values.values()) * 1.18)
    axes.set_xlabel(label)
    return figure


def cpu(events: dict[str, Any]) -> Figure:
    """An event of a large bot's mix, for each client that decodes what its listener reads."""
    names = (TYPED.name, TWILIGHT.name, LOOP, HIKARI.name, DISCORD_PY.name, DISGO.name)
    found = {name: events["mix/zstd"][name] for name in names if events["mix/zstd"].get(name)}
    ordered = dict(sorted(found.items(), key=lambda item: median(item[1])))
    return small(ordered, "µs of CPU for an event; less is better", lambda name: name == TYPED.name)


def blocked(adapters: dict[str, Any]) -> Figure:
    """How many of the bots whose loop was blocked were still connected afterwards, in percent."""
    options = adapters["options"]
    kept: dict[str, list[bool]] = {}
    for run in adapters["blocked"]:
        how = "with Propylon" if run["mode"] == "adapted" else "as it comes"
        kept.setdefault(f"{run['library']}, {how}", []).append(run["survived"])
    figure = Figure(figsize=(4.4, 0.75 + 0.36 * len(kept)), layout="constrained")
    axes = figure.subplots()
    names = sorted(kept, key=lambda name: (-sum(kept[name]), name))
    axes.barh(names, [sum(kept[name]) / len(kept[name]) * 100 for name in names], color=OURS)
    for row, name in enumerate(names):
        place = (sum(kept[name]) / len(kept[name]) * 100, row)
        text = f"{sum(kept[name])} of {len(kept[name])}"
        axes.annotate(text, place, (5, 0), textcoords="offset points", va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, 125)
    axes.set_xticks([0, 50, 100], ["0 %", "50 %", "100 %"])
    axes.set_xlabel(f"connected after {options['block']:g} s of block,\nat a heartbeat of {options['beat']:g} s")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def memory(results: dict[str, Any]) -> Figure:
    """What one more quiet shard takes."""
    values = dict(sorted(results["kib_a_shard"].items(), key=lambda item: median(item[1])))
    label = f"KiB for each of {results['shards']} quiet shards; less is better"
    return small(values, label, lambda name: name == "Propylon")


def figures(results: Path) -> dict[str, Figure]:
    """All, by the names of their files."""

    def read(name: str) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads((results / f"{name}.json").read_text("utf-8"))
        return kept

    events = read("events")
    drawn = {
        f"bench-{section.name.replace('/', '-')}": section_plot(section, events[section.name])
        for section in SECTIONS
        if events.get(section.name)
    }
    return drawn | {
        "home-cpu": cpu(events),
        "home-blocked": blocked(read("adapters")),
        "home-memory": memory(read("memory")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--into", type=Path, default=IMAGES)
    chosen = parser.parse_args()
    mpl.rcParams |= OPTIONS
    for name, figure in figures(chosen.results).items():
        figure.savefig(chosen.into / f"{name}.svg", metadata={"Date": None, "Creator": None})
        print(f"{name}.svg")


if __name__ == "__main__":
    main()
