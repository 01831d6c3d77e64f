"""What is written on the command line, as values of the library."""

import ipaddress
import os
from typing import Final
from urllib.parse import urlsplit

import orjson
import typer

from propylon._core import event_index
from propylon._fleet.spread import Shards, wanted_shards
from propylon._gateway.options import Compression
from propylon._names import nearest
from propylon.cli._process import complain
from propylon.events import EVENTS, Event
from propylon.intents import Intents

__all__ = [
    "COMPRESSIONS",
    "DISCORD_API",
    "compression_of",
    "event_classes",
    "event_names",
    "intents_of",
    "shard_of",
    "shards_of",
    "token_for",
    "value_of",
]

DISCORD_API: Final = "https://discord.com/api/v10"
COMPRESSIONS: Final[dict[str, Compression]] = {
    "zstd-stream": "zstd-stream",
    "zlib-stream": "zlib-stream",
    "payload": "payload",
    "none": None,
}

_SHARDS: Final = "write auto, how many there are (4), or which of how many (0-15/64 or 0,5/16)"


def _suggest(name: str, known: list[str]) -> str:
    near = nearest(name, known)
    return "" if near is None else f"; did you mean {near}?"


def compression_of(text: str) -> Compression:
    """One of ``zstd-stream``, ``zlib-stream``, ``payload``, ``none``."""
    try:
        return COMPRESSIONS[text.lower()]
    except KeyError:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(COMPRESSIONS)}") from None


def intents_of(text: str) -> Intents:
    """A number, or names with commas between: ``guilds,guild-messages``, ``non-privileged``, ``all``, ``32767``."""
    intents = Intents.NONE
    for word in filter(None, (word.strip() for word in text.split(","))):
        try:
            number = int(word, 0)
        except ValueError:
            name = word.upper().replace("-", "_")
            if name not in Intents.__members__:
                known = list(Intents.__members__)
                hint = _suggest(name, known) or f"; there are {', '.join(known)}"
                raise typer.BadParameter(f"{word!r} is no intent{hint}") from None
            intents |= Intents[name]
        else:
            if number < 0:
                raise typer.BadParameter(f"{word!r}: intents are a number of bits, not negative")
            intents |= Intents(number)
    return intents


def shard_of(text: str | None) -> tuple[int, int] | None:
    """``0/16`` as ``(0, 16)``."""
    if text is None:
        return None
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise typer.BadParameter(f"{text!r} is no shard: write its id and how many there are, such as 0/16")
    return int(number), int(count)


def shards_of(text: str | None) -> tuple[Shards, int | None] | None:
    """``auto``, ``4``, ``0-15/64`` or ``0,5/16``, as the ``shards`` and the ``total`` of a `ShardManager`."""
    if text is None:
        return None
    if text.strip().lower() == "auto":
        return "auto", None
    which, slash, count = (part.strip() for part in text.partition("/"))
    if not slash and not which.isdecimal():
        raise typer.BadParameter(f"{text!r}: {which} of how many? {_SHARDS}" if which else f"{text!r}: {_SHARDS}")
    if slash and not count.isdecimal():
        raise typer.BadParameter(f"{text!r}: {count!r} is no number of shards; {_SHARDS}")
    shards: Shards
    total: int | None = None
    try:
        if slash:
            total = int(count)
            # The total first: a range may be as long.
            wanted_shards("auto", total)
            shards = _ids_of(text, which, total)
        else:
            shards = int(which)
        wanted_shards(shards, total)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}; {_SHARDS}") from None
    return shards, total


def _ids_of(text: str, which: str, total: int) -> list[int]:
    ids: list[int] = []
    for part in which.split(","):
        first, dash, last = (number.strip() for number in part.partition("-"))
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal()):
            raise typer.BadParameter(f"{text!r}: {part.strip()!r} is neither an id nor a range; {_SHARDS}")
        if int(first) > int(last):
            raise typer.BadParameter(f"{text!r}: {part.strip()} goes down; write {last}-{first}")
        if int(last) >= total:
            raise typer.BadParameter(f"{text!r}: ids start at 0, so the last one of {total} is {total - 1}")
        ids += range(int(first), int(last) + 1)
    return ids


def event_names(texts: list[str]) -> list[str]:
    """Names as Discord writes them, in any case, also with commas between."""
    known = [name for name in event_index() if name != "UNKNOWN"]
    names = [word.strip().upper() for text in texts for word in text.split(",")]
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is no event of the gateway{_suggest(name, known)}")
    return names


def event_classes(texts: list[str]) -> list[type[Event]]:
    """The classes of these events."""
    names = event_names(texts)
    for name in names:
        if name not in EVENTS:
            raise typer.BadParameter(f"{name} has no class in propylon.events; leave --event out and filter the lines")
    return [EVENTS[name] for name in names]


def value_of(text: str) -> object:
    """JSON, such as ``7``, ``true`` or ``["a", "b"]``; anything else is text."""
    try:
        value: object = orjson.loads(text)
    except ValueError:
        return text
    return value


def _is_this_machine(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError as error:
        raise typer.BadParameter(f"{url!r} is no URL: {error}") from None
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def token_for(url: str) -> str:
    """The token, from the environment only: arguments are seen by every user of the machine and kept in histories.

    A server on this machine is a simulator, which takes any.
    """
    token = os.environ.get("DISCORD_TOKEN", "").strip()
    if token:
        return token
    if _is_this_machine(url):
        return "simulator"
    complain("no token: set the environment variable DISCORD_TOKEN to the one on your application's Bot page")
    raise typer.Exit(1)
