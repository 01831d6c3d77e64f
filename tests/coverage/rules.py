"""The rules and the tests that prove them: reads the TOML files here, and finds all tests without running any.

A rule names its tests as one types them: Rust's by the end of their path (``heartbeat::s4_1_...``), Python's by file
and name below ``tests/``. Owns what is a rule and what is a test; `table` owns how they are shown.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RUST, PYTHON = ROOT / "rust", ROOT / "tests"


@dataclass
class Test:
    """A test, and the sections, cases and invariants that its name or docstring carries: ``{"§4", "F14"}``."""

    name: str
    file: Path
    marks: set[str] = field(default_factory=set)


@dataclass
class Rule:
    """What a client must do, and what proves that ours does."""

    text: str
    tests: list[str]
    why: str = ""
    """Why no test proves it, or what the tests leave out."""


@dataclass
class Group:
    """A section of the protocol, or a kind of fault."""

    title: str
    rules: list[Rule]


@dataclass
class Mutation:
    """A change to one line of our code that a test must notice."""

    file: str
    change: str
    old: str
    new: str
    fails: str


@dataclass
class Regression:
    """Where other clients break, and what keeps ours from it."""

    elsewhere: str
    who: str
    ours: str
    tests: list[str]
    mutations: list[Mutation]


# ---------------------------------------------------------------- the rules


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _rule(text: str, value: Any) -> Rule:
    if isinstance(value, dict):
        return Rule(text, _names(value.get("tests", [])), value["why"])
    return Rule(text, _names(value))


def groups(file: str) -> list[Group]:
    """The groups of ``protocol.toml`` or ``faults.toml``, in their order."""
    tables = tomllib.loads((HERE / file).read_text())
    return [Group(title, [_rule(*item) for item in rules.items()]) for title, rules in tables.items()]


def regressions() -> list[Regression]:
    """The rows of ``regressions.toml``."""
    rows = tomllib.loads((HERE / "regressions.toml").read_text())["row"]
    return [
        Regression(
            row["elsewhere"], row["who"], row["ours"], _names(row["tests"]), [Mutation(**m) for m in row["mutation"]]
        )
        for row in rows
    ]


def claims() -> dict[str, list[str]]:
    """The tests by what their rules stand under: a section (``§4``), a case (``F14``, ``H1``) or an invariant."""
    claimed: dict[str, list[str]] = {}
    for group in groups("protocol.toml"):
        for rule in group.rules:
            claimed.setdefault(f"§{group.title.split()[0]}", []).extend(rule.tests)
    for group in groups("faults.toml"):
        for rule in group.rules:
            if number := re.match(r"[FHI]\d+ ", rule.text):
                claimed.setdefault(number[0].strip(), []).extend(rule.tests)
    return claimed


# ---------------------------------------------------------------- the tests

_RUST_TEST = re.compile(r"#\[(?:tokio::)?test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn (\w+)")
_RUST_MODULE = re.compile(r"^mod (\w+) \{", re.MULTILINE)
_RUST_PATH = re.compile(r'#\[path = "([^"]+)"\]\s*mod (\w+);')
_IN_NAME = re.compile(r"(?<![a-z0-9])([fshi])(\d{1,2})(?=_)")
_IN_TEXT = re.compile(r"\b([FHI])(\d{1,2})\b(?: to F(\d\d))?|(?<!faults\.md )(?<!design\.md )(§)(\d+)")


def _marks_of_name(name: str) -> set[str]:
    return {"§" + number if kind == "s" else kind.upper() + number for kind, number in _IN_NAME.findall(name)}


def _marks_of_text(text: str) -> set[str]:
    marks: set[str] = set()
    for kind, number, last, section, section_number in _IN_TEXT.findall(text):
        if section:
            marks.add(section + section_number)
        elif last:
            marks |= {f"F{number:02}" for number in range(int(number), int(last) + 1)}
        else:
            marks.add(kind + number)
    return marks


def _rust_module(file: Path, elsewhere: dict[Path, str]) -> str:
    if file in elsewhere:
        return elsewhere[file]
    crate = next(parent for parent in file.parents if parent.parent == RUST)
    if file.is_relative_to(crate / "tests"):
        return file.stem
    parts = list(file.relative_to(crate / "src").with_suffix("").parts)
    if parts[-1] in ("mod", "lib"):
        parts.pop()
    return "::".join(parts)


def rust_tests() -> Iterator[Test]:
    """Every ``#[test]`` with the path that ``cargo test`` knows it by (the file's name before it in ``tests/``)."""
    files = {file: file.read_text() for file in sorted(RUST.rglob("*.rs"))}
    elsewhere: dict[Path, str] = {}
    for file, text in files.items():
        for path, module in _RUST_PATH.findall(text):
            elsewhere[file.parent / path] = f"{_rust_module(file, {})}::{module}"
    for file, text in files.items():
        inline = [(match.start(), match[1]) for match in _RUST_MODULE.finditer(text)]
        for match in _RUST_TEST.finditer(text):
            inside = [name for start, name in inline if start < match.start()][-1:]
            path = "::".join(part for part in [_rust_module(file, elsewhere), *inside, match[1]] if part)
            yield Test(path, file, _marks_of_name(match[1]))


def python_tests() -> Iterator[Test]:
    """Every test function, ``faults/test_x.py::test_y``, methods with their class."""
    for file in sorted(PYTHON.rglob("test_*.py")):
        tree = ast.parse(file.read_text())
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.startswith("Test")]
        for within in [tree, *classes]:
            prefix = f"{file.relative_to(PYTHON).as_posix()}::" + (f"{within.name}::" if within is not tree else "")
            for node in within.body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                    marks = _marks_of_name(node.name) | _marks_of_text(ast.get_docstring(node) or "")
                    yield Test(prefix + node.name, file, marks)


def python_modules() -> Iterator[Test]:
    """Every file of tests with the marks of its own docstring: one of its tests at least is meant."""
    for file in sorted(PYTHON.rglob("test_*.py")):
        text = ast.get_docstring(ast.parse(file.read_text())) or ""
        yield Test(f"{file.relative_to(PYTHON).as_posix()}::", file, _marks_of_text(text))


class Suite:
    """All tests, found by the names that rules use."""

    def __init__(self) -> None:
        self.rust = list(rust_tests())
        self.python = list(python_tests())
        self._python = {test.name: test for test in self.python}
        self._ends: dict[str, list[Test]] = {}
        for test in self.rust:
            parts = test.name.split("::")
            for start in range(len(parts)):
                self._ends.setdefault("::".join(parts[start:]), []).append(test)

    def find(self, name: str) -> Test:
        """The one test of that name.

        Raises:
            LookupError: There is none, or more than one.
        """
        if ".py::" in name:
            if name not in self._python:
                raise LookupError(f"no test {name} below tests/")
            return self._python[name]
        found = self._ends.get(name, [])
        if len(found) != 1:
            raise LookupError(f"{len(found)} Rust tests end in {name}: {[test.name for test in found]}")
        return found[0]
