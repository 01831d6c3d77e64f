"""The life of a gateway in its event loop: opened, closed, ended, and what the engine tells meanwhile.

Builds the parts of one gateway and is the one that knows them all. What users see of it is
`propylon._gateway.gateway`'s.

Over 500 lines because what opens, ends and adopts a gateway turns on the same few futures.
"""

import asyncio
import atexit
import logging
import os
import time
import warnings
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Protocol

import propylon._core as _core
from propylon._arguments import check_seconds, user_of_token
from propylon._commands.commands import Commands
from propylon._delivery.consumer import Consumer
from propylon._delivery.loop import Delivery
from propylon._delivery.plans import Plans, Route
from propylon._gateway.admin import Admin
from propylon._gateway.intents import AskedIntents, refuse_of_fleets
from propylon._gateway.logs import GatewayLog
from propylon._gateway.metrics import Metrics
from propylon._gateway.replaying import replayed
from propylon._gateway.settings import session_facts
from propylon._gateway.waiting import what_it_waits_for
from propylon._gateway.watching import LoopWatch
from propylon._listening.entry import Entry
from propylon._listening.face import ListenerFace
from propylon._listening.handlers import is_task
from propylon._listening.lifespan import Lifespan
from propylon._sessions.keeping import SessionKeeper, finished_mark, is_fenced, session_key
from propylon._sessions.session import Closed, GatewayStatus, Session
from propylon._sessions.stores import SessionStore
from propylon.errors import ForkedError, NotConnected, PropylonError, SessionTakenOver, error_of_end
from propylon.events._decoding import Misfits
from propylon.intents import Intents
from propylon.logs import flush_bursts

__all__ = ["Life", "close_code"]

_MAX_CLOSE_REASON_BYTES: Final = 123
_READERS_PATIENCE: Final = 120.0
"""Seconds for which a shard that is closed for good waits for readers of batches that hold it back."""
_DRAIN_PATIENCE: Final = 5.0
"""Seconds without progress after which an ended gateway waits no longer for its listeners and handlers."""
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING}

# Closes what is open and joins the engine's threads while Python can still run.
atexit.register(_core.shutdown, 5.0)


def close_code(code: int | None, reason: str, *, resumable: bool | None, keeps: bool) -> int:
    """The code of a close as it is asked for; ``keeps``: there is a store.

    Raises ValueError where it cannot be sent.
    """
    if resumable and code in (1000, 1001):
        raise ValueError(f"code {code} ends the session; leave it out to close resumably")
    if code is None:
        keep = keeps if resumable is None else resumable
        code = 4000 if keep else 1000
    if not (code in (1000, 1001) or 3000 <= code <= 4999):
        raise ValueError(f"{code} cannot be sent; use 1000, 1001, or 3000 to 4999 (RFC 6455, section 7.4)")
    if resumable is False and code not in (1000, 1001):
        raise ValueError(f"code {code} keeps the session; use 1000 or 1001 with resumable=False")
    if len(reason.encode()) > _MAX_CLOSE_REASON_BYTES:
        raise ValueError(f"the reason is over {_MAX_CLOSE_REASON_BYTES} bytes")
    return code


class Fleet(Protocol):
    """What a shard knows of the fleet that it is one of."""

    @property
    def listening(self) -> ListenerFace:
        """Of all shards."""
        ...

    @property
    def plans(self) -> Plans:
        """Of all shards."""
        ...

    room: _core.Room | None

    def shard_ready(self, life: "Life", *, resumed: bool) -> None:
        """READY or RESUMED is in."""

    def hears(self, life: "Life") -> bool:
        """Whether what becomes of its connections is news: not while it stands beside those that are the fleet."""
        ...

    def shard_closed(self, life: "Life", closed: Closed) -> None:
        """A connection has ended."""

    def guilds_ready(self, life: "Life") -> None:
        """Each guild of READY has been heard of."""

    def shard_ended(self, life: "Life", error: PropylonError | None) -> None:
        """It is closed, and makes no further connection."""

    async def left_open(self) -> None:
        """Every task of the loop has ended: say so, once, and close."""

    def permit(self, life: "Life", kind: str, number: int, max_concurrency: int = 0) -> None:
        """The gate outside of the engine is asked, or what it gave is given back."""


class Life:
    """The life of one gateway, over any number of openings."""

    def __init__(
        self,
        owner: object,
        options: dict[str, Any],
        token: str,
        *,
        intents: AskedIntents,
        shard: tuple[int, int] | None,
        sessions: SessionStore | None,
        max_pending: int,
        queue_bytes: int,
        mending: bool,
        lifespan: Lifespan,
        admin: Admin,
        fleet: Fleet | None = None,
    ) -> None:
        """``owner`` is what listeners are given; ``options`` are the engine's, checked.

        ``fleet``: it is one of several shards, whose listeners, events and end are the fleet's.
        """
        self._pid: Final = os.getpid()
        self._owner: Final = owner
        self.lifespan: Final = lifespan
        self._asks: Final = options["gateway_url"] is None
        self._intents: Final = intents
        self.shard_pair: Final = shard
        self.admin: Final = admin
        self._fleet: Final = fleet
        self.listening: Final = (
            ListenerFace(owner, lifespan, check_usable=self.check_usable, adding=self._before_adding)
            if fleet is None
            else fleet.listening
        )
        options = {**options, "leased": is_fenced(sessions)}
        self.shard: Final = _core.Shard(
            options, self.listening.registry.subscriptions, None if fleet is None else fleet.room
        )
        self.consumer: Final = Consumer(
            self.shard,
            self.listening.registry,
            Plans(self.listening.registry) if fleet is None else fleet.plans,
            max_pending,
            report=self.listening.handlers.report,
            excused=self.listening.excused,
        )
        self.listening.bind(self.consumer)
        self._misfits: Final = Misfits(self.shard.key, mending=mending)
        self.commands: Final = Commands(
            self.shard,
            check_open=self._check_open,
            intents=lambda: intents.asked,
            token_user=user_of_token(token),
            waiting_bytes=queue_bytes,
        )
        self._log: Final = GatewayLog(shard)
        self._keeper: Final = SessionKeeper(
            sessions,
            session_key(token, shard),
            mark=lambda: finished_mark(self.shard, self.consumer, self.listening.unfinished),
            fits=self._fits,
            is_ready=lambda: self.status is GatewayStatus.READY,
            taken_over=self.shard.taken_over,
        )
        self._replaying = False
        self._delivery: Delivery | None = None
        self._loop_watch: LoopWatch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[PropylonError | None] | None = None
        self._all_guilds: asyncio.Future[None] | None = None
        self._unraised: PropylonError | None = None
        self._handlers: Final[set[asyncio.Task[Any]]] = set()
        self._checks: Final[set[asyncio.Task[None]]] = set()
        self._winding_up: asyncio.Task[None] | None = None
        self._waiters = 0
        self._closing = False
        self._retiring = False
        self._last_failure = ""
        self._asks_store = False
        self.was_served = False
        """Whether `serve` or `run` has been called."""

    def _fits(self, session: Session) -> bool:
        return session.shard == self.shard_pair and session.intents == int(self.intents)

    @property
    def intents(self) -> Intents:
        """Those that it asks for."""
        return self._intents.asked

    @property
    def status(self) -> GatewayStatus:
        """Where it stands."""
        return GatewayStatus[self.shard.status]

    @property
    def is_of_this_process(self) -> bool:
        """Whether it was made here, and not by the parent before a fork."""
        return os.getpid() == self._pid

    @property
    def session(self) -> Session | None:
        """The session as a RESUME would use it."""
        facts = self.shard.session
        return None if facts is None else Session(*facts)

    @session.setter
    def session(self, session: Session | None) -> None:
        if self.shard.running:
            raise RuntimeError("the session can be set while the gateway is closed")
        fits = session is None or self._fits(session)
        if session is not None and not (fits or (self._intents.auto and session.shard == self.shard_pair)):
            raise ValueError("the session belongs to other intents or another shard")
        self.shard.set_session(None if session is None else session_facts(session))

    def metrics(self) -> Metrics:
        """All counters, taken together."""
        watch = None if self._loop_watch is None else self._loop_watch.watch
        blocked = 0.0 if watch is None else watch.blocked_seconds
        return Metrics(
            **self.shard.snapshot(),
            blocked_seconds=blocked,
            running=None if watch is None or not blocked else watch.running_name,
            pending=self.consumer.pending,
            mended=self._misfits.mended,
            undecodable=self.consumer.undecodable,
            listener_errors=self.consumer.errors,
        )

    # ------------------------------------------------------------------ intents

    def _before_adding(self, entries: Sequence[Entry]) -> None:
        # Before anything has changed: the engine would refuse them in the middle.
        self.check_process()
        refuse_of_fleets(entries)
        self._intents.heard(entries, running=self.shard.running)

    def _derive_intents(self) -> None:
        """With ``intents="auto"``: from the listeners that are there now."""
        if not self._intents.auto:
            return
        if self._fleet is None:
            self._intents.derive(self.listening.registry.entries)
        self.shard.set_intents(int(self.intents))
        session = self.session
        if session is not None and session.intents != int(self.intents):
            self._log.warning("the listeners need other intents than the session has; identifying anew")
            self.shard.set_session(None)

    # ------------------------------------------------------------------ life

    def check_usable(self) -> None:
        """Raise where this process must not use it; move it to this loop, where its own has died."""
        self.check_process()
        if self._ended is not None and not self._ended.done():
            self._adopt(self._ended)

    def check_process(self) -> None:
        """Raise ForkedError where it belongs to the parent process."""
        if not self.is_of_this_process:
            raise ForkedError("this gateway belongs to the parent process; make a new one after fork()")

    async def open(self, timeout: float | None) -> None:
        """Connect, and return at READY or RESUMED."""
        self.check_process()
        check_seconds("open()", timeout=timeout)
        if self._ended is not None and not self._ended.done():
            raise RuntimeError("the gateway is open already; close it first, or make another one")
        if self._replaying:
            raise RuntimeError("a recording is replayed into the gateway; open it when that is over")
        self._derive_intents()
        loop = asyncio.get_running_loop()
        if self._fleet is None:
            self.admin.open()
        self._loop = loop
        self._closing = False
        self._unraised = None
        self._last_failure = ""
        opened = self._opened = loop.create_future()
        self._ended = self._new_end(loop)
        deadline = None if timeout is None else loop.time() + timeout
        try:
            await self._recall(deadline)
            # A session to be resumed is not given up because it could not be reached in time.
            code = 4000 if self._keeper.keeps or self.shard.session is not None else 1000
            self.consumer.resume()
            self._bind()
            self.shard.start()
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
            asks = self._asks and self.session is None
            why = what_it_waits_for(
                self.status, asks=asks, asks_store=self._asks_store, last_failure=self._last_failure
            )
            await self.close(code)
            raise TimeoutError(f"the gateway was not ready within {timeout} s{why}") from None
        except asyncio.CancelledError:
            await self.close(code)
            raise
        finally:
            # An error that came after the time was over is told by nobody else.
            if opened.done() and not opened.cancelled():
                opened.exception()
            elif not loop.is_closed():
                opened.cancel()

    async def _recall(self, deadline: float | None) -> None:
        """Claim the session, and take the one that the store has, unless there is one at hand."""
        session: Session | None = None
        try:
            async with asyncio.timeout_at(deadline):
                await self._keeper.claim()
                if self.shard.session is None:
                    session = await self._keeper.load()
        except TimeoutError:
            raise TimeoutError("the session store did not answer in time") from None
        if self._closing:
            raise NotConnected("the gateway was closed while it was opening")
        if session is not None:
            self.shard.set_session(session_facts(session))

    async def close(
        self, code: int | None, reason: str = "", *, resumable: bool | None = None, drain: float | None = None
    ) -> None:
        """Close the connection and wait until it is closed."""
        self.check_process()
        check_seconds("close()", drain=drain)
        code = close_code(code, reason, resumable=resumable, keeps=self._keeper.keeps)
        ended = self._ended
        if ended is None or ended.done():
            return
        ended = self._adopt(ended)
        self._closing = True
        task = asyncio.current_task()
        if task is not None:
            self.consumer.count_as_finished(task)
        try:
            if drain is not None:
                await self._let_calls_finish(drain)
        finally:
            # Also where it is cancelled meanwhile: nothing is handed out any more, so it would be open for nobody.
            self.hang_up(code, reason)
        if self.awaits(task):
            # An `on_close` handler: the end waits for it, so it must not wait for the end.
            return
        await asyncio.shield(ended)
        self._unraised = None

    def hang_up(self, code: int, reason: str = "", *, retiring: bool = False) -> None:
        """Ask for the end of the connection; what is checked and awaited around that is `close`'s.

        ``retiring``: what waits for listeners is still handed out, because nobody opens it again.
        """
        if self._ended is None or self._ended.done():
            return
        self._closing = not retiring
        self._retiring = retiring
        # Asked before: on a quick machine it may have ended by this very close, whose news listeners are to get.
        was_running = self.shard.running
        if not (self.shard.close(code, reason) and was_running) and not retiring:
            # It has ended by itself; what still waits for listeners is kept for the next opening.
            self.consumer.suspend()

    def awaits(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether the end waits for a task, which must not wait for the end then."""
        return task in self._handlers

    @property
    def accepted_and_taken(self) -> int:
        """The largest sequence number of the session up to which no event waits in the engine."""
        mark = self.shard.mark
        return 0 if mark is None else mark[0][1]

    @property
    def under_way(self) -> bool:
        """Whether it is open, or opening."""
        return self._ended is not None and not self._ended.done()

    async def _let_calls_finish(self, seconds: float) -> None:
        """No new events; those who wait for one are told. What Discord answers to commands still comes."""
        self.consumer.suspend()
        if self._fleet is None:
            self.listening.end(None)
        end = time.monotonic() + seconds
        await self.consumer.settle(seconds)
        if self._fleet is None:
            # Those who read batches have had this time as well.
            await self.listening.acknowledged(max(end - time.monotonic(), 0))

    async def left_open(self) -> None:
        """The loop has nothing left to do but this. For `Delivery`."""
        if self._fleet is not None:
            await self._fleet.left_open()
            return
        try:
            self._warn_of_open("left open at the end of its event loop")
        finally:
            await self.close(None)

    async def settle(self, seconds: float) -> None:
        """Let calls of listeners finish for so many seconds, then cancel them and wait until they have ended."""
        await self.consumer.settle(seconds)

    def forgotten(self) -> None:
        """Nobody has the gateway any more. Its loop was closed by hand, or the end of that would have been noticed."""
        if self.is_of_this_process and self.shard.running:
            try:
                self._warn_of_open("forgotten while it was open")
            finally:
                self.shard.close(4000 if self._keeper.keeps else 1000, "")

    def _warn_of_open(self, how: str) -> None:
        advice = "close it by `async with`, or by serve() or run(), which do so at signals too"
        warnings.warn(f"{self._owner!r} was {how}: {advice}", ResourceWarning, stacklevel=3, source=self._owner)

    async def wait_guilds_ready(self, timeout: float | None) -> None:
        """Return when each guild of READY has been heard of."""
        self.check_process()
        check_seconds("wait_guilds_ready()", timeout=timeout)
        if self._ended is None or self._ended.done():
            raise NotConnected("the gateway is not open; open it first")
        ended = self._adopt(self._ended)
        while not self.shard.guilds_ready:
            if self._all_guilds is None or self._all_guilds.done():
                self._all_guilds = asyncio.get_running_loop().create_future()
            either: set[asyncio.Future[Any]] = {self._all_guilds, ended}
            async with asyncio.timeout(timeout):
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise NotConnected("the gateway was closed before all guilds were there")

    async def wait_closed(self) -> None:
        """Return when the gateway is closed."""
        self.check_process()
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

    def is_open(self) -> bool:
        """Whether it is open, in this loop. Raises RuntimeError where it is in another."""
        if self._ended is None or self._ended.done():
            return False
        self._adopt(self._ended)
        return True

    async def replay(self, chunks: "AsyncIterator[list[_core.Fed]]", drain: float) -> int:
        """Hand events that no connection brings to the listeners; how many."""
        self.check_process()
        if self.under_way or self._replaying:
            raise RuntimeError("the gateway is open; close it before a recording is replayed")
        self._replaying = True
        try:
            return await replayed(self.shard, self, self.consumer, self.listening, self.lifespan, chunks, drain)
        finally:
            self._replaying = False

    # ------------------------------------------------------------------ news from the engine

    def feed(
        self, generation: int, dispatches: list[_core.Dispatch[Any]], routes: list[Route], *, later: bool = False
    ) -> None:
        """Take events. For `Delivery`."""
        self.consumer.feed(generation, dispatches, routes, later=later)

    def torn_down(self) -> set[asyncio.Task[Any]]:
        """The loop is about to end. For `Delivery`."""
        return self.consumer.torn_down()

    def notice(self, kind: str, *facts: Any) -> None:
        """Take news. For `Delivery`."""
        if kind == "reply":
            self.commands.reply(*facts)
        elif kind == "ready":
            (resumed,) = facts
            self._log.info("RESUMED: the session goes on" if resumed else "READY: a new session")
            if not resumed:
                self.commands.new_session()
            self._keeper.nudge()
            if self._opened is not None and not self._opened.done():
                self._opened.set_result(None)
            if self._fleet is not None:
                self._fleet.shard_ready(self, resumed=resumed)
        elif kind == "done":
            self.commands.done(*facts)
        elif kind == "closed":
            code, reason, why, reconnect = facts
            self._keeper.nudge()
            self._connection_closed(Closed(code, reason, error_of_end(why, self.intents), reconnect, self.shard_pair))
        elif kind == "check lease":
            (check,) = facts
            task = asyncio.get_running_loop().create_task(self._check_lease(check), name="propylon lease")
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)
        elif kind == "guilds ready":
            if self._all_guilds is not None and not self._all_guilds.done():
                self._all_guilds.set_result(None)
            if self._fleet is not None:
                self._fleet.guilds_ready(self)
        elif kind in ("permit wanted", "permit over"):
            assert self._fleet is not None
            self._fleet.permit(self, kind, *facts)
        elif kind == "connect failed":
            what, message, delay = facts
            self._last_failure = message
            self._log.warning("no connection (%s): %s; trying again in %.1f s", what, message, delay)
        elif kind == "ended":
            (how,) = facts
            error = error_of_end(how, self.intents)
            # Concluded even where the loop is being torn down and cancels everything: somebody waits for the end.
            self._winding_up = asyncio.get_running_loop().create_task(self._wind_up(error))
            self._winding_up.add_done_callback(lambda _: self._conclude(error))
        else:
            self._log.log(_LEVELS[kind], "%s", *facts)

    async def _check_lease(self, check: int) -> None:
        """The engine dials, and does not resume before it knows that the session is still this process's."""
        self._asks_store = True
        try:
            held = await self._keeper.is_held()
        finally:
            self._asks_store = False
        if held:
            self.shard.lease_held(check)

    def _connection_closed(self, closed: Closed) -> None:
        self._log.info("connection closed: %s %r, reconnect=%s", closed.code, closed.reason, closed.reconnect)
        is_heard = self._fleet is None or self._fleet.hears(self)
        for result in self.listening.handlers.closed(closed) if is_heard else ():
            if is_task(result):
                # The end of the gateway waits for these.
                self._handlers.add(result)
                result.add_done_callback(self._close_handler_done)
            elif result is False:
                self.shard.stop_reconnecting()
        if self._fleet is not None:
            self._fleet.shard_closed(self, closed)

    def _close_handler_done(self, task: asyncio.Task[Any]) -> None:
        self._handlers.discard(task)
        if not task.cancelled() and task.exception() is None and task.result() is False:
            self.shard.stop_reconnecting()

    async def _wind_up(self, error: PropylonError | None) -> None:
        """What came before the end is still handed out, and what hears of the end has its say."""
        taken_over = isinstance(error, SessionTakenOver)
        if taken_over:
            # What still waits is the other process's by now.
            self._log.info("another process has taken the session over; this gateway ends when its listeners are done")
        elif not self._closing and not await self._handed_out() and not self._closing:
            self._log.warning("the gateway has ended, but listeners do not take the events that still wait")
        # No listener is called any more: what is saved below stays true.
        self.consumer.suspend()
        # Now and not after the handlers, which may be waiting for just these.
        self._end_awaiting(error)
        if taken_over and not await self.consumer.finished(_DRAIN_PATIENCE):
            self._log.warning("the gateway ends, but %d listener calls have not finished", self.consumer.pending)
        await self._let_handlers_finish()
        if self._keeper.keeps:
            await self._keeper.finish()

    async def _handed_out(self) -> bool:
        """Whether what waits was handed out. Who reads batches may take long; of a shard that nobody opens again
        nobody hears it later."""
        begun = time.monotonic()
        while not await self.consumer.drained(_DRAIN_PATIENCE):
            waits = self._retiring and self.consumer.is_held_by_reader and not self.consumer.is_suspended
            if not waits or time.monotonic() - begun > _READERS_PATIENCE:
                return False
        return True

    def _end_awaiting(self, error: PropylonError | None) -> None:
        self.commands.fail_all()
        if self._fleet is None:
            self.listening.end(error)

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
        self.consumer.suspend()
        self._unbind()
        for check in self._checks:
            # Nobody waits for the answer any more.
            check.cancel()
        self._end_awaiting(error)
        if self._fleet is None:
            self.listening.ended()
        told = False
        if self._opened is not None and not self._opened.done():
            told = error is not None
            self._opened.set_exception(error or NotConnected("the gateway was closed while it was opening"))
        if self._ended is not None and not self._ended.done():
            self._unraised = None if told else error
            if self._unraised is not None and not self._waiters and self._fleet is None:
                self._log.error("the gateway has ended: %s", error)
            self._ended.set_result(self._unraised)
        if self._fleet is not None:
            self._fleet.shard_ended(self, error)
        else:
            flush_bursts()

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
        ended = self._ended = self._new_end(loop)
        self.commands.clear()
        self._handlers.clear()
        self._keeper.start()
        self.consumer.resume()
        self._bind()
        return ended

    def _new_end(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[PropylonError | None]:
        ended: asyncio.Future[PropylonError | None] = loop.create_future()
        if self._fleet is None:
            # Before whoever waits for the end, and may open another gateway there.
            ended.add_done_callback(lambda _: self.admin.close())
        return ended

    def _bind(self) -> None:
        """To the running loop."""
        self._delivery = Delivery.current()
        self._delivery.add(self.shard, self)
        self._loop_watch = LoopWatch.current()
        self.consumer.timing.watch = self._loop_watch.watch
        self._loop_watch.enter(self._tell_counts)
        self.admin.show(self.shard)
        self.admin.watch(self._loop_watch.watch)

    def _tell_counts(self) -> None:
        """For the admin server, which does not ask Python."""
        self.shard.tell(self._misfits.mended, self.consumer.undecodable, self.consumer.errors)
        self.consumer.timing.tell()

    def _unbind(self) -> None:
        if self._loop_watch is not None:
            self._loop_watch.leave(self._tell_counts)
            self._loop_watch = None
            self.consumer.timing.watch = None
        if self._delivery is not None:
            self._delivery.remove(self.shard)
            self._delivery = None

    def _check_open(self) -> None:
        """Raises where nothing can be sent."""
        self.check_process()
        if self._ended is None or self._ended.done():
            raise NotConnected("the gateway is not open; open it first")
        self._adopt(self._ended)
