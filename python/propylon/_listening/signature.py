"""What a function that listens asks for, read from its signature. Owns the meaning of annotations."""

import inspect
import sys
import types
import typing
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast, get_args, get_origin

from propylon._arguments import class_name
from propylon._core import Dispatch
from propylon._listening.entry import ALL, Wanted, name_of
from propylon._names import nearest
from propylon.events import EVENTS, Event

if TYPE_CHECKING:
    # Part of every type checker; not needed at run time.
    from typing_extensions import TypeForm

__all__ = ["EventForm", "class_of", "is_event", "names_of_caller", "return_of", "wanted_from", "wants_of"]

EventForm: TypeAlias = "type[Event] | type[Dispatch[Any]] | TypeForm[Event | Dispatch[Any]]"
"""What names events in a call: an event class, `Dispatch`, ``Dispatch[MessageCreate]``, or a union of those."""

_EXPLICIT: Final = "name it explicitly instead: @gateway.listen(MessageCreate)"
_IMPORT: Final = "import the name where it exists at run time, outside `if TYPE_CHECKING:`"

# From Python 3.12 on: the type of `type Chat = MessageCreate | MessageUpdate`.
_ALIAS: Final[tuple[type, ...]] = tuple(filter(None, [getattr(typing, "TypeAliasType", None)]))


def names_of_caller() -> dict[str, Any]:
    """The local names where a decorator of a face stands: its annotations may name classes that are local there."""
    return sys._getframe(2).f_locals  # pyright: ignore[reportPrivateUsage]


def wanted_from(annotation: Any, *, who: str) -> list[Wanted]:
    """What an annotation (or an argument of ``listen``) asks for. Raises TypeError where it is no event."""
    if annotation is Dispatch:
        return [Wanted(ALL, None)]
    origin = get_origin(annotation)
    if origin is Dispatch:
        (inner,) = get_args(annotation)
        if inner is Any:
            return [Wanted(ALL, None)]
        return [wanted.raw() for wanted in wanted_from(inner, who=who)]
    if origin in (typing.Union, types.UnionType):
        # No event is None: `MessageCreate | None` is written where a function is called by others too.
        members = [member for member in get_args(annotation) if member is not type(None)]
        return [wanted for member in members for wanted in wanted_from(member, who=who)]
    if origin is typing.Annotated:
        return wanted_from(get_args(annotation)[0], who=who)
    if isinstance(annotation, _ALIAS):
        return wanted_from(annotation.__value__, who=who)  # type: ignore[attr-defined]
    if isinstance(annotation, type) and issubclass(annotation, Event):
        if annotation is Event:
            raise TypeError(f"{who}: Event is no event by itself; listen to a class of propylon.events or to Dispatch")
        return [Wanted(annotation.__event_name__, annotation, change=annotation.__guild_change__)]
    if isinstance(annotation, str):
        raise TypeError(f"{who}: {annotation!r} is no event class; {_class_for(annotation)}")
    raise TypeError(
        f"{who}: {annotation!r} is no event. Annotate the first parameter with an event class such as MessageCreate, "
        f"a union of them, Dispatch, or Dispatch[MessageCreate]; or {_EXPLICIT}"
    )


def _class_for(name: str) -> str:
    """What to write in place of the name of an event."""
    kind = EVENTS.get(name) or EVENTS.get(nearest(name.upper(), EVENTS) or "")
    if kind is not None:
        return f"give {kind.__name__}: `from propylon.events import {kind.__name__}`"
    return f'derive one, class Mine(Event, event="{name}"), and give that; Dispatch takes every event'


def is_event(argument: Any) -> bool:
    """Whether an argument of ``listen`` names events rather than being the function to decorate."""
    if isinstance(argument, type) and (issubclass(argument, Event) or argument is Dispatch):
        return True
    return not callable(cast("object", argument)) or hasattr(cast("object", argument), "__args__")


def _definition(function: Any) -> Any:
    """The function under partials, methods, decorators and callable objects: its names are those of the annotations."""
    while not inspect.isfunction(function):
        if isinstance(function, partial):
            function = function.func
        elif hasattr(function, "__func__"):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(function, type):
            function = inspect.getattr_static(function, "__init__")
        elif inspect.isroutine(function) or function is type(function).__call__:
            break
        else:
            function = type(function).__call__
    return inspect.unwrap(function)


def _names_where_defined(code: types.CodeType) -> dict[str, Any]:
    """The local names of the functions and class bodies around a definition that still run, the inner ones first.

    A helper may listen on behalf of the function in which an event class is local: it stands further up the stack.
    """
    names: dict[str, Any] = {}
    frame: types.FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if frame.f_locals is not frame.f_globals and _defines(frame.f_code, code):
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def _defines(outer: types.CodeType, code: types.CodeType) -> bool:
    return any(
        constant is code or _defines(constant, code)
        for constant in outer.co_consts
        if isinstance(constant, types.CodeType)
    )


def _resolve(
    annotation: Any, function: Any, local_names: dict[str, Any], *, who: str, parameter: str, advice: str
) -> Any:
    if not isinstance(annotation, str):
        return annotation
    inner = _definition(function)
    code_globals: dict[str, Any] = getattr(inner, "__globals__", {})
    code = getattr(inner, "__code__", None)
    names = {**local_names, **({} if code is None else _names_where_defined(code))}
    for name, cell in zip(getattr(code, "co_freevars", ()), getattr(inner, "__closure__", None) or (), strict=False):
        # A cell is empty while the enclosing function has not assigned it yet.
        try:
            names[name] = cell.cell_contents
        except ValueError:
            continue
    kind: Any = annotation
    try:
        # Twice where a quoted annotation is postponed too.
        while isinstance(kind, str):
            kind = eval(kind, code_globals, names)
    except Exception as error:
        raise TypeError(
            f"{who}: the annotation {annotation!r} of parameter {parameter!r} cannot be resolved ({error}); {advice}"
        ) from None
    return kind


def _bound_by_partials(function: Any) -> set[str]:
    """The parameters that `functools.partial` has given a value by name; what it gave by position is none any more."""
    bound: set[str] = set()
    while isinstance(function, partial):
        bound.update(function.keywords)
        function = cast("Any", function.func)
    return bound


def class_of(annotation: Any) -> type | None:
    """The class of which values are that an annotation describes: of ``dict[str, int]`` a `dict`. None: no class."""
    kind = annotation if isinstance(annotation, type) else get_origin(annotation)
    # `Any` is a class since Python 3.11, `types.UnionType` what ``int | str`` comes from.
    return kind if isinstance(kind, type) and kind not in (Any, types.UnionType) else None


def return_of(function: Callable[..., Any]) -> Any:
    """The annotation of what a function returns; None where it has none that can be looked up."""
    try:
        annotation = inspect.signature(function).return_annotation
        return _resolve(annotation, function, {}, who="lifespan", parameter="return", advice="")
    except (NameError, TypeError, ValueError):
        return None


def _is_a(kind: type, base: type) -> bool:
    try:
        return issubclass(kind, base)
    except TypeError:
        # A Protocol that is not to be checked at run time.
        return False


def _is_given(kind: Any, given: type | None, *, required: bool) -> bool:
    """Whether a parameter of ``kind`` takes a lifespan's value of the class ``given``.

    Where that is unknown (`object`), it is what any parameter of a class takes that nothing else can be passed for.
    """
    wanted = class_of(kind)
    if given is None or wanted is None or wanted is object:
        return False
    if given is object:
        return required
    try:
        return issubclass(given, wanted)
    except TypeError:
        # A Protocol that is not to be checked at run time: taken at its word where nothing else can be passed.
        return required


def wants_of(
    function: Callable[..., Any],
    explicit: list[Wanted] | None,
    local_names: dict[str, Any],
    gateway_class: type,
    given: type | None,
) -> tuple[list[Wanted], str | None, str | None, tuple[str, type] | None]:
    """What a function listens to, and the names of its parameters that take the gateway, the `Dispatch` and the value
    of the lifespan, the last one with its class. ``given`` is what `Lifespan.gives` tells.

    Only the annotations of parameters that receive something are resolved, with the globals and the closure of the
    function, the names where it is defined, as long as that runs, and the names of the caller. Raises TypeError, with
    the explicit form, where that fails.
    """
    who = name_of(function)
    if not callable(function):
        raise TypeError(f"listen() takes a function or event classes, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{who} is a generator: its body would never run; take out the yield")
    try:
        signature = inspect.signature(function)
    except (NameError, TypeError, ValueError) as error:
        # A builtin tells no signature; on Python 3.14 a name is looked up here.
        if explicit is None:
            raise TypeError(f"{who}: its signature cannot be read ({error}); {_EXPLICIT}") from None
        return explicit, None, None, None
    parameters = [
        parameter for parameter in signature.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise TypeError(f"{who}() takes no positional parameter; the first one receives the event")
    first, *others = parameters
    wanted = explicit
    if wanted is None:
        if first.annotation is inspect.Parameter.empty:
            raise TypeError(f"{who}: parameter {first.name!r} has no annotation that says which event; {_EXPLICIT}")
        annotation = _resolve(first.annotation, function, local_names, who=who, parameter=first.name, advice=_EXPLICIT)
        wanted = wanted_from(annotation, who=who)
    gateway_parameter = dispatch_parameter = None
    bound = _bound_by_partials(function)
    lifespan_parameter: tuple[str, type] | None = None
    for parameter in others:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL or parameter.name in bound:
            continue
        kind = None
        if parameter.annotation is not inspect.Parameter.empty:
            try:
                kind = _resolve(
                    parameter.annotation, function, local_names, who=who, parameter=parameter.name, advice=_IMPORT
                )
            except TypeError:
                # It has a default, and needs nothing from here.
                if parameter.default is inspect.Parameter.empty:
                    raise
        if isinstance(kind, type) and kind is not object and _is_a(gateway_class, kind):
            gateway_parameter = parameter.name
        elif kind is Dispatch or get_origin(kind) is Dispatch:
            dispatch_parameter = parameter.name
        elif _is_given(kind, given, required=parameter.default is inspect.Parameter.empty):
            if lifespan_parameter is not None:
                raise TypeError(
                    f"{who}: parameters {lifespan_parameter[0]!r} and {parameter.name!r} both ask for the value of the "
                    "lifespan; let it give one object that has all, and ask for that"
                )
            lifespan_parameter = parameter.name, cast("type", class_of(kind))
        elif parameter.default is inspect.Parameter.empty:
            known = "" if given in (None, object) else f"{class_name(given)} as the lifespan gives it, "
            raise TypeError(
                f"{who}: nothing can be passed for parameter {parameter.name!r}; annotate it Gateway or Dispatch, "
                f"{known and f'or {known}'}or give it a default"
            )
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and parameter.name in (
            gateway_parameter,
            dispatch_parameter,
            lifespan_parameter and lifespan_parameter[0],
        ):
            raise TypeError(f"{who}: parameter {parameter.name!r} must not be positional-only, it is passed by name")
    return wanted, gateway_parameter, dispatch_parameter, lifespan_parameter
