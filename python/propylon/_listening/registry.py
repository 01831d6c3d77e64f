"""The register: everything that listens, by the slots of which the engine tells that an event matched them.

A slot is a filter, or none; equal filters share one. Adding and removing cost what the one entry costs, however many
others there are. Which of them an event goes to, and in which order, is worked out by `propylon._delivery.plans`.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, Final, TypeAlias

import propylon._core as _core
from propylon._filters.expression import Filter, asks_equality, compiled
from propylon._listening.entry import ALL, Entry, Wanted
from propylon.events import Event
from propylon.events._projection import Fields, fields_of, joined

__all__ = ["EVENT_INDEX", "LOW", "UNKNOWN", "Registry", "Slot", "Tracer", "Watcher"]

EVENT_INDEX: Final = _core.event_index()
"""Name of an event to its number in routes."""
UNKNOWN: Final = "UNKNOWN"
"""Stands for all names that servers make up: they share their slots."""

LOW: Final = 64
"""The engine tells of slots below this by a bit, of others by a list: dearer, but as many as there are."""
_FEW: Final = 1024
"""So many entries may have been there without that their room is worth giving back."""
_KEPT: Final = 32
"""So many low numbers are left to filters that are evaluated for every event, by those that wait in an index."""

Tracer: TypeAlias = Callable[[Entry], Callable[..., Any] | None]
"""Gives what is called for an entry, with the event and its `Dispatch` as ``dispatch``; None: what it has itself."""
Watcher: TypeAlias = Callable[["Slot", str], None]
"""Hears of a slot whose entries for an event (or for `ALL`) have changed."""


class Slot:
    """A filter, or none, and who waits for it."""

    __slots__ = ("kinds", "number", "projected", "wanting", "where")

    def __init__(self, number: int, where: Filter | None) -> None:
        """``number`` is 0 for no filter and for nothing else."""
        self.number: Final = number
        self.where: Final = where
        self.wanting: Final[dict[str, dict[Entry, None]]] = {}
        """The entries by the name of an event, `UNKNOWN` or `ALL`, in the order of adding."""
        self.kinds: Final[dict[str, dict[type[Event] | None, int]]] = {}
        """How many of them want it as which class; None: they may see all of it."""
        self.projected: Final[set[str]] = set()
        """Events of which the engine is told that they want a part only."""


class Registry:
    """Who listens, for one shard or for several that are heard alike."""

    def __init__(self) -> None:
        """Nobody yet."""
        self.subscriptions: Final = _core.Subscriptions()
        """What the engine asks of each event."""
        self.generation: int = 0
        """The engine's, as of the last change."""
        self.alone: Entry | None = None
        """The one entry, where there is no other and all that comes is for it."""
        self._entries: dict[int, Entry] = {}
        """By the number that counts the adding."""
        self._sum = 0
        """Of these numbers: where there is one entry, its own."""
        self._most = 0
        """How many there were at once, since the dicts were last made anew."""
        self._slots: dict[Filter | None, Slot] = {}
        self._by_number: dict[int, Slot] = {}
        self._low: Final = list(range(1, LOW))
        self._high: Final = array("L")
        self._next_high = LOW
        self._counted = 0
        self._changes = 0
        self._watchers: Final[list[Watcher]] = []
        self._tracer: Tracer | None = None

    @property
    def tracer(self) -> Tracer | None:
        """What stands between events and entries, where calls are traced."""
        return self._tracer

    @tracer.setter
    def tracer(self, tracer: Tracer | None) -> None:
        self._tracer = tracer
        for slot in self._by_number.values():
            self._tell(slot, ALL)

    @property
    def entries(self) -> list[Entry]:
        """All of them, in the order in which they are called."""
        return sorted(self._entries.values(), key=lambda entry: entry.order)

    @property
    def is_empty(self) -> bool:
        """Whether nobody listens, nor waits."""
        return not self._entries

    @property
    def minds_changes(self) -> bool:
        """Whether somebody wants one of the meanings that GUILD_CREATE and GUILD_DELETE have."""
        return self._changes > 0

    def slot(self, number: int) -> Slot | None:
        """The slot that has a number; None where it has gone meanwhile."""
        return self._by_number.get(number)

    def slots_of(self, listed: str, event: str) -> list[Slot]:
        """The slots in which an entry waits that names an event, which is ``listed`` under that name or another."""
        return [
            slot
            for slot in self._by_number.values()
            if any(want.event == event for entry in slot.wanting.get(listed, ()) for want in entry.wanted)
        ]

    def heard(self) -> "list[tuple[Filter | None, dict[str, Fields | None]]]":
        """The filter of each slot, with the fields that are wanted of each event; None: all of it."""
        return [
            (slot.where, {event: _wanted_fields(slot, event) for event in slot.wanting})
            for slot in self._by_number.values()
        ]

    def watch(self, watcher: Watcher) -> None:
        """Tell of each change."""
        self._watchers.append(watcher)

    def add(self, entries: Sequence[Entry]) -> None:
        """Add entries, all at once: an event goes to all of them or, where it was matched before, to none."""
        # A filter that the engine does not take is refused before anything has changed.
        places = [(entry, _places(entry)) for entry in entries]
        for entry, wants in places:
            self._counted += 1
            entry.order = (entry.order[0], self._counted)
            entry.removed = False
            self._entries[self._counted] = entry
            self._sum += self._counted
            self._changes += _minds_changes(entry)
            for event, where in wants:
                self._enter(entry, event, where)
        # Once more, for those whose slots were there already.
        self.generation = self.subscriptions.add(0, None, [])
        for entry in entries:
            entry.since = self.generation
        self._most = max(self._most, len(self._entries))
        self._look_whether_alone()

    def remove(self, entries: Iterable[Entry]) -> None:
        """Remove those of them that are here; what waits for them is skipped."""
        for entry in entries:
            entry.removed = True
            number = entry.order[1]
            if self._entries.get(number) is not entry:
                continue
            del self._entries[number]
            self._sum -= number
            self._changes -= _minds_changes(entry)
            for event, where in _places(entry):
                self._leave(entry, event, where)
        self.generation = self.subscriptions.add(0, None, [])
        if len(self._entries) * 4 < self._most > _FEW:
            self._shrink()
        self._look_whether_alone()

    def _shrink(self) -> None:
        """Makes the dicts anew: one keeps the room for all that it ever held, and is slow to walk."""
        self._most = len(self._entries)
        self._entries = dict(self._entries)
        self._slots = dict(self._slots)
        self._by_number = dict(self._by_number)
        for slot in self._slots.values():
            for event, wanting in slot.wanting.items():
                slot.wanting[event] = dict(wanting)

    def _enter(self, entry: Entry, event: str, where: Filter | None) -> None:
        slot = self._slots.get(where)
        if slot is None:
            slot = Slot(self._number_for(where), where)
            self._slots[where] = self._by_number[slot.number] = slot
        wanting = slot.wanting.get(event)
        if wanting is None:
            asked = _engine_events(slot, event)
            slot.wanting[event] = wanting = {}
            if asked:
                self.subscriptions.add(slot.number, None if where is None else compiled(where), asked)
        wanting[entry] = None
        self._count(slot, entry, event, 1)
        self._tell(slot, event)

    def _leave(self, entry: Entry, event: str, where: Filter | None) -> None:
        slot = self._slots[where]
        wanting = slot.wanting[event]
        del wanting[entry]
        self._count(slot, entry, event, -1)
        self._tell(slot, event)
        if wanting:
            return
        del slot.wanting[event]
        asked = _engine_events(slot, event)
        if asked:
            self.subscriptions.remove(slot.number, asked)
        if not slot.wanting:
            del self._slots[where], self._by_number[slot.number]
            self._give_back(slot.number)

    def _count(self, slot: Slot, entry: Entry, event: str, number: int) -> None:
        """Notes as what an entry that comes or goes wants an event, and tells the engine what of it is wanted now."""
        kinds = slot.kinds.setdefault(event, {})
        changed = False
        for kind in _kinds_of(entry, event, slot.where):
            before = kinds.get(kind, 0)
            after = kinds[kind] = before + number
            changed = changed or not (before and after)
            if not after:
                del kinds[kind]
        if not kinds:
            del slot.kinds[event]
        if changed:
            for name in slot.kinds if event == ALL else (event,):
                self._project(slot, name)

    def _project(self, slot: Slot, event: str) -> None:
        fields = _wanted_fields(slot, event)
        if fields is not None:
            slot.projected.add(event)
            self.subscriptions.project(slot.number, event, _core.Projection(fields))
        elif event in slot.projected:
            slot.projected.remove(event)
            self.subscriptions.project(slot.number, event)

    def _tell(self, slot: Slot, event: str) -> None:
        for watcher in self._watchers:
            watcher(slot, event)

    def _number_for(self, where: Filter | None) -> int:
        if where is None:
            return 0
        if len(self._low) > (_KEPT if asks_equality(where) else 0):
            return heappop(self._low)
        if self._high:
            return self._high.pop()
        self._next_high += 1
        return self._next_high - 1

    def _give_back(self, number: int) -> None:
        if number >= LOW:
            self._high.append(number)
            if len(self._high) == self._next_high - LOW:
                del self._high[:]
                self._next_high = LOW
        elif number:
            heappush(self._low, number)

    def _look_whether_alone(self) -> None:
        self.alone = None
        if len(self._entries) == 1:
            entry = self._entries[self._sum]
            if _only_known(entry):
                self.alone = entry


def _places(entry: Entry) -> list[tuple[str, Filter | None]]:
    """The events, and the filters, under which an entry is found. Compiles these."""
    places = list(dict.fromkeys((_listed(want), want.where) for want in entry.wanted))
    for _, where in places:
        if where is not None:
            compiled(where)
    return places


def _kinds_of(entry: Entry, event: str, where: Filter | None) -> set[type[Event] | None]:
    """The classes as which an entry wants an event of a slot; None: it may see all of it."""
    if entry.inject is not None:
        return {None}
    return {want.kind for want in entry.wanted if want.where == where and _listed(want) == event}


def _wanted_fields(slot: Slot, event: str) -> Fields | None:
    """What all entries of a slot want of an event together; None: all of it."""
    # Names that share their slots share no class.
    if event == UNKNOWN or event not in EVENT_INDEX or ALL in slot.kinds:
        return None
    return _fields(slot.kinds.get(event, {}))


def _fields(kinds: Iterable[type[Event] | None]) -> Fields | None:
    several = [None if kind is None else fields_of(kind) for kind in kinds]
    wanted = [fields for fields in several if fields is not None]
    return joined(wanted) if wanted and len(wanted) == len(several) else None


def _listed(want: Wanted) -> str:
    return want.event if want.event == ALL or want.event in EVENT_INDEX else UNKNOWN


def _engine_events(slot: Slot, event: str) -> list[str]:
    """The events for which the engine is told that the slot comes or goes; the others have it for another reason."""
    others = slot.wanting.keys() - {event}
    if event != ALL:
        return [] if ALL in others else [event]
    return [name for name in EVENT_INDEX if name not in others] if others else [ALL]


def _minds_changes(entry: Entry) -> bool:
    return any(want.change is not None for want in entry.wanted)


def _only_known(entry: Entry) -> bool:
    """Whether it wants no event by a name that shares its slots with others."""
    return all(_listed(want) != UNKNOWN and want.change is None for want in entry.wanted)
