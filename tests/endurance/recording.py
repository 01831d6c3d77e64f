"""A recording of a minute at 5,000 events/s, held against what a listener heard meanwhile; then replayed, to a bot and
by the simulator, and compared byte for byte. ``python tests/endurance/recording.py [--seconds 60]``;
`test_recording.py` does it for a moment.
"""

import argparse
import asyncio
import hashlib
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from propylon import Dispatch, Gateway, Intents
from propylon.recording import Recording, replay
from propylon.testing import Simulator

GUILDS = 10
"""Of the simulated world: so many GUILD_CREATEs come before the traffic."""


@dataclass
class Heard:
    """Events in their order, by one hash; READY apart, of which each session has its own."""

    count: int = 0
    hash: Any = field(default_factory=hashlib.sha256)

    def take(self, kind: str, sequence: int | None, raw: bytes) -> None:
        if kind != "READY":
            self.count += 1
            self.hash.update(f"{kind} {sequence} {len(raw)} ".encode() + raw)

    def listener(self, dispatch: Dispatch) -> None:
        self.take(dispatch.type, dispatch.sequence, dispatch.raw)

    @property
    def facts(self) -> tuple[int, str]:
        return self.count, self.hash.hexdigest()


@dataclass
class Outcome:
    """What was found."""

    recorded: int
    dropped: int
    bytes: int
    rate: float
    heard: tuple[int, str]
    read: tuple[int, str]
    replayed: tuple[int, str]
    replay_rate: float
    played: tuple[int, str]


async def recorded(folder: Path, seconds: float, rate: float = 5_000.0) -> Outcome:
    """Record, read, replay, and play."""
    path = folder / "day.jsonl.zst"
    heard, read, replayed, played = Heard(), Heard(), Heard(), Heard()
    count = int(rate * seconds)
    with Simulator(guilds=GUILDS, rate=rate, count=count, identify_interval=0) as sim:
        gateway = Gateway("recorded", intents=Intents.ALL, gateway_url=sim.url)
        gateway.listen(heard.listener)
        all_heard = asyncio.Event()

        @gateway.listen
        def look_for_the_end(dispatch: Dispatch) -> None:
            if heard.count == GUILDS + count:
                all_heard.set()

        async with gateway.record(path, secrets=True) as recorder, gateway:
            begun = time.monotonic()
            await asyncio.wait_for(all_heard.wait(), 60 + 2 * seconds)
            so_far = heard.count / (time.monotonic() - begun)
            await gateway.close()
    assert recorder.events == gateway.metrics().received
    for event in Recording(path):
        read.take(event.type, event.sequence, event.raw)
    bot = Gateway("replayed")
    bot.listen(replayed.listener)
    begun = time.monotonic()
    count = await replay(bot, path)
    replay_rate = count / (time.monotonic() - begun)
    with Simulator(guilds=0, identify_interval=0) as sim:
        client = Gateway("played", intents=Intents.ALL, gateway_url=sim.url)
        client.listen(played.listener)
        done = asyncio.Event()

        @client.listen
        def look(dispatch: Dispatch) -> None:
            if played.count == heard.count:
                done.set()

        async with client:
            await sim.play(path, speed="max")
            await asyncio.wait_for(done.wait(), 60 + seconds)
    return Outcome(
        recorded=recorder.events,
        dropped=recorder.dropped,
        bytes=recorder.bytes,
        rate=so_far,
        heard=heard.facts,
        read=read.facts,
        replayed=replayed.facts,
        replay_rate=replay_rate,
        played=played.facts,
    )


def check(outcome: Outcome) -> None:
    """READY is one event more."""
    assert outcome.dropped == 0
    assert outcome.recorded == outcome.heard[0] + 1
    assert outcome.heard == outcome.read == outcome.replayed == outcome.played


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(recorded(Path(folder), parser.parse_args().seconds))
    check(outcome)
    print(
        f"{outcome.recorded:,} events at {outcome.rate:,.0f}/s, none dropped, "
        f"{outcome.bytes / outcome.recorded:.0f} bytes each on the disk; "
        f"read, replayed ({outcome.replay_rate:,.0f}/s) and played byte for byte"
    )
