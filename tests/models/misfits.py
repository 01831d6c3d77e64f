"""Payloads made from the classes themselves, and what breaks them: plain and seeded, for thousands of misfits a second.

`tests/models/payloads.py` searches with hypothesis; this counts through.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import inspect

from propylon import models
from propylon.events import EVENTS

ODD: tuple[Any, ...] = (
    None, True, -1, 1.5, 7, 2**70, "", "text", "12", "4f1c0a7e-9a3d-4b5c-8c1d-2f0e9b7a6d55",
    "+292278994-08-17T07:12:55.807000+00:00", [], [None], {}, {"x": 1},
)  # fmt: skip
"""What a sender may write where something else belongs."""


@dataclass(frozen=True)
class Place:
    """A value within a payload."""

    path: tuple[str | int, ...]
    removable: bool
    """Whether what holds it may be without it: an optional field, an element, an entry."""
    unchecked: bool
    whole: bool
    """Whether it is an int, of which a fraction is cut off."""
    enum: bool


@dataclass
class Made:
    """A payload that fits, and the places in it."""

    payload: Any
    places: list[Place] = field(default_factory=list)


def classes() -> list[type[msgspec.Struct]]:
    """Every class of an event, and every class that one of them holds."""
    found: dict[type[msgspec.Struct], None] = {}

    def visit(kind: Any) -> None:
        match kind:
            case inspect.StructType(cls=cls):
                if cls not in found:
                    found[cls] = None
                    for each in kind.fields:
                        visit(each.type)
            case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
                visit(item)
            case inspect.DictType(value_type=value):
                visit(value)
            case inspect.UnionType(types=kinds):
                for each in kinds:
                    visit(each)
            case _:
                pass

    for event in EVENTS.values():
        visit(inspect.type_info(event))
    public = [getattr(models, name) for name in models.__all__]
    named = [cls for cls in public if isinstance(cls, type) and issubclass(cls, msgspec.Struct)]
    return [*found, *(cls for cls in named if cls not in found)]


def make(cls: type[msgspec.Struct], rng: random.Random, *, fill: float = 0.8, depth: int = 3) -> Made:
    """A payload that fits ``cls``, with that part of the fields that may be absent."""
    made = Made(None)
    made.payload = _value(inspect.type_info(cls), rng, fill, depth, (), made)
    return made


def _object(kind: inspect.StructType, rng: random.Random, fill: float, depth: int, path: Any, made: Made) -> Any:
    fields: dict[str, Any] = {}
    for each in kind.fields:
        if not each.required and (depth <= 0 or rng.random() > fill):
            continue
        at = (*path, each.encode_name)
        made.places.append(_place(at, not each.required, each.type))
        fields[each.encode_name] = _value(each.type, rng, fill, depth - 1, at, made)
    return fields


def _place(path: Any, removable: bool, kind: inspect.Type) -> Place:
    sole = _sole(kind)
    enum = isinstance(sole, inspect.EnumType) and issubclass(sole.cls, int)
    return Place(path, removable, _unchecked(kind), isinstance(sole, inspect.IntType), enum)


def _alternatives(kind: inspect.Type) -> list[inspect.Type]:
    if not isinstance(kind, inspect.UnionType):
        return [kind]
    return [inner for each in kind.types for inner in _alternatives(each)]


def _sole(kind: inspect.Type) -> inspect.Type | None:
    kinds = [each for each in _alternatives(kind) if not isinstance(each, inspect.NoneType)]
    return kinds[0] if len(kinds) == 1 else None


def _unchecked(kind: inspect.Type) -> bool:
    kinds = [type(each) for each in _alternatives(kind)]
    return inspect.AnyType in kinds or (len(kinds) > 3 and inspect.BoolType in kinds)


def _documented(kind: inspect.UnionType) -> list[inspect.Type]:
    """What stands first in an `Unchecked` is what is documented; elsewhere, all but null."""
    kinds = [each for each in _alternatives(kind) if not isinstance(each, inspect.NoneType)]
    told = [each for each in kinds if isinstance(each, inspect.StructType | inspect.EnumType | inspect.VarTupleType)]
    return told or kinds or [inspect.NoneType()]


def _value(kind: inspect.Type, rng: random.Random, fill: float, depth: int, path: Any, made: Made) -> Any:
    match kind:
        case inspect.StructType():
            return _object(kind, rng, fill, depth, path, made)
        case inspect.UnionType():
            return _value(rng.choice(_documented(kind)), rng, fill, depth, path, made)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            items: list[Any] = []
            for index in range(rng.randint(1, 2) if depth > 0 else 0):
                made.places.append(_place((*path, index), True, item))
                items.append(_value(item, rng, fill, depth, (*path, index), made))
            return items
        case inspect.TupleType(item_types=kinds):
            return [_value(item, rng, fill, depth, (*path, index), made) for index, item in enumerate(kinds)]
        case inspect.DictType(value_type=value):
            entries: dict[str, Any] = {}
            for key in ("0", "1") if depth > 0 else ():
                made.places.append(_place((*path, key), True, value))
                entries[key] = _value(value, rng, fill, depth, (*path, key), made)
            return entries
        case inspect.EnumType(cls=cls):
            return rng.choice([each.value for each in cls])
        case inspect.IntType():
            return rng.choice([rng.getrandbits(31), str(rng.getrandbits(31)), float(rng.getrandbits(20))])
        case inspect.FloatType():
            return rng.choice([rng.random(), rng.getrandbits(8)])
        case inspect.BoolType():
            return rng.random() < 0.5
        case inspect.DateTimeType():
            return f"20{rng.randint(10, 99)}-01-{rng.randint(10, 28)}T00:00:00.{rng.randint(100000, 999999)}+00:00"
        case inspect.StrType():
            return "".join(rng.choices("abcdefg \N{SNOWMAN}\N{PILE OF POO}", k=rng.randint(0, 6)))
        case inspect.AnyType():
            return rng.choice([1, "a", [1], {"a": None}])
        case inspect.NoneType():
            return None
        case _:
            raise AssertionError(f"no payload for {kind}")


def at(payload: Any, path: tuple[str | int, ...]) -> Any:
    """The value at a path."""
    for step in path:
        payload = payload[step]
    return payload


def replaced(payload: Any, path: tuple[str | int, ...], odd: Any) -> Any:
    """A copy with another value there."""
    if not path:
        return odd
    payload = copy.deepcopy(payload)
    at(payload, path[:-1])[path[-1]] = odd
    return payload


def without(payload: Any, path: tuple[str | int, ...]) -> Any:
    """A copy without the field, element or entry there."""
    payload = copy.deepcopy(payload)
    del at(payload, path[:-1])[path[-1]]
    return payload


def without_all(payload: Any, paths: Iterable[tuple[str | int, ...]]) -> Any:
    """A copy without what is at these paths, none of which is within another."""
    for path in sorted(paths, key=lambda path: [(isinstance(step, int), step) for step in path], reverse=True):
        payload = without(payload, path)
    return payload


def written(path: tuple[str | int, ...]) -> str:
    """A path as `Dispatch.mended` gives it."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def place_left_out(made: Made, place: Place) -> tuple[str | int, ...] | None:
    """The nearest place, at or above this one, that may be without it; None where the object as a whole cannot."""
    removable = {each.path for each in made.places if each.removable}
    ends = range(len(place.path), 0, -1)
    return next((place.path[:end] for end in ends if place.path[:end] in removable), None)


def misfits(made: Made, rng: random.Random) -> Iterator[tuple[Place, Any]]:
    """Each place with each odd value, in any order, except what is not odd as a whole: an array for an array."""
    pairs = [
        (place, odd)
        for place in made.places
        if not place.unchecked
        for odd in ODD
        if type(odd) is not type(at(made.payload, place.path)) or not isinstance(odd, list | dict)
    ]
    rng.shuffle(pairs)
    yield from pairs
