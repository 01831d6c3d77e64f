"""A gateway's options as the engine takes them: checked, with every default filled in."""

import base64
import binascii
import logging
import os
import platform
from typing import Any, Final

from propylon._version import __version__
from propylon.commands import presence_json
from propylon.errors import CommandError
from propylon.intents import Intents
from propylon.options import Backoff, Compression, Overflow, Timeouts
from propylon.presence import Presence
from propylon.session import Session

__all__ = ["bare_token", "count_of", "engine_options", "session_facts", "user_of_token"]

_log: Final = logging.getLogger("propylon")

_QUEUE_EVENTS: Final = 262_144
_MAX_ID_DIGITS: Final = 20
_REPOSITORY: Final = "https://github.com/propylon/propylon"


def count_of(name: str, value: object, least: int) -> int:
    """A whole number of at least ``least``. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def session_facts(session: Session) -> tuple[str, int, str | None, tuple[int, int] | None, int]:
    """A session as the engine takes it."""
    return session.id, session.sequence, session.resume_url, session.shard, int(session.intents)


def user_of_token(token: str) -> int | None:
    """The bot's own user, whose id is the first part of its token in base64; None for a token of another make."""
    first = bare_token(token).partition(".")[0]
    try:
        text = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)).decode("ascii")
    except (ValueError, binascii.Error):
        return None
    return int(text) if text.isdigit() and len(text) <= _MAX_ID_DIGITS else None


def bare_token(token: str) -> str:
    """The token without the prefix of the Authorization header."""
    return token.removeprefix("Bot ").removeprefix("bot ")


def engine_options(
    token: str,
    *,
    intents: Intents | int | None,
    compression: Compression,
    presence: Presence | None,
    large_threshold: int,
    auto_reconnect: bool,
    shard: tuple[int, int] | None,
    session: Session | None,
    gateway_url: str | None,
    api_url: str,
    timeouts: Timeouts,
    backoff: Backoff,
    overflow: Overflow,
    queue_bytes: int,
    max_payload_bytes: int,
    proxy: str | None,
    ca_file: str | os.PathLike[str] | None,
    native_roots: bool,
    identify_properties: dict[str, str] | None,
    allow_plaintext: bool,
) -> dict[str, Any]:
    """What `_core.Shard` is made from; the options are explained at `Gateway`. ``intents`` None: told later.

    Raises:
        ValueError, TypeError: A setting cannot work; the text says what to change.
    """
    if not isinstance(token, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the token must be a str, not {type(token).__name__}; is DISCORD_TOKEN set?")
    if isinstance(intents, bool) or not isinstance(intents, int | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f'intents are flags of Intents, or "auto", not {intents!r}')
    if presence is not None and not isinstance(presence, Presence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"presence takes a Presence, not {type(presence).__name__}")
    if proxy is not None and not isinstance(proxy, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"proxy takes a URL as text, not {type(proxy).__name__}")
    try:
        first_presence = None if presence is None else presence_json(presence)
    except CommandError as error:
        raise ValueError(f"presence: {error}") from None
    properties = {"os": platform.system().lower(), "browser": "propylon", "device": "propylon"}
    unknown = set(identify_properties or {}) - set(properties)
    if unknown:
        raise ValueError(f"identify_properties takes os, browser and device, not {', '.join(sorted(unknown))}")
    properties.update(identify_properties or {})
    if session is not None and (session.shard != shard or intents not in (None, int(session.intents))):
        _log.warning("the session given belongs to other intents or another shard; identifying anew")
        session = None
    if large_threshold > 250:
        raise ValueError("large_threshold must be 50 to 250")
    return {
        "token": bare_token(token),
        "intents": count_of("intents", int(intents or 0), 0),
        "compression": compression,
        "presence": first_presence,
        "large_threshold": count_of("large_threshold", large_threshold, 50),
        "auto_reconnect": auto_reconnect,
        "shard": shard,
        "session": None if session is None else session_facts(session),
        "gateway_url": gateway_url,
        "api_url": api_url,
        "connect": timeouts.connect,
        "hello": timeouts.hello,
        "ready": timeouts.ready,
        "close": timeouts.close,
        "base": backoff.base,
        "cap": backoff.cap,
        "reset_after": backoff.reset_after,
        "overflow": overflow,
        "queue_bytes": count_of("queue_bytes", queue_bytes, 1),
        "queue_events": _QUEUE_EVENTS,
        "max_payload_bytes": count_of("max_payload_bytes", max_payload_bytes, 4096),
        "proxy": proxy,
        "ca_file": None if ca_file is None else os.fspath(ca_file),
        "native_roots": native_roots,
        "properties": [properties["os"], properties["browser"], properties["device"]],
        "user_agent": f"DiscordBot ({_REPOSITORY}, {__version__})",
        "allow_plaintext": allow_plaintext,
    }
