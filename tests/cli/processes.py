"""What the tests of the command line share: how processes are started, and for how long they may run."""

import os
import subprocess
from collections.abc import Callable
from typing import TypeAlias

Start: TypeAlias = Callable[..., "subprocess.Popen[str]"]
Finish: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]

QUIET = "ignore:propylon._core is a debug build:RuntimeWarning"
SECONDS = 60


def environment(**changes: str) -> dict[str, str]:
    """Ours without a token, and without the warning that a debug build is one."""
    kept = {name: value for name, value in os.environ.items() if name != "DISCORD_TOKEN"}
    return {**kept, "PYTHONWARNINGS": QUIET, "COLUMNS": "200", **changes}
