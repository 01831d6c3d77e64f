"""The figures of README.md are those of ``benches/results``, and it is short."""

import json
from statistics import median
from typing import Any

from blocks import REPOSITORY

README = (REPOSITORY / "README.md").read_text("utf-8")


def results(name: str) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads((REPOSITORY / "benches" / "results" / f"{name}.json").read_text("utf-8"))
    return kept


def row(what: str) -> str:
    """The row of README's table that begins so."""
    (found,) = [line for line in README.splitlines() if line.startswith(f"| {what}")]
    return found


def test_cpu_of_an_event() -> None:
    cases = results("events")["mix/zstd"]
    ours, hikari, discord_py, loop = (
        f"{median(cases[name]):.1f}" for name in ("Propylon, typed", "hikari, caches off", "discord.py", "loop, typed")
    )
    told = row("CPU of an event")
    assert f"| {ours} µs | hikari {hikari}, discord.py {discord_py}, a hand-written loop {loop} µs |" in told


def test_a_blocked_loop() -> None:
    adapters = results("adapters")
    kept: dict[str, list[bool]] = {"stock": [], "adapted": []}
    for run in adapters["blocked"]:
        kept[run["mode"]].append(run["survived"])
    told = row(f"bots connected after a loop blocked for {adapters['options']['block']:g} s")
    assert f"| {sum(kept['adapted'])} of {len(kept['adapted'])} |" in told
    assert f"as they come: {sum(kept['stock'])} of {len(kept['stock'])} |" in told


def test_memory_of_a_shard() -> None:
    ours, discord_py, hikari = (
        f"{median(results('memory')['kib_a_shard'][name]):.0f}" for name in ("Propylon", "discord.py", "hikari")
    )
    assert f"| {ours} KiB | discord.py {discord_py}, hikari {hikari} KiB, caches off |" in row(
        "memory of a quiet shard"
    )


def test_a_cluster() -> None:
    kept, text = results("cluster"), (REPOSITORY / "docs" / "performance.md").read_text("utf-8")
    told = text.partition("## A cluster\n")[2].partition("\n## ")[0]
    for what in ("cluster, flat out", "in one process, flat out", "Redis Streams, flat out"):
        assert f" {kept[what]['rate']:,.0f}" in told.replace("\n", " ")
        assert kept[what]["lost"] == 0
    paced = kept["cluster, paced"]
    assert f"{paced['p50_ms']:.1f} ms after the event was made (p99 {paced['p99_ms']:.1f} ms)" in told
    assert f"{kept['cluster, flat out']['cpu_us']['host']:.1f} µs an event" in told


def test_readme_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) < 150
