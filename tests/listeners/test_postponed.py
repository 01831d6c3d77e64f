"""The same under ``from __future__ import annotations``: names come from globals, closures and the caller's locals."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from propylon import Dispatch, Gateway, Snowflake, field
from propylon.events import Event, MessageCreate, Ready
from propylon.models import Model

if TYPE_CHECKING:
    from collections.abc import Mapping as Database

    from propylon.events import GuildCreate


class OnlyHere(Event, event="MESSAGE_CREATE"):
    content: str


@pytest.fixture
def gateway() -> Gateway:
    return Gateway("token")


def events(listener: Any) -> list[Any]:
    return [wanted.kind or (wanted.event, None) for wanted in listener._entry.wanted]


def test_globals(gateway: Gateway) -> None:
    @gateway.listen
    async def on(message: MessageCreate | Ready) -> None: ...

    assert events(on) == [MessageCreate, Ready]


def test_quoted_and_postponed(gateway: Gateway) -> None:
    @gateway.listen
    async def on(message: "MessageCreate", dispatch: "Dispatch") -> None: ...  # noqa: UP037

    assert events(on) == [MessageCreate]
    assert on._entry.inject == "dispatch"


def test_holders(gateway: Gateway) -> None:
    @gateway.listen
    def on(dispatch: Dispatch[MessageCreate]) -> None: ...

    assert events(on) == [("MESSAGE_CREATE", None)]


def test_locals_of_the_caller(gateway: Gateway) -> None:
    class Local(Event, event="MESSAGE_CREATE"):
        content: str

    @gateway.listen
    def on(message: Local) -> None: ...

    @gateway.listen()
    def on_called(message: Local) -> None: ...

    assert events(on) == events(on_called) == [Local]


def test_closure(gateway: Gateway) -> None:
    def make() -> Any:
        class Enclosed(Event, event="MESSAGE_CREATE"):
            content: str

        def on(message: Enclosed) -> type[Enclosed]:
            return Enclosed

        return on

    function = make()
    assert events(gateway.listen(function)) == [function(None)]


class Robot:
    def method(self, message: OnlyHere) -> None: ...

    def __call__(self, message: OnlyHere) -> None: ...


def two(prefix: str, message: OnlyHere) -> None: ...


def elsewhere(gateway: Gateway, function: Any) -> Any:
    """Called with globals that know none of the names, as from another module."""
    scope: dict[str, Any] = {"gateway": gateway, "function": function}
    exec("listener = gateway.listen(function)", scope)
    return scope["listener"]


@pytest.mark.parametrize(
    "function",
    [
        Robot().method,
        Robot(),
        functools.partial(two, "x"),
        functools.partial(Robot(), *()),
        functools.partial(Robot().method),
    ],
    ids=["method", "object", "partial", "partial of object", "partial of method"],
)
def test_the_names_are_those_of_the_module_that_defines_it(gateway: Gateway, function: Any) -> None:
    assert events(elsewhere(gateway, function)) == [OnlyHere]


def test_an_import_for_type_checkers_alone_cannot_be_resolved(gateway: Gateway) -> None:
    def on(guild: GuildCreate) -> None: ...

    with pytest.raises(TypeError, match=r"'GuildCreate' .*cannot be resolved.*@gateway\.listen\(MessageCreate\)"):
        gateway.listen(on)


def test_what_receives_nothing_is_not_resolved(gateway: Gateway) -> None:
    """A default, and what a partial has bound, may be annotated for type checkers alone."""

    @gateway.listen
    def on(message: MessageCreate, db: Database[str, str] | None = None) -> object:
        return db

    def on_bound(prefix: Database[str, str], message: MessageCreate, *, db: Database[str, str]) -> object:
        return prefix, db

    bound = gateway.listen(functools.partial(on_bound, {"a": "b"}, db={"c": "d"}))
    assert events(on) == events(bound) == [MessageCreate]
    assert on._entry.call(object()) is None
    assert bound._entry.call(object()) == ({"a": "b"}, {"c": "d"})
    with pytest.raises(TypeError, match=r"'Database\[str, str\]' of parameter 'db' cannot be resolved"):
        gateway.listen(functools.partial(on_bound, {}))
    with pytest.raises(TypeError, match=r"parameter 'db' cannot be resolved"):
        gateway.on_error(functools.partial(on_bound, {}))


def test_what_a_partial_has_bound_is_not_replaced(gateway: Gateway) -> None:
    def on(message: MessageCreate, gateway: Gateway, dispatch: Dispatch | None = None) -> Gateway:
        return gateway

    other = Gateway("other")
    assert gateway.listen(functools.partial(on, gateway=other))._entry.call(object()) is other
    assert gateway.listen(on)._entry.call(object()) is gateway


def test_a_class_that_is_local_to_a_function_is_found_from_a_helper(gateway: Gateway) -> None:
    def register(function: Any) -> Any:
        Local = object()  # noqa: F841 - not the one that is meant
        return elsewhere(gateway, function)

    def bot() -> tuple[Any, type[Event]]:
        class Local(Event, event="MESSAGE_CREATE"):
            content: str

        class Robot:
            def method(self, message: Local) -> None: ...

        def on(message: Local) -> None: ...

        assert events(register(Robot().method)) == [Local]
        return register(on), Local

    listener, local = bot()
    assert events(listener) == [local]

    def forgotten() -> Any:
        class Local(Event, event="MESSAGE_CREATE"):
            content: str

        def on(message: Local) -> None: ...

        return on

    # Nothing knows the class any more, where its function is over and does not enclose it.
    with pytest.raises(TypeError, match=r"'Local' .*cannot be resolved.*@gateway\.listen\(MessageCreate\)"):
        elsewhere(gateway, forgotten())


def test_a_class_whose_fields_cannot_be_resolved_is_refused_when_it_is_added(gateway: Gateway) -> None:
    class Inner(Model):
        id: Snowflake

    class Outer(Event, event="MESSAGE_CREATE"):
        author: Inner

    def on(message: Outer) -> None: ...

    words = (
        r"on: .*Outer cannot be decoded \(name 'Inner' is not defined\); annotate its fields with names of its module"
    )
    with pytest.raises(TypeError, match=words):
        gateway.listen(on)
    with pytest.raises(TypeError, match=words):
        gateway.listen(Outer)(on)
    with pytest.raises(TypeError, match=r"stream\(\): .*Outer cannot be decoded"):
        gateway.stream(Outer)
    with pytest.raises(TypeError, match=r"fields of .*Outer cannot be read \(name 'Inner' is not defined\)"):
        gateway.listen(where=field("author.id") == 7)(on)
    assert gateway._listening.registry.entries == []
    # Without being decoded it can be heard.
    gateway.listen(Dispatch[Outer])(on)


def test_other_annotations_are_left_alone(gateway: Gateway) -> None:
    @gateway.listen
    def on(message: MessageCreate) -> NoSuchName: ...  # type: ignore[name-defined] # noqa: F821

    assert events(on) == [MessageCreate]


def test_handlers_resolve_theirs_too(gateway: Gateway) -> None:
    @gateway.on_close
    def on_close(closed: NoSuchName, gateway: Gateway) -> None: ...  # type: ignore[name-defined] # noqa: F821

    @gateway.on_error
    def on_error(error: Exception, dispatch: Dispatch, gateway: Gateway) -> None: ...

    with pytest.raises(TypeError, match="no Dispatch can be passed"):

        @gateway.on_close
        def on_close_of(closed: object, dispatch: Dispatch) -> None: ...
