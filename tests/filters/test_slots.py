"""Which bit of a route stands for which filter."""

from typing import Any

from propylon import Dispatch, field
from propylon._delivery.slots import ENGINE_SLOTS, EVENT_INDEX, UNKNOWN, Slots
from propylon._listening.listener import ALL, Wanted

ONE, TWO = field("a") == 1, field("a") == 2
EVENT = "MESSAGE_CREATE"


def event(number: int) -> Dispatch[Any]:
    return Dispatch(EVENT, b'{"a":%d}' % number)


def test_equal_filters_share_a_slot_and_no_filter_is_the_first() -> None:
    slots = Slots([Wanted(EVENT, None, ONE), Wanted(EVENT, None, field("a") == 1), Wanted(EVENT, None)])
    assert dict(slots.of(EVENT)) == {None: 0, ONE: 1}
    (group,) = slots.groups
    assert group == ([EVENT], [None, ONE.compiled])
    assert slots.resolved(EVENT, 0b10, event(1)) == 0b10
    assert slots.matching(EVENT, event(1)) == 0b11
    assert slots.matching(EVENT, event(2)) == 0b01


def test_what_wants_every_event_has_a_slot_in_each() -> None:
    slots = Slots([Wanted(ALL, None, ONE), Wanted(EVENT, None, TWO), Wanted("PROPYLON_NEWS", None)])
    assert set(slots.of(EVENT)) == {ONE, TWO}
    assert set(slots.of(UNKNOWN)) == {ONE, None}
    assert set(slots.of("READY")) == {ONE}
    told = [name for names, _ in slots.groups for name in names]
    assert sorted(told) == sorted(EVENT_INDEX)
    assert Slots([]).groups == []


def test_the_last_slot_of_the_engine_stands_for_all_that_remain() -> None:
    filters = [field("a").is_in([number, number + 1]) for number in range(ENGINE_SLOTS)]
    fits = Slots(Wanted(EVENT, None, one) for one in filters)
    assert sorted(fits.of(EVENT).values()) == list(range(ENGINE_SLOTS))
    slots = Slots(Wanted(EVENT, None, one) for one in [*filters, None])
    ((_, compiled),) = slots.groups
    assert len(compiled) == ENGINE_SLOTS
    bits = dict(slots.of(EVENT))
    rest = 1 << ENGINE_SLOTS - 1
    # The engine's own bit for the rest is nobody's.
    assert sorted(bits.values()) == [*range(ENGINE_SLOTS - 1), ENGINE_SLOTS, ENGINE_SLOTS + 1]
    assert compiled[-1] is not None
    for number in range(ENGINE_SLOTS + 2):
        expected = sum(1 << bits[one] for one in filters if one.matches(event(number).raw)) | 1
        assert slots.matching(EVENT, event(number)) == expected
        told = expected & (rest - 1) | (rest if compiled[-1].matches(event(number)) else 0)
        assert slots.resolved(EVENT, told, event(number)) == expected
