"""Reads a class out of plain JSON, and leaves out what does not fit: the slow path of decoding.

msgspec stops at the first misfit and cannot go on, so an event that it refused is read once more here, field by field:
what a class makes of a value is msgspec's word, what becomes of a value that it refuses is decided in this file. Who
reads, what is told of it and where is `propylon.events._decoding`'s.

Over 500 lines because the readers of all kinds of types call one another.
"""

import math
import re
import types
import typing
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias, cast, get_args, get_origin

import msgspec
from msgspec import UnsetType

from propylon._base import UNCHECKED
from propylon.snowflake import Snowflake

__all__ = [
    "CHANGED",
    "DEFAULT",
    "KEPT",
    "LEFT_OUT",
    "MAX_MENDS",
    "MISFIT",
    "Key",
    "Mend",
    "Path",
    "Reading",
    "cleaned",
    "reader_for",
]

MAX_MENDS: Final = 16
"""What may be left out of one event; where more does not fit, it is not this event that is odd."""

_SHORTCUTS: Final = 4
"""How many objects of a class may turn out to be misfits after msgspec was given them as a whole, which is work for
nothing, and of objects within objects at each level anew. What is odd in four members is so in all."""


class Key(str):
    """A key of an object whose keys are data, such as ids: no name of a field."""

    __slots__ = ()


Path: TypeAlias = tuple[str | int, ...]


class Misfit:
    """What a reader gives in place of a value that does not fit."""


MISFIT: Final = Misfit()

LEFT_OUT: Final = "left out"
"""A field has its default, an element or entry is missing."""
DEFAULT: Final = "default"
"""A null stood where a field may be absent, but not null."""
CHANGED: Final = "changed"
"""Less than was sent: half a surrogate pair, a fraction, a leap second."""
KEPT: Final = "kept"
"""An `Unchecked` value of another kind, as it was sent."""


class Mend(NamedTuple):
    """One place that did not fit."""

    path: Path
    why: str
    how: str
    """One of the four above."""
    unchecked: bool
    """Whether anything is allowed there, so that it is none of the misfits that a gateway can forbid."""


class Reading:
    """What is told of one event while it is read."""

    __slots__ = ("_told", "fault", "halves", "mends", "path", "shortcuts")

    def __init__(self, *, halves: bool, finite: bool) -> None:
        """``halves``: texts may hold half of a surrogate pair. ``finite``: no number is beyond all floats."""
        self.halves: Final = halves
        self.shortcuts: Final[defaultdict[type, int]] = defaultdict(lambda: _SHORTCUTS if finite and not halves else 0)
        """How many more objects of a class are given to msgspec first, as a whole."""
        self.path: Final[list[str | int]] = []
        """Where the reader is."""
        self.mends: Final[list[Mend]] = []
        """In the order of the payload. What comes after the first 17 of a kind is not kept."""
        self._told: Final[Counter[str]] = Counter()
        self.fault: tuple[Path, str] = ((), "")
        """The last value that did not fit."""

    def misfit(self, why: str) -> Misfit:
        """The value here does not fit."""
        self.fault = (tuple(self.path), why)
        return MISFIT

    def mend(self, how: str, why: str, *, unchecked: bool = False) -> None:
        """Tell of what became of the value here; of a whole, and not of what has been told of its inside."""
        if how in (LEFT_OUT, KEPT):
            here = tuple(self.path)
            while self.mends and self.mends[-1].path[: len(here)] == here:
                self._told[self.mends.pop().how] -= 1
        if self._told[how] <= MAX_MENDS:
            self._told[how] += 1
            self.mends.append(Mend(tuple(self.path), why, how, unchecked))

    def leave_out(self) -> None:
        """The value here is left out, because of the last fault."""
        at, why = self.fault
        inside = "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in at[len(self.path) :])
        self.mend(LEFT_OUT, f"{why} - at `{inside.removeprefix('.')}`" if inside else why)

    @property
    def left_out(self) -> int:
        """How much."""
        return self._told[LEFT_OUT]


Reader: TypeAlias = Callable[[Any, Reading], Any]
"""Takes plain JSON; gives the value or `MISFIT`."""

_HALF: Final = re.compile("[\ud800-\udfff]")
_LEAP_SECOND: Final = re.compile(r"(?<=:\d\d):60(\.\d*)?(?=[zZ+-])")
_ID: Final = re.compile("[1-9][0-9]{0,18}")
_NULL: Final = frozenset({"null", "Null", "NULL"})
"""What msgspec reads as null where a text is not allowed."""


def _json_kind(value: Any) -> str:
    if isinstance(value, dict | list):
        return "object" if isinstance(value, dict) else "array"
    return "null" if value is None else type(cast("object", value)).__name__


def cleaned(value: Any, reading: Reading) -> Any:
    """Plain JSON with U+FFFD, the replacement character, for each half of a surrogate pair."""
    if isinstance(value, str):
        whole = _HALF.sub("\ufffd", value)
        if whole != value:
            reading.mend(CHANGED, "half of a surrogate pair (\\ud800 to \\udfff), which is no character")
        return whole
    path = reading.path
    if isinstance(value, list):
        items: list[Any] = []
        for index, item in enumerate(cast("Sequence[Any]", value)):
            path.append(index)
            items.append(cleaned(item, reading))
            path.pop()
        return items
    if isinstance(value, dict):
        fields: dict[str, Any] = {}
        for key, item in cast("dict[str, Any]", value).items():
            # The path is to be printed, so it has the whole key.
            path.append(Key(_HALF.sub("\ufffd", key)))
            fields[cleaned(key, reading)] = cleaned(item, reading)
            path.pop()
        return fields
    return value


def _read_anything(value: Any, reading: Reading) -> Any:
    return cleaned(value, reading) if reading.halves else value


def _read_nothing(value: Any, reading: Reading) -> Any:
    return None if value is None else reading.misfit(f"Expected `null`, got `{_json_kind(value)}`")


def _read_text(value: Any, reading: Reading) -> Any:
    if isinstance(value, str):
        return cleaned(value, reading) if reading.halves else value
    return reading.misfit(f"Expected `str`, got `{_json_kind(value)}`")


def _as_msgspec(kind: Any) -> Reader:
    """What msgspec makes of a value, as a whole."""

    def read(value: Any, reading: Reading) -> Any:
        if reading.halves:
            value = cleaned(value, reading)
        try:
            got = msgspec.convert(value, kind, strict=False)
        except RecursionError:
            raise
        # Not only msgspec's own: a class of the user's may raise anything.
        except Exception as error:
            if isinstance(value, float) and value.is_integer():
                # Enums do not take 1.0 for 1.
                return read(int(value), reading)
            return reading.misfit(str(error) or type(error).__name__)
        if isinstance(got, float) and not math.isfinite(got):
            return reading.misfit("Number out of range")
        return got

    return read


_as_int: Final = _as_msgspec(int)
_as_time: Final = _as_msgspec(datetime)


def _read_id(value: Any, reading: Reading) -> Any:
    # No part of an id is an id: a fraction is not cut off.
    if type(value) is str and _ID.fullmatch(value):
        return int(value)
    return value if type(value) is int else _as_int(value, reading)


def _read_int(value: Any, reading: Reading) -> Any:
    if type(value) is int:
        return value
    if isinstance(value, float) and math.isfinite(value) and not value.is_integer():
        reading.mend(CHANGED, "Expected `int`, got `float`")
        return int(value)
    return _as_int(value, reading)


def _read_time(value: Any, reading: Reading) -> Any:
    if isinstance(value, str) and (leap := _LEAP_SECOND.search(value)):
        # RFC 3339, 5.7, allows it; a datetime ends a microsecond before.
        value = f"{value[: leap.start()]}:59.999999{value[leap.end() :]}"
        got = _as_time(value, reading)
        if got is not MISFIT:
            reading.mend(CHANGED, "a leap second")
        return got
    return _as_time(value, reading)


def _list_of(item: Any, made: Callable[[list[Any]], Any]) -> Reader:
    read_item = reader_for(item)

    def read(value: Any, reading: Reading) -> Any:
        if not isinstance(value, list):
            return reading.misfit(f"Expected `array`, got `{_json_kind(value)}`")
        items: list[Any] = []
        path = reading.path
        for index, element in enumerate(cast("Sequence[Any]", value)):
            path.append(index)
            got = read_item(element, reading)
            if got is MISFIT:
                reading.leave_out()
            else:
                items.append(got)
            path.pop()
        try:
            return made(items)
        except TypeError as error:  # a set of what has no hash
            return reading.misfit(str(error))

    return read


def _row_of(kinds: tuple[Any, ...]) -> Reader:
    """An array of fixed length, which cannot be without one of its elements."""
    readers = [reader_for(kind) for kind in kinds]

    def read(value: Any, reading: Reading) -> Any:
        if not isinstance(value, list):
            return reading.misfit(f"Expected `array`, got `{_json_kind(value)}`")
        elements = cast("Sequence[Any]", value)
        if len(elements) != len(readers):
            return reading.misfit(f"Expected `array` of length {len(readers)}, got {len(elements)}")
        items: list[Any] = []
        path = reading.path
        for index, (read_item, element) in enumerate(zip(readers, elements, strict=True)):
            path.append(index)
            got = read_item(element, reading)
            path.pop()
            if got is MISFIT:
                return MISFIT
            items.append(got)
        return tuple(items)

    return read


def _dict_of(key: Any, kind: Any) -> Reader:
    read_key, read_value = reader_for(key), reader_for(kind)

    def read(value: Any, reading: Reading) -> Any:
        if not isinstance(value, dict):
            return reading.misfit(f"Expected `object`, got `{_json_kind(value)}`")
        entries: dict[Any, Any] = {}
        path = reading.path
        for name, item in cast("dict[str, Any]", value).items():
            path.append(Key(_HALF.sub("\ufffd", name)))
            got_key = read_key(name, reading)
            got = MISFIT if got_key is MISFIT else read_value(item, reading)
            if got is MISFIT:
                reading.leave_out()
            else:
                entries[got_key] = got
            path.pop()
        return entries

    return read


def _nullable(read_other: Reader) -> Reader:
    texts = read_other in (_read_text, _read_anything)

    def read(value: Any, reading: Reading) -> Any:
        if value is None or (not texts and isinstance(value, str) and value in _NULL):
            return None
        return read_other(value, reading)

    return read


def _unchecked(read_documented: Reader) -> Reader:
    def read(value: Any, reading: Reading) -> Any:
        got = read_documented(value, reading)
        if got is not MISFIT:
            return got
        reading.mend(KEPT, reading.fault[1], unchecked=True)
        return _read_anything(value, reading)

    return read


class _Field(NamedTuple):
    name: str
    read: Reader
    required: bool
    nullable: bool
    unchecked: bool


class _StructReader:
    """Reads the objects of one class. Its fields are looked up when the first object comes: a class may hold itself."""

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self._cls: Final = cls
        self._fields: dict[str, _Field] | None = None
        self._required: tuple[_Field, ...] = ()

    def _look_up(self) -> dict[str, _Field]:
        fields = {
            field.encode_name: _Field(
                field.name,
                reader_for(field.type),
                field.required,
                _may_be_null(field.type),
                UNCHECKED in getattr(field.type, "__metadata__", ()),
            )
            for field in msgspec.structs.fields(self._cls)
        }
        self._required = tuple(field for field in fields.values() if field.required)
        self._fields = fields
        return fields

    def __call__(self, value: Any, reading: Reading) -> Any:
        if not isinstance(value, dict):
            return reading.misfit(f"Expected `object`, got `{_json_kind(value)}`")
        # Not the payload itself, of which msgspec has said that already.
        if reading.path and reading.shortcuts[self._cls] > 0:
            try:
                return msgspec.convert(value, self._cls, strict=False)
            except Exception:
                reading.shortcuts[self._cls] -= 1
        fields = self._fields or self._look_up()
        path = reading.path
        found: dict[str, Any] = {}
        for key, item in cast("dict[str, Any]", value).items():
            field = fields.get(key)
            if field is None:
                continue
            path.append(key)
            if item is None and not (field.required or field.nullable):
                reading.mend(DEFAULT, "null", unchecked=field.unchecked)
                path.pop()
                continue
            got = field.read(item, reading)
            if got is not MISFIT:
                found[field.name] = got
            elif field.required and not field.nullable:
                path.pop()
                return MISFIT
            else:
                reading.leave_out()
                if field.required:
                    found[field.name] = None
            path.pop()
        for field in self._required:
            if field.name not in found:
                return reading.misfit(f"Object missing required field `{field.name}`")
        try:
            return self._cls(**found)
        except RecursionError:
            raise
        # Whatever a `__post_init__` of the user's raises.
        except Exception as error:
            return reading.misfit(str(error) or type(error).__name__)


def _members(kind: Any) -> list[Any]:
    """The alternatives of a union, unions in it opened; UNSET is none on the wire."""
    return [
        inner
        for member in get_args(kind)
        if member is not UnsetType
        for inner in (_members(member) if get_origin(member) in (typing.Union, types.UnionType) else [member])
    ]


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (typing.Union, types.UnionType)


def _may_be_null(kind: Any) -> bool:
    if get_origin(kind) is typing.Annotated:
        return _may_be_null(get_args(kind)[0])
    return kind in (None, type(None), Any) or (_is_union(kind) and any(map(_may_be_null, _members(kind))))


def _is_object(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return origin is dict or (isinstance(origin, type) and issubclass(origin, msgspec.Struct))


def _is_array(kind: Any) -> bool:
    return (get_origin(kind) or kind) in (list, tuple, set, frozenset)


def _union(kind: Any) -> Reader:
    members = [member for member in _members(kind) if member not in (None, type(None))]
    nullable = _may_be_null(kind)
    if not members:
        return _read_nothing
    if len(members) == 1:
        sole = reader_for(members[0])
        return _nullable(sole) if nullable else sole
    objects = [member for member in members if _is_object(member)]
    arrays = [member for member in members if _is_array(member)]
    scalars = [member for member in members if member not in objects and member not in arrays]
    if len(objects) > 1 or len(arrays) > 1:
        # Told apart by a tag, which is msgspec's to read.
        return _as_msgspec(kind)
    read_scalar = _as_msgspec(typing.Union[tuple(scalars)] if scalars else kind)  # noqa: UP007
    read_object = reader_for(objects[0]) if objects else read_scalar
    read_array = reader_for(arrays[0]) if arrays else read_scalar

    def read(value: Any, reading: Reading) -> Any:
        if value is None and nullable:
            return None
        if isinstance(value, dict):
            return read_object(value, reading)
        if isinstance(value, list):
            return read_array(value, reading)
        return read_scalar(value, reading)

    return read


def _collection(origin: Any, arguments: tuple[Any, ...]) -> Reader:
    if origin is dict:
        return _dict_of(*(arguments or (str, Any)))
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return _row_of(arguments)
    return _list_of(arguments[0] if arguments else Any, origin)


def _reader_for(kind: Any) -> Reader:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in (Any, object):
        return _read_anything
    if kind in (None, type(None)):
        return _read_nothing
    if origin is typing.Annotated:
        if UNCHECKED in kind.__metadata__:
            return _unchecked(reader_for(arguments[0]))
        # A constraint is msgspec's to check.
        constrained = any(isinstance(note, msgspec.Meta) for note in kind.__metadata__)
        return _as_msgspec(kind) if constrained else reader_for(arguments[0])
    if _is_union(kind):
        return _union(kind)
    if kind is Snowflake:
        return _read_id
    if hasattr(kind, "__supertype__"):
        return reader_for(kind.__supertype__)
    if _is_array(kind) or (origin or kind) is dict:
        return _collection(origin or kind, arguments)
    return _class_reader(kind)


def _class_reader(kind: Any) -> Reader:
    known: dict[Any, Reader] = {str: _read_text, int: _read_int, datetime: _read_time}
    if kind in known:
        return known[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        config = kind.__struct_config__
        if not (config.array_like or config.forbid_unknown_fields or config.tag is not None):
            return _StructReader(kind)
    # Floats, bools, enums, and all that only classes of users hold.
    return _as_msgspec(kind)


# Cast: the type of a cache does not take a class as Hashable.
reader_for: Final = cast("Callable[[Any], Reader]", cache(_reader_for))
"""What reads ``kind``, any type that msgspec can decode. Raises what the annotations of a class raise."""
