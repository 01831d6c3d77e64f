"""The gateway: what users hold. Signatures and their explanations; what is behind them stands in other files.

Over 500 lines because each option, argument and error is explained where a user's editor looks for it.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, ParamSpec, Self, TypeVar, Unpack, overload

import propylon._core as _core
from propylon._arguments import count_of
from propylon._commands.answers import RateLimit, VoiceServer
from propylon._commands.members import MembersRequest
from propylon._filters.expression import Filter, Where
from propylon._gateway.admin import Admin
from propylon._gateway.config import GatewayOptions, configured
from propylon._gateway.intents import AskedIntents
from propylon._gateway.life import Life
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
from propylon._sessions.session import GatewayStatus, Session
from propylon._sessions.stores import SessionStore
from propylon.events import ChannelInfo, Event, SoundboardSounds
from propylon.intents import Intents
from propylon.presence import Presence

if TYPE_CHECKING:
    # Part of every type checker; not needed at run time.
    from typing_extensions import TypeForm

__all__ = ["Gateway"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
G = TypeVar("G", bound=Listeners)
E = TypeVar("E", bound=Event | _core.Dispatch[Any])


class Gateway:
    """One connection of a bot to Discord's Gateway, kept alive by an engine that Python cannot stop.

    Listeners are functions; the annotation of the first parameter says which event they get::

        gateway = Gateway(os.environ["DISCORD_TOKEN"], intents=Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT)


        @gateway.listen
        async def on_message(message: MessageCreate) -> None:
            print(message.author.username, message.content)


        gateway.run()

    `status`, `latency`, `session` and `metrics` may be read from any thread; everything else belongs to the event loop
    in which the gateway was opened. https://discord.com/developers/docs/events/gateway
    """

    def __init__(
        self,
        token: str,
        *,
        intents: Intents | int | Literal["auto"] = Intents.NON_PRIVILEGED,
        compression: Compression = "zstd-stream",
        presence: Presence | None = None,
        large_threshold: int = 50,
        auto_reconnect: bool = True,
        shard: tuple[int, int] | None = None,
        session: Session | None = None,
        sessions: SessionStore | None = None,
        gateway_url: str | None = None,
        api_url: str = "https://discord.com/api/v10",
        timeouts: Timeouts | None = None,
        backoff: Backoff | None = None,
        overflow: Overflow = "pause",
        queue_bytes: int = 64 * 1024 * 1024,
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
        lifespan: Callable[["Gateway"], AbstractAsyncContextManager[object]] | None = None,
    ) -> None:
        """Make a gateway; nothing is sent before it is opened.

        Args:
            token: The bot's token; white space around it and a ``Bot `` prefix are stripped. It is kept in the engine
                only.
            intents: Which events Discord sends. ``"auto"``: what the listeners need that are there at `open`, as
                `Intents.for_events` tells; never a privileged one, and never MESSAGE_CONTENT.
            compression: ``"zstd-stream"``, ``"zlib-stream"``, ``"payload"`` or None.
            presence: Status and activities from the start.
            large_threshold: Members (50 to 250) beyond which GUILD_CREATE leaves out those who are offline.
            auto_reconnect: Whether a lost connection is made anew; else its end is raised.
            shard: ``(shard_id, shard_count)``.
            session: One to resume, saved from `session`.
            sessions: Where the session outlives the process, such as a `FileSessionStore`: it is saved while the
                gateway runs and when it closes, and resumed by the next one with this token, shard and intents.
            gateway_url: Where to connect. With it no REST call is made; without, ``api_url`` is asked.
            api_url: Base of Discord's REST API.
            timeouts: Deadlines of the steps of a connection.
            backoff: Delays between connections.
            overflow: What happens when listeners do not keep up and the queue is full: ``"pause"`` stops reading the
                socket, ``"drop_oldest"`` drops and counts.
            queue_bytes: Bytes of events that may wait (and at most 262,144 events).
            max_pending: Listener calls that may be unfinished; beyond it events wait in the queue.
            max_payload_bytes: Cap of one payload after inflating; a larger one costs the connection.
            misfits: What becomes of an event in which something does not fit its class. ``"mend"``: that is left out,
                and `Dispatch.mended` tells of it. ``"error"``: the event is a `ModelError`.
            wake_interval: Seconds by which events may be later so that they come together, which costs much less; the
                first after a silence is handled at once. 0: each at once. A thread reads for several gateways: the
                least of their intervals counts.
            proxy: ``http://user:password@host:port`` (CONNECT), ``https://``, ``socks5://`` or ``socks5h://``, for the
                WebSocket and for ``api_url``. The proxy looks names up. ``"env"``: those of the environment
                (``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``), chosen for each host as curl does; otherwise never.
            ca_file: PEM certificates trusted besides the roots.
            native_roots: Trust the operating system's roots instead of Mozilla's.
            identify_properties: ``os``, ``browser``, ``device`` of IDENTIFY, each optional.
            allow_plaintext: Allow ``ws://`` to other hosts than this machine.
            admin: Address of the admin server, such as ``"127.0.0.1:9464"``; port 0 takes a free one, which
                `admin_address` tells. It is there while the gateway is open, served by the engine, so that it answers
                while Python is blocked: ``/livez``, ``/readyz``, ``/metrics``, ``/snapshot`` and a page. Gateways of
                one process with the same address share it. None: there is none.
            admin_remote: Allow an address that other machines reach. There is no password: whoever reaches it sees
                counters, names of listeners and reasons of closes, but no token, session or payload.
            lifespan: What is there around `serve` and `run`: a function of the gateway that gives an async context
                manager, such as an ``@asynccontextmanager`` function. It is entered before the gateway opens and left
                when the last listener has finished. Listeners and handlers get its value by a parameter that is
                annotated with its class.

        Raises:
            ValueError: A setting cannot work; the text says what to change.
            TypeError: A setting is of another type.
        """
        options = engine_options(
            token,
            intents=intents,
            compression=compression,
            presence=presence,
            large_threshold=large_threshold,
            auto_reconnect=auto_reconnect,
            shard=shard,
            session=session,
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
        self._life: Final = Life(
            self,
            options,
            token,
            intents=AskedIntents(intents),
            shard=shard,
            sessions=sessions,
            max_pending=count_of("max_pending", max_pending, 1),
            queue_bytes=queue_bytes,
            mending=mending_of(misfits),
            lifespan=Lifespan(self, lifespan),
            admin=Admin(admin, admin_remote),
        )
        self._listening: Final = self._life.listening
        self._commands: Final = self._life.commands

    @classmethod
    def from_config(cls, file: str | os.PathLike[str] | None = None, /, **options: Unpack[GatewayOptions]) -> Self:
        """Make a gateway whose options are written in a TOML file and in the environment; nothing is sent.

        Of an option that is given several times the first counts: the call, the variable ``PROPYLON_`` with the
        option's name (``DISCORD_TOKEN`` for the token), the file's table ``[propylon]``. Tables such as
        ``[propylon.timeouts]`` and their variables, such as ``PROPYLON_TIMEOUTS_CONNECT``, are put together.

        Args:
            file: Such as ``"bot.toml"``. None: there is the environment only.
            options: What goes before file and environment, and what neither can hold, such as ``lifespan``.

        Raises:
            ValueError: An option does not exist, or its value cannot be, or cannot work, or there is no token; the text
                names the file and key or the variable, and what is allowed.
            OSError: The file cannot be read.
        """
        return configured(cls, Gateway, file, options)

    # ------------------------------------------------------------------ reading

    @property
    def status(self) -> GatewayStatus:
        """Where it stands. From any thread."""
        return GatewayStatus[self._life.shard.status]

    @property
    def latency(self) -> float | None:
        """Seconds from the last acknowledged heartbeat to its ACK; None before the first. From any thread."""
        return self._life.shard.latency

    @property
    def guilds_ready(self) -> bool:
        """Whether each guild of the session's READY has been heard of, or nothing came for 4 s. From any thread.

        True from READY on without the intent GUILDS, because then no guild is sent. Listeners may still have some of
        the guilds before them. https://discord.com/developers/docs/events/gateway-events#guild-create
        """
        return self._life.shard.guilds_ready

    @property
    def identify_blocked_until(self) -> float | None:
        """Unix time in seconds until which no new session is started, because the day's budget is all but used up.

        None while there is none to wait for. From any thread.
        """
        return self._life.shard.identify_blocked_until

    @property
    def shard(self) -> tuple[int, int] | None:
        """``(shard_id, shard_count)``, or None."""
        return self._life.shard_pair

    @property
    def intents(self) -> Intents:
        """The intents it asks for; with ``intents="auto"`` those of its last opening, none before the first."""
        return self._life.intents

    @property
    def listeners(self) -> tuple[Listener[..., Any], ...]:
        """The listeners that are here, in the order in which an event that all of them want goes to them.

        Functions, methods of groups, and `log_payloads`; what is awaited (`wait_for`, `stream`, …) is not among them.
        """
        return self._listening.listeners

    @property
    def rate_limit(self) -> RateLimit:
        """What Discord's limit of 120 payloads in 60 s still takes. From any thread.

        Commands beyond it wait and are sent in their order, so this need not be asked before sending.
        """
        return RateLimit(*self._life.shard.send_window)

    @property
    def session(self) -> Session | None:
        """The session as a RESUME would use it; None before READY and after a close that ended it. From any thread.

        May be set while the gateway is closed, to one saved earlier.
        """
        return self._life.session

    @session.setter
    def session(self, session: Session | None) -> None:
        self._life.session = session

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """``(host, port)`` of the admin server; None where there is none, and while it is closed. From any thread."""
        return self._life.admin.address

    def metrics(self) -> Metrics:
        """All counters, taken together. From any thread."""
        return self._life.metrics()

    def __repr__(self) -> str:
        """Say where it stands; never the token."""
        if not self._life.is_of_this_process:
            return "<Gateway of the parent process>"
        shard = "" if self.shard is None else f" shard={self.shard}"
        return f"<Gateway {self.status.name}{shard}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: it holds a connection and a token."""
        raise TypeError("a Gateway cannot be pickled; pass what is needed to make one")

    # ------------------------------------------------------------------ life

    async def open(self, *, timeout: float | None = None) -> None:
        """Connect, and return at READY or RESUMED.

        With ``sessions=`` and no session of its own it goes on with the one that the store has.

        Args:
            timeout: Seconds; when they are over the gateway is closed again. None: as long as it takes.

        Raises:
            TimeoutError: Not ready in time; the text tells the last failure, and what it was waiting for.
            ValueError: ``timeout`` is less than 0, or none.
            GatewayClosed: Discord refuses for good (or ``auto_reconnect=False``): one of its subclasses.
            CertificateError: The server's certificate is refused.
            HandshakeError: ``auto_reconnect=False`` and no connection came about.
            OSError: The admin server cannot listen at ``admin``; mostly its ``errno`` is ``EADDRINUSE``.
            FileNotFoundError, NotADirectoryError, PermissionError: The session store is set up wrong, such as a
                `FileSessionStore` whose folder is not there.
            RuntimeError: It is open already.
            ValueError: With ``intents="auto"``, a listener needs a privileged intent; the text says how to ask for it.
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
        """Close the connection and wait until it is closed; at most ``timeouts.close`` for the peer's answer.

        A listener that calls it has finished with its event: the event is not replayed after a restart.

        Cancelled while it drains, it closes at once.

        Args:
            code: 1000 (the default) and 1001 end the session: the bot goes offline at once. 3000 to 4999 keep it.
            reason: At most 123 bytes.
            resumable: True: close with 4000, so that `session` can be resumed, also by another process. The default
                where there is a store (``sessions=``) and no code is given; it has the session when this returns.
            drain: Seconds for the calls of listeners that are under way. No further event is handed out, who waits for
                one gets `NotConnected`, the connection stays; what has not finished by then is cancelled, and then the
                connection is closed. Who reads `batches` has that time to acknowledge. Events that were not handed out
                are kept: a later `open` of this gateway hands them out, and a store counts them as not finished. None:
                it is closed at once, and calls go on.

        Raises:
            ValueError: The code cannot be sent, or contradicts ``resumable``, or the reason is too long, or ``drain``
                is less than 0.
        """
        await self._life.close(code, reason, resumable=resumable, drain=drain)

    async def wait_guilds_ready(self, *, timeout: float | None = None) -> None:
        """Return when `guilds_ready` is true; at once where it is.

        Args:
            timeout: Seconds; None: as long as it takes.

        Raises:
            TimeoutError: Not in time.
            NotConnected: The gateway is not open, or was closed meanwhile.
        """
        await self._life.wait_guilds_ready(timeout)

    async def wait_closed(self) -> None:
        """Return when the gateway is closed by `close`.

        Raises:
            GatewayClosed: The connection ended and is not made anew: a fatal close code, ``auto_reconnect=False``, or
                an ``on_close`` handler returned False. `SessionTakenOver`: another process goes on with the session.
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
        life: Life | None = getattr(self, "_life", None)
        if life is not None:
            life.forgotten()

    async def serve(self, *, drain: float = 10.0) -> None:
        """Open the gateway, unless it is open, and serve until it is closed; the lifespan is around all of it.

        SIGINT and SIGTERM close it, resumably where there is a store: the first one stops the opening, or closes with
        ``drain``. A further one, of either kind, raises KeyboardInterrupt where the main thread stands, also inside a
        listener that blocks. Both hold from the beginning of this call to its end; then the handlers are back that were
        there before. Outside the main thread Python has no signals. On Windows there is only Ctrl-C: what ends a
        process there otherwise is no signal.

        It also returns, rather than raise `SessionTakenOver`, when another process has taken the session over.

        It ends when the calls of listeners have: at any end they have ``drain`` seconds, and are cancelled then. Where
        this call is cancelled, they are at once.

        Args:
            drain: Seconds, as `close` takes them.

        Raises:
            GatewayClosed: Discord refuses for good: one of its subclasses.
            TypeError: ``lifespan`` gave no async context manager.
            RuntimeError: It is being served already.
        """
        await serve(self._life, drain)

    def run(self, *, drain: float = 10.0) -> None:
        """Run `serve` in an event loop of its own.

        Args:
            drain: Seconds, as `close` takes them.

        Raises:
            GatewayClosed: Discord refuses for good: one of its subclasses.
            KeyboardInterrupt: A second signal came. As any that a listener raises: the connection is closed first.
            SystemExit: A listener raised it; the connection is closed first.
        """
        run(self._life, lambda: self.serve(drain=drain), "gateway")

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
        """Add a listener: ``@gateway.listen``, ``@gateway.listen()`` or ``@gateway.listen(MessageCreate)``.

        The annotation of the first parameter (or the classes named) says what it gets: an event class or a union of
        them, a narrow class of yours, `Dispatch` (every event, raw) or ``Dispatch[MessageCreate]``. Further parameters
        annotated `Gateway` or `Dispatch` receive those; one with a default that is neither keeps it. Sync or async;
        events of one shard come in order, and an async listener runs up to its first suspension before the next event
        is handed out.

        Args:
            events: What it gets, instead of the annotation.
            priority: Listeners with a higher one are called first; those with the same in the order of adding.
            once: Call it for one event, then remove it.
            concurrency: At most so many unfinished calls of this listener, which is async or returns what can be
                awaited; further events wait for their turn, in order, and count as pending. 1: an event is done with
                before the next one is begun.
            where: A condition made from `field`: Rust drops other events, and Python never hears of them. Or a function
                that is called with the event before the listener, in Python; what it raises counts as the listener's.

        Raises:
            TypeError: The signature does not say which event (the text shows the explicit form), ``concurrency`` is
                given for a plain function, or ``where`` does not fit a field.
            ValueError: ``concurrency`` is less than 1, or ``where`` names a field that an event does not have.
        """
        return self._listening.listen(arguments, Options(priority, once, concurrency, where), names_of_caller())

    def add(self, group: G) -> G:
        """Add the methods of a group that are marked with ``@listen``, all at once or, after an error, none of them.

        Returns the group, whose `Listeners.remove` takes them off again.

        Raises:
            TypeError: It is no `Listeners` object, or a method's signature does not say which event.
            ValueError: It has no method that listens, or is here already.
        """
        return self._listening.add(group)

    def on_close(self, function: F, /) -> F:
        """Call ``function(closed: Closed)`` at every end of a connection, the user's own close included.

        Sync or async. Reconnecting does not wait for it; returning False stops it. ``open`` and ``wait_closed`` finish
        after it; handlers of which none finishes for 5 s are cancelled then. What a handler awaits of an ended gateway
        ends at once. A second parameter annotated `Gateway` receives the gateway.
        """
        handlers = self._listening.handlers
        handlers.add_of_ends(handlers.close_handler(function, names_of_caller()))
        return function

    def on_error(self, function: F, /) -> F:
        """Call ``function(error: Exception)`` for what a listener raised and for each `ModelError`, instead of logging.

        Sync or async. Further parameters annotated `Dispatch` or `Gateway` receive the event and the gateway.
        """
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
        """Hear events as lists of `Dispatch`, at most ``size`` at a time; no event named: all of them.

        ::

            async with gateway.batches(MessageCreate) as batches:
                async for batch in batches:
                    ...

        By default a batch is given as soon as there is an event. A pipeline waits for more, and says when a batch is
        dealt with; what is not comes again after a restart::

            async with gateway.batches(size=10_000, bytes=8_000_000, seconds=60, ack=True) as batches:
                async for batch in batches:
                    await write(batch)
                    batch.ack()

        Args:
            events: Classes and unions of them.
            where: As for `listen`; a function gets the `Dispatch`.
            size: Most events of a batch.
            bytes: Most bytes of a batch, of its raw payloads; a larger event comes alone. None: no limit.
            seconds: How long to wait for a batch to be full, by ``size`` or ``bytes``: until its oldest event was
                received so many seconds ago. None: not at all. When the gateway closes, what is there is given at once.
            ack: Whether events have finished, for the session that is saved, when `Batch.ack` is called rather than
                when they are taken. Those that are taken and not acknowledged count as unread ones do: with twice
                ``size`` (512 at least) or twice ``bytes`` of both, the gateway is held back.

        Raises:
            TypeError: It is no event, or ``where`` does not fit a field.
            ValueError: A number is out of range, or ``where`` names a field that an event does not have.
        """
        return self._listening.batches(events, where, size, bytes=bytes, seconds=seconds, ack=ack)

    def log_payloads(self, *events: "EventForm | str") -> Listener[..., None]:
        """Write events as they come to the log, at DEBUG of ``propylon.payload``; no event named: all of them.

        Events are classes or names (``"MESSAGE_CREATE"``). Tokens and session ids are hidden, 2,048 characters are
        written of each. This is a listener like any other: what is logged reaches Python; `Listener.remove` ends it.
        """
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
        that is there is appended to. What has come is in it within a second, also where the process is killed then.

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
        """Return the first event of a kind that comes from now on.

        ::

            answer = await gateway.wait_for(MessageCreate, where=lambda message: message.author.id == user, timeout=30)

        Inside a listener it counts as that call's unfinished work, so give it a timeout there: ``max_pending`` calls
        that wait for events keep every event from being handed out. A listener that leaves with the `NotConnected` of a
        closed gateway has not failed: it is not reported. Listeners get the event too, and so do all others that wait
        for it. It may be called before `open`.

        Args:
            event: An event class, a union of them, or ``Dispatch[MessageCreate]`` for the holder.
            where: A condition made from `field`, which Rust evaluates, or a function of the event; the first event that
                fits is returned. What a function raises goes to `on_error`, and the waiting goes on.
            timeout: Seconds. None: as long as the gateway is open.

        Raises:
            TimeoutError: No such event came in time.
            NotConnected: The gateway was closed, or ended; ``__cause__`` is then the error that ended it.
            TypeError: ``event`` is no event, or ``where`` does not fit it.
            RuntimeError: The gateway is open in another event loop.
        """
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
        """Return the events of a kind that come from now on, in order, as soon as one of the limits is reached.

        At least one limit must be given. When the gateway is closed or ends, what has come so far is returned.

        Args:
            event: As in `wait_for`.
            where: As in `wait_for`.
            count: So many events.
            timeout: So many seconds.
            idle: So many seconds without such an event, from the call on.

        Raises:
            TypeError: No limit is given, ``event`` is no event, or ``where`` does not fit it.
            ValueError: A limit is impossible.
            RuntimeError: The gateway is open in another event loop.
        """
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
        """Hear events one by one where they are wanted::

            async with gateway.stream(MessageCreate) as messages:
                async for message in messages:
                    ...

        It holds nothing back: what a slow reader misses is dropped, oldest first, and counted in `Stream.dropped`.
        Where nothing may be lost use `batches`, or an async listener with ``concurrency=1``. An event that does not fit
        its class goes to `on_error` and not into the stream.

        Args:
            event: As in `wait_for`.
            where: As in `wait_for`.
            buffer: Events that are kept for the reader.

        Raises:
            TypeError: ``event`` is no event, or ``where`` does not fit it.
            ValueError: ``buffer`` is less than 1.
        """
        return self._listening.stream(event, where, buffer)

    # ------------------------------------------------------------------ commands

    async def set_presence(self, presence: Presence) -> None:
        """Show another status or activity, from now on and after each new session; returns when it is sent.

        At most 5 in 20 s leave; of those that wait, only the newest is sent.
        https://discord.com/developers/docs/events/gateway-events#update-presence

        Raises:
            NotConnected: The gateway is not open, or was closed meanwhile.
            CommandTooLarge: Over 4,096 bytes.
            CommandError: A value that JSON cannot hold.
        """
        await self._commands.set_presence(presence)

    async def send(self, op: int, data: Any) -> None:
        """Send a raw payload, in order, within 120 in 60 s; returns when it is written.

        Waits through reconnects. https://discord.com/developers/docs/events/gateway#sending-events

        Args:
            op: An opcode; not 1, 2 or 6, which are the engine's.
            data: What JSON can hold.

        Raises:
            NotConnected: The gateway is not open, or was closed meanwhile.
            CommandTooLarge: Over 4,096 bytes.
            CommandError: The opcode is not the user's, or JSON cannot hold ``data`` (NaN, other types).
        """
        await self._commands.send(op, data)

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
        """Ask for members of a guild: await the result, or iterate over the chunks as they come.

        ::

            members = await gateway.request_members(guild_id, query="jo")
            async for chunk in gateway.request_members(guild_id):
                print(len(chunk.members))

        With neither ``query`` nor ``user_ids`` all members are requested, which Discord allows once in 30 s for each
        guild. Answers are told from those to other requests by the nonce. A request outlives a reconnect that resumes;
        when a new session has to begin it fails. Nothing is asked before it is awaited or iterated over, and a
        RuntimeWarning tells of a request that never is. Listeners of
        `GuildMembersChunk` get the chunks too. https://discord.com/developers/docs/events/gateway-events#request-guild-members

        Args:
            guild_id: Of the guild.
            user_ids: At most 100, instead of a query; `Members.not_found` has those who are no members.
            query: What the name or nickname begins with. Empty: everybody.
            limit: How many at most, to 100 with a query (the default there); 0 with an empty query: all.
            presences: Give presences too.
            nonce: A mark of your own in the chunks, at most 32 bytes of UTF-8; made up where none is given.
            timeout: Seconds to wait for a chunk, from the moment the request is sent or the one before came; None: as
                long as it takes.

        Raises:
            CommandError: An argument that Discord would not take, or an intent that is missing. From the call itself.
            RateLimited: Discord wants us to wait: ``retry_after`` seconds. This and the following when awaited.
            RequestTimeout: No chunk came in time. Discord does not answer for a guild that the bot is not in.
            NotConnected: The gateway is not open, was closed meanwhile, or had to begin a new session.
        """
        return self._commands.request_members(
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
        """Join a voice channel, move to it, or change mute and deafen there; None leaves.

        Gives what a voice client connects with, as soon as Discord has told it; nothing, and at once, when leaving.
        https://discord.com/developers/docs/events/gateway-events#update-voice-state

        Args:
            guild_id: Of the guild.
            channel_id: Of the voice channel; None: leave.
            self_mute: Be muted.
            self_deaf: Be deafened.
            timeout: Seconds to wait for the answer once the command is sent; None: as long as it takes.

        Raises:
            CommandError: An argument that Discord would not take, or `Intents.GUILD_VOICE_STATES` is missing, without
                which the answer would not come. Or the bot was disconnected or moved elsewhere while it joined.
            RequestTimeout: No answer: the bot may not see or join the channel, for one.
            RateLimited: Discord wants us to wait.
            NotConnected: The gateway is not open, was closed meanwhile, or had to begin a new session.
        """
        return await self._commands.update_voice_state(
            guild_id, channel_id, self_mute=self_mute, self_deaf=self_deaf, timeout=timeout
        )

    async def request_soundboard_sounds(
        self, guild_ids: Iterable[int | str], *, timeout: float | None = 10
    ) -> list[SoundboardSounds]:
        """Ask for the soundboard sounds of guilds; gives one `SoundboardSounds` for each, in their order.

        Listeners of `SoundboardSounds` get them too.
        https://discord.com/developers/docs/events/gateway-events#request-soundboard-sounds

        Args:
            guild_ids: Of the guilds.
            timeout: Seconds to wait for an answer once the request is sent, or since the one before; None: as long as
                it takes.

        Raises:
            CommandError: An argument that Discord would not take.
            CommandTooLarge: More guilds than go into 4,096 bytes.
            RequestTimeout: No answer for some guild, in which the bot may not be.
            RateLimited: Discord wants us to wait.
            NotConnected: The gateway is not open, was closed meanwhile, or had to begin a new session.
        """
        return await self._commands.request_soundboard_sounds(guild_ids, timeout=timeout)

    async def request_channel_info(
        self,
        guild_id: int | str,
        fields: Iterable[str] = ("status", "voice_start_time"),
        *,
        timeout: float | None = 10,
    ) -> ChannelInfo:
        """Ask for what Discord tells of a guild's channels only on request.

        Listeners of `ChannelInfo` get the answer too.
        https://discord.com/developers/docs/events/gateway-events#request-channel-info

        Args:
            guild_id: Of the guild.
            fields: ``"status"``, ``"voice_start_time"``, or both; others go to Discord as they are.
            timeout: Seconds to wait for the answer once the request is sent; None: as long as it takes.

        Raises:
            CommandError: An argument that Discord would not take.
            RequestTimeout: No answer; the bot may not be in that guild.
            RateLimited: Discord wants us to wait.
            NotConnected: The gateway is not open, was closed meanwhile, or had to begin a new session.
        """
        return await self._commands.request_channel_info(guild_id, fields, timeout=timeout)
