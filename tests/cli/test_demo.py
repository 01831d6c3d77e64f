"""``propylon demo``: it shows what it says, and fails where that is not so."""

import asyncio
from typing import Any

import pytest

from propylon.cli import _demo as demo
from propylon.cli._demo_view import Verdict
from propylon.testing import Simulator, steps

from .processes import Finish


def test_the_session_is_resumed_and_nothing_is_lost(finished: Finish) -> None:
    done = finished("demo", "--seconds", "3", "--rate", "1000")
    assert (done.returncode, done.stderr) == (0, "")
    assert "session resumed: RESUMED 1, identifies 1" in done.stdout
    assert done.stdout.endswith("\nlost 0\n")
    assert "\x1b" not in done.stdout


def test_it_fails_where_the_session_is_not_resumed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusing(**options: Any) -> Simulator:
        return Simulator(**options, scripts={2: [steps.refuse_resume()]})

    monkeypatch.setattr(demo, "Simulator", refusing)
    monkeypatch.setattr(demo, "_PATIENCE", 0.5)
    assert asyncio.run(demo.run_demo(1.0, 500.0, 0)) == 1
    assert "NOT resumed" in capsys.readouterr().out


GOOD = {
    "sent": 10,
    "arrived": 10,
    "delivered": 4,
    "called": 4,
    "settled": True,
    "resumes": 1,
    "resumed_calls": 1,
    "identifies": 1,
}


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ({"arrived": 9}, "lost 1"),
        ({"called": 3}, "lost 1"),
        ({"settled": False}, "lost unknown: the last event did not arrive"),
        ({"resumes": 0, "resumed_calls": 0, "identifies": 2}, "lost 0"),
        ({"resumed_calls": 0}, "lost 0"),
    ],
)
def test_the_verdict_needs_all_of_it(change: dict[str, Any], lost: str) -> None:
    assert Verdict(**GOOD).passed
    verdict = Verdict(**{**GOOD, **change})
    assert not verdict.passed
    assert verdict.lines()[-1] == lost
