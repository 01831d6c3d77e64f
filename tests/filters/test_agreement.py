"""Rust's evaluation on raw bytes against the plain reference on the decoded payload."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propylon import Filter, field

from .reference import _moment, decoded, evaluate

MANY = settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
FILTERS = 4
"""Filters asked about each payload: 3,200 pairs in all."""

KEYS = st.sampled_from(["a", "b", "é", "id", '"q'])
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(".".join)
EDGES = [0, 5, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 175928847299117063]
NUMBERS = st.one_of(
    st.sampled_from(EDGES), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.one_of(
    st.text(st.sampled_from('ab"\\/\n\té漢😀\x00'), max_size=4),
    st.sampled_from([str(edge) for edge in EDGES] + ["07", "-", "1.0", " 5", "٥", "18446744073709551616"]),
)
MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28), timezones=st.just(UTC))
STAMPS = st.builds(
    lambda moment, hours, style: style(moment.astimezone(timezone(timedelta(hours=hours)))),
    MOMENTS,
    st.integers(-23, 23),
    st.sampled_from(
        [
            lambda moment: moment.isoformat(),
            lambda moment: moment.isoformat(" ", "microseconds"),
            lambda moment: moment.isoformat().replace("T", "t").replace("+00:00", "Z"),
            lambda moment: moment.replace(microsecond=7).isoformat().replace(".", ".1234567"),
            lambda moment: moment.replace(tzinfo=None).isoformat(),
            lambda moment: moment.isoformat().replace("-2", "-3"),
        ]
    ),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, MOMENTS)


@st.composite
def json_strings(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> str:
    """A JSON string: raw, escaped, or with half a surrogate pair in it."""
    text = draw(texts)
    written = json.dumps(text, ensure_ascii=draw(st.booleans()))
    style = draw(st.integers(0, 5))
    if style == 0:
        wide = text.encode("utf-16-be")
        units = [wide[at : at + 2].hex() for at in range(0, len(wide), 2)]
        return '"' + "".join(f"\\u{unit}" for unit in units) + '"'
    if style == 1:
        return written[:-1] + draw(st.sampled_from(["\\ud800", "\\udc00", "\\ude00\\ud83d"])) + '"'
    return written


JSON_NUMBERS = st.one_of(
    NUMBERS.map(json.dumps),
    st.sampled_from(["1e999", "-1e999", "-0", "-0.0", "5.0", "5e0", "50E-1", "1" + "0" * 40, "-1" + "0" * 400]),
    st.integers(2**64, 2**70).map(str),
)
BLANKS = st.sampled_from(["", "", "", " ", "\r\n\t "])


@st.composite
def json_containers(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """An array or an object, with blanks, and with keys that repeat."""
    blank = draw(BLANKS)
    if draw(st.booleans()):
        parts, brackets = draw(st.lists(inner, max_size=4)), "[]"
    else:
        keys, brackets = json_strings(KEYS), "{}"
        parts = [f"{draw(keys)}{blank}:{blank}{draw(inner)}" for _ in range(draw(st.integers(0, 4)))]
    return brackets[0] + blank + f"{blank},{blank}".join(parts) + blank + brackets[1]


JSON_SCALARS = st.one_of(st.sampled_from(["null", "true", "false"]), JSON_NUMBERS, json_strings(), json_strings(STAMPS))
VALUES = st.recursive(JSON_SCALARS, json_containers, max_leaves=12)


@st.composite
def payloads(draw: st.DrawFn) -> str:
    """A payload of an event; rarely no object."""
    if draw(st.integers(0, 30)) == 0:
        return draw(VALUES)
    keys, blank = json_strings(KEYS), draw(BLANKS)
    pairs = [f"{draw(keys)}{blank}:{draw(VALUES)}" for _ in range(draw(st.integers(0, 6)))]
    return blank + "{" + ",".join(pairs) + "}" + blank


@st.composite
def comparisons(draw: st.DrawFn) -> Filter:
    """One comparison."""
    one = field(draw(PATHS))
    ordered = st.one_of(NUMBERS, TEXTS, MOMENTS)
    which = draw(st.integers(0, 11))
    made: list[Any] = [
        lambda: one == draw(SCALARS),
        lambda: one != draw(SCALARS),
        lambda: one < draw(ordered),
        lambda: one <= draw(ordered),
        lambda: one > draw(ordered),
        lambda: one >= draw(ordered),
        lambda: one.is_in(draw(st.lists(SCALARS, max_size=5))),
        lambda: one.startswith(draw(TEXTS)),
        lambda: one.endswith(draw(TEXTS)),
        lambda: one.contains(draw(SCALARS.filter(lambda value: value is not None))),
        one.exists,
        one.is_null,
    ]
    return made[which]()


FILTER = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        inner.map(lambda one: ~one),
    ),
    max_leaves=4,
)


@st.composite
def aimed(draw: st.DrawFn, payload: Any) -> Filter:
    """A comparison with what the payload holds, or nearly: random ones hardly ever match."""
    path: list[str] = []
    value = payload
    while isinstance(value, dict) and value and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(value)))
        if "." in key or "\ufffd" in key:
            break
        path.append(key)
        value = value[key]
    if isinstance(value, list) and value:
        value = draw(st.sampled_from(value))
    if not path or isinstance(value, dict | list) or value in (float("inf"), float("-inf")):
        return draw(FILTER)
    if isinstance(value, str):
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int) and not isinstance(value, bool) and draw(st.booleans()):
        value = draw(st.sampled_from([max(value - 1, -(2**63)), min(value + 1, 2**64 - 1), str(value), float(value)]))
    if isinstance(value, str) and (moment := _moment(value)) is not None and draw(st.booleans()):
        value = moment.astimezone(UTC) + timedelta(microseconds=draw(st.integers(-1, 1)))
    one = field(".".join(path))
    choices: list[Any] = [lambda: one == value, lambda: one != value, lambda: one.is_in([value, 5, "a"])]
    if value is not None:
        choices.append(lambda: one.contains(value))
    if not isinstance(value, bool | None):
        choices += [lambda: one <= value, lambda: one < value, lambda: one >= value, lambda: one > value]
    if isinstance(value, str):
        cut = draw(st.integers(0, len(value)))
        choices += [
            lambda: one.startswith(value[:cut]),
            lambda: one.endswith(value[cut:]),
            lambda: one.contains(value[cut:]),
        ]
    return draw(st.sampled_from(choices))()


@MANY
@given(data=st.data())
def test_rust_agrees_with_the_reference(data: st.DataObject) -> None:
    raw = data.draw(payloads())
    payload = decoded(raw)
    filters = [data.draw(aimed(payload) if number % 2 else FILTER) for number in range(FILTERS)]
    for one in filters:
        assert one.matches(raw.encode()) == evaluate(one, payload), (one, raw)


@settings(MANY, max_examples=300)
@given(one=FILTER, raw=st.one_of(st.binary(max_size=60), payloads().map(str.encode)), cut=st.integers(0, 60))
def test_any_bytes_give_an_answer(one: Filter, raw: bytes, cut: int) -> None:
    assert one.matches(raw[:cut]) in (True, False)


def test_the_reference_says_yes_and_no() -> None:
    """So that the agreement above is none of constants."""
    answers = {evaluate(field("a.b") == 5, decoded(raw)) for raw in ('{"a":{"b":"5"}}', '{"a":{"b":6}}', "[]")}
    assert answers == {True, False}


@pytest.mark.parametrize("raw", ["", "null", "[]", "7", '"a"', "{", '{"a":5', '{"a":5]', '{"a":5}}', '{"a":tru}'])
def test_what_is_no_object_has_no_field(raw: str) -> None:
    assert not field("a").exists().matches(raw.encode())
    assert (field("a") != 5).matches(raw.encode())
