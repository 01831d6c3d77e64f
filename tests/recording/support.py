"""Recordings that are written by hand."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from face.support import message

BEGAN = 1_764_347_000.0
"""When the recordings here begin, Unix time in seconds."""


def line(content: str, at: float, shard: tuple[int, int] = (0, 1)) -> dict[str, Any]:
    """A MESSAGE_CREATE, ``at`` seconds after the beginning."""
    return {"t": "MESSAGE_CREATE", "s": 1, "shard": shard, "at": BEGAN + at, "d": message(content)}


def written(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    """A recording of these lines; without compression, which a recording may do without."""
    path.write_text("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in lines))
    return path
