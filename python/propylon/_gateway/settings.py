"""A gateway's options as the engine takes them: checked, with every default filled in."""

import logging
import os
import platform
import stat
from typing import Any, Final, Literal

from propylon._arguments import bare_token, class_name, count_of
from propylon._commands.payloads import presence_json
from propylon._gateway.options import Backoff, Compression, Overflow, Timeouts
from propylon._sessions.session import Session
from propylon._version import __version__
from propylon.errors import CommandError
from propylon.intents import Intents
from propylon.presence import Presence

__all__ = ["engine_options", "mending_of", "session_facts"]

_log: Final = logging.getLogger("propylon")

_QUEUE_EVENTS: Final = 262_144
_NO_INTENT: Final = 1 << 53
"""Above all that Discord could send as a number of JSON."""
_MAX_SHARDS: Final = 1 << 31
_LONGEST_WAKE_INTERVAL: Final = 1.0
"""Seconds. Heartbeats and answers may be late by as much."""
_REPOSITORY: Final = "https://github.com/propylon/propylon"


def _of(name: str, kind: type, value: object, advice: str) -> None:
    """Raises TypeError where an option that is not None is of another type."""
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} takes {advice}, not {value!r:.100}")


def _shard_of(shard: tuple[Any, ...] | None) -> tuple[int, int] | None:
    if shard is None:
        return None
    advice = f"shard takes (shard_id, shard_count), such as (0, 2), not {shard!r:.100}"
    if not isinstance(shard, tuple) or [type(number) for number in shard] != [int, int]:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(advice)
    number, count = shard
    if not 0 <= number < count <= _MAX_SHARDS:
        raise ValueError(f"{advice}: the id must be below the count, and starts at 0")
    return number, count


def _intents_of(intents: Any) -> int:
    """As a number; 0 for "auto", which is told later."""
    if isinstance(intents, str) and intents == "auto":
        return 0
    if isinstance(intents, bool) or not isinstance(intents, int):
        raise TypeError(f'intents are flags of Intents, or "auto", not {intents!r:.100}')
    if not 0 <= intents < _NO_INTENT:
        raise ValueError(f"intents={intents} hold a bit that is no intent; combine flags of Intents with |")
    return int(intents)


def _readable(ca_file: str | os.PathLike[str] | None) -> str | None:
    if ca_file is None:
        return None
    try:
        path = os.fsdecode(ca_file)
    except TypeError:
        raise TypeError(f"ca_file takes the path of a PEM file, not {ca_file!r:.100}") from None
    try:
        # Not opened: a pipe would give what it has to the first reader.
        what: object = "it is a folder" if stat.S_ISDIR(os.stat(path).st_mode) else None
        if what is None and not os.access(path, os.R_OK):
            what = "it may not be read"
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
    if what is not None:
        raise ValueError(f"ca_file {path}: {what}; name a file of PEM certificates")
    return path


def _properties_of(given: dict[Any, Any] | None) -> list[str]:
    """``os``, ``browser`` and ``device`` of IDENTIFY."""
    properties = {"os": platform.system().lower(), "browser": "propylon", "device": "propylon"}
    if given is None:
        return list(properties.values())
    if not isinstance(given, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"identify_properties takes a dict with os, browser and device, not {given!r:.100}")
    for name, value in given.items():
        if name not in properties:
            raise ValueError(f"identify_properties takes os, browser and device, not {name!s:.100}")
        if not isinstance(value, str):
            raise TypeError(f"identify_properties: {name} takes a text, not {value!r:.100}")
        properties[name] = value
    return list(properties.values())


def session_facts(session: Session) -> tuple[str, int, str | None, tuple[int, int] | None, int]:
    """A session as the engine takes it."""
    return session.id, session.sequence, session.resume_url, session.shard, int(session.intents)


def mending_of(misfits: object) -> bool:
    """Whether events are mended. Raises ValueError for what is no such option."""
    if misfits not in ("mend", "error"):
        raise ValueError(f'misfits takes "mend" or "error", not {misfits!r:.100}')
    return misfits == "mend"


def _wake_interval_of(seconds: float) -> float:
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not (is_number and 0 <= seconds <= _LONGEST_WAKE_INTERVAL):
        raise ValueError(
            f"wake_interval must be 0 to {_LONGEST_WAKE_INTERVAL:g} seconds, such as 0.002, not {seconds!r:.100}"
        )
    return float(seconds)


def engine_options(
    token: str,
    *,
    intents: Intents | int | Literal["auto"],
    compression: Compression,
    presence: Presence | None,
    large_threshold: int,
    auto_reconnect: bool,
    shard: tuple[int, int] | None,
    session: Session | None,
    gateway_url: str | None,
    api_url: str,
    timeouts: Timeouts | None,
    backoff: Backoff | None,
    overflow: Overflow,
    queue_bytes: int,
    max_payload_bytes: int,
    wake_interval: float,
    proxy: str | None,
    ca_file: str | os.PathLike[str] | None,
    native_roots: bool,
    identify_properties: dict[str, str] | None,
    allow_plaintext: bool,
) -> dict[str, Any]:
    """What `_core.Shard` is made from; the options are explained at `Gateway`.

    Raises:
        ValueError, TypeError: A setting cannot work; the text says what to change.
    """
    if not isinstance(token, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the token must be a str, not {type(token).__name__}; is DISCORD_TOKEN set?")
    bits = _intents_of(intents)
    shard = _shard_of(shard)
    if presence is not None and not isinstance(presence, Presence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"presence takes a propylon.Presence, not a {class_name(type(presence))}")
    if proxy is not None and not isinstance(proxy, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        # Only its type: a proxy's URL may hold a password.
        raise TypeError(f"proxy takes a URL as text, not {type(proxy).__name__}")
    for name, url in (("gateway_url", gateway_url), ("api_url", api_url)):
        if not (isinstance(url, str) or (url is None and name == "gateway_url")):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{name} takes a URL as text, not {url!r:.100}")
    _of("session", Session, session, "a Session, as Gateway.session or Session.from_dict() gives it")
    _of("timeouts", Timeouts, timeouts, "a Timeouts, such as Timeouts(connect=5)")
    _of("backoff", Backoff, backoff, "a Backoff, such as Backoff(cap=30)")
    _of("compression", str, compression, '"zstd-stream", "zlib-stream", "payload" or None')
    if not isinstance(overflow, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f'overflow takes "pause" or "drop_oldest", not {overflow!r:.100}')
    switches = {"auto_reconnect": auto_reconnect, "native_roots": native_roots, "allow_plaintext": allow_plaintext}
    for name, switch in switches.items():
        if not isinstance(switch, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{name} takes True or False, not {switch!r:.100}")
    timeouts = timeouts or Timeouts()
    backoff = backoff or Backoff()
    try:
        first_presence = None if presence is None else presence_json(presence)
    except CommandError as error:
        raise ValueError(f"presence: {error}") from None
    if session is not None and (session.shard != shard or not (intents == "auto" or bits == int(session.intents))):
        _log.warning("the session given belongs to other intents or another shard; identifying anew")
        session = None
    if count_of("large_threshold", large_threshold, 50) > 250:
        raise ValueError(f"large_threshold must be 50 to 250, not {large_threshold}")
    return {
        "token": bare_token(token),
        "intents": bits,
        "compression": compression,
        "presence": first_presence,
        "large_threshold": large_threshold,
        "auto_reconnect": auto_reconnect,
        "shard": shard,
        "session": None if session is None else session_facts(session),
        "gateway_url": gateway_url,
        "known_url": None,
        "outside_gate": False,
        "leased": False,
        "api_url": api_url,
        "connect": timeouts.connect,
        "hello": timeouts.hello,
        "ready": timeouts.ready,
        "close": timeouts.close,
        "base": backoff.base,
        "cap": backoff.cap,
        "reset_after": backoff.reset_after,
        "spread": 0.0,
        "overflow": overflow,
        "queue_bytes": count_of("queue_bytes", queue_bytes, 1),
        "queue_events": _QUEUE_EVENTS,
        "max_payload_bytes": count_of("max_payload_bytes", max_payload_bytes, 4096),
        "wake_interval": _wake_interval_of(wake_interval),
        "proxy": proxy,
        "ca_file": _readable(ca_file),
        "native_roots": native_roots,
        "properties": _properties_of(identify_properties),
        "user_agent": f"DiscordBot ({_REPOSITORY}, {__version__})",
        "allow_plaintext": allow_plaintext,
    }
