"""What the workers of a cluster hear, as the engine of a host is told of it: only that leaves the host.

Owns the union over all workers. What a worker hears it announces itself (`propylon.cluster._announcing`), how the
engine matches events is `rust/core`'s.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, cast

import propylon._core as _core
from propylon._listening.entry import ALL
from propylon._listening.registry import EVENT_INDEX, UNKNOWN
from propylon.cluster._asked import asked_by
from propylon.cluster._keys import Heard
from propylon.events._projection import Fields, joined

__all__ = ["Hearing", "union"]

_log: Final = logging.getLogger("propylon.cluster")
_MOST_KNOWN: Final = 10_000
"""Filters of which something is remembered."""


@dataclass(slots=True)
class Wanted:
    """What is heard under one filter."""

    events: set[str] = field(default_factory=set[str])
    projections: dict[str, Fields] = field(default_factory=dict[str, Fields])
    """Of which a part is enough for all who hear them; the others leave whole."""


def union(all_heard: Iterable[Heard]) -> dict[str | None, Wanted]:
    """What any worker hears, by the filter's JSON.

    Workers ask their filters again of what leaves here, so what a filter of an event reads is in every part of it.
    """
    wanted: dict[str | None, Wanted] = {}
    whole: dict[str | None, set[str]] = {}
    asked: dict[str, list[Fields | None]] = {}
    for heard in all_heard:
        for slot in heard.slots:
            one = wanted.setdefault(slot.where, Wanted())
            for name in slot.events:
                event = name if name == ALL or name in EVENT_INDEX else UNKNOWN
                one.events.add(event)
                if slot.where is not None:
                    asked.setdefault(event, []).append(asked_by(slot.where))
                fields = None if event in (ALL, UNKNOWN) else cast("Fields | None", slot.projections.get(name))
                if fields is None:
                    whole.setdefault(slot.where, set()).add(event)
                else:
                    one.projections[event] = joined([one.projections.get(event, {}), fields])
    for where, names in whole.items():
        projections = wanted[where].projections
        for event in list(projections) if ALL in names else names:
            projections.pop(event, None)
    for one in wanted.values():
        for event, fields in list(one.projections.items()):
            reads = asked.get(event, []) + asked.get(ALL, [])
            known = [each for each in reads if each is not None]
            if len(known) == len(reads):
                one.projections[event] = joined([fields, *known])
            else:
                del one.projections[event]
    return {where: one for where, one in wanted.items() if one.events}


class _Table:
    """One table of the engine. Its filters are known to it."""

    def __init__(self, subscriptions: _core.Subscriptions) -> None:
        self._subscriptions: Final = subscriptions
        self._numbers: Final[dict[str | None, int]] = {None: 0}
        self._there: Final[dict[str | None, Wanted]] = {}
        self._free: Final[list[int]] = []
        self._next = 1

    def tell(self, wanted: Mapping[str | None, Wanted]) -> None:
        """What comes is told before what goes: nothing that is heard before and after is missed between."""
        for where, one in wanted.items():
            self._change(where, one)
        for where in [where for where in self._there if where not in wanted]:
            self._change(where, Wanted())

    def _change(self, where: str | None, wanted: Wanted) -> None:
        before = self._there.get(where, Wanted())
        if wanted == before:
            return
        number = self._number(where)
        # Before somebody is there who wants more.
        for event in before.projections.keys() - wanted.projections.keys():
            self._subscriptions.project(number, event)
        for event, fields in wanted.projections.items():
            if fields != before.projections.get(event):
                self._subscriptions.project(number, event, _core.Projection(fields))
        added, removed = _told(before.events, wanted.events)
        if added:
            self._subscriptions.add(number, None if where is None else _core.Filter(where), added)
        if removed:
            self._subscriptions.remove(number, removed)
        if wanted.events:
            self._there[where] = wanted
            return
        del self._there[where]
        if where is not None:
            del self._numbers[where]
            heappush(self._free, number)

    def _number(self, where: str | None) -> int:
        number = self._numbers.get(where)
        if number is None:
            # The lowest: the engine tells of those below 64 by a bit.
            if self._free:
                number = heappop(self._free)
            else:
                number, self._next = self._next, self._next + 1
            self._numbers[where] = number
        return number


def _told(before: set[str], after: set[str]) -> tuple[list[str], list[str]]:
    """The events that the engine is told of as coming and going. Each comes once, whether by its name or as one of all
    events."""
    if ALL in before and ALL in after:
        return [], []
    if ALL not in before and ALL not in after:
        return sorted(after - before), sorted(before - after)
    others = (before if ALL in after else after) - {ALL}
    rest = [name for name in EVENT_INDEX if name not in others] if others else [ALL]
    return (rest, []) if ALL in after else ([], rest)


class Hearing:
    """What all workers hear, told to the tables of the shards."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._heard: Final[dict[str, Heard]] = {}
        self._tables: Final[dict[_core.Subscriptions, _Table]] = {}
        self._wanted: dict[str | None, Wanted] = {}

    def __iter__(self) -> Iterator[str]:
        """The workers whose keys are there, those that have gone lately among them."""
        return iter(self._heard)

    def attach(self, subscriptions: _core.Subscriptions) -> bool:
        """Tell this table from now on; whether it was not told before."""
        if subscriptions in self._tables:
            return False
        table = self._tables[subscriptions] = _Table(subscriptions)
        table.tell(self._filtered())
        return True

    def detach(self, subscriptions: _core.Subscriptions) -> None:
        """Tell it no more: its shards have gone."""
        self._tables.pop(subscriptions, None)

    def set(self, worker: str, heard: Heard | None) -> None:
        """This is in the key of a worker; None: it is there no more."""
        if self._heard.get(worker) == heard:
            return
        if heard is None:
            del self._heard[worker]
        else:
            self._heard[worker] = heard
        self._tell()

    def _tell(self) -> None:
        self._wanted = union(self._heard.values())
        wanted = self._filtered()
        for table in self._tables.values():
            table.tell(wanted)

    def _filtered(self) -> dict[str | None, Wanted]:
        """With filters that the engine does not know left out: what they would let through leaves unfiltered."""
        known: dict[str | None, Wanted] = {}
        unknown: list[Wanted] = []
        for where, one in self._wanted.items():
            if where is None or _is_known(where):
                known[where] = one
            else:
                unknown.append(one)
        if unknown:
            whole = known.get(None, Wanted())
            merged = Wanted(set(whole.events), dict(whole.projections))
            for one in unknown:
                merged.events |= one.events
                for event in list(merged.projections) if ALL in one.events else one.events:
                    merged.projections.pop(event, None)
            known[None] = merged
        return known


_known: Final[dict[str, bool]] = {}
"""By the JSON of a filter, whether the engine takes it."""


def _is_known(where: str) -> bool:
    known = _known.get(where)
    if known is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        try:
            _core.Filter(where)
            known = True
        except (ValueError, TypeError) as error:
            known = False
            _log.warning("a worker announces a filter that this host does not know; its events leave whole: %s", error)
        _known[where] = known
    return known
