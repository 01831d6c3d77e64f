"""Without the extra ``cli`` the command says what to install, and the library works."""

import pytest

from .processes import SECONDS, Finish, Start


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(start: Start, missing: str) -> None:
    process = start(
        "-c", f"import sys; sys.modules[{missing!r}] = None\nfrom propylon.cli import main\nmain()\nprint('not here')"
    )
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (1, "")
    assert 'pip install "propylon[cli]"' in errors
    assert "Traceback" not in errors


def test_the_library_needs_no_extra(start: Start) -> None:
    process = start(
        "-c",
        "import sys; sys.modules['typer'] = sys.modules['rich'] = None\n"
        "import propylon, propylon.events, propylon.testing\nprint(propylon.__version__)",
    )
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert output.strip()


def test_a_fault_of_our_own_is_not_taken_for_a_missing_extra(start: Start) -> None:
    process = start("-c", "import sys; sys.modules['propylon.cli._app'] = None\nfrom propylon.cli import main\nmain()")
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "propylon[cli]" not in errors


def test_help_and_version(finished: Finish) -> None:
    shown = finished("--help")
    assert shown.returncode == 0
    assert all(command in shown.stdout for command in ("demo", "doctor", "events", "run", "simulate", "top"))
    assert finished("--version").stdout.startswith("propylon 0.")
