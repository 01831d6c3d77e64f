"""Names with several addresses (RFC 8305) by the system's own resolver and a real hosts file (protocol.md §1).

The hosts file is that of a mount namespace made for the test, which takes Linux and its permission; the same is tried
everywhere, with addresses from a resolver of the test's own, by ``rust/core/tests/addresses.rs``.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from propylon.testing import Simulator

Start = Callable[..., Simulator]

# In this order by RFC 6724, whatever that of the file: it is the dead one that is tried first.
DEAD, LIVE = "127.0.0.1", "127.0.0.2"
IN_A_NAMESPACE = ["unshare", "--mount", "--map-root-user", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"']

# Tells, for each name, its addresses in the resolver's order and the seconds that opening took.
BOT = """
import asyncio, json, socket, sys, time
from propylon import Gateway, Timeouts

DEAD, LIVE, simulator = sys.argv[1], sys.argv[2], int(sys.argv[3])

# A queue of connections that is full: what comes now is dropped, and hears nothing.
listener = socket.create_server((DEAD, 0), backlog=0)
port = listener.getsockname()[1]
waiting = []
while True:
    client = socket.socket()
    client.settimeout(0.3)
    waiting.append(client)
    try:
        client.connect((DEAD, port))
    except TimeoutError:
        break

async def pump(source, sink):
    while data := await source.read(65536):
        sink.write(data)
    sink.close()

async def relay(reader, writer):
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", simulator)
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)

async def main():
    live = await asyncio.start_server(relay, LIVE, port)
    told = {}
    for name in ("one.test", "other.test"):
        found = [where[0] for *_, where in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]
        gateway = Gateway(
            f"token-{name}", gateway_url=f"ws://{name}:{port}", allow_plaintext=True, timeouts=Timeouts(connect=5)
        )
        started = time.monotonic()
        await gateway.open(timeout=10)
        told[name] = (found, time.monotonic() - started)
        await gateway.close()
    print(json.dumps(told))

asyncio.run(main())
"""


def may_mount(hosts: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*IN_A_NAMESPACE, str(hosts), "true"], capture_output=True, check=False).returncode == 0


def test_s1_a_dead_address_in_the_hosts_file_does_not_hold_up_the_live_one(
    propylon_simulator: Start, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    one, other = f"{DEAD} one.test\n{LIVE} one.test\n", f"{LIVE} other.test\n{DEAD} other.test\n"
    hosts.write_text(f"{LIVE} localhost\n{one}{other}")
    if not may_mount(hosts):
        pytest.skip("a hosts file of its own takes Linux and the permission to make a mount namespace")
    sim = propylon_simulator(guilds=0)
    command = [*IN_A_NAMESPACE, str(hosts), sys.executable, "-c", BOT, DEAD, LIVE, str(sim.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert all(sorted(found) == [DEAD, LIVE] for found, _ in told.values()), told
    assert any(found[0] == DEAD for found, _ in told.values()), told
    # The dead one alone would use up the five seconds of `connect`.
    assert all(seconds < 4 for _, seconds in told.values()), told
    assert any(seconds >= 0.25 for _, seconds in told.values()), told
