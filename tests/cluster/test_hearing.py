"""What workers hear, put together and told to the engine."""

from typing import Any, cast

import propylon._core as _core
from propylon import field
from propylon._filters.expression import description
from propylon._listening.registry import EVENT_INDEX
from propylon.cluster._hearing import Hearing, union
from propylon.cluster._keys import Heard, HeardSlot

HI = description(field("content") == "hi")
HO = description(field("content") == "ho")


class Table:
    """What the engine is told, checked as it counts: each event of a slot comes once and goes once."""

    def __init__(self) -> None:
        self.there: dict[int, set[str]] = {}
        self.projections: dict[tuple[int, str], _core.Projection] = {}
        self.filtered: set[int] = set()

    def add(self, slot: int, filter: _core.Filter | None, events: list[str]) -> int:
        assert (slot == 0) == (filter is None)
        events = list(EVENT_INDEX) if events == ["*"] else events
        there = self.there.setdefault(slot, set())
        assert not there & set(events)
        there |= set(events)
        return 0

    def remove(self, slot: int, events: list[str]) -> int:
        events = list(EVENT_INDEX) if events == ["*"] else events
        assert self.there[slot] >= set(events)
        self.there[slot] -= set(events)
        if not self.there[slot]:
            del self.there[slot]
        return 0

    def project(self, slot: int, event: str, projection: _core.Projection | None = None) -> None:
        if projection is None:
            self.projections.pop((slot, event), None)
        else:
            self.projections[slot, event] = projection


def heard(*slots: tuple[str | None, list[str]], **projections: dict[str, Any]) -> Heard:
    return Heard([HeardSlot(where, events, projections) for where, events in slots])


def hearing() -> tuple[Hearing, Table]:
    made, table = Hearing(), Table()
    assert made.attach(cast("_core.Subscriptions", table))
    assert not made.attach(cast("_core.Subscriptions", table))
    return made, table


def test_workers_that_hear_alike_share_a_slot() -> None:
    made, table = hearing()
    made.set("a", heard((HI, ["MESSAGE_CREATE"])))
    made.set("b", heard((HI, ["MESSAGE_CREATE", "MESSAGE_UPDATE"]), (HO, ["MESSAGE_CREATE"])))
    assert table.there == {1: {"MESSAGE_CREATE", "MESSAGE_UPDATE"}, 2: {"MESSAGE_CREATE"}}


def test_all_events_and_some_events_are_told_once_each() -> None:
    made, table = hearing()
    made.set("a", heard((None, ["MESSAGE_CREATE"])))
    made.set("b", heard((None, ["*"])))
    assert table.there == {0: set(EVENT_INDEX)}
    made.set("b", heard((None, ["TYPING_START"])))
    assert table.there == {0: {"MESSAGE_CREATE", "TYPING_START"}}
    made.set("b", heard((None, ["*"])))
    made.set("a", Heard())
    assert table.there == {0: set(EVENT_INDEX)}
    made.set("b", Heard())
    assert table.there == {}


def test_a_name_that_no_table_has_is_heard_with_all_such_names() -> None:
    made, table = hearing()
    made.set("a", heard((None, ["NEW_THING", "OTHER_THING"])))
    assert table.there == {0: {"UNKNOWN"}}


def test_a_part_leaves_only_where_all_want_a_part() -> None:
    part: dict[str, Any] = {"content": None, "author": {"id": None}}
    other: dict[str, Any] = {"author": {"name": None}}
    both = union(
        [
            heard((None, ["MESSAGE_CREATE"]), MESSAGE_CREATE=part),
            heard((None, ["MESSAGE_CREATE"]), MESSAGE_CREATE=other),
        ]
    )
    assert both[None].projections == {"MESSAGE_CREATE": {"content": None, "author": {"id": None, "name": None}}}
    one_whole = union([heard((None, ["MESSAGE_CREATE"]), MESSAGE_CREATE=part), heard((None, ["MESSAGE_CREATE"]))])
    assert one_whole[None].projections == {}
    all_whole = union([heard((None, ["MESSAGE_CREATE"]), MESSAGE_CREATE=part), heard((None, ["*"]))])
    assert all_whole[None].projections == {}
    elsewhere = union([heard((None, ["MESSAGE_CREATE"]), MESSAGE_CREATE=part), heard((HI, ["MESSAGE_CREATE"]))])
    assert elsewhere[None].projections == {"MESSAGE_CREATE": part}


def test_what_filters_read_is_in_every_part_for_workers_ask_them_again() -> None:
    where = description(~(field("author.bot").is_true()) & (field("tts").exists() | (field("author.id") == 5)))
    part: dict[str, Any] = {"content": None}
    both = union([heard((where, ["MESSAGE_CREATE"]), MESSAGE_CREATE=part)])
    read = {"content": None, "author": {"bot": None, "id": None}, "tts": None}
    assert both[where].projections == {"MESSAGE_CREATE": read}
    # Who gets the event asks its own filter, whichever of the others let it leave.
    beside = union([heard((where, ["*"])), heard((None, ["MESSAGE_CREATE"]), MESSAGE_CREATE=part)])
    assert beside[None].projections == {"MESSAGE_CREATE": read}
    later = union(
        [heard(('{"op":"later"}', ["MESSAGE_CREATE"])), heard((None, ["MESSAGE_CREATE"]), MESSAGE_CREATE=part)]
    )
    assert later[None].projections == {}


def test_projections_come_and_go_with_their_slots() -> None:
    made, table = hearing()
    part: dict[str, Any] = {"content": None}
    made.set("a", heard((None, ["MESSAGE_CREATE"]), MESSAGE_CREATE=part))
    assert list(table.projections) == [(0, "MESSAGE_CREATE")]
    made.set("b", heard((None, ["MESSAGE_CREATE"])))
    assert table.projections == {}
    made.set("b", Heard())
    assert list(table.projections) == [(0, "MESSAGE_CREATE")]
    made.set("a", Heard())
    assert (table.projections, table.there) == ({}, {})


def test_a_filter_of_a_later_version_lets_all_through() -> None:
    made, table = hearing()
    made.set("a", heard(('{"op":"of a later version"}', ["MESSAGE_CREATE"]), (HI, ["TYPING_START"])))
    assert table.there == {0: {"MESSAGE_CREATE"}, 1: {"TYPING_START"}}
    made.set("a", heard((HI, ["TYPING_START"])))
    assert table.there == {1: {"TYPING_START"}}


def test_the_numbers_of_slots_are_used_again() -> None:
    made, table = hearing()
    for _ in range(200):
        made.set("a", heard((HI, ["MESSAGE_CREATE"])))
        made.set("a", heard((HO, ["MESSAGE_CREATE"])))
    assert set(table.there) <= {1, 2}


def test_what_a_worker_heard_is_heard_while_its_key_is_there() -> None:
    made, table = hearing()
    made.set("a", heard((None, ["MESSAGE_CREATE"])))
    made.set("b", heard((None, ["TYPING_START"])))
    made.set("unknown", None)
    made.set("a", None)
    assert list(made) == ["b"]
    assert table.there == {0: {"TYPING_START"}}


def test_a_table_that_comes_later_is_told_all() -> None:
    made, _ = hearing()
    made.set("a", heard((None, ["MESSAGE_CREATE"])))
    late = Table()
    made.attach(cast("_core.Subscriptions", late))
    assert late.there == {0: {"MESSAGE_CREATE"}}
    made.detach(cast("_core.Subscriptions", late))
    made.set("a", Heard())
    assert late.there == {0: {"MESSAGE_CREATE"}}


def test_the_engine_takes_what_it_is_told() -> None:
    made = Hearing()
    made.attach(_core.Subscriptions())
    made.set("a", heard((None, ["*"]), (HI, ["MESSAGE_CREATE"]), MESSAGE_CREATE={"content": None}))
    made.set("a", heard((None, ["MESSAGE_CREATE"]), MESSAGE_CREATE={"content": None}))
    made.set("a", Heard())
