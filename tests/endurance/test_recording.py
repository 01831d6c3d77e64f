"""For a moment what ``make soak-recording`` does for a minute."""

from pathlib import Path

import pytest

from endurance.recording import check, recorded


@pytest.mark.asyncio
async def test_a_recording_is_what_was_heard_wherever_it_is_played(tmp_path: Path) -> None:
    outcome = await recorded(tmp_path, 2.0)
    assert outcome.recorded > 5_000
    check(outcome)
