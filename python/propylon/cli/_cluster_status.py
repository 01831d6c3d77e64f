"""What ``propylon cluster status`` and ``propylon cluster dead list`` show: tables for people, JSON for programs."""

import asyncio
import contextlib
import sys
import time
from collections import Counter
from typing import Final, NoReturn

import msgspec
from rich import filesize
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from propylon.cli._process import complain
from propylon.cluster._control import ClusterError, ClusterStatus, status
from propylon.cluster._keys import PARTITIONS
from propylon.cluster._membership import AWAY
from propylon.cluster._nats import NatsBroker, StreamStatus

__all__ = ["explained", "show", "show_dead", "tables", "tell_error", "troubles", "watching"]

_LOOK: Final = 1.0
"""Seconds between two looks."""
_MANY: Final = 64
"""Shards beyond which only those are shown one by one that are not READY."""


def _age(since: float, now: float) -> str:
    seconds = max(0.0, now - since)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        table.add_column(head, justify="right" if head in _NUMBERS else "left", no_wrap=True)
    return table


_NUMBERS: Final = {"shard", "epoch", "shards", "capacity", "partitions", "number", "size"}


def troubles(found: ClusterStatus) -> list[str]:
    """What an operator is to look at, each as a sentence."""
    told = _missing(found)
    stream = _stream(found)
    if stream is not None and stream.dead:
        told.append(f"{stream.dead:,} dead letters: propylon cluster dead list")
    return told


def _missing(found: ClusterStatus) -> list[str]:
    """What has nobody, so that the cluster is not whole."""
    told: list[str] = []
    active = found.active
    if active is None:
        told.append("no host has said yet how many shards there are")
    else:
        counting = [shard for shard in found.shards if shard.total == active.total]
        away = [shard.id for shard in counting if shard.host is None]
        if away:
            which = ", ".join(map(str, away[:8])) + (", ..." if len(away) > 8 else "")
            told.append(f"nobody has {len(away)} of {active.total} shards: {which}")
    if not found.workers:
        told.append("there is no worker: the events of hosts go nowhere")
    elif len(found.partitions) < PARTITIONS:
        told.append(f"nobody has {PARTITIONS - len(found.partitions)} of {PARTITIONS} partitions")
    return told


def _stream(found: ClusterStatus) -> StreamStatus | None:
    stream: object = found.stream
    return stream if isinstance(stream, StreamStatus) else None


def tables(found: ClusterStatus) -> RenderableType:
    """For a terminal, or a file."""
    parts: list[RenderableType] = [_summary(found)]
    parts += [Text(trouble, style="yellow") for trouble in troubles(found)]
    parts += [Text(), _hosts(found), Text(), _shards(found), Text(), _workers(found)]
    return Group(*parts)


def _summary(found: ClusterStatus) -> Table:
    active = found.active
    summary = Table.grid(padding=(0, 2))
    summary.add_column(style="dim")
    summary.add_column()
    ready = sum(shard.status == "READY" for shard in found.shards if active and shard.total == active.total)
    total = "-" if active is None else str(active.total)
    summary.add_row("cluster", Text(found.app, style="bold"))
    summary.add_row("shards ready", f"{ready} of {total}")
    if found.next is not None:
        coming = [shard for shard in found.shards if shard.total == found.next.total]
        of = f"{sum(shard.status == 'READY' for shard in coming)} of {found.next.total} ready, {found.next.phase}"
        summary.add_row("reshard", Text(of, style="yellow"))
    summary.add_row("partitions", f"{len(found.partitions)} of {PARTITIONS} taken by {len(found.workers)} workers")
    stream = _stream(found)
    if stream is not None:
        waiting = sum(consumer.pending + consumer.ack_pending for consumer in stream.consumers)
        summary.add_row(
            "stream",
            f"{stream.messages:,} messages, {filesize.decimal(stream.bytes)}, on {max(1, stream.replicas)} servers; "
            f"{waiting:,} not acknowledged; dead letters {stream.dead:,}",
        )
    if found.budget is not None:
        again = _age(found.at, found.budget.resets_at)
        summary.add_row("identifies", f"{found.budget.remaining:,} of {found.budget.total:,} left, anew in {again}")
    return summary


def _hosts(found: ClusterStatus) -> Table:
    table = _table("host", "shards", "capacity", "version", "up", "admin", "")
    for host in found.hosts:
        info = host.info
        marks = [word for word, on in (("coordinator", host.coordinator), ("draining", info.draining)) if on]
        up = _age(info.started_at, found.at)
        table.add_row(
            info.id, str(host.shards), str(info.capacity), info.version, up, info.admin or "-", ", ".join(marks)
        )
    return table


def _shards(found: ClusterStatus) -> RenderableType:
    shown = found.shards
    if len(shown) > _MANY:
        shown = [shard for shard in shown if shard.status != "READY"]
    table = _table("shard", "host", "epoch", "status", "since")
    for shard in shown:
        ready = shard.status == "READY"
        table.add_row(
            f"{shard.id}/{shard.total}",
            Text("nobody", style="red") if shard.host is None else Text(shard.host),
            str(shard.epoch or "-"),
            Text(shard.status, style="green" if ready else "yellow"),
            "-" if shard.since is None else _age(shard.since, found.at),
        )
    if len(shown) == len(found.shards):
        return table
    return Group(table, Text(f"{len(found.shards) - len(shown):,} more are READY", style="dim"))


def _workers(found: ClusterStatus) -> Table:
    held = Counter(part.worker for part in found.partitions.values())
    table = _table("worker", "partitions", "version", "up", "admin", "")
    for worker in found.workers:
        up = _age(worker.started_at, found.at)
        mark = "draining" if worker.draining else ""
        table.add_row(worker.id, str(held[worker.id]), worker.version, up, worker.admin or "-", mark)
    return table


async def _look(broker: NatsBroker, app: str) -> ClusterStatus:
    found = await status(broker, app)
    if found.active is None and not found.hosts and not found.workers:
        raise ClusterError(f"there is no cluster {app!r}: start a host with `propylon gateway`")
    return found


def _print(found: ClusterStatus, *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(found).decode(), flush=True)
    else:
        Console(soft_wrap=True).print(tables(found))


async def show(broker: NatsBroker, app: str, *, as_json: bool) -> int:
    """Print it once; the exit code."""
    found = await _look(broker, app)
    _print(found, as_json=as_json)
    return 1 if _missing(found) else 0


async def explained(broker: NatsBroker, error: Exception) -> str:
    """What to say of an error: of an answer that did not come, also whether nobody is there to give it."""
    if isinstance(error, ClusterError):
        return str(error)
    if isinstance(error, TimeoutError) and broker.connected:
        with contextlib.suppress(*AWAY):
            if not await broker.has_jetstream():
                where = f"NATS at {broker.core.servers}"
                return f"{where} has no JetStream; start it with -js, or with jetstream {{}} in its configuration"
    return f"{type(error).__name__}: {error}"


def tell_error(text: str, *, as_json: bool) -> None:
    """For people on stderr; for a program that reads JSON also where it reads."""
    complain(text)
    if as_json:
        print(msgspec.json.encode({"error": text}).decode(), flush=True)


async def watching(broker: NatsBroker, app: str, *, as_json: bool) -> NoReturn:
    """Look again and again until cancelled, also while NATS is away.

    Where stdout is no terminal, one after the other.
    """
    if as_json or not sys.stdout.isatty():
        while True:
            found = await _look_or_trouble(broker, app)
            if isinstance(found, str):
                tell_error(found, as_json=as_json)
            else:
                _print(found, as_json=as_json)
            await asyncio.sleep(_LOOK)
    with Live(auto_refresh=False, screen=True) as live:
        last: RenderableType = Text()
        while True:
            found = await _look_or_trouble(broker, app)
            if isinstance(found, str):
                live.update(Group(Text(found, style="red"), Text("before that:", style="dim"), last), refresh=True)
            else:
                last = tables(found)
                live.update(last, refresh=True)
            await asyncio.sleep(_LOOK)


async def _look_or_trouble(broker: NatsBroker, app: str) -> ClusterStatus | str:
    try:
        return await _look(broker, app)
    except (ClusterError, *AWAY) as error:
        return await explained(broker, error)


async def show_dead(broker: NatsBroker, limit: int, *, as_json: bool) -> int:
    """Print dead letters; 0."""
    letters = await broker.dead(limit)
    if as_json:
        print(msgspec.json.encode(letters).decode())
        return 0
    if not letters:
        print("no dead letters")
        return 0
    table = _table("number", "since", "size", "subject", "reason")
    for letter in letters:
        age = _age(letter.at, time.time())
        table.add_row(str(letter.sequence), age, filesize.decimal(letter.size), letter.subject, letter.reason)
    Console(soft_wrap=True).print(table)
    return 0
