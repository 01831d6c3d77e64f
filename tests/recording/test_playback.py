"""When the events of a recording are due, whatever its clock has written."""

import asyncio
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from face.support import eventually, make_gateway
from propylon import Gateway
from propylon._playback import Pace, chunks
from propylon.recording import Recording, TornRecordingWarning, replay
from propylon.testing import Simulator

from .support import line, written

DAY = 86_400.0


@pytest.mark.parametrize(
    ("at", "due"),
    [
        ([100, 101, 103], [0, 1, 3]),
        # A fleet's shards write in turns: nothing is added up by that.
        ([100, 102, 101, 103, 102, 104], [0, 2, 2, 3, 3, 4]),
        # A clock that was set back, and another run.
        ([100, 101, 50, 51, 20, 20.5], [0, 1, 1, 2, 2, 2.5]),
        ([0, 5 * DAY, 5 * DAY + 1], [0, DAY, DAY + 1]),
        ([100, 1e300, 101, 102], [0, DAY, DAY, DAY + 1]),
        ([-1.7e308, 1.7e308, -1.7e308], [0, DAY, DAY]),
    ],
)
def test_time_never_goes_back_and_no_gap_is_longer_than_a_day(at: list[float], due: list[float]) -> None:
    pace, faster, flat_out = Pace(1.0), Pace(10.0), Pace(math.inf)
    assert [pace.due(each) for each in at] == due
    assert [faster.due(each) for each in at] == [each / 10 for each in due]
    assert {flat_out.due(each) for each in at} == {0.0}


@pytest.mark.parametrize("at", ["1e999", "NaN", "Infinity", '"now"'])
def test_a_time_that_is_none_is_no_recording(at: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text('{"t":"RESUMED","s":1,"at":%s,"d":{}}\n' % at)  # noqa: UP031
    with pytest.raises(ValueError, match="after line 0"):
        list(chunks(path))


def test_a_wrong_clock_holds_nothing_up(tmp_path: Path) -> None:
    """A day at a factor of 10 million is 9 ms; two of them come, after the first event and before the last."""
    times = [0.0, 1e300, 1.0, 2.0, -1e300, 5.0]
    path = written(tmp_path / "x", [line(f"{number}", at) for number, at in enumerate(times)])

    async def main() -> None:
        assert await replay(Gateway("token"), path, speed=1e7) == 6
        with Simulator(guilds=0) as sim:
            assert await sim.play(path, speed=1e7) == 0, "nobody is there"

    began = time.monotonic()
    asyncio.run(main())
    assert 0.02 < time.monotonic() - began < 30


def test_a_torn_end_is_told_by_all_that_read_it(tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line("whole", 0.0)])
    path.write_text(path.read_text() * 2 + "{")

    async def played() -> int:
        with Simulator(guilds=0) as sim:
            return await sim.play(path)

    for run, count in ((lambda: asyncio.run(replay(Gateway("token"), path)), 2), (lambda: asyncio.run(played()), 0)):
        with pytest.warns(TornRecordingWarning, match="ends within a line"):
            assert run() == count


def test_a_recording_stands_for_its_path(tmp_path: Path) -> None:
    path = written(tmp_path / "x", [line(f"{number}", number) for number in range(3)])
    assert list(itertools.chain(*chunks(Recording(path)))) == list(itertools.chain(*chunks(path)))


@pytest.mark.parametrize("at", [1e300, -1e300])
def test_a_time_beyond_all_years_is_an_error_of_its_dispatch_alone(at: float, tmp_path: Path) -> None:
    (event,) = Recording(written(tmp_path / "x", [line("0", at)]))
    assert event.at == at
    with pytest.raises((OverflowError, ValueError)):
        _ = event.dispatch


@pytest.mark.asyncio
async def test_the_record_knows_a_session_that_nobody_can_resume_any_more(
    propylon_simulator: Callable[..., Simulator],
) -> None:
    """Or who plays to it waits for a client that has died."""
    sim = propylon_simulator(guilds=0, session_ttl=0.05)
    gateway = make_gateway(sim)
    await gateway.open(timeout=10)
    await gateway.close(resumable=True)
    await eventually(lambda: sim.record()["sessions"][0]["dead"])
