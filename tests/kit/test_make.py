"""`make` and `make_event`: payloads from the classes, for every event and model and for classes of users."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from models.payloads import of_type
from propylon import Dispatch, Snowflake, events, models
from propylon.events import (
    EVENTS,
    ChannelInfo,
    Event,
    GuildAvailable,
    GuildJoined,
    GuildRemoved,
    GuildUnavailable,
    MessageCreate,
    MessageDeleteBulk,
    MessageUpdate,
    Ready,
    ShardClosed,
    TypingStart,
    VoiceServerUpdate,
)
from propylon.models import NO_ID, UNSET, User, UserMention
from propylon.testing import make, make_event

CLASSES = {
    f"{package.__name__.rpartition('.')[2]}.{name}": kind
    for package in (events, models)
    for name in package.__all__
    if isinstance(kind := getattr(package, name), type) and issubclass(kind, msgspec.Struct)
}
EACH = pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
QUICK = settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def test_every_class_is_tried() -> None:
    assert {*EVENTS.values()} <= {*CLASSES.values()}
    assert len(EVENTS) == 79
    assert len(CLASSES) > 180


@EACH
def test_a_class_decodes_what_is_made_of_it_and_nothing_is_mended(kind: type[msgspec.Struct]) -> None:
    payload = make(kind)
    assert json.loads(json.dumps(payload)) == payload
    dispatch = Dispatch(getattr(kind, "__event_name__", "") or "TEST", json.dumps(payload).encode())
    assert dispatch.decode(kind) == make_event(kind)
    assert dispatch.mended == ()
    assert make(kind) == payload


@pytest.mark.parametrize("kind", EVENTS.values(), ids=EVENTS)
def test_the_event_of_its_name_has_it_as_data(kind: type[Event]) -> None:
    dispatch = Dispatch(kind.__event_name__, json.dumps(make(kind)).encode())
    assert type(dispatch.data) is kind
    assert dispatch.mended == ()


@EACH
def test_what_a_class_may_lack_is_left_out(kind: type[msgspec.Struct]) -> None:
    payload = make(kind)
    for field in msgspec.structs.fields(kind):
        # What a class such as GuildUnavailable stands for is said by this field.
        if field.name != "unavailable":
            assert (field.encode_name in payload) == (field.default is not UNSET), field.name


def test_an_id_that_discord_always_sends_is_there() -> None:
    """Its default is for servers that leave it out."""
    deleted = make_event(MessageDeleteBulk)
    assert deleted.guild_id != NO_ID
    assert deleted.guild_id != deleted.channel_id


@EACH
@QUICK
@given(data=st.data())
def test_any_field_holds_any_value_of_its_type(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        value = data.draw(of_type(field.type, 2), label=field.name)
        made = make_event(kind, **{field.name: value})
        alone = msgspec.json.encode({**make(kind), field.encode_name: value})
        assert made == msgspec.json.Decoder(kind, strict=False).decode(alone)


def test_fields_within_fields_are_given_with_two_underscores() -> None:
    payload = make(MessageCreate, content="!ping", author__id=7, author__primary_guild__tag="ABC", member__nick="Ada")
    assert payload["content"] == "!ping"
    assert payload["author"]["id"] == "7"
    assert payload["author"]["discriminator"] == "0"
    assert payload["author"]["primary_guild"]["tag"] == "ABC"
    assert payload["member"]["nick"] == "Ada"
    message = make_event(MessageCreate, author__id=7, author__username="ada")
    assert (message.author.id, message.author.username) == (7, "ada")


def test_fields_within_an_object_that_is_given_too_change_it_alone() -> None:
    author = make(User, id=7, username="ada", global_name="Ada")
    payload = make(MessageCreate, author=author, author__username="bob", author__avatar=UNSET)
    assert payload["author"] == {"id": "7", "username": "bob", "global_name": "Ada", "discriminator": "0"}
    assert (author["username"], author["avatar"]) == ("ada", None)


def test_ids_are_strings_wherever_they_stand() -> None:
    mention = make_event(UserMention, id=9)
    payload = make(MessageCreate, id=1, guild_id=2, mention_roles=[3, "4"], mentions=[mention, make(UserMention, id=8)])
    assert (payload["id"], payload["guild_id"], payload["mention_roles"]) == ("1", "2", ["3", "4"])
    assert [each["id"] for each in payload["mentions"]] == ["9", "8"]
    owners = make(models.InteractionMetadata, authorizing_integration_owners={0: 5})["authorizing_integration_owners"]
    assert owners == {"0": "5"}
    assert make(models.ResolvedData, users={7: make_event(User, id=7)})["users"]["7"]["id"] == "7"


def test_ids_of_different_fields_differ_and_have_the_time_of_everything_else() -> None:
    message = make_event(MessageCreate)
    assert len({message.id, message.channel_id, message.author.id}) == 3
    assert message.created_at == message.author.created_at == message.timestamp == datetime(2026, 1, 1, tzinfo=UTC)
    assert make_event(TypingStart).started_at == message.timestamp


def test_a_payload_is_the_callers_own() -> None:
    make(MessageCreate)["mentions"].append(1)
    make(MessageCreate)["author"]["id"] = "x"
    assert make(MessageCreate)["mentions"] == []
    assert make(MessageCreate)["author"]["id"] != "x"


def test_values_may_be_objects_datetimes_and_enums() -> None:
    at = datetime(2024, 5, 6, 7, 8, 9, 123000, tzinfo=UTC)
    message = make_event(MessageCreate, timestamp=at, type=models.MessageType.REPLY, author=make_event(User, id=7))
    assert (message.timestamp, message.type, message.author.id) == (at, models.MessageType.REPLY, 7)


def test_unset_leaves_a_field_out() -> None:
    assert "content" not in make(MessageCreate, content=UNSET)
    assert make_event(MessageUpdate, content=UNSET).content is UNSET
    with pytest.raises(ValueError, match=r"MessageCreate: Object missing required field `author`"):
        make(MessageCreate, author=UNSET)


def test_what_stands_for_an_object_that_was_left_out_is_the_object() -> None:
    ready = make(Ready, user__username="bot")
    assert ready["user"]["username"] == "bot"
    assert int(ready["user"]["id"]) > 0
    assert int(ready["application"]["id"]) > 0


def test_the_meanings_of_guild_events() -> None:
    assert make(GuildAvailable)["unavailable"] is False
    assert make(GuildUnavailable)["unavailable"] is True
    assert "unavailable" not in make(GuildJoined) | make(GuildRemoved)


def test_a_single_shard_is_shard_0() -> None:
    closed = make_event(ShardClosed)
    assert (closed.shard_id, closed.shard_count, closed.code) == (0, 1, None)


class Kind(IntEnum):
    A = 3


class Narrow(Event, event="MESSAGE_CREATE"):
    """What a user's narrow class may hold."""

    content: str
    author: dict[str, Any]
    channel_id: Snowflake
    guild_id: Snowflake | None
    type: Kind | None
    flags: Kind
    mentions: "list[Author]"
    nonce: Literal["x", "y"]
    pair: tuple[Snowflake, bool] = msgspec.field(name="tts")
    pinned: Annotated[float, msgspec.Meta(ge=0)]
    embeds: frozenset[str]
    member: Mapping[str, int]
    edited_timestamp: Any


class Author(msgspec.Struct, rename="camel"):
    user_name: str
    of_all: Snowflake = Snowflake(3)


def test_narrow_classes_and_plain_structs() -> None:
    payload = make(Narrow, mentions=[make(Author, user_name="ada")], pair=(4, True))
    assert int(payload.pop("channel_id")) > 0
    assert payload == {
        "content": "content",
        "author": {},
        "guild_id": None,
        "type": None,
        "flags": 3,
        "mentions": [{"userName": "ada", "ofAll": "3"}],
        "nonce": "x",
        "tts": ["4", True],
        "pinned": 1.0,
        "embeds": [],
        "member": {},
        "edited_timestamp": None,
    }
    narrow = make_event(Narrow, mentions=[Author(user_name="bob", of_all=Snowflake(5))])
    assert narrow.mentions == [Author(user_name="bob", of_all=Snowflake(5))]


class Odd(msgspec.Struct):
    path: bytes
    inner: int = 0


def test_a_type_that_nothing_is_known_of_has_to_be_given() -> None:
    with pytest.raises(TypeError, match=r"no value of the type of 'path', <class 'bytes'>: give it one"):
        make(Odd)
    assert make_event(Odd, path=b"abc").path == b"abc"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"contnt": "x"}, "MessageCreate has no field 'contnt'; did you mean 'content'?"),
        ({"author__usrname": "x"}, "User has no field 'usrname'; did you mean 'author__username'?"),
        ({"autor__username": "x"}, "MessageCreate has no field 'autor'; did you mean 'author'?"),
        ({"content__size": 1}, "'content' holds no object: there is no field 'size' in it"),
        ({"author__": 1}, "MessageCreate has no field 'author__'; did you mean 'author'?"),
        ({"content": object()}, "'content': Encoding objects of type object is unsupported"),
    ],
)
def test_a_wrong_name_is_told_with_the_one_that_was_meant(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError) as caught:
        make(MessageCreate, **fields)
    assert str(caught.value) == text


def test_a_name_unlike_all_others_is_told_with_what_there_is() -> None:
    with pytest.raises(TypeError, match=r"has no field 'zzzz'; it has endpoint, guild_id, token$"):
        make(VoiceServerUpdate, zzzz=1)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"content": 7}, "MessageCreate: Expected `str`, got `int` - at `$.content`"),
        ({"content": None}, "MessageCreate: Expected `str`, got `null` - at `$.content`"),
        ({"id": "seven"}, "MessageCreate: Expected `int`, got `str` - at `$.id`"),
        ({"id": True}, "MessageCreate: Expected `int`, got `bool` - at `$.id`"),
        ({"author__username": 7}, "MessageCreate: Expected `str`, got `int` - at `$.author.username`"),
        ({"mentions": [{"id": []}]}, "MessageCreate: Expected `int`, got `array` - at `$.mentions[0].id`"),
        ({"timestamp": "today"}, "MessageCreate: Invalid RFC3339 encoded datetime - at `$.timestamp`"),
    ],
)
def test_a_wrong_value_is_told_with_its_place(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="MessageCreate") as caught:
        make_event(MessageCreate, **fields)
    assert str(caught.value) == text


@pytest.mark.parametrize("kind", [int, "MESSAGE_CREATE", None, MessageCreate | ChannelInfo, make_event(User)])
def test_it_takes_a_class(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"^make\(\) takes the class of an event or a model"):
        make(kind)
