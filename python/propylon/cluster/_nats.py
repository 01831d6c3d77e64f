"""NATS: where it is and how to get in, and the broker over it.

Owns the options of a connection and their checks, and puts `_core.Broker`, which does the work, into the words of
`propylon.cluster._broker`. What the keys and subjects mean is not its business, nor are events: `_core.Publisher` and
`_core.Intake` use the connection by ``NatsBroker.core``.
"""

import asyncio
import atexit
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, Generic, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

import propylon._core as _core
from propylon._arguments import check_seconds
from propylon.cluster._broker import Asked, Change, Entry

__all__ = [
    "ConsumerStatus",
    "DeadLetter",
    "Nats",
    "NatsBroker",
    "NatsQuestions",
    "NatsWatch",
    "StreamStatus",
    "check_app",
    "connect",
    "nats_of",
]

_T = TypeVar("_T")

_PORT: Final = 4222
_APP: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_SEED: Final = re.compile(r"SU[A-Z2-7]{56}")
_WHAT_IT_IS: Final = "an address of NATS is a host and a port, such as nats://127.0.0.1:4222"
_ASKING: Final = 2.0
"""Seconds that JetStream has to say that it is there."""

# Joins the threads of what Python awaits here while Python can still run, also where no gateway was ever made.
atexit.register(_core.shutdown, 5.0)


def check_app(app: str) -> None:
    """Raise ValueError where this cannot be the name of an app: it is part of subjects and of buckets' names."""
    if not _APP.fullmatch(app):
        raise ValueError(f"app is 1 to 32 letters, digits, dashes and underscores, not {app!r}")
    if app.endswith("-dead"):
        # propylon-x-dead would be the events of this one and the dead letters of x.
        raise ValueError(f"app cannot end in -dead, as {app!r} does: the dead letters of another one are called so")


@dataclass(frozen=True)
class Nats:
    """Where NATS is, and how to get in: ``Worker(Nats("nats://127.0.0.1:4222", token="..."), app="mybot")``.

    Passwords, tokens and seeds are in no repr, log or error text.
    """

    servers: str | Sequence[str]
    """A URL, several, or several with commas between; ``tls://`` for one that wants TLS from the start.

    A URL may have a user and a password, or a token in their place; here they are without.
    """
    _: KW_ONLY
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    """One that all clients share."""
    nkey: str | PathLike[str] | None = field(default=None, repr=False)
    """The seed of an nkey (``SU...``), or the path of a file with it."""
    creds: str | PathLike[str] | None = None
    """The path of a credentials file: a JWT, and the seed of its key."""
    ca_file: str | PathLike[str] | None = None
    """Who may have signed the server's certificate, in place of the system's list."""
    cert_file: str | PathLike[str] | None = None
    """Our own certificate, with ``key_file``."""
    key_file: str | PathLike[str] | None = None
    timeout: float = 5.0
    """Seconds that the first connection may take, and every answer after it."""

    def __post_init__(self) -> None:
        """Check all that can be checked without a connection.

        Raises:
            ValueError: The options cannot work; the text says what to change.
            TypeError: One is of another type.
        """
        given: Sequence[str] = [self.servers] if isinstance(self.servers, str) else self.servers
        servers: list[str] = []
        logins: set[tuple[str | None, str | None, str | None]] = set()
        for url in (part.strip() for text in given for part in text.split(",")):
            server, *login = _taken_apart(url)
            servers.append(server)
            if any(login):
                logins.add((login[0], login[1], login[2]))
        if not servers:
            raise ValueError(f"Nats: no server was named; {_WHAT_IT_IS}")
        if len(logins) > 1:
            raise ValueError("Nats: the URLs have different users; all servers of a cluster take the same")
        # Without what is secret in them. The class is frozen for everybody else.
        object.__setattr__(self, "servers", tuple(servers))
        for user, password, token in logins:
            if self.user or self.password or self.token:
                raise ValueError("Nats: a user or token stands in the URL and in the options; leave one out")
            object.__setattr__(self, "user", user)
            object.__setattr__(self, "password", password)
            object.__setattr__(self, "token", token)
        if (self.user is None) != (self.password is None):
            raise ValueError("Nats: user and password go together")
        ways = {"user": self.user, "token": self.token, "nkey": self.nkey, "creds": self.creds}
        taken = [name for name, value in ways.items() if value is not None]
        if len(taken) > 1:
            raise ValueError(f"Nats: {' and '.join(taken)} are different ways to get in; use one")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("Nats: cert_file and key_file go together")
        check_seconds("Nats", timeout=self.timeout)
        if not 0.1 <= self.timeout <= 600:
            raise ValueError(f"Nats: timeout is 0.1 to 600 s, not {self.timeout!r}")

    @property
    def addresses(self) -> tuple[str, ...]:
        """The servers, each as ``nats://host:port`` or ``tls://host:port``."""
        return tuple(self.servers)


def _taken_apart(url: str) -> tuple[str, str | None, str | None, str | None]:
    """The URL without what is secret, user, password, token. No error text has the URL in it: it may be secret."""
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
    except ValueError:
        # Its text would show user and password.
        raise ValueError(
            f"Nats: {_WHAT_IT_IS}; in user and password []/?#@: and what is not ASCII are written as %XX"
        ) from None
    if parts.scheme not in ("nats", "tls"):
        raise ValueError(f"Nats: {parts.scheme}:// is not spoken here; {_WHAT_IT_IS}")
    try:
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        raise ValueError(f"Nats: the port is no number up to 65535; {_WHAT_IT_IS}") from None
    if not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"Nats: {_WHAT_IT_IS}")
    server = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    if not parts.username:
        return server, None, None, None
    name = unquote(parts.username)
    if parts.password is None:
        return server, None, None, name
    return server, name, unquote(parts.password), None


def nats_of(nats: str | Sequence[str] | Nats) -> Nats:
    """The options, where only addresses were given."""
    return nats if isinstance(nats, Nats) else Nats(nats)


def _seed_of(nkey: str | PathLike[str]) -> str:
    text = fspath(nkey)
    if not _SEED.fullmatch(text):
        path = Path(text)
        if len(text) > 255 or not path.is_file():
            raise ValueError("Nats: nkey is a seed (SU and 56 letters and digits) or the path of a file with one")
        found = _SEED.search(path.read_text("utf-8", errors="replace"))
        if found is None:
            raise ValueError(f"Nats: there is no seed (SU and 56 letters and digits) in {text}")
        text = found.group()
    return text


def _path(path: str | PathLike[str] | None) -> str | None:
    return None if path is None else fspath(path)


class ConsumerStatus(msgspec.Struct, frozen=True):
    """Who reads the stream of events, and how far it is."""

    name: str
    pending: int
    """Messages that it was not sent yet."""
    ack_pending: int
    """Messages that it has, and has not acknowledged."""
    redelivered: int
    ack_floor: int
    """Everything up to this number of the stream is acknowledged."""


class StreamStatus(msgspec.Struct, frozen=True):
    """The stream of events, as the server tells it."""

    messages: int
    bytes: int
    first_sequence: int
    last_sequence: int
    replicas: int
    max_bytes: int
    """The most that it takes; -1 or 0: no limit."""
    max_age: float
    """Seconds; 0: no limit."""
    dead: int
    """How many dead letters there are; one that was kept in parts counts for each of them."""
    consumers: list[ConsumerStatus]


class DeadLetter(msgspec.Struct, frozen=True):
    """Events that no worker could handle, one message of them."""

    sequence: int
    subject: str
    """Where it was sent to."""
    reason: str
    size: int
    """In bytes."""
    at: float
    """Since when it is here: Unix time in seconds."""
    headers: list[tuple[str, str]]


class _Unread:
    """What was asked of the engine, and nobody waits for: at the end it is taken back.

    Else it would end with an error that arrives in the last moment of the loop, when nothing can read it any more.
    """

    def __init__(self) -> None:
        self._asked: Final[set[asyncio.Future[Any]]] = set()
        self._is_over = False

    def keep(self, asked: "asyncio.Future[Any]") -> None:
        """Nobody waits for it now."""
        if self._is_over:
            asked.cancel()
        else:
            self._asked.add(asked)
            asked.add_done_callback(self._asked.discard)

    def take(self, asked: "asyncio.Future[Any]") -> None:
        """Somebody does."""
        self._asked.discard(asked)

    def end(self) -> None:
        """Take it back, and what is left from now on."""
        self._is_over = True
        for asked in list(self._asked):
            asked.cancel()


class _Next(Generic[_T]):
    """One thing after the other, for whoever awaits it. What comes when the awaiting was cancelled is the next's."""

    def __init__(self, ask: Callable[[], Awaitable[_T]], unread: _Unread) -> None:
        self._ask: Final = ask
        self._unread: Final = unread
        self._asked: asyncio.Future[_T] | None = None
        self._waiting = 0

    async def __call__(self) -> _T:
        while True:
            if self._asked is None:
                self._asked = asyncio.ensure_future(self._ask())
                # Where nobody asks again, nobody reads why it ended.
                self._asked.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
            asked = self._asked
            self._unread.take(asked)
            self._waiting += 1
            try:
                got = await asyncio.shield(asked)
            except asyncio.CancelledError:
                # We were, and what has come meanwhile stays; or it was, and nothing will come.
                if asked.cancelled():
                    self._taken(asked)
                elif self._waiting == 1 and not asked.done():
                    self._unread.keep(asked)
                raise
            except BaseException:
                self._taken(asked)
                raise
            finally:
                self._waiting -= 1
            if self._taken(asked):
                return got

    def _taken(self, asked: "asyncio.Future[_T]") -> bool:
        """Whether it was not before, by somebody who awaited it too."""
        if self._asked is not asked:
            return False
        self._asked = None
        return True


class NatsWatch:
    """News of a bucket: `propylon.cluster._broker.Watch`."""

    def __init__(self, core: _core.KeyWatch, unread: _Unread) -> None:
        """``core``: the watch of the engine."""
        self._core: Final = core
        self._next: Final = _Next(core.next, unread)

    async def next(self) -> list[Change]:
        """All changes since the last call."""
        return [Change(*change) for change in await self._next()]

    def stop(self) -> None:
        """No more."""
        self._core.stop()


class NatsQuestions:
    """Requests to one subject: `propylon.cluster._broker.Questions`."""

    def __init__(self, core: _core.Questions, unread: _Unread) -> None:
        """``core``: the subscription of the engine."""
        self._core: Final = core
        self._next: Final = _Next(core.next, unread)

    async def next(self) -> Asked:
        """The next one."""
        return Asked(*await self._next())

    def stop(self) -> None:
        """No more."""
        self._core.stop()


class NatsBroker:
    """A connection to NATS, which comes back by itself: `propylon.cluster._broker.Broker`, and what only NATS has."""

    def __init__(self, core: _core.Broker, app: str) -> None:
        """Use `connect`."""
        self.core: Final = core
        """The engine's, for what carries events."""
        self.app: Final = app
        self._unread: Final = _Unread()

    def __repr__(self) -> str:
        """Where it is connected to."""
        state = "connected" if self.connected else "not connected"
        return f"<{type(self).__name__} {self.app!r} at {self.core.servers}, {state}>"

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self.core.connected

    @property
    def connects(self) -> int:
        """How often it has connected: 1, until it had to come back."""
        return self.core.connects

    @property
    def max_payload(self) -> int:
        """How many bytes a message may have; the server says so."""
        return self.core.max_payload

    async def get(self, bucket: str, key: str, /) -> Entry | None:
        """The entry; None where there is none."""
        found = await self.core.get(bucket, key)
        return None if found is None else Entry(*found)

    async def entries(self, bucket: str, pattern: str, /) -> list[Entry]:
        """Those whose key matches."""
        return [Entry(*entry) for entry in await self.core.entries(bucket, pattern)]

    async def put(self, bucket: str, key: str, value: bytes, /, *, ttl: float | None = None) -> int:
        """Write it whatever is there."""
        return await self.core.put(bucket, key, value, ttl=ttl)

    async def create(self, bucket: str, key: str, value: bytes, /, *, ttl: float | None = None) -> int | None:
        """Write it where the key is not there."""
        return await self.core.create(bucket, key, value, ttl=ttl)

    async def update(
        self, bucket: str, key: str, value: bytes, revision: int, /, *, ttl: float | None = None
    ) -> int | None:
        """Write it where the key still has this revision."""
        return await self.core.update(bucket, key, value, revision, ttl=ttl)

    async def delete(self, bucket: str, key: str, /, *, revision: int | None = None) -> bool:
        """Remove it, where it has this revision."""
        return await self.core.delete(bucket, key, revision=revision)

    async def watch(self, bucket: str, pattern: str, /) -> NatsWatch:
        """Hear of the keys that match, from now on, also over a restart of the server."""
        return NatsWatch(await self.core.watch(bucket, pattern), self._unread)

    async def request(self, subject: str, data: bytes, timeout: float, /) -> bytes | None:
        """Ask whoever serves the subject; None at once where nobody does."""
        return await self.core.request(subject, data, timeout)

    async def serve(self, subject: str, /) -> NatsQuestions:
        """Answer what is asked there, from when this returns."""
        return NatsQuestions(await self.core.serve(subject), self._unread)

    async def publish(self, subject: str, data: bytes, /) -> None:
        """Send it to whoever is there."""
        await self.core.publish(subject, data)

    def inbox(self) -> str:
        """A subject that nobody else has."""
        return self.core.inbox()

    async def close(self) -> None:
        """What was sent is on its way; everything that waits gets a ConnectionError."""
        self._unread.end()
        await self.core.close()

    async def prepare(
        self, *, replicas: int | None = None, max_bytes: int | None = None, max_age: float | None = None
    ) -> None:
        """Make the app's streams and bucket, or make them so where they are there; None leaves something as it is.

        Args:
            replicas: On so many servers each is kept; 1 where they are made.
            max_bytes: What the events may take; 1 GiB where they are made.
            max_age: How many seconds old an event may get; 300 where they are made.
        """
        await self.core.prepare(self.app, replicas=replicas, max_bytes=max_bytes, max_age=max_age)

    async def has_jetstream(self) -> bool:
        """Whether anybody answers for JetStream. A server that is just starting has nobody yet.

        Raises:
            TimeoutError: No answer came: there is no connection, or this user may not ask.
            ConnectionError: The broker was closed.
        """
        return await self.request("$JS.API.INFO", b"", _ASKING) is not None

    async def stream_status(self) -> StreamStatus | None:
        """The stream of events and who reads it; None where there is none."""
        text = await self.core.stream_status(self.app)
        return None if text is None else msgspec.json.decode(text, type=StreamStatus)

    async def dead(self, limit: int = 100, *, after: int = 0) -> list[DeadLetter]:
        """The oldest dead letters behind that sequence number, so many at most."""
        return msgspec.json.decode(await self.core.dead(self.app, limit, after), type=list[DeadLetter])

    async def replay_dead(self, sequence: int, /) -> bool:
        """Send it again to where it was sent to, and remove it; False where there is none with this number."""
        return await self.core.replay_dead(self.app, sequence)

    async def purge(self) -> None:
        """Remove streams and bucket: everything that is known of the app, sessions and events included."""
        await self.core.purge(self.app)


async def connect(nats: str | Sequence[str] | Nats, app: str, *, prepare: bool = True) -> NatsBroker:
    """Connect to NATS, within the time-out.

    Args:
        nats: Where it is.
        app: Whose streams and bucket.
        prepare: Make those where they are not there.

    Raises:
        ConnectionError: There is no server, it does not let us in, it is older than 2.11 or has no JetStream; the text
            says where we looked.
        TimeoutError: There is one, and it does not answer.
        OSError: A file of the options cannot be read.
        ValueError: The options cannot work.
    """
    check_app(app)
    options = nats_of(nats)
    core = await _core.Broker.connect(
        list(options.addresses),
        {
            "name": f"propylon-{app}",
            "user": options.user,
            "password": options.password,
            "token": options.token,
            "nkey": None if options.nkey is None else _seed_of(options.nkey),
            "creds": _path(options.creds),
            "ca_file": _path(options.ca_file),
            "cert_file": _path(options.cert_file),
            "key_file": _path(options.key_file),
            "timeout": options.timeout,
        },
    )
    broker = NatsBroker(core, app)
    if prepare:
        try:
            await broker.prepare()
        except BaseException:
            await broker.close()
            raise
    return broker
