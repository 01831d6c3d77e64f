"""What the tests of fleets share: managers with short deadlines, whose guild is where, and who speaks to one shard."""

import itertools
from collections.abc import Iterable
from typing import Any

from face.support import SHORT, message
from propylon import Dispatch, Intents, Metrics, ShardManager
from propylon.testing import Simulator

MESSAGES = Intents.GUILD_MESSAGES

_numbers = itertools.count(1)


def make_manager(sim: Simulator, *, token: str | None = None, **options: Any) -> ShardManager:
    """A manager for a simulator, which says how IDENTIFYs are spaced. Each has a token of its own, unless told one."""
    options = {"intents": Intents.ALL, "api_url": sim.api_url, "ca_file": sim.ca_file, **SHORT, **options}
    return ShardManager(token or f"fleet-token-{next(_numbers)}", **options)


def guild_on(shard_id: int, total: int, turn: int = 0) -> int:
    """The id of a guild of a shard; the simulator's bot is not in it."""
    return (shard_id + total * (turn + 1_000)) << 22


def worlds_guild(number: int) -> int:
    """The id of a guild of the simulated world."""
    return (160_000_000_000 + number) << 22


def world_on(shard_id: int, total: int) -> int:
    """One that a shard has."""
    return next(guild for guild in map(worlds_guild, range(total)) if _is_on(guild, shard_id, total))


def _is_on(guild_id: int, shard_id: int, total: int) -> bool:
    return (guild_id >> 22) % total == shard_id


def sessions_of(sim: Simulator) -> dict[tuple[int, int], str]:
    """The ids of the sessions that live and are connected, by shard."""
    return {
        (session["shard"][0], session["shard"][1]): session["id"]
        for session in sim.record()["sessions"]
        if session["connected"] and not session["dead"]
    }


def say(sim: Simulator, guild_id: int, content: str, sessions: dict[tuple[int, int], str] | None = None) -> int:
    """Send a message of a guild to each session that has it, byte for byte the same; return to how many."""
    known = sessions_of(sim) if sessions is None else sessions
    sent = 0
    data = message(content, guild_id=str(guild_id))
    for (shard_id, total), session in known.items():
        if _is_on(guild_id, shard_id, total):
            sent += sim.dispatch("MESSAGE_CREATE", data, session=session)
    return sent


def connections_of(sim: Simulator) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """All connections by the shard that they identified or resumed as; those that did neither are left out."""
    shards = {session["id"]: (session["shard"][0], session["shard"][1]) for session in sim.record()["sessions"]}
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for connection in sim.record()["connections"]:
        if connection["session"] is not None:
            found.setdefault(shards[connection["session"]], []).append(connection)
    return found


def number_of(sim: Simulator, shard_id: int, total: int) -> int:
    """The number of the newest connection of a shard."""
    return int(connections_of(sim)[shard_id, total][-1]["number"])


def identified(sim: Simulator) -> list[tuple[int, int]]:
    """The shards of all IDENTIFYs, in their order."""
    told = [op for connection in sim.record()["connections"] for op in connection["ops"] if op["op"] == 2]
    return [tuple(op["payload"]["d"]["shard"]) for op in sorted(told, key=lambda op: op["ms"])]


def times_of(sim: Simulator, op: int) -> list[float]:
    """Seconds at which commands of an opcode came, in their order."""
    told = [one["ms"] for connection in sim.record()["connections"] for one in connection["ops"] if one["op"] == op]
    return [ms / 1000 for ms in sorted(told)]


def balances(metrics: Metrics) -> bool:
    """Whether each event that was received has become something, in all and type by type."""
    parts = (
        metrics.delivered_by_type,
        metrics.unheard_by_type,
        metrics.filtered_by_type,
        metrics.overflowed_by_type,
        metrics.overlapped_by_type,
        metrics.queued_by_type,
    )
    by_type = all(
        count == sum(part.get(event, 0) for part in parts) for event, count in metrics.received_by_type.items()
    )
    rest = metrics.filtered + metrics.overflowed + metrics.overlapped + metrics.queued
    return by_type and metrics.received == metrics.delivered + metrics.unheard + rest


def by_shard(dispatches: Iterable[Dispatch[Any]]) -> dict[int, list[int | None]]:
    """The sequence numbers of each shard, in the order in which they were heard."""
    found: dict[int, list[int | None]] = {}
    for dispatch in dispatches:
        found.setdefault(dispatch.shard_id, []).append(dispatch.sequence)
    return found
