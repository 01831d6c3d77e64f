"""Payloads that do not fit: to holders and on_error, never to typed listeners; counted, the sequence kept (F35)."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import pytest

from face.support import message
from listeners.conftest import Stage
from propylon import Dispatch, Gateway, GatewayStatus, ModelError
from propylon.events import Event, MessageCreate
from propylon.events._decoding import decoder_for
from propylon.models import UNSET, UnsetType
from propylon.snowflake import Snowflake
from propylon.testing import Simulator

pytestmark = pytest.mark.asyncio


class Ping(Event, event="MESSAGE_CREATE"):
    content: str
    channel_id: Snowflake


class Lenient(Event, event="MESSAGE_CREATE"):
    id: Snowflake | UnsetType = UNSET


MISFITS = {
    "wrong type": b'{"id":"1","content":[]}',
    "missing fields": b'{"id":"1"}',
    "null": b"null",
    "an array": b"[]",
    "a bad date": b'{"id":"1","content":"","channel_id":"2","timestamp":"yesterday"}',
    "no number": b'{"id":"x","content":"","channel_id":"y"}',
    "deep": b'{"id":"1","content":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "lone surrogate": b'{"id":"1","content":"\\ud800","channel_id":"2"}',
}


@pytest.mark.parametrize("raw", MISFITS.values(), ids=MISFITS)
async def test_a_misfit_reaches_holders_and_on_error_alone(stage: Stage, gateway: Gateway, raw: bytes) -> None:
    typed: list[Any] = []
    held: list[Any] = []
    reported: list[Any] = []

    @gateway.listen
    def on_typed(event: MessageCreate) -> None:
        typed.append(event)

    @gateway.listen
    async def on_held(dispatch: Dispatch[MessageCreate], gateway: Gateway) -> None:
        held.append(dispatch)

    @gateway.on_error
    def on_error(error: Exception, dispatch: Dispatch) -> None:
        reported.append((error, dispatch))

    await stage.open()
    await stage.say("MESSAGE_CREATE", raw, message("fits"))
    assert [event.content for event in typed] == ["fits"]
    assert [dispatch.raw == raw for dispatch in held] == [True, False]
    ((error, dispatch),) = reported
    assert isinstance(error, ModelError)
    assert error.dispatch is dispatch is held[0]
    assert str(error).startswith("MESSAGE_CREATE: ")
    for _ in range(2):
        with pytest.raises(ModelError) as raised:
            _ = dispatch.data
        assert str(raised.value) == str(error)
    assert isinstance(dispatch.model_error, ModelError)
    assert held[1].model_error is None
    metrics = gateway.metrics()
    assert metrics.undecodable == 1
    assert metrics.listener_errors == 0
    assert gateway.session is not None
    assert gateway.session.sequence == (held[1].sequence or 0) + 1  # the mark
    assert held[1].sequence == held[0].sequence + 1
    assert gateway.status is GatewayStatus.READY


async def test_it_is_counted_once_and_each_class_that_it_does_not_fit_is_reported_once(
    stage: Stage, gateway: Gateway
) -> None:
    heard: list[str] = []
    reported: list[str] = []
    for kind in (MessageCreate, Ping, MessageCreate, Ping, Ping, Lenient):
        gateway.listen(kind)(lambda event: heard.append(type(event).__name__))
    gateway.on_error(lambda error: reported.append(str(error)))
    await stage.open()
    await stage.say("MESSAGE_CREATE", {"id": "1"}, {"id": "2"})
    assert heard == ["Lenient", "Lenient"]
    assert gateway.metrics().undecodable == 2
    assert len(reported) == 4


async def test_one_class_may_fit_where_another_does_not(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []
    gateway.listen(MessageCreate)(lambda event: heard.append("full"))
    gateway.listen(Ping)(lambda event: heard.append("narrow"))
    gateway.on_error(lambda error: heard.append("error"))
    await stage.open()
    await stage.say("MESSAGE_CREATE", {"content": "", "channel_id": "1"})
    assert heard == ["error", "narrow"]


async def test_without_on_error_it_is_logged_without_the_payload(
    stage: Stage, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.listen(Ping)(lambda ping: None)
    await stage.open()
    await stage.say("MESSAGE_CREATE", {"content": 5, "channel_id": "1", "token": "hush"})
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "MESSAGE_CREATE" in record.getMessage()
    assert "content" in record.getMessage()
    assert "hush" not in caplog.text


async def test_a_class_that_misfits_again_and_again_is_logged_once_with_class_and_listener(
    stage: Stage, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    def on_ping(ping: Ping) -> None: ...

    def on_ping_too(ping: Ping) -> None: ...

    def on_full(message: MessageCreate) -> None: ...

    for function in (on_ping, on_ping_too, on_full):
        gateway.listen(function)
    await stage.open()
    await stage.say("MESSAGE_CREATE", *[{"id": "1"}] * 50)
    assert gateway.metrics().undecodable == 50
    narrow, full = (record.getMessage() for record in caplog.records)
    assert "(class Ping of listener " in narrow
    assert ".on_ping, " in narrow
    assert ".on_ping_too)" in narrow
    assert "counted in metrics().undecodable" in narrow
    assert "(class MessageCreate of listener " in full


async def test_an_unknown_event_of_any_shape_is_no_error(stage: Stage, gateway: Gateway) -> None:
    held: list[Any] = []
    gateway.listen(Dispatch)(held.append)
    await stage.open()
    await stage.say("GUILD_TOMORROW", [1, {"new": None}], {"a": 1})
    of_tomorrow = [dispatch for dispatch in held if dispatch.type == "GUILD_TOMORROW"]
    assert [dispatch.data for dispatch in of_tomorrow] == [[1, {"new": None}], {"a": 1}]
    assert [dispatch.model_error for dispatch in of_tomorrow] == [None, None]
    assert gateway.metrics().undecodable == 0


async def test_the_error_says_what_to_do() -> None:
    for name, raw in MISFITS.items():
        if name == "lone surrogate":
            # A narrow class that has all it needs is not lost for it.
            assert Dispatch("MESSAGE_CREATE", raw).decode(Ping).content == "\ufffd"
            continue
        with pytest.raises(ModelError, match=r"`\.raw` of its Dispatch has the bytes; a narrow class") as raised:
            Dispatch("MESSAGE_CREATE", raw).decode(Ping if name != "a bad date" else MessageCreate)
        assert "truncated" not in str(raised.value)
    with pytest.raises(ModelError, match="missing required field `channel_id`"):
        Dispatch("MESSAGE_CREATE", b'{"content":"\\ud800"}').decode(Ping)


async def test_a_class_that_stops_being_decodable_costs_the_others_nothing(
    stage: Stage, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(kind: Any, mending: bool = True) -> Any:
        if kind is Lenient:
            raise NameError("no such name")
        return decoder_for(kind, mending=mending)

    heard: list[Any] = []
    errors: list[Exception] = []
    gateway.listen(Lenient)(heard.append)
    gateway.listen(Ping)(heard.append)
    gateway.on_error(errors.append)
    monkeypatch.setattr("propylon._delivery.plans.decoder_for", failing)
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("1"), message("2"))
    assert [type(event) for event in heard] == [Ping, Ping]
    assert [type(error) for error in errors] == [ModelError, ModelError]
    assert "Lenient cannot be decoded (no such name)" in str(errors[0])
    assert gateway.metrics().undecodable == 2


@pytest.mark.parametrize("misfits", ["mend", "error"])
async def test_what_does_not_fit_costs_itself_or_where_that_is_wanted_the_event(
    propylon_simulator: Callable[..., Simulator], misfits: Literal["mend", "error"]
) -> None:
    """Counted once for each event, however many classes it is decoded into, between others or not."""
    stage = Stage(propylon_simulator(guilds=0), misfits=misfits)
    gateway = stage.gateway
    heard: list[Any] = []
    errors: list[Exception] = []
    paths: list[tuple[str, ...]] = []
    gateway.on_error(errors.append)

    class Dated(Event, event="MESSAGE_CREATE"):
        content: str
        edited_timestamp: datetime | None = None

    class Content(Event, event="MESSAGE_CREATE"):
        content: str

    gateway.listen(Dated)(heard.append)
    gateway.listen(Content)(heard.append)
    gateway.listen(Dated, priority=-1)(heard.append)

    @gateway.listen(priority=-2)
    def last(dispatch: Dispatch[MessageCreate]) -> None:
        paths.append(dispatch.mended)

    await stage.open()
    await stage.say("MESSAGE_CREATE", message("odd", edited_timestamp="yesterday"), message("even"))
    assert heard[-3:] == [Dated(content="even"), Content(content="even"), Dated(content="even")]
    metrics = gateway.metrics()
    if misfits == "mend":
        assert heard[:-3] == [Dated(content="odd"), Content(content="odd"), Dated(content="odd")]
        assert paths == [("edited_timestamp",), ()]
        assert (metrics.mended, metrics.undecodable, errors) == (1, 0, [])
    else:
        assert heard[:-3] == [Content(content="odd")]
        assert paths == [(), ()]
        assert (metrics.mended, metrics.undecodable) == (0, 1)
        assert [type(error) for error in errors] == [ModelError]
    await gateway.close()


async def test_another_word_for_misfits_is_refused() -> None:
    with pytest.raises(ValueError, match='misfits takes "mend" or "error"'):
        Gateway("token", misfits="ignore")  # type: ignore[arg-type]
