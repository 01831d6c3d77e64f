"""Which slot stands for which filter, and what the engine is told of it."""

from typing import Any

import pytest

from propylon import Filter, field
from propylon._listening import registry as registers
from propylon._listening.entry import ALL, Entry, Wanted
from propylon._listening.registry import EVENT_INDEX, UNKNOWN, Registry

ONE, TWO = field("a") == 1, field("a") == 2
EVENT = "MESSAGE_CREATE"


class Engine:
    """Which slots each event has, as the engine was told."""

    def __init__(self) -> None:
        self.slots: dict[str, dict[int, Any]] = {name: {} for name in EVENT_INDEX}
        self.generation = 0

    def add(self, slot: int, compiled: Any, events: list[str]) -> int:
        for name in self._named(events):
            assert slot not in self.slots[name]
            self.slots[name][slot] = compiled
        self.generation += 1
        return self.generation

    def remove(self, slot: int, events: list[str]) -> int:
        for name in self._named(events):
            del self.slots[name][slot]
        self.generation += 1
        return self.generation

    def _named(self, events: list[str]) -> list[str]:
        return list(EVENT_INDEX) if events == [ALL] else events


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr(registers._core, "Subscriptions", lambda: engine)
    return engine


def entry(*wanted: tuple[str, Filter | None]) -> Entry:
    return Entry(print, [Wanted(event, None, where) for event, where in wanted], lambda entry: None, name="entry")


def test_equal_filters_share_a_slot_and_no_filter_is_slot_0(engine: Engine) -> None:
    registry = Registry()
    entries = [entry((EVENT, ONE)), entry((EVENT, field("a") == 1)), entry((EVENT, None))]
    registry.add(entries)
    assert set(engine.slots[EVENT]) == {0, 1}
    assert engine.slots[EVENT][0] is None
    registry.remove(entries[:1])
    assert set(engine.slots[EVENT]) == {0, 1}
    registry.remove(entries[1:])
    assert engine.slots[EVENT] == {}
    assert registry.slot(1) is None
    assert registry.entries == []


def test_what_wants_every_event_has_a_slot_in_each(engine: Engine) -> None:
    registry = Registry()
    everywhere, named = entry((ALL, ONE)), entry((EVENT, ONE), ("PROPYLON_NEWS", ONE))
    more = entry((EVENT, TWO), ("PROPYLON_NEWS", None))
    for order in ([everywhere, named], [named, everywhere]):
        registry.add([more])
        for one in order:
            registry.add([one])
        numbers = {number: registry.slot(number) for number in engine.slots[EVENT]}
        assert {slot.where for slot in numbers.values() if slot is not None} == {ONE, TWO}
        assert len(engine.slots[UNKNOWN]) == 2
        assert len(engine.slots["READY"]) == 1
        registry.remove([everywhere])
        assert engine.slots["READY"] == {}
        assert len(engine.slots[EVENT]) == len(engine.slots[UNKNOWN]) == 2
        registry.remove([named, more])
        assert not any(engine.slots.values())


def test_equality_leaves_low_numbers_to_those_that_are_asked_for_each_event(engine: Engine) -> None:
    registry = Registry()
    equal = [entry((EVENT, field("a") == number)) for number in range(100)]
    others = [entry((EVENT, field("a") > number)) for number in range(50)]
    registry.add(equal)
    registry.add(others)
    low = [number for number in engine.slots[EVENT] if number < 64]
    assert len(low) == 63
    assert len(engine.slots[EVENT]) == 150
    asked = {
        slot.number for number in engine.slots[EVENT] if (slot := registry.slot(number)) and ">" in repr(slot.where)
    }
    assert len(asked & set(low)) == 32
    registry.remove(equal)
    registry.remove(others)
    assert engine.slots[EVENT] == {}
    registry.add(equal[:1])
    assert set(engine.slots[EVENT]) == {1}


def test_an_entry_is_alone_where_nothing_else_can_come(engine: Engine) -> None:
    registry = Registry()
    one, other = entry((EVENT, None)), entry((ALL, ONE))
    assert registry.alone is None
    registry.add([one])
    assert registry.alone is one
    registry.add([other])
    assert registry.alone is None
    registry.remove([one])
    assert registry.alone is other
    registry.remove([other])
    registry.add([entry(("PROPYLON_NEWS", None))])
    assert registry.alone is None
