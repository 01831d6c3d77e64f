"""The shard manager: what users of many shards hold. Signatures and their explanations; what is behind them stands in
other files.

Over 500 lines because each option, argument and error is explained where a user's editor looks for it.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, ParamSpec, Self, TypeVar, Unpack, overload

import propylon._core as _core
from propylon._arguments import count_of
from propylon._commands.answers import VoiceServer
from propylon._commands.members import MembersRequest
from propylon._commands.payloads import id_of, ids_of, presence_json
from propylon._filters.expression import Filter, Where
from propylon._fleet.asking import Counsel
from propylon._fleet.life import FleetLife
from propylon._fleet.making import Maker
from propylon._fleet.permits import check_gate
from propylon._fleet.shards import ManagedShard, Shards
from propylon._fleet.spread import Shards as ShardsOption
from propylon._fleet.spread import shard_of, wanted_shards
from propylon._fleet.written import shards_of
from propylon._gateway.admin import Admin
from propylon._gateway.config import SharedOptions, configured
from propylon._gateway.intents import AskedIntents
from propylon._gateway.metrics import Metrics
from propylon._gateway.options import Backoff, Compression, Misfits, Overflow, Timeouts
from propylon._gateway.serving import run, serve
from propylon._gateway.settings import engine_options, mending_of
from propylon._listening.batches import Batches
from propylon._listening.entry import Options
from propylon._listening.groups import Listeners
from propylon._listening.lifespan import Lifespan
from propylon._listening.listener import Listener
from propylon._listening.signature import EventForm, names_of_caller
from propylon._listening.waiting import Stream
from propylon._recording.recorder import Recorder
from propylon._sessions.gates import IdentifyGate
from propylon._sessions.session import GatewayStatus
from propylon._sessions.stores import SessionStore
from propylon._sessions.together import together
from propylon.errors import CommandError
from propylon.events import ChannelInfo, Event, SoundboardSounds
from propylon.intents import Intents
from propylon.presence import Presence

if TYPE_CHECKING:
    # Part of every type checker; not needed at run time.
    from typing_extensions import TypeForm

__all__ = ["ShardManager"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
G = TypeVar("G", bound=Listeners)
E = TypeVar("E", bound=Event | _core.Dispatch[Any])


class ManagerOptions(SharedOptions, total=False):
    """What a call may give beside file and environment."""

    presence: Presence | Callable[[int], Presence] | None
    shards: ShardsOption
    total: int | None
    gate: IdentifyGate | None
    auto_reshard: bool
    reshard_at: float
    shard_queue_bytes: int


def _written_shards(value: int | str) -> dict[str, Any]:
    shards, total = shards_of(str(value))
    return {"shards": shards, "total": total}


class ShardManager:
    """All shards of a bot, or those of one process, as one: the listeners, commands and lifecycle of a `Gateway`.

    ::

        manager = ShardManager(os.environ["DISCORD_TOKEN"], intents=Intents.GUILD_MESSAGES)


        @manager.listen
        async def on_message(message: MessageCreate) -> None:
            print(message.guild_id, message.content)


        manager.run()

    Discord asks for it from 2,500 guilds on. Events of one shard come in order, those of different shards in any;
    `Dispatch.shard_id` tells them apart. Listeners also hear of the fleet itself: `ShardReady`, `ShardResumed`,
    `ShardClosed`, `FleetReady`, `Resharded`.

    `status`, `latency`, `shards` and `metrics` may be read from any thread; everything else belongs to the event loop
    in which the manager was opened. https://discord.com/developers/docs/events/gateway#sharding
    """

    def __init__(
        self,
        token: str,
        *,
        intents: Intents | int | Literal["auto"] = Intents.NON_PRIVILEGED,
        shards: ShardsOption = "auto",
        total: int | None = None,
        sessions: SessionStore | None = None,
        gate: IdentifyGate | None = None,
        auto_reshard: bool = False,
        reshard_at: float = 0.8,
        compression: Compression = "zstd-stream",
        presence: Presence | Callable[[int], Presence] | None = None,
        large_threshold: int = 50,
        auto_reconnect: bool = True,
        gateway_url: str | None = None,
        api_url: str = "https://discord.com/api/v10",
        timeouts: Timeouts | None = None,
        backoff: Backoff | None = None,
        overflow: Overflow = "pause",
        queue_bytes: int = 256 * 1024 * 1024,
        shard_queue_bytes: int = 64 * 1024 * 1024,
        max_pending: int = 10_000,
        max_payload_bytes: int = 64 * 1024 * 1024,
        misfits: Misfits = "mend",
        wake_interval: float = 0.002,
        proxy: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        native_roots: bool = False,
        identify_properties: dict[str, str] | None = None,
        allow_plaintext: bool = False,
        admin: str | None = None,
        admin_remote: bool = False,
        lifespan: Callable[["ShardManager"], AbstractAsyncContextManager[object]] | None = None,
    ) -> None:
        """Make a manager; nothing is sent before it is opened.

        What is not explained here is as for `Gateway`, and the same for each shard.

        Args:
            token: The bot's token.
            intents: Which events Discord sends.
            shards: ``"auto"``: as many as Discord recommends at `open`, all of them in this process. A number: all of
                so many. A range or ids: those of this process; ``total`` tells how many there are in all.
            total: The number of all shards, of every process. Where Discord allows an application to start several
                sessions at once, it has to be a multiple of that number; what ``"auto"`` chooses is.
            sessions: Where the sessions outlive the process: they are saved together, and resumed together by the next
                process with this token, these shards and intents, without an IDENTIFY.
            gate: Who says when a shard may IDENTIFY, such as a `FileIdentifyGate` that several processes share. None:
                the shards of this process take turns among themselves.
            auto_reshard: Reshard when the shards are as full as ``reshard_at`` says, or Discord asks for it (4011), and
                this process has all of them. False: the log says when it would be time.
            reshard_at: Guilds of all shards, as a part of the 2,500 that each may have.
            compression: ``"zstd-stream"``, ``"zlib-stream"``, ``"payload"`` or None.
            presence: Status and activities from the start; a function gives those of a shard from its id.
            large_threshold: Members (50 to 250) beyond which GUILD_CREATE leaves out those who are offline.
            auto_reconnect: Whether lost connections are made anew.
            gateway_url: Where to connect. With it and a ``total`` no REST call is made.
            api_url: Base of Discord's REST API, which is asked for the number of shards at each `open`.
            timeouts: Deadlines of the steps of a connection.
            backoff: Delays between the connections of a shard. Shards that lose theirs together come back spread over
                5 ms each, and 5 s at most.
            overflow: What happens when listeners do not keep up and a queue is full.
            queue_bytes: Bytes of events of all shards that may wait. Half of it is divided among the shards, so that
                one that is flooded leaves each of the others its part; they may exceed it by as much.
            shard_queue_bytes: Bytes of events of one shard that may wait.
            max_pending: Listener calls for the events of one shard that may be unfinished.
            max_payload_bytes: Cap of one payload after inflating.
            misfits: What becomes of an event in which something does not fit its class.
            wake_interval: Seconds by which events may be later so that they come together.
            proxy: The way out.
            ca_file: PEM certificates trusted besides the roots.
            native_roots: Trust the operating system's roots instead of Mozilla's.
            identify_properties: ``os``, ``browser``, ``device`` of IDENTIFY, each optional.
            allow_plaintext: Allow ``ws://`` to other hosts than this machine.
            admin: Address of the admin server, which shows all shards.
            admin_remote: Allow an address that other machines reach.
            lifespan: What is there around `serve` and `run`, as for `Gateway`.

        Raises:
            ValueError: A setting cannot work; the text says what to change.
            TypeError: A setting is of another type.
        """
        check_gate(gate)
        wanted = wanted_shards(shards, total)
        if isinstance(reshard_at, bool) or not isinstance(reshard_at, int | float) or not 0 < reshard_at <= 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"reshard_at is a part of what shards may have, above 0 and at most 1, not {reshard_at!r}")
        if not isinstance(auto_reshard, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"auto_reshard takes True or False, not {auto_reshard!r:.100}")
        options = engine_options(
            token,
            intents=intents,
            compression=compression,
            presence=None if callable(presence) else presence,
            large_threshold=large_threshold,
            auto_reconnect=auto_reconnect,
            shard=None,
            session=None,
            gateway_url=gateway_url,
            api_url=api_url,
            timeouts=timeouts,
            backoff=backoff,
            overflow=overflow,
            queue_bytes=queue_bytes,
            max_payload_bytes=max_payload_bytes,
            wake_interval=wake_interval,
            proxy=proxy,
            ca_file=ca_file,
            native_roots=native_roots,
            identify_properties=identify_properties,
            allow_plaintext=allow_plaintext,
        )
        # The options hold what no shard can do without, so a bad one is told here and not at the first shard.
        _core.Inquiry(options)
        asked = AskedIntents(intents)
        around = Lifespan(self, lifespan)
        server = Admin(admin, admin_remote)
        maker = Maker(
            self,
            options,
            token,
            intents=asked,
            sessions=None if sessions is None else together(sessions),
            presence_of=_presence_of(presence),
            outside_gate=gate is not None,
            max_pending=count_of("max_pending", max_pending, 1),
            queue_bytes=queue_bytes,
            shard_queue_bytes=min(count_of("shard_queue_bytes", shard_queue_bytes, 1), queue_bytes),
            mending=mending_of(misfits),
            lifespan=around,
            admin=server,
        )
        self._life: Final = FleetLife(
            self,
            maker,
            Counsel(options, gate),
            intents=asked,
            wanted=wanted,
            gate=gate,
            keeps=sessions is not None,
            auto_reconnect=auto_reconnect,
            lifespan=around,
            admin=server,
            auto_reshard=auto_reshard,
            reshard_at=reshard_at,
        )
        self._listening: Final = self._life.listening
        self._shards: Final = Shards(self._life)

    @classmethod
    def from_config(cls, file: str | os.PathLike[str] | None = None, /, **options: Unpack[ManagerOptions]) -> Self:
        """Make a manager of options in a TOML file and in the environment, as `Gateway.from_config` does.

        Args:
            file: Such as ``"bot.toml"``. ``shards`` is written as on the command line: ``"auto"``, how many there are,
                or which of how many, such as ``"0-15/64"``.
            options: What goes before file and environment, and what neither can hold, such as ``gate``.

        Raises:
            ValueError: As for `Gateway.from_config`.
            OSError: The file cannot be read.
        """
        return configured(cls, ShardManager, file, options, {"shards": _written_shards})

    # ------------------------------------------------------------------ reading

    @property
    def status(self) -> GatewayStatus:
        """The worst of the shards'; UNCONNECTED before there are any. From any thread."""
        return self._life.status

    @property
    def latency(self) -> float | None:
        """The mean of the shards' in seconds, as far as it is measured. From any thread."""
        return self._life.latency

    @property
    def shards(self) -> Mapping[int, ManagedShard]:
        """The shards of this process by their ids; none before `open` knows them. From any thread."""
        return self._shards

    @property
    def total(self) -> int | None:
        """The number of all shards, of every process; None before `open` knows it. From any thread."""
        return None if self._life.team is None else self._life.team.total

    @property
    def guilds_ready(self) -> bool:
        """Whether each shard is ready, and each guild of theirs has been heard of. From any thread."""
        return self._life.team is not None and self._life.team.has_guilds

    @property
    def guild_count(self) -> int:
        """Guilds of all shards of this process, the unavailable ones among them. From any thread."""
        return 0 if self._life.team is None else self._life.team.guild_count

    @property
    def intents(self) -> Intents:
        """The intents it asks for; with ``intents="auto"`` those of its last opening, none before the first."""
        return self._life.intents.asked

    @property
    def listeners(self) -> tuple[Listener[..., Any], ...]:
        """The listeners that are here, as `Gateway.listeners` tells them."""
        return self._listening.listeners

    def shard_of(self, guild_id: int | str) -> int:
        """The id of the shard that has a guild: ``(guild_id >> 22) % total``. From any thread.

        https://discord.com/developers/docs/events/gateway#sharding-sharding-formula

        Raises:
            CommandError: It is no id.
            RuntimeError: How many shards there are is not known before `open`.
        """
        total = self.total
        if total is None:
            raise RuntimeError("how many shards there are is not known before open()")
        return shard_of(int(id_of("guild_id", guild_id)), total)

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """``(host, port)`` of the admin server; None where there is none, and while it is closed. From any thread."""
        return self._life.admin.address

    @overload
    def metrics(self, *, by_shard: Literal[False] = False) -> Metrics: ...
    @overload
    def metrics(self, *, by_shard: Literal[True]) -> dict[int, Metrics]: ...
    def metrics(self, *, by_shard: bool = False) -> Metrics | dict[int, Metrics]:
        """All counters, summed over the shards, those of an earlier total among them. From any thread.

        Args:
            by_shard: Those of each shard that there is now, by its id.
        """
        return self._life.metrics_by_shard() if by_shard else self._life.metrics()

    def __repr__(self) -> str:
        """Say where it stands; never the token."""
        if not self._life.is_of_this_process:
            return "<ShardManager of the parent process>"
        shards = "" if self.total is None else f" {len(self._shards)} of {self.total} shards"
        return f"<ShardManager {self.status.name}{shards}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: it holds connections and a token."""
        raise TypeError("a ShardManager cannot be pickled; pass what is needed to make one")

    # ------------------------------------------------------------------ life

    async def open(self, *, timeout: float | None = None) -> None:
        """Connect all shards, side by side, and return when each is READY or RESUMED.

        Discord lets so many of them IDENTIFY in 5 s as ``session_start_limit`` says; those with a session in the store
        resume at once. One that is stuck holds no other up, and one that fails is tried again on its own.

        Args:
            timeout: Seconds; when they are over the manager is closed again. None: as long as it takes.

        Raises:
            TimeoutError: Not ready in time; the text names the shards that are missing.
            GatewayClosed: Discord refuses a shard for good: one of its subclasses. The others are closed.
            IdentifyBudgetExhausted: Too few IDENTIFYs are left today.
            CertificateError: The server's certificate is refused.
            ValueError: ``shards`` has ids that do not go with the number that Discord recommends; or, with
                ``intents="auto"``, a listener needs a privileged intent.
            FileNotFoundError, NotADirectoryError, PermissionError: The session store is set up wrong.
            RuntimeError: It is open already.
            ForkedError: It belongs to the parent process.
        """
        await self._life.open(timeout)

    async def close(
        self,
        code: int | None = None,
        reason: str = "",
        *,
        resumable: bool | None = None,
        drain: float | None = None,
    ) -> None:
        """Close all connections and wait until they are closed. The arguments and errors are those of `Gateway.close`.

        Where the fleet is being resharded that ends too; no session is lost but those that had not taken over.
        """
        await self._life.close(code, reason, resumable=resumable, drain=drain)

    async def wait_guilds_ready(self, *, timeout: float | None = None) -> None:
        """Return when `guilds_ready` is true; at once where it is.

        Args:
            timeout: Seconds; None: as long as it takes.

        Raises:
            TimeoutError: Not in time.
            NotConnected: The manager is not open, or was closed meanwhile.
        """
        await self._life.wait_guilds_ready(timeout)

    async def wait_closed(self) -> None:
        """Return when the manager is closed by `close`, or each of its shards by `ManagedShard.close`.

        Raises:
            GatewayClosed: Discord has refused a shard for good, and with it the fleet.
            SessionTakenOver: Another process goes on with the sessions.
        """
        await self._life.wait_closed()

    async def __aenter__(self) -> Self:
        """Open it, unless it is open."""
        if not self._life.is_open():
            await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    def __del__(self) -> None:
        """Close what was forgotten while it was open."""
        life: FleetLife | None = getattr(self, "_life", None)
        if life is not None:
            life.forgotten()

    async def serve(self, *, drain: float = 10.0) -> None:
        """Open the manager, unless it is open, and serve until it is closed, as `Gateway.serve` does.

        Args:
            drain: Seconds, as `close` takes them.

        Raises:
            GatewayClosed: Discord refuses a shard for good: one of its subclasses.
            TypeError: ``lifespan`` gave no async context manager.
            RuntimeError: It is being served already.
        """
        await serve(self._life, drain)

    def run(self, *, drain: float = 10.0) -> None:
        """Run `serve` in an event loop of its own, as `Gateway.run` does.

        Args:
            drain: Seconds, as `close` takes them.
        """
        run(self._life, lambda: self.serve(drain=drain), "manager")

    async def reshard(self, total: int | None = None, *, shards: ShardsOption = "auto", window: float = 2.0) -> None:
        """Let another number of shards take over, without a break: no event is lost, and none comes twice.

        The new shards come up beside the old ones and are not heard until each is ready, with its guilds. Then both are
        heard for a while, and what comes on both is handed out once: events are compared by a hash of type and content.
        The old ones close when nothing is on its way to them any more: each connection has to receive something first,
        so where nothing happens that takes a heartbeat (41 s). `wait_for`, streams and requests that are under way go
        on. READY and GUILD_CREATE of the new shards' start are not handed out. Events of a guild may change places at
        the switch, by as much as waits for listeners. Listeners hear `Resharded` at the end, and a later `open` begins
        with as many shards.

        It costs as many IDENTIFYs as there are new shards, and as much memory again as the fleet has meanwhile.

        Args:
            total: Of the new shards; None: as many as Discord recommends, or as leave them half full at most.
            shards: Those of this process. ``"auto"``: all of them, where it has all of the present ones.
            window: Seconds in which both are heard, half of them before the switch.

        Raises:
            IdentifyBudgetExhausted: Too few IDENTIFYs are left today. The old shards go on.
            GatewayClosed: Discord refuses one of the new shards. The old ones go on.
            NotConnected: The manager is not open, or was closed meanwhile.
            RuntimeError: It is being resharded already.
            ValueError: There are so many already; or ``shards`` is needed, or does not go with ``total``.
        """
        await self._life.reshard(total, shards, window)

    # ------------------------------------------------------------------ listeners

    # Classes are callable too, so this one comes first.
    @overload
    def listen(  # type: ignore[overload-overlap]  # a class is a callable too, but the first fits it
        self,
        *events: EventForm,
        priority: int = 0,
        once: bool = False,
        concurrency: int | None = None,
        where: Where | None = None,
    ) -> Callable[[Callable[P, R]], Listener[P, R]]: ...
    @overload
    def listen(self, function: Callable[P, R], /) -> Listener[P, R]: ...
    def listen(
        self,
        *arguments: Any,
        priority: int = 0,
        once: bool = False,
        concurrency: int | None = None,
        where: Where | None = None,
    ) -> Any:
        """Add a listener, as `Gateway.listen` does, for the events of every shard and those of the fleet.

        A parameter annotated `ShardManager` receives the manager; `Dispatch.shard_id` tells the shard.
        """
        return self._listening.listen(arguments, Options(priority, once, concurrency, where), names_of_caller())

    def add(self, group: G) -> G:
        """Add the marked methods of a group, as `Gateway.add` does."""
        return self._listening.add(group)

    def on_close(self, function: F, /) -> F:
        """Call ``function(closed: Closed)`` at each end of a shard's connection, as `Gateway.on_close` does.

        Not of shards that stand beside the fleet while that is resharded.

        `Closed.shard` tells which; returning False stops that shard's reconnecting.
        """
        handlers = self._listening.handlers
        handlers.add_of_ends(handlers.close_handler(function, names_of_caller()))
        return function

    def on_error(self, function: F, /) -> F:
        """Call ``function(error: Exception)`` for what a listener raised, as `Gateway.on_error` does."""
        handlers = self._listening.handlers
        handlers.add_of_errors(handlers.error_handler(function, names_of_caller()))
        return function

    def batches(
        self,
        *events: EventForm,
        where: Where | None = None,
        size: int = 256,
        bytes: int | None = None,
        seconds: float | None = None,
        ack: bool = False,
    ) -> Batches:
        """Hear events of all shards as lists, as `Gateway.batches` does; in order within a shard."""
        return self._listening.batches(events, where, size, bytes=bytes, seconds=seconds, ack=ack)

    def log_payloads(self, *events: "EventForm | str") -> Listener[..., None]:
        """Write events as they come to the log, as `Gateway.log_payloads` does."""
        return self._listening.log_payloads(events)

    def record(
        self,
        path: str | os.PathLike[str],
        *,
        events: "Iterable[EventForm | str]" = (),
        where: Filter | None = None,
        secrets: bool = False,
        max_bytes: int | None = None,
        queue_bytes: int = 16 * 1024 * 1024,
    ) -> Recorder:
        """Record events as they come into a file, whether or not a listener hears them; `propylon.recording` reads it.

        ::

            async with gateway.record("day.jsonl.zst", events=[MessageCreate]) as recorder:
                ...
            print(recorder.events, recorder.dropped)

        The engine writes, zstd-compressed JSON lines, and nothing of it comes to Python; see docs/recording.md. A file
        that is there is appended to. What has come is in it within a second, also where the process is killed then. All
        shards write to one file; while the fleet is resharded, the events of both totals are in it.

        Args:
            path: The file, such as ``day.jsonl.zst``.
            events: Classes or names (``"MESSAGE_CREATE"``); none named: all of them.
            where: A condition made from `field`; only events of which it is true are recorded.
            secrets: Write tokens of interactions, webhooks and voice servers, session ids and secrets of activities.
                Otherwise they are left out, and the line says so.
            max_bytes: A file that would be larger is set aside under another name (``day.000001.jsonl.zst``), and a new
                one begun. All of them are kept. None: one file.
            queue_bytes: Bytes of events that may wait for the disk; what comes beyond is dropped and counted.

        Raises:
            TypeError: ``events`` names none, or ``where`` does not fit them or is a function.
            ValueError: A number is impossible.
        """
        selection = self._listening.selection(events, where, who="record()")
        return Recorder(
            path,
            selection,
            self._listening.registry.subscriptions,
            secrets=secrets,
            max_bytes=max_bytes,
            queue_bytes=queue_bytes,
        )

    # ------------------------------------------------------------------ what is awaited

    @overload
    async def wait_for(
        self, event: type[E], *, where: Filter | Callable[[E], object] | None = None, timeout: float | None = None
    ) -> E: ...
    @overload
    async def wait_for(
        self, event: "TypeForm[E]", *, where: Filter | Callable[[E], object] | None = None, timeout: float | None = None
    ) -> E: ...
    async def wait_for(self, event: Any, *, where: Where | None = None, timeout: float | None = None) -> Any:
        """Return the first event of a kind that comes from now on, on any shard, as `Gateway.wait_for` does."""
        return await self._listening.wait_for(event, where, timeout)

    @overload
    async def collect(
        self,
        event: type[E],
        *,
        where: Filter | Callable[[E], object] | None = None,
        count: int | None = None,
        timeout: float | None = None,
        idle: float | None = None,
    ) -> list[E]: ...
    @overload
    async def collect(
        self,
        event: "TypeForm[E]",
        *,
        where: Filter | Callable[[E], object] | None = None,
        count: int | None = None,
        timeout: float | None = None,
        idle: float | None = None,
    ) -> list[E]: ...
    async def collect(
        self,
        event: Any,
        *,
        where: Where | None = None,
        count: int | None = None,
        timeout: float | None = None,
        idle: float | None = None,
    ) -> list[Any]:
        """Return the events of a kind that come from now on, on all shards, as `Gateway.collect` does."""
        return await self._listening.collect(event, where, count, timeout, idle)

    @overload
    def stream(
        self, event: type[E], *, where: Filter | Callable[[E], object] | None = None, buffer: int = 1000
    ) -> Stream[E]: ...
    @overload
    def stream(
        self, event: "TypeForm[E]", *, where: Filter | Callable[[E], object] | None = None, buffer: int = 1000
    ) -> Stream[E]: ...
    def stream(self, event: Any, *, where: Where | None = None, buffer: int = 1000) -> Stream[Any]:
        """Hear events one by one where they are wanted, as `Gateway.stream` does."""
        return self._listening.stream(event, where, buffer)

    # ------------------------------------------------------------------ commands

    async def set_presence(self, presence: Presence | Callable[[int], Presence]) -> None:
        """Show another status or activity on all shards, as `Gateway.set_presence` does; returns when all have sent it.

        Args:
            presence: Of all of them, or a function that gives that of a shard from its id.

        Raises:
            NotConnected: The manager is not open, or was closed meanwhile.
            CommandTooLarge: Over 4,096 bytes.
            CommandError: A value that JSON cannot hold.
        """
        lives = self._life.open_lives()
        chosen = {shard_id: presence(shard_id) if callable(presence) else presence for shard_id in lives}
        for one in chosen.values():
            presence_json(one)
        self._life.show(_presence_of(presence))
        await asyncio.gather(*(life.commands.set_presence(chosen[shard_id]) for shard_id, life in lives.items()))

    async def send(self, op: int, data: Any, *, shard_id: int) -> None:
        """Send a raw payload on a shard, as `Gateway.send` does.

        Raises:
            NotConnected: The manager is not open, or was closed meanwhile.
            WrongShard: It is no shard of this process.
            CommandTooLarge: Over 4,096 bytes.
            CommandError: The opcode is not the user's, or JSON cannot hold ``data``.
        """
        await self._life.life_of_shard(shard_id).commands.send(op, data)

    def request_members(
        self,
        guild_id: int | str,
        *,
        user_ids: Iterable[int | str] | None = None,
        query: str | None = None,
        limit: int | None = None,
        presences: bool = False,
        nonce: str | None = None,
        timeout: float | None = 10,
    ) -> MembersRequest:
        """Ask for members of a guild on the shard that has it, as `Gateway.request_members` does.

        Raises:
            WrongShard: Another process has the guild. From the call itself, as `CommandError`.
        """
        life = self._life.life_of_guild(int(id_of("guild_id", guild_id)))
        return life.commands.request_members(
            guild_id,
            user_ids=user_ids,
            query=query,
            limit=limit,
            presences=presences,
            nonce=nonce,
            timeout=timeout,
        )

    @overload
    async def update_voice_state(
        self,
        guild_id: int | str,
        channel_id: int | str,
        *,
        self_mute: bool = False,
        self_deaf: bool = False,
        timeout: float | None = 10,
    ) -> VoiceServer: ...
    @overload
    async def update_voice_state(
        self,
        guild_id: int | str,
        channel_id: None,
        *,
        self_mute: bool = False,
        self_deaf: bool = False,
        timeout: float | None = 10,
    ) -> None: ...
    async def update_voice_state(
        self,
        guild_id: int | str,
        channel_id: int | str | None,
        *,
        self_mute: bool = False,
        self_deaf: bool = False,
        timeout: float | None = 10,
    ) -> VoiceServer | None:
        """Join, move to or leave a voice channel, as `Gateway.update_voice_state` does, on the shard of the guild.

        Raises:
            WrongShard: Another process has the guild.
        """
        life = self._life.life_of_guild(int(id_of("guild_id", guild_id)))
        return await life.commands.update_voice_state(
            guild_id, channel_id, self_mute=self_mute, self_deaf=self_deaf, timeout=timeout
        )

    async def request_soundboard_sounds(
        self, guild_ids: Iterable[int | str], *, timeout: float | None = 10
    ) -> list[SoundboardSounds]:
        """Ask for the soundboard sounds of guilds, each on its shard, as `Gateway.request_soundboard_sounds` does.

        Gives one `SoundboardSounds` for each guild, in their order.

        Raises:
            WrongShard: Another process has one of them; nothing is asked then.
        """
        ids = [int(one) for one in ids_of("guild_ids", guild_ids)]
        by_life: dict[Any, list[int]] = {}
        for guild_id in ids:
            by_life.setdefault(self._life.life_of_guild(guild_id), []).append(guild_id)
        asking = [
            asyncio.ensure_future(life.commands.request_soundboard_sounds(asked, timeout=timeout))
            for life, asked in by_life.items()
        ]
        try:
            answers = await asyncio.gather(*asking)
        finally:
            # The first that fails ends all: nobody reads the others' answers any more.
            for one in asking:
                one.cancel()
        by_guild = {int(sounds.guild_id): sounds for answer in answers for sounds in answer if sounds.guild_id}
        return [by_guild[guild_id] for guild_id in ids]

    async def request_channel_info(
        self,
        guild_id: int | str,
        fields: Iterable[str] = ("status", "voice_start_time"),
        *,
        timeout: float | None = 10,
    ) -> ChannelInfo:
        """Ask for what Discord tells of a guild's channels only on request, as `Gateway.request_channel_info` does.

        Raises:
            WrongShard: Another process has the guild.
        """
        life = self._life.life_of_guild(int(id_of("guild_id", guild_id)))
        return await life.commands.request_channel_info(guild_id, fields, timeout=timeout)


def _presence_of(presence: Presence | Callable[[int], Presence] | None) -> Callable[[int], str | None]:
    """The presence of a shard's IDENTIFY, as JSON."""
    if presence is None or isinstance(presence, Presence):
        same = None if presence is None else presence_json(presence)
        return lambda _: same

    def presence_of(shard_id: int) -> str | None:
        try:
            return presence_json(presence(shard_id))
        except CommandError as error:
            raise ValueError(f"presence of shard {shard_id}: {error}") from None

    return presence_of
