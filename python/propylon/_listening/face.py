"""The listener face: what is added and taken off, what is awaited, and who hears of errors and ends.

A `Gateway` has one, bound to its shard; whatever has several shards has one, bound to all of them. The signatures with
their explanations stand at the owner. Calling the listeners is `propylon._delivery.consumer`'s.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakSet

import propylon._core as _core
from propylon._arguments import check_seconds, count_of
from propylon._filters.expression import Filter, Where, compiled
from propylon._filters.where import is_async, parted
from propylon._listening.batches import Batches, acknowledged, unfinished
from propylon._listening.buffered import Buffered, end, let_go
from propylon._listening.entry import ALL, Entry, Options, Wanted, name_of
from propylon._listening.groups import Listeners, added, handler_of, marked_methods
from propylon._listening.handlers import Handlers
from propylon._listening.lifespan import Lifespan
from propylon._listening.listener import Listener
from propylon._listening.payload_log import payload_writer
from propylon._listening.registry import Registry, Tracer
from propylon._listening.signature import is_event, wanted_from, wants_of
from propylon._listening.waiting import Stream, Wait
from propylon._names import warn_of_event
from propylon.errors import NotConnected, PropylonError

__all__ = ["Feed", "ListenerFace"]

G = TypeVar("G", bound=Listeners)

_log: Final = logging.getLogger("propylon")

_LEFT: Final = 300.0
"""Seconds for which what a reader left unacknowledged holds the saved session back: as a listener's call does."""

_EVENT_NAME: Final = re.compile("[A-Z][A-Z0-9_]*")


class Feed(Protocol):
    """What hands out the events of one shard."""

    def block(self, full: bool) -> None:
        """A stream's buffer is full, or has room again."""

    def waits(self, number: int) -> None:
        """So many tasks wait for an event."""

    @property
    def session(self) -> tuple[int, float] | None:
        """The key of the shard, and since when its session is; None without one."""
        ...

    @property
    def first_waiting(self) -> int | None:
        """The sequence number of the first event that waits for listeners; None: none does."""
        ...


@dataclass(frozen=True, slots=True)
class _Left:
    """What a reader left unacknowledged of a shard."""

    first: int
    """The first sequence number."""
    since: float
    """When the session began that it is of."""
    at: float
    """When it was left: seconds of `time.monotonic`."""


class ListenerFace:
    """Who listens at one owner."""

    def __init__(
        self,
        owner: object,
        lifespan: Lifespan,
        *,
        check_usable: Callable[[], None],
        adding: Callable[[Sequence[Entry]], None],
    ) -> None:
        """``owner`` is what parameters annotated with its class receive, and where groups are added; ``lifespan`` gives
        its value to those that ask for it.

        ``check_usable`` raises where this process or loop must not use it; ``adding`` hears of entries before they are
        added, and may warn.
        """
        self._owner: Final = owner
        self._lifespan: Final = lifespan
        self._check_usable: Final = check_usable
        self._adding: Final = adding
        self.registry: Final = Registry()
        self._listeners: Final[dict[Entry, Listener[..., Any]]] = {}
        """What users know of the entries, waits and streams aside."""
        self.handlers: Final = Handlers(owner, lifespan)
        self.excused: Final[WeakSet[Exception]] = WeakSet()
        """What a closed gateway raised in those who waited for events: a listener that it ends has not failed."""
        self._feeds: Final[list[Feed]] = []
        self._full = 0
        """Streams whose buffers are full."""
        self._streams: Final[WeakSet[Buffered[Any]]] = WeakSet()
        self._waits: Final[set[Wait]] = set()
        self._left: Final[dict[int, _Left]] = {}
        """What readers left unacknowledged, by the key of the shard."""
        self._ending = False
        """Whether the owner has ended but is not closed yet: what begins to wait now waits for nothing."""
        self._cause: PropylonError | None = None

    def bind(self, feed: Feed) -> None:
        """Hold this one back too where a reader does not keep up, from now on and as long as there is the face."""
        for _ in range(self._full):
            feed.block(True)
        feed.waits(len(self._waits))
        self._feeds.append(feed)

    def unbind(self, feed: Feed) -> None:
        """It hands out nothing any more."""
        self._feeds.remove(feed)

    # ------------------------------------------------------------------ listeners

    def listen(self, arguments: tuple[Any, ...], options: Options, names: dict[str, Any]) -> Any:
        """The listener of a function, or a decorator that makes one; ``names`` are those where it stands."""
        if len(arguments) == 1 and not is_event(arguments[0]):
            return self._listen(arguments[0], None, options, names)
        who = "listen()"
        explicit = [wanted for argument in arguments for wanted in wanted_from(argument, who=who)] or None

        def decorate(function: Callable[..., Any]) -> Listener[..., Any]:
            return self._listen(function, explicit, options, names)

        return decorate

    def _listen(
        self, function: Callable[..., Any], explicit: list[Wanted] | None, options: Options, names: dict[str, Any]
    ) -> Listener[..., Any]:
        if isinstance(function, Listener):
            function = function.__wrapped__
        entry = self._entry_of(function, explicit, options, names)
        self._attach(entry)
        return self._listener_of(function, entry)

    def _listener_of(self, function: Callable[..., Any], entry: Entry) -> Listener[..., Any]:
        listener = self._listeners[entry] = Listener(function, entry)
        return listener

    def trace(self, tracer: Tracer | None) -> None:
        """From now on, let ``tracer`` make what is called for listeners; waits and streams are none."""

        def of_listener(entry: Entry) -> Callable[..., Any] | None:
            return tracer(entry) if tracer is not None and entry in self._listeners else None

        self.registry.tracer = None if tracer is None else of_listener

    @property
    def listeners(self) -> tuple[Listener[..., Any], ...]:
        """All that are there, in the order in which they are called."""
        return tuple(self._listeners[entry] for entry in self.registry.entries if entry in self._listeners)

    @property
    def wanted(self) -> set[tuple[str, Filter | None]]:
        """Which events the listeners want and under which filter; what only Python can ask aside."""
        return {(want.event, want.where) for entry in self._listeners for want in entry.wanted}

    def _entry_of(
        self, function: Callable[..., Any], explicit: list[Wanted] | None, options: Options, names: dict[str, Any]
    ) -> Entry:
        wanted, takes_gateway, takes_dispatch, takes_value = wants_of(
            function, explicit, names, type(self._owner), self._lifespan.gives
        )
        wanted, guard = _narrowed(wanted, options.where, who="listen()")
        options.check(function)
        call = self._lifespan.given_to(function, takes_value, name_of(function))
        if takes_gateway is not None:
            call = partial(call, **{takes_gateway: self._owner})
        return Entry(
            call,
            wanted,
            self._remove,
            name=name_of(function),
            inject=takes_dispatch,
            isolated=not is_async(function),
            guard=guard,
            options=options,
        )

    def add(self, group: G) -> G:
        """Add the marked methods of a group, all or none."""
        if not isinstance(group, Listeners):  # pyright: ignore[reportUnnecessaryIsInstance]
            made = (
                f"make one: add({group.__name__}())" if isinstance(group, type) else "derive its class from Listeners"
            )
            raise TypeError(f"add() takes an object of a class that derives from Listeners, not {group!r}; {made}")
        if any(place is self._owner for place, _ in added(group)):
            raise ValueError(f"{group!r} has been added already; make another object, or remove() it first")
        methods = list(marked_methods(group))
        entries = [self._entry_of(method, mark.explicit, mark.options, mark.names) for method, mark in methods]
        on_error, on_close = handler_of(group, "on_error"), handler_of(group, "on_close")
        if not (entries or on_close):
            raise ValueError(f"{type(group).__qualname__} has no method that is marked with @listen")
        if on_error is not None:
            handler = self.handlers.error_handler(on_error, {})
            for entry in entries:
                entry.on_error = handler
        closing = None if on_close is None else self.handlers.close_handler(on_close, {})

        def remove() -> None:
            added(group).remove(place)
            self._detach(*entries)
            if closing is not None:
                self.handlers.remove_of_ends(closing)

        place = (self._owner, remove)
        self._attach(*entries)
        for (method, _), entry in zip(methods, entries, strict=True):
            self._listener_of(method, entry)
        if closing is not None:
            self.handlers.add_of_ends(closing)
        added(group).append(place)
        return group

    def log_payloads(self, events: Iterable[Any]) -> Listener[..., None]:
        """A listener that writes events to the log."""
        write = payload_writer()
        entry = Entry(write, _wanted_or_all(events, who="log_payloads()"), self._remove, name=name_of(write))
        self._attach(entry)
        return self._listener_of(write, entry)

    def selection(self, events: Iterable[Any], where: Where | None, *, who: str) -> _core.Subscriptions:
        """What the engine asks of events that it does not hand to Python: of which ``where`` is true."""
        if where is not None and not isinstance(where, Filter):
            raise TypeError(f"{who}: where= takes a condition, as in where=field('author.id') == 7, not {where!r}")
        selection = _core.Subscriptions()
        slots: dict[Filter | None, int] = {None: 0}
        asked: set[tuple[str, Filter | None]] = set()
        for want in _wanted_or_all(events, who=who):
            condition = want.narrowed(where).where
            if (want.event, condition) not in asked:
                asked.add((want.event, condition))
                slot = slots.setdefault(condition, len(slots))
                selection.add(slot, None if condition is None else compiled(condition), [want.event])
        return selection

    def _attach(self, *entries: Entry) -> None:
        self._adding(entries)
        self.registry.add(entries)

    def _remove(self, entry: Entry) -> None:
        self._detach(entry)

    def _detach(self, *entries: Entry) -> None:
        self.registry.remove(entries)
        for entry in entries:
            self._listeners.pop(entry, None)

    # ------------------------------------------------------------------ what is awaited

    def batches(
        self,
        events: Iterable[Any],
        where: Where | None,
        size: int,
        *,
        bytes: int | None = None,
        seconds: float | None = None,
        ack: bool = False,
    ) -> Batches:
        """Events as lists."""
        who = "batches()"
        wanted = [want for event in events for want in wanted_from(event, who=who)] or [Wanted(ALL, None)]
        wanted, guard = _narrowed(wanted, where, who=who)
        batches = Batches(
            [want.raw() for want in wanted],
            size,
            self._attach,
            self._remove,
            self._block,
            guard,
            bytes=bytes,
            seconds=seconds,
            ack=ack,
            leave=self._leave,
        )
        self._streams.add(batches)
        return batches

    def _block(self, full: bool) -> None:
        self._full += 1 if full else -1
        for feed in self._feeds:
            feed.block(full)

    def unfinished(self, key: int, since: float) -> Iterator[int]:
        """Of each reader of `batches`: the sequence number of the first event of a shard that is not finished with.

        ``since``: when the shard's session began. What a `Stream` has it may drop, so that is finished with.
        """
        for stream in list(self._streams):
            if isinstance(stream, Batches):
                first = unfinished(stream).first(key, since)
                if first is not None:
                    yield first
        left = self._left.get(key)
        if left is None or left.since < since:
            return
        if monotonic() - left.at < _LEFT:
            yield left.first
        else:
            del self._left[key]
            _log.warning(
                "event %d and those behind it, which batches(ack=True) were left with, do not come again after a "
                "restart: after %g s they hold the saved session back no longer",
                left.first,
                _LEFT,
            )

    def _leave(self, batches: Batches) -> None:
        for feed in self._feeds:
            session = feed.session
            if session is None:
                continue
            key, since = session
            # What the reader has, and what was held back because of it.
            firsts = [unfinished(batches).first(key, since), feed.first_waiting]
            left = self._left.get(key)
            if left is not None and left.since >= since:
                firsts.append(left.first)
            first = min((each for each in firsts if each is not None), default=None)
            if first is not None:
                self._left[key] = _Left(first, since, monotonic())

    def stream(self, event: Any, where: Where | None, buffer: int) -> Stream[Any]:
        """Events one by one."""
        limit = count_of("buffer", buffer, 1)

        def enter(entry: Entry) -> None:
            self._check_usable()
            self._attach(entry)

        def hearing(put: Callable[[Any], None]) -> Entry:
            return self._hearing("stream()", event, where, put)

        stream: Stream[Any] = Stream(limit, enter, hearing)
        self._streams.add(stream)
        return stream

    async def wait_for(self, event: Any, where: Where | None, timeout: float | None) -> Any:
        """The next event of a kind."""
        who = "wait_for()"
        check_seconds(who, timeout=timeout)
        self._check_usable()
        wait = Wait(1)
        wait.entry = entry = self._hearing(who, event, where, wait.take)
        # Without a coroutine of its own: a bot may have thousands of these.
        try:
            await self._begun(wait, entry).over(timeout)
        finally:
            self._over(wait, entry)
        if wait.found:
            return wait.found[0]
        what = _names(entry, where)
        if wait.ended:
            error = NotConnected(f"the gateway was closed before {what} came")
            self.excused.add(error)
            raise error from wait.cause
        raise TimeoutError(f"no {what} came within {timeout} s")

    async def collect(
        self, event: Any, where: Where | None, count: int | None, timeout: float | None, idle: float | None
    ) -> list[Any]:
        """The events of a kind until a limit is reached."""
        who = "collect()"
        if count is None and timeout is None and idle is None:
            raise TypeError(f"{who} would never return: give it count=, timeout= or idle=")
        if count is not None:
            count_of("count", count, 1)
        check_seconds(who, timeout=timeout, idle=idle)
        if idle == 0:
            raise ValueError(f"{who}: idle must be more than 0 s, or it would return before anything can come")
        self._check_usable()
        wait = Wait(count)
        wait.entry = entry = self._hearing(who, event, where, wait.take)
        try:
            await self._begun(wait, entry).over(timeout, idle)
        finally:
            self._over(wait, entry)
        return wait.found

    def _hearing(self, who: str, event: Any, where: Where | None, take: Callable[[Any], None]) -> Entry:
        """An entry, not there yet, that takes the events of which ``where`` is true."""
        wanted, guard = _narrowed(wanted_from(event, who=who), where, who=who)
        return Entry(take, wanted, self._remove, guard=guard, name=who)

    def _begun(self, wait: Wait, entry: Entry) -> Wait:
        self._attach(entry)
        self._waits.add(wait)
        self._tell_waits()
        if self._ending:
            wait.end(self._cause)
        return wait

    def _over(self, wait: Wait, entry: Entry) -> None:
        wait.leave()
        self._waits.discard(wait)
        if not self._waits:
            # A set gives back what thousands took only so.
            self._waits.clear()
        self._tell_waits()
        entry.remove()
        # Each holds the other, and the collector would have to find that.
        wait.entry = None

    def _tell_waits(self) -> None:
        for feed in self._feeds:
            feed.waits(len(self._waits))

    # ------------------------------------------------------------------ the end

    def end(self, cause: PropylonError | None) -> None:
        """The owner has ended: who reads streams and batches gets what is buffered, who waits is told.

        What the engine still reads, while listeners finish, say, is theirs until `let_go`.
        """
        self._ending, self._cause = True, cause
        for stream in list(self._streams):
            end(stream)
        for wait in list(self._waits):
            wait.end(cause)

    async def acknowledged(self, seconds: float) -> None:
        """Behind `end`: let readers of batches acknowledge what they get, for so many seconds."""
        await acknowledged([stream for stream in list(self._streams) if isinstance(stream, Batches)], seconds)

    def let_go(self) -> None:
        """Streams and batches that were told of the end hear nothing any more."""
        for stream in list(self._streams):
            let_go(stream)

    def ended(self) -> None:
        """The end is over: who waits from now on waits for the next opening."""
        self.let_go()
        self._ending = False
        self.handlers.ended()


def _wanted_or_all(events: Iterable[Any], *, who: str) -> list[Wanted]:
    """Classes and names, as what comes raw; none: everything."""
    wanted: list[Wanted] = []
    for event in events:
        if not isinstance(event, str):
            wanted += [want.raw() for want in wanted_from(event, who=who)]
        elif _EVENT_NAME.fullmatch(event):
            warn_of_event(event, who=who, stacklevel=4)
            wanted.append(Wanted(event, None))
        else:
            raise ValueError(f"{who}: {event!r} is no name of an event, such as MESSAGE_CREATE")
    return wanted or [Wanted(ALL, None)]


def _narrowed(
    wanted: list[Wanted], where: Where | None, *, who: str
) -> tuple[list[Wanted], Callable[[Any], object] | None]:
    """The events, each with its filter; and the function, where ``where`` is one."""
    condition, guard = parted(where, who=who)
    return [want.narrowed(condition) for want in wanted], guard


def _names(entry: Entry, where: object) -> str:
    names = ["event" if wanted.event == ALL else wanted.event for wanted in entry.wanted]
    return " or ".join(dict.fromkeys(names)) + (" that fits `where`" if where is not None else "")
