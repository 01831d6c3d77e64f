"""What a filter reads. A host has only its JSON, and a worker asks it again of what the host let through."""

from functools import lru_cache
from typing import Final

import orjson

from propylon.events._projection import Fields, joined

__all__ = ["asked_by"]

_MOST_KNOWN: Final = 10_000


@lru_cache(maxsize=_MOST_KNOWN)
def asked_by(where: str) -> Fields | None:
    """The fields that a filter reads, by its JSON; None where it is of a version that says it otherwise."""
    try:
        described = orjson.loads(where)
    except orjson.JSONDecodeError:
        return None
    match described:
        case ["and" | "or" | "not", *parts]:
            within = [asked_by(orjson.dumps(part).decode()) for part in parts]
            known = [each for each in within if each is not None]
            return joined(known) if len(known) == len(within) else None
        case [str(), str(path), *_]:
            fields: Fields | None = None
            for name in reversed(path.split(".")):
                fields = {name: fields}
            return fields
        case _:
            return None
