"""Whether a filter fits an event: the types of its fields, read from the classes of `propylon.events`.

Owns what is an error when a listener is added. What operators mean at run time is Rust's.
"""

import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Final, TypeAlias, get_args, get_origin

import msgspec
from msgspec import UnsetType

from propylon._names import nearest
from propylon.events import EVENTS, Event
from propylon.snowflake import Snowflake

__all__ = ["Kind", "Operand", "fit", "kind_of"]

Operand: TypeAlias = str | float | datetime | bool | None
"""int is a float to type checkers."""

_FIT: Final = {
    "Snowflake": ("a Snowflake", "an int, or text of digits"),
    "int": ("an int", "numbers"),
    "float": ("a float", "numbers"),
    "bool": ("a bool", "True and False, by == and !="),
    "str": ("a str", "texts"),
    "time": ("a time", "aware datetimes"),
}
"""What a scalar field is, and what it compares with."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field may hold, null and absence aside."""

    scalars: frozenset[str] = frozenset()
    """Names of `_FIT`."""
    structs: tuple[type[msgspec.Struct], ...] = ()
    """Objects with known fields."""
    elements: "Kind | None" = None
    """What an array holds."""
    values: "Kind | None" = None
    """What an object with any keys holds."""
    anything: bool = False
    """Nothing is known of it."""


_ANYTHING: Final = Kind(anything=True)


def _merged(kinds: Iterable[Kind]) -> Kind:
    merged = Kind()
    for kind in kinds:
        if kind.anything:
            return kind
        merged = Kind(
            merged.scalars | kind.scalars,
            (*merged.structs, *kind.structs),
            _merged(filter(None, (merged.elements, kind.elements))) if merged.elements or kind.elements else None,
            _merged(filter(None, (merged.values, kind.values))) if merged.values or kind.values else None,
        )
    return merged


_SCALARS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "bool"),
    (int, "int"),
    (float, "float"),
    (str, "str"),
    (datetime, "time"),
)


def kind_of(annotation: Any) -> Kind:
    """What an annotation of a field stands for; what this package never uses counts as anything."""
    if annotation is Snowflake:
        return Kind(frozenset({"Snowflake"}))
    if annotation in (None, type(None), UnsetType):
        return Kind()
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _kind_of_union(arguments)
    if origin is typing.Annotated:
        return kind_of(arguments[0])
    if hasattr(annotation, "__supertype__"):
        return kind_of(annotation.__supertype__)
    if origin in (tuple, list, set, frozenset):
        return Kind(elements=kind_of(arguments[0]))
    if origin is dict:
        return Kind(values=kind_of(arguments[1]))
    if isinstance(annotation, type):
        if issubclass(annotation, msgspec.Struct):
            return Kind(structs=(annotation,))
        for scalar, name in _SCALARS:
            if issubclass(annotation, scalar):
                return Kind(frozenset({name}))
    return _ANYTHING


def _kind_of_union(members: tuple[Any, ...]) -> Kind:
    if list not in members and dict not in members:
        return _merged(map(kind_of, members))
    # `Unchecked`: the documented type beside whatever else JSON has. Python forgets which of the scalars it was.
    telling = [member for member in members if member is Snowflake or get_origin(member) or _is_struct(member)]
    return _merged(map(kind_of, telling)) if telling else _ANYTHING


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


@cache
def _fields(struct: type[msgspec.Struct]) -> dict[str, Kind]:
    """By the names on the wire. Raises TypeError where an annotation cannot be resolved."""
    try:
        hints = typing.get_type_hints(struct)
    # Whatever a name in an annotation raises.
    except Exception as error:
        raise TypeError(
            f"where=: the fields of {struct.__qualname__} cannot be read ({error or type(error).__name__}); annotate "
            "them with names of its module that exist when the listener is added, outside functions and "
            "`if TYPE_CHECKING:`"
        ) from None
    names = zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)
    return {wire: kind_of(hints[name]) for name, wire in names}


# A bot waits a thousand times for the same field.
@lru_cache(maxsize=512)
def _resolve(event: str, path: str, roots: tuple[type[msgspec.Struct], ...]) -> Kind:
    kind = Kind(structs=roots)
    segments = path.split(".")
    for depth, segment in enumerate(segments):
        if kind.anything:
            break
        found = [fields[segment] for fields in map(_fields, kind.structs) if segment in fields]
        if kind.values is not None:
            found.append(kind.values)
        if not found:
            raise ValueError(_unknown(event, segments, depth, kind))
        # The class of the listener says it first, then that of the event.
        kind = found[0] if depth == 0 else _merged(found)
    return kind


def _unknown(event: str, segments: list[str], depth: int, kind: Kind) -> str:
    parent, path = ".".join(segments[:depth]), ".".join(segments[: depth + 1])
    if not kind.structs:
        if kind.elements is not None:
            return f"{event}: {parent} is an array, of whose elements filters know no fields, as {path!r} would be"
        return f"{event}: {parent} is no object and has no field {segments[depth]!r}"
    known = list(dict.fromkeys(name for struct in kind.structs for name in _fields(struct)))
    near = nearest(segments[depth], known)
    if near is not None:
        advice = f"did you mean {'.'.join([*segments[:depth], near, *segments[depth + 1 :]])!r}?"
    else:
        advice = f"{parent or 'it'} has {', '.join(sorted(known))}"
    return f"{event} has no field {path!r}; {advice}"


def fit(
    event: str, kind: type[Event] | None, path: str, operator: str, operand: Operand | tuple[Operand, ...]
) -> Operand | tuple[Operand, ...]:
    """The operand for one field of one event, ids that were given as text turned into numbers.

    An event without a class in `EVENTS` is not checked. Raises ValueError where it has no such field, TypeError where
    the operator or the operand does not fit it.
    """
    documented = EVENTS.get(event)
    if documented is None:
        return operand
    roots = (documented,) if kind is None or kind is documented else (kind, documented)
    target = _resolve(event, path, roots)
    if target.anything or operator in ("exists", "null"):
        return operand
    where = f"{event}: {path}"
    if isinstance(operand, tuple):
        return tuple(_fit_operand(where, target, operator, one) for one in operand)
    if operator == "contains" and target.elements is not None:
        if target.elements.structs:
            raise TypeError(f"{where} is an array of objects, which equal nothing; give a function as where= instead")
        return _fit_operand(f"{where} is an array of which each element", target.elements, "==", operand)
    return _fit_operand(where, target, operator, operand)


def _fit_operand(where: str, kind: Kind, operator: str, operand: Operand) -> Operand:
    if kind.anything:
        return operand
    if kind == Kind():
        raise TypeError(f"{where} is null where it is there: ask whether it exists()")
    if not kind.scalars:
        if kind.elements is not None:
            raise TypeError(f"{where} is an array: ask it with contains(), exists() or is_null()")
        names = [name for struct in kind.structs for name in _fields(struct)]
        example = "id" if "id" in names else next(iter(names), "…")
        path = where.rpartition(" ")[2]
        raise TypeError(
            f"{where} is an object: compare a field of it, as in {path}.{example}, or ask whether it exists()"
        )
    if operand is None:
        return operand
    textual = operator in ("startswith", "endswith", "contains")
    if isinstance(operand, bool):
        fits = "bool" in kind.scalars and not textual
    elif isinstance(operand, str):
        if "str" in kind.scalars:
            return operand
        fits = "Snowflake" in kind.scalars and operand.isascii() and operand.isdigit() and not textual
        if fits and (number := int(operand)) < 1 << 64:
            return number
        fits = False
    elif isinstance(operand, datetime):
        fits = "time" in kind.scalars and not textual
    elif isinstance(operand, float):
        fits = not textual and not kind.scalars.isdisjoint({"int", "float"})
    else:
        fits = not textual and not kind.scalars.isdisjoint({"int", "float", "Snowflake"})
    if not fits:
        known = [_FIT[name] for name in sorted(kind.scalars)]
        name, what = (" or ".join(words) for words in zip(*known, strict=True))
        asked = f".{operator}()" if textual else f"{operand!r}"
        raise TypeError(f"{where} is {name}: it compares with {what}, not with {asked}")
    return operand
