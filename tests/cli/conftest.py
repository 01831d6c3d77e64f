"""The command line, driven as its users drive it: as processes."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import SECONDS, Finish, Start, environment


@pytest.fixture
def start() -> Iterator[Start]:
    """Start ``python <arguments>``; killed after the test if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, cwd: Path | None = None, **changes: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env=environment(**changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        # What nobody has read may end within a letter.
        with contextlib.suppress(UnicodeDecodeError):
            process.communicate()


@pytest.fixture
def propylon(start: Start) -> Start:
    """Start ``propylon <arguments>``."""
    return lambda *arguments, **changes: start("-m", "propylon", *arguments, **changes)


@pytest.fixture
def finished() -> Finish:
    """Run ``propylon <arguments>`` to its end."""

    def run(*arguments: str, cwd: Path | None = None, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "propylon", *arguments],
            cwd=cwd,
            env=environment(**changes),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=SECONDS,
            check=False,
        )

    return run
