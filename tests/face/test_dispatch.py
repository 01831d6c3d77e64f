"""`Dispatch`: the holder of one event."""

import gc
import pickle
import time
import weakref
from datetime import UTC, datetime, timedelta, timezone
from types import GenericAlias
from typing import Any

import msgspec
import orjson
import pytest

from face.support import message
from propylon import Dispatch, ModelError
from propylon.events import MessageCreate

RAW = orjson.dumps(message("hello", unknown=[1]))


@pytest.fixture
def dispatch() -> Dispatch[MessageCreate]:
    return Dispatch("MESSAGE_CREATE", RAW, shard_id=3, sequence=9, received_at=time.monotonic())


def test_it_tells_what_came_with_the_event(dispatch: Dispatch[MessageCreate]) -> None:
    assert (dispatch.type, dispatch.shard_id, dispatch.sequence) == ("MESSAGE_CREATE", 3, 9)
    assert dispatch.received_at == pytest.approx(time.monotonic(), abs=10)
    assert dispatch.raw == RAW
    assert len(dispatch) == len(RAW)
    assert repr(dispatch) == f"<Dispatch MESSAGE_CREATE shard_id=3 sequence=9 bytes={len(RAW)}>"


def test_it_tells_when_it_was_received_by_the_wall_clock(dispatch: Dispatch[MessageCreate]) -> None:
    earlier: Dispatch[Any] = Dispatch("READY", b"{}", received_at=time.monotonic() - 100)
    now = datetime.now(UTC)
    assert abs(now - dispatch.received_time) < timedelta(seconds=10)
    assert abs(now - timedelta(seconds=100) - earlier.received_time) < timedelta(seconds=10)
    assert dispatch.received_time.tzinfo is UTC
    # Worked out once, and kept by a pickle, which another machine may read.
    assert dispatch.received_time == dispatch.received_time == pickle.loads(pickle.dumps(dispatch)).received_time
    then = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=2)))
    assert Dispatch("READY", b"{}", received_time=then).received_time == then
    with pytest.raises(ValueError, match="no time zone"):
        Dispatch("READY", b"{}", received_time=datetime(2026, 1, 2))
    with pytest.raises(TypeError, match="takes a datetime"):
        Dispatch("READY", b"{}", received_time="now")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_data_is_decoded_once_and_shared(dispatch: Dispatch[MessageCreate]) -> None:
    assert isinstance(dispatch.data, MessageCreate)
    assert dispatch.data is dispatch.data
    assert dispatch.model_error is None


def test_other_readings(dispatch: Dispatch[MessageCreate]) -> None:
    class Author(msgspec.Struct):
        id: int
        username: str

    class Own(msgspec.Struct):
        author: Author

    assert dispatch.json() == orjson.loads(RAW)
    assert dispatch.decode(Own) == Own(Author(7, "ada"))
    assert dispatch.decode(dict[str, Any])["content"] == "hello"
    with pytest.raises(ModelError) as raised:
        dispatch.decode(list[int])
    assert raised.value.dispatch is dispatch
    with pytest.raises(TypeError):
        dispatch.decode(type("Opaque", (), {"__annotations__": {}, "__slots__": ()}) | int | str | Author | Own)  # type: ignore[arg-type, operator]


def test_it_is_a_read_only_buffer(dispatch: Dispatch[MessageCreate]) -> None:
    view = memoryview(dispatch)
    assert view.readonly
    assert view == RAW
    assert bytes(dispatch) == RAW
    del dispatch
    gc.collect()
    assert view.tobytes() == RAW  # the view keeps the bytes


def test_it_pickles(dispatch: Dispatch[MessageCreate]) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(dispatch, protocol))
        assert (copy.type, copy.raw, copy.shard_id, copy.sequence) == ("MESSAGE_CREATE", RAW, 3, 9)
        assert copy.received_at == pytest.approx(dispatch.received_at)
        assert copy.data == dispatch.data
    assert pickle.loads(pickle.dumps(Dispatch("NEW_ONE", b"1"))).type == "NEW_ONE"


def test_it_is_frozen_and_generic(dispatch: Dispatch[MessageCreate]) -> None:
    with pytest.raises(AttributeError):
        dispatch.type = "READY"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        dispatch.note = 1  # type: ignore[attr-defined]
    assert isinstance(Dispatch[MessageCreate], GenericAlias)
    assert Dispatch.__module__ == "propylon"
    assert bool(Dispatch("READY", b""))


def test_an_event_without_class_is_plain_json() -> None:
    assert Dispatch("GUILD_TOMORROW", b'{"id":"5"}').data == {"id": "5"}


@pytest.mark.parametrize("raw", [b"", b"nonsense", b'{"content":"\\ud800"', b'{"content":"\xff"}', b"[" * 100_000])
def test_what_cannot_be_decoded_raises_every_time_and_stays_readable(raw: bytes) -> None:
    dispatch: Dispatch[Any] = Dispatch("MESSAGE_CREATE", raw, sequence=2)
    for _ in range(3):
        with pytest.raises(ModelError, match=r"MESSAGE_CREATE: ."):
            _ = dispatch.data
    assert dispatch.raw == raw
    assert isinstance(dispatch.model_error, ModelError)
    with pytest.raises(ModelError):
        dispatch.json()
    with pytest.raises(ModelError):
        dispatch.decode(dict[str, Any])


def test_a_kept_error_keeps_nothing_else_alive() -> None:
    class Witness:
        pass

    dispatch: Dispatch[Any] = Dispatch("MESSAGE_CREATE", b"{}")

    def touch() -> "weakref.ref[Witness]":
        witness = Witness()
        with pytest.raises(ModelError):
            _ = dispatch.data
        return weakref.ref(witness)

    witness = touch()
    gc.collect()
    # A traceback in the error that the dispatch keeps would hold the frame, and no collector sees through a dispatch.
    assert isinstance(dispatch.model_error, ModelError)
    assert witness() is None
