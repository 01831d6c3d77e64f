"""How long events stop: at op 7 with the next connection opened first, with the old one closed first, and after a drop.

The gap is the time between the last event before and the first one after, as the engine read them. Between client and
server stands a relay that delays each direction, because on loopback a round trip is too short to count.
"""

import argparse
import asyncio
import contextlib
import itertools
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import report

from propylon import Backoff, Dispatch, Gateway, Intents
from propylon.testing import Simulator, steps

RATE = 2_000.0


async def relay(port: int, delay: float) -> asyncio.Server:
    """Passes bytes on to ``port``, each ``delay`` seconds late, in both directions."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                at, data = await late.get()
                await asyncio.sleep(at - time.monotonic())
                if not data:
                    writer.close()
                    return
                writer.write(data)

        delivering = asyncio.create_task(deliver())
        try:
            while data := await reader.read(65_536):
                late.put_nowait((time.monotonic() + delay, data))
        except ConnectionError:
            pass
        late.put_nowait((time.monotonic() + delay, b""))
        await delivering

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A connect over a real network costs a round trip too; this one was accepted at once.
        await asyncio.sleep(2 * delay)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        # The server's tasks are cancelled with the loop, and asyncio would report that.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(pump(reader, server_writer), pump(server_reader, writer))

    return await asyncio.start_server(serve, "127.0.0.1", 0)


async def measure(turns: int, delay: float, end: Callable[[Simulator], Awaitable[None]]) -> list[float]:
    """The gap of each of ``turns`` ends of a connection, in milliseconds."""
    gaps: list[float] = []
    with Simulator(tls=True, guilds=1, rate=RATE, identify_interval=0, replay_buffer=1_000_000) as simulator:
        server = await relay(simulator.port, delay)
        url = f"wss://localhost:{server.sockets[0].getsockname()[1]}"
        simulator.script("every", steps.ready(set={"resume_gateway_url": url}))
        gateway = Gateway(
            "token",
            intents=Intents.ALL,
            gateway_url=url,
            ca_file=simulator.ca_file,
            backoff=Backoff(base=0.001, cap=0.001, reset_after=0),
        )
        arrivals: list[float] = []
        resumed = asyncio.Event()

        @gateway.listen
        def on_event(dispatch: Dispatch) -> None:
            arrivals.append(dispatch.received_at)
            if dispatch.type == "RESUMED":
                resumed.set()

        async with gateway:
            for _ in range(turns):
                await asyncio.sleep(0.3)
                arrivals.clear()
                resumed.clear()
                await end(simulator)
                await resumed.wait()
                await asyncio.sleep(0.1)
                gaps.append(1000 * max(later - sooner for sooner, later in itertools.pairwise(arrivals)))
            assert gateway.metrics().identifies == 1
        # Not awaited: from Python 3.12 on that waits for the relay's connections, whose ends nobody has told.
        server.close()
    return gaps


async def op_7(simulator: Simulator) -> None:
    simulator.act(steps.reconnect())


async def op_7_closed_first(simulator: Simulator) -> None:
    simulator.act(steps.reconnect())
    simulator.act(steps.close(4000))


async def drop(simulator: Simulator) -> None:
    simulator.act(steps.reset())


CASES: list[tuple[str, Callable[[Simulator], Awaitable[None]]]] = [
    ("op 7, the next connection opened first", op_7),
    ("op 7, the old connection closed first", op_7_closed_first),
    ("connection reset, until events come again", drop),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--delay", type=float, default=20.0, help="of each direction, in milliseconds (20)")
    parser.add_argument("--write-readme", action="store_true", help="write the table into README.md")
    chosen = parser.parse_args()
    rows = ["| what | round trip | gap in events, ms: median | least | most |", "|---|--:|--:|--:|--:|"]
    for delay in (chosen.delay, 0.0):
        for name, end in CASES:
            gaps = asyncio.run(measure(chosen.turns, delay / 1000, end))
            trip = f"{2 * delay:.0f} ms" if delay else "loopback"
            rows.append(f"| {name} | {trip} | {statistics.median(gaps):.1f} | {min(gaps):.1f} | {max(gaps):.1f} |")
            print(rows[-1], flush=True)
    if chosen.write_readme:
        command = f"benches/reconnect.py --turns={chosen.turns} --delay={chosen.delay} --write-readme"
        report.write_readme(f"Made by `{command}`.\n\n{report.machine()}\n\n" + "\n".join(rows), "reconnecting")
    return 0


if __name__ == "__main__":
    sys.exit(main())
