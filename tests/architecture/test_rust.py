"""One way down: no Rust file imports one above it, and no two import each other.

What counts as an import: a `use`, and a path in the code such as `super::b::C` or `c::D` after `use super::c`. It is an
import of the file that *defines* the name, whichever parent re-exports it. The `pub use` of a `mod.rs` or `lib.rs` only
wires and is nobody's import; any other line of such a file counts. Tests (`#[cfg(test)]`, `tests/`, `examples/`) may
look at anything.

One exception. A type may be split over the files of one folder, each with `impl` blocks of it: its file and those are
one file here. They are listed below, so that a new one is a decision and no accident; what such a type imports and what
imports it is held to the rule like everything else.
"""

import tomllib
from pathlib import Path

import pytest

from .rust_modules import Crates, cycles

RUST = Path(__file__).parents[2] / "rust"
CRATES = {"propylon_core": "core", "propylon_cluster": "cluster", "propylon_simulator": "simulator", "_core": "python"}

MAY_DEPEND = {
    "core": set[str](),
    "cluster": {"core"},
    "simulator": set[str](),
    "python": {"core", "cluster", "simulator"},
}
"""Crates of ours that a crate may depend on. The simulator shares no code with what it tests, so that a mistake in one
is not hidden by the same mistake in the other; core's own tests run against it, which is a dev-dependency."""

LAYERS = {
    "core": [
        ("clock", "protocol", "inflate"),
        ("session", "moderation"),
        ("transport", "delivery"),
        ("fleet", "recording"),
        ("shard",),
        ("admin", "cluster"),
    ],
    "simulator": [
        ("options",),
        ("wire",),
        ("traffic",),
        ("state",),
        ("gateway", "api"),
        ("server",),
        ("observe",),
        ("simulator",),
    ],
}
"""Folders, and files beside `lib.rs`, from the bottom; those of one layer do not know each other. Events rise through
them in another order (docs/design.md): the driver, in `shard`, carries them from one to the next."""

ONE_TYPE = {
    "cluster/src/broker/mod.rs": {"keys.rs", "questions.rs", "streams.rs", "watch.rs"},  # Broker
    "cluster/src/source/mod.rs": {"dead.rs", "overlapping.rs"},  # Owner
    "core/src/delivery/queue.rs": {"queue_lending.rs"},  # ShardQueue
    "core/src/session/machine/mod.rs": {
        "commands.rs",
        "connection.rs",
        "handover.rs",
        "lease.rs",
        "payload.rs",
    },  # Machine
    "core/src/shard/driver.rs": {"acting.rs", "reading.rs"},  # Driver
}

LEAST_EDGES = {"core": 180, "cluster": 12, "simulator": 90, "python": 12}
"""So many imports of its own files at least are found in a crate: fewer, and the reader has gone blind."""


@pytest.fixture(scope="module")
def crates() -> Crates:
    return Crates({name: RUST / folder / "src/lib.rs" for name, folder in CRATES.items()})


def inside(crates: Crates, name: str) -> dict[Path, set[Path]]:
    """The imports between a crate's own files."""
    graph = crates.edges(name)
    return {file: uses & graph.keys() for file, uses in graph.items()}


def short(file: Path) -> str:
    return file.relative_to(RUST).as_posix()


def test_no_two_files_import_each_other(crates: Crates) -> None:
    found = [
        sorted(short(file) for file in group)
        for name in CRATES
        for group in cycles(inside(crates, name), crates.one_type(name))
    ]
    assert not found, f"files that import each other, directly or by way of others: {found}"


def test_types_that_are_split_over_files_are_known(crates: Crates) -> None:
    found = {
        short(home): {file.name for file in parts} for name in CRATES for home, parts in crates.one_type(name).items()
    }
    assert found == ONE_TYPE


@pytest.mark.parametrize("name", ["propylon_core", "propylon_simulator"])
def test_no_layer_imports_one_above_it(crates: Crates, name: str) -> None:
    layers = LAYERS[CRATES[name]]
    root = RUST / CRATES[name] / "src"
    graph = inside(crates, name)
    del graph[root / "lib.rs"]
    height = {part: at for at, layer in enumerate(layers) for part in layer}

    def part(file: Path) -> str:
        return file.relative_to(root).parts[0].removesuffix(".rs")

    assert {part(file) for file in graph} == height.keys(), "each folder has its layer"
    wrong = [
        f"{short(file)} imports {short(other)}"
        for file, uses in graph.items()
        for other in uses
        if part(other) != part(file) and height[part(other)] >= height[part(file)]
    ]
    assert not wrong, wrong


def test_crates_depend_one_way(crates: Crates) -> None:
    for name, folder in CRATES.items():
        manifest = tomllib.loads((RUST / folder / "Cargo.toml").read_text())
        tables = [manifest, *manifest.get("target", {}).values()]
        declared = {
            dependency.removeprefix("propylon-")
            for table in tables
            for kind in ("dependencies", "build-dependencies")
            for dependency in table.get(kind, {})
            if dependency.startswith("propylon-")
        }
        assert declared <= MAY_DEPEND[folder], folder
        named = {other.relative_to(RUST).parts[0] for uses in crates.edges(name).values() for other in uses} - {folder}
        assert named <= declared, folder


def test_every_file_is_read(crates: Crates) -> None:
    """What no `mod` declares, or what only tests declare, is all that is missing."""
    for name, folder in CRATES.items():
        graph = inside(crates, name)
        missing = {file for file in (RUST / folder / "src").rglob("*.rs") if file not in graph}
        assert all("tests" in short(file) for file in missing), sorted(map(short, missing))
        assert sum(map(len, graph.values())) >= LEAST_EDGES[folder], folder
    assert not crates.unresolved, "names that the reader did not find where the path says"


# -- the reader itself, on crates whose imports are known --


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "lib.rs"


def read(folder: Path, files: dict[str, str]) -> tuple[Crates, dict[str, set[str]]]:
    crates = Crates({"made_up": write(folder, files)})
    return crates, {
        file.relative_to(folder).as_posix(): {other.relative_to(folder).as_posix() for other in uses}
        for file, uses in crates.edges("made_up").items()
        if uses
    }


def test_imports_are_found_in_each_way_of_writing_them(tmp_path: Path) -> None:
    crates, found = read(
        tmp_path,
        {
            "lib.rs": "//! use crate::top::Top;\nmod low;\npub mod middle;\nmod top;\npub use top::Top;\n",
            "low/mod.rs": "mod a;\nmod b;\npub use a::{A, make};\npub(crate) use b::*;\npub const LIMIT: usize = 1;\n",
            "low/a.rs": "use std::fmt;\npub struct A<'a>(&'a str);\npub fn make() {}\n",
            "low/b.rs": "pub struct B;\npub enum E { X }\n",
            # braces in braces, a name through two parents, `self`, a new name
            "middle/mod.rs": "mod c;\nmod d;\nmod e;\nmod f;\npub use c::C;\n",
            "middle/c.rs": "use crate::low::{self as under, A};\npub struct C(A<'static>);\nfn f() { under::LIMIT; }\n",
            "middle/d.rs": "use crate::{low::{B, E as Kind}, middle::{c::{self}}};\npub struct D(B, Kind, c::C);\n",
            # only paths in the code: through a child of the parent, a glob in a re-export, an imported module
            "middle/e.rs": "use super::d;\nfn f() { let _ = super::C::new(); crate::low::E::X; d::D; }\n",
            # in comments, texts, characters, raw texts and attributes nothing is an import
            "middle/f.rs": "/* use crate::top; /* use super::c; */ */ // use super::d;\n"
            'const T: &str = "use crate::top::Top; \\" super::e::X";\nconst R: &str = r#"crate::top::"Top"#;\n'
            "const Q: char = '\"';\nconst B: u8 = b'\\'';\nfn f<'a>(x: &'a str) -> &'a str { x }\n"
            "#[cfg(test)]\nmod tests { use crate::top::Top; fn t() { let _ = [1; 2]; } }\n"
            '#[cfg(test)]\n#[path = "g.rs"]\nmod more;\n#[cfg(test)]\nuse crate::top::Top;\n'
            "#[cfg(not(test))]\nuse super::c::C;\n",
            "middle/g.rs": "use crate::top::Top;\n",
            # a glob takes all that is re-exported; an inline module's `super` is its file
            "top.rs": "use crate::low::*;\nmod deep { use super::Inner; fn f() { super::super::middle::C; } }\n"
            "struct Inner;\npub struct Top;\nimpl<T: Into<u8>> From<T> for Top {}\n",
        },
    )
    assert found == {
        "middle/c.rs": {"low/mod.rs", "low/a.rs"},
        "middle/d.rs": {"low/b.rs", "middle/c.rs"},
        "middle/e.rs": {"middle/c.rs", "low/b.rs", "middle/d.rs"},
        "middle/f.rs": {"middle/c.rs"},
        "top.rs": {"low/mod.rs", "low/a.rs", "low/b.rs", "middle/c.rs"},
    }
    assert not crates.unresolved


def test_circles_are_found_and_the_files_of_one_type_are_none(tmp_path: Path) -> None:
    files = {
        "lib.rs": "mod hub;\nmod queue;\nmod machine;\nmod leaf;\nmod other;\n"
        "pub use hub::Hub;\npub use queue::Queue;\n",
        "hub.rs": "use super::Queue;\npub struct Hub(Queue);\n",
        "queue.rs": "use super::leaf::Leaf;\npub struct Queue(Leaf);\n",
        "leaf.rs": "pub struct Leaf(crate::Hub);\n",
        "machine/mod.rs": "mod part;\nmod types;\nmod inner {}\nuse types::Kind;\npub struct Machine(Kind);\n",
        "machine/part.rs": "use super::Machine;\nmod inner { fn f() {} }\nimpl Machine { fn f(&self) {} }\n",
        "machine/types.rs": "pub struct Kind;\n",
        # an impl from another folder makes no one type of two files, nor does that of a trait
        "other.rs": "use crate::machine::Machine;\nimpl Machine { fn g() {} }\nimpl Clone for crate::Hub {}\n",
    }
    crates, _ = read(tmp_path, files)
    graph, one = crates.edges("made_up"), crates.one_type("made_up")
    assert one == {tmp_path / "machine/mod.rs": {tmp_path / "machine/part.rs"}}
    assert cycles(graph, one) == [{tmp_path / name for name in ("hub.rs", "queue.rs", "leaf.rs")}]
    # what the type imports must not import the type, whichever of its files
    files["machine/types.rs"] = "pub struct Kind(Option<Box<super::Machine>>);\n"
    crates, _ = read(tmp_path, files)
    found = cycles(crates.edges("made_up"), crates.one_type("made_up"))
    assert {tmp_path / "machine/mod.rs", tmp_path / "machine/types.rs"} in found
