"""The Python blocks of our documents. As a script: writes them to a folder, set up for a type checker."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
STAND_INS = Path(__file__).with_name("stand_ins")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    name: str
    """Document and line, as a file name."""
    code: str


def documents() -> list[Path]:
    """README and its like, and everything in docs/."""
    return sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])


def blocks() -> Iterator[Block]:
    """In the order of the documents."""
    for document in documents():
        lines: list[str] | None = None
        start = 0
        for number, line in enumerate(document.read_text("utf-8").splitlines(), 1):
            if lines is None and line == "```python":
                lines, start = [], number + 1
            elif lines is not None and line == "```":
                yield Block(f"{document.stem}_{start}", "\n".join([*lines, ""]))
                lines = None
            elif lines is not None:
                lines.append(line)
        assert lines is None, f"{document}: a block is not closed"


def main(folder: Path) -> None:
    """Write the blocks there, with a configuration for pyright."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.py"):
        old.unlink()
    for block in blocks():
        (folder / f"{block.name}.py").write_text(block.code, "utf-8")
    config = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "include": ["."],
        "venvPath": str(REPOSITORY),
        "venv": ".venv",
        "extraPaths": [str(REPOSITORY / "python"), str(STAND_INS)],
        # What a listener is named is nobody's business but the reader's.
        "reportUnusedFunction": False,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(config), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
