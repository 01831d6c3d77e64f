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
from propylon.recording import Recording, TornRecordingWarning
from propylon.testing import Simulator


@pytest.mark.skipif(sys.platform == "win32", reason="there a process is ended in another way")
@pytest.mark.parametrize("seconds", [0.9, 1.7])
def test_all_but_the_last_second_outlives_a_kill(
    propylon_simulator: Callable[..., Simulator], tmp_path: Path, seconds: float
) -> None:
    sim, path = propylon_simulator(guilds=2, rate=3_000), tmp_path / "day.jsonl.zst"
    command = [sys.executable, str(Path(__file__).with_name("bot.py")), sim.url, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # It is killed at some moment, whatever it does then: there is no state to wait for.
        time.sleep(seconds)
        killed = time.time()
        process.kill()
        process.wait(10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornRecordingWarning)
        events = list(Recording(path))
    assert killed - events[-1].at < 1.0
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert len(events) > (seconds - 0.9) * 3_000
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornRecordingWarning)
        again = [event.raw for event in Recording(path)]
    assert again[: len(events)] == [event.raw for event in events]
    assert len(again) == len(events) + recorder.events > len(events)
