"""A recording that nobody ends, and the table of what is secret."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from face.support import eventually
from propylon import Gateway, _core
from propylon._base import SECRETS
from propylon.recording import Recording
from propylon.testing import Simulator


def test_what_nobody_leaves_is_ended_with_its_loop(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.zst"

    async def main(sim: Simulator) -> None:
        gateway = Gateway("left", gateway_url=sim.url)
        await gateway.record(path).__aenter__()
        async with gateway:
            await eventually(lambda: gateway.metrics().received == 1)

    with Simulator(guilds=0, identify_interval=0) as sim:
        asyncio.run(main(sim))
    assert [event.type for event in Recording(path)] == ["READY"]


def test_there_is_one_table_of_what_is_secret() -> None:
    assert frozenset(_core.secret_keys()) >= SECRETS


async def _taken_away(path: Path) -> None:
    with Simulator(guilds=0, rate=2_000.0, identify_interval=0) as sim:
        gateway = Gateway("taken", gateway_url=sim.url)
        # The second frame is too many for a file.
        async with gateway.record(path, max_bytes=1) as recorder, gateway:
            await eventually(path.exists)
            path.unlink()
            before = recorder.events
            await eventually(lambda: path.exists() and recorder.events > before + 4_000)
        assert recorder.dropped == 0
    assert len(list(Recording(path))) > 1_000


def test_a_file_that_somebody_takes_away_is_made_anew(tmp_path: Path) -> None:
    asyncio.run(_taken_away(tmp_path / "x.jsonl.zst"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork()")
def test_a_forked_child_does_not_keep_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.zst"
    reading, writing = os.pipe()

    async def run() -> int:
        gateway = Gateway("token")
        async with gateway.record(path):
            child = os.fork()
            if child == 0:
                os.close(writing)
                os.read(reading, 1)
                os._exit(0)
        # The first one has ended; the child is there.
        async with gateway.record(path):
            return child

    child = 0
    try:
        child = asyncio.run(run())
    finally:
        os.close(reading)
        os.close(writing)
        if child:
            os.waitpid(child, 0)
