"""The how-to pages show the programs of ``examples/`` themselves, and each program is shown and run."""

import re
from pathlib import Path

from .programs import EXAMPLES

ROOT = EXAMPLES.parent
PAGES = ROOT / "docs" / "howto"
INCLUDE = re.compile(r"^```\{literalinclude\} (\S+)$", re.MULTILINE)


def shown() -> dict[str, list[Path]]:
    """By the page's name, the files that it includes."""
    return {
        page.stem: [(page.parent / name).resolve() for name in INCLUDE.findall(page.read_text("utf-8"))]
        for page in PAGES.glob("*.md")
    }


def programs() -> set[Path]:
    return {path for path in EXAMPLES.rglob("*.py") if path.name != "stand_ins.py"}


def test_each_page_but_the_index_shows_a_program_that_is_there() -> None:
    pages = shown()
    assert pages.pop("index") == []
    assert len(pages) >= 10
    for page, files in pages.items():
        assert files, page
        for file in files:
            assert file.is_file(), f"{page}: {file}"


def test_each_program_has_a_page_or_is_named_on_the_index() -> None:
    included = {file for files in shown().values() for file in files}
    index = (PAGES / "index.md").read_text("utf-8")
    missing = {path.name for path in programs() - included if f"/{path.name})" not in index}
    assert not missing


def test_each_page_is_named_on_the_index_and_says_how_it_is_run_and_what_to_watch_out_for() -> None:
    index = (PAGES / "index.md").read_text("utf-8")
    for page in shown().keys() - {"index"}:
        assert f"({page}.md)" in index
        text = (PAGES / f"{page}.md").read_text("utf-8")
        for heading in ("## Run it", "## What to watch out for", "## Reference"):
            assert f"\n{heading}\n" in text, page


def test_each_program_is_run_by_a_test() -> None:
    tests = "".join(
        path.read_text("utf-8")
        for folder in ("examples", "cli")
        for path in (ROOT / "tests" / folder).glob("test_*.py")
        if path != Path(__file__)
    )
    assert {path.name for path in programs() if f'"{path.name}"' not in tests} == set()
