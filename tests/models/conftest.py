"""Where Discord's tables are, and the classes that are tested one by one."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def schema() -> Path:
    """The folder of Discord's tables and of the checker that reads them, by ``PROPYLON_SCHEMA``."""
    folder = Path(os.environ.get("PROPYLON_SCHEMA", REPOSITORY / ".." / "shared")).resolve()
    if not (folder / "schema" / "events.json").is_file():
        pytest.skip(f"Discord's tables are not in {folder}: set PROPYLON_SCHEMA to the folder that holds schema/")
    return folder


@pytest.fixture(scope="session")
def documented(schema: Path) -> dict[str, dict[str, Any]]:
    """The documented dispatch events by name."""
    events = json.loads((schema / "schema" / "events.json").read_text())["events"]
    return {event["t"]: event for event in events if event["t"]}
