"""What a narrow class names: the engine cuts it out of an event before Python sees it.

Only what a decoder of the class would look at counts; whatever is not plain to see is taken whole.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeAlias, cast

from msgspec import inspect

from propylon.events import EVENTS, Event

__all__ = ["Fields", "fields_of", "joined"]

Fields: TypeAlias = dict[str, "Fields | None"]
"""Names as they are on the wire; None: all of the field."""

_MOST: Final = 32
"""Fields, those of fields among them. A class with more wants most of an event: cutting would cost and save nothing."""


def _fields_of(kind: type[Event]) -> Fields | None:
    """The fields of an event that a class names; None where it may want all of it."""
    if kind in EVENTS.values():
        return None
    try:
        return _Reader().fields(inspect.type_info(kind), ())
    # It has too many, or annotations that say nothing. Whoever decodes hears of the latter.
    except Exception:
        return None


# Cast: the type of a cache does not take a class as Hashable.
fields_of: Final = cast("Callable[[type[Event]], Fields | None]", cache(_fields_of))


class _Reader:
    """Reads one class. Raises OverflowError at more fields than are worth it: classes may refer to each other."""

    def __init__(self) -> None:
        self._left = _MOST

    def fields(self, info: Any, within: tuple[type, ...]) -> Fields | None:
        if isinstance(info, inspect.Metadata):
            info = info.type
        if isinstance(info, inspect.UnionType):
            others = [member for member in info.types if not isinstance(member, inspect.NoneType)]
            return self.fields(others[0], within) if len(others) == 1 else None
        if not isinstance(info, inspect.StructType):
            return None
        # A tag is a field that is read, an unknown field is refused; and a class may hold itself.
        if info.array_like or info.forbid_unknown_fields or info.tag_field is not None or info.cls in within:
            return None
        self._left -= len(info.fields)
        if self._left < 0:
            raise OverflowError
        inside = (*within, info.cls)
        return {field.encode_name: self.fields(field.type, inside) for field in info.fields}


def joined(several: list[Fields]) -> Fields:
    """What any of them wants."""
    all_fields: Fields = {}
    for fields in several:
        for name, parts in fields.items():
            known = all_fields.get(name, {})
            all_fields[name] = None if parts is None or known is None else joined([known, parts])
    return all_fields
