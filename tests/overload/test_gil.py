"""Heartbeats do not need Python: a listener that holds the GIL changes nothing for the server (F18)."""

import ctypes
import itertools
import sys

import pytest

from propylon import Gateway, Intents
from propylon.events import MessageCreate
from propylon.testing import Simulator

HELD = 10
INTERVAL = 2.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a C library that sleeps with the GIL held")


@pytest.mark.asyncio
async def test_a_listener_that_holds_the_gil_for_ten_seconds_is_not_noticed_by_the_server() -> None:
    # PyDLL, unlike CDLL, keeps the GIL during the call.
    sleep = ctypes.PyDLL(None).sleep
    got: list[int] = []
    sent = 200

    async with Simulator(heartbeat_interval=INTERVAL, guilds=1) as simulator:
        gateway = Gateway("token", gateway_url=simulator.url, intents=Intents.ALL)

        @gateway.listen
        def on_message(message: MessageCreate) -> None:
            got.append(int(message.content))
            if len(got) == 1:
                for number in range(1, sent):
                    simulator.dispatch("MESSAGE_CREATE", _message(number))
                sleep(HELD)

        async with gateway:
            async with gateway.batches(MessageCreate) as batches:
                # Only now: the batches hold what came after they were entered.
                simulator.dispatch("MESSAGE_CREATE", _message(0))
                read = 0
                while read < sent:
                    read += len(await anext(batches))
            connections = simulator.record()["connections"]
            metrics = gateway.metrics()

    assert got == list(range(sent))
    assert metrics.reconnects == 0
    assert len(connections) == 1
    times = connections[0]["beats"]
    gaps = [(later - earlier) / 1000 for earlier, later in itertools.pairwise(times)]
    # A busy machine sends some late. Beats that need Python would leave a gap of all the time that it is held.
    assert len(gaps) >= HELD / INTERVAL / 2
    assert max(gaps) < HELD / 2


def _message(number: int) -> dict[str, object]:
    return {
        "id": str(1000 + number),
        "channel_id": "2",
        "guild_id": "3",
        "author": {"id": "4", "username": "nelly", "discriminator": "0", "global_name": None, "avatar": None},
        "content": str(number),
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
        "type": 0,
    }
