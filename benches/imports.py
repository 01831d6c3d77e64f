"""What `import propylon` costs: CPU time, memory, and what takes it, for each CPython >= 3.11 of this machine.

Each interpreter gets a venv for the time of the run, with the wheel of `make bench` in it; with more than one wheel,
such as those of two commits, they take turns and are called by their folders. CPU and wall time of the import and RSS
are of a fresh process that imports nothing else: medians. Modules are told apart by a second one under
`-X importtime`, in wall time: the least of all rounds, since whatever else ran only adds to it. Bytecode is there
already.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

import report

WHEELS = Path(__file__).parent.parent / ".venv-bench" / "wheel"
DEADLINE = 300.0
"""Seconds after which a process has failed."""

SERVES = """
import ensurepip, sys, sysconfig, venv
if sys.implementation.name != "cpython" or sys.version_info < (3, 11) or sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit(1)
print("{}.{}.{}".format(*sys.version_info))
"""
"""Shims may fail, Debian's has no ensurepip without python3-venv, and abi3 extensions do not load without the GIL."""

MEASURE = """
import os, time
def rss():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before, cpu, wall = rss(), time.process_time_ns(), time.perf_counter_ns()
import propylon
cpu, wall = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
after = rss()
import json
print(json.dumps({"cpu": cpu / 1e6, "wall": wall / 1e6, "rss": after, "grown": after - before}))
"""


def interpreters() -> dict[str, str]:
    """Version to executable, the first of each minor version; those on the path come before pyenv's."""
    candidates = [shutil.which(f"python3.{minor}") for minor in range(11, 17)]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates += [sys.executable, *map(str, sorted(pyenv.glob("versions/3.*/bin/python3")))]
    found: dict[str, tuple[str, str]] = {}
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "-c", SERVES], capture_output=True, text=True, check=False, timeout=DEADLINE)
        version = done.stdout.strip()
        if done.returncode == 0:
            found.setdefault(version.rpartition(".")[0], (version, candidate))
    return dict(sorted(found.values(), key=lambda each: [int(part) for part in each[0].split(".")]))


def installed(interpreter: str, wheel: Path, where: Path) -> Path:
    """A venv's Python that has the wheel."""
    subprocess.run([interpreter, "-m", "venv", where], check=True, timeout=DEADLINE)
    python = where / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", wheel.resolve()]
    subprocess.run(pip, check=True, timeout=DEADLINE)
    debug = "from propylon import _core; print(_core.DEBUG_BUILD)"
    if said(python, "-W", "ignore", "-c", debug).stdout.strip() != "False":
        sys.exit(f"{wheel.name} is a debug build; benchmark a release build")
    return python


def said(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a process told that sees neither the current folder nor the environment's Python settings."""
    return subprocess.run([python, "-I", *arguments], capture_output=True, text=True, check=True, timeout=DEADLINE)


def modules(importtime: str) -> Counter[str]:
    """Milliseconds of each module itself, of those that the import of Propylon brought."""
    brought: Counter[str] = Counter()
    for line in importtime.splitlines():
        own, _, name = line.removeprefix("import time:").split("|")
        if not own.strip().isdigit():
            continue  # The head.
        brought[name.strip()] += int(own) / 1000
        # A module comes after those that it imported, which are indented.
        if not name.startswith("  "):
            if name.strip() == "propylon":
                return brought
            brought.clear()
    raise ValueError("nobody imported propylon")


def group_of(module: str) -> str:
    package = module.partition(".")[0]
    if module == "propylon._core":
        return "engine"
    if package in ("propylon", "msgspec", "orjson"):
        return package
    return "standard library"


GROUPS = ("propylon", "engine", "msgspec", "orjson", "standard library")


def middle(values: list[float], scale: float = 1.0) -> str:
    low, mid, high = (each / scale for each in (min(values), median(values), max(values)))
    return f"{mid:.1f} ({low:.1f}–{high:.1f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheels", nargs="*", type=Path, help="that of `make bench`")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--largest", type=int, default=8, help="modules to name for each (8)")
    chosen = parser.parse_args()
    wheels = chosen.wheels or sorted(WHEELS.glob("propylon-*.whl"))
    if not wheels:
        parser.error("no wheel: `make bench` builds one, or name it")
    with tempfile.TemporaryDirectory() as folder:
        cases = [
            (f"{version}, {wheel.parent.name}" if len(wheels) > 1 else version, interpreter, wheel)
            for version, interpreter in interpreters().items()
            for wheel in wheels
        ]
        pythons = {
            name: installed(interpreter, wheel, Path(folder, str(number)))
            for number, (name, interpreter, wheel) in enumerate(cases)
        }
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
        shares: dict[str, list[Counter[str]]] = {name: [] for name in pythons}
        for _ in range(chosen.rounds):
            for name, python in pythons.items():
                runs[name].append(json.loads(said(python, "-c", MEASURE).stdout))
                shares[name].append(modules(said(python, "-X", "importtime", "-c", "import propylon").stderr))
    print(f"{report.machine()}\n\nMedians of {chosen.rounds} (least–most).\n")
    print("| CPython | CPU ms | wall ms | RSS after, MiB | of it the import's |\n|---|--:|--:|--:|--:|")
    for name, results in runs.items():
        cpu, wall, rss, grown = ([each[key] for each in results] for key in ("cpu", "wall", "rss", "grown"))
        cells = middle(cpu), middle(wall), middle(rss, 2**20), middle(grown, 2**20)
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\n| `-X importtime`, ms | {' | '.join(GROUPS)} | most |\n|---{'|--:' * len(GROUPS)}|---|")
    for name, rounds in shares.items():
        groups = [
            min(sum(ms for module, ms in each.items() if group_of(module) == group) for each in rounds)
            for group in GROUPS
        ]
        each_module = {module: min(each[module] for each in rounds) for module in rounds[0]}
        largest = sorted(each_module, key=each_module.__getitem__, reverse=True)[: chosen.largest]
        most = ", ".join(f"{module} {each_module[module]:.1f}" for module in largest)
        print(f"| {name} | {' | '.join(f'{ms:.1f}' for ms in groups)} | {most} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
