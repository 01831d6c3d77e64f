"""Where the examples are, and how a test follows what one says."""

import subprocess
from pathlib import Path
from typing import Final

from cli.processes import SECONDS

__all__ = ["EXAMPLES", "Said", "stopped"]

EXAMPLES: Final = Path(__file__).parents[2] / "examples"


class Said:
    """What a program has written to stderr, read as far as a test needs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.text = ""

    def until(self, *texts: str, count: int = 1) -> None:
        """Read on until each of these has been said so many times; pytest's timeout bounds it."""
        assert self.process.stderr is not None
        while any(self.text.count(text) < count for text in texts):
            line = self.process.stderr.readline()
            assert line, self.text
            self.text += line


def stopped(said: Said, number: int) -> str:
    """Everything that it has said, after a signal that must end it well."""
    said.process.send_signal(number)
    output, rest = said.process.communicate(timeout=SECONDS)
    whole = said.text + rest
    assert (said.process.returncode, output) == (0, ""), whole
    return whole
