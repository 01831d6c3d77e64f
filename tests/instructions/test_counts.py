"""Instructions of an event on its way through the engine, held against `counts.toml`.

Unlike its time they are the same on each run, so that what a change costs is seen at once. The build is that of a wheel
without LTO, under callgrind: `cargo test` has made the libraries in it. ``make instructions`` writes the file anew.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIGURES = Path(__file__).with_name("counts.toml")
EVENTS = 4_000
MORE = 1.05
"""Times as many fail. Fewer by as much say that the figures are to be written anew."""
MODES = ["nobody", "zlib", "filtered", "messages", "narrow", "all"]
VALGRIND = shutil.which("valgrind")
CARGO = os.environ.get("CARGO", "cargo")


def conditions() -> str:
    """What the counts depend on besides our code."""
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False)
    flags = Path("/proc/cpuinfo")
    has_avx2 = flags.exists() and " avx2 " in flags.read_text()
    return f"{' '.join(rustc.stdout.split()[:2])}, {platform.machine()}{', AVX2' if has_avx2 else ''}"


def cannot() -> str:
    """Why they cannot be held against those written down; empty where they can."""
    if VALGRIND is None or shutil.which(CARGO) is None or shutil.which("rustc") is None:
        return "no valgrind here, which counts instructions, or no cargo"
    known = tomllib.loads(FIGURES.read_text())["conditions"]
    now = conditions()
    return "" if known == now else f"written down with {known}, and this is {now}"


pytestmark = [
    pytest.mark.skipif(bool(cannot()), reason=cannot()),
    pytest.mark.timeout(900),
]


def build() -> Path:
    """The program that is counted."""
    # With the features that the whole workspace asks its dependencies for, or they would be other ones.
    command = [CARGO, "build", "--quiet", "--workspace", "--example", "stream_cost"]
    settings = {"opt-level": 3, "codegen-units": 16, "debug-assertions": "false", "overflow-checks": "false"}
    as_released = [f"--config=profile.dev.package.propylon-core.{name}={value}" for name, value in settings.items()]
    subprocess.run([*command, *as_released], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    return target / "debug" / "examples" / "stream_cost"


def count(program: Path, mode: str) -> int:
    """Instructions for each event."""
    assert VALGRIND is not None
    command = [VALGRIND, "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*stream_cost*counted*"]
    done = subprocess.run([*command, program, mode, str(EVENTS)], capture_output=True, text=True, check=True)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    assert collected, done.stderr
    return int(collected[1]) // EVENTS


@pytest.fixture(scope="module")
def program() -> Path:
    return build()


@pytest.mark.parametrize("mode", MODES)
def test_an_event_costs_no_more_instructions_than_written_down(program: Path, mode: str) -> None:
    known = tomllib.loads(FIGURES.read_text())[mode]
    now = count(program, mode)
    assert now > 100, "nothing was counted"
    assert now <= known * MORE, f"{mode}: {now} instructions an event, {known} are written down"
    assert now >= known / MORE, f"{mode}: {now} instructions an event, {known} are written down: write them anew"


def write() -> None:
    program = build()
    lines = [f'conditions = "{conditions()}"']
    lines += [f"{mode} = {count(program, mode)}" for mode in MODES]
    FIGURES.write_text(
        "# Instructions of an event, as `make instructions` counts them. What the modes are:\n"
        "# rust/core/examples/stream_cost.rs.\n" + "\n".join(lines) + "\n"
    )
    sys.stdout.write(FIGURES.read_text())


if __name__ == "__main__":
    write()
