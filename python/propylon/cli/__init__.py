"""The command ``propylon``. Needs the extra ``cli``; without it, says so."""

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line; does not return."""
    missing = [name for name in ("typer", "rich") if find_spec(name) is None]
    if missing:
        print(
            f'The propylon command needs {" and ".join(missing)}, not installed here: pip install "propylon[cli]"',
            file=sys.stderr,
        )
        raise SystemExit(1)
    from propylon.cli._app import app

    app(prog_name="propylon")
