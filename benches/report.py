"""From runs to tables: medians, ratios of pairs, and the results between the markers of the README."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from scenarios import LOOP, SECTIONS, TARGETS, Section

Runs = dict[tuple[str, str], list[dict[str, Any]]]
"""Section and case to the results of its rounds, in the order of the rounds (None where one failed)."""

BEGIN, END = "<!-- {}: written by --write-readme -->", "<!-- end of {} -->"
PACKAGES = ("aiohttp", "zstandard", "backports.zstd", "msgspec", "orjson", "discord.py", "hikari", "uvloop")


def _values(runs: Runs, section: str, case: str, key: str) -> list[float]:
    return [run[key] for run in runs.get((section, case), []) if run is not None and run.get(key) is not None]


def ratios(runs: Runs, section: str, case: str, other: str) -> list[float]:
    """CPU of the other divided by the case's, round by round: how many times the events per CPU-second."""
    pairs = zip(runs.get((section, case), []), runs.get((section, other), []), strict=False)
    return [b["cpu_us"] / a["cpu_us"] for a, b in pairs if a is not None and b is not None]


def _span(values: list[float], digits: int = 2) -> str:
    if not values:
        return "–"
    middle = f"{median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _mib(values: list[float]) -> str:
    return f"{median(values) / 2**20:.0f}" if values else "–"


def _rows(section: Section, runs: Runs, rate: float) -> Iterator[list[str]]:
    against = "× loop"
    if section.paced:
        yield ["client", "CPU ms per s", "µs/event", against, "waits/event", "wake-ups/event", "p50 ms", "p99 ms"]
    else:
        yield [
            "client",
            "µs/event",
            "of it on the loop",
            "events per CPU-s",
            against,
            "RSS before",
            "peak",
            "after (MiB)",
        ]
    for case in section.cases:
        cpu = _values(runs, section.name, case.name, "cpu_us")
        if not cpu:
            continue
        times = _span(ratios(runs, section.name, case.name, LOOP))
        if section.paced:

            def middle(key: str, scale: float, digits: int, case: str = case.name) -> str:
                values = _values(runs, section.name, case, key)
                return f"{median(values) * scale:.{digits}f}" if values else "–"

            yield [
                case.name,
                f"{median(cpu) * rate / 1000:.1f}",
                _span(cpu),
                times,
                middle("waits_per_event", 1, 2),
                middle("wakeups_per_event", 1, 2),
                middle("latency_p50", 1000, 2),
                middle("latency_p99", 1000, 2),
            ]
        else:
            memory = [
                _mib(_values(runs, section.name, case.name, f"rss_{when}")) for when in ("before", "peak", "after")
            ]
            loop = _values(runs, section.name, case.name, "loop_thread_us")
            on_loop = f"{median(loop):.2f}" if loop else "–"
            yield [case.name, _span(cpu), on_loop, f"{1e6 / median(cpu):,.0f}", times, *memory]


def _table(rows: Iterator[list[str]]) -> str:
    head, *body = rows
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def _targets(runs: Runs) -> str:
    def rows() -> Iterator[list[str]]:
        yield ["target", "asked", "measured", ""]
        for target in TARGETS:
            times = ratios(runs, target.section, target.case, target.other)
            if not times:
                continue
            if target.least is not None:
                met = median(times) >= target.least
                asked = f"≥ {target.least} ×"
            else:
                times = [1 / ratio for ratio in times]
                met = median(times) <= target.most
                asked = f"≤ {target.most} ×"
            yield [target.text, asked, _span(times), "met" if met else "**not met**"]

    return _table(rows())


def tables(runs: Runs, rate: float) -> str:
    """All sections that have results, and the targets."""
    parts = []
    for section in SECTIONS:
        if any((section.name, case.name) in runs for case in section.cases):
            title = section.title + (f" at {rate:,.0f} events/s" if section.paced else "")
            parts.append(f"### {title}\n\n{_table(_rows(section, runs, rate))}")
    parts.append(f"### Targets\n\n{_targets(runs)}")
    return "\n\n".join(parts)


def machine() -> str:
    """The machine, the interpreter, the packages, the commit; no paths."""

    def git(*arguments: str) -> str:
        where = Path(__file__).parent
        return subprocess.run(
            ["git", *arguments], cwd=where, capture_output=True, text=True, check=False
        ).stdout.strip()

    model = platform.machine()
    with open("/proc/cpuinfo") as facts:
        found = re.search(r"model name\s*: (.*)", facts.read())
    if found:
        model = found[1]
    packages = []
    for name in PACKAGES:
        try:
            packages.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    dirty = git("status", "--porcelain", "--untracked-files=no", "--", "../python", "../rust", "../Cargo.lock")
    commit = (git("rev-parse", "--short", "HEAD") or "unknown") + (" and changes since" if dirty else "")
    return "\n".join(
        [
            f"- {model}, {os.cpu_count()} cores; {platform.system()} {platform.release()}; "
            f"load average at the start {os.getloadavg()[0]:.1f}",
            f"- {platform.python_implementation()} {platform.python_version()}; {', '.join(packages)}",
            f"- Propylon {importlib.metadata.version('propylon')}, commit {commit}",
        ]
    )


def write_results(runs: Runs) -> None:
    """Keep what the plots are made of: µs of CPU an event, by section, case and round."""
    results: dict[str, dict[str, list[float]]] = {}
    for section, case in runs:
        results.setdefault(section, {})[case] = [round(us, 3) for us in _values(runs, section, case, "cpu_us")]
    (Path(__file__).parent / "results" / "events.json").write_text(json.dumps(results, indent=1) + "\n")


def write_readme(text: str, what: str = "results") -> None:
    """Put a part of the results between its markers."""
    path = Path(__file__).with_name("README.md")
    begin, end = BEGIN.format(what), END.format(what)
    before, found, rest = path.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"README.md has no place for {what}")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
