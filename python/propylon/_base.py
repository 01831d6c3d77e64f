"""What every model and event stands on: the Struct base, open enums, unchecked types and hidden secrets.

Owns no Discord object of its own. `propylon.models` builds objects from this, `propylon.events` events.
"""

from datetime import datetime
from enum import IntEnum, StrEnum
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    dataclass_transform,
    get_origin,
)

import msgspec
from msgspec import UNSET, UnsetType

from propylon.snowflake import Snowflake, snowflake_time

__all__ = [
    "NO_ID",
    "UNSET",
    "Identified",
    "Model",
    "ModelMeta",
    "OpenIntEnum",
    "OpenStrEnum",
    "Unchecked",
    "UnsetType",
    "one_line",
    "or_none",
]

NO_ID: Final = Snowflake(0)
"""Stands for an id that was left out where Discord has always sent it: in a partial object, of which it promises
nothing, or the guild of an event that happens in guilds only. A default keeps the field a plain `Snowflake`, and no
real id is 0."""

SECRETS: Final = frozenset({"session_id", "token"})
"""Fields that a repr never shows, by the name on the wire, so that a user's own narrow class hides them too."""

_Meta = TypeVar("_Meta", bound="ModelMeta")

_CONFIG: Final = {"frozen": True, "kw_only": True, "gc": False}


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class ModelMeta(msgspec.StructMeta):
    """Makes a class a frozen, keyword-only Struct that the garbage collector does not track.

    ``gc=False`` is safe because decoded data holds no cycles: JSON cannot express one and the fields cannot be
    assigned afterwards.
    """

    __shown_fields__: tuple[str, ...]

    def __new__(
        mcls: type[_Meta], name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **config: Any
    ) -> _Meta:
        for option, value in _CONFIG.items():
            if config.setdefault(option, value) is not value:
                raise TypeError(f"{name}: {option}={config[option]} is not possible, {option}={value} is fixed here")
        # msgspec looks for each key from the field after the last one it found. Discord sends the keys of all but
        # its largest objects in falling order (type, timestamp, ..., author), so falling order is found quickest:
        # a message decodes in 2.25 µs instead of 2.8. All fields are keywords, so the order of the source is kept
        # for reprs alone. (Python 3.14 keeps annotations elsewhere; there the order of the source stays.)
        annotations: dict[str, Any] = namespace.get("__annotations__", {})
        if annotations:
            namespace["__annotations__"] = {
                field: _or_null(kind) if namespace.get(field) is UNSET else kind
                for field, kind in sorted(annotations.items(), reverse=True)
            }
        cls = super().__new__(mcls, name, bases, namespace, **config)
        inherited = [field for base in bases if isinstance(base, ModelMeta) for field in base.__shown_fields__]
        order = dict.fromkeys([*inherited, *annotations, *cls.__struct_fields__])
        cls.__shown_fields__ = tuple(field for field in order if field in cls.__struct_fields__)
        return cls


def _or_null(kind: Any) -> Any:
    """The annotation of a field that may be left out, which decodes from null too.

    Discord sends some nulls before it documents them (a guest's `joined_at` was one), and an event must not be decoded
    the slow way for them. Such a null arrives as None, in spite of the type; like `UNSET` it is false. In a field with
    any other default a null becomes that default, see `propylon.events._reading`.
    """
    return f"{kind} | None" if isinstance(kind, str) else kind | None


class _Hidden:
    """Shows in place of a secret."""

    def __repr__(self) -> str:
        return "<hidden>"


_HIDDEN: Final = _Hidden()


# The metaclass tells pyright, the class mypy, which asks base classes first and would find msgspec's declaration.
@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Model(msgspec.Struct, metaclass=ModelMeta):
    """Base of all objects that events carry.

    Instances are frozen, compare by value, pickle, and encode with `msgspec.json.encode`. A field that Discord left
    out is `UNSET` (which is false), one that it sent as null is None. Unknown fields are skipped. The repr leaves out
    what has its default, and hides what opens a session, a voice connection or an interaction.
    """

    def __repr__(self) -> str:
        """The class and the fields that tell something, in the order of the source."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The same for the library rich."""
        cls = type(self)
        # The defaults belong to the last fields.
        fields = reversed(cls.__struct_fields__)
        defaults = dict(zip(fields, reversed(cls.__struct_defaults__), strict=False))
        secret = {
            field
            for field, key in zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
            if key in SECRETS
        }
        shown: list[tuple[str, Any]] = []
        for field in cls.__shown_fields__:
            value = getattr(self, field)
            if value is not UNSET and value != {} and value != defaults.get(field, msgspec.NODEFAULT):
                shown.append((field, _HIDDEN if field in secret else value))
        return shown


class _HasId(Protocol):
    @property
    def id(self) -> Snowflake: ...


class Identified(Model):
    """Adds the age of the object to a model whose ``id`` is a snowflake."""

    @property
    def created_at(self: _HasId) -> datetime:
        """When the object was made, read from its id: aware, UTC, exact to the millisecond."""
        return snowflake_time(self.id)


class OpenIntEnum(IntEnum):
    """An integer enum that keeps values unknown to this version of Propylon.

    Discord adds values without notice. An unknown one becomes a member named ``UNKNOWN_<value>``: equal to its number,
    encoded as its number, but in no listing of the enum. Compare such members with ``==``, not with ``is``.
    """

    @classmethod
    def _missing_(cls, value: object) -> "OpenIntEnum | None":
        if not isinstance(value, int):
            return None
        # Not registered on the class: a sender that counts up must not fill the memory.
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value}"
        member._value_ = int(value)
        return member

    @property
    def is_known(self) -> bool:
        """Whether this version of Propylon has a name for the value."""
        return self._name_ in type(self).__members__


class OpenStrEnum(StrEnum):
    """A string enum that keeps values unknown to this version of Propylon; see `OpenIntEnum`."""

    @classmethod
    def _missing_(cls, value: object) -> "OpenStrEnum | None":
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value}"
        member._value_ = str(value)
        return member

    @property
    def is_known(self) -> bool:
        """Whether this version of Propylon has a name for the value."""
        return self._name_ in type(self).__members__


_T = TypeVar("_T")


def or_none(value: _T | UnsetType) -> _T | None:
    """The value of a field that Discord may leave out, and None where it did: ``or_none(message.member)``.

    For type checkers too: what was ``PartialMember | UnsetType`` is ``PartialMember | None``.
    """
    return None if isinstance(value, UnsetType) else value


UNCHECKED: Final = "unchecked"
"""Marks the annotations that `Unchecked` makes."""

if TYPE_CHECKING:
    Unchecked: TypeAlias = Annotated[_T, "whatever the sender wrote"]
else:

    class Unchecked:
        """``Unchecked[X]`` reads as ``X`` and decodes from anything.

        Discord does not validate what a presence holds ("any combination of fields and types"), and one odd activity
        must not cost the event. So the type is what Discord documents and what practically always comes, while at run
        time a value of another JSON type is kept as it is, a text where an id should be too. A number that was written
        as text is a number where one is documented, and null is the default of the field, as everywhere.
        """

        def __class_getitem__(cls, kind: Any) -> Any:
            return Annotated[Union[_taken(kind)], UNCHECKED]  # noqa: UP007 - of a tuple


def _taken(kind: Any) -> tuple[Any, ...]:
    """What is decoded at once; all else, which is rare, is refused first and then kept (`propylon.events._reading`)."""
    origin = get_origin(kind) or kind
    if origin in (Union, UnionType):
        return (Any,)
    if origin is tuple:
        documented: tuple[Any, ...] = (list,)
    elif kind is not Snowflake and issubclass(origin, msgspec.Struct):
        documented = (dict,)
    elif kind is Snowflake or (issubclass(origin, int | float) and origin is not bool):
        # Beside str, msgspec would leave "123" a string; beside float, 5.0 a float.
        documented = (int, float, str)
    else:
        documented = (str if issubclass(origin, str) else bool,)
    return (kind, *(other for other in (str, int, float, bool, list, dict) if other not in documented))


def one_line(text: str) -> str:
    """What a terminal would obey is spelled out: the name of an event, too, is the server's."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
