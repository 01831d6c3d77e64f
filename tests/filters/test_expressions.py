"""What `field` makes: conditions, and clear errors where none can be made."""

import datetime as datetime_module
import enum
import pickle
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from propylon import Dispatch, Filter, Gateway, field
from propylon._filters.expression import Field
from propylon.events import MessageCreate
from propylon.models import UNSET, MessageType, UserFlags

f = field("a.b")


class Colour(enum.StrEnum):
    RED = "red"


class Old(str, enum.Enum):  # noqa: UP042
    BLUE = "blue"


ALL: list[tuple[Callable[[], Filter], str]] = [
    (lambda: f == 5, "field('a.b') == 5"),
    (lambda: f != 5, "field('a.b') != 5"),
    (lambda: f == None, "field('a.b').is_null()"),  # noqa: E711
    (lambda: f != None, "~(field('a.b').is_null())"),  # noqa: E711
    (lambda: f.is_true(), "field('a.b') == True"),
    (lambda: ~f.is_true(), "field('a.b') != True"),
    (lambda: f < 5, "field('a.b') < 5"),
    (lambda: 5 > f, "field('a.b') < 5"),  # noqa: SIM300
    (lambda: f <= 0.5, "field('a.b') <= 0.5"),
    (lambda: f > "x", "field('a.b') > 'x'"),
    (lambda: f >= -(1 << 63), "field('a.b') >= -9223372036854775808"),
    (lambda: f.is_in([3, "x", None, True, 1, 2.5]), "field('a.b').is_in([None, True, 2.5, 1, 3, 'x'])"),
    (lambda: f.is_in(number for number in (2, 1)), "field('a.b').is_in([1, 2])"),
    (lambda: f.is_in(()), "field('a.b').is_in([])"),
    (lambda: f.startswith("!"), "field('a.b').startswith('!')"),
    (lambda: f.endswith("?"), "field('a.b').endswith('?')"),
    (lambda: f.contains(5), "field('a.b').contains(5)"),
    (lambda: f.exists(), "field('a.b').exists()"),
    (lambda: ~~f.exists(), "field('a.b').exists()"),
    (lambda: ~f.exists(), "~(field('a.b').exists())"),
    (lambda: (f == 1) & (f == 2) & (f == 3), "(field('a.b') == 1) & (field('a.b') == 2) & (field('a.b') == 3)"),
    (lambda: (f == 1) | (f == 2) & (f == 3), "(field('a.b') == 1) | ((field('a.b') == 2) & (field('a.b') == 3))"),
    (lambda: ~((f == 1) | (f == 2)), "~((field('a.b') == 1) | (field('a.b') == 2))"),
    (
        lambda: f < datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        "field('a.b') < datetime.datetime(2026, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)",
    ),
    (lambda: f == MessageType.REPLY, "field('a.b') == 19"),
    (lambda: f == UserFlags.STAFF, "field('a.b') == 1"),
    (lambda: f == Colour.RED, "field('a.b') == 'red'"),
    (lambda: f == Old.BLUE, "field('a.b') == 'blue'"),
]


@pytest.mark.parametrize(("make", "shown"), ALL, ids=[shown for _, shown in ALL])
def test_a_filter_shows_pickles_compares_and_compiles(make: Callable[[], Filter], shown: str) -> None:
    one = make()
    assert type(one) is Filter
    assert repr(one) == shown
    assert eval(shown, {"field": field, "datetime": datetime_module}) == one
    assert pickle.loads(pickle.dumps(one)) == one == make()
    assert len({one, make()}) == 1
    assert one != make() & f.exists()
    assert one.matches(b"{}") in (True, False)


def test_equal_means_written_alike() -> None:
    assert (f == 1) != (f == True)  # noqa: E712
    assert f.is_in([2, 1]) == f.is_in([1, 2, 2])
    assert (f == 1) != 1
    assert (f == "1") != (f == 1)


def test_neither_field_nor_filter_can_be_changed() -> None:
    for one in (f, f == 1):
        for change in (lambda one=one: setattr(one, "_path", "c"), lambda one=one: delattr(one, "_path")):
            with pytest.raises(AttributeError, match="cannot be changed"):
                change()
    with pytest.raises(TypeError, match="unhashable"):
        hash(f)
    assert repr(pickle.loads(pickle.dumps(f))) == repr(f) == "field('a.b')"


@pytest.mark.parametrize(
    "use",
    [
        lambda one: bool(one),
        lambda one: one and one,
        lambda one: one or one,
        lambda one: not one,
        lambda one: 1 if one else 2,
    ],
)
def test_a_filter_has_no_truth_value(use: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"&, \| and ~ instead of and, or and not"):
        use(f == 1)
    with pytest.raises(TypeError, match=r"is no condition.*is_true\(\).*in parentheses"):
        use(f)


def test_a_chain_of_comparisons_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"\(1 < f\) & \(f < 5\)"):
        1 < f < 5  # noqa: B015  # pyright: ignore


@pytest.mark.parametrize(
    "combine",
    [
        lambda: f & f,
        lambda: ~f,
        lambda: (f == 1) & f,
        lambda: f | (f == 1),
        lambda: f == 1 & f,
        lambda: (f == 1) & True,
        lambda: 1 & (f == 1),
        lambda: (f == 1) | (lambda message: True),
        lambda: f == (f == 1),
        lambda: f == f,
    ],
)
def test_what_is_no_filter_does_not_combine(combine: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="in parentheses"):
        combine()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: f == [1], TypeError, "is_in"),
        (lambda: f == b"a", TypeError, "is_in|None, bool, int, float, str"),
        (lambda: f == object(), TypeError, "None, bool, int, float, str"),
        (lambda: f == UNSET, TypeError, "exists"),
        (lambda: f == datetime(2026, 1, 1), TypeError, "no time zone"),
        (lambda: f < date(2026, 1, 1), TypeError, "no moment"),
        (lambda: f == float("nan"), TypeError, "JSON has no such number"),
        (lambda: f < float("inf"), TypeError, "JSON has no such number"),
        (lambda: f == 1 << 64, ValueError, "at most 64 bits"),
        (lambda: f == -(1 << 63) - 1, ValueError, "at most 64 bits"),
        (lambda: f == "\ud800", ValueError, "surrogate"),
        (lambda: f < None, TypeError, "order"),
        (lambda: f >= True, TypeError, "order"),
        (lambda: f.is_in("abc"), TypeError, "a collection"),
        (lambda: f.is_in(5), TypeError, "a collection"),
        (lambda: f.is_in([[1]]), TypeError, "is_in"),
        (lambda: f.startswith(5), TypeError, "takes a text"),
        (lambda: f.endswith(("a", "b")), TypeError, "takes a text"),
        (lambda: f.contains(None), TypeError, "not None"),
        (lambda: (f == 1).matches("{}"), TypeError, "as bytes"),
        (lambda: field(5), TypeError, "name of a field"),
        (lambda: field(""), ValueError, "single dots"),
        (lambda: field("a..b"), ValueError, "single dots"),
        (lambda: field(".a"), ValueError, "single dots"),
        (lambda: field(".".join("a" * 33)), ValueError, "single dots"),
    ],
)
def test_what_cannot_be_compared_is_an_error_that_says_what_can(
    make: Callable[[], Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make()


def test_filters_nest_within_a_limit_that_rust_shares() -> None:
    deep = f.exists()
    for number in range(31):
        deep = deep & f.exists() if number % 2 else deep | f.exists()
    assert deep.matches(b"{}") is False
    with pytest.raises(ValueError, match="nested 32 deep"):
        _ = ~deep
    # Chains do not nest.
    wide = f == 0
    for number in range(1000):
        wide = wide | (f == number)
    assert wide.matches(b'{"a":{"b":999}}')
    assert field(".".join("a" * 32)).exists().matches(b"{}") is False


def test_a_dispatch_is_matched_as_for_a_listener() -> None:
    dispatch = Dispatch("MESSAGE_CREATE", b'{"guild_id":41,"content":"a"}')
    assert (field("guild_id") == "41").matches(dispatch)  # an id, whatever it is written as
    assert not (field("guild_id") == "41").matches(dispatch.raw)
    with pytest.raises(ValueError, match="did you mean 'guild_id'"):
        (field("guildid") == 41).matches(dispatch)
    assert (field("guildid") != 41).matches(Dispatch("PROPYLON_NEWS", b"{}"))


@pytest.mark.parametrize("where", [True, f, "content == 'a'", 5, [f == 1], "async", "generator"])
def test_where_takes_filters_and_functions_only(where: Any) -> None:
    async def later(message: object) -> bool:
        return True

    def generator(message: object) -> Any:
        yield True

    gateway = Gateway("token")
    where = {"async": later, "generator": generator}.get(where, where) if isinstance(where, str) else where
    with pytest.raises(TypeError, match="where= takes"):
        gateway.listen(MessageCreate, where=where)(lambda message: None)
    with pytest.raises(TypeError, match="where= takes"):
        gateway.batches(MessageCreate, where=where)
    assert gateway._listening.registry.entries == []


def test_a_listener_may_be_added_by_a_call() -> None:
    gateway = Gateway("token")

    def on(message: MessageCreate) -> None: ...

    listener = gateway.listen(on, where=field("content") == "a")
    assert [want.where for want in listener._entry.wanted] == [field("content") == "a"]
    assert isinstance(field("content"), Field)
