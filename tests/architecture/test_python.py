"""The rooms of the package: one way down, nothing public by accident, no file too long.

CONTRIBUTING.md shows the picture that `LAYERS` says.
"""

import ast
import graphlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

import propylon
from propylon import (
    Batch,
    Batches,
    Filter,
    Gateway,
    Listener,
    Listeners,
    ManagedShard,
    MembersRequest,
    ShardManager,
    Stream,
)

PACKAGE = Path(propylon.__file__).parent
ROOT = PACKAGE.parents[1]

LAYERS = [
    {"__main__"},
    {"cli"},
    {"adapters", "cluster", "otel", "recording"},
    {"_fleet"},
    {"_gateway"},
    {"_sessions", "_recording"},
    {"_delivery"},
    {"_listening", "_commands"},
    {"_filters"},
    {"events"},
    {"models"},
    {"errors", "presence", "_arguments", "_arrow", "_debug", "_signals", "_version"},
    {"intents"},
    {"_base"},
    {"snowflake", "_names", "_playback", "logs"},
]
"""From the top: nobody imports what stands above, or beside it."""
APART = {"testing"}
"""Stands on nothing but the engine and these three; the command line stands on it."""
BELOW_APART = {"_names", "_playback", "snowflake"}
PLUGIN = "propylon.testing.plugin"
"""Makes gateways for tests: a user of the package, as the command line is, and no module of it imports this one."""

PUBLIC = {
    "propylon",
    "propylon.__main__",
    "propylon.adapters",
    "propylon.adapters.discordpy",
    "propylon.adapters.hikari",
    "propylon.cli",
    "propylon.cluster",
    "propylon.errors",
    "propylon.events",
    "propylon.intents",
    "propylon.logs",
    "propylon.models",
    "propylon.otel",
    "propylon.presence",
    "propylon.recording",
    "propylon.snowflake",
    "propylon.testing",
    "propylon.testing.plugin",
    "propylon.testing.steps",
}


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    """What each module imports. The engine is no Python file: its imports look like those of the package itself."""
    graph = grimp.build_graph("propylon", cache_dir=None)
    modules = graph.modules - {"propylon"}
    return {module: graph.find_modules_directly_imported_by(module) - {"propylon"} for module in modules}


def room_of(module: str) -> str:
    return module.split(".")[1]


def test_no_room_imports_one_above_or_beside_it(arrows: dict[str, set[str]]) -> None:
    floor = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
    assert {room_of(module) for module in arrows} == set(floor) | APART
    upward: list[str] = []
    between = 0
    for module, imports in arrows.items():
        for imported in imports:
            here, there = room_of(module), room_of(imported)
            if here == there:
                continue
            between += 1
            down = here in floor and there in floor and floor[here] < floor[there]
            apart = (there in APART and here == "cli") or (here in APART and there in BELOW_APART)
            user = module == PLUGIN and there != "cli"
            if imported == PLUGIN or not (down or apart or user):
                upward.append(f"{module} imports {imported}")
    assert upward == []
    assert between > 100


def test_no_modules_import_each_other_in_a_circle(arrows: dict[str, set[str]]) -> None:
    order = list(graphlib.TopologicalSorter(arrows).static_order())
    assert len(order) == len(arrows) > 90


def test_only_the_command_line_stands_on_the_package_itself() -> None:
    """All others name the file that they need, so that the order of the rooms holds for them."""
    above = {PACKAGE / "__main__.py", PACKAGE / "__init__.py", *PACKAGE.glob("cli/*.py")}
    others = set(PACKAGE.rglob("*.py")) - above
    taken = {
        (path.relative_to(PACKAGE).as_posix(), alias.name)
        for path in others
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "propylon"
        for alias in node.names
    }
    assert taken == set()
    assert len(others) > 90


def test_what_is_internal_says_so_by_its_name() -> None:
    names = [module.name for module in pkgutil.walk_packages([str(PACKAGE)], "propylon.")]
    shown = {name for name in names if not any(part.startswith("_") for part in name.split(".") if part != "__main__")}
    assert shown | {"propylon"} == PUBLIC


def documented(kind: type) -> set[str]:
    """What completion offers of a class: each of it has to explain itself."""
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Listener, {"name", "remove", "removed"}),
        (Listeners, {"remove"}),
        (Batch, {"ack", *documented(list)}),
        (Batches, {"close"}),
        (Stream, {"close", "dropped"}),
        (MembersRequest, {"nonce"}),
        (Filter, {"matches"}),
        (
            Gateway,
            {
                *(
                    "add",
                    "admin_address",
                    "batches",
                    "close",
                    "collect",
                    "from_config",
                    "guilds_ready",
                    "identify_blocked_until",
                    "intents",
                    "latency",
                    "listen",
                    "listeners",
                    "log_payloads",
                    "metrics",
                    "on_close",
                    "on_error",
                    "open",
                    "rate_limit",
                    "record",
                ),
                *(
                    "request_members",
                    "request_channel_info",
                    "request_soundboard_sounds",
                    "run",
                    "send",
                    "serve",
                    "session",
                ),
                *("set_presence", "shard", "status", "stream", "update_voice_state", "wait_closed", "wait_for"),
                "wait_guilds_ready",
            },
        ),
        (
            ShardManager,
            {
                *(
                    "add",
                    "admin_address",
                    "batches",
                    "close",
                    "collect",
                    "from_config",
                    "guild_count",
                    "guilds_ready",
                    "intents",
                    "latency",
                    "listen",
                    "listeners",
                    "log_payloads",
                    "metrics",
                    "on_close",
                    "on_error",
                    "open",
                    "record",
                    "request_channel_info",
                ),
                *("request_members", "request_soundboard_sounds", "reshard", "run", "send", "serve", "set_presence"),
                *("shard_of", "shards", "status", "stream", "total", "update_voice_state", "wait_closed", "wait_for"),
                "wait_guilds_ready",
            },
        ),
        (
            ManagedShard,
            {
                *("close", "guild_count", "guilds_ready", "identify_blocked_until", "latency", "metrics", "rate_limit"),
                *("restart", "resume", "session", "shard", "status"),
            },
        ),
    ],
)
def test_completion_offers_what_is_meant_for_users(kind: type, names: set[str]) -> None:
    assert documented(kind) == names
    for name in names:
        assert inspect.getdoc(getattr(kind, name)), name
    assert Gateway.__bases__ == ShardManager.__bases__ == (object,)


@pytest.mark.parametrize("kind", [Gateway, ShardManager])
def test_an_open_gateway_shows_no_more_than_its_class(kind: type[Gateway | ShardManager]) -> None:
    gateway = kind("token")
    assert [name for name in vars(gateway) if not name.startswith("_")] == []


def test_errors_name_the_gateway_and_not_what_is_behind_it() -> None:
    with pytest.raises(TypeError, match=r"^Gateway\.update_voice_state\(\) missing"):
        Gateway("token").update_voice_state()  # type: ignore[call-overload]


def long_files() -> Iterator[tuple[str, str]]:
    for folder, pattern in (("python", "*.py"), ("tests", "*.py"), ("benches", "*.py"), ("rust", "*.rs")):
        for path in sorted((ROOT / folder).rglob(pattern)):
            lines = path.read_text().splitlines()
            if len(lines) > 500 and "target" not in path.parts:
                yield str(path.relative_to(ROOT)), "\n".join(lines[:12])


def test_a_file_of_over_500_lines_says_at_its_top_why() -> None:
    found = dict(long_files())
    assert {name for name, top in found.items() if "500 lines" not in top} == set()
    assert found
