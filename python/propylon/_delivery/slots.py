"""The slots of a table of listeners: which filters each event has, and which bit of a route stands for which.

Equal filters share a slot. The engine has room for `ENGINE_SLOTS` of an event; where there are more, the last one
stands for all that remain, and which of those match is asked here.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from propylon import _core
from propylon._core import Dispatch
from propylon._filters.expression import Filter
from propylon._listening.listener import ALL, Wanted

__all__ = ["ENGINE_SLOTS", "EVENT_INDEX", "UNKNOWN", "Slots"]

EVENT_INDEX: Final = _core.event_index()
"""Name of an event to its number in routes."""
UNKNOWN: Final = "UNKNOWN"
"""Stands for all names that servers make up: they share their slots."""
ENGINE_SLOTS: Final = 64

_REST: Final = ENGINE_SLOTS - 1
"""The slot that stands for several, where there are too many."""

_Bits: TypeAlias = dict[Filter | None, int]


class Slots:
    """One generation of slots."""

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        """``wanted`` by all listeners."""
        everywhere: dict[Filter | None, None] = {}
        by_event: dict[str, dict[Filter | None, None]] = {}
        for want in wanted:
            if want.event == ALL:
                everywhere[want.where] = None
            else:
                name = want.event if want.event in EVENT_INDEX else UNKNOWN
                by_event.setdefault(name, {})[want.where] = None
        self._by_event: Final = {name: _numbered(everywhere | slots) for name, slots in by_event.items()}
        self._everywhere: Final = _numbered(everywhere)
        self.groups: Final = [([name], _compiled(bits)) for name, bits in self._by_event.items()]
        """What the engine is told: events, and the slots that each of them has."""
        if everywhere:
            others = [name for name in EVENT_INDEX if name not in by_event]
            self.groups.append((others, _compiled(self._everywhere)))

    def of(self, event: str) -> Mapping[Filter | None, int]:
        """The bit of each filter of an event, and of none. ``event`` is a key of `EVENT_INDEX`."""
        return self._by_event.get(event, self._everywhere)

    def resolved(self, event: str, slots: int, dispatch: Dispatch[Any]) -> int:
        """The slots that matched, by the bits of `of`, from those that the engine tells of an event."""
        bits = self.of(event)
        if len(bits) <= ENGINE_SLOTS or not slots >> _REST & 1:
            return slots
        return slots & ~(1 << _REST) | _matching(bits, dispatch, _REST)

    def matching(self, event: str, dispatch: Dispatch[Any]) -> int:
        """The slots that match, asked here."""
        return _matching(self.of(event), dispatch, -1)


def _numbered(filters: Iterable[Filter | None]) -> _Bits:
    # No filter is a bit of the engine's in any case.
    ordered = sorted(filters, key=lambda one: one is not None)
    bits: _Bits = {one: bit for bit, one in enumerate(ordered)}
    if len(bits) > ENGINE_SLOTS:
        # The bit of the slot that stands for several is none of theirs.
        bits.update((one, bit + 1) for one, bit in bits.items() if bit >= _REST)
    return bits


def _compiled(bits: _Bits) -> list[_core.Filter | None]:
    compiled = [None if one is None else one.compiled for one in bits]
    if len(compiled) <= ENGINE_SLOTS:
        return compiled
    return [*compiled[:_REST], _core.Filter.any([one for one in compiled[_REST:] if one is not None])]


def _matching(bits: _Bits | Mapping[Filter | None, int], dispatch: Dispatch[Any], above: int) -> int:
    slots = 0
    for one, bit in bits.items():
        if bit > above and (one is None or one.compiled.matches(dispatch)):
            slots |= 1 << bit
    return slots
