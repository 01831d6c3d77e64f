"""What autodoc needs to be told about this package, so that docstrings and types are written for their readers alone.

Owns how names in docstrings and annotations find what they mean, and what is shown of compiled and generated classes.
What is in the reference, and in which order, is said by the pages in `docs/reference`.
"""

import __future__

import builtins
import enum
import importlib
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Generic, TypeVar

import typing_extensions
from docutils import nodes
from sphinx.addnodes import desc_content, pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import ExtensionMetadata

import propylon
from propylon._base import ModelMeta

_PUBLIC: Final = (
    "propylon",
    "propylon.cluster",
    "propylon.events",
    "propylon.models",
    "propylon.testing",
    "propylon.testing.steps",
)
_REPOSITORY: Final = "https://github.com/propylon/propylon/blob/main/"

_texts: Final[dict[str, list[str]]] = {}
"""Of what is being documented: its text before napoleon rewrote it."""

T = TypeVar("T")


# ---------------------------------------------------------------- what autodoc finds


class Unchecked(Generic[T]):
    """Takes the place of the one that becomes a union of everything at run time, and shows as it is written."""


def show_as_written() -> None:
    """Give fields the types of the source; at run time they take null too, and stand in another order."""
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith("propylon.")]
    for module in modules:
        classes = [thing for thing in vars(module).values() if isinstance(thing, ModelMeta)]
        own = [cls for cls in classes if cls.__module__ == module.__name__]
        if own:
            analyzer = ModuleAnalyzer.for_module(module.__name__)
            analyzer.analyze()
            for cls in own:
                for (owner, field), text in analyzer.annotations.items():
                    if owner == cls.__qualname__ and field in cls.__annotations__:
                        cls.__annotations__[field] = text
    Unchecked.__doc__ = sys.modules["propylon._base"].Unchecked.__doc__
    Unchecked.__module__ = "propylon.models"
    for module in modules:
        if hasattr(module, "Unchecked"):
            vars(module)["Unchecked"] = Unchecked


def show_the_stub() -> None:
    """Document `propylon.Dispatch` from ``_core.pyi``: a compiled class has no signatures that Python could read."""
    path = Path(propylon.__file__).with_name("_core.pyi")
    stub = ModuleType("propylon._core_stub")
    propylon.__dict__["_core_stub"] = sys.modules[stub.__name__] = stub
    # Only type checkers have it.
    vars(typing).setdefault("type_check_only", lambda kind: kind)
    flags = __future__.annotations.compiler_flag
    exec(compile(path.read_text("utf-8"), str(path), "exec", flags, dont_inherit=True), vars(stub))
    # Generic has one that answers.
    del stub.Dispatch.__class_getitem__
    stub.Dispatch.__module__ = "propylon"
    propylon.__dict__["Dispatch"] = stub.Dispatch


def text_in_source(name: str) -> list[str] | None:
    """What stands below an assignment, in whichever module that is: autodoc looks only where the name is public."""
    for module in [module for module in sys.modules if module.startswith("propylon.") and "._core" not in module]:
        text = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name.rpartition(".")[2]))
        if text:
            return text
    return None


def before_napoleon(_app: Sphinx, what: str, name: str, thing: Any, _options: Any, lines: list[str]) -> None:
    """Literals may not end with a space in reStructuredText. And see `text_in_source`, `after_napoleon`."""
    if what in ("class", "data") and not isinstance(thing, type):
        lines[:] = text_in_source(name) or lines
    parts = "\n".join(lines).split("``")
    if len(parts) % 2:
        parts[1::2] = [literal.strip(" ") for literal in parts[1::2]]
        lines[:] = "``".join(parts).split("\n")
    _texts[name] = list(lines)


def after_napoleon(_app: Sphinx, what: str, name: str, _thing: Any, _options: Any, lines: list[str]) -> None:
    """Napoleon takes what stands before a colon in the text of an attribute for its type; ours have annotations."""
    text = _texts.pop(name)
    if what in ("attribute", "data", "property"):
        lines[:] = text


def hide_signature(
    _app: Sphinx, what: str, _name: str, thing: Any, options: Any, signature: Any, _returns: Any
) -> tuple[str, str] | None:
    """Of classes that users do not call: enums, models (whose fields follow), and those marked so on their page."""
    made_by_us = getattr(options, "class_doc_from", None) == "class"
    if (
        signature is not None
        and what in ("class", "exception")
        and (made_by_us or isinstance(thing, ModelMeta | enum.EnumMeta))
    ):
        return "", ""
    return None


def show_public_bases(_app: Sphinx, _name: str, _thing: Any, _options: Any, bases: list[Any]) -> None:
    """In place of a base that is ours alone, its own bases."""

    def public(base: Any) -> Iterator[Any]:
        plain = typing.get_origin(base) or base
        if plain is Generic or plain is typing.Protocol:
            return
        if plain.__module__.startswith("propylon") and public_name(plain) is None:
            for further in plain.__bases__:
                yield from public(further)
        else:
            yield base

    bases[:] = dict.fromkeys(further for base in bases for further in public(base))


# ---------------------------------------------------------------- what names mean


def public_name(thing: Any) -> str | None:
    """Where it is documented."""
    for module in map(importlib.import_module, _PUBLIC):
        for name in getattr(module, "__all__", ()):
            if getattr(module, name) is thing:
                return f"{module.__name__}.{name}"
    return None


def class_of(module: str, path: str) -> Any:
    """A class by the names that Sphinx has for where a text stands."""
    thing: Any = sys.modules.get(module)
    for part in path.split("."):
        thing = getattr(thing, part, None)
    return thing


def scopes(module: str, path: str | None) -> Iterator[Mapping[str, Any]]:
    """Where a name is looked for: where the text was written, then among what is public, then among what Python has."""
    if path and isinstance(cls := class_of(module, path), type):
        for base in cls.__mro__:
            if base.__module__.startswith("propylon"):
                yield vars(sys.modules[base.__module__])
    if module in sys.modules:
        yield vars(sys.modules[module])
    yield from (vars(importlib.import_module(name)) for name in _PUBLIC)
    # Its classes only: `open` and `id` are meant to be ours.
    yield {name: thing for name, thing in vars(builtins).items() if isinstance(thing, type)}
    yield from (vars(typing), vars(typing_extensions), sys.modules)


def meanings(module: str, path: str | None, target: str) -> Iterator[tuple[list[str], Any]]:
    """What a name may mean: the names under which it may be documented, and the thing itself."""
    first, *rest = target.split(".")
    if path and isinstance(cls := class_of(module, path), type) and hasattr(cls, first):
        yield from members(cls, [first, *rest])
    for scope in scopes(module, path):
        if first in scope:
            thing = scope[first]
            if not rest:
                name = public_name(thing)
                yield [name] if name else [], thing
            elif isinstance(thing, type):
                yield from members(thing, rest)
            else:
                yield from inside(thing, rest)


def members(cls: type, path: list[str]) -> Iterator[tuple[list[str], Any]]:
    """A member of a class, documented at the class that defines it or at the first public one that inherits it."""
    member, *rest = path
    if not rest and (
        hasattr(cls, member) or any(member in getattr(base, "__annotations__", {}) for base in cls.__mro__)
    ):
        owners = filter(None, map(public_name, reversed(cls.__mro__)))
        yield [f"{owner}.{member}" for owner in owners], cls


def inside(thing: Any, path: list[str]) -> Iterator[tuple[list[str], Any]]:
    """Something in a module."""
    for part in path:
        if not hasattr(thing, part):
            return
        thing = getattr(thing, part)
    name = public_name(thing)
    yield [name] if name else [], thing


def is_ours(thing: Any) -> bool:
    """Whether it is of this package, and so should have been found in the reference."""
    home = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", "") or ""
    return home.split(".")[0] == "propylon" and not isinstance(thing, TypeVar | typing.ParamSpec)


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.Node | None:
    """A name that Sphinx itself does not find. What is none of ours is known to exist, and has no page here."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains.python_domain
    in_text = node.get("reftype") == "obj"
    for names, thing in meanings(node.get("py:module") or "propylon", node.get("py:class"), node["reftarget"]):
        for name in names:
            if name in domain.objects:
                entry = domain.objects[name]
                return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, [content], name)
        # Types may name what is private; texts may not.
        if not is_ours(thing) or not in_text:
            return content
    # Some are imported for type checkers alone.
    private = any(
        hasattr(module, node["reftarget"]) for name, module in sys.modules.items() if name.startswith("propylon.")
    )
    return content if private and not in_text else None


def tidy(_app: Sphinx, document: nodes.document) -> None:
    """Leave builtins alone, which Sphinx would link to any attribute of the same name, and bases that say nothing.

    What is raised is an error of ours, also where an event has its name.
    """
    for node in list(document.findall(pending_xref)):
        if node.get("reftype") == "exc" and node["reftarget"] in propylon.errors.__all__:
            node["reftarget"] = f"propylon.{node['reftarget']}"
        if node.get("refdomain") == "py" and node.get("reftype") == "class" and hasattr(builtins, node["reftarget"]):
            node.replace_self(nodes.Text(node["reftarget"]))
    for content in document.findall(desc_content):
        first = content.children[0] if content.children else None
        if isinstance(first, nodes.paragraph) and first.astext() in ("Bases: object", "Bases:", "Bases: "):
            content.remove(first)


# ---------------------------------------------------------------- the documents


def point_to_repository(_app: Sphinx, _document: str, source: list[str]) -> None:
    """Links out of this folder are right on GitHub; here they lead there."""
    source[0] = re.sub(r"\]\(\.\./([^)]*)\)", rf"]({_REPOSITORY}\1)", source[0])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    importlib.import_module("propylon.testing.plugin")
    show_as_written()
    show_the_stub()
    app.connect("autodoc-process-docstring", before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", after_napoleon, priority=600)
    app.connect("autodoc-process-signature", hide_signature)
    app.connect("autodoc-process-bases", show_public_bases)
    app.connect("missing-reference", resolve)
    app.connect("doctree-read", tidy)
    app.connect("source-read", point_to_repository)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
