"""Which shards there are, written as text."""

from typing import Final

from propylon._fleet.spread import Shards, wanted_shards

__all__ = ["shards_of"]

_ADVICE: Final = "write auto, how many there are (4), or which of how many (0-15/64 or 0,5/16)"


def shards_of(text: str) -> tuple[Shards, int | None]:
    """``auto``, ``4``, ``0-15/64`` or ``0,5/16``, as the ``shards`` and the ``total`` of a `ShardManager`.

    Raises ValueError.
    """
    if text.strip().lower() == "auto":
        return "auto", None
    which, slash, count = (part.strip() for part in text.partition("/"))
    if not slash and not which.isdecimal():
        raise ValueError(f"{text!r}: {which} of how many? {_ADVICE}" if which else f"{text!r}: {_ADVICE}")
    if slash and not count.isdecimal():
        raise ValueError(f"{text!r}: {count!r} is no number of shards; {_ADVICE}")
    shards: Shards
    total: int | None = None
    try:
        if slash:
            total = int(count)
            # The total first: a range may be as long.
            wanted_shards("auto", total)
            shards = _ids_of(which, total)
        else:
            shards = int(which)
        wanted_shards(shards, total)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}; {_ADVICE}") from None
    return shards, total


def _ids_of(which: str, total: int) -> list[int]:
    ids: list[int] = []
    for part in which.split(","):
        first, dash, last = (number.strip() for number in part.partition("-"))
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal()):
            raise ValueError(f"{part.strip()!r} is neither an id nor a range")
        if int(first) > int(last):
            raise ValueError(f"{part.strip()} goes down; write {last}-{first}")
        if int(last) >= total:
            raise ValueError(f"ids start at 0, so the last one of {total} is {total - 1}")
        ids += range(int(first), int(last) + 1)
    return ids
