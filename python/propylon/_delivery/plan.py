"""Who listens to what: for each event the steps to take.

Owns plans, worked out on first use. A table is made anew whenever a listener comes or goes and never changed
afterwards; taking the steps is `propylon._delivery.consumer`'s.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from propylon._core import Dispatch
from propylon._delivery.slots import EVENT_INDEX, UNKNOWN, Slots
from propylon._listening.listener import ALL, Listener
from propylon.events import EVENTS, Event
from propylon.events._decoding import decoder_for

__all__ = ["Call", "Plan", "Step", "Table"]

_MAX_PLANS: Final = 1024
"""Plans kept by a table: the slots of an event can match in any combination."""

_OF_GUILDS: Final = frozenset({"GUILD_CREATE", "GUILD_DELETE"})
_NAMES: Final = {index: name for name, index in EVENT_INDEX.items()}

Call: TypeAlias = tuple[Listener[..., Any], Callable[..., Any], str | None, bool]
Step: TypeAlias = tuple[Callable[[Dispatch[Any]], Any] | None, tuple[Call, ...]]
Plan: TypeAlias = tuple[Step, ...]


def _data(dispatch: Dispatch[Any]) -> Any:
    return dispatch.data


def _decoder(kind: type[Event]) -> Callable[[Dispatch[Any]], Any]:
    """The decoder of a class; where there is none, each event is a misfit for this class and for no other."""
    try:
        return decoder_for(kind)
    # Refused when the listener was added; a second look must not cost the others their event.
    except Exception as error:
        message = f"{kind.__qualname__} cannot be decoded ({error})"

    def misfit(dispatch: Dispatch[Any]) -> Any:
        raise TypeError(message)

    return misfit


def _remembering(kind: type[Event]) -> Callable[[Dispatch[Any]], Any]:
    """A decoder for a type that several listeners want with others between them: once per event all the same."""
    decode = _decoder(kind)
    last: list[Any] = [None, None]

    def decode_once(dispatch: Dispatch[Any]) -> Any:
        if last[0] is not dispatch:
            last[:] = dispatch, decode(dispatch)
        return last[1]

    return decode_once


class Table:
    """One generation of listeners: for each event the steps to take, worked out on first use."""

    def __init__(self, generation: int, listeners: tuple[Listener[..., Any], ...]) -> None:
        """``listeners`` in the order in which they are called."""
        self.generation: Final = generation
        self.listeners: Final = listeners
        self.slots: Final = Slots(wanted for listener in listeners for wanted in listener.wanted)
        self.alone: Final = listeners[0] if len(listeners) == 1 and _only_known(listeners[0]) else None
        """The one listener, where there is no other and all that comes is for it."""
        self.plans: Final[dict[int, Plan]] = {}
        self._minds_changes: Final = any(
            wanted.change is not None for listener in listeners for wanted in listener.wanted
        )

    def plan(self, route: int, dispatch: Dispatch[Any]) -> Plan:
        """The steps for an event. Kept by its route, except where that does not tell all that the plan depends on."""
        index = route & 0xFF
        event = _NAMES[index]
        slots = self.slots.resolved(event, route >> 8, dispatch)
        if event == UNKNOWN:
            return self._plan_for(dispatch.type, event, slots)
        if event in _OF_GUILDS and self._minds_changes:
            return self._plan_for(event, event, slots, dispatch.guild_change)
        route = slots << 8 | index
        plan = self.plans.get(route)
        if plan is None:
            if len(self.plans) >= _MAX_PLANS:
                self.plans.clear()
            plan = self.plans[route] = self._plan_for(event, event, slots)
        return plan

    def routes(self, dispatches: list[Dispatch[Any]], routes: list[int]) -> list[int]:
        """The routes of events that a forgotten table had matched: they are matched anew."""
        return [
            self.slots.matching(_NAMES[route & 0xFF], dispatch) << 8 | route & 0xFF
            for dispatch, route in zip(dispatches, routes, strict=True)
        ]

    def _plan_for(self, event: str, slotted: str, slots: int, change: str | None = None) -> Plan:
        bits = self.slots.of(slotted)
        wanted: list[tuple[type[Event] | None, Call]] = []
        for listener in self.listeners:
            for want in listener.wanted:
                if want.event == event or want.event == ALL:
                    if want.change is not None and want.change != change:
                        # The next one may be another meaning of the same event.
                        continue
                    if slots >> bits[want.where] & 1:
                        wanted.append((want.kind, (listener, listener.call, listener.inject, listener.isolated)))
                    break
        kinds = [kind for kind, _ in wanted]
        decoders: dict[type[Event] | None, Callable[[Dispatch[Any]], Any] | None] = {None: None}
        for kind in kinds:
            if kind is None or kind in decoders:
                continue
            if kind is EVENTS.get(event) and None in kinds:
                # A `Dispatch` listener may ask for `.data`: one decoding serves both.
                decoders[kind] = _data
            else:
                decoders[kind] = _remembering(kind) if _scattered(kinds, kind) else _decoder(kind)
        steps: list[tuple[Callable[[Dispatch[Any]], Any] | None, list[Call]]] = []
        previous: object = steps
        for kind, call in wanted:
            if kind is previous:
                steps[-1][1].append(call)
            else:
                steps.append((decoders[kind], [call]))
            previous = kind
        return tuple((decode, tuple(calls)) for decode, calls in steps)


def _only_known(listener: Listener[..., Any]) -> bool:
    """Whether it wants no event by a name that shares its slots with others."""
    return all(
        (wanted.event == ALL or wanted.event in EVENT_INDEX) and wanted.change is None for wanted in listener.wanted
    )


def _scattered(kinds: list[type[Event] | None], kind: type[Event]) -> bool:
    """Whether other kinds stand between the first and the last of this one."""
    first = kinds.index(kind)
    return any(other is not kind for other in kinds[first : first + kinds.count(kind)])
