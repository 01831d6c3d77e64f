"""Keeping a gateway's session for the next process: when it is loaded, saved and deleted.

What is saved is the finished mark: the largest sequence number up to which every call of a listener has finished. The
next process resumes from there, so what was under way when this one ended comes again rather than not at all.

Where the store is fenced, each opening claims the session, and whoever has claimed it before is told by the store when
it saves: that this happens before each RESUME and IDENTIFY is the engine's care, which asks `SessionKeeper.is_held`.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

import propylon._core as _core
from propylon._arguments import bare_token, user_of_token
from propylon._core import Dispatch
from propylon._delivery.consumer import Consumer
from propylon._sessions.session import Session
from propylon._sessions.stores import FencedSessionStore, SessionStore
from propylon.errors import SessionTakenOver

__all__ = ["SessionKeeper", "finished_mark", "is_fenced", "session_key"]

_log: Final = logging.getLogger("propylon")

_INTERVAL: Final = 1.0
"""Seconds between two looks whether the mark has moved."""
_REFRESH: Final = 30.0
"""Seconds after which a session that lives is saved again although nothing happened in it: stores look at the age."""
_LONG_CALL: Final = 300.0
"""Seconds after which an unfinished call holds the mark back no longer."""
_PATIENCE: Final = 5.0
"""Seconds that the end of a gateway waits for its store."""
_CHECK_PATIENCE: Final = 3.0
"""Seconds that the store has to say whether the session is still ours. Below the engine's own patience of 5 s."""
_MISCONFIGURED: Final = (FileNotFoundError, NotADirectoryError, PermissionError)
"""Errors of a claim that no later attempt mends."""


def session_key(token: str, shard: tuple[int, int] | None) -> str:
    """The key of a shard's session: Gateway version, bot, shard, and a keyed hash that tells tokens apart."""
    mark = hashlib.blake2b(bare_token(token).encode(), key=b"propylon session", digest_size=16).hexdigest()
    number, count = shard or (0, 1)
    return f"v10-{user_of_token(token) or 'bot'}-{number}-{count}-{mark}"


def finished_mark(
    shard: _core.Shard,
    consumer: Consumer,
    unfinished: Callable[[int, float], Iterable[int]],
    *,
    replayed: float | None = None,
) -> Session | None:
    """The session up to the largest sequence number for which every call has finished and every event was read.

    ``unfinished(key, since)`` gives the numbers of the first events that readers of batches have not finished with, of
    the shard ``key`` and its session that began at ``since``. Where they acknowledge, read is what is acknowledged.

    Unheard, filtered and dropped events have finished, and so has a call that raised. One that was received more than
    ``replayed`` seconds ago, five minutes where that is not given, holds the mark back no longer: it could not be
    replayed any more, and a mark that stands still costs everything after it.
    """
    # On the loop's thread: nothing moves from the engine's queue to Python meanwhile.
    mark = shard.mark
    if mark is None:
        return None
    facts, since = mark
    session = Session(*facts)
    finished = session.sequence

    def before(dispatches: Iterable[Dispatch[Any]], begin: float) -> int:
        # In order, so the first one decides.
        for dispatch in dispatches:
            if dispatch.sequence is not None and dispatch.received_at >= begin:
                return max(dispatch.sequence - 1, 0)
        return finished

    oldest = time.monotonic() - (_LONG_CALL if replayed is None else replayed)
    finished = min(finished, before(consumer.unfinished(), max(since, oldest)))
    finished = min(finished, before(consumer.waiting(), since))
    for sequence in unfinished(shard.key, since):
        finished = min(finished, max(sequence - 1, 0))
    return replace(session, sequence=finished)


def is_fenced(store: SessionStore | None) -> bool:
    """Whether the store tells who has claimed a session."""
    return callable(getattr(store, "claim", None))


def _check_store(store: object) -> None:
    missing = [name for name in ("load", "save", "delete") if not callable(getattr(store, name, None))]
    if missing:
        advice = f"it has no {' and no '.join(missing)}"
    elif isinstance(store, type):
        advice = f"make one: {store.__name__}(...)"
    else:
        return
    raise TypeError(
        f"sessions takes a SessionStore, such as FileSessionStore('sessions'), not {store!r:.100}: {advice}"
    )


class SessionKeeper:
    """Keeps the session of one gateway in a store; does nothing without one."""

    def __init__(
        self,
        store: SessionStore | None,
        key: str,
        *,
        mark: Callable[[], Session | None],
        fits: Callable[[Session], bool],
        is_ready: Callable[[], bool],
        taken_over: Callable[[], object],
    ) -> None:
        """``mark`` gives the session up to what is finished, ``fits`` tells whether one is of this gateway.

        ``taken_over`` is called once when another process has claimed the session; nothing is saved from then on.

        Raises TypeError where ``store`` is none.
        """
        if store is not None:
            _check_store(store)
        self._store: Final = store
        self._fenced: Final = cast("FencedSessionStore", store) if is_fenced(store) else None
        self._key: Final = key
        self._mark: Final = mark
        self._fits: Final = fits
        self._is_ready: Final = is_ready
        self._taken_over: Final = taken_over
        self._epoch: int | None = None
        self._lost = False
        """Another process has claimed the session."""
        self._asked: list[asyncio.Future[None]] = []
        """Those who wait for a word of the store."""
        self._known = False
        self._stored: Session | None = None
        """What the store has, where that is known."""
        self._stored_at = 0.0
        self._failing = False
        self._stopping = False
        self._nudged: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def keeps(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    async def claim(self) -> None:
        """Take the session over from whoever has it.

        Raises what a store says that is set up wrong; with any other error it is claimed by the next save.
        """
        self._lost = False
        self._epoch = None
        if self._fenced is None:
            return
        try:
            self._epoch = await self._fenced.claim(self._key)
        except _MISCONFIGURED:
            raise
        except Exception as error:
            _log.warning("the session store failed (%r); the session is not claimed yet", error)

    async def load(self) -> Session | None:
        """The session to go on with."""
        if self._store is None:
            return None
        try:
            session = await self._store.load(self._key)
        except Exception as error:
            _log.warning("the session store failed (%r); identifying anew", error)
            return None
        if session is not None and not self._fits(session):
            _log.warning("the stored session belongs to other intents or another shard; identifying anew")
            # Not known to be gone: the next look deletes or replaces it.
            return None
        self._stored = session
        self._stored_at = time.monotonic()
        self._known = True
        return session

    def start(self) -> None:
        """Save from now on."""
        if self._store is None:
            return
        self._stopping = False
        self._nudged = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(self._nudged), name="propylon sessions")

    def nudge(self) -> None:
        """A session began or ended: look now."""
        if self._nudged is not None:
            self._nudged.set()

    async def is_held(self) -> bool:
        """Whether the session is still ours, by the store's word. A store that gives none costs no session."""
        word: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(word)
        self.nudge()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CHECK_PATIENCE):
                await word
        return not self._lost

    async def finish(self) -> None:
        """Save a last time. The gateway has ended and calls no listener any more."""
        task, self._task = self._task, None
        self._stopping = True
        self.nudge()
        try:
            async with asyncio.timeout(_PATIENCE):
                if task is not None and task.get_loop() is asyncio.get_running_loop():
                    await asyncio.wait([task])
                # Where the task was cancelled, as everything is at the end of a loop.
                await self._look()
        except TimeoutError:
            _log.warning("the session store took too long; the last session may not be in it")
            if task is not None:
                task.cancel()

    async def _run(self, nudged: asyncio.Event) -> None:
        while not (self._stopping or self._lost):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL):
                    await nudged.wait()
            # Where a connection began or ended, somebody else may be the reason.
            check = nudged.is_set() and self._fenced is not None
            nudged.clear()
            asked, self._asked = self._asked, []
            await self._look(check=check)
            for word in asked:
                if not word.done():
                    word.set_result(None)

    async def _look(self, *, check: bool = False) -> None:
        """Save what has moved; ``check``: ask the store also where nothing has."""
        if self._store is None or self._lost:
            return
        session = self._mark()
        if session is not None and session.sequence == 0:
            # Nothing of it is finished, not even READY: there is nothing to go on from yet.
            session = None
        if self._known and session == self._stored and not check:
            lives = session is not None and self._is_ready()
            if not lives or time.monotonic() - self._stored_at < _REFRESH:
                return
        if await self._try(partial(self._put, self._store, session)):
            self._known = True
            self._stored = session
            self._stored_at = time.monotonic()

    async def _put(self, store: SessionStore, session: Session | None) -> None:
        if self._fenced is None:
            await (store.delete(self._key) if session is None else store.save(self._key, session))
            return
        if self._epoch is None:
            self._epoch = await self._fenced.claim(self._key)
        if session is None:
            await self._fenced.delete(self._key, self._epoch)
        else:
            await self._fenced.save(self._key, session, self._epoch)

    async def _try(self, change: Callable[[], Awaitable[None]]) -> bool:
        try:
            # Called here: a store may raise before there is anything to await.
            await change()
        except SessionTakenOver:
            if not self._lost:
                self._lost = True
                self._taken_over()
            return False
        except Exception as error:
            if not self._failing:
                _log.warning("the session store failed (%r); a restart may identify anew. Trying on, silently", error)
            self._failing = True
            return False
        self._failing = False
        return True
