"""Names of code that our documents write as such are there: of the package, of files, and of ``make``."""

import importlib
import re
from collections.abc import Iterator
from functools import cache

import pytest
from blocks import REPOSITORY, documents

import propylon

_LITERAL = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\(.*\))?")
_FILE = re.compile(r"(?:benches|docs|examples|python|rust|tests)/[\w./*-]+")
_MAKE = re.compile(r"make ([a-z][a-z-]*)")
_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
MODULES = ("propylon", "propylon.events", "propylon.models", "propylon.cluster", "propylon.testing")
TARGETS = frozenset(_TARGET.findall((REPOSITORY / "Makefile").read_text("utf-8")))
PAST = {"CHANGELOG.md"}
"""Tells of what was."""


OF_OTHERS = ("adapters.md", "migration/", "protocol-coverage.md")
"""Where a name may be another library's, which has a `Guild` too."""


def literals() -> Iterator[tuple[str, str]]:
    """Document and text of all that is written as code within a line."""
    for document in documents():
        if document.name in PAST:
            continue
        text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        name = document.relative_to(REPOSITORY / "docs" if "docs" in document.parts else REPOSITORY).as_posix()
        yield from ((name, literal) for literal in _LITERAL.findall(text))


@cache
def module_of(first: str) -> object | None:
    """The thing that a public name means, wherever it is public; modules by their names."""
    for name in MODULES:
        module = importlib.import_module(name)
        if first in getattr(module, "__all__", ()):
            thing: object = getattr(module, first)
            return thing
    return None


@cache
def told_by_the_source() -> str:
    """All Python source: loggers and metrics are names of ours in quotes."""
    package = REPOSITORY / "python" / "propylon"
    return "\n".join(file.read_text("utf-8") for file in package.rglob("*.py"))


def is_there(dotted: str) -> bool:
    """Whether a dotted name leads to something; what begins with none of our names is not ours to judge."""
    first, *rest = dotted.split(".")
    thing = propylon if first == "propylon" else module_of(first)
    if thing is None:
        return True
    at = first
    for part in rest:
        at = f"{at}.{part}"
        fields = getattr(thing, "__struct_fields__", ()) or ()
        hints = {name for base in getattr(thing, "__mro__", ()) for name in getattr(base, "__annotations__", {})}
        if hasattr(thing, part):
            thing = getattr(thing, part)
        elif first == "propylon" and at.startswith("propylon"):
            try:
                thing = importlib.import_module(at)
            except ModuleNotFoundError as error:
                # One that stands on a library which is not here.
                return error.name is not None and not error.name.startswith("propylon")
        else:
            return part in fields or part in hints
    return True


def test_names_of_the_package_are_there() -> None:
    wrong = []
    for document, literal in literals():
        match = _DOTTED.fullmatch(literal)
        if match is None or f'"{match[1]}"' in told_by_the_source() or document.startswith(OF_OTHERS):
            continue
        if not is_there(match[1]):
            wrong.append(f"{document}: {literal}")
    assert not wrong


def test_files_are_there() -> None:
    named = ((f"{document}: {name}", name) for document, literal in literals() for name in _FILE.findall(literal))
    assert not [told for told, name in named if "*" not in told and not (REPOSITORY / name.rstrip("./")).exists()]


def test_targets_of_make_are_there() -> None:
    wrong = []
    for document, literal in literals():
        match = _MAKE.match(literal)
        if match and match[1] not in TARGETS:
            wrong.append(f"{document}: {literal}")
    assert not wrong


@pytest.mark.parametrize(
    "name", ["Gateway.nothing", "propylon.nothing", "Intents.GUILD_MESAGES", "MessageCreate.contents"]
)
def test_a_wrong_name_is_found(name: str) -> None:
    assert not is_there(name)
    assert is_there(name.split(".")[0] + ".__doc__")
