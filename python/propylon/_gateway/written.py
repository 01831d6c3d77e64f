"""Options that are written as text, on a command line, in the environment or in a file, as values of the library."""

from typing import Final, Literal

from propylon._gateway.options import Compression
from propylon._names import nearest
from propylon.intents import Intents

__all__ = ["COMPRESSIONS", "compression_of", "intents_of", "shard_of", "suggestion"]

COMPRESSIONS: Final[dict[str, Compression]] = {
    "zstd-stream": "zstd-stream",
    "zlib-stream": "zlib-stream",
    "payload": "payload",
    "none": None,
}


def suggestion(name: str, known: list[str]) -> str:
    """What was probably meant, for the end of a text; else nothing."""
    near = nearest(name, known)
    return "" if near is None else f"; did you mean {near}?"


def compression_of(text: str) -> Compression:
    """One of ``zstd-stream``, ``zlib-stream``, ``payload``, ``none``. Raises ValueError."""
    try:
        return COMPRESSIONS[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is none of {', '.join(COMPRESSIONS)}") from None


def intents_of(text: str) -> Intents | Literal["auto"]:
    """A number, or names with commas between: ``guilds,guild-messages``, ``non-privileged``, ``all``, ``32767``; or
    ``auto``. Raises ValueError.
    """
    if text.strip().lower() == "auto":
        return "auto"
    intents = Intents.NONE
    for word in filter(None, (word.strip() for word in text.split(","))):
        try:
            number = int(word, 0)
        except ValueError:
            name = word.upper().replace("-", "_")
            if name not in Intents.__members__:
                known = list(Intents.__members__)
                hint = suggestion(name, known) or f"; there are {', '.join(known)}"
                raise ValueError(f"{word!r} is no intent{hint}") from None
            intents |= Intents[name]
        else:
            if number < 0:
                raise ValueError(f"{word!r}: intents are a number of bits, not negative")
            intents |= Intents(number)
    return intents


def shard_of(text: str) -> tuple[int, int]:
    """``0/16`` as ``(0, 16)``. Raises ValueError."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise ValueError(f"{text!r} is no shard: write its id and how many there are, such as 0/16")
    return int(number), int(count)
