"""What is written on the command line, as values of the library."""

import ipaddress
import os
from typing import Final
from urllib.parse import urlsplit

import typer

from propylon._core import event_index
from propylon._gateway.options import Compression
from propylon._names import nearest
from propylon.cli._process import complain
from propylon.events import EVENTS, Event
from propylon.intents import Intents

__all__ = ["COMPRESSIONS", "compression_of", "event_classes", "event_names", "intents_of", "shard_of", "token_for"]

COMPRESSIONS: Final[dict[str, Compression]] = {
    "zstd-stream": "zstd-stream",
    "zlib-stream": "zlib-stream",
    "payload": "payload",
    "none": None,
}


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


def _is_this_machine(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError as error:
        raise typer.BadParameter(f"{url!r} is no URL: {error}") from None
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def token_for(gateway_url: str | None) -> str:
    """The token, from the environment only: arguments are seen by every user of the machine and kept in histories.

    A server on this machine is a simulator, which takes any.
    """
    token = os.environ.get("DISCORD_TOKEN", "").strip()
    if token:
        return token
    if gateway_url is not None and _is_this_machine(gateway_url):
        return "simulator"
    complain("no token: set the environment variable DISCORD_TOKEN to the one on your application's Bot page")
    raise typer.Exit(1)
