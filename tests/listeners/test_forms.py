"""The three forms of ``listen``, and what each annotation asks for."""

import asyncio
import functools
import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Optional, Union

import pytest

from propylon import Dispatch, Gateway, Listener, Listeners, listen
from propylon.events import Event, GuildAvailable, GuildCreate, GuildJoined, MessageCreate, MessageUpdate, Ready
from propylon.snowflake import Snowflake

TOKEN = "token"


class Ping(Event, event="MESSAGE_CREATE"):
    content: str
    channel_id: Snowflake


class Tomorrow(Event, event="GUILD_TOMORROW"):
    id: Snowflake


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(TOKEN)


def wants(listener: Listener[..., Any]) -> list[tuple[str, Any]]:
    return [(wanted.event, wanted.kind) for wanted in listener._entry.wanted]


def test_bare_decorator_reads_the_annotation(gateway: Gateway) -> None:
    @gateway.listen
    async def on_message(message: MessageCreate) -> None: ...

    assert wants(on_message) == [("MESSAGE_CREATE", MessageCreate)]


def test_called_without_arguments_it_reads_the_annotation_too(gateway: Gateway) -> None:
    @gateway.listen()
    def on_ready(ready: Ready) -> None: ...

    assert wants(on_ready) == [("READY", Ready)]


def test_the_explicit_form_needs_no_annotation(gateway: Gateway) -> None:
    assert wants(gateway.listen(MessageCreate)(lambda message: None)) == [("MESSAGE_CREATE", MessageCreate)]
    both = gateway.listen(MessageCreate, GuildCreate)(lambda event: None)
    assert wants(both) == [("MESSAGE_CREATE", MessageCreate), ("GUILD_CREATE", GuildCreate)]


def test_the_explicit_form_takes_what_tells_no_signature(gateway: Gateway) -> None:
    with pytest.raises(ValueError, match="no signature found"):
        inspect.signature(max)
    assert wants(gateway.listen(Ready)(max)) == [("READY", Ready)]
    heard: list[Any] = []
    assert wants(gateway.listen(Dispatch)(heard.append)) == [("*", None)]
    assert wants(gateway.listen(Dispatch)(asyncio.Queue().put_nowait)) == [("*", None)]


def test_the_explicit_form_never_looks_at_the_first_annotation(gateway: Gateway) -> None:
    def on(message: "NoSuchName") -> None: ...  # noqa: F821

    assert wants(gateway.listen(Ready)(on)) == [("READY", Ready)]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (MessageCreate, [("MESSAGE_CREATE", MessageCreate)]),
        (MessageCreate | Ready, [("MESSAGE_CREATE", MessageCreate), ("READY", Ready)]),
        (Union[MessageCreate, Ready], [("MESSAGE_CREATE", MessageCreate), ("READY", Ready)]),  # noqa: UP007
        (Annotated[MessageCreate, "note"], [("MESSAGE_CREATE", MessageCreate)]),
        (Ping, [("MESSAGE_CREATE", Ping)]),
        (Tomorrow, [("GUILD_TOMORROW", Tomorrow)]),
        (Dispatch, [("*", None)]),
        (Dispatch[Any], [("*", None)]),
        (Dispatch[MessageCreate], [("MESSAGE_CREATE", None)]),
        (Dispatch[MessageCreate | MessageUpdate], [("MESSAGE_CREATE", None), ("MESSAGE_UPDATE", None)]),
        (Dispatch[Ready] | MessageCreate, [("READY", None), ("MESSAGE_CREATE", MessageCreate)]),
        (Optional[MessageCreate], [("MESSAGE_CREATE", MessageCreate)]),  # noqa: UP045
        (MessageCreate | None | Ready, [("MESSAGE_CREATE", MessageCreate), ("READY", Ready)]),
        (Dispatch[MessageCreate] | None, [("MESSAGE_CREATE", None)]),
    ],
)
def test_an_annotation_says_which_events_and_as_what(gateway: Gateway, annotation: Any, expected: Any) -> None:
    def function(event: Any) -> None: ...

    function.__annotations__["event"] = annotation
    assert wants(gateway.listen(function)) == expected
    assert wants(gateway.listen(annotation)(lambda event: None)) == expected


def test_a_type_alias_stands_for_what_it_names(gateway: Gateway) -> None:
    # The statement `type Chat = …` is no Python 3.11.
    aliases = pytest.importorskip("typing")
    if not hasattr(aliases, "TypeAliasType"):
        pytest.skip("no TypeAliasType before Python 3.12")
    chat = aliases.TypeAliasType("Chat", MessageCreate | MessageUpdate)
    expected = [("MESSAGE_CREATE", MessageCreate), ("MESSAGE_UPDATE", MessageUpdate)]
    assert wants(gateway.listen(chat)(lambda event: None)) == expected


class Robot:
    def method(self, message: MessageCreate) -> str:
        return "method"

    @staticmethod
    def static(message: MessageCreate) -> str:
        return "static"

    @classmethod
    def of_class(cls, message: MessageCreate) -> str:
        return "class"

    def __call__(self, message: MessageCreate) -> str:
        return "call"


class AsyncRobot:
    async def __call__(self, message: MessageCreate) -> str:
        return "async call"


def two(prefix: str, message: MessageCreate, *, suffix: str = "") -> str:
    return prefix + suffix


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (Robot().method, "method"),
        (Robot.static, "static"),
        (Robot.__dict__["static"], "static"),
        (Robot.of_class, "class"),
        (Robot(), "call"),
        (functools.partial(two, "partial"), "partial"),
        (functools.partial(two, "partial", suffix="!"), "partial!"),
        (functools.partial(Robot().method), "method"),
        (logged(Robot.static), "static"),
    ],
    ids=[
        "method",
        "static",
        "staticmethod object",
        "classmethod",
        "object",
        "partial",
        "partial keyword",
        "nested",
        "wraps",
    ],
)
def test_anything_callable_can_listen_and_stays_callable(gateway: Gateway, function: Any, answer: str) -> None:
    listener = gateway.listen(function)
    assert wants(listener) == [("MESSAGE_CREATE", MessageCreate)]
    assert listener(object()) == answer


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_an_async_object_can_listen(gateway: Gateway) -> None:
    listener = gateway.listen(AsyncRobot())
    assert wants(listener) == [("MESSAGE_CREATE", MessageCreate)]
    assert await listener(object()) == "async call"


def test_one_function_can_listen_at_two_gateways(gateway: Gateway) -> None:
    other = Gateway(TOKEN)

    @gateway.listen
    @other.listen
    def on(message: MessageCreate) -> str:
        return "plain"

    assert on(object()) == "plain"
    assert on.__wrapped__.__name__ == "on"
    assert wants(on) == [("MESSAGE_CREATE", MessageCreate)]


def test_a_subclass_of_gateway_is_injected_as_either(gateway: Gateway) -> None:
    class Mine(Gateway):
        pass

    mine = Mine(TOKEN)
    seen: list[Any] = []

    @mine.listen
    def on_first(ready: Ready, gateway: Mine) -> None:
        seen.append(gateway)

    @mine.listen
    def on_second(ready: Ready, gateway: Gateway) -> None:
        seen.append(gateway)

    on_first._entry.call(object())
    on_second._entry.call(object())
    assert seen == [mine, mine]
    with pytest.raises(TypeError, match="nothing can be passed for parameter 'gateway'"):
        gateway.listen(on_first.__wrapped__)


class TestRefused:
    """What cannot work says so where it is written, and how to write it."""

    def refuses(self, gateway: Gateway, function: Any, words: str) -> None:
        with pytest.raises(TypeError, match=words):
            gateway.listen(function)
        assert not gateway._listening.registry.entries

    def test_no_annotation(self, gateway: Gateway) -> None:
        self.refuses(gateway, lambda message: None, r"@gateway\.listen\(MessageCreate\)")

    def test_no_parameter(self, gateway: Gateway) -> None:
        self.refuses(gateway, lambda: None, "first one receives the event")

    def test_keyword_only(self, gateway: Gateway) -> None:
        def on(*, message: MessageCreate) -> None: ...

        self.refuses(gateway, on, "first one receives the event")

    def test_unresolvable(self, gateway: Gateway) -> None:
        def on(message: "NoSuchName") -> None: ...  # noqa: F821

        self.refuses(gateway, on, r"'NoSuchName' .* cannot be resolved .*@gateway\.listen\(MessageCreate\)")

    def test_unresolvable_second(self, gateway: Gateway) -> None:
        def on(message: MessageCreate, gateway: "NoSuchName") -> None: ...  # noqa: F821

        self.refuses(gateway, on, "'NoSuchName' .* cannot be resolved .*TYPE_CHECKING")

    def test_no_event(self, gateway: Gateway) -> None:
        def on(message: int) -> None: ...

        self.refuses(gateway, on, r"is no event.*@gateway\.listen\(MessageCreate\)")

    def test_event_itself(self, gateway: Gateway) -> None:
        def on(message: Event) -> None: ...

        self.refuses(gateway, on, "Event is no event by itself")

    def test_a_second_parameter_that_nothing_fits(self, gateway: Gateway) -> None:
        def on(message: MessageCreate, bot: int) -> None: ...

        self.refuses(gateway, on, "nothing can be passed for parameter 'bot'")

    def test_a_positional_only_injection(self, gateway: Gateway) -> None:
        def on(message: MessageCreate, gateway: Gateway, /) -> None: ...

        self.refuses(gateway, on, "must not be positional-only")

    def test_generators_whose_body_would_never_run(self, gateway: Gateway) -> None:
        def on(message: MessageCreate) -> Any:
            yield

        async def on_async(message: MessageCreate) -> Any:
            yield

        self.refuses(gateway, on, "generator")
        self.refuses(gateway, on_async, "generator")

    def test_a_class_that_json_cannot_tell_apart(self, gateway: Gateway) -> None:
        class Undecodable(Event, event="MESSAGE_CREATE"):
            edited_timestamp: str | datetime | None = None

        def on(message: Undecodable) -> None: ...

        self.refuses(gateway, on, r"on: .*Undecodable cannot be decoded \(.*unions that JSON can tell apart")

    @pytest.mark.parametrize(
        ("form", "words"),
        [
            (Ping | MessageCreate, "Ping takes every MESSAGE_CREATE, so MessageCreate would never come"),
            (Dispatch[MessageCreate] | MessageCreate, "Dispatch takes every MESSAGE_CREATE"),
            (Dispatch | MessageCreate, "Dispatch takes every MESSAGE_CREATE"),
            (GuildCreate | GuildJoined, "GuildCreate takes every GUILD_CREATE, so GuildJoined"),
        ],
    )
    def test_a_class_that_would_never_come(self, gateway: Gateway, form: Any, words: str) -> None:
        with pytest.raises(TypeError, match=words):
            gateway.listen(form)(lambda event: None)
        for fine in (GuildJoined | GuildAvailable, GuildJoined | GuildCreate, MessageCreate | Dispatch):
            gateway.listen(fine)(lambda event: None)

    @pytest.mark.parametrize("nonsense", [None, 5, int | str])
    def test_what_is_neither_function_nor_event(self, gateway: Gateway, nonsense: Any) -> None:
        self.refuses(gateway, nonsense, "no event")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MESSAGE_CREATE", "give MessageCreate: `from propylon.events import MessageCreate`"),
        ("message_create", "give MessageCreate: `from propylon.events import MessageCreate`"),
        ("GUILD_MEMBER_JOIN", "give GuildMember"),
        ("XYZ", r'derive one, class Mine\(Event, event="XYZ"\)'),
    ],
)
def test_the_name_of_an_event_says_which_class_to_import(gateway: Gateway, name: Any, words: str) -> None:
    with pytest.raises(TypeError, match=rf"listen\(\): '{name}' is no event class; {words}"):
        gateway.listen(name)
    with pytest.raises(TypeError, match=rf"stream\(\): '{name}' is no event class; {words}"):
        gateway.stream(name)


def test_listeners_are_listed_in_the_order_of_their_calls(gateway: Gateway) -> None:
    class Group(Listeners):
        @listen(priority=5)
        def method(self, message: MessageCreate) -> None: ...

        @listen
        def other(self, message: MessageCreate) -> None: ...

    assert gateway.listeners == ()
    first = gateway.listen(MessageCreate)(lambda message: None)
    urgent = gateway.listen(Ready, priority=10)(lambda ready: None)
    group = gateway.add(Group())
    log = gateway.log_payloads(MessageCreate)
    of_group = [listener for listener in gateway.listeners if listener.__wrapped__ in (group.method, group.other)]
    assert [listener.__wrapped__ for listener in of_group] == [group.method, group.other]
    assert gateway.listeners == (urgent, of_group[0], first, of_group[1], log)
    assert all(isinstance(listener, Listener) for listener in gateway.listeners)
    of_group[0].remove()
    first.remove()
    assert gateway.listeners == (urgent, of_group[1], log)
    group.remove()
    assert gateway.listeners == (urgent, log)
    # What fails to be added is not there.
    with pytest.raises(TypeError):
        gateway.listen(MessageCreate | Dispatch[MessageCreate] | Ping)(lambda event: None)
    assert gateway.listeners == (urgent, log)


def test_a_default_needs_nothing_passed(gateway: Gateway) -> None:
    @gateway.listen
    def on(message: MessageCreate, limit: int = 3, *args: object, **rest: object) -> int:
        return limit

    assert on._entry.call(object()) == 3


def test_repr_and_name_tell_function_and_events(gateway: Gateway) -> None:
    @gateway.listen
    def on(event: Ready | MessageCreate) -> None: ...

    assert on.name.endswith(".on")
    assert repr(on).endswith("on of READY, MESSAGE_CREATE>")
