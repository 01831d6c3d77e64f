"""The worker: what users of a cluster hold. Signatures and their explanations; what is behind them is in other files.

Over 500 lines because each option, argument and error is explained where a user's editor looks for it.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NoReturn, ParamSpec, Self, TypeVar, overload

import propylon._core as _core
from propylon._arguments import count_of
from propylon._commands.answers import VoiceServer
from propylon._commands.members import MembersRequest
from propylon._commands.payloads import id_of
from propylon._filters.expression import Filter, Where
from propylon._fleet.spread import shard_of
from propylon._gateway.admin import Admin
from propylon._gateway.metrics import Metrics
from propylon._gateway.options import Misfits
from propylon._gateway.serving import run, serve
from propylon._gateway.settings import mending_of
from propylon._listening.batches import Batches
from propylon._listening.entry import Options
from propylon._listening.groups import Listeners
from propylon._listening.lifespan import Lifespan
from propylon._listening.listener import Listener
from propylon._listening.signature import EventForm, names_of_caller
from propylon._listening.waiting import Stream
from propylon.cluster._feeding import Intake
from propylon.cluster._membership import check_name
from propylon.cluster._nats import Nats, check_app, connect, nats_of
from propylon.cluster._worker_life import Joined, WorkerLife
from propylon.events import Event
from propylon.presence import Presence

if TYPE_CHECKING:
    # Part of every type checker; not needed at run time.
    from typing_extensions import TypeForm

__all__ = ["Worker", "WorkerMetrics"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
G = TypeVar("G", bound=Listeners)
E = TypeVar("E", bound=Event | _core.Dispatch[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerMetrics(Metrics):
    """The counters of a worker. Those of connections to Discord are its gateway hosts', and stay 0 here."""

    partitions: tuple[int, ...]
    """Those whose events it has now."""
    intake: dict[str, int]
    """What it has read of the stream: messages, redeliveries, dead letters and the like, by name."""


class Worker:
    """Hears the events of a cluster: the listeners and commands of a `propylon.ShardManager`, without a connection to
    Discord.

    ::

        worker = Worker("nats://127.0.0.1:4222", app="mybot")


        @worker.listen(where=field("content").startswith("!"))
        async def command(message: MessageCreate) -> None:
            print(message.guild_id, message.content)


        worker.run()

    As many processes as you like share the events of the gateway hosts (`GatewayHost`, ``propylon gateway``). All
    events of a guild come to one of them, in order, and an event comes again, perhaps to another worker, where the
    calls for it did not finish: each comes once at least. What no worker listens to leaves no host. All workers of an
    app should have the same listeners, because each guild is only one worker's.

    Events are divided into 64 partitions, by their guild; inside of one they come in order, and `Dispatch.sequence`
    is the number of an event in its partition since this worker has that. `partitions`, `total` and `metrics` may be
    read from any thread; everything else belongs to the event loop in which the worker was opened.
    """

    def __init__(
        self,
        nats: str | Sequence[str] | Nats,
        *,
        app: str,
        max_pending: int = 10_000,
        misfits: Misfits = "mend",
        name: str | None = None,
        admin: str | None = None,
        admin_remote: bool = False,
        lifespan: Callable[["Worker"], AbstractAsyncContextManager[object]] | None = None,
    ) -> None:
        """Make a worker; nothing is connected before it is opened.

        Args:
            nats: Where NATS is: a URL, several of them, or a `Nats` with what it takes to get in.
            app: The name of the bot in NATS, the same for all of its hosts and workers: 1 to 32 letters, digits, dashes
                and underscores.
            max_pending: Listener calls for the events of one partition that may be unfinished.
            misfits: What becomes of an event in which something does not fit its class.
            name: What this worker is called in the cluster, with a few digits behind it. None: as its machine.
            admin: Address of the admin server, as for `ShardManager`.
            admin_remote: Allow an address that other machines reach.
            lifespan: What is there around `serve` and `run`, as for `Gateway`.

        Raises:
            ValueError: A setting cannot work; the text says what to change.
            TypeError: A setting is of another type.
        """
        check_app(app)
        check_name(name)
        server = nats_of(nats)
        shown = Admin(admin, admin_remote)

        async def join() -> Joined:
            broker = await connect(server, app)

            def intake(partition: int, shard: _core.Shard) -> Intake:
                made = _core.Intake(broker.core, app, partition, shard)
                shown.show_intake(made)
                return made

            return Joined(broker, intake)

        self._app: Final = app
        self._life: Final = WorkerLife(
            self,
            join,
            app=app,
            name=name,
            max_pending=count_of("max_pending", max_pending, 1),
            mending=mending_of(misfits),
            lifespan=Lifespan(self, lifespan),
            admin=shown,
        )
        self._listening: Final = self._life.listening

    # ------------------------------------------------------------------ reading

    @property
    def id(self) -> str | None:
        """What it is called in the cluster; None before the first `open`, and another one for each."""
        return self._life.id

    @property
    def partitions(self) -> tuple[int, ...]:
        """The partitions whose events it has now. From any thread."""
        return self._life.partitions

    @property
    def total(self) -> int | None:
        """The number of all shards; None before a gateway host has told it. From any thread."""
        return self._life.total

    @property
    def listeners(self) -> tuple[Listener[..., Any], ...]:
        """The listeners that are here, as `Gateway.listeners` tells them."""
        return self._listening.listeners

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """``(host, port)`` of the admin server; None where there is none, and while it is closed. From any thread."""
        return self._life.admin.address

    def shard_of(self, guild_id: int | str) -> int:
        """The id of the shard that has a guild: ``(guild_id >> 22) % total``. From any thread.

        Raises:
            CommandError: It is no id.
            RuntimeError: How many shards there are is not known yet.
        """
        total = self.total
        if total is None:
            raise RuntimeError("how many shards there are is not known before open(), and before a gateway host runs")
        return shard_of(int(id_of("guild_id", guild_id)), total)

    def metrics(self) -> WorkerMetrics:
        """All counters, summed over the partitions that it has and had."""
        total = self._life.metrics()
        counted = {field.name: getattr(total, field.name) for field in fields(Metrics)}
        return WorkerMetrics(**counted, partitions=self.partitions, intake=self._life.intake_metrics())

    def __repr__(self) -> str:
        """Say where it stands; nothing of how it gets into NATS."""
        if not self._life.is_of_this_process:
            return "<Worker of the parent process>"
        state = f" {self.id} {len(self.partitions)} partitions" if self._life.under_way else " closed"
        return f"<Worker {self._app!r}{state}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: it holds a connection, and secrets perhaps."""
        raise TypeError("a Worker cannot be pickled; pass what is needed to make one")

    # ------------------------------------------------------------------ life

    async def open(self, *, timeout: float | None = None) -> None:
        """Join the cluster, and return when hosts can read what is listened to and the free partitions are taken.

        Those that another worker has come when that has handed them over; no host has to run yet. A worker at which
        nobody listens, nor waits, takes none: what nobody hears there is for others to hear.

        Args:
            timeout: Seconds; when they are over the worker is closed again. None: as long as NATS takes to answer.

        Raises:
            ConnectionError: NATS cannot be reached, or does not let it in; the text says where it was looked for.
            TimeoutError: Not open in time.
            OSError: The admin server cannot listen at ``admin``.
            NotConnected: It was closed meanwhile.
            RuntimeError: It is open already.
            ForkedError: It belongs to the parent process.
        """
        await self._life.open(timeout)

    async def close(self, *, drain: float | None = None) -> None:
        """Leave the cluster, and return when the partitions are given back: other workers take them at once.

        A listener that calls it has finished with its event. What is not finished comes again, on another worker.

        Args:
            drain: Seconds for what has come: it is handed out, and its calls may finish; who waits for an event gets
                `NotConnected` after half of the time, and what has not finished by the end is cancelled. None: no
                further listener is called, and calls go on.

        Raises:
            ValueError: ``drain`` is less than 0.
        """
        await self._life.close(None, drain=drain)

    async def wait_closed(self) -> None:
        """Return when the worker is closed."""
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
        """Warn of what was forgotten while it was open."""
        life: WorkerLife | None = getattr(self, "_life", None)
        if life is not None:
            life.forgotten()

    async def serve(self, *, drain: float = 10.0) -> None:
        """Open the worker, unless it is open, and serve until it is closed, as `Gateway.serve` does.

        The first signal (SIGTERM, SIGINT) closes it as `close` does with ``drain``.

        Args:
            drain: Seconds, as `close` takes them.

        Raises:
            ConnectionError: NATS cannot be reached, or does not let it in.
            TypeError: ``lifespan`` gave no async context manager.
            RuntimeError: It is being served already.
        """
        await serve(self._life, drain)

    def run(self, *, drain: float = 10.0) -> None:
        """Run `serve` in an event loop of its own, as `Gateway.run` does.

        Args:
            drain: Seconds, as `close` takes them.
        """
        run(self._life, lambda: self.serve(drain=drain), "worker")

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
        """Add a listener, as `Gateway.listen` does, for the events of the partitions that this worker has.

        Conditions on fields (``where=``) are asked by the gateway hosts: what no worker hears leaves none of them. A
        parameter annotated `Worker` receives the worker. An event is acknowledged when each listener's call for it has
        finished, also by raising; where the process ends before that, it comes again on another worker.
        """
        return self._listening.listen(arguments, Options(priority, once, concurrency, where), names_of_caller())

    def add(self, group: G) -> G:
        """Add the marked methods of a group, as `Gateway.add` does."""
        return self._listening.add(group)

    def on_close(self, function: F, /) -> F:
        """Call ``function(closed: Closed)`` when the worker has left the cluster, and before `close` returns."""
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
        """Hear events of all partitions as lists, as `Gateway.batches` does; in order within a partition.

        With ``ack=True`` they are acknowledged to NATS when `Batch.ack` is called, else when they are taken.
        """
        return self._listening.batches(events, where, size, bytes=bytes, seconds=seconds, ack=ack)

    def log_payloads(self, *events: "EventForm | str") -> Listener[..., None]:
        """Write events as they come to the log, as `Gateway.log_payloads` does."""
        return self._listening.log_payloads(events)

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
        """Return the first event of a kind that comes from now on, as `Gateway.wait_for` does.

        It has to come to this worker: an event of the same guild as the one that a listener has does. What no worker
        listened to before is published some milliseconds later.
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
        """Return the events of a kind that come from now on to this worker, as `Gateway.collect` does."""
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
        """Hear events of this worker one by one where they are wanted, as `Gateway.stream` does."""
        return self._listening.stream(event, where, buffer)

    # ------------------------------------------------------------------ commands

    async def set_presence(self, presence: Presence | Callable[[int], Presence], shard_id: int | None = None) -> None:
        """Show another status or activity, and return when the gateway hosts have sent it.

        Args:
            presence: Of all shards, or a function that gives that of a shard from its id.
            shard_id: The only shard that is to show it. None: all of them.

        Raises:
            NoOwner: No gateway host has a shard at this moment.
            NotConnected: The worker is not open, or a shard is not connected.
            RateLimited: Too many commands wait at a host; ``retry_after`` says how long to wait.
            RequestTimeout: A host did not answer; whether it has sent it is unknown.
            CommandTooLarge: Over 4,096 bytes.
            CommandError: A value that JSON cannot hold.
        """
        await self._life.commands.set_presence(presence, shard_id)

    async def send(self, op: int, data: Any, *, shard_id: int) -> None:
        """Send a raw payload on a shard, as `Gateway.send` does.

        Raises:
            NoOwner: No gateway host has the shard at this moment.
            NotConnected: The worker is not open, or the shard is not connected.
            RateLimited: Too many commands wait at its host.
            RequestTimeout: The host did not answer; whether it has sent it is unknown.
            CommandTooLarge: Over 4,096 bytes.
            CommandError: The opcode is not the user's, there is no such shard, or JSON cannot hold ``data``.
        """
        await self._life.commands.send(op, data, shard_id)

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
            NoOwner: No gateway host has the shard at this moment. This and what follows when it is awaited.
            NotConnected: The worker is not open, or the shard is not connected.
            RateLimited: Discord limits this request, or too many commands wait at the host.
            RequestTimeout: No answer in time.
            CommandError: An argument cannot be sent, or needs an intent that the hosts do not ask for.
        """
        return self._life.commands.request_members(
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
            NoOwner: No gateway host has the shard at this moment.
            NotConnected: The worker is not open, or the shard is not connected.
            RateLimited: Too many commands wait at its host.
            RequestTimeout: No answer in time.
        """
        return await self._life.commands.update_voice_state(
            guild_id, channel_id, self_mute=self_mute, self_deaf=self_deaf, timeout=timeout
        )
