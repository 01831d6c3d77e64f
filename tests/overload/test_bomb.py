"""Decompression bombs of real size against the default cap (F30): protocol.md §12."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from propylon.testing import Simulator, steps

CAP = 64 * 1024 * 1024

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="its unit of ru_maxrss"),
]


@pytest.mark.parametrize("compression", ["zstd-stream", "zlib-stream", "payload"])
def test_256_mib_of_one_byte_cost_one_connection_and_memory_below_the_cap_and_a_fifth(compression: str) -> None:
    with Simulator(guilds=1) as simulator:
        bot = Path(__file__).with_name("bomb_bot.py")
        with subprocess.Popen(
            [sys.executable, str(bot), simulator.url, compression],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "ready\n"
                simulator.act(steps.bomb(256))
                output, errors = process.communicate(timeout=90)
            finally:
                process.kill()
        connections = simulator.record()["connections"]
    assert errors == ""
    facts = json.loads(output)
    assert facts["growth"] < CAP * 1.2
    assert facts["errors"] == ["PayloadTooLarge"]
    assert facts["identifies"] == 1
    assert facts["status"] == "READY"
    assert [op["op"] for op in connections[1]["ops"] if op["op"] != 1] == [6]
    # Where the RESUME was read before the close of this one, the server has ended it.
    closed = connections[0]["closed"]
    assert (closed["by"], closed["code"]) in (("client_close", 4000), ("server", None))
