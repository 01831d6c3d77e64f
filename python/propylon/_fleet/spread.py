"""Which shards there are: from what a user says, from what Discord says, and whose a guild is."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from propylon.errors import WrongShard

__all__ = ["Budget", "Recommended", "Shards", "Wanted", "named", "rounded", "shard_of", "wanted_shards", "wrong_shard"]

_log: Final = logging.getLogger("propylon.gateway")

Shards: TypeAlias = Literal["auto"] | int | range | Iterable[int]
"""What ``shards=`` takes."""

_MOST: Final = 1 << 16
"""Beyond any bot: 160 million guilds."""


@dataclass(frozen=True, slots=True)
class Recommended:
    """What ``GET /gateway/bot`` says."""

    url: str
    shards: int
    budget: "Budget | None" = None


@dataclass(frozen=True, slots=True)
class Budget:
    """The session start limit: https://discord.com/developers/docs/events/gateway#session-start-limit-object."""

    total: int
    remaining: int
    reset_after: float
    """Seconds."""
    max_concurrency: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """The shards of this process, as a user says."""

    ids: tuple[int, ...] | None
    """None: all there are."""
    total: int | None
    """None: as many as Discord recommends."""

    def settled(self, recommended: Recommended | None) -> tuple[tuple[int, ...], int]:
        """The ids and the total."""
        total = self.total
        concurrency = 1 if recommended is None or recommended.budget is None else recommended.budget.max_concurrency
        if total is None:
            if recommended is None:
                raise ValueError("how many shards there are is not known: give total=, or an api_url to ask")
            total = rounded(max(recommended.shards, 1), concurrency)
        elif total % concurrency:
            _log.warning(
                "%d shards: an application that may start %d sessions at once must have a multiple of that, or Discord "
                "closes with 4010; %d would do",
                total,
                concurrency,
                rounded(total, concurrency),
            )
        ids = tuple(range(total)) if self.ids is None else self.ids
        if ids[-1] >= total:
            raise ValueError(f"shards={named(ids)}: there are {total} shards, so the last one is {total - 1}")
        return ids, total


def wanted_shards(shards: Any, total: Any) -> Wanted:
    """What ``shards=`` and ``total=`` say. Raises TypeError or ValueError with what to write instead."""
    if total is not None and (isinstance(total, bool) or not isinstance(total, int)):
        raise TypeError(f"total takes the number of all shards, of every process, not {total!r:.100}")
    if total is not None and not 1 <= total <= _MOST:
        raise ValueError(f"total must be 1 to {_MOST:,} shards, not {total}")
    if isinstance(shards, str):
        if shards != "auto":
            raise ValueError(f'shards takes "auto", a number, a range or ids, not {shards!r:.100}')
        return Wanted(None, total)
    if isinstance(shards, int) and not isinstance(shards, bool):
        if total not in (None, shards):
            raise ValueError(f"shards={shards} of total={total}: say which, such as shards=range({shards})")
        if not 1 <= shards <= _MOST:
            raise ValueError(f"shards must be 1 to {_MOST:,}, not {shards}")
        return Wanted(None, shards)
    advice = f'shards takes "auto", a number, range(0, 16) or ids such as [0, 5], not {shards!r:.100}'
    if not isinstance(shards, Iterable) or isinstance(shards, bytes | bytearray):
        raise TypeError(advice)
    if isinstance(shards, range) and len(shards) > _MOST:
        # Before it is looked through: it may have more than the memory.
        last = f"with total={total} the last one is {total - 1}" if total else f"there are at most {_MOST:,} shards"
        raise ValueError(f"shards={shards}: {last}")
    ids: list[Any] = list(shards)  # pyright: ignore[reportUnknownArgumentType]
    if any(isinstance(one, bool) or not isinstance(one, int) for one in ids):
        raise TypeError(advice)
    if not ids:
        raise ValueError("shards is empty; a manager needs at least one shard")
    if min(ids) < 0:
        raise ValueError(f"shards={named(ids)}: ids start at 0")
    if len(set(ids)) != len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise ValueError(f"shards={named(ids)}: {twice} is named twice")
    if total is None:
        raise ValueError(
            f"shards={named(ids)} of how many? Give total=, the number of all shards of every process; or "
            f"shards={max(ids) + 1} for all of 0 to {max(ids)}"
        )
    if max(ids) >= total:
        raise ValueError(f"shards={named(ids)}: with total={total} the last one is {total - 1}")
    return Wanted(tuple(sorted(ids)), total)


def rounded(total: int, concurrency: int) -> int:
    """The next multiple, which Discord asks of large bots."""
    return -(-total // max(concurrency, 1)) * max(concurrency, 1)


def shard_of(guild_id: int, total: int) -> int:
    """The shard that has a guild: https://discord.com/developers/docs/events/gateway#sharding-sharding-formula."""
    return (guild_id >> 22) % total


def wrong_shard(guild_id: int, shard_id: int, ids: Iterable[int], total: int) -> WrongShard:
    """The error for a guild that another process has."""
    return WrongShard(
        f"guild {guild_id} is on shard {shard_id} of {total}, and this process has {named(ids)}; ask the process that "
        "has it",
        shard_id,
    )


def named(ids: Iterable[int]) -> str:
    """Ids as an error names them."""
    ids = list(ids)
    if len(ids) > 2 and ids == list(range(ids[0], ids[0] + len(ids))):
        return f"{ids[0]} to {ids[-1]}"
    return ", ".join(map(str, ids[:10])) + (", …" if len(ids) > 10 else "")
