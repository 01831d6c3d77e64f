"""Enums that keep what they do not know (protocol.md §15)."""

import copy
import pickle
import time

import msgspec
import pytest

from propylon.models import ChannelType, EmbedType, MessageType, ReceivedOnlineStatus


def test_an_unknown_number_is_kept() -> None:
    kind = msgspec.json.decode(b"99", type=MessageType)
    assert kind == 99
    assert kind == MessageType(99)
    assert isinstance(kind, MessageType)
    assert kind.name == "UNKNOWN_99"
    assert not kind.is_known
    assert msgspec.json.encode(kind) == b"99"
    assert pickle.loads(pickle.dumps(kind)) == copy.deepcopy(kind) == kind
    assert {kind: 1}[MessageType(99)] == 1
    assert repr(kind) == "<MessageType.UNKNOWN_99: 99>"


def test_an_unknown_string_is_kept() -> None:
    status = msgspec.json.decode(b'"away"', type=ReceivedOnlineStatus)
    assert status == "away"
    assert f"{status}" == "away"
    assert not status.is_known
    assert msgspec.json.encode(status) == b'"away"'
    assert pickle.loads(pickle.dumps(status)) == status


def test_known_values_are_the_members() -> None:
    assert msgspec.json.decode(b"19", type=MessageType) is MessageType.REPLY
    assert msgspec.json.decode(b'"rich"', type=EmbedType) is EmbedType.RICH
    assert MessageType.REPLY.is_known
    assert ReceivedOnlineStatus.DND.is_known


def test_unknown_values_leave_nothing_behind() -> None:
    before = len(ChannelType)
    for value in range(1000, 3000):
        msgspec.json.decode(str(value).encode(), type=ChannelType)
    assert len(ChannelType) == before
    assert len(ChannelType._value2member_map_) == before


def test_another_type_is_still_an_error() -> None:
    for raw in (b"null", b"1.5", b"[]", b'"x"'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(raw, type=ChannelType, strict=False)
    with pytest.raises(ValueError, match="is not a valid"):
        ChannelType("text")
    with pytest.raises(ValueError, match="is not a valid"):
        ReceivedOnlineStatus(7)


def test_a_flood_of_unknown_values_is_no_trap() -> None:
    raw = b"[" + b",".join(str(value).encode() for value in range(100, 20_100)) + b"]"
    began = time.process_time()
    assert len(msgspec.json.decode(raw, type=list[ChannelType])) == 20_000
    assert time.process_time() - began < 2
