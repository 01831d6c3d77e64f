"""`Simulator`: the server as a Python object. What it does on the wire is Rust's; see ``rust/simulator``.

Over 500 lines because the options and what each means stand with the one class that takes them.
"""

import asyncio
import os
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import orjson

import propylon._core as _core
from propylon._names import warn_of_event
from propylon._playback import Pace, chunks, factor_of
from propylon.testing._expected import Expected
from propylon.testing._player import OF_THE_SESSION, Player, check
from propylon.testing.steps import Step

__all__ = ["Connection", "Simulator", "Until"]

Connection: TypeAlias = int | Literal["next", "every", "last"]
"""Which connections: a number (from 1; API requests don't count), or a word.

For scripts, ``"next"`` queues one for the next connection and ``"every"`` serves those without another. For steps at
run time, ``"every"`` means all live ones and ``"last"`` the newest.
"""

Until: TypeAlias = Literal[
    "accepted",
    "api_requests",
    "closed",
    "connections",
    "dispatched",
    "op",
    "open",
    "played",
    "ready",
    "resumed",
    "script_done",
    "traffic_done",
]
"""What `Simulator.wait_for` waits for."""

_FIRST_LOOK = 0.001
_LAST_LOOK = 0.02
_SLICE = 0.05


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _document(data: object) -> bytes:
    return data if isinstance(data, bytes) else orjson.dumps(data)


class Simulator:
    """A Discord-compatible gateway server on 127.0.0.1, on threads of its own.

    Use it as a context manager, ``with`` or ``async with``, or call `start` and `close`::

        async with Simulator(rate=100) as sim:
            gateway = Gateway("token", intents=Intents.GUILDS, gateway_url=sim.url)

    Times are seconds. All options are keyword-only.

    Args:
        port: TCP port; 0 takes a free one.
        tls: Serve ``wss`` and ``https``; give `ca_file` to the client.
        certificate: ``"valid"``, or a bad one: ``"wrong_host"``, ``"expired"``, ``"not_yet_valid"``, ``"self_signed"``,
            ``"unknown_ca"``.
        token: The only token to accept; None accepts any.
        heartbeat_interval: What HELLO says; from 0.02.
        guilds, channels, members: Sizes of the simulated world: guilds over all shards, channels and members of each.
        guild_create_members: Members that a GUILD_CREATE carries.
        guild_creates: Send GUILD_CREATEs after READY, if the GUILDS intent was asked for.
        shards, max_concurrency, session_start_total, session_start_remaining, session_start_reset_after: What
            ``/gateway/bot`` says; ``max_concurrency`` also spaces IDENTIFYs.
        guilds_per_shard: An IDENTIFY whose shard would have more guilds is closed with 4011; 0 switches the rule off.
        identify_interval: Between IDENTIFYs of one bucket, an earlier one gets op 9; 0 switches the rule off. A
            gateway that asks ``/gateway/bot`` (``api_url=``, and no ``gateway_url=``) keeps to it; any other waits 5 s
            at its own identify gate before it identifies again with the same token.
        disallowed_intents: Intent bits that are answered with 4014.
        command_limit: Payloads of one connection in 60 s before 4008; 0 switches the rule off.
        payload_limit: Bytes of one payload before 4002.
        member_request_interval: Between all-members requests for a guild, an earlier one gets RATE_LIMITED; 0: off.
        replay_buffer: Dispatches that can be replayed; None: Discord's rule, a million when flat out.
        session_ttl: How long a session outlives its connection.
        max_lag: Drop a client that is this many dispatches behind; None: never.
        separate_resume_port: Give out another port as ``resume_gateway_url``; the record tells them apart.
        require_user_agent: Answer 403 to an upgrade without ``User-Agent``.
        send_buffer: ``SO_SNDBUF`` in bytes.
        zlib_level, zstd_level: Compression levels.
        seed: The same seed gives the same events, byte for byte.
        rate: Events per second and session; 0 for none, None for as fast as the client takes them.
        tick: Between two looks at which events are due; those of one look come together. From 0.0001; below 0.002 each
            session with traffic takes a thread.
        shared_rate: Events per second of the whole bot; 0 for none. See `flood_shared`.
        events: Only these events, such as ``["MESSAGE_CREATE"]``; empty: the mix of a large bot.
        count: Events per session; None: endless.
        start: When the events start: ``"ready"``, or ``"manual"`` for `flood` and `flood_shared`.
        preload: With ``count`` and ``rate=None``: encode everything before the first event is sent.
        respect_intents: Leave out events whose intent was not asked for.
        stamp: Put nanoseconds since the Unix epoch into each MESSAGE_CREATE's ``nonce``.
        scripts: Steps of connections to come; see `script`.
        recording: A recording (docs/recording.md) that each new session is sent, after its READY and the GUILD_CREATEs
            of the simulated world (``guilds=0`` for none), at the pace at which it was recorded: the events of its
            shard, or all where no event came on so many shards. ``d`` is sent byte for byte; READY and RESUMED of the
            recording are left out. ``wait_for("played")`` waits for its end, and raises what is wrong with a damaged
            file; that is also a warning of the log ``propylon.recording``. What stands before the damage is sent.
        speed: Of the recording. 1: as long as it took, 10: in a tenth of that; ``"max"``: as fast as clients take it.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        tls: bool = False,
        certificate: Literal["valid", "wrong_host", "expired", "not_yet_valid", "self_signed", "unknown_ca"] = "valid",
        token: str | None = None,
        heartbeat_interval: float = 41.25,
        guilds: int = 10,
        channels: int = 8,
        members: int = 50,
        guild_create_members: int = 20,
        guild_creates: bool = True,
        shards: int = 1,
        max_concurrency: int = 1,
        guilds_per_shard: int = 2500,
        identify_interval: float = 5.0,
        session_start_total: int = 1000,
        session_start_remaining: int = 1000,
        session_start_reset_after: float = 86_400.0,
        disallowed_intents: int = 0,
        command_limit: int = 120,
        payload_limit: int = 4096,
        member_request_interval: float = 30.0,
        replay_buffer: int | None = None,
        session_ttl: float = 180.0,
        max_lag: int | None = None,
        separate_resume_port: bool = False,
        require_user_agent: bool = False,
        send_buffer: int | None = None,
        zlib_level: int = 6,
        zstd_level: int = 3,
        seed: int = 0,
        rate: float | None = 0.0,
        tick: float = 0.002,
        shared_rate: float = 0.0,
        events: Sequence[str] = (),
        count: int | None = None,
        start: Literal["ready", "manual"] = "ready",
        preload: bool = False,
        respect_intents: bool = False,
        stamp: bool = False,
        scripts: Mapping[Connection, Sequence[Step]] | None = None,
        recording: str | os.PathLike[str] | None = None,
        speed: float | Literal["max"] = 1.0,
    ) -> None:
        """Keep the options; `start` or a ``with`` block starts the server.

        Raises:
            ValueError: ``tick`` is no number of seconds from 0.0001 to 1, or ``speed`` is impossible.
        """
        if not 0.0001 <= tick <= 1:
            raise ValueError(f"tick must be 0.0001 to 1 second, such as 0.002, not {tick!r:.100}")
        self._config: dict[str, Any] = {
            "port": port,
            "tls": tls,
            "certificate": certificate,
            "token": token,
            "heartbeat_interval": _milliseconds(heartbeat_interval),
            "guilds": guilds,
            "channels": channels,
            "members": members,
            "guild_create_members": guild_create_members,
            "guild_creates": guild_creates,
            "shards": shards,
            "max_concurrency": max_concurrency,
            "guilds_per_shard": guilds_per_shard,
            "identify_interval": _milliseconds(identify_interval),
            "session_start_total": session_start_total,
            "session_start_remaining": session_start_remaining,
            "session_start_reset_after": _milliseconds(session_start_reset_after),
            "disallowed_intents": int(disallowed_intents),
            "command_limit": command_limit,
            "payload_limit": payload_limit,
            "member_request_interval": _milliseconds(member_request_interval),
            "replay_buffer": replay_buffer,
            "session_ttl": _milliseconds(session_ttl),
            "max_lag": max_lag,
            "separate_resume_port": separate_resume_port,
            "require_user_agent": require_user_agent,
            "send_buffer": send_buffer,
            "zlib_level": zlib_level,
            "zstd_level": zstd_level,
            "seed": seed,
            "rate": rate,
            "tick": tick * 1000,
            "shared_rate": shared_rate,
            "events": list(events),
            "count": count,
            "start": start,
            "preload": preload,
            "respect_intents": respect_intents,
            "stamp": stamp,
            "scripts": [{"connection": which, "steps": list(steps)} for which, steps in (scripts or {}).items()],
        }
        self._recording = recording
        self._factor = factor_of(speed)
        self._player: Player | None = None
        self._forget_player: Callable[[], object] | None = None
        self._core: _core.Simulator | None = None
        self._expected = Expected()
        self._ca_file: Path | None = None
        self._forget_ca: Callable[[], object] | None = None

    def __repr__(self) -> str:
        """Where it runs."""
        return f"<Simulator {self._core.url if self._core else 'not started'}>"

    # -- life --

    def start(self) -> Self:
        """Start the server; nothing if it runs.

        Raises:
            OSError: The port is taken; the text names it, and what to do. Or the recording cannot be read.
            ValueError: An option cannot work, or the recording is none.
        """
        if self._core is None:
            if self._recording is not None:
                check(self._recording)
            self._core = _core.Simulator(orjson.dumps(self._config).decode())
            self._expected = Expected()
            pem = self._core.ca_pem
            if pem is not None:
                file, name = tempfile.mkstemp(prefix="propylon-ca-", suffix=".pem")
                with os.fdopen(file, "w") as out:
                    out.write(pem)
                self._ca_file = Path(name)
                # Also where nobody closes it, at the end of the process at the latest.
                self._forget_ca = weakref.finalize(self, Path(name).unlink, missing_ok=True)
            if self._recording is not None:
                self._player = Player(self._core, self._recording, self._factor)
                # Likewise: its thread holds the server, and must not run while the interpreter ends.
                self._forget_player = weakref.finalize(self, self._player.stop)
        return self

    def close(self) -> None:
        """Stop the server and its threads; clients see their connections end. Nothing the second time."""
        core, self._core = self._core, None
        self._player = None
        if self._forget_player is not None:
            self._forget_player()
        if core is not None:
            core.stop()
        self._ca_file = None
        if self._forget_ca is not None:
            self._forget_ca()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    async def __aenter__(self) -> Self:
        """Start."""
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def _running(self) -> _core.Simulator:
        if self._core is None:
            raise RuntimeError("the simulator is not running: use it in a `with` block, or call start()")
        return self._core

    # -- where --

    @property
    def url(self) -> str:
        """The gateway: ``ws://127.0.0.1:port``, with TLS ``wss://localhost:port``."""
        return self._running.url

    @property
    def resume_url(self) -> str:
        """What READY gives as ``resume_gateway_url``."""
        return self._running.resume_url

    @property
    def api_url(self) -> str:
        """Base of the REST face, as `Gateway`'s ``api_url`` takes it."""
        return self._running.api_url

    @property
    def port(self) -> int:
        """The gateway's port."""
        return self._running.port

    @property
    def ca_file(self) -> str | None:
        """A file with the certificate authority to trust, removed by `close`; None without TLS."""
        _ = self._running
        return None if self._ca_file is None else str(self._ca_file)

    # -- what --

    def script(self, connection: Connection, *steps: Step) -> None:
        """Give steps to connections to come. Raises `ValueError` for an unknown step or field."""
        self._running.script(orjson.dumps({"connection": connection, "steps": steps}).decode())

    def act(
        self,
        step: Step,
        connection: Connection | None = None,
        *,
        shard: int | None = None,
        shard_count: int | None = None,
    ) -> None:
        """Do a step now on live connections: the newest, others by ``connection``, or those of shards.

        ``shard`` means every connection that identified with this id, ``shard_count`` every one that counts with so
        many shards; both together mean one shard. ``steps.expire_sessions()`` takes them too, and ends the sessions of
        these shards, connected or not; without them it ends all.

        Raises:
            RuntimeError: There is no such connection, or the step is not possible. With several connections, each has
                had its turn.
            ValueError: Unknown step or field, or both a connection and shards.
        """
        target: object = "last" if connection is None else connection
        if shard is not None or shard_count is not None:
            if connection is not None:
                raise ValueError("act() takes a connection, or shard= and shard_count=")
            target = {"shard": shard, "shard_count": shard_count}
        self._running.act(orjson.dumps(target).decode(), orjson.dumps(step).decode())

    def dispatch(
        self, event: str, data: object, *, session: str | None = None, guild_id: int | str | None = None
    ) -> int:
        """Send an event to one session, to those that have a guild, or to all; returns to how many.

        With ``guild_id``, to every live session whose shard has this guild, by its own number of shards; 0 and None
        stand for no guild. The event is kept for a RESUME, also while nobody is connected.

        ``data`` is ``d``, and is sent as it is: the guild is not put into it. Bytes are sent byte for byte, JSON or
        not; a str is a JSON string. Any name is sent; one that looks like a misspelt event of Discord's is warned of
        with an `UnknownNameWarning`. `dispatch_many` is for very many events.

        Raises:
            ValueError: Both a session and a guild.
        """
        warn_of_event(event, who="dispatch()", stacklevel=2)
        guild = int(guild_id or 0)
        if not guild:
            return self._running.dispatch(event, _document(data), session)
        if session is not None:
            raise ValueError("dispatch() takes session= or guild_id=")
        return self._running.route(event, [(guild, _document(data))])

    def dispatch_many(self, event: str, items: Iterable[tuple[int | str | None, object]]) -> int:
        """Send events of one kind, ``(guild_id, data)`` each, in order; returns how many were sent, over all sessions.

        Each goes where ``dispatch(event, data, guild_id=guild_id)`` sends it. The sessions are looked up once for all.
        """
        warn_of_event(event, who="dispatch_many()", stacklevel=2)
        return self._running.route(event, [(int(guild_id or 0), _document(data)) for guild_id, data in items])

    async def play(self, recording: str | os.PathLike[str], *, speed: float | Literal["max"] = 1.0) -> int:
        """Send the events of a recording (docs/recording.md) to the sessions that are there; returns how many went out.

        ``d`` is sent byte for byte as it is recorded. An event goes to the sessions of the shard that it came on; where
        no session has that total, to all, so that one client may hear a whole fleet. READY and RESUMED are left out:
        each session has its own. Sequence numbers are those of the session too. Sessions that come later get the rest;
        with the option ``recording`` each is sent all of it.

        Args:
            recording: The file. Full ones that were set aside are played before it.
            speed: 1: as long as it took, 10: in a tenth of that; ``"max"``: at once, and what clients have not taken
                waits in memory. A gap of more than a day counts as a day, and time never goes back.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is no recording, or damaged; what stands before that has been sent. Or ``speed`` is
                impossible.
        """
        pace, loop = Pace(factor_of(speed)), asyncio.get_running_loop()
        sent, began = 0, None
        for lines in chunks(recording):
            sessions = self._sessions_by_shard()
            for event, _, shard, at, _, _, raw in lines:
                if event in OF_THE_SESSION:
                    continue
                if began is None:
                    began = loop.time()
                wait = began + pace.due(at) - loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                    sessions = self._sessions_by_shard()
                if not any(count == shard[1] for _, count in sessions):
                    sent += self._running.dispatch(event, raw)
                for session in sessions.get(shard, ()):
                    sent += self._running.dispatch(event, raw, session)
            # Whoever reads what is sent may be in this loop.
            await asyncio.sleep(0)
        return sent

    def _sessions_by_shard(self) -> dict[tuple[int, int], list[str]]:
        found: dict[tuple[int, int], list[str]] = {}
        for session in self.record(payloads=False)["sessions"]:
            if not session["dead"]:
                found.setdefault((session["shard"][0], session["shard"][1]), []).append(session["id"])
        return found

    def send_raw(self, payload: str, connection: Connection | None = None) -> None:
        """Send a whole payload, envelope included, as it is, through the connection's compression."""
        self.act({"step": "send_payload", "text": payload}, connection)

    def flood(self, on: bool = True, *, rate: float | None = None) -> None:
        """Start or stop the events of every session; ``rate`` per second, 0 for flat out, None to leave it."""
        self._running.flood(on, rate)

    def flood_shared(self, on: bool = True, *, rate: float | None = None) -> None:
        """Start or stop the events of the whole bot; ``rate`` per second over all guilds, None to leave it.

        They are MESSAGE_CREATEs for the guilds of the simulated world in turn. Each goes to every live session that has
        the guild, with the same bytes as ``d``, and counts its guild's events in ``nonce``: ``"4:17"`` is the 17th of
        guild number 4, from 0. So a client sees whether one was lost, came twice or out of order. Once this has
        stopped them, no more are made; ``record()["shared"]`` has ``made``, and ``guilds``: how many for each, by
        number. They go on from there when started again.

        Raises:
            ValueError: There is no rate: neither this one nor the option ``shared_rate`` is above 0.
        """
        self._running.flood_shared(on, rate)

    def record(self, *, payloads: bool = True) -> dict[str, Any]:
        """Everything that the server saw: ``connections``, ``sessions``, ``api``, ``identifies``, ``shared``.

        Times, named ``ms``, are milliseconds since the start. Payloads are raw, tokens included: this is a test server.
        Without ``payloads``, the ``ops`` of each connection are left empty, most of what a fleet's record is; `fleet`
        is smaller still.
        """
        record: dict[str, Any] = orjson.loads(self._running.record(payloads))
        return record

    def fleet(self) -> dict[str, Any]:
        """What the server saw of all shards together, in counts; cheap with a thousand connections.

        - ``connections``: ``accepted``, ``upgraded``, ``open``, and ``most_open`` at once.
        - ``sessions``: for each number of shards (an int), how many are ``alive``, and ``connected`` of these.
        - ``identifies`` (as in `record`), ``ready``, ``resumes`` (received), ``resumed``, ``dispatched``,
          ``api_requests``.
        - ``early_identifies``: ``count`` of those whose bucket was not free yet, and by how many ms at worst,
          ``worst_ms``. ``identifies_over_budget``: how many when ``session_start_limit`` had none left.
        - ``beats``, and ``late_beats``: ``count`` of those more than a quarter of the interval late, after the one
          before or HELLO, and ``worst_ms``. ``overdue_beats``: open connections whose next one is that late now.
        - ``closes``: how connections ended: by whom (as in `record`), then with which code (``"none"`` without), how
          often.
        - ``shared``: whether the events of `flood_shared` are ``on``, their ``rate``, and how many were ``made``.
        """
        fleet: dict[str, Any] = orjson.loads(self._running.fleet())
        fleet["sessions"] = {int(count): sessions for count, sessions in fleet["sessions"].items()}
        return fleet

    def holds(self, until: Until, **details: int) -> bool:
        """Whether what `wait_for` would wait for is so now."""
        return self._is_so(until, details, 0.0)

    def _is_so(self, until: Until, details: Mapping[str, int], patience: float) -> bool:
        """Whether it is so, within about so many seconds."""
        core = self._running
        if until == "played":
            return self._is_played(patience, **details)
        return core.wait(orjson.dumps({"until": until, **details}).decode(), patience)

    def _is_played(self, patience: float, *, count: int = 1) -> bool:
        if self._player is None:
            raise ValueError("there is no recording to wait for: give Simulator() the option recording=")
        if self._player.is_over(count):
            return True
        time.sleep(min(patience, _LAST_LOOK))
        return False

    def _raise_damage(self, until: Until) -> None:
        if until == "played" and self._player is not None and self._player.error is not None:
            raise self._player.error

    @staticmethod
    async def _polled(is_so: Callable[[], bool], timeout: float) -> bool:
        """Whether it is so within ``timeout`` seconds."""
        # Polled, so that a cancelled wait, or the end of the process, leaves no thread behind.
        deadline, pause = time.monotonic() + timeout, _FIRST_LOOK
        while not is_so():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_LOOK)
        return True

    @staticmethod
    def _blocked(is_so: Callable[[], bool], timeout: float) -> bool:
        """The same where looking waits for a while: in slices, so that Ctrl-C is heard."""
        deadline = time.monotonic() + timeout
        while not is_so():
            if time.monotonic() > deadline:
                return False
        return True

    async def wait_for(self, until: Until, *, timeout: float = 10.0, **details: int) -> None:
        """Wait until the server saw something: ``await sim.wait_for("op", op=2, count=3)``. Raises `TimeoutError`.

        ``accepted``, ``connections``, ``api_requests``, ``dispatched``: at least ``count``. ``open``: exactly ``count``
        WebSockets. ``op``: ``op`` received ``count`` times, on one ``connection`` or over all. ``ready``, ``resumed``:
        sent ``count`` times. ``closed``, ``script_done``: of a ``connection``. ``traffic_done``: every session's
        ``count`` is on the wire. ``played``: at least ``count`` sessions have come, and each of those that came was
        sent all of the option ``recording``, or has ended; raises ValueError or OSError where the file is damaged.
        """
        if not await self._polled(lambda: self._is_so(until, details, 0.0), timeout):
            raise TimeoutError(f"simulator: no {until} {details or ''} within {timeout} s")
        self._raise_damage(until)

    def wait(self, until: Until, *, timeout: float = 10.0, **details: int) -> None:
        """Block like `wait_for`, for tests without an event loop; other threads run meanwhile."""
        if not self._blocked(lambda: self._is_so(until, details, _SLICE), timeout):
            raise TimeoutError(f"simulator: no {until} {details or ''} within {timeout} s")
        self._raise_damage(until)

    async def expect(self, *, op: int, timeout: float = 5.0) -> Any:
        """Wait for a command of the client, and give its ``d``: ``await sim.expect(op=3)`` is what a presence sent.

        Each command is given once, in the order in which they came, over all connections: the next call with the same
        ``op`` gives the one after, also while an earlier call still waits. Those that came before the call count, so
        nothing is missed; IDENTIFY (2), RESUME (6) and heartbeats (1) are commands too.
        https://discord.com/developers/docs/topics/opcodes-and-status-codes

        Raises:
            TimeoutError: None came within ``timeout`` seconds. The text says what came instead.
        """
        with self._expected.waiting(op) as place:
            if not await self._polled(lambda: place.is_next and self._has_come(op, 0.0), timeout):
                raise TimeoutError(self._expected.missing(self.record(payloads=False), op, timeout))
            return self._expected.take(self.record(), op)

    def expect_sync(self, *, op: int, timeout: float = 5.0) -> Any:
        """Block like `expect`, for tests without an event loop; other threads run meanwhile."""
        with self._expected.waiting(op) as place:

            def has_come() -> bool:
                if place.is_next:
                    return self._has_come(op, _SLICE)
                time.sleep(_LAST_LOOK)
                return False

            if not self._blocked(has_come, timeout):
                raise TimeoutError(self._expected.missing(self.record(payloads=False), op, timeout))
            return self._expected.take(self.record(), op)

    def _has_come(self, op: int, patience: float) -> bool:
        return self._is_so("op", {"op": op, "count": self._expected.count(op) + 1}, patience)
