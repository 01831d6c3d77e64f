"""Conditions on events for ``where=``, evaluated in Rust on the bytes of an event, before Python hears of it.

>>> ~field("author.bot").is_true()
field('author.bot') != True
>>> (field("guild_id") == 41) & field("content").startswith("!")
(field('guild_id') == 41) & field('content').startswith('!')

What each operator says of a field, by what the event holds there (`docs/filters.md` has the fine print):

=========================  ======  =====  ==================  ===================  ==================  ======
condition                  absent  null   number              string               array               object
=========================  ======  =====  ==================  ===================  ==================  ======
``f.exists()``             False   True   True                True                 True                True
``f.is_null()``            False   True   False               False                False               False
``f == None``              False   True   False               False                False               False
``f == 5``                 False   False  equal numbers       is it ``"5"``?       False               False
``f == "a"``               False   False  False               equal texts          False               False
``f < 5``, ``<= > >=``     False   False  as numbers          if digits, likewise  False               False
``f < "a"``, ``<= > >=``   False   False  False               by code points       False               False
``f < a datetime``, …      False   False  False               by the moment        False               False
``f.is_in(…)``             False   as ``==`` with any of them, None included
``f.startswith("a")``      False   False  False               yes                  False               False
``f.endswith("a")``        False   False  False               yes                  False               False
``f.contains("a")``        False   False  False               a part of it         an element equals   False
``f.contains(5)``          False   False  False               False                an element equals   False
=========================  ======  =====  ==================  ===================  ==================  ======

``f != x`` is ``~(f == x)``, and ``~`` turns the answer around, so that ``f != 5`` is True where the field is absent.
True and False equal only JSON's ``true`` and ``false``.
"""

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Final, Never, TypeAlias, final

import orjson

import propylon._core as _core
from propylon._base import UNSET, Model
from propylon._core import Dispatch
from propylon._filters.types import Operand, fit
from propylon.events import Event

__all__ = ["Field", "Filter", "Where", "asks_equality", "compiled", "description", "field", "fitted", "paths"]

_PATH: Final = re.compile(r"[^.]+(\.[^.]+)*")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_DEPTH: Final = 32
"""As in Rust."""
_EQUALITY: Final = frozenset({"==", "in"})


def field(path: str, /) -> "Field":
    """A field of an event, to be compared: ``field("content")``, or ``field("author.id")`` for one of an object in it.

    Names are those on the wire, which the classes of `propylon.events` have too. Whether the event has the field, and
    whether the operand fits it, is checked when the listener is added.

    Raises:
        TypeError, ValueError: ``path`` is no such text.
    """
    if not isinstance(path, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"field() takes the name of a field, as in field('author.id'), not {path!r}")
    if not _PATH.fullmatch(path) or path.count(".") >= _MAX_DEPTH:
        raise ValueError(f"{path!r} is no field: write names with single dots between, as in 'author.id'")
    return Field(_text(path))


class _Immutable:
    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")


@final
class Field(_Immutable):
    """A field of an event, made by `field`. Its operators and methods give conditions (`Filter`).

    Operands are `None`, `bool`, `int`, finite `float`, `str`, members of enums of int and str, and aware `datetime`.
    Because ``==`` makes a condition, a Field cannot be hashed.
    """

    __slots__ = ("_path",)
    __hash__: ClassVar[None]  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    _path: str

    def __init__(self, path: str) -> None:
        """Use `field`, which checks the path."""
        object.__setattr__(self, "_path", path)

    def __eq__(self, value: object, /) -> "Filter":  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Whether it equals ``value``; with None: whether it is null."""
        operand = self._operand("==", value)
        return self.is_null() if operand is None else Filter("==", (), self._path, operand)

    def __ne__(self, value: object, /) -> "Filter":  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """``~(field == value)``: also where the field is absent."""
        return ~(self == value)

    def __lt__(self, value: float | str | datetime, /) -> "Filter":
        """Whether it is a smaller number, an earlier text or an earlier moment."""
        return self._ordered("<", value)

    def __le__(self, value: float | str | datetime, /) -> "Filter":
        """Whether it is smaller or earlier, or equal."""
        return self._ordered("<=", value)

    def __gt__(self, value: float | str | datetime, /) -> "Filter":
        """Whether it is a greater number, a later text or a later moment."""
        return self._ordered(">", value)

    def __ge__(self, value: float | str | datetime, /) -> "Filter":
        """Whether it is greater or later, or equal."""
        return self._ordered(">=", value)

    def is_in(self, values: "Iterable[float | str | datetime | None]", /) -> "Filter":
        """Whether it equals one of ``values``, of which there may be many: they are searched, not tried in turn."""
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{self!r}.is_in() takes a collection of values, as in is_in([1, 2]), not {values!r}")
        return Filter("in", (), self._path, _set(self._operand("is_in", one) for one in values))

    def startswith(self, text: str, /) -> "Filter":
        """Whether it is a text that begins with ``text``."""
        return self._textual("startswith", text)

    def endswith(self, text: str, /) -> "Filter":
        """Whether it is a text that ends with ``text``."""
        return self._textual("endswith", text)

    def contains(self, value: float | str, /) -> "Filter":
        """Whether it is a text that ``value`` occurs in, or an array with an element that equals ``value``."""
        operand = self._operand("contains", value)
        if operand is None:
            raise TypeError(f"{self!r}.contains() takes a value, not None")
        return Filter("contains", (), self._path, operand)

    def exists(self) -> "Filter":
        """Whether the event has the field, be it null."""
        return Filter("exists", (), self._path)

    def is_null(self) -> "Filter":
        """Whether the field is there and null. Where an absent one is meant too: ``f.is_null() | ~f.exists()``."""
        return Filter("null", (), self._path)

    def is_true(self) -> "Filter":
        """``field == True``, for linters that frown at that; ``~f.is_true()`` where it is false, null or absent."""
        return self == True  # noqa: E712

    def _ordered(self, operator: str, value: object) -> "Filter":
        operand = self._operand(operator, value)
        if operand is None or isinstance(operand, bool):
            raise TypeError(f"{self!r} {operator} {value!r}: only numbers, texts and times have an order")
        return Filter(operator, (), self._path, operand)

    def _textual(self, operator: str, text: str) -> "Filter":
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{self!r}.{operator}() takes a text, not {text!r}")
        return Filter(operator, (), self._path, _text(text))

    def _operand(self, operator: str, value: Any) -> Operand:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            if not -(1 << 63) <= value < 1 << 64:
                raise ValueError(f"{self!r} {operator} {value}: Discord's integers have at most 64 bits")
            return int(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise TypeError(f"{self!r} {operator} {value}: JSON has no such number; compare with a finite one")
            return float(value)
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, datetime):
            if value.utcoffset() is None:
                raise TypeError(
                    f"{self!r} {operator} {value!r}: it has no time zone; give it one, such as datetime.UTC"
                )
            return value.astimezone(UTC)
        if value is UNSET:
            advice = "ask whether it is absent with ~field.exists()"
        elif isinstance(value, Field | Filter):
            advice = "a field compares with values only; put comparisons that are combined with & or | in parentheses"
        elif isinstance(value, date):
            advice = "a date is no moment; give an aware datetime"
        elif isinstance(value, Model):
            advice = "compare one of its fields, such as its id"
        elif isinstance(value, Iterable):
            advice = "to compare with several values use is_in()"
        else:
            advice = "a field compares with None, bool, int, float, str, datetime"
        raise TypeError(f"{self!r} {operator} {value!r}: {advice}")

    def __repr__(self) -> str:
        """As it was made."""
        return f"field({self._path!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what makes it."""
        return Field, (self._path,)

    def __bool__(self) -> Never:
        """Raise TypeError: by itself it is no condition."""
        raise TypeError(
            f"{self!r} by itself is no condition: compare it, or write {self!r}.is_true(), and put comparisons that "
            "are combined with & or | in parentheses"
        )

    def __and__(self, other: object, /) -> Never:
        """Raise TypeError: by itself it is no condition."""
        self.__bool__()

    def __or__(self, other: object, /) -> Never:
        """Raise TypeError: by itself it is no condition."""
        self.__bool__()

    def __invert__(self) -> Never:
        """Raise TypeError: by itself it is no condition."""
        self.__bool__()

    __rand__ = __and__
    __ror__ = __or__


@final
class Filter(_Immutable):
    """A condition on an event, made from `field`. Combine conditions with ``&``, ``|`` and ``~``.

    It has no truth value: ``and``, ``or``, ``not`` and chains such as ``1 < field("x") < 5`` raise TypeError. Filters
    are immutable, hash, pickle, and are equal when they are written alike.
    """

    __slots__ = ("_compiled", "_depth", "_description", "_operand", "_operator", "_parts", "_path")
    _operator: str
    _parts: "tuple[Filter, ...]"
    _path: str
    _operand: Operand | tuple[Operand, ...]
    _depth: int
    _description: str | None
    _compiled: "_core.Filter | None"

    def __init__(
        self,
        operator: str,
        parts: "tuple[Filter, ...]" = (),
        path: str = "",
        operand: Operand | tuple[Operand, ...] = None,
    ) -> None:
        """Use `field`."""
        depth = 1 + max((part._depth for part in parts), default=0)
        if depth > _MAX_DEPTH:
            raise ValueError(f"filters can be nested {_MAX_DEPTH} deep, not more")
        for name, value in (
            ("_operator", operator),
            ("_parts", parts),
            ("_path", path),
            ("_operand", operand),
            ("_depth", depth),
            ("_description", None),
            ("_compiled", None),
        ):
            object.__setattr__(self, name, value)

    def __and__(self, other: "Filter", /) -> "Filter":
        """Where both match."""
        return self._combined("and", other)

    def __or__(self, other: "Filter", /) -> "Filter":
        """Where at least one matches."""
        return self._combined("or", other)

    def __invert__(self) -> "Filter":
        """Where it does not match."""
        return self._parts[0] if self._operator == "not" else Filter("not", (self,))

    def _combined(self, operator: str, other: object) -> "Filter":
        if isinstance(other, Field):
            bool(other)  # raises
        if not isinstance(other, Filter):
            raise TypeError(
                f"a filter combines with filters only, not with {other!r}; comparisons that are combined with & or | "
                "stand in parentheses, and functions are given as where= alone"
            )
        parts = [part for one in (self, other) for part in (one._parts if one._operator == operator else (one,))]
        return Filter(operator, tuple(parts))

    __rand__ = __and__
    __ror__ = __or__

    def __bool__(self) -> Never:
        """Raise TypeError: it is known for an event only."""
        raise TypeError(
            f"{self!r} has no truth value of its own: combine filters with &, | and ~ instead of and, or and not, and "
            "write (1 < f) & (f < 5) instead of 1 < f < 5"
        )

    def __eq__(self, other: object) -> bool:
        """Whether it is written alike."""
        return description(self) == description(other) if isinstance(other, Filter) else NotImplemented

    def __hash__(self) -> int:
        """As `==` asks."""
        return hash(description(self))

    def __repr__(self) -> str:
        """As it was made."""
        operand, this = self._operand, f"field({self._path!r})"
        match self._operator:
            case "and" | "or" as word:
                return {"and": " & ", "or": " | "}[word].join(f"({part!r})" for part in self._parts)
            case "not":
                (part,) = self._parts
                if part._operator == "==":
                    return f"field({part._path!r}) != {part._operand!r}"
                return f"~({part!r})"
            case "==" | "<" | "<=" | ">" | ">=" as sign:
                return f"{this} {sign} {operand!r}"
            case "in":
                return f"{this}.is_in({list(operand) if isinstance(operand, tuple) else operand!r})"
            case "exists":
                return f"{this}.exists()"
            case "null":
                return f"{this}.is_null()"
            case method:
                return f"{this}.{method}({operand!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what makes it."""
        return Filter, (self._operator, self._parts, self._path, self._operand)

    def matches(self, event: "Dispatch[Any] | bytes", /) -> bool:
        """Whether an event matches: what Rust decides, for your own tests.

        Args:
            event: A `Dispatch`, which is matched (and whose fields are checked) as for a listener of its type; or the
                JSON of an event's ``d``, of which nothing is checked.

        Raises:
            TypeError, ValueError: The filter does not fit the event, or ``event`` is neither of the two.
        """
        if isinstance(event, Dispatch):
            return compiled(_fitted(self, event.type)).matches(event)
        if not isinstance(event, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"matches() takes a Dispatch or the JSON of an event's d as bytes, not {event!r}")
        return compiled(self).matches(event)


Where: TypeAlias = Filter | Callable[[Any], object]
"""What ``where=`` takes: a filter, or a function of the event that gives True or False."""


# Below is what this package asks of a filter, outside the class so that users are not offered it.
# pyright: reportPrivateUsage=false


def description(one: Filter) -> str:
    """What Rust compiles: JSON."""
    if one._description is None:
        object.__setattr__(one, "_description", orjson.dumps(_described(one)).decode())
    assert one._description is not None
    return one._description


def _described(one: Filter) -> list[Any]:
    if one._parts:
        return [one._operator, *map(_described, one._parts)]
    if one._operator in ("exists", "null"):
        return [one._operator, one._path]
    operand = one._operand
    return [one._operator, one._path, [*map(_json, operand)] if isinstance(operand, tuple) else _json(operand)]


def compiled(one: Filter) -> _core.Filter:
    """What Rust evaluates."""
    if one._compiled is None:
        object.__setattr__(one, "_compiled", _core.Filter(description(one)))
    assert one._compiled is not None
    return one._compiled


def fitted(one: Filter, event: str, kind: type[Event] | None = None) -> Filter:
    """The filter for one event, checked against its class (and, before it, ``kind``).

    Ids that were given as text are numbers in it. An event without a class is not checked.

    Raises:
        ValueError: The event has no such field; the text has the nearest name.
        TypeError: An operator or operand does not fit the field.
    """
    if one._parts:
        return Filter(one._operator, tuple(fitted(part, event, kind) for part in one._parts))
    operand = fit(event, kind, one._path, one._operator, one._operand)
    if isinstance(operand, tuple):
        operand = _set(operand)
    return one if operand == one._operand else Filter(one._operator, (), one._path, operand)


def paths(one: Filter) -> set[str]:
    """The fields that it asks."""
    return {one._path} if not one._parts else {path for part in one._parts for path in paths(part)}


def asks_equality(one: Filter) -> bool:
    """Whether an index of the engine finds it: it is an equality, or has one among conditions that all must hold."""
    return one._operator in _EQUALITY or (
        one._operator == "and" and any(part._operator in _EQUALITY for part in one._parts)
    )


@lru_cache(maxsize=256)
def _fitted(one: Filter, event: str) -> Filter:
    return fitted(one, event)


def _json(operand: Operand) -> Any:
    if isinstance(operand, datetime):
        return {"time": (operand - _EPOCH) // timedelta(microseconds=1)}
    # A float as text, which each side reads to the last bit.
    return {"float": repr(operand)} if isinstance(operand, float) else operand


def _set(operands: Iterable[Operand]) -> tuple[Operand, ...]:
    """Each once (1, 1.0 and True are three), and sorted, so that equal sets make equal filters."""
    several = {(type(operand).__name__, operand) for operand in operands}
    return tuple(operand for _, operand in sorted(several, key=_order))


def _order(one: tuple[str, Operand]) -> tuple[str, Any]:
    # None is alone of its type, and has no order.
    return one[0], 0 if one[1] is None else one[1]


def _text(text: str) -> str:
    """Not the member of an enum, which has a str of its own; and nothing that has no UTF-8."""
    plain = str.__str__(text)
    try:
        plain.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{plain!r} holds half a surrogate pair, which is no text") from None
    return plain
