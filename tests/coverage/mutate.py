"""Tries the mutations of regressions.toml: ``make mutants``. Each must make its test fail, or that test is too weak.

Changes the sources one at a time and puts them back; what was not committed before is left as it was.
"""

import os
import subprocess
import sys
from pathlib import Path

from rules import ROOT, Mutation, Suite, regressions


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run in the repository, output kept."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def build() -> None:
    """Bring the extension up to date."""
    built = run("make", ".venv/.done/build")
    if built.returncode:
        sys.exit(f"the build fails:\n{built.stdout}{built.stderr}")


def fails(name: str, tests: Suite) -> bool:
    """Whether a test that could be built and begun has failed."""
    test = tests.find(name)
    if test.file.suffix == ".py":
        build()
        ran = run(str(ROOT / ".venv/bin/pytest"), "-q", "-x", f"tests/{test.name}")
        if ran.returncode not in (0, 1):
            sys.exit(f"{test.name} cannot be run:\n{ran.stdout}{ran.stderr}")
        return ran.returncode == 1
    ran = run(os.environ.get("CARGO", "cargo"), "test", "-p", "propylon-core", "--lib", "--", "--exact", test.name)
    if "running 1 test" not in ran.stdout:
        sys.exit(f"{test.name} cannot be run:\n{ran.stdout}{ran.stderr}")
    return ran.returncode != 0


def survives(mutation: Mutation, tests: Suite) -> bool:
    """Whether the test of a mutation does not notice it."""
    file: Path = ROOT / mutation.file
    before = file.read_text()
    try:
        file.write_text(before.replace(mutation.old, mutation.new, 1))
        return not fails(mutation.fails, tests)
    finally:
        file.write_text(before)


def main(only: list[str]) -> None:
    """Try all, or those whose file, test or description holds one of the words."""
    tests = Suite()
    survivors = 0
    for row in regressions():
        for mutation in row.mutations:
            about = f"{mutation.file} {mutation.fails} {mutation.change} {row.elsewhere}"
            if only and not any(word in about for word in only):
                continue
            survived = survives(mutation, tests)
            survivors += survived
            print(f"{'SURVIVES' if survived else 'noticed'}: {mutation.file}: {mutation.change}", flush=True)
    build()
    sys.exit(f"{survivors} changes that no test notices" if survivors else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
