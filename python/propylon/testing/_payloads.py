"""Payloads for tests, made from the class that will read them: its defaults, and plausible values where it has none.

Any msgspec Struct does: the events and models of this package, and a user's own narrow class. Nothing here names one,
so that a new field of a class needs no line in this file. What msgspec refuses is refused here, with the place.
"""

import typing
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec
import msgspec.structs
from msgspec import NODEFAULT, UNSET

from propylon._names import nearest
from propylon.snowflake import DISCORD_EPOCH, Snowflake

__all__ = ["make", "make_event"]

_T = TypeVar("_T")

_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When everything happens. A fixed moment: the same call makes the same payload, byte for byte."""
_FIRST_ID: Final = (int(_NOW.timestamp() * 1000) - DISCORD_EPOCH) << 22
_LOW_BITS: Final = (1 << 22) - 1
"""What an id has beside its time."""

_NUMBERS: Final = {"timestamp": int(_NOW.timestamp()), "shard_id": 0}
"""Numbers that 1 would be odd for, by field. Shard 0 is the one that a single shard is."""
_UNAVAILABLE: Final = {"available": False, "unavailable": True}
"""What GUILD_CREATE and GUILD_DELETE say of `unavailable`, by the meaning that a class stands for. The other two
meanings leave it out."""


def make(kind: type[msgspec.Struct], /, **fields: Any) -> dict[str, Any]:
    """Make a payload that ``kind``, an event or a model, decodes: plain JSON, as `Simulator.dispatch` takes it.

    ::

        make(MessageCreate, content="!ping", author__id=7)

    ``author__id`` is the field ``id`` of the object in the field ``author``. What is not named has the default of the
    class, and a value that fits where it has none: each id another, from the name of its field, so that the same call
    always makes the same payload; all of it happens on 1 January 2026 UTC. Ids become strings, as Discord writes them.

    Values may be JSON, ids as numbers, datetimes, enums, objects of the classes, and what `make` returned. `UNSET`
    leaves the field out. A dict stands for the whole object, with any keys: Discord may add some.

    Args:
        kind: An event class of `propylon.events`, a class of `propylon.models`, or a narrow class of yours.
        fields: Values by the names that the class has, not those on the wire.

    Raises:
        TypeError: There is no such field, or no value for one can be thought of; the text says which was meant.
        ValueError: A value does not fit; the text says which, and what would.
    """
    return _made(kind, fields)[0]


def make_event(kind: type[_T], /, **fields: Any) -> _T:
    """Make an event, or a model, to call a listener with: what ``kind`` decodes from the payload of `make`.

    ::

        await on_message(make_event(MessageCreate, content="!ping"))

    Raises what `make` raises.
    """
    event: _T = _made(kind, fields)[1]
    return event


def _made(kind: Any, fields: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        raise TypeError(f"make() takes the class of an event or a model, such as MessageCreate, not {kind!r:.100}")
    payload = _object(kind, fields, ())
    try:
        raw = msgspec.json.encode(payload)
        # The same reading as that of an event from the wire, before anything is mended.
        return msgspec.json.decode(raw), msgspec.json.Decoder(kind, strict=False).decode(raw)
    except ValueError as error:
        raise ValueError(f"{kind.__qualname__}: {error}") from None


def _object(kind: type[msgspec.Struct], given: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """One object, with the keys of the wire."""
    # msgspec.inspect has an id as an int, like any count.
    hints = typing.get_type_hints(kind, include_extras=True)
    known = {field.name: field for field in msgspec.structs.fields(kind)}
    whole, inside = _sorted_out(kind, given, known, path)
    payload: dict[str, Any] = {}
    for name, field in known.items():
        at, hint = (*path, name), hints[name]
        if name in whole:
            value = _as_sent(whole[name], hint, at)
        elif field.required or (field.default == 0 and _plain(hint) is Snowflake):
            # The second is an id that Discord always sends: its default is for servers that do not.
            value = _value(hint, at)
        else:
            value = _default(kind, field, hint, at)
        if name in inside:
            value = _with(value, hint, inside[name], at)
        if value is not UNSET:
            payload[field.encode_name] = value
    return payload


def _sorted_out(
    kind: type[msgspec.Struct], given: Mapping[str, Any], known: Mapping[str, object], path: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Values of whole fields, and those of fields within them."""
    whole: dict[str, Any] = {}
    inside: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        field, _, rest = name.partition("__")
        if name in known:
            whole[name] = value
        elif field in known and rest:
            inside.setdefault(field, {})[rest] = value
        else:
            meant = nearest(field, known)
            advice = f"did you mean {_keyword((*path, meant))!r}?" if meant else f"it has {', '.join(sorted(known))}"
            raise TypeError(f"{kind.__qualname__} has no field {field if rest else name!r}; {advice}")
    return whole, inside


def _with(value: Any, hint: Any, given: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """An object with some fields given, whether or not it was there."""
    kind = _struct(hint)
    if kind is None:
        raise TypeError(f"{_keyword(path)!r} holds no object: there is no field {next(iter(given))!r} in it")
    made = _object(kind, given, path)
    if not isinstance(value, dict):
        return made
    there = cast("dict[str, Any]", value)
    # It was given as a whole too: only what was named within is changed.
    wire = {field.name: field.encode_name for field in msgspec.structs.fields(kind)}
    named = {wire[name.partition("__")[0] if name not in wire else name] for name in given}
    kept = {key: each for key, each in there.items() if key not in named}
    return kept | {key: made[key] for key in named if key in made}


def _default(kind: type[msgspec.Struct], field: msgspec.structs.FieldInfo, hint: Any, path: tuple[str, ...]) -> Any:
    default = field.default if field.default_factory is NODEFAULT else field.default_factory()
    if field.name == "unavailable" and len(path) == 1:
        return _UNAVAILABLE.get(getattr(kind, "__guild_change__", None) or "", default)
    if isinstance(default, msgspec.Struct):
        # It stands for an object that a server left out, which Discord does not.
        return _object(type(default), {}, path)
    return _as_sent(default, hint, path)


def _alternatives(hint: Any) -> Iterator[Any]:
    """What a value may be, first what is documented."""
    origin = get_origin(hint)
    if origin is Annotated:
        yield from _alternatives(get_args(hint)[0])
    elif origin in (Union, UnionType):
        for each in get_args(hint):
            yield from _alternatives(each)
    else:
        yield hint


def _plain(hint: Any) -> Any:
    """The type of a value that is there."""
    kinds = [each for each in _alternatives(hint) if each not in (type(None), msgspec.UnsetType)]
    return kinds[0] if kinds else type(None)


def _struct(hint: Any) -> type[msgspec.Struct] | None:
    kind = _plain(hint)
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _value(hint: Any, path: tuple[str, ...]) -> Any:
    """One that fits a field without a default."""
    if type(None) in _alternatives(hint):
        return None
    kind = _plain(hint)
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if kind is Snowflake:
        return str(_FIRST_ID | (zlib.crc32(".".join(path).encode()) & _LOW_BITS))
    if kind is Any:
        return None
    if origin is Literal:
        return arguments[0]
    if origin is tuple and arguments and arguments[-1] is not ...:
        return [_value(each, (*path, str(number))) for number, each in enumerate(arguments)]
    if isinstance(origin, type):
        if issubclass(origin, msgspec.Struct):
            return _object(origin, {}, path)
        if issubclass(origin, Enum):
            return next(iter(origin)).value
        for of, value in _BY_TYPE.items():
            if issubclass(origin, of):
                return value(path[-1])
    raise TypeError(f"make() knows no value of the type of {_keyword(path)!r}, {kind!r:.100}: give it one")


_BY_TYPE: Final[Mapping[Any, typing.Callable[[str], Any]]] = {
    bool: lambda _: False,  # before int, which it is too
    int: lambda name: _NUMBERS.get(name, 1),
    float: lambda _: 1.0,
    str: lambda name: name,
    datetime: lambda _: _NOW.isoformat(timespec="microseconds"),
    tuple: lambda _: [],
    list: lambda _: [],
    set: lambda _: [],
    frozenset: lambda _: [],
    dict: lambda _: {},
    Mapping: lambda _: {},
}
"""From the name of a field to its value. Each time a new one: a payload is the caller's to change."""


def _as_sent(value: Any, hint: Any, path: tuple[str, ...]) -> Any:
    """A value of the caller's as JSON has it, with ids as strings."""
    if value is UNSET:
        return value
    try:
        return _with_ids(msgspec.to_builtins(value, str_keys=True), hint)
    # It is nothing that JSON has, or has it for a key.
    except TypeError as error:
        raise TypeError(f"{_keyword(path)!r}: {error}") from None


def _with_ids(value: Any, hint: Any) -> Any:
    """The same with ids as strings, wherever ``hint`` says that one stands."""
    kind = _plain(hint)
    arguments = get_args(kind)
    if kind is Snowflake:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        if (struct := _struct(hint)) is not None:
            hints = typing.get_type_hints(struct, include_extras=True)
            of_key = {field.encode_name: hints[field.name] for field in msgspec.structs.fields(struct)}
            return {key: _with_ids(each, of_key.get(key, Any)) for key, each in entries.items()}
        of_value = arguments[1] if len(arguments) == 2 else Any
        return {key: _with_ids(each, of_value) for key, each in entries.items()}
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        fixed = get_origin(kind) is tuple and arguments[-1] is not ...
        of_item = arguments[0] if arguments else Any
        return [
            _with_ids(each, arguments[number] if fixed and number < len(arguments) else of_item)
            for number, each in enumerate(items)
        ]
    return value


def _keyword(path: tuple[str, ...]) -> str:
    """As the caller writes it."""
    return "__".join(path)
