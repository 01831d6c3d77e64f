"""Breaks one rule of the cluster at a time; the check must fail each time, or it is too weak (``make mutants``).

What is Python's is changed in a copy; what is Rust's in place, built, and put back.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["MUTANTS", "ROOT", "Mutant"]

ROOT: Final = Path(__file__).parents[3]
TRIES: Final = 3
"""Runs, each with other luck, until one fails."""


@dataclass(frozen=True)
class Mutant:
    """A change to one place of our code that breaks one rule."""

    file: str
    change: str
    old: str
    """Stands in the file exactly once."""
    new: str
    faults: str
    """Of the nemesis, under which it shows."""
    seconds: float = 40.0


MUTANTS: Final = (
    Mutant(
        "python/propylon/cluster/_membership.py",
        "a host that cannot renew its leases goes on",
        "    given_up: float = GIVEN_UP_AFTER\n",
        "    given_up: float = 1e9\n",
        "cut host from nats",
    ),
    Mutant(
        "python/propylon/cluster/_feeding.py",
        "events are acknowledged when they have come, not when listeners are done with them",
        "            finished = 0 if mark is None else min(mark.sequence, last)\n",
        "            finished = last\n",
        "kill worker",
    ),
    Mutant(
        "rust/core/src/cluster/intake.rs",
        "events are handed out whatever their epoch and their number in the session",
        "            if again {\n",
        "            if again || true {\n",
        "cut host from nats, reshard",
    ),
    Mutant(
        "rust/cluster/src/sink.rs",
        "messages have no id by which the server knows those that are sent again",
        "headers.insert(MESSAGE_ID, message.id.as_str());",
        'headers.insert("Propylon-Id", message.id.as_str());',
        "mute nats for host",
    ),
)


def fails(mutant: Mutant, python: Path) -> bool:
    """Whether the check notices."""
    environment = {**os.environ, "PYTHONPATH": str(python), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(ROOT / "tests/cluster/history/run.py"), "--faults", mutant.faults]
    for _ in range(TRIES):
        ran = subprocess.run([*command, "--seconds", str(mutant.seconds)], env=environment, check=False)
        if ran.returncode == 1:
            return True
    return False


def build() -> None:
    """Bring the extension up to date."""
    if subprocess.run(["make", ".venv/.done/build"], cwd=ROOT, check=False).returncode:
        sys.exit("the build fails")


def survives(mutant: Mutant) -> bool:
    """Whether the check does not notice it."""
    file = ROOT / mutant.file
    before = file.read_text()
    changed = before.replace(mutant.old, mutant.new, 1)
    if file.suffix == ".py":
        with tempfile.TemporaryDirectory(prefix="propylon-mutant-") as folder:
            copy = Path(folder, "python")
            shutil.copytree(ROOT / "python", copy, ignore=shutil.ignore_patterns("__pycache__"))
            Path(folder, mutant.file).write_text(changed)
            return not fails(mutant, copy)
    try:
        file.write_text(changed)
        build()
        return not fails(mutant, ROOT / "python")
    finally:
        file.write_text(before)


def main(only: list[str]) -> None:
    """Try all, or those whose file or change holds one of the words."""
    chosen = [each for each in MUTANTS if not only or any(word in f"{each.file} {each.change}" for word in only)]
    survivors = 0
    for mutant in chosen:
        survived = survives(mutant)
        survivors += survived
        print(f"{'SURVIVES' if survived else 'noticed'}: {mutant.file}: {mutant.change}", flush=True)
    if any(not mutant.file.endswith(".py") for mutant in chosen):
        build()
    sys.exit(f"{survivors} changes that the check does not notice" if survivors else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
