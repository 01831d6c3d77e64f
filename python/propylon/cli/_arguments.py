"""What is written on the command line, as values of the library."""

import ipaddress
import os
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

import orjson
import typer

from propylon._core import event_index
from propylon._fleet.spread import Shards
from propylon._fleet.written import shards_of as read_shards
from propylon._gateway.options import Compression
from propylon._gateway.written import COMPRESSIONS, suggestion
from propylon._gateway.written import compression_of as read_compression
from propylon._gateway.written import intents_of as read_intents
from propylon._gateway.written import shard_of as read_shard
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

T = TypeVar("T")

DISCORD_API: Final = "https://discord.com/api/v10"


def _read(read: Callable[[str], T], text: str) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def compression_of(text: str) -> Compression:
    """One of ``zstd-stream``, ``zlib-stream``, ``payload``, ``none``."""
    return _read(read_compression, text)


def intents_of(text: str) -> Intents:
    """A number, or names with commas between: ``guilds,guild-messages``, ``non-privileged``, ``all``, ``32767``."""
    intents = _read(read_intents, text)
    if intents == "auto":
        raise typer.BadParameter("auto asks for what listeners need, and a command has none: name the intents")
    return intents


def shard_of(text: str | None) -> tuple[int, int] | None:
    """``0/16`` as ``(0, 16)``."""
    return None if text is None else _read(read_shard, text)


def shards_of(text: str | None) -> tuple[Shards, int | None] | None:
    """``auto``, ``4``, ``0-15/64`` or ``0,5/16``, as the ``shards`` and the ``total`` of a `ShardManager`."""
    return None if text is None else _read(read_shards, text)


def event_names(texts: list[str]) -> list[str]:
    """Names as Discord writes them, in any case, also with commas between."""
    known = [name for name in event_index() if name != "UNKNOWN"]
    names = [word.strip().upper() for text in texts for word in text.split(",")]
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is no event of the gateway{suggestion(name, known)}")
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
