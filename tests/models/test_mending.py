"""What does not fit costs itself: mending, nulls, values that mean the same, halves of surrogate pairs.

Over 500 lines because it is one promise, and its cases are short.
"""

from __future__ import annotations

import gc
import json
import logging
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from face.support import eventually, make_gateway
from propylon import Dispatch, ModelError, models
from propylon.events import EVENTS, Event, MessageCreate, _decoding
from propylon.events._decoding import decoder_for, mend
from propylon.events._reading import Reading, reader_for
from propylon.models import UNSET, UnsetType
from propylon.snowflake import Snowflake
from propylon.testing import Simulator

from . import misfits

CLASSES = misfits.classes()
EVERY_CLASS = pytest.mark.parametrize("cls", CLASSES, ids=[cls.__name__ for cls in CLASSES])


def dispatch_of(event: str, payload: Any) -> Dispatch[Any]:
    return Dispatch(event, json.dumps(payload).encode())


def read_every_property(value: Any) -> None:
    """Of an object and of all inside it."""
    if isinstance(value, list | tuple):
        for item in value:
            read_every_property(item)
    elif isinstance(value, dict):
        for item in value.values():
            read_every_property(item)
    elif isinstance(value, msgspec.Struct):
        for name in dir(type(value)):
            if isinstance(getattr(type(value), name), property):
                getattr(value, name)
        repr(value)
        str(value)
        match value:
            case models.Component():
                list(value.walk())
            case models.InteractionData():
                for of in (value.user, value.role, value.channel, value.attachment):
                    of(Snowflake(1))
            case _:
                pass
        for field in value.__struct_fields__:
            read_every_property(getattr(value, field))


def value_at(event: Any, path: str) -> Any:
    for step in path.split("."):
        event = event[int(step)] if step.lstrip("-").isdigit() else getattr(event, step)
    return event


USER = {"id": "1", "username": "u", "discriminator": "0", "global_name": None, "avatar": None}
MESSAGE = {"id": "9", "channel_id": "3", "author": USER, "content": "x", "timestamp": "2026-01-01T00:00:00+00:00"}
INTERACTION = {"id": "1", "application_id": "2", "type": 2, "token": "t"}


def presence(**activity: Any) -> dict[str, Any]:
    return {"user": {"id": "1"}, "guild_id": "2", "activities": [{"name": "g", **activity}]}


def embed(**fields: Any) -> dict[str, Any]:
    return {**MESSAGE, "embeds": [{"title": "kept", **fields}]}


ODD: dict[str, tuple[str, Any, tuple[str, ...], dict[str, Any]]] = {
    "a UUID for an id that is not checked": (
        "PRESENCE_UPDATE", presence(application_id="4f1c-0a7e"), ("activities[0].application_id",),
        {"activities.0.name": "g", "activities.0.application_id": "4f1c-0a7e"},
    ),
    "a UUID for an id": (
        "MESSAGE_CREATE", {**MESSAGE, "webhook_id": "4f1c-0a7e"}, ("webhook_id",),
        {"content": "x", "webhook_id": UNSET},
    ),
    "null for a text in an element": (
        "GUILD_STICKERS_UPDATE",
        {"guild_id": "2", "stickers": [{"id": "8", "name": "s", "tags": None}, {"id": "9", "name": "t", "tags": "x"}]},
        ("stickers[0].tags",), {"stickers.0.tags": "", "stickers.1.tags": "x", "guild_id": 2},
    ),
    "null for a text in an optional object": (
        "MESSAGE_UPDATE", {"id": "9", "channel_id": "3", "content": "x", "author": {**USER, "username": None}},
        ("author.username",), {"author.username": "", "content": "x"},
    ),
    "null for the text of a footer": (
        "MESSAGE_CREATE", embed(footer={"text": None}), ("embeds[0].footer.text",), {"embeds.0.title": "kept"},
    ),
    "a time that no datetime holds": (
        "MESSAGE_CREATE", embed(timestamp="+292278994-08-17T07:12:55.807000+00:00"), ("embeds[0].timestamp",),
        {"embeds.0.title": "kept", "embeds.0.timestamp": UNSET},
    ),
    "a leap second": (
        "MESSAGE_UPDATE", {"id": "9", "channel_id": "3", "edited_timestamp": "2016-12-31T23:59:60.25+00:00"},
        ("edited_timestamp",), {"edited_timestamp.microsecond": 999_999, "edited_timestamp.year": 2016},
    ),
    "a fraction for an int": (
        "TYPING_START", {"channel_id": "3", "user_id": "1", "timestamp": 1592625792.5}, ("timestamp",),
        {"timestamp": 1592625792, "user_id": 1},
    ),
    "a whole float for an int": (
        "TYPING_START", {"channel_id": "3", "user_id": "1", "timestamp": 1592625792.0}, (), {"timestamp": 1592625792},
    ),
    "a whole float for an enum": ("MESSAGE_CREATE", {**MESSAGE, "type": 19.0}, (), {"type": 19}),
    "null for flags": (
        "GUILD_MEMBER_UPDATE", {"guild_id": "2", "user": USER, "joined_at": None, "flags": None}, ("flags",),
        {"flags": 0, "joined_at": None, "member_flags": 0},
    ),
    "no payload": ("RESUMED", None, (), {}),
    "an odd member, role and voice state of a guild": (
        "GUILD_CREATE",
        {
            "id": "2", "name": "g", "roles": [{"id": "2", "color": None}],
            "members": [{"user": USER, "deaf": None}, {"user": {**USER, "id": "7"}, "deaf": False}],
            "voice_states": [{"user_id": None, "channel_id": "5", "session_id": "s"}],
        },
        ("roles[0].color", "members[0].deaf", "voice_states[0].user_id"),
        {"name": "g", "members.0.deaf": False, "members.1.user.id": 7},
    ),
    "an element that cannot be without its field": (
        "GUILD_STICKERS_UPDATE", {"guild_id": "2", "stickers": [{"id": "8", "name": 5}, {"id": "9", "name": "t"}]},
        ("stickers[0]",), {"stickers.0.name": "t"},
    ),
    "an interaction whose member is null": (
        "INTERACTION_CREATE", {**INTERACTION, "member": None, "user": USER, "app_permissions": None},
        ("app_permissions",), {"invoker.id": 1, "application_permissions": 0},
    ),
    "nulls in an activity": (
        "PRESENCE_UPDATE", {**presence(name=None, type=None, url=None, flags=None, party={"size": [None, 5]}),
                            "client_status": None},
        ("activities[0].name", "activities[0].type", "activities[0].party.size[0]", "client_status"),
        {"activities.0.name": "", "activities.0.type": 0, "activities.0.url": None, "activities.0.flags": None,
         "activities.0.activity_flags": 0, "activities.0.party.size": (None, 5), "client_status.web": UNSET},
    ),
    "a number as text": (
        "PRESENCE_UPDATE", presence(timestamps={"start": "1628629161811", "end": 1628629161812.0}, type="2"), (),
        {"activities.0.timestamps.start": 1628629161811, "activities.0.timestamps.end": 1628629161812,
         "activities.0.type": 2},
    ),
    "READY of a server that is compatible": (
        "READY", {"user": {"id": "1", "discriminator": None}, "guilds": None, "session_id": "s"},
        ("user.discriminator", "guilds"), {"user.id": 1, "guilds": (), "user.discriminator": "0"},
    ),
    "READY without anything": ("READY", {}, (), {"guilds": (), "user.id": 0, "resume_gateway_url": ""}),
    "an option of a type of tomorrow": (
        "INTERACTION_CREATE",
        {**INTERACTION, "data": {"options": [{"name": "o", "type": 77, "value": {"deep": [1]}}]}},
        (), {"data.options.0.value": {"deep": [1]}, "data.options.0.string": None},
    ),
    "a component of a modal of a type of tomorrow": (
        "INTERACTION_CREATE",
        {**INTERACTION, "type": 5,
         "data": {"components": [{"type": 77, "custom_id": "c", "value": [1, {}], "values": {"a": 1}}]}},
        (),
        {"data.components.0.value": [1, {}], "data.components.0.values": {"a": 1},
         "data.components.0.snowflakes": ()},
    ),
    "an entry of an object with any keys": (
        "INTERACTION_CREATE",
        {**INTERACTION, "data": {"resolved": {"users": {"1": USER, "x": USER, "2": []}}}},
        ("data.resolved.users.x", "data.resolved.users.2"), {"data.name": UNSET},
    ),
    "half of an array of fixed length": ("READY", {"shard": [0, "x"]}, ("shard",), {"shard": UNSET}),
    "an array of fixed length with a fraction": ("READY", {"shard": [0.5, "x"]}, ("shard",), {"shard": UNSET}),
    "a number above 64 bits": (
        "MESSAGE_CREATE", {**MESSAGE, "type": 2**70, "position": 2**70}, (), {"type": 2**70, "position": 2**70},
    ),
}  # fmt: skip
"""Event, payload, `mended`, and what must come out."""


@pytest.mark.parametrize(("event", "payload", "mended", "equal"), ODD.values(), ids=ODD)
def test_an_odd_value_costs_itself(event: str, payload: Any, mended: tuple[str, ...], equal: dict[str, Any]) -> None:
    dispatch = dispatch_of(event, payload)
    assert dispatch.mended == ()
    data = dispatch.data
    assert dispatch.mended == mended
    assert {path: value_at(data, path) for path in equal} == equal
    assert dispatch.model_error is None
    assert dispatch.raw == json.dumps(payload).encode()
    read_every_property(data)
    assert pickle.loads(pickle.dumps(data)) == data
    assert not gc.is_tracked(data)
    copy = pickle.loads(pickle.dumps(dispatch))
    assert copy.data == data
    assert copy.mended == mended


def test_the_odd_payloads_of_discord(schema: Path) -> None:
    cases = json.loads((schema / "cases" / "odd_payloads.json").read_text())
    assert len(cases) >= 15
    for case in cases:
        dispatch = dispatch_of(case["event"], case["d"])
        data, expected = dispatch.data, case["expect"]
        for path, value in expected.get("equal", {}).items():
            assert value_at(data, path) == value, (case["why"], path)
        if "mended" in expected:
            assert list(dispatch.mended) == expected["mended"], case["why"]
        read_every_property(data)


@EVERY_CLASS
def test_null_in_each_field_of_each_class_is_what_its_absence_is(cls: type[msgspec.Struct]) -> None:
    rng = random.Random(cls.__name__)
    for fill in (0.0, 1.0):
        payload = misfits.make(cls, rng, fill=fill, depth=2).payload
        for field in msgspec.structs.fields(cls):
            dispatch = dispatch_of("ODD", {**payload, field.encode_name: None})
            if field.required and not accepts_null(field.type):
                with pytest.raises(ModelError):
                    dispatch.decode(cls)
                continue
            value = dispatch.decode(cls)
            read_every_property(value)
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
            if accepts_null(field.type):
                assert getattr(value, field.name) is None
            else:
                assert getattr(value, field.name) == (default() if callable(default) else default)
                assert dispatch.mended == (field.encode_name,)


def accepts_null(kind: Any) -> bool:
    try:
        return msgspec.convert(None, kind) is None
    except msgspec.ValidationError:
        return False


def test_no_field_that_may_be_absent_costs_more_than_itself_when_it_is_null() -> None:
    """The figure of the docs of `propylon.models`: which fields become their default, and which are None."""
    for cls in CLASSES:
        for field in msgspec.structs.fields(cls):
            if field.default is UNSET:
                assert accepts_null(field.type), f"{cls.__name__}.{field.name} is not decoded at once"


@EVERY_CLASS
def test_whatever_is_broken_the_rest_arrives_equal(cls: type[msgspec.Struct]) -> None:
    rng = random.Random(cls.__name__)
    native = msgspec.json.Decoder(cls, strict=False).decode
    found = 0
    for _ in range(60):
        made = misfits.make(cls, rng)
        assert dispatch_of("ODD", made.payload).decode(cls) == read(cls, made.payload)
        for place, odd in misfits.misfits(made, rng):
            if found >= 200:
                return
            broken = json.dumps(misfits.replaced(made.payload, place.path, odd)).encode()
            try:
                native(broken)
                continue
            except msgspec.ValidationError:
                found += 1
            dispatch: Dispatch[Any] = Dispatch("ODD", broken)
            if (place.whole and odd == 1.5) or (place.enum and odd == 2**70):
                # Read as 1, except where it is an id; read as an unknown member, but not by msgspec.
                continue
            left_out = misfits.place_left_out(made, place)
            if left_out is None:
                with pytest.raises(ModelError):
                    dispatch.decode(cls)
                continue
            rest = json.dumps(misfits.without(made.payload, left_out)).encode()
            assert dispatch.decode(cls) == native(rest), (place, odd)
            assert dispatch.mended == (misfits.written(left_out),)
    # A class without fields cannot be broken, nor one of which nothing is checked.
    assert all(place.unchecked for place in misfits.make(cls, rng, fill=1).places)


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_what_is_broken_in_several_places_is_left_out_in_each(event: type[Event]) -> None:
    rng = random.Random(event.__name__)
    native = msgspec.json.Decoder(event, strict=False).decode
    for _ in range(10):
        made = misfits.make(event, rng)
        broken, left_out = made.payload, set[tuple[str | int, ...]]()
        for place, odd in misfits.misfits(made, rng):
            path = misfits.place_left_out(made, place)
            if len(left_out) == 5:
                break
            if path is None or any(within(path, other) for other in left_out):
                continue
            if (place.whole and odd == 1.5) or (place.enum and odd == 2**70):
                continue
            try:
                native(json.dumps(misfits.replaced(made.payload, place.path, odd)).encode())
            except msgspec.ValidationError:
                broken = misfits.replaced(broken, place.path, odd)
                left_out.add(path)
        dispatch = dispatch_of(event.__event_name__, broken)
        assert dispatch.data == native(json.dumps(misfits.without_all(made.payload, left_out)).encode())
        assert set(dispatch.mended) == {misfits.written(path) for path in left_out}


def within(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> bool:
    return one[: len(other)] == other or other[: len(one)] == one


def read(cls: type[msgspec.Struct], payload: Any) -> Any:
    reading = Reading(halves=True, finite=False)
    value = reader_for(cls)(json.loads(json.dumps(payload)), reading)
    assert reading.mends == []
    return value


# What is told, and how much.


def test_sixteen_places_may_be_left_out_and_no_more() -> None:
    good = {"id": "9", "name": "t"}
    for count in (16, 17):
        dispatch = dispatch_of("GUILD_STICKERS_UPDATE", {"guild_id": "2", "stickers": [good, *[{"id": "x"}] * count]})
        if count == 16:
            assert [sticker.id for sticker in dispatch.data.stickers] == [9]
            assert dispatch.mended == tuple(f"stickers[{index}]" for index in range(1, 17))
        else:
            with pytest.raises(ModelError, match=r"stickers\[1\].*more than 16 places do not fit; `\.raw`"):
                _ = dispatch.data
            assert dispatch.mended == ()


def test_what_is_left_out_as_a_whole_is_one_place() -> None:
    guild = {"id": "2", "members": [{"user": USER, "roles": ["x"] * 40, "joined_at": 5, "deaf": []}, {"user": USER}]}
    (member,) = dispatch_of("GUILD_CREATE", {"id": "2", "members": [{"user": USER, "roles": ["x"] * 16}]}).data.members
    assert member.roles == ()
    dispatch = dispatch_of("GUILD_CREATE", {"id": "2", "channels": [{"id": "3", "available_tags": ["x"] * 40}]})
    assert dispatch.data.channels == ()
    assert dispatch.mended == ("channels[0]",)
    with pytest.raises(ModelError):
        _ = dispatch_of("GUILD_CREATE", guild).data


def test_nulls_are_no_mends_to_run_out_of() -> None:
    members = [{"user": {**USER, "id": str(index)}, "deaf": None, "flags": None} for index in range(1000)]
    dispatch = dispatch_of("GUILD_CREATE", {"id": "2", "members": members, "large": "x"})
    guild = dispatch.data
    assert [member.user.id for member in guild.members] == list(range(1000))
    assert not any(member.deaf for member in guild.members)
    assert len(dispatch.mended) == 16
    assert dispatch.mended[:3] == ("members[0].deaf", "members[0].flags", "members[1].deaf")
    assert "large" in dispatch.mended


class Narrow(Event, event="MESSAGE_CREATE"):
    content: str
    pinned: bool = False
    flags: int | UnsetType = UNSET


def test_mended_is_the_union_over_the_classes() -> None:
    dispatch = dispatch_of("MESSAGE_CREATE", {**MESSAGE, "pinned": "odd", "tts": "odd", "content": "x"})
    assert decoder_for(Narrow)(dispatch) == Narrow(content="x")
    assert dispatch.mended == ("pinned",)
    assert dispatch.data.pinned is False
    assert dispatch.mended == ("pinned", "tts")
    dispatch.decode(Narrow)
    assert dispatch.mended == ("pinned", "tts")
    assert Dispatch("MESSAGE_CREATE", dispatch.raw).mended == ()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(_decoding, "_logged", set())
    return caplog


def test_each_place_of_an_event_is_logged_once(log: pytest.LogCaptureFixture) -> None:
    for event in ("GUILD_STICKERS_UPDATE", "GUILD_STICKERS_UPDATE", "ODD"):
        for stickers in ([5], [{"id": "1", "name": "hush", "user": {"id": "secret"}}, 5]):
            dispatch_of(event, {"guild_id": "2", "stickers": stickers}).decode(EVENTS["GUILD_STICKERS_UPDATE"])
    told = [record.getMessage().split(" did not fit")[0] for record in log.records]
    assert told == [
        "GUILD_STICKERS_UPDATE: stickers[]",
        "GUILD_STICKERS_UPDATE: stickers[].user.id",
        "ODD: stickers[]",
        "ODD: stickers[].user.id",
    ]
    assert {(record.name, record.levelno) for record in log.records} == {("propylon", logging.WARNING)}
    assert "hush" not in log.text
    assert "secret" not in log.text


def test_the_log_says_where_and_why_and_no_key_of_the_servers(log: pytest.LogCaptureFixture) -> None:
    users = {"\x1b[31m": USER, "8": {**USER, "avatar": [7]}}
    dispatch = dispatch_of("INTERACTION_CREATE", {**INTERACTION, "data": {"resolved": {"users": users}}})
    assert dispatch.data.data.resolved.users[8].avatar is None
    assert dispatch.mended == ("data.resolved.users.\x1b[31m", "data.resolved.users.8.avatar")
    first, second = (record.getMessage() for record in log.records)
    assert first.startswith("INTERACTION_CREATE: data.resolved.users[] did not fit and was left out (Expected `int`")
    assert "data.resolved.users[].avatar did not fit and was left out (Expected `str`, got `array`)" in second
    assert first.isprintable()


def test_the_log_of_mends_has_an_end(log: pytest.LogCaptureFixture) -> None:
    for index in range(1100):
        dispatch_of(f"ODD_{index}", {"content": "x", "pinned": []}).decode(Narrow)
    assert len(log.records) == 1001
    assert "only Dispatch.mended tells of new ones" in log.records[-1].getMessage()


# What is as it was.


@pytest.mark.parametrize(
    ("event", "raw", "why"),
    [
        ("MESSAGE_CREATE", b"null", "Expected `object`, got `null`"),
        ("RESUMED", b"[]", "Expected `object`, got `array`"),
        ("MESSAGE_CREATE", b'{"id":"1"}', "missing required field"),
        ("MESSAGE_CREATE", json.dumps({**MESSAGE, "author": 5}).encode(), r"got `int` - at `\$.author`"),
        ("MESSAGE_DELETE", b'{"id":"4f1c-0a7e","channel_id":"1"}', r"Expected `int`, got `str` - at `\$.id`"),
        ("MESSAGE_DELETE", b'{"id":1.5,"channel_id":"1"}', r"Expected `int`, got `float` - at `\$.id`"),
        ("MESSAGE_CREATE", b'{"id":NaN}', "malformed"),
        ("MESSAGE_CREATE", b'{"id":"1"', "truncated"),
        ("RESUMED", b"\xff", "malformed"),
        ("MESSAGE_CREATE", b'{"content":"\xff"}', "utf-8"),
        ("MESSAGE_CREATE", b'{"id":"1","embeds":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "Expected"),
        ("MESSAGE_CREATE", b'{"id":"1","author":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", "recursion"),
    ],
)  # fmt: skip
def test_what_cannot_be_without_it_is_a_model_error(event: str, raw: bytes, why: str) -> None:
    dispatch: Dispatch[Any] = Dispatch(event, raw)
    with pytest.raises(ModelError, match=rf"{event}: .*{why}.*; `\.raw` of its Dispatch has the bytes"):
        _ = dispatch.data
    with pytest.raises(ModelError, match=why):
        decoder_for(EVENTS[event])(dispatch)
    assert dispatch.mended == ()


def test_a_decoder_that_does_not_mend_raises_what_it_finds_and_mend_takes_it() -> None:
    dispatch = dispatch_of("MESSAGE_CREATE", {"content": "x", "pinned": None})
    with pytest.raises(msgspec.ValidationError, match=r"\$\.pinned") as raised:
        decoder_for(Narrow, mending=False)(dispatch)
    assert dispatch.mended == ()
    assert mend(dispatch, Narrow, raised.value) == Narrow(content="x")
    assert dispatch.mended == ("pinned",)


@pytest.mark.parametrize(
    "name", [name for name, event in EVENTS.items() if not _decoding._has_no_required_field(event)]
)
def test_no_payload_is_a_misfit_where_a_field_is_required(name: str) -> None:
    with pytest.raises(ModelError):
        _ = Dispatch(name, b"null").data


def test_no_payload_is_an_event_without_fields_where_none_is_required() -> None:
    class Tomorrow(Event, event="GUILD_TOMORROW"):
        id: Snowflake | UnsetType = UNSET

    dispatch: Dispatch[Any] = Dispatch("GUILD_TOMORROW", b" null ")
    assert dispatch.decode(Tomorrow) == Tomorrow()
    assert dispatch.data is None
    assert Dispatch("READY", b"null").data.guilds == ()
    assert dispatch.mended == ()


# Halves of surrogate pairs.

HALF = rb'{"id":"1","channel_id":"2","author":{"id":"3"},"timestamp":"2026-01-01T00:00:00+00:00","content":"a\ud83db"}'


def test_half_a_surrogate_pair_costs_the_half() -> None:
    for kind in (EVENTS["MESSAGE_CREATE"], Narrow):
        dispatch: Dispatch[Any] = Dispatch("MESSAGE_CREATE", HALF)
        assert dispatch.decode(kind).content == "a\ufffdb"
        assert dispatch.mended == ("content",)
        assert dispatch.raw == HALF
    dispatch = Dispatch("MESSAGE_CREATE", HALF)
    assert dispatch.json() == json.loads(HALF.replace(rb"\ud83d", rb"\ufffd"))
    assert dispatch.mended == ("content",)
    assert Dispatch("GUILD_TOMORROW", HALF).data["content"] == "a\ufffdb"


@pytest.mark.parametrize(
    ("raw", "mended", "read"),
    [
        (rb'{"content":"x","unread":"\ud800"}', (), ("x", False)),
        (rb'{"content":"\udc00\ud83d"}', ("content",), ("\ufffd\ufffd", False)),
        (rb'{"content":"\ud83d\ude00"}', (), ("\U0001f600", False)),
        (rb'{"content":"\ud83d\ude00 \ud83d","pinned":null}', ("content", "pinned"), ("\U0001f600 \ufffd", False)),
        (rb'{"\ud800":1,"content":"\\ud800"}', (), ("\\ud800", False)),
    ],
)
def test_halves_in_a_narrow_class(raw: bytes, mended: tuple[str, ...], read: tuple[str, bool]) -> None:
    dispatch: Dispatch[Any] = Dispatch("MESSAGE_CREATE", raw)
    narrow = dispatch.decode(Narrow)
    assert (narrow.content, narrow.pinned) == read
    assert dispatch.mended == mended
    narrow.content.encode()


def test_halves_anywhere_in_plain_json() -> None:
    dispatch: Dispatch[Any] = Dispatch("ODD", rb'{"a":["\ud800",{"\udfff":"\ud800\udc00"}],"b":1}')
    assert dispatch.json() == {"a": ["\ufffd", {"\ufffd": "\U00010000"}], "b": 1}
    assert dispatch.mended == ("a[0]", "a[1].\ufffd")
    assert dispatch.decode(dict[str, Any]) == dispatch.json()
    with pytest.raises(ModelError):
        Dispatch("ODD", rb'["\ud800"').json()


# Classes of users.


class Tagged(msgspec.Struct, tag=True):
    x: int = 0


class Other(msgspec.Struct, tag=True):
    y: int = 0


class Picky(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError("n must not be negative")


class Wide(msgspec.Struct, rename="camel", kw_only=True):
    small_number: Annotated[int, msgspec.Meta(le=9)] = 0
    one_of: Literal["a", "b"] = "a"
    either_one: Tagged | Other | None = None
    some_picky: list[Picky] = []
    as_set: set[int] = set()
    by_name: dict[str, Picky] = {}
    pair_of: tuple[int, str] | None = None
    must_be: int | None


def test_any_type_that_msgspec_decodes_is_mended() -> None:
    fits = {
        "mustBe": 1, "smallNumber": 3, "oneOf": "b", "eitherOne": {"type": "Other", "y": 2}, "somePicky": [{"n": 1}],
        "asSet": [1, 2], "byName": {"a": {"n": 1}}, "pairOf": [1, "x"],
    }  # fmt: skip
    dispatch = dispatch_of("ODD", fits)
    assert read(Wide, fits) == dispatch.decode(Wide)
    odd = {
        "mustBe": [], "smallNumber": 30, "oneOf": "c", "eitherOne": {"type": "None"},
        "somePicky": [{"n": -1}, {"n": 1}],
        "asSet": [1, "x"], "byName": {"a": {"n": -1}, "b": {"n": 1}}, "pairOf": [1],
    }  # fmt: skip
    dispatch = dispatch_of("ODD", odd)
    assert dispatch.decode(Wide) == Wide(must_be=None, some_picky=[Picky(1)], as_set={1}, by_name={"b": Picky(1)})
    assert dispatch.mended == (
        "mustBe", "smallNumber", "oneOf", "eitherOne", "somePicky[0]", "asSet[1]", "byName.a", "pairOf",
    )  # fmt: skip
    assert dispatch_of("ODD", ["x", 1]).decode(list[int]) == [1]


def test_a_null_that_the_class_of_a_user_allows_stays() -> None:
    class Own(Event, event="MESSAGE_CREATE"):
        pinned: bool | None = False
        tts: bool = True
        nonce: str | UnsetType = UNSET

    dispatch = dispatch_of("MESSAGE_CREATE", {"pinned": None, "tts": None, "nonce": None})
    assert dispatch.decode(Own) == Own(pinned=None, tts=True, nonce=None)  # type: ignore[arg-type]
    assert dispatch.mended == ("tts",)


# Over the wire.


@pytest.mark.asyncio
@pytest.mark.parametrize("mending", [True, False])
async def test_listeners_get_the_event_and_it_is_counted_once(
    propylon_simulator: Callable[..., Simulator], mending: bool
) -> None:
    simulator = propylon_simulator(guilds=0)
    gateway = make_gateway(simulator, misfits="mend" if mending else "error")
    kept = gateway._life._misfits
    full: list[Any] = []
    narrow: list[Any] = []
    held: list[Dispatch[Any]] = []
    errors: list[Exception] = []
    gateway.listen(MessageCreate)(full.append)
    gateway.listen(Narrow)(narrow.append)
    gateway.listen(Dispatch[MessageCreate])(held.append)
    gateway.on_error(errors.append)
    async with gateway:
        simulator.dispatch("MESSAGE_CREATE", {**MESSAGE, "pinned": None, "embeds": [{"title": "kept", "color": "red"}]})
        simulator.dispatch("MESSAGE_CREATE", {**MESSAGE, "content": "fits"})
        await eventually(lambda: len(held) == 2)
    odd, fits = held
    assert fits.mended == ()
    assert full[-1].content == narrow[-1].content == "fits"
    if mending:
        assert [event.embeds[0].title for event in (full[0], odd.data)] == ["kept", "kept"]
        assert narrow[0] == Narrow(content="x")
        assert set(odd.mended) == {"pinned", "embeds[0].color"}
        assert kept.mended == 1
        assert errors == []
        assert gateway.metrics().undecodable == 0
    else:
        assert (len(full), len(narrow)) == (1, 1)
        assert len(errors) == 2
        assert all("MESSAGE_CREATE: Expected `bool`, got `null` - at `$.pinned`" in str(error) for error in errors)
        assert isinstance(odd.model_error, ModelError)
        assert odd.mended == ()
        assert kept.mended == 0
        assert gateway.metrics().undecodable == 1


@pytest.mark.asyncio
async def test_without_mending_it_is_as_if_nothing_mended(propylon_simulator: Callable[..., Simulator]) -> None:
    simulator = propylon_simulator(guilds=0)
    gateway = make_gateway(simulator, misfits="error")
    kept = gateway._life._misfits
    held: list[Dispatch[Any]] = []
    gateway.listen(Dispatch)(held.append)
    payloads = [
        json.dumps(
            {**presence(application_id="4f1c-0a7e", timestamps={"start": "soon"}), "client_status": None}
        ).encode(),
        b"null",
        HALF,
        json.dumps({"guild_id": "2", "user": USER, "flags": None}).encode(),
    ]
    names = ["PRESENCE_UPDATE", "RESUMED", "MESSAGE_CREATE", "GUILD_MEMBER_UPDATE"]
    async with gateway:
        for name, payload in zip(names, payloads, strict=True):
            simulator.dispatch(name, payload)
        await eventually(lambda: len(held) == 5)
    of_presence, resumed, half, member = held[1:]
    # What is not checked costs no event in either mode, and says what it is.
    assert of_presence.data.activities[0].timestamps.start == "soon"
    assert kept.mended == 1
    for dispatch, why in ((resumed, "null"), (half, "half of a surrogate pair"), (member, r"\$\.flags")):
        with pytest.raises(ModelError, match=why):
            _ = dispatch.data
    with pytest.raises(ModelError, match="half of a surrogate pair"):
        half.json()
    assert kept.mended == 1


@pytest.mark.asyncio
async def test_what_one_gateway_wants_is_forgotten_with_it(propylon_simulator: Callable[..., Simulator]) -> None:
    gateway = make_gateway(propylon_simulator(guilds=0))
    key = gateway._life.shard.key
    assert _decoding._by_shard[key] is gateway._life._misfits
    del gateway
    gc.collect()
    assert key not in _decoding._by_shard
