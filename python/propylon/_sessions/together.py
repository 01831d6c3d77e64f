"""One store for the keepers of a whole fleet: what many ask at about the same time is asked once.

Whose session is saved when is `propylon._sessions.keeping`'s, as for a single gateway. This wraps the store that the
user gave: with a `FleetSessionStore` many keys go in one write, any other is called key by key.
"""

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from propylon._sessions import keeping
from propylon._sessions.session import Session
from propylon._sessions.stores import FencedSessionStore, FleetSessionStore, SessionStore
from propylon.errors import SessionTakenOver

__all__ = ["FencedStoreTogether", "StoreTogether", "together"]

_AT_ONCE: Final = 16
"""Calls under way of a store that is called key by key."""
_REST: Final = 10.0
"""How many times as long as the last write took there is none: writing takes a tenth of the time at most."""
_LEAST_REST: Final = 0.02
_MOST_REST: Final = 1.0
"""Seconds. The keeper of a connection that waits for the store's word has 3 s."""

_T = TypeVar("_T")

_Change = tuple[Session | None, int | None]
"""A session, None to forget it, and its epoch."""


class _Answer(Generic[_T]):
    """What one call of the store is to answer, and all who wait for it."""

    def __init__(self) -> None:
        self._waiting: Final[list[asyncio.Future[_T]]] = []

    def join(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[_T]:
        """Wait for it. Whoever is cancelled leaves the others as they are, and the call once it has begun."""
        word: asyncio.Future[_T] = loop.create_future()
        self._waiting.append(word)
        return word

    @property
    def is_awaited(self) -> bool:
        """Whether somebody is left whom it concerns. What nobody waits for is not begun: its callers gave it up."""
        return any(not word.done() for word in self._waiting)

    def give(self, result: _T) -> None:
        for word in self._waiting:
            if not word.done():
                word.set_result(result)

    def fail(self, error: BaseException) -> None:
        for word in self._waiting:
            if not word.done():
                word.set_exception(error)
                # Looked at: one who is cancelled at this moment does not, and that is no mistake to log.
                word.exception()

    def follow(self, task: asyncio.Task[_T]) -> None:
        """Give what became of the task that made the call."""
        if task.cancelled():
            # As everything is at the end of a loop.
            for word in self._waiting:
                word.cancel()
        elif (error := task.exception()) is not None:
            self.fail(error)
        else:
            self.give(task.result())


class _Turn(Protocol):
    """What is asked and not answered yet in one event loop. Its callers and its loop have it, the wrapper has not."""

    def load(self, key: str) -> asyncio.Future[Session | None]: ...
    def claim(self, key: str) -> asyncio.Future[int]: ...
    def change(self, key: str, change: _Change) -> asyncio.Future[None]: ...


class _ManyAtOnce:
    """Of a store that takes many keys in one call."""

    def __init__(self, store: FleetSessionStore, rest: "_Rest", loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Final = loop
        self._store: Final = store
        self._rest: Final = rest
        self._loads: dict[str, _Answer[Session | None]] = {}
        self._claims: dict[str, _Answer[int]] = {}
        self._changes: Final[list[dict[str, tuple[_Change, _Answer[None]]]]] = []
        """One write each; more than one where a key is changed under two epochs."""
        self._begins = False
        self._writing: asyncio.Task[set[str]] | None = None
        self._reading: Final[set[asyncio.Task[Any]]] = set()

    def load(self, key: str) -> asyncio.Future[Session | None]:
        if not self._loads:
            # By a callback: a task that is cancelled before its first step would never look.
            self._loop.call_soon(self._load)
        return self._loads.setdefault(key, _Answer()).join(self._loop)

    def claim(self, key: str) -> asyncio.Future[int]:
        if key in self._claims:
            # Two who claim the same session get two epochs, of which one is void.
            self._claim()
        if not self._claims:
            self._loop.call_soon(self._claim)
        answer = self._claims[key] = _Answer()
        return answer.join(self._loop)

    def change(self, key: str, change: _Change) -> asyncio.Future[None]:
        if not self._changes:
            self._changes.append({})
        before = self._changes[-1].get(key)
        if before is not None and before[0][1] != change[1]:
            # Who is refused is told so by the store, and does not take the other's word.
            self._changes.append({})
            before = None
        answer = _Answer[None]() if before is None else before[1]
        self._changes[-1][key] = (change, answer)
        self._plan()
        return answer.join(self._loop)

    def _load(self) -> None:
        asked, self._loads = _awaited(self._loads), {}
        if asked:
            self._ask(partial(self._store.load_all, list(asked)), partial(_give_each, asked, _get))

    def _claim(self) -> None:
        asked, self._claims = _awaited(self._claims), {}
        if asked:
            self._ask(partial(self._store.claim_all, list(asked)), partial(_give_each, asked, _item))

    def _ask(self, call: Callable[[], Awaitable[_T]], answer: Callable[[asyncio.Task[_T]], None]) -> None:
        task = self._loop.create_task(_called(call))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)
        task.add_done_callback(answer)

    def _plan(self) -> None:
        if self._changes and not self._begins and self._writing is None:
            self._begins = True
            self._loop.call_later(self._rest.left(), self._begin)

    def _begin(self) -> None:
        self._begins = False
        changes = self._changes.pop(0)
        asked = _awaited({key: answer for key, (_, answer) in changes.items()})
        if not asked:
            self._plan()
            return
        call = partial(self._store.save_all, {key: changes[key][0] for key in asked})
        self._writing = self._loop.create_task(_called(call))
        self._writing.add_done_callback(partial(self._written, asked, time.monotonic()))

    def _written(self, asked: dict[str, _Answer[None]], begin: float, task: asyncio.Task[set[str]]) -> None:
        self._writing = None
        self._rest.begin(time.monotonic() - begin)
        _give_each(asked, _none_or_taken_over, task)
        self._plan()


def _awaited(asked: dict[str, _Answer[_T]]) -> dict[str, _Answer[_T]]:
    return {key: answer for key, answer in asked.items() if answer.is_awaited}


def _give_each(asked: dict[str, _Answer[Any]], part: Callable[[Any, str], object], task: asyncio.Task[Any]) -> None:
    """Give each its ``part`` of what the store answered to all; an exception of it is the answer."""
    for key, answer in asked.items():
        if task.cancelled() or task.exception() is not None:
            answer.follow(task)
            continue
        try:
            answer.give(part(task.result(), key))
        except Exception as error:
            answer.fail(error)


def _get(sessions: Mapping[str, Session], key: str) -> Session | None:
    return sessions.get(key)


def _item(epochs: Mapping[str, int], key: str) -> int:
    return epochs[key]


def _none_or_taken_over(refused: set[str], key: str) -> None:
    if key in refused:
        raise SessionTakenOver


async def _called(call: Callable[[], Awaitable[_T]]) -> _T:
    # Called here: a store may raise before there is anything to await.
    return await call()


class _Rest:
    """Between two writes, in whatever loop."""

    def __init__(self) -> None:
        self._until = 0.0

    def begin(self, took: float) -> None:
        """The last write took so many seconds."""
        self._until = time.monotonic() + min(max(_REST * took, _LEAST_REST), _MOST_REST)

    def left(self) -> float:
        """Seconds."""
        return max(self._until - time.monotonic(), 0.0)


class _OneByOne:
    """Of a store that knows one key at a time. One that hangs with a key holds up none but that key and its slot."""

    def __init__(self, store: SessionStore, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Final = loop
        self._store: Final = store
        self._fenced: Final = cast("FencedSessionStore", store) if keeping.is_fenced(store) else None
        self._waiting: Final[dict[object, tuple[Callable[[], Awaitable[Any]], _Answer[Any]]]] = {}
        self._running: Final[dict[object, asyncio.Task[Any]]] = {}

    def load(self, key: str) -> asyncio.Future[Session | None]:
        return self._ask(("load", key), partial(self._store.load, key))

    def claim(self, key: str) -> asyncio.Future[int]:
        assert self._fenced is not None
        return self._ask(("claim", key, object()), partial(self._fenced.claim, key))

    def change(self, key: str, change: _Change) -> asyncio.Future[None]:
        session, epoch = change
        if self._fenced is None:
            call = partial(self._store.delete, key) if session is None else partial(self._store.save, key, session)
        elif session is None:
            call = partial(self._fenced.delete, key, epoch)
        else:
            call = partial(self._fenced.save, key, session, epoch)
        return self._ask(("change", key, epoch), call)

    def _ask(self, what: object, call: Callable[[], Awaitable[_T]]) -> asyncio.Future[_T]:
        answer = self._waiting[what][1] if what in self._waiting else _Answer[_T]()
        self._waiting[what] = (call, answer)
        word = answer.join(self._loop)
        self._go_on()
        return word

    def _go_on(self) -> None:
        while (free := _AT_ONCE - len(self._running)) and (
            nexts := list(islice((what for what in self._waiting if what not in self._running), free))
        ):
            for what in nexts:
                call, answer = self._waiting.pop(what)
                if not answer.is_awaited:
                    continue
                task = self._loop.create_task(_called(call))
                self._running[what] = task
                task.add_done_callback(partial(self._ended, what, answer))

    def _ended(self, what: object, answer: _Answer[Any], task: asyncio.Task[Any]) -> None:
        del self._running[what]
        answer.follow(task)
        self._go_on()


class StoreTogether:
    """A `SessionStore` for the keepers of one fleet, over another one.

    What is asked in one turn of the event loop is asked of the store at once. Changes are written together, at once
    after some rest, otherwise after a tenth of the time at most has gone to writing; a change returns when it is
    written. One that still waits is replaced by a later one of the same key, and both are told what became of that.
    """

    def __init__(self, store: SessionStore) -> None:
        """Wrap ``store``; `together` knows which class it takes."""
        self._store: Final = store
        needed = ["load_all", "save_all", *(["claim_all"] if keeping.is_fenced(store) else [])]
        self._takes_many: Final = all(callable(getattr(store, name, None)) for name in needed)
        self._rest: Final = _Rest()
        # Weak, so that a loop which was abandoned with something unanswered goes with those who asked. A turn keeps its
        # loop, so no other loop can have the id of one that is in here.
        self._turns: Final[weakref.WeakValueDictionary[int, _Turn]] = weakref.WeakValueDictionary()

    def __repr__(self) -> str:
        """What it wraps."""
        return f"{type(self).__name__}({self._store!r})"

    async def load(self, key: str, /) -> Session | None:
        """Return what the store has. Raises what it raises."""
        return await self._turn().load(key)

    async def save(self, key: str, session: Session, /) -> None:
        """Keep it; returns when it is written. Raises what the store raises."""
        await self._change(key, session, None)

    async def delete(self, key: str, /) -> None:
        """Forget it; returns when that is written. Raises what the store raises."""
        await self._change(key, None, None)

    async def _change(self, key: str, session: Session | None, epoch: int | None) -> None:
        await self._turn().change(key, (session, epoch))

    def _turn(self) -> _Turn:
        loop = asyncio.get_running_loop()
        turn = self._turns.get(id(loop))
        if turn is not None:
            return turn
        made: _Turn
        if self._takes_many:
            made = _ManyAtOnce(cast("FleetSessionStore", self._store), self._rest, loop)
        else:
            made = _OneByOne(self._store, loop)
        self._turns[id(loop)] = made
        return made


class FencedStoreTogether(StoreTogether):
    """The same over a `FencedSessionStore`, each key with its own epoch."""

    async def claim(self, key: str, /) -> int:
        """Return a new epoch. Raises what the store raises."""
        return await self._turn().claim(key)

    async def save(self, key: str, session: Session, epoch: int | None = None, /) -> None:
        """Keep it; returns when it is written. Raises what the store raises, SessionTakenOver for this key only."""
        await self._change(key, session, epoch)

    async def delete(self, key: str, epoch: int | None = None, /) -> None:
        """Forget it; returns when that is written. Raises what the store raises, SessionTakenOver for this key only."""
        await self._change(key, None, epoch)


def together(store: SessionStore) -> StoreTogether:
    """Wrap a store for the keepers of one fleet; what it returns is fenced exactly where ``store`` is.

    Raises:
        TypeError: ``store`` is none.
    """
    # Here, as keepers see nothing but the wrapper.
    keeping._check_store(store)  # pyright: ignore[reportPrivateUsage]
    return (FencedStoreTogether if keeping.is_fenced(store) else StoreTogether)(store)
