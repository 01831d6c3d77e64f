"""``propylon demo``: it shows what it says, and fails where that is not so."""

import asyncio
import re
import signal
from typing import Any

import pytest
from typer.testing import CliRunner

from propylon.cli import _demo as demo
from propylon.cli import _demo_shards as demo_shards
from propylon.cli._app import app
from propylon.cli._demo_shards_view import ShardsVerdict
from propylon.cli._demo_view import Verdict
from propylon.cli._top_snapshot import fetch
from propylon.testing import Simulator, steps

from .processes import SECONDS, Finish, Start


def test_the_session_is_resumed_and_nothing_is_lost(finished: Finish) -> None:
    done = finished("demo", "--seconds", "3", "--rate", "1000")
    # A machine that is busy with others may hold a listener up, and that is said.
    told = [line for line in done.stderr.splitlines() if "held the event loop" not in line]
    assert (done.returncode, told) == (0, [])
    assert "session resumed: RESUMED 1, identifies 1" in done.stdout
    assert re.search(r"dashboard at http://127\.0\.0\.1:\d+/ while the demo runs", done.stdout)
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


def unspaced(**options: Any) -> Simulator:
    """IDENTIFYs as they come: the demo shows Discord's 5 s, which a test need not wait for."""
    return Simulator(**{**options, "identify_interval": 0.0})


def test_twice_as_many_shards_take_over_and_nothing_is_lost_or_comes_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_shards, "Simulator", unspaced)
    assert asyncio.run(demo_shards.run_shards_demo(3.0, 1000.0, 0)) == 0
    shown = capsys.readouterr().out
    assert "FleetReady: 16 shards, 320 guilds" in shown
    assert "Resharded: 32 shards have taken over, the 16 old ones are closed" in shown
    assert "READY  shards 16 of 16" in shown
    assert "READY  shards 32 of 32" in shown
    assert "reshard from 16 to 32 in " in shown
    assert "identifies 48" in shown
    assert shown.endswith("\nlost 0, twice 0\n")
    assert "\x1b" not in shown


@pytest.mark.parametrize(("arguments", "seconds"), [([], 16.0), (["--seconds", "20"], 20.0)])
def test_the_demo_of_shards_is_a_switch_of_the_demo(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], seconds: float
) -> None:
    asked: list[tuple[float, float, int]] = []

    async def run(seconds: float, rate: float, seed: int) -> int:
        asked.append((seconds, rate, seed))
        return 7

    monkeypatch.setattr(demo_shards, "run_shards_demo", run)
    done = CliRunner().invoke(app, ["demo", "--shards", "--seed", "3", *arguments])
    assert (done.exit_code, asked) == (7, [(seconds, 2000.0, 3)])


def test_it_fails_where_no_shards_take_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stuck(**options: Any) -> Simulator:
        return unspaced(**options, scripts={17: [steps.never_ready()]})

    monkeypatch.setattr(demo_shards, "Simulator", stuck)
    monkeypatch.setattr(demo_shards, "_PATIENCE_FOR_SHARDS", 4.0)
    assert asyncio.run(demo_shards.run_shards_demo(1.0, 500.0, 0)) == 1
    shown = capsys.readouterr().out
    assert "the new shards have not taken over within 4 s" in shown
    assert "reshard from 16 to 32 NOT done" in shown
    assert shown.endswith("\nlost 0, twice 0\n")


@pytest.mark.parametrize(
    ("nonces", "lost", "twice", "late"),
    [
        (["0:1", "1:1", "0:2", "1:2"], 0, 0, 0),
        (["0:1", "1:1", "0:2"], 1, 0, 0),
        (["0:2", "1:1", "1:2"], 1, 0, 0),
        (["0:1", "0:2", "0:2", "1:1", "1:2", "1:1"], 0, 2, 0),
        (["0:2", "0:1", "1:1", "1:2"], 0, 0, 1),
        ([], 4, 0, 0),
    ],
)
def test_what_is_lost_comes_twice_or_late_is_told_by_the_numbers(
    nonces: list[str], lost: int, twice: int, late: int
) -> None:
    tally = demo_shards.Tally()
    for nonce in nonces:
        tally.note(nonce)
    assert (tally.lost([2, 2]), tally.twice, tally.late, tally.called) == (lost, twice, late, len(nonces))


GOOD_OF_SHARDS = {
    "before": 16,
    "after": 32,
    "seconds": 7.0,
    "resharded": True,
    "guilds": 2,
    "made": 4,
    "called": 4,
    "lost": 0,
    "twice": 0,
    "late": 0,
    "settled": True,
    "identifies": 48,
    "overlapped": 3,
}


@pytest.mark.parametrize(
    ("change", "last"),
    [
        ({"lost": 1, "called": 3}, "lost 1, twice 0"),
        ({"twice": 2, "called": 6}, "lost 0, twice 2"),
        ({"settled": False}, "lost 0, twice 0"),
        ({"resharded": False, "seconds": None}, "lost 0, twice 0"),
        ({"made": 0, "called": 0}, "lost 0, twice 0"),
    ],
)
def test_the_verdict_of_the_shards_needs_all_of_it(change: dict[str, Any], last: str) -> None:
    assert ShardsVerdict(**GOOD_OF_SHARDS).passed
    verdict = ShardsVerdict(**{**GOOD_OF_SHARDS, **change})
    assert not verdict.passed
    assert verdict.lines()[-1] == last


def test_the_verdict_of_the_shards_tells_of_order_and_does_not_fail_for_it() -> None:
    """docs/sharding.md: what an old connection brings late at the switch may come after a later one."""
    verdict = ShardsVerdict(**{**GOOD_OF_SHARDS, "late": 2})
    assert verdict.passed
    assert verdict.lines()[1].endswith("; 2 came after a later one of their guild")


def test_the_demo_of_the_dashboard_shows_a_fleet_until_ctrl_c(propylon: Start) -> None:
    process = propylon("demo", "--dashboard", "--rate", "500")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    url = next(line.split()[1] for line in lines if line.startswith("dashboard "))
    # It is lively: within a few seconds a connection is cut.
    assert any(line.endswith(", making it anew\n") for line in lines)
    found, _ = fetch(url.rstrip("/"))
    assert (len(found.shards), found.live.ok) == (64, True)
    assert found.events["MESSAGE_CREATE"].delivered > 0
    assert found.reconnects
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")


def test_one_demo_at_a_time() -> None:
    done = CliRunner().invoke(app, ["demo", "--shards", "--dashboard"])
    assert done.exit_code == 2
