"""JSON payloads made from the classes themselves, as hypothesis strategies."""

from __future__ import annotations

import datetime
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
SNOWFLAKES = st.integers(0, 2**64 - 1).map(str)
TIMESTAMPS = st.datetimes(
    datetime.datetime(2015, 1, 1), datetime.datetime(2100, 1, 1), timezones=st.just(datetime.UTC)
).map(datetime.datetime.isoformat)


def of_class(cls: type, depth: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    """Payloads that fit a class: optional fields present or not, nulls, unknown enum values and unknown fields."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    return of_struct(info, depth)


def of_struct(info: inspect.StructType, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    required = {f.encode_name: st.deferred(lambda f=f: of_type(f.type, depth - 1)) for f in info.fields if f.required}
    if depth <= 0:
        return st.fixed_dictionaries(required)
    optional = {
        f.encode_name: st.deferred(lambda f=f: of_type(f.type, depth - 1)) for f in info.fields if not f.required
    }
    # Discord adds fields before it documents them.
    optional["field_of_tomorrow"] = ANY_JSON
    return st.fixed_dictionaries(required, optional=optional)


def of_type(info: inspect.Type, depth: int) -> st.SearchStrategy[Any]:
    match info:
        case inspect.AnyType():
            return ANY_JSON
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            # Snowflakes, permissions and plain numbers look alike here; all of them may come as strings.
            return SNOWFLAKES | st.integers(0, 2**53)
        case inspect.FloatType():
            return FLOATS | st.integers(0, 1000)
        case inspect.StrType():
            return st.text(max_size=8)
        case inspect.DateTimeType():
            return TIMESTAMPS
        case inspect.EnumType(cls=kind):
            unknown = st.text(min_size=1, max_size=8) if issubclass(kind, str) else st.integers(0, 2**31)
            return st.sampled_from([member.value for member in kind]) | unknown
        case inspect.StructType():
            return of_struct(info, depth)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return st.lists(of_type(item, depth), max_size=2) if depth > 0 else st.just([])
        case inspect.TupleType(item_types=items):
            return st.tuples(*(of_type(item, depth) for item in items)).map(list)
        case inspect.DictType(key_type=key, value_type=value):
            names = st.text(max_size=5) if isinstance(key, inspect.AnyType | inspect.StrType) else st.integers(0, 2**63)
            return st.dictionaries(names.map(str), of_type(value, depth), max_size=2) if depth > 0 else st.just({})
        case inspect.UnionType(types=kinds):
            return st.one_of([of_type(kind, depth) for kind in kinds])
        case inspect.Metadata(type=inner):
            return of_type(inner, depth)
        case _:
            raise AssertionError(f"no payload for {info}")
