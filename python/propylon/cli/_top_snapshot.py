"""What an admin server tells, as values: the JSON of ``/snapshot``, and how it is fetched."""

import http.client
import time
import urllib.error
import urllib.request
from email.message import Message
from typing import IO, Final
from urllib.parse import urlsplit

import msgspec

__all__ = [
    "Budget",
    "Counters",
    "Listener",
    "Live",
    "Loop",
    "Process",
    "Ready",
    "Reconnect",
    "Shard",
    "Snapshot",
    "Unanswered",
    "base_of",
    "fetch",
]

_PATIENCE: Final = 2.0
"""Seconds for an answer: it comes from the engine's own thread, also while Python is blocked, within milliseconds."""
_TOGETHER: Final = 10.0
"""Seconds for all of it: another server may send for ever, a little at a time."""
_CHUNK: Final = 1 << 20
_LARGEST: Final = 64 << 20
"""Bytes of an answer; 1,000 shards are 1 MB."""
_VERSION: Final = 1
"""Of the snapshot's shape."""


class Process(msgspec.Struct, frozen=True):
    """Which process it is."""

    pid: int
    started_at: float
    propylon: str
    python: str
    rss_bytes: int | None


class Live(msgspec.Struct, frozen=True):
    """Whether the event loop takes its turns, and what keeps it from that."""

    ok: bool
    blocked_seconds: float
    since: float | None
    listener: str | None


class Ready(msgspec.Struct, frozen=True):
    """How many shards are READY."""

    ok: bool
    shards: int
    ready: int


class Loop(msgspec.Struct, frozen=True):
    """One event loop."""

    last_turn_at: float | None
    blocked_seconds: float
    lag_seconds: float | None
    running: str | None


class Counters(msgspec.Struct, frozen=True):
    """Events by outcome, since the process started."""

    received: int
    delivered: int
    unheard: int
    filtered: int
    overflowed: int
    overlapped: int

    @property
    def dropped(self) -> int:
        """Those that reached no listener, for whatever reason but that another shard brought them."""
        return self.unheard + self.filtered + self.overflowed


class Shard(Counters, frozen=True):
    """One shard: where it stands and what it has counted."""

    id: int
    count: int
    status: str
    latency_seconds: float | None
    guilds: int
    queued: int
    queue_bytes: int
    duplicates: int
    ignored: int
    malformed: int
    mended: int
    undecodable: int
    listener_errors: int
    wire_bytes: int
    inflated_bytes: int
    pauses: int
    paused_seconds: float
    wakeups: int
    heartbeats: int
    reconnects: int
    reconnects_by_reason: dict[str, int]
    resumes: int
    identifies: int
    commands_sent: int
    last_frame_at: float | None
    last_event_at: float | None
    last_ack_at: float | None
    send_window_left: int
    identify_blocked_until: float | None
    sequence: int | None


class Listener(msgspec.Struct, frozen=True):
    """One listener, and the time that it takes."""

    name: str
    calls: int
    errors: int
    seconds: float
    slow: int
    longest_seconds: float


class Reconnect(msgspec.Struct, frozen=True):
    """A connection that was made anew."""

    at: float
    shard: int
    code: int | None
    reason: str | None
    resumed: bool | None
    """None: the new connection has not come so far yet."""


class Budget(msgspec.Struct, frozen=True):
    """Sessions that Discord lets this bot start."""

    total: int
    remaining: int
    resets_at: float | None


class Snapshot(msgspec.Struct, frozen=True):
    """All that the admin server knows at one moment. Times are Unix seconds."""

    version: int
    time: float
    process: Process
    live: Live
    ready: Ready
    loops: list[Loop]
    shards: list[Shard]
    events: dict[str, Counters]
    listeners: list[Listener]
    reconnects: list[Reconnect]
    budget: Budget | None

    @property
    def blocked_seconds(self) -> float:
        """For how long an event loop has taken no turn."""
        return max([self.live.blocked_seconds, *(loop.blocked_seconds for loop in self.loops)])


class Unanswered(Exception):
    """No snapshot, why, and what to do about it."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The admin server sends none, so that whoever does is another server."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Follow it nowhere."""


# Straight there: an admin server is on this machine or in its network, where no proxy leads.
_opener: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def base_of(url: str) -> str:
    """``127.0.0.1:9464``, ``http://127.0.0.1:9464/`` and the like as ``http://127.0.0.1:9464``.

    Raises:
        ValueError: It is no address of an HTTP server.
    """
    whole = url if "://" in url else f"http://{url}"
    parts = urlsplit(whole)
    _ = parts.port  # raises where it is no number
    if "@" in parts.netloc:
        raise ValueError("an admin server asks for no name or password: write its address as http://127.0.0.1:9464")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address of an admin server: write it as http://127.0.0.1:9464")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _read(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body, or a little more than may be of it. Raises TimeoutError."""
    body = bytearray()
    while len(body) <= _LARGEST and (part := answer.read1(_CHUNK)):
        body += part
        if time.monotonic() > deadline:
            raise TimeoutError("it takes too long")
    return bytes(body)


def fetch(base: str) -> tuple[Snapshot, bytes]:
    """Ask for ``/snapshot``: as values, and as it came. Blocks for seconds where nobody answers.

    The standard library's client is enough for one small request a second to an address nearby, and a dependency less;
    whoever has an event loop calls this in a thread.

    Raises:
        Unanswered: Nobody is there, or somebody else.
    """
    try:
        with _opener.open(f"{base}/snapshot", timeout=_PATIENCE) as answer:
            body = _read(answer, time.monotonic() + _TOGETHER)
    except urllib.error.HTTPError as error:
        error.close()
        raise Unanswered(
            f"{base}/snapshot answers HTTP {error.code}, which no admin server of Propylon does; is it another server?"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        why = reason.strerror or reason if isinstance(reason, OSError) else reason or type(error).__name__
        raise Unanswered(
            f"{base} does not answer ({why}); is the bot running, with the option admin= and this address?"
        ) from None
    if len(body) > _LARGEST:
        raise Unanswered(f"{base}/snapshot has over {_LARGEST >> 20} MiB; is it another server?")
    try:
        found = msgspec.json.decode(body, type=Snapshot)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unanswered(f"{base}/snapshot is not what this version of propylon reads ({error})") from None
    if found.version != _VERSION:
        raise Unanswered(
            f"{base}/snapshot has version {found.version}, this propylon reads {_VERSION}; use that of the bot"
        )
    return found, body
