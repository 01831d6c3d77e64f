"""What a narrow class names is cut out of an event by the engine: listeners get what they would get of all of it."""

import asyncio
import json
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from face.support import eventually, make_gateway, message
from propylon import Dispatch, ModelError, Snowflake, UnknownNameWarning, field
from propylon._core import Projection
from propylon.events import EVENTS, Event, MessageCreate
from propylon.events._projection import fields_of, joined
from propylon.testing import Simulator

Start = Callable[..., Simulator]


class Author(msgspec.Struct):
    id: Snowflake
    name: str | UnsetType = UNSET


class Renamed(msgspec.Struct, rename={"inner": "inner é"}):
    inner: int = 0


with warnings.catch_warnings():
    warnings.simplefilter("ignore", UnknownNameWarning)

    class Narrow(Event, event="MESSAGE_CREATE"):
        content: str
        author: Author | None
        channel_id: Snowflake = Snowflake(0)
        renamed: Renamed | UnsetType = UNSET
        counts: list[int] | dict[str, int] = msgspec.field(default_factory=list)


class OfContent(Event, event="MESSAGE_CREATE"):
    content: str


class OfAuthor(Event, event="MESSAGE_CREATE"):
    author: Author


class Tree(msgspec.Struct):
    left: "Tree | None" = None
    number: int = 0


with warnings.catch_warnings():
    warnings.simplefilter("ignore", UnknownNameWarning)

    class Odd(Event, event="TYPING_START"):
        tree: Tree
        strict: "Strict"
        tagged: "Tagged"
        listed: "Listed"
        marked: Annotated[Author, msgspec.Meta(description="x")]
        either: Author | int
        anything: Any


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    a: int


class Tagged(msgspec.Struct, tag="t"):
    a: int


class Listed(msgspec.Struct, array_like=True):
    a: int


def test_what_a_class_names() -> None:
    author = {"id": None, "name": None}
    named = {"content": None, "author": author, "channel_id": None, "renamed": {"inner é": None}, "counts": None}
    # An event's own fields are there too.
    assert {name: parts for name, parts in (fields_of(Narrow) or {}).items() if name in named} == named
    odd = fields_of(Odd)
    assert odd is not None
    assert odd["tree"] == {"left": None, "number": None}, "a class that holds itself"
    assert [odd[name] for name in ("strict", "tagged", "listed", "either", "anything")] == [None] * 5
    assert odd["marked"] == author
    assert all(fields_of(kind) is None for kind in EVENTS.values())
    assert joined([{"a": {"x": None}}, {"a": {"y": None}, "b": {"z": None}}, {"b": None}]) == {
        "a": {"x": None, "y": None},
        "b": None,
    }


def test_classes_that_all_refer_to_each_other_are_taken_whole_at_once() -> None:
    names = [f"Circle{number}" for number in range(12)]
    fields = [(f"to_{name}", f"{name} | None", None) for name in names]
    space: dict[str, Any] = {}
    for name in names:
        space[name] = msgspec.defstruct(name, fields, module=__name__)
    globals().update(space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownNameWarning)
        kind = type("Circular", (Event,), {"__annotations__": {"first": space["Circle0"]}}, event="MESSAGE_CREATE")
    assert fields_of(kind) is None


KEYS = st.sampled_from(
    ["content", "author", "channel_id", "renamed", "counts", "id", "name", "inner é", "other", "é", ""]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.sampled_from(["7", "}", '"', "\\"])
)


class Repeated(list[tuple[str, Any]]):
    """An object whose keys may come more than once."""


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.tuples(KEYS, values), max_size=6).map(Repeated)


VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | objects(inner), max_leaves=12)


def written(value: Any, ascii_only: bool) -> str:
    if isinstance(value, Repeated):
        pairs = (f"{json.dumps(key, ensure_ascii=ascii_only)} : {written(inner, ascii_only)}" for key, inner in value)
        return "{" + " , ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(inner, ascii_only) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def decoded(kind: type[Event], data: bytes) -> Any:
    try:
        return msgspec.json.decode(data, type=kind, strict=False)
    except msgspec.ValidationError as error:
        return str(error)


LIKELY = st.builds(
    lambda content, author, more: Repeated([("content", content), ("author", author), *more]),
    st.text(max_size=5),
    st.none() | objects(VALUES).map(lambda more: Repeated([("id", "7"), *more])),
    objects(VALUES),
)


@pytest.mark.parametrize("kind", [Narrow, OfContent, OfAuthor])
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(value=objects(VALUES) | LIKELY, ascii_only=st.booleans())
def test_a_decoder_finds_in_the_part_what_it_finds_in_all_of_it(
    kind: type[Event], value: Any, ascii_only: bool
) -> None:
    data = written(value, ascii_only).encode()
    fields = fields_of(kind)
    assert fields is not None
    part = Projection(fields).cut(data)
    assert part is not None
    assert decoded(kind, part) == decoded(kind, data)
    assert len(part) <= len(data)


@pytest.mark.asyncio
class TestListeners:
    async def test_all_get_what_they_would_get_without(self, propylon_simulator: Start) -> None:
        sim = propylon_simulator(guilds=0)
        heard: list[tuple[str, Any]] = []
        gateway = make_gateway(sim)
        sent = {**message("!ping"), "extra": {"content": "inner"}}

        @gateway.listen
        def narrow(event: OfContent) -> None:
            heard.append(("narrow", event.content))

        @gateway.listen(where=field("content").startswith("!"))
        async def author(event: OfAuthor) -> None:
            heard.append(("author", event.author.id))

        async with gateway:
            sim.dispatch("MESSAGE_CREATE", sent)
            await eventually(lambda: len(heard) == 2)
            assert heard == [("narrow", "!ping"), ("author", int(sent["author"]["id"]))]
            heard.clear()

            # Whoever wants all of it gets all of it, and so do the others.
            @gateway.listen
            def full(event: MessageCreate) -> None:
                heard.append(("full", event.author.username))

            @gateway.listen
            def holder(event: OfContent, dispatch: Dispatch) -> None:
                heard.append(("holder", json.loads(bytes(memoryview(dispatch))) == sent))

            sim.dispatch("MESSAGE_CREATE", sent)
            await eventually(lambda: len(heard) == 4)
            assert heard[2:] == [("full", sent["author"]["username"]), ("holder", True)]
            heard.clear()
            full.remove()
            holder.remove()
            waited = asyncio.create_task(gateway.wait_for(OfAuthor))
            await asyncio.sleep(0)
            sim.dispatch("MESSAGE_CREATE", {**sent, "content": "pong"})
            assert (await waited).author.id == int(sent["author"]["id"])
            assert heard == [("narrow", "pong")]

    async def test_errors_come_with_all_of_the_event(self, propylon_simulator: Start) -> None:
        sim = propylon_simulator(guilds=0)
        gateway = make_gateway(sim)
        failed: list[tuple[type[Exception], str, int]] = []
        sent = message("x")

        @gateway.listen
        def narrow(event: OfContent) -> None:
            raise LookupError(event.content)

        @gateway.on_error
        def on_error(error: Exception, dispatch: Dispatch) -> None:
            assert json.loads(bytes(memoryview(dispatch))) == dispatch.json() == json.loads(dispatch.raw)
            failed.append((type(error), str(error), len(dispatch.json())))

        async with gateway:
            sim.dispatch("MESSAGE_CREATE", sent)
            await eventually(lambda: len(failed) == 1)
            assert failed == [(LookupError, "x", len(sent))]
            sim.dispatch("MESSAGE_CREATE", {"a": [1, 2], "content": None, "b": 3})
            await eventually(lambda: len(failed) == 2)
        kind, text, length = failed[1]
        assert (kind, length) == (ModelError, 3)
        assert text.startswith("MESSAGE_CREATE: Expected `str`, got `null` - at `$.content`")

    async def test_what_does_not_fit_is_mended_as_without(self, propylon_simulator: Start) -> None:
        sim = propylon_simulator(guilds=0)
        gateway = make_gateway(sim)
        heard: list[Any] = []

        @gateway.listen
        def narrow(event: Narrow) -> None:
            heard.append(event)

        async with gateway:
            sim.dispatch("MESSAGE_CREATE", {"x": 1, "content": "a", "author": {"id": "7", "name": 5, "more": {}}})
            await eventually(lambda: len(heard) == 1)
            assert heard[0].author == Author(id=Snowflake(7))
            assert gateway.metrics().mended == 1
