"""A recording that nobody ends, and the table of what is secret."""

import asyncio
from pathlib import Path

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
            await eventually(lambda: path.exists() and recorder.events > before + 1_000)
        assert recorder.dropped == 0
    assert len(list(Recording(path))) > 1_000


def test_a_file_that_somebody_takes_away_is_made_anew(tmp_path: Path) -> None:
    asyncio.run(_taken_away(tmp_path / "x.jsonl.zst"))
