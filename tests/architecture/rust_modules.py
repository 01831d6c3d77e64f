"""Which file of a crate imports which: read from the source, by the rules of Rust's own module system.

Knows `mod` declarations, `use` trees, re-exports, globs and the paths that stand in the code. What it does not know is
what macros make and what traits resolve to; neither names a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = re.compile(
    r"""
      (?P<blank>\s+ | //[^\n]*)
    | (?P<block>/\*)
    | (?P<raw>(?:b|c)?r(?P<hashes>\#*)"(?:.|\n)*?"(?P=hashes))
    | (?P<text>(?:b|c)?"(?:\\(?:.|\n)|[^"\\])*")
    | (?P<char>b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^'\\])')
    | (?P<lifetime>'\w+)
    | (?P<name>(?:r\#)?[A-Za-z_]\w*)
    | (?P<number>\d\w*)
    | (?P<mark>::|->|=>|[^\s])
    """,
    re.VERBOSE,
)
ITEMS = {"struct", "enum", "union", "trait", "type", "fn", "const", "static", "macro_rules"}
WIRING = {"mod.rs", "lib.rs"}

Seen = frozenset[tuple[int, tuple[str, ...]]]
"""Names that are being looked up, so that no circle of re-exports is followed for ever."""


def tokens(source: str) -> list[str]:
    """Names and marks of a source text; comments are gone, texts stay in their quotes, other literals are blanks."""
    found: list[str] = []
    at = 0
    while at < len(source):
        match = TOKEN.match(source, at)
        assert match is not None, source[at : at + 40]
        at = match.end()
        kind = match.lastgroup if match.lastgroup != "hashes" else "raw"
        if kind == "block":
            depth = 1  # block comments nest
            while depth:
                opened, closed = source.find("/*", at), source.find("*/", at)
                assert closed >= 0, "a comment without end"
                if 0 <= opened < closed:
                    depth, at = depth + 1, opened + 2
                else:
                    depth, at = depth - 1, closed + 2
        elif kind == "text":
            found.append(match.group())
        elif kind in {"name", "mark"}:
            found.append(match.group().removeprefix("r#"))
        elif kind in {"raw", "char", "number", "lifetime"}:
            found.append(" ")
    return found


@dataclass(eq=False)
class Use:
    """One leaf of a `use` tree."""

    path: tuple[str, ...]
    name: str  # bound in the module, or `*`
    exported: bool


@dataclass(eq=False)
class Module:
    """A module: a file, or a `mod name { … }` inside of one."""

    file: Path
    parent: Module | None
    children: dict[str, Module] = field(default_factory=dict[str, "Module"])
    items: set[str] = field(default_factory=set[str])
    uses: list[Use] = field(default_factory=list[Use])
    paths: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    impls: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def walk(self) -> Iterator[Module]:
        """This module and all below."""
        yield self
        for child in self.children.values():
            yield from child.walk()


class Reader:
    """Reads the modules of a crate, from its root file on."""

    def __init__(self, root: Path) -> None:
        self.root = self.read(root, None)

    def read(self, file: Path, parent: Module | None) -> Module:
        """A file and those that it declares."""
        module = Module(file, parent)
        self.body(tokens(file.read_text()), 0, module)
        return module

    def body(self, code: list[str], at: int, module: Module) -> int:
        """From `at` to the brace that closes the module, or to the end of the file."""
        depth = 0
        path_of_next: str | None = None
        exported = False
        while at < len(code):
            word = code[at]
            if word == "#" and code[at + 1 : at + 2] in (["["], ["!"]):
                start = at + (2 if code[at + 1] == "[" else 3)
                at = closing(code, start - 1)
                attribute = code[start : at - 1]
                if attribute[:2] == ["cfg", "("] and "test" in attribute and "not" not in attribute:
                    at = after_item(code, at)  # tests may look at anything
                elif attribute[:2] == ["path", "="]:
                    path_of_next = attribute[2].strip('"')
                continue
            if word == "}" and depth == 0:
                return at + 1
            if word == "pub":
                exported = True
                at = closing(code, at + 1) if code[at + 1] == "(" else at + 1
                continue
            if word == "use" and code[at + 1] != "<":  # `use<'a>` stands in bounds
                end = code.index(";", at)
                module.uses += leaves(code[at + 1 : end], exported)
                at = end
            elif word == "mod" and depth == 0 and code[at + 2] == ";":
                module.children[code[at + 1]] = self.read(child_file(module, code[at + 1], path_of_next), module)
                path_of_next = None
                at += 2
            elif word == "mod" and depth == 0 and code[at + 2] == "{":
                child = module.children.setdefault(code[at + 1], Module(module.file, module))
                at = self.body(code, at + 3, child)
                exported = False
                continue
            elif word == "impl" and depth == 0 and (at == 0 or code[at - 1] in {"}", ";", "]", "unsafe", "{"}):
                end = code.index("{", at)
                path = inherent(code[at + 1 : end])
                if path:
                    module.impls.append(path)
            elif word in ITEMS and depth == 0:
                named = at + (2 if word == "macro_rules" else 1)
                if code[named] == "mut":
                    named += 1
                module.items.add(code[named])
            elif (
                is_name(word) and code[at + 1 : at + 2] == ["::"] and (at == 0 or code[at - 1] not in {"::", "$", "."})
            ):
                names = [word]
                while code[at + 1 : at + 2] == ["::"] and is_name(code[at + 2]):
                    names.append(code[at + 2])
                    at += 2
                module.paths.append(tuple(names))
            depth += (code[at] == "{") - (code[at] == "}")
            exported = False
            at += 1
        return at


def is_name(word: str) -> bool:
    """An identifier or `crate`, `self`, `super`."""
    return word[0].isalpha() or word[0] == "_"


def closing(code: list[str], at: int) -> int:
    """The place after the bracket that closes the one at `at`."""
    depth = 0
    while True:
        depth += (code[at] in "([{") - (code[at] in ")]}")
        at += 1
        if depth == 0:
            return at


def after_item(code: list[str], at: int) -> int:
    """The place after the item that begins at `at`, its other attributes included."""
    while code[at] == "#":
        at = closing(code, at + 1)
    while code[at] not in {"{", ";"}:
        at = closing(code, at) if code[at] in "([" else at + 1
    return closing(code, at) if code[at] == "{" else at + 1


def child_file(module: Module, name: str, path: str | None) -> Path:
    """Where `mod name;` is written."""
    file = module.file
    if path is not None:
        return file.parent / path
    folder = file.parent if file.name in WIRING else file.parent / file.stem
    flat = folder / f"{name}.rs"
    return flat if flat.exists() else folder / name / "mod.rs"


def leaves(tree: list[str], exported: bool, before: tuple[str, ...] = ()) -> list[Use]:
    """The leaves of a `use` tree: `a::{b, c::{self, d as e}, f::*}`."""
    path = before
    for at, word in enumerate(tree):
        if word == "{":
            inner = tree[at + 1 : closing(tree, at) - 1]
            found: list[Use] = []
            for branch in branches(inner):
                found += leaves(branch, exported, path)
            return found
        if word == "*":
            return [Use(path, "*", exported)]
        if word == "as":
            return [Use(path, tree[at + 1], exported)]
        if word == "self" and path:
            continue
        if word != "::":
            path = (*path, word)
    return [Use(path, path[-1], exported)] if path else []


def branches(inner: list[str]) -> Iterator[list[str]]:
    """The comma-separated parts of a brace."""
    part: list[str] = []
    depth = 0
    for word in inner:
        depth += (word == "{") - (word == "}")
        if word == "," and depth == 0:
            yield part
            part = []
        else:
            part.append(word)
    if part:
        yield part


def inherent(head: list[str]) -> tuple[str, ...]:
    """The type of `impl<T> Type<T> where …`; nothing for the impl of a trait."""
    at = 0
    if head[:1] == ["<"]:
        at = after_angles(head, 0)
    path: list[str] = []
    while at < len(head) and head[at] not in {"where", "for"}:
        if head[at] == "<":
            at = after_angles(head, at)
            continue
        if is_name(head[at]):
            path.append(head[at])
        at += 1
    return () if head[at : at + 1] == ["for"] else tuple(path)


def after_angles(code: list[str], at: int) -> int:
    depth = 0
    while True:
        depth += (code[at] == "<") - (code[at] == ">")
        at += 1
        if depth == 0:
            return at


class Crates:
    """Some crates that may name each other: `{"propylon_core": Path("rust/core/src/lib.rs")}`."""

    def __init__(self, roots: dict[str, Path]) -> None:
        self.roots = {name: Reader(file).root for name, file in roots.items()}
        self.unresolved: set[str] = set()
        """Paths to modules of these crates whose next name was not found there."""

    def edges(self, crate: str) -> dict[Path, set[Path]]:
        """Each file of a crate, and the files whose names it uses, those of other crates among them."""
        graph: dict[Path, set[Path]] = {}
        for module in self.roots[crate].walk():
            uses = graph.setdefault(module.file, set())
            for use in module.uses:
                if use.exported and module.file.name in WIRING:
                    continue  # wiring: whoever uses the name imports the file that defines it
                uses |= self.everything(module, use.path) if use.name == "*" else self.resolve(module, use.path)
            for path in module.paths:
                uses |= self.resolve(module, path)
            uses.discard(module.file)
        return graph

    def one_type(self, crate: str) -> dict[Path, set[Path]]:
        """Files that define a type, and the others of their own folder that hold `impl` blocks of it."""
        found: dict[Path, set[Path]] = {}
        for module in self.roots[crate].walk():
            for path in module.impls:
                for home in self.resolve(module, path):
                    if home != module.file and home.parent == module.file.parent:
                        found.setdefault(home, set()).add(module.file)
        return found

    def resolve(self, module: Module, path: tuple[str, ...], seen: Seen = frozenset()) -> set[Path]:
        """The files that a path from `module` leads to: the one that defines the name. Nothing for foreign crates."""
        key = (id(module), path)
        if key in seen:
            return set()
        seen |= {key}
        node = self.start(module, path[0])
        if node is None:
            return self.bound(module, path, seen) or set()
        rest = path[1:]
        while rest:
            name = rest[0]
            if name == "super":
                assert node.parent is not None, path
                node, rest = node.parent, rest[1:]
            elif name in node.children:
                node, rest = node.children[name], rest[1:]
            elif name in node.items:
                return {node.file}
            else:
                found = self.bound(node, rest, seen)
                if found is None:
                    self.unresolved.add(f"{'::'.join(path)} in {module.file}")
                return found or set()
        return {node.file}

    def bound(self, module: Module, path: tuple[str, ...], seen: Seen) -> set[Path] | None:
        """The same for a path whose first name a `use` of the module has bound; None where none has."""
        for use in module.uses:
            # `use bytes;` binds a foreign crate to its own name
            if use.name == path[0]:
                return self.resolve(module, use.path + path[1:], seen) if use.path != path[:1] else set()
        for use in module.uses:
            target = self.module(module, use.path) if use.name == "*" else None
            if target is not None and (id(target), path) not in seen:
                if path[0] in target.children or path[0] in target.items:
                    return self.resolve(target, ("self", *path), seen)
                found = self.bound(target, path, seen | {(id(target), path)})
                if found is not None:
                    return found
        return None

    def start(self, module: Module, name: str) -> Module | None:
        if name == "crate":
            while module.parent is not None:
                module = module.parent
            return module
        if name == "self":
            return module
        if name == "super":
            assert module.parent is not None, module.file
            return module.parent
        return module.children.get(name) or self.roots.get(name)

    def module(self, module: Module, path: tuple[str, ...]) -> Module | None:
        """The module that a path names, where it names one."""
        node = self.start(module, path[0])
        for name in path[1:]:
            if node is None:
                return None
            node = node.parent if name == "super" else node.children.get(name)
        return node

    def everything(self, module: Module, path: tuple[str, ...]) -> set[Path]:
        """What a glob may bring: the module's own file and those of all that it re-exports."""
        target = self.module(module, path)
        if target is None:
            return self.resolve(module, path)  # the variants of an enum, or a foreign crate
        found = {target.file}
        for use in target.uses:
            if use.exported:
                found |= self.everything(target, use.path) if use.name == "*" else self.resolve(target, use.path)
        return found


def cycles(graph: dict[Path, set[Path]], one: dict[Path, set[Path]]) -> list[set[Path]]:
    """The strongly connected groups of more than one unit; the files of one type are one unit."""
    unit: dict[Path, Path] = {}
    for home, parts in one.items():
        for part in (home, *parts):
            unit[part] = unit.get(home, home)
    units: dict[Path, set[Path]] = {}
    for file, uses in graph.items():
        owner = unit.get(file, file)
        units.setdefault(owner, set()).update(unit.get(other, other) for other in uses if other in graph)
        units[owner].discard(owner)

    # Tarjan's algorithm; a crate's graph is far shallower than Python's stack.
    index: dict[Path, int] = {}
    low: dict[Path, int] = {}
    stack: list[Path] = []
    found: list[set[Path]] = []

    def visit(node: Path) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(units[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group: set[Path] = set()
            while node not in group:
                group.add(stack.pop())
            if len(group) > 1:
                found.append(group)

    for node in sorted(units):
        if node not in index:
            visit(node)
    return found
