"""Groups: classes whose methods listen, added to a gateway all at once.

Owns the marks that ``@listen`` leaves on methods, and which of them an object has. What an annotation means is
`propylon._listening.signature`'s.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, Protocol, TypeVar, overload

from propylon._filters.expression import Where
from propylon._listening.entry import Options, Wanted, name_of
from propylon._listening.signature import EventForm, is_event, wanted_from

__all__ = ["Listeners", "Mark", "TakesGroups", "added", "handler_of", "listen", "marked_methods"]

F = TypeVar("F", bound=Callable[..., Any])
G = TypeVar("G", bound="Listeners")

_MARK: Final = "__propylon_listen__"
_ADDED: Final = "__propylon_added__"
_NAME: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Mark:
    """What ``@listen`` notes on a method."""

    function: Any
    """Where it was put: a decorator above it may copy it along."""
    explicit: list[Wanted] | None
    options: Options
    names: dict[str, Any]
    """What the method's annotations may name besides globals."""


@overload
def listen(
    *events: EventForm,
    priority: int = 0,
    once: bool = False,
    concurrency: int | None = None,
    where: Where | None = None,
) -> Callable[[F], F]: ...
@overload
def listen(function: F, /) -> F: ...
def listen(
    *arguments: Any, priority: int = 0, once: bool = False, concurrency: int | None = None, where: Where | None = None
) -> Any:
    """Mark a method of a `Listeners` class: ``@listen``, ``@listen(priority=1)`` or ``@listen(MessageCreate)``.

    Everything means what it means at `Gateway.listen`. The method stays what it is; it listens once its object is
    given to `Gateway.add`.

    Raises:
        TypeError: It stands on a function outside a class, or the options do not fit the method.
    """
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    options = Options(priority, once, concurrency, where)
    if len(arguments) == 1 and not is_event(arguments[0]):
        return _mark(arguments[0], None, options, frame)
    explicit = [wanted for argument in arguments for wanted in wanted_from(argument, who="listen()")] or None

    def decorate(function: F) -> F:
        return _mark(function, explicit, options, frame)

    return decorate


def _mark(function: F, explicit: list[Wanted] | None, options: Options, frame: FrameType) -> F:
    if frame.f_locals is frame.f_globals:
        raise TypeError(
            f"{name_of(function)}: `listen` marks methods of a Listeners class; for a function use @gateway.listen"
        )
    plain: Any = getattr(function, "__func__", function)
    options.check(plain)
    previous: Mark | None = getattr(plain, _MARK, None)
    if previous is not None and previous.function is plain:
        raise TypeError(f"{name_of(plain)}: @listen stands there twice; name all events in one")
    setattr(plain, _MARK, Mark(plain, explicit, options, _names_for(plain, frame)))
    return function


def _names_for(function: Any, frame: FrameType | None) -> dict[str, Any]:
    """What the class body and the function around it know of the names in annotations that are text.

    Only of those, because they are kept; names of the module are the method's globals anyway.
    """
    try:
        annotations: dict[str, Any] = getattr(function, "__annotations__", {})
    except NameError:
        # Python 3.14 looks names up here and not where the method stands; what is missing is told when it is added.
        return {}
    text = " ".join(kind for kind in annotations.values() if isinstance(kind, str))
    wanted = set(_NAME.findall(text))
    found: dict[str, Any] = {}
    while wanted and frame is not None and frame.f_locals is not frame.f_globals:
        found = {**{name: frame.f_locals[name] for name in wanted.intersection(frame.f_locals)}, **found}
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            break
        frame = frame.f_back
    return found


def _mark_of(attribute: Any) -> Mark | None:
    mark = getattr(attribute, _MARK, None) or getattr(getattr(attribute, "__func__", None), _MARK, None)
    return mark if isinstance(mark, Mark) else None


class TakesGroups(Protocol):
    """What groups are added to: a `Gateway`, for one."""

    def add(self, group: G) -> G:
        """Add the marked methods of a group."""
        ...


class Listeners:
    """Base of a class whose methods listen, with whatever state they share::

        class Moderation(Listeners):
            def __init__(self, words: set[str]) -> None:
                self.words = words

            @listen
            async def on_message(self, message: MessageCreate) -> None: ...


        moderation = gateway.add(Moderation({"spam"}))

    Methods listen in the order in which they are defined, those of a base class first. As with any decorator, a method
    that overrides another listens if it is itself marked.

    A method ``on_error(self, error)`` hears the errors of the group's own listeners, in place of the gateway's
    handlers; ``on_close(self, closed)`` every end of a connection. They take what `Gateway.on_error` and
    `Gateway.on_close` take. One object may be added to several gateways.
    """

    def remove(self, gateway: "TakesGroups | None" = None) -> None:
        """Take all of it off a gateway at once, or off every gateway where it is. Nothing happens where it is not."""
        for added_to, remove in list(added(self)):
            if gateway is None or added_to is gateway:
                remove()


def added(group: Listeners) -> list[tuple[object, Callable[[], None]]]:
    """Where a group is, and what takes it off there."""
    # Not an attribute that __init__ sets: a subclass need not call it, and may be a frozen dataclass.
    places: list[tuple[object, Callable[[], None]]] = vars(group).setdefault(_ADDED, [])
    return places


def marked_methods(group: Listeners) -> Iterator[tuple[Callable[..., Any], Mark]]:
    """The methods of a group that listen, bound, with what they were marked with."""
    cls = type(group)
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    for name in names:
        mark = _mark_of(inspect.getattr_static(cls, name, None))
        if mark is not None:
            yield getattr(group, name), mark


def handler_of(group: Listeners, name: str) -> Callable[..., Any] | None:
    """The group's ``on_error`` or ``on_close``, where it has one that does not listen to an event."""
    method = getattr(group, name, None)
    return method if callable(method) and _mark_of(method) is None else None
