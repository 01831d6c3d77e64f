"""The gateway: its options, its life, its listeners. The face of the package.

Over 500 lines because each option and each error is explained where a user's editor looks for it.
"""

import asyncio
import atexit
import logging
import os
from collections.abc import Callable
from typing import Any, Final, Literal, NoReturn, Self

from propylon import _core
from propylon.commanding import Commanding
from propylon.delivery import Delivery
from propylon.errors import ForkedError, NotConnected, PropylonError, error_of_end
from propylon.intents import Intents
from propylon.keeping import SessionKeeper, finished_mark, session_key
from propylon.listeners import Listener
from propylon.listening import is_task
from propylon.logs import GatewayLog
from propylon.metrics import Metrics
from propylon.needs import derived, warn_of_missing
from propylon.options import Backoff, Compression, Overflow, Timeouts
from propylon.presence import Presence
from propylon.serving import serve
from propylon.session import Closed, GatewayStatus, Session
from propylon.settings import check_seconds, count_of, engine_options, session_facts, user_of_token
from propylon.stores import SessionStore

__all__ = ["Gateway"]

_MAX_CLOSE_REASON_BYTES: Final = 123
_DRAIN_PATIENCE: Final = 5.0
"""Seconds without progress after which an ended gateway waits no longer for its listeners and handlers."""
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING}

# Closes what is open and joins the engine's threads while Python can still run.
atexit.register(_core.shutdown, 5.0)


class Gateway(Commanding):
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
        proxy: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        native_roots: bool = False,
        identify_properties: dict[str, str] | None = None,
        allow_plaintext: bool = False,
    ) -> None:
        """Make a gateway; nothing is sent before it is opened.

        Args:
            token: The bot's token; a ``Bot `` prefix is stripped. It is kept in the engine only.
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
            proxy: ``http://user:password@host:port`` (CONNECT), ``https://``, ``socks5://`` or ``socks5h://``, for the
                WebSocket and for ``api_url``. The proxy looks names up. ``"env"``: those of the environment
                (``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``), chosen for each host as curl does; otherwise never.
            ca_file: PEM certificates trusted besides the roots.
            native_roots: Trust the operating system's roots instead of Mozilla's.
            identify_properties: ``os``, ``browser``, ``device`` of IDENTIFY, each optional.
            allow_plaintext: Allow ``ws://`` to other hosts than this machine.

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
            proxy=proxy,
            ca_file=ca_file,
            native_roots=native_roots,
            identify_properties=identify_properties,
            allow_plaintext=allow_plaintext,
        )
        self._auto_intents: Final = intents == "auto"
        super().__init__(
            _core.Shard(options),
            count_of("max_pending", max_pending, 1),
            intents=Intents.NONE if intents == "auto" else Intents(int(intents)),
            token_user=user_of_token(token),
            waiting_bytes=queue_bytes,
        )
        self._warned_of: Final[set[str]] = set()
        self._shard_pair: Final = shard
        self._log: Final = GatewayLog(shard)
        self._keeper: Final = SessionKeeper(
            sessions,
            session_key(token, shard),
            mark=lambda: finished_mark(self._shard, self._consumer, self._streams),
            fits=self._fits,
            is_ready=lambda: self.status is GatewayStatus.READY,
        )
        self._delivery: Delivery | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[PropylonError | None] | None = None
        self._all_guilds: asyncio.Future[None] | None = None
        self._unraised: PropylonError | None = None
        self._handlers: Final[set[asyncio.Task[Any]]] = set()
        self._waiters = 0
        self._closing = False
        self._last_failure = ""
        self._pid: Final = os.getpid()

    def _fits(self, session: Session) -> bool:
        return session.shard == self._shard_pair and session.intents == int(self._intents)

    # ------------------------------------------------------------------ reading

    @property
    def status(self) -> GatewayStatus:
        """Where it stands. From any thread."""
        return GatewayStatus[self._shard.status]

    @property
    def latency(self) -> float | None:
        """Seconds from the last acknowledged heartbeat to its ACK; None before the first. From any thread."""
        return self._shard.latency

    @property
    def guilds_ready(self) -> bool:
        """Whether each guild of the session's READY has been heard of, or nothing came for 4 s. From any thread.

        True from READY on without the intent GUILDS, because then no guild is sent. Listeners may still have some of
        the guilds before them. https://discord.com/developers/docs/events/gateway-events#guild-create
        """
        return self._shard.guilds_ready

    @property
    def identify_blocked_until(self) -> float | None:
        """Unix time in seconds until which no new session is started, because the day's budget is all but used up.

        None while there is none to wait for. From any thread.
        """
        return self._shard.identify_blocked_until

    @property
    def shard(self) -> tuple[int, int] | None:
        """``(shard_id, shard_count)``, or None."""
        return self._shard_pair

    @property
    def session(self) -> Session | None:
        """The session as a RESUME would use it; None before READY and after a close that ended it. From any thread.

        May be set while the gateway is closed, to one saved earlier.
        """
        facts = self._shard.session
        return None if facts is None else Session(*facts)

    @session.setter
    def session(self, session: Session | None) -> None:
        if self._shard.running:
            raise RuntimeError("the session can be set while the gateway is closed")
        fits = session is None or self._fits(session)
        if session is not None and not (fits or (self._auto_intents and session.shard == self._shard_pair)):
            raise ValueError("the session belongs to other intents or another shard")
        self._shard.set_session(None if session is None else session_facts(session))

    def metrics(self) -> Metrics:
        """All counters, taken together. From any thread."""
        return Metrics(
            **self._shard.snapshot(),
            pending=self._consumer.pending,
            undecodable=self._consumer.undecodable,
            listener_errors=self._consumer.errors,
        )

    def __repr__(self) -> str:
        """Say where it stands; never the token."""
        if os.getpid() != self._pid:
            return "<Gateway of the parent process>"
        shard = "" if self._shard_pair is None else f" shard={self._shard_pair}"
        return f"<Gateway {self.status.name}{shard}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: it holds a connection and a token."""
        raise TypeError("a Gateway cannot be pickled; pass what is needed to make one")

    # ------------------------------------------------------------------ intents

    def _attach(self, *listeners: Listener[..., Any]) -> None:
        # Worked out only when it is opened, "auto" has nothing to say before.
        if not self._auto_intents or self._shard.running:
            warn_of_missing(listeners, self._intents, self._warned_of, auto=self._auto_intents)
        super()._attach(*listeners)

    def _derive_intents(self) -> None:
        """With ``intents="auto"``: from the listeners that are there now."""
        if not self._auto_intents:
            return
        self._intents = derived(self._listeners)
        self._shard.set_intents(int(self._intents))
        session = self.session
        if session is not None and session.intents != int(self._intents):
            self._log.warning("the listeners need other intents than the session has; identifying anew")
            self._shard.set_session(None)

    # ------------------------------------------------------------------ life

    def _check_usable(self) -> None:
        self._check_process()
        if self._ended is not None and not self._ended.done():
            self._adopt(self._ended)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedError("this gateway belongs to the parent process; make a new one after fork()")

    async def open(self, *, timeout: float | None = None) -> None:
        """Connect, and return at READY or RESUMED.

        With ``sessions=`` and no session of its own it goes on with the one that the store has.

        Args:
            timeout: Seconds; when they are over the gateway is closed again. None: as long as it takes.

        Raises:
            TimeoutError: Not ready in time; the text tells the last failure, and whether it waits at the identify gate.
            ValueError: ``timeout`` is less than 0, or none.
            GatewayClosed: Discord refuses for good (or ``auto_reconnect=False``): one of its subclasses.
            CertificateError: The server's certificate is refused.
            HandshakeError: ``auto_reconnect=False`` and no connection came about.
            RuntimeError: It is open already.
            ValueError: With ``intents="auto"``, a listener needs a privileged intent; the text says how to ask for it.
            ForkedError: It belongs to the parent process.
        """
        self._check_process()
        check_seconds("open()", timeout=timeout)
        if self._ended is not None and not self._ended.done():
            raise RuntimeError("the gateway is open already; close it first, or make another one")
        self._derive_intents()
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._closing = False
        self._unraised = None
        self._last_failure = ""
        opened = self._opened = loop.create_future()
        self._ended = loop.create_future()
        deadline = None if timeout is None else loop.time() + timeout
        try:
            await self._recall(deadline)
            # A session to be resumed is not given up because it could not be reached in time.
            code = 4000 if self._keeper.keeps or self._shard.session is not None else 1000
            self._consumer.resume()
            self._delivery = Delivery.current()
            self._delivery.add(self._shard, self)
            self._shard.start()
        except BaseException:
            self._unbind()
            self._ended.set_result(None)
            raise
        self._keeper.start()
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(opened)
        except TimeoutError:
            if opened.done() and (error := opened.exception()) is not None:
                # The refusal came in the same moment and tells more.
                raise error from None
            why = self._what_it_waits_for()
            await self.close(code)
            raise TimeoutError(f"the gateway was not ready within {timeout} s{why}") from None
        except asyncio.CancelledError:
            await self.close(code)
            raise
        finally:
            # An error that came after the time was over is told by nobody else.
            if opened.done() and not opened.cancelled():
                opened.exception()
            else:
                opened.cancel()

    def _what_it_waits_for(self) -> str:
        why = f"; the last attempt failed: {self._last_failure}" if self._last_failure else ""
        if self.status is GatewayStatus.IDENTIFYING:
            why += "; it waits at the identify gate, which lets one IDENTIFY of a token pass every 5 s"
        return why

    async def _recall(self, deadline: float | None) -> None:
        """Take the session that the store has, unless there is one at hand."""
        if self._shard.session is not None:
            return
        try:
            async with asyncio.timeout_at(deadline):
                session = await self._keeper.load()
        except TimeoutError:
            raise TimeoutError("the session store did not answer in time") from None
        if self._closing:
            raise NotConnected("the gateway was closed while it was opening")
        if session is not None:
            self._shard.set_session(session_facts(session))

    async def close(self, code: int | None = None, reason: str = "", *, resumable: bool | None = None) -> None:
        """Close the connection and wait until it is closed; at most ``timeouts.close`` for the peer's answer.

        A listener that calls it has finished with its event: the event is not replayed after a restart.

        Args:
            code: 1000 (the default) and 1001 end the session: the bot goes offline at once. 3000 to 4999 keep it.
            reason: At most 123 bytes.
            resumable: True: close with 4000, so that `session` can be resumed, also by another process. The default
                where there is a store (``sessions=``) and no code is given; it has the session when this returns.

        Raises:
            ValueError: The code cannot be sent, or contradicts ``resumable``, or the reason is too long.
        """
        self._check_process()
        if resumable and code in (1000, 1001):
            raise ValueError(f"code {code} ends the session; leave it out to close resumably")
        if code is None:
            keep = self._keeper.keeps if resumable is None else resumable
            code = 4000 if keep else 1000
        if not (code in (1000, 1001) or 3000 <= code <= 4999):
            raise ValueError(f"{code} cannot be sent; use 1000, 1001, or 3000 to 4999 (RFC 6455, section 7.4)")
        if resumable is False and code not in (1000, 1001):
            raise ValueError(f"code {code} keeps the session; use 1000 or 1001 with resumable=False")
        if len(reason.encode()) > _MAX_CLOSE_REASON_BYTES:
            raise ValueError(f"the reason is over {_MAX_CLOSE_REASON_BYTES} bytes")
        ended = self._ended
        if ended is None or ended.done():
            return
        ended = self._adopt(ended)
        self._closing = True
        if not (self._shard.close(code, reason) and self._shard.running):
            # It has ended by itself; what still waits for listeners is kept for the next opening.
            self._consumer.suspend()
        task = asyncio.current_task()
        if task in self._handlers:
            # An `on_close` handler: the end waits for it, so it must not wait for the end.
            return
        if task is not None:
            self._consumer.count_as_finished(task)
        await asyncio.shield(ended)
        self._unraised = None

    async def wait_guilds_ready(self, *, timeout: float | None = None) -> None:
        """Return when `guilds_ready` is true; at once where it is.

        Args:
            timeout: Seconds; None: as long as it takes.

        Raises:
            TimeoutError: Not in time.
            NotConnected: The gateway is not open, or was closed meanwhile.
        """
        self._check_process()
        check_seconds("wait_guilds_ready()", timeout=timeout)
        if self._ended is None or self._ended.done():
            raise NotConnected("the gateway is not open; open it first")
        ended = self._adopt(self._ended)
        while not self.guilds_ready:
            if self._all_guilds is None or self._all_guilds.done():
                self._all_guilds = asyncio.get_running_loop().create_future()
            either: set[asyncio.Future[Any]] = {self._all_guilds, ended}
            async with asyncio.timeout(timeout):
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise NotConnected("the gateway was closed before all guilds were there")

    async def wait_closed(self) -> None:
        """Return when the gateway is closed by `close`.

        Raises:
            GatewayClosed: The connection ended and is not made anew: a fatal close code, ``auto_reconnect=False``, or
                an ``on_close`` handler returned False.
        """
        self._check_process()
        if self._ended is None:
            return
        if asyncio.current_task() in self._handlers:
            raise RuntimeError("an on_close handler cannot wait for the end, because the end waits for it")
        if self._ended.done():
            error, self._unraised = self._unraised, None
        else:
            ended = self._adopt(self._ended)
            self._waiters += 1
            try:
                error = await asyncio.shield(ended)
            finally:
                self._waiters -= 1
            self._unraised = None
        if error is not None:
            raise error

    async def __aenter__(self) -> Self:
        """Open it, unless it is open."""
        if self._ended is None or self._ended.done():
            await self.open()
        else:
            self._adopt(self._ended)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    def run(self) -> None:
        """Open the gateway and serve until it is closed; SIGINT and SIGTERM close it, resumably where there is a store.

        Starts an event loop of its own; inside a running one use ``async with gateway``.

        Raises:
            GatewayClosed: Discord refuses for good: one of its subclasses.
            KeyboardInterrupt, SystemExit: A listener raised it; the connection is closed first.
        """
        self._check_process()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            # Left before anything runs: what the bot raises would name this one as its context.
            pass
        else:
            raise RuntimeError("run() starts an event loop; inside one, use `async with gateway` and wait_closed()")
        asyncio.run(serve(self, lambda: self._opened is None or not self._opened.done()))

    # ------------------------------------------------------------------ news from the engine

    def feed(
        self, generation: int, dispatches: list[_core.Dispatch[Any]], routes: list[int], *, later: bool = False
    ) -> None:
        """Take events. For `Delivery`."""
        self._consumer.feed(generation, dispatches, routes, later=later)

    def torn_down(self) -> set[asyncio.Task[Any]]:
        """The loop is about to end. For `Delivery`."""
        return self._consumer.torn_down()

    def notice(self, kind: str, *facts: Any) -> None:
        """Take news. For `Delivery`."""
        if kind == "reply":
            self._requests.reply(*facts)
        elif kind == "ready":
            (resumed,) = facts
            self._log.info("RESUMED: the session goes on" if resumed else "READY: a new session")
            if not resumed:
                self._requests.new_session()
            self._keeper.nudge()
            if self._opened is not None and not self._opened.done():
                self._opened.set_result(None)
        elif kind == "done":
            self._commands.done(*facts)
        elif kind == "closed":
            code, reason, why, reconnect = facts
            self._keeper.nudge()
            self._connection_closed(Closed(code, reason, error_of_end(why, self._intents), reconnect))
        elif kind == "guilds ready":
            if self._all_guilds is not None and not self._all_guilds.done():
                self._all_guilds.set_result(None)
        elif kind == "connect failed":
            what, message, delay = facts
            self._last_failure = message
            self._log.warning("no connection (%s): %s; trying again in %.1f s", what, message, delay)
        elif kind == "ended":
            (how,) = facts
            error = error_of_end(how, self._intents)
            # Concluded even where the loop is being torn down and cancels everything: somebody waits for the end.
            self._spawn(self._wind_up(error)).add_done_callback(lambda _: self._conclude(error))
        else:
            self._log.log(_LEVELS[kind], "%s", *facts)

    def _connection_closed(self, closed: Closed) -> None:
        self._log.info("connection closed: %s %r, reconnect=%s", closed.code, closed.reason, closed.reconnect)
        for function, gateway_parameter in tuple(self._close_handlers):
            extra = {} if gateway_parameter is None else {gateway_parameter: self}
            result = self._call_handler("on_close", function, closed, extra)
            if is_task(result):
                # The end of the gateway waits for these.
                self._handlers.add(result)
                result.add_done_callback(self._close_handler_done)
            elif result is False:
                self._shard.stop_reconnecting()

    def _close_handler_done(self, task: asyncio.Task[Any]) -> None:
        self._handlers.discard(task)
        if not task.cancelled() and task.exception() is None and task.result() is False:
            self._shard.stop_reconnecting()

    async def _wind_up(self, error: PropylonError | None) -> None:
        """What came before the end is still handed out, and what hears of the end has its say."""
        if not self._closing and not await self._consumer.drained(_DRAIN_PATIENCE) and not self._closing:
            self._log.warning("the gateway has ended, but listeners do not take the events that still wait")
        # No listener is called any more: what is saved below stays true.
        self._consumer.suspend()
        # Now and not after the handlers, which may be waiting for just these.
        self._end_awaiting(error)
        await self._let_handlers_finish()
        if self._keeper.keeps:
            await self._keeper.finish()

    def _end_awaiting(self, error: PropylonError | None) -> None:
        self._commands.fail_all()
        self._requests.fail_all()
        self._end_consuming(error)

    async def _let_handlers_finish(self) -> None:
        cancelled = False
        while self._handlers:
            done, _ = await asyncio.wait(self._handlers, timeout=_DRAIN_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if done:
                continue
            if cancelled:
                self._log.error("on_close handlers do not end although they were cancelled; the gateway ends without")
                self._handlers.clear()
                return
            self._log.warning(
                "on_close handlers are cancelled, because for %g s none has finished and the end of the gateway waits "
                "for them; let them start a task for what takes longer",
                _DRAIN_PATIENCE,
            )
            cancelled = True
            for handler in self._handlers:
                handler.cancel()

    def _conclude(self, error: PropylonError | None) -> None:
        self._consumer.suspend()
        self._unbind()
        self._end_awaiting(error)
        self._ending = False
        told = False
        if self._opened is not None and not self._opened.done():
            told = error is not None
            self._opened.set_exception(error or NotConnected("the gateway was closed while it was opening"))
        if self._ended is not None and not self._ended.done():
            self._unraised = None if told else error
            if self._unraised is not None and not self._waiters:
                self._log.error("the gateway has ended: %s", error)
            self._ended.set_result(self._unraised)

    def _adopt(self, ended: asyncio.Future[PropylonError | None]) -> asyncio.Future[PropylonError | None]:
        """Check that an open gateway is used in its loop; one whose loop has died moves to the running one.

        Returns the future of its end, which moves too.
        """
        loop = asyncio.get_running_loop()
        if self._loop is loop or self._loop is None:
            return ended
        if not self._loop.is_closed():
            raise RuntimeError("an open gateway belongs to the event loop in which it was opened")
        self._unbind()
        self._loop = loop
        # Whoever opened it has gone with the loop.
        self._opened = None
        ended = self._ended = loop.create_future()
        self._commands.clear()
        self._requests.clear()
        self._handlers.clear()
        self._keeper.start()
        self._consumer.resume()
        self._delivery = Delivery.current()
        self._delivery.add(self._shard, self)
        return ended

    def _unbind(self) -> None:
        if self._delivery is not None:
            self._delivery.remove(self._shard)
            self._delivery = None

    async def _command(self, submit: Callable[[int], bool], written: Callable[[], None] | None = None) -> None:
        self._check_process()
        if self._ended is None or self._ended.done():
            raise NotConnected("the gateway is not open; open it first")
        self._adopt(self._ended)
        await self._commands.carry_out(submit, written)
