"""`Event`: what its metaclass makes of a class, and of a user's own narrow class."""

import pickle
from typing import Any

import msgspec
import pytest

from propylon.events import EVENTS, Event, MessageCreate, Ready, TypingStart
from propylon.models import UNSET, Message, Model, UnsetType
from propylon.snowflake import Snowflake


class Ping(Event, event="MESSAGE_CREATE"):
    content: str
    channel_id: Snowflake
    guild_id: Snowflake | UnsetType = UNSET


def decode(cls: type[Any], raw: bytes) -> Any:
    return msgspec.json.Decoder(cls, strict=False).decode(raw)


def test_a_narrow_class_decodes_only_its_fields() -> None:
    ping = decode(Ping, b'{"id":"1","author":{"id":true},"content":"hi","channel_id":"12"}')
    assert ping == Ping(content="hi", channel_id=Snowflake(12))
    assert ping.guild_id is UNSET


def test_a_narrow_class_knows_its_event_and_intents_and_is_not_registered() -> None:
    assert Ping.__event_name__ == "MESSAGE_CREATE"
    assert Ping.__intents__ == MessageCreate.__intents__ == 1 << 9 | 1 << 12
    assert EVENTS["MESSAGE_CREATE"] is MessageCreate
    assert Ping not in EVENTS.values()


def test_a_subclass_without_event_stands_for_the_event_of_its_base() -> None:
    class Loud(MessageCreate):
        def shout(self) -> str:
            return self.content.upper()

    class Quiet(Ping):
        pass

    assert Loud.__event_name__ == Quiet.__event_name__ == "MESSAGE_CREATE"
    assert Loud.__intents__ == Quiet.__intents__ == MessageCreate.__intents__
    assert issubclass(Loud, Message)


def test_an_unknown_event_is_possible() -> None:
    class Tomorrow(Event, event="GUILD_TOMORROW_2"):
        id: Snowflake

    assert Tomorrow.__event_name__ == "GUILD_TOMORROW_2"
    assert Tomorrow.__intents__ == 0
    assert decode(Tomorrow, b'{"id":"7","new":[1]}') == Tomorrow(id=Snowflake(7))


@pytest.mark.parametrize(
    "name", ["", "message_create", "MessageCreate", "MESSAGE CREATE", "_MESSAGE", "MESSAGE_", 7, b"X"]
)
def test_what_is_no_event_name_is_refused(name: Any) -> None:
    with pytest.raises(TypeError, match=r"is no event name.*MESSAGE_CREATE"):
        type(Event)("Wrong", (Event,), {}, event=name)


def test_a_class_that_names_no_event_is_refused() -> None:
    with pytest.raises(TypeError, match=r'write class Nameless\(Event, event="MESSAGE_CREATE"\)'):

        class Nameless(Event):  # pyright: ignore[reportUnusedClass]
            pass


@pytest.mark.parametrize("option", [{"frozen": False}, {"kw_only": False}, {"gc": True}])
def test_what_the_metaclass_sets_cannot_be_unset(option: dict[str, bool]) -> None:
    with pytest.raises(TypeError, match="is not possible"):
        type(Event)("Wrong", (Event,), {}, event="READY", **option)


def test_classes_of_a_module_with_postponed_annotations_work() -> None:
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(
        "from __future__ import annotations\n"
        "from propylon.events import Event\n"
        "class Late(Event, event='MESSAGE_DELETE'):\n    id: int\n    channel_id: int\n",
        namespace,
    )
    late = decode(namespace["Late"], b'{"channel_id":"2","id":"1"}')
    assert repr(late) == "Late(id=1, channel_id=2)"


def test_options_of_msgspec_work() -> None:
    class Renamed(Event, event="TYPING_START", rename={"channel": "channel_id"}):
        channel: Snowflake

    assert decode(Renamed, b'{"channel_id":"5"}').channel == 5


def test_every_class_is_frozen_keyword_only_and_untracked() -> None:
    for cls in (*EVENTS.values(), Ping, Message):
        assert issubclass(cls, Model)
        assert cls.__struct_config__.frozen
        assert cls.__struct_config__.gc is False
    with pytest.raises(AttributeError):
        Ping(content="", channel_id=Snowflake(1)).content = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Ping("hi", 1)  # type: ignore[call-arg]


def test_required_fields_may_follow_optional_ones_and_order_is_free() -> None:
    assert Ping(channel_id=Snowflake(2), content="x") == Ping(content="x", channel_id=Snowflake(2))
    # Falling order, in which Discord sends them.
    assert Ping.__struct_fields__ == ("guild_id", "content", "channel_id")


def test_the_base_itself_has_no_event() -> None:
    assert Event.__event_name__ == ""
    assert Event.__intents__ == 0


def test_events_is_read_only() -> None:
    with pytest.raises(TypeError):
        EVENTS["READY"] = Ready  # type: ignore[index]


def test_narrow_events_pickle_and_hash() -> None:
    ping = Ping(content="hi", channel_id=Snowflake(1))
    assert pickle.loads(pickle.dumps(ping)) == ping
    assert hash(ping) == hash(Ping(content="hi", channel_id=Snowflake(1)))


def test_repr_leaves_out_what_was_left_out_and_keeps_the_order_of_the_source() -> None:
    assert repr(Ping(content="hi", channel_id=Snowflake(1))) == "Ping(content='hi', channel_id=1)"
    typing = decode(TypingStart, b'{"user_id":"3","timestamp":1700000000,"channel_id":"1"}')
    assert repr(typing) == "TypingStart(channel_id=1, user_id=3, timestamp=1700000000)"
    assert typing.started_at.isoformat() == "2023-11-14T22:13:20+00:00"
