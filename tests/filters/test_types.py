"""Filters are checked against the classes of the events when a listener is added."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from propylon import Dispatch, Filter, Gateway, Intents, Snowflake, UnknownNameWarning, field
from propylon._filters.types import Kind, _fields
from propylon.events import (
    EVENTS,
    Event,
    GuildMembersChunk,
    GuildRoleCreate,
    InteractionCreate,
    MessageCreate,
    PresenceUpdate,
)
from propylon.models import MessageType

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def listen(where: Any, *events: Any) -> Filter | None:
    """The filter that a listener ends up with."""
    listener = Gateway("token", intents=Intents.ALL).listen(*events, where=where)(lambda event: None)
    return listener._entry.wanted[0].where


FITS: list[tuple[type[Any], Callable[[], Filter]]] = [
    (MessageCreate, lambda: field("author.id") == 7),
    (MessageCreate, lambda: field("author.id") > 7),
    (MessageCreate, lambda: field("guild_id") == None),  # noqa: E711
    (MessageCreate, lambda: field("type") == MessageType.REPLY),
    (MessageCreate, lambda: field("type") < 2.5),
    (MessageCreate, lambda: field("flags") >= 64),
    (MessageCreate, lambda: field("author.bot").is_true()),
    (MessageCreate, lambda: field("author.bot").is_in([False, None])),
    (MessageCreate, lambda: field("nonce") == 5),
    (MessageCreate, lambda: field("nonce") == "5"),
    (MessageCreate, lambda: field("content").contains("x")),
    (MessageCreate, lambda: field("content") < "x"),
    (MessageCreate, lambda: field("mention_roles").contains(5)),
    (MessageCreate, lambda: field("timestamp").exists()),
    (MessageCreate, lambda: field("timestamp") < MOMENT),
    (MessageCreate, lambda: field("member.premium_since").is_in([MOMENT, None])),
    (MessageCreate, lambda: field("mentions").exists()),
    (MessageCreate, lambda: field("member").exists()),
    (MessageCreate, lambda: field("member.communication_disabled_until").is_null()),
    (MessageCreate, lambda: field("referenced_message.author.username").endswith("x")),
    (PresenceUpdate, lambda: field("user.id") == 1),
    (PresenceUpdate, lambda: field("client_status.desktop") == "online"),
    (PresenceUpdate, lambda: field("user.bot") == 5),  # Discord checks nothing there, so nor do we
    (GuildMembersChunk, lambda: field("not_found").exists()),
    (InteractionCreate, lambda: field("data.name") == "ping"),
]


@pytest.mark.parametrize(("event", "make"), FITS)
def test_what_fits_is_taken(event: type[Any], make: Callable[[], Filter]) -> None:
    assert listen(make(), event) == make()


DOES_NOT: list[tuple[type[Any], Callable[[], Filter], type[Exception], str]] = [
    (MessageCreate, lambda: field("auther.bot").is_true(), ValueError, "did you mean 'author.bot'?"),
    (MessageCreate, lambda: field("author.bott").is_true(), ValueError, "did you mean 'author.bot'?"),
    (MessageCreate, lambda: ~(field("a") == 1) & field("b").exists(), ValueError, "has no field 'a'; it has activity"),
    (MessageCreate, lambda: field("xyz").exists(), ValueError, "MESSAGE_CREATE has no field 'xyz'"),
    (MessageCreate, lambda: field("content.x") == 1, ValueError, "content is no object"),
    (MessageCreate, lambda: field("mentions.id") == 1, ValueError, "mentions is an array"),
    (MessageCreate, lambda: field("type").startswith("1"), TypeError, "an int: it compares with numbers"),
    (MessageCreate, lambda: field("type") == "x", TypeError, "an int: it compares with numbers, not with 'x'"),
    (MessageCreate, lambda: field("type").is_in([1, "x"]), TypeError, "not with 'x'"),
    (MessageCreate, lambda: field("type").is_true(), TypeError, "not with True"),
    (MessageCreate, lambda: field("author.bot") == "yes", TypeError, "a bool: it compares with True and False"),
    (MessageCreate, lambda: field("author.bot") == 1, TypeError, "a bool"),
    (MessageCreate, lambda: field("author.bot") < 1, TypeError, "a bool"),
    (MessageCreate, lambda: field("content") == 5, TypeError, "a str: it compares with texts"),
    (MessageCreate, lambda: field("content").contains(5), TypeError, "a str"),
    (MessageCreate, lambda: field("guild_id") == "general", TypeError, "a Snowflake: it compares with an int"),
    (MessageCreate, lambda: field("guild_id") == 1.5, TypeError, "a Snowflake"),
    (MessageCreate, lambda: field("guild_id").startswith("1"), TypeError, "a Snowflake"),
    (MessageCreate, lambda: field("guild_id") == str(1 << 64), TypeError, "a Snowflake"),
    (MessageCreate, lambda: field("timestamp") < "2026", TypeError, "a time: it compares with aware datetimes"),
    (MessageCreate, lambda: field("timestamp").startswith("2026"), TypeError, "a time"),
    (MessageCreate, lambda: field("timestamp") < 5, TypeError, "a time"),
    (MessageCreate, lambda: field("content") < MOMENT, TypeError, "a str"),
    (MessageCreate, lambda: field("guild_id") == MOMENT, TypeError, "a Snowflake"),
    (MessageCreate, lambda: field("author") == 7, TypeError, "an object: compare a field of it, as in author.id"),
    (MessageCreate, lambda: field("mention_roles") == 7, TypeError, "an array: ask it with contains()"),
    (MessageCreate, lambda: field("mention_roles").is_in([7]), TypeError, "an array: ask it with contains()"),
    (MessageCreate, lambda: field("mention_roles").contains("x"), TypeError, "each element is a Snowflake"),
    (MessageCreate, lambda: field("mentions").contains(7), TypeError, "an array of objects"),
    (GuildRoleCreate, lambda: field("role.tags.premium_subscriber").is_true(), TypeError, "whether it exists()"),
    (PresenceUpdate, lambda: field("activities.name") == "x", ValueError, "activities is an array"),
    (PresenceUpdate, lambda: field("user.id") == "x", TypeError, "a Snowflake"),
]


@pytest.mark.parametrize(("event", "make", "error", "text"), DOES_NOT)
def test_what_does_not_fit_is_an_error_that_says_what_would(
    event: type[Any], make: Callable[[], Filter], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=re.escape(text)):
        listen(make(), event)


def test_ids_given_as_text_compare_as_numbers() -> None:
    assert listen(field("guild_id") == "41", MessageCreate) == (field("guild_id") == 41)
    assert listen(field("guild_id") > "041", Dispatch[MessageCreate]) == (field("guild_id") > 41)
    assert listen(~field("guild_id").is_in(["9", 10]), MessageCreate) == ~field("guild_id").is_in([9, 10])
    assert listen(field("mention_roles").contains("5"), MessageCreate) == field("mention_roles").contains(5)
    assert listen(field("nonce") == "41", MessageCreate) == (field("nonce") == "41")


def test_without_a_class_nothing_is_checked() -> None:
    class News(Event, event="PROPYLON_NEWS"):
        text: str

    for where in (field("anything") == 5, field("guild_id") == "x"):
        assert listen(where, Dispatch) == where
        assert listen(where, News) == where


def test_a_narrow_class_may_add_fields_and_knows_those_of_its_event() -> None:
    with pytest.warns(UnknownNameWarning, match="has no field 'new_field'"):

        class Undocumented(Event, event="MESSAGE_CREATE", rename={"fresh": "new_field"}):
            fresh: int

    assert listen(field("new_field") == 5, Undocumented) is not None
    assert listen(field("author.id") == 5, Undocumented) is not None
    with pytest.raises(TypeError, match="an int"):
        listen(field("new_field") == "x", Undocumented)
    with pytest.raises(ValueError, match="has no field 'fresh'"):
        listen(field("fresh") == 5, Undocumented)


def test_every_field_of_every_event_is_understood() -> None:
    """Only what Discord says anything of is unknown to us: changes of the audit log, and unchecked scalars."""
    seen: set[type[msgspec.Struct]] = set()
    unknown: set[str] = set()
    only_null: set[str] = set()

    def visit(name: str, kind: Kind | None) -> None:
        if kind is None:
            return
        if kind.anything:
            unknown.add(name)
        if kind == Kind():
            only_null.add(name)
        visit(name, kind.elements)
        visit(name, kind.values)
        for struct in kind.structs:
            if struct not in seen:
                seen.add(struct)
                for field_name, inner in _fields(struct).items():
                    visit(f"{struct.__name__}.{field_name}", inner)

    visit("", Kind(structs=tuple(EVENTS.values())))
    assert len(seen) > 150
    assert {name.split(".")[0] for name in only_null} == {"RoleTags"}
    unchecked = ("AuditLogChange.", "Presence", "Received", "ClientStatus.", "Activity", "ChunkPresence.")
    unchecked += ("CommandOption.value", "SubmittedComponent.value", "InteractionData.values", "Component.value")
    assert [name for name in unknown if not name.startswith(unchecked)] == []


def test_snowflakes_keep_their_name() -> None:
    assert _fields(MessageCreate)["id"].scalars == _fields(MessageCreate)["guild_id"].scalars == {"Snowflake"}
    assert _fields(MessageCreate)["channel_id"] == Kind(frozenset({"Snowflake"}))
    assert Snowflake(5) == 5
