"""Raw events into Parquet files, by size and by time, each acknowledged when its file is there.

Needs the extra ``arrow``. With ``DISCORD_TOKEN`` in the environment it runs against Discord, without against a
simulated Discord of its own::

    python examples/to_parquet.py events

What is acknowledged is what the next start goes on behind: an event that is in no file comes again, be it that this
process is killed or that the disk is full. After that the last ones may be in two files: same sequence and text.
"""
# pyarrow has no types.
# pyright: basic

import argparse
import asyncio
import contextlib
import os
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from propylon import Batch, FileSessionStore, Gateway, Intents
from propylon.testing import Simulator


def write(batch: Batch, folder: Path) -> None:
    """One file, which has its name when it is whole."""
    first = batch[0]
    name = f"{first.received_time:%Y%m%dT%H%M%S.%fZ}-{first.sequence}"
    part = folder / f"{name}.part"
    pq.write_table(pa.RecordBatchReader.from_stream(batch).read_all(), part, compression="zstd")
    part.replace(folder / f"{name}.parquet")
    print(f"{name}.parquet: {len(batch):,} events", flush=True)


async def export(gateway: Gateway, folder: Path, *, size: int, seconds: float) -> None:
    """Until the gateway ends. What this raises ends it too: nothing is acknowledged that is not on the disk."""
    async with gateway.batches(size=size, bytes=64_000_000, seconds=seconds, ack=True) as batches:
        async for batch in batches:
            # In a thread, because a disk may block. The next batch fills meanwhile.
            await asyncio.to_thread(write, batch, folder)
            batch.ack()


async def main(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C or SIGTERM; what is there then gets a last file."""
    folder: Path = options.folder
    token = os.environ.get("DISCORD_TOKEN", "")
    with contextlib.ExitStack() as stack:
        url = options.gateway_url
        if not token and url is None:
            url = stack.enter_context(Simulator(rate=200, guilds=5)).url
        gateway = Gateway(
            token or "simulator",
            intents=Intents.NON_PRIVILEGED,
            gateway_url=url,
            sessions=FileSessionStore(folder / "sessions.json"),
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(export(gateway, folder, size=options.size, seconds=options.seconds))
            await gateway.serve()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Raw events into Parquet files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=100_000, help="most events of a file")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long events wait for their file")
    parser.add_argument("--gateway-url", help="another server than Discord")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(arguments))
