"""The steps that an event takes: which entries are called for it, in which order, and what is decoded between them.

Plans are worked out on first use, kept by the route that the engine tells of an event, and forgotten when an entry that
concerns them comes or goes. Taking the steps is `propylon._delivery.consumer`'s.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from propylon._core import Dispatch
from propylon._filters.expression import Filter, compiled
from propylon._listening.entry import ALL, Entry
from propylon._listening.registry import EVENT_INDEX, LOW, UNKNOWN, Registry, Slot, Tracer
from propylon.events import EVENTS, Event
from propylon.events._decoding import decoder_for
from propylon.events._fleet import FLEET_EVENTS

__all__ = ["Call", "Plan", "Plans", "Route", "Step", "route_of_own", "sole_of"]

_MAX_PLANS: Final = 1024
"""Plans that are kept: the slots of an event can match in any combination."""

_OF_GUILDS: Final = frozenset({"GUILD_CREATE", "GUILD_DELETE"})
_NAMES: Final = {index: name for name, index in EVENT_INDEX.items()}

Route: TypeAlias = int | tuple[int, ...]
"""The number of an event in the lowest byte, and above that the slots below 64 that it matched, bit by bit; where it
matched others, a tuple of this and their numbers."""
Call: TypeAlias = tuple[Entry, Callable[..., Any], str | None, bool]
Step: TypeAlias = tuple[Callable[[Dispatch[Any]], Any] | None, type[Event] | None, tuple[Call, ...]]
"""What decodes an event (None: nothing, the `Dispatch` is wanted), the class into which what that refuses may be
mended, and who gets it."""
Plan: TypeAlias = tuple[Step, ...]


_Decoding: TypeAlias = tuple[Callable[[Dispatch[Any]], Any], type[Event] | None]
"""The first two of a step that decodes."""


def _data(dispatch: Dispatch[Any]) -> Any:
    return dispatch.data


def _decoder(kind: type[Event], *, mending: bool) -> _Decoding:
    """The decoder of a class; where there is none, each event is a misfit for this class and for no other."""
    try:
        decode: Callable[[Dispatch[Any]], Any] = decoder_for(kind, mending=mending)
        return decode, None if mending else kind
    # Refused when the listener was added; a second look must not cost the others their event.
    except Exception as error:
        message = f"{kind.__qualname__} cannot be decoded ({error})"

    def misfit(dispatch: Dispatch[Any]) -> Any:
        raise TypeError(message)

    return misfit, None


def _remembering(kind: type[Event]) -> _Decoding:
    """A decoder for a type that several listeners want with others between them: once per event all the same."""
    decode, _ = _decoder(kind, mending=True)
    last: list[Any] = [None, None]

    def decode_once(dispatch: Dispatch[Any]) -> Any:
        if last[0] is not dispatch:
            last[:] = dispatch, decode(dispatch)
        return last[1]

    return decode_once, None


class Plans:
    """The plans of all events, for one register."""

    def __init__(self, registry: Registry) -> None:
        """None yet."""
        self._registry: Final = registry
        self.kept: Final[dict[Route, tuple[int, Plan, Entry | None, bool]]] = {}
        """Each with the generation below which some of its entries were not there: an event that was matched earlier
        takes another plan. And the one entry that it calls, where it is one call, and whether that is of an async
        function that takes the event and nothing else."""
        self._routes: Final[dict[int, dict[str, set[Route]]]] = {}
        """Those kept, by the slots and events that they depend on."""
        registry.watch(self._changed)

    def _changed(self, slot: Slot, event: str) -> None:
        by_event = self._routes.get(slot.number)
        if by_event is None:
            return
        names = list(by_event) if event == ALL else [event]
        for route in [route for name in names for route in by_event.get(name, ())]:
            self._forget(route)

    def _forget(self, route: Route) -> None:
        """Also under the other slots that it depends on: these may stay for ever, and never change."""
        del self.kept[route]
        event, numbers = _parts(route)
        for number in numbers:
            by_event = self._routes[number]
            by_event[event].remove(route)
            if not by_event[event]:
                del by_event[event]
                if not by_event:
                    del self._routes[number]

    def plan(self, route: Route, dispatch: Dispatch[Any], generation: int) -> Plan:
        """The steps for an event that was matched at a generation."""
        event, numbers = _parts(route)
        slots = [slot for number in numbers if (slot := self._registry.slot(number)) is not None]
        # What no table has may be a fleet's own: whoever asks for all that Discord sends does not ask for these.
        own = event == UNKNOWN and dispatch.type in FLEET_EVENTS
        names = (event,) if own else (event, ALL)
        entries = [entry for slot in slots for name in names for entry in slot.wanting.get(name, ())]
        asked = [entry for entry in entries if entry.since <= generation]
        asked = sorted(dict.fromkeys(asked), key=_order)
        matched = {slot.where for slot in slots}
        name = dispatch.type if event == UNKNOWN else event
        of_guilds = event in _OF_GUILDS and self._registry.minds_changes
        change = dispatch.guild_change if of_guilds else None
        plan = _plan_for(asked, name, matched, change, self._registry.tracer)
        # Where the route does not tell all that the plan depends on, it is worked out each time.
        if event != UNKNOWN and not of_guilds and len(asked) == len(set(entries)):
            self._keep(route, event, numbers, max((entry.since for entry in asked), default=0), plan)
        return plan

    def _keep(self, route: Route, event: str, numbers: list[int], since: int, plan: Plan) -> None:
        if len(self.kept) >= _MAX_PLANS:
            self.kept.clear()
            self._routes.clear()
        sole = sole_of(plan)
        pumped = sole is not None and plan[0][2][0][2:] == (None, False)
        self.kept[route] = since, plan, sole, pumped
        for number in numbers:
            self._routes.setdefault(number, {}).setdefault(event, set()).add(route)


def sole_of(plan: Plan) -> Entry | None:
    """The entry that is called, where it is one call."""
    return plan[0][2][0][0] if len(plan) == 1 and len(plan[0][2]) == 1 else None


def route_of_own(registry: Registry, dispatch: Dispatch[Any]) -> Route | None:
    """The route of an event that the engine has not seen, because a fleet made it; None where nobody wants it."""
    numbers = [slot.number for slot in registry.slots_of(UNKNOWN, dispatch.type) if _fits(slot.where, dispatch)]
    if not numbers:
        return None
    low = EVENT_INDEX[UNKNOWN]
    for number in numbers:
        if number < LOW:
            low |= 1 << 8 + number
    high = [number for number in numbers if number >= LOW]
    return (low, *high) if high else low


def _fits(where: Filter | None, dispatch: Dispatch[Any]) -> bool:
    return where is None or compiled(where).matches(dispatch)


def _parts(route: Route) -> tuple[str, list[int]]:
    """The event of a route, and the numbers of its slots."""
    low, *high = (route,) if isinstance(route, int) else route
    bits = low >> 8
    return _NAMES[low & 0xFF], [bit for bit in range(bits.bit_length()) if bits >> bit & 1] + high


def _order(entry: Entry) -> tuple[int, int]:
    return entry.order


def _call_of(entry: Entry, tracer: Tracer | None) -> Call:
    traced = None if tracer is None else tracer(entry)
    if traced is None:
        return entry, entry.call, entry.inject, entry.isolated
    return entry, traced, "dispatch", entry.isolated


def _plan_for(
    entries: list[Entry], event: str, matched: set[Filter | None], change: str | None, tracer: Tracer | None
) -> Plan:
    wanted: list[tuple[type[Event] | None, Call]] = []
    for entry in entries:
        for want in entry.wanted:
            if want.event == event or want.event == ALL:
                if want.change is not None and want.change != change:
                    # The next one may be another meaning of the same event.
                    continue
                if want.where in matched:
                    wanted.append((want.kind, _call_of(entry, tracer)))
                break
    kinds = [kind for kind, _ in wanted]
    decoders: dict[type[Event] | None, _Decoding | tuple[None, None]] = {None: (None, None)}
    for kind in kinds:
        if kind is None or kind in decoders:
            continue
        if kind is EVENTS.get(event) and None in kinds:
            # A `Dispatch` listener may ask for `.data`: one decoding serves both.
            decoders[kind] = _data, None
        elif _scattered(kinds, kind):
            decoders[kind] = _remembering(kind)
        else:
            # As most do: msgspec's own method, whose errors the consumer takes.
            decoders[kind] = _decoder(kind, mending=False)
    steps: list[tuple[_Decoding | tuple[None, None], list[Call]]] = []
    previous: object = steps
    for kind, call in wanted:
        if kind is previous:
            steps[-1][1].append(call)
        else:
            steps.append((decoders[kind], [call]))
        previous = kind
    return tuple((decode, kind, tuple(calls)) for (decode, kind), calls in steps)


def _scattered(kinds: list[type[Event] | None], kind: type[Event]) -> bool:
    """Whether other kinds stand between the first and the last of this one."""
    first = kinds.index(kind)
    return any(other is not kind for other in kinds[first : first + kinds.count(kind)])
