"""The programs of docs/adapters.md run as they stand there."""

import os
import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "adapters.md").read_text("utf-8")
PROGRAMS = [textwrap.dedent(code) for code in re.findall(r"^ *```py\n(.*?)^ *```$", DOCUMENT, re.S | re.M)]


def test_each_library_has_a_program() -> None:
    assert len(PROGRAMS) == 3
    assert {"discordpy" in program for program in PROGRAMS} == {True, False}


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_runs(number: int, tmp_path: Path) -> None:
    program = PROGRAMS[number]
    library = "discord" if "discordpy" in program else "hikari"
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    file = tmp_path / "bot.py"
    file.write_text(program, "utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    stage = Path(__file__).with_name("stage.py")
    done = subprocess.run(
        [sys.executable, str(stage), str(file)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identified 1" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    if "admin=" in program:
        assert "2 guilds; " in done.stdout
