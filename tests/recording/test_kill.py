"""A process that records and is killed: what is on the disk then."""

import asyncio
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from propylon import Gateway
from propylon.recording import Recorded, Recording, TornRecordingWarning
from propylon.testing import Simulator

# It takes half a second, and what a busy machine adds.
FLUSHED = 4.0


def readable(path: Path) -> list[Recorded]:
    """What a file has that nobody has closed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornRecordingWarning)
        return list(Recording(path))


@pytest.mark.skipif(sys.platform == "win32", reason="there a process is ended in another way")
@pytest.mark.parametrize("seconds", [0.9, 1.7])
def test_all_but_the_last_second_outlives_a_kill(
    propylon_simulator: Callable[..., Simulator], tmp_path: Path, seconds: float
) -> None:
    sim, path = propylon_simulator(guilds=2, rate=3_000), tmp_path / "day.jsonl.zst"
    command = [sys.executable, str(Path(__file__).with_name("bot.py")), sim.url, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(seconds)
            # Now so little comes that no frame is filled: what is in the file is there because it waited long enough.
            sim.flood(False)
            sim.dispatch("INVITE_DELETE", {"channel_id": "1", "code": "mark"})
            began, last = time.monotonic(), sim.record()["sessions"][0]["sequence"]
            while not (events := readable(path)) or (events[-1].sequence or 0) < last:
                assert time.monotonic() - began < FLUSHED
                time.sleep(0.01)
            sim.flood()
            # It is killed at some moment, whatever it does then: there is no state to wait for.
            time.sleep(seconds / 2)
        finally:
            process.kill()
        process.wait(10)
    events = readable(path)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert len(events) >= last
    # And whoever starts anew goes on with that file.
    before = path.read_bytes()
    gateway = Gateway("killed", gateway_url=sim.url)
    recorder = gateway.record(path)

    async def go_on() -> None:
        async with recorder, gateway:
            pass

    asyncio.run(go_on())
    files = [file.read_bytes() for file in sorted(tmp_path.iterdir())]
    assert b"".join(files).startswith(before)
    again = [event.raw for event in readable(path)]
    assert again[: len(events)] == [event.raw for event in events]
    assert len(again) == len(events) + recorder.events > len(events)
