"""`Event`, the base of every gateway event, and the metaclass that knows which event a class stands for."""

import re
import warnings
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

import msgspec

from propylon._base import Model, ModelMeta
from propylon._names import UnknownNameWarning, nearest, warn_of_event

__all__ = ["Event", "EventMeta", "intents_of"]

_EVENT_NAME: Final = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")

_Meta = TypeVar("_Meta", bound="EventMeta")

_INTENTS: Final[dict[str, int]] = {}
"""Event name to the intents that deliver it, told by the classes of this package as they are made."""
_FIELDS: Final[dict[str, set[str]]] = {}
"""Event name to its fields, by their names on the wire, told likewise."""
_PACKAGE: Final = "propylon.events."
_LIKE: Final = 0.8
"""Likeness of a field that may well be one that Discord has added: it has a default, as such a field should."""


def intents_of(event: str) -> int:
    """Bits of the intents that deliver an event, by its name on the wire; 0 if it is always sent or unknown."""
    return _INTENTS.get(event, 0)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class EventMeta(ModelMeta):
    """Metaclass of `Event`: takes ``event=`` and makes the class a frozen, keyword-only Struct."""

    __event_name__: str
    __intents__: int
    __guild_change__: str | None

    def __new__(
        mcls: type[_Meta],
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        /,
        *,
        event: str | None = None,
        intents: int | None = None,
        guild_change: str | None = None,
        **config: Any,
    ) -> _Meta:
        if event is None:
            # The MRO of the class does not exist yet, so the nearest base is looked for by hand.
            events = [base.__event_name__ for base in bases if isinstance(base, EventMeta)]
            event = next(filter(None, events), None)
            if event is None and events:
                raise TypeError(
                    f'{name} does not say which event it is: write class {name}(Event, event="MESSAGE_CREATE")'
                )
        elif not (isinstance(event, str) and _EVENT_NAME.fullmatch(event)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"{name}: event={event!r} is no event name; Discord writes them in capitals, as in 'MESSAGE_CREATE'"
            )
        if intents is not None and event is not None:
            _INTENTS.setdefault(event, intents)
        namespace["__event_name__"] = event or ""
        if guild_change is None:
            inherited = (base.__guild_change__ for base in bases if isinstance(base, EventMeta))
            guild_change = next(filter(None, inherited), None)
        namespace["__guild_change__"] = guild_change
        namespace["__intents__"] = intents if intents is not None else intents_of(event or "")
        cls = super().__new__(mcls, name, bases, namespace, **config)
        if cls.__module__.startswith(_PACKAGE):
            _FIELDS.setdefault(event or "", set()).update(cls.__struct_encode_fields__)
        elif event in _FIELDS:
            _check_fields(cls, event, bases)
        elif event is not None:
            warn_of_event(event, who=name, stacklevel=2)
        return cls


def _check_fields(cls: EventMeta, event: str, bases: tuple[type, ...]) -> None:
    """Warn of the fields of a narrow class that its event does not have, as far as is known."""
    inherited = {field for base in bases if isinstance(base, EventMeta) for field in base.__struct_fields__}
    # The defaults belong to the last fields.
    defaults = dict(zip(reversed(cls.__struct_fields__), reversed(cls.__struct_defaults__), strict=False))
    known = sorted(_FIELDS[event])
    for field, wire in zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True):
        if field in inherited or wire in known:
            continue
        required = defaults.get(field, msgspec.NODEFAULT) is msgspec.NODEFAULT
        meant = nearest(wire, known) if required else nearest(wire, known, _LIKE)
        if not (meant or required):
            continue
        advice = f"did you mean {meant!r}?" if meant else f"it has {', '.join(known)}."
        if required:
            advice += " Without a default for it, an event that lacks it never comes; UNSET is one"
        warnings.warn(f"{cls.__qualname__}: {event} has no field {wire!r}; {advice}", UnknownNameWarning, stacklevel=3)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Event(Model, metaclass=EventMeta):
    """Base of every gateway event; derive from it to read only the fields that you need.

    >>> class Ping(Event, event="MESSAGE_CREATE"):
    ...     content: str
    ...     channel_id: Snowflake

    Such a narrow class is listened to like any other event and decodes faster than the full one: what it does not name
    is skipped. Give a field that Discord may leave out the default `UNSET`. ``event=`` takes the name on the wire, also
    of an event that Propylon does not know yet, and ``intents=`` then the bits of the intents that deliver it; a class
    without ``event=`` stands for the same event as its base. The options of `msgspec.Struct` (such as ``rename=``) work
    too, except that every event is frozen and keyword-only.
    """

    __event_name__: ClassVar[str]
    """Name of the event on the wire, such as ``MESSAGE_CREATE``; empty for `Event` itself."""
    __intents__: ClassVar[int]
    """Bits of the intents that deliver the event, any one of which suffices; 0 if it is always sent or unknown."""
    __guild_change__: ClassVar[str | None]
    """The one meaning of GUILD_CREATE or GUILD_DELETE that the class stands for, as in `Dispatch.guild_change`."""
