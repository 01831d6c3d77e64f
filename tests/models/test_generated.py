"""Every event class against payloads that hypothesis makes from the class itself (protocol.md §15)."""

import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propylon.events import EVENTS
from propylon.events._event import Event
from propylon.models import UNSET

from .payloads import ANY_JSON, of_class

CLASSES = pytest.mark.parametrize("cls", EVENTS.values(), ids=EVENTS)
QUICK = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@CLASSES
@QUICK
@given(data=st.data())
def test_what_fits_decodes_encodes_pickles_and_shows(cls: type[Event], data: st.DataObject) -> None:
    decoder = msgspec.json.Decoder(cls, strict=False)
    payload = data.draw(of_class(cls))
    event = decoder.decode(msgspec.json.encode(payload))
    assert decoder.decode(msgspec.json.encode(event)) == event
    assert pickle.loads(pickle.dumps(event)) == event
    assert repr(event).startswith(cls.__name__)


@CLASSES
@QUICK
@given(data=st.data())
def test_what_does_not_fit_is_a_validation_error_and_nothing_else(cls: type[Event], data: st.DataObject) -> None:
    payload: dict[str, Any] = data.draw(of_class(cls, depth=2))
    for name in data.draw(st.lists(st.sampled_from([*cls.__struct_encode_fields__, "other"]), max_size=3)):
        payload[name] = data.draw(ANY_JSON)
    decoder = msgspec.json.Decoder(cls, strict=False)
    try:
        event = decoder.decode(msgspec.json.encode(payload))
    except msgspec.ValidationError:
        return
    assert decoder.decode(msgspec.json.encode(event)) == event


@CLASSES
@settings(QUICK, max_examples=1)
@given(data=st.data())
def test_an_undocumented_null_costs_no_event(cls: type[Event], data: st.DataObject) -> None:
    payload = data.draw(of_class(cls, depth=0))
    absent = [field for field in msgspec.structs.fields(cls) if field.default is UNSET]
    payload |= {field.encode_name: None for field in absent}
    event = msgspec.json.Decoder(cls, strict=False).decode(msgspec.json.encode(payload))
    assert all(getattr(event, field.name) is None for field in absent)


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"7", b'"x"', b"{", b'{"id":', b"\xff", b'{"id":"\\ud800"}'])
@CLASSES
def test_what_is_no_object_is_a_msgspec_error(cls: type[Event], raw: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        msgspec.json.Decoder(cls, strict=False).decode(raw)
