"""What the migration tables name is there: on our side always, on the other where the library is installed."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import propylon
import propylon.events

MIGRATION = Path(__file__).parents[2] / "docs" / "migration"
ROW = re.compile(r"^\| (.+?) (?<!\\)\| (.+) \|$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
CLASS = re.compile(r"(?<![\w.\"'])[A-Z][a-z]\w*[a-z](?!\w)")
METHOD = re.compile(r"\b(gateway|manager)\.(\w+)")
OTHERS = {"RESTApp", "IntFlag", "Exception", "Group"}
"""Names on our side that are hikari's, Python's, or the reader's."""


def rows(page: str) -> list[tuple[str, str]]:
    found = [row for row in ROW.findall((MIGRATION / f"{page}.md").read_text("utf-8")) if set(row[0]) != {"-"}]
    assert len(found) > 10
    return found


def words(cell: str, pattern: re.Pattern[str]) -> set[Any]:
    return {word for code in CODE.findall(cell) for word in pattern.findall(code)}


@pytest.mark.parametrize("page", ["discordpy", "hikari", "interactionspy", "aiohttp"])
def test_our_names_are_ours(page: str) -> None:
    faces = {"gateway": propylon.Gateway, "manager": propylon.ShardManager}
    checked = 0
    for _, here in rows(page):
        for name in words(here, CLASS) - OTHERS:
            assert hasattr(propylon, name) or hasattr(propylon.events, name), (page, name)
            checked += 1
        for face, name in words(here, METHOD):
            assert hasattr(faces[face], name), (page, face, name)
            checked += 1
    assert checked > 10


def test_hikaris_names_are_hikaris() -> None:
    hikari = pytest.importorskip("hikari", reason="needs hikari")
    names = {name for there, _ in rows("hikari") for name in words(there, re.compile(r"\b[A-Z]\w+Event\b"))}
    assert len(names) > 20
    assert {name for name in names if not hasattr(hikari, name)} == set()
    methods = {name for there, _ in rows("hikari") for name in words(there, re.compile(r"\bbot\.(\w+)"))}
    assert {name for name in methods if not hasattr(hikari.GatewayBot, name)} == set()


def test_discord_pys_events_are_dispatched_by_it() -> None:
    pytest.importorskip("discord", reason="needs discord.py")
    sources = ("discord.state", "discord.gateway", "discord.client", "discord.shard")
    text = "".join(Path(str(importlib.import_module(name).__file__)).read_text("utf-8") for name in sources)
    events = {name for there, _ in rows("discordpy") for name in words(there, re.compile(r"\bon_(\w+)"))}
    assert len(events) > 30
    assert {name for name in events if f"'{name}'" not in text and f"on_{name}" not in text} == set()
