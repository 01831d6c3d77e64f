"""Draws a plot for each table of README.md into docs/images, from results.json: `make plots`."""

import argparse
import json
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.figure import Figure
from scenarios import SECTIONS, Section

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
IMAGES = HERE.parent / "docs" / "images"

OURS, THEIRS, FLOOR = "#5865f2", "#9aa0aa", "#d5d8de"
GROUND = "white"
"""Under dark pages too: what is grey on both can be read on neither."""


def plot(section: Section, results: dict[str, list[float]]) -> Figure:
    """CPU of an event by case, the least at the top: medians as bars, and on them from the least to the most."""
    cases = sorted(
        (case for case in section.cases if results.get(case.name)), key=lambda case: median(results[case.name])
    )
    middles = [median(results[case.name]) for case in cases]
    figure = Figure(figsize=(7.2, 0.9 + 0.32 * len(cases)), facecolor=GROUND, layout="constrained")
    axes = figure.subplots()
    colours = {"propylon_bot": OURS, "floor": FLOOR}
    axes.barh(
        [case.name for case in cases],
        middles,
        color=[colours.get(case.client, THEIRS) for case in cases],
        xerr=[
            [middle - min(results[case.name]) for case, middle in zip(cases, middles, strict=True)],
            [max(results[case.name]) - middle for case, middle in zip(cases, middles, strict=True)],
        ],
        error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#40444b"},
    )
    axes.invert_yaxis()
    if max(middles) > 12 * min(middles):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    reach = max(max(results[case.name]) for case in cases)
    for row, (case, middle) in enumerate(zip(cases, middles, strict=True)):
        axes.annotate(f"{middle:.3g}", (max(results[case.name]), row), (5, 0), textcoords="offset points", va="center")
    axes.set_xlim(right=reach * (1.6 if axes.get_xscale() == "log" else 1.15))
    axes.set_xlabel("µs of CPU for an event, the whole process; less is better")
    axes.set_title(section.title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--into", type=Path, default=IMAGES)
    chosen = parser.parse_args()
    # The same bytes for the same results; text stays text.
    mpl.rcParams |= {"svg.hashsalt": "propylon", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
    results = json.loads(chosen.results.read_text())
    for section in SECTIONS:
        if results.get(section.name):
            path = chosen.into / f"bench-{section.name.replace('/', '-')}.svg"
            plot(section, results[section.name]).savefig(path, metadata={"Date": None, "Creator": None})
            print(path.name)


if __name__ == "__main__":
    main()
