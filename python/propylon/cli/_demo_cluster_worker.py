"""A worker of ``propylon demo --cluster``, as a user would write it; it notes what it is called for."""

import asyncio
import sys
from pathlib import Path

from propylon.cli._demo_cluster_records import Recorder
from propylon.cluster import Worker
from propylon.events import Event

__all__ = ["Numbered", "run_worker"]


class Numbered(Event, event="MESSAGE_CREATE"):
    """What the simulator numbers; nothing else of the message is decoded."""

    nonce: str
    """``"4:17"``: the 17th event of guild 4."""


def run_worker(nats: str, app: str, name: str, record: Path) -> None:
    """Listen until SIGTERM."""
    worker = Worker(nats, app=app, name=name)
    recorder = Recorder(record)

    @worker.listen
    async def on_message(message: Numbered) -> None:  # pyright: ignore[reportUnusedFunction]
        recorder.write("called", message.nonce)
        # As if it asked a database: what is under way when the worker is killed comes again elsewhere.
        await asyncio.sleep(0.002)
        recorder.write("done", message.nonce)

    worker.run()


if __name__ == "__main__":
    run_worker(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
