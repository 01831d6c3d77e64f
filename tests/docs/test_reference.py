"""The reference has every public name, once, and each of them tells what it is. `make docs` builds it."""

import ast
import importlib
import re
from collections import Counter
from collections.abc import Iterator
from inspect import isfunction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from blocks import REPOSITORY

import propylon
from propylon.testing import steps

PUBLIC = (
    "propylon",
    "propylon.cluster",
    "propylon.events",
    "propylon.logs",
    "propylon.models",
    "propylon.otel",
    "propylon.recording",
    "propylon.testing",
    "propylon.testing.steps",
)
ELSEWHERE = {"propylon.testing.steps", "propylon.cluster.NoOwner"}
"""A module, and an error that stands with the others."""
PACKAGE = Path(propylon.__file__).parent
DIRECTIVE = re.compile(r"^\.\. (currentmodule|auto\w+|py:\w+):: (\S+)\n((?: +\S.*\n?)*)", re.MULTILINE)


def public_names(module: str) -> list[str]:
    """What its ``__all__`` says, but for what is documented elsewhere."""
    return [name for name in importlib.import_module(module).__all__ if f"{module}.{name}" not in ELSEWHERE]


PUBLIC_NAMES = [f"{module}.{name}" for module in PUBLIC for name in public_names(module)]
OF_MSGSPEC = {"propylon.models.UNSET", "propylon.models.UnsetType"}
"""The reference says itself what they are."""


def referenced() -> Iterator[str]:
    """What the pages of the reference document."""
    for page in sorted((REPOSITORY / "docs" / "reference").rglob("*.rst")):
        module = ""
        for directive, name, options in DIRECTIVE.findall(page.read_text("utf-8")):
            if directive == "currentmodule":
                module = name
            elif directive != "automodule":
                yield name if name.startswith("propylon.") else f"{module}.{name}"
            elif ":members:" in options:
                yield from (f"{name}.{member}" for member in public_names(name))


def texts_of_values() -> Iterator[str]:
    """The names of constants and aliases that have a text below them in the source."""
    for file in PACKAGE.rglob("*.py"):
        body = ast.parse(file.read_text("utf-8")).body
        for statement, following in pairwise(body):
            target = getattr(statement, "target", None) or next(iter(getattr(statement, "targets", [])), None)
            match target, following:
                case ast.Name(id=name), ast.Expr(value=ast.Constant(value=str())):
                    yield name
                case _:
                    pass


TEXTS_OF_VALUES = frozenset(texts_of_values())


def thing_of(name: str) -> Any:
    """What it names."""
    module, _, member = name.rpartition(".")
    return getattr(importlib.import_module(module), member)


def test_every_step_is_public() -> None:
    assert {*steps.__all__} == {name for name, thing in vars(steps).items() if isfunction(thing) and name[0] != "_"}


def test_every_public_name_is_in_the_reference_once() -> None:
    """Those of `propylon.errors` are all names of `propylon` too."""
    fixtures = [f"propylon.testing.plugin.propylon_{name}" for name in ("gateway", "simulator")]
    assert Counter(referenced()) == Counter([*PUBLIC_NAMES, *fixtures])
    assert {*importlib.import_module("propylon.errors").__all__} <= {*propylon.__all__}


@pytest.mark.parametrize("name", [name for name in PUBLIC_NAMES if name not in OF_MSGSPEC])
def test_every_public_name_has_a_docstring(name: str) -> None:
    """Of its own, not inherited, and not the one that a dataclass makes up."""
    thing, member = thing_of(name), name.rpartition(".")[2]
    if isinstance(thing, type):
        text = vars(thing).get("__doc__") or ""
        assert text.strip()
        assert not text.startswith(f"{member}(")
    elif isfunction(thing):
        assert (thing.__doc__ or "").strip()
    else:
        assert member in TEXTS_OF_VALUES


def test_the_stub_tells_all_of_dispatch() -> None:
    """The reference takes the compiled class from its stub."""
    stub = ast.parse((PACKAGE / "_core.pyi").read_text("utf-8"))
    (dispatch,) = [node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == "Dispatch"]
    assert ast.get_docstring(dispatch)
    told = {
        node.name
        for node in dispatch.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and ast.get_docstring(node)
    }
    assert told == {name for name in vars(propylon.Dispatch) if not name.startswith("_")}
