"""The lifespan of a gateway: what is there around its run, and how a listener gets it.

Owns the value while it is there, and of which class it will be. What a parameter asks for is read in
`propylon._listening.signature`; when the lifespan begins and ends, `propylon._gateway.serving` says.
"""

import contextlib
import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, cast, get_args

from propylon._arguments import class_name
from propylon._listening.signature import class_of, return_of

__all__ = ["Lifespan"]

_ADVICE: Final = (
    "lifespan takes a function of the gateway that gives an async context manager, such as an "
    "@contextlib.asynccontextmanager function"
)


class Lifespan:
    """The lifespan of one gateway, or none."""

    def __init__(self, owner: object, function: Callable[[Any], AbstractAsyncContextManager[object]] | None) -> None:
        """``function`` is given the ``owner``. Raises TypeError where it is none."""
        if function is not None and not callable(cast("object", function)):
            raise TypeError(f"{_ADVICE}, not {function!r:.100}")
        if inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function):
            raise TypeError(f"{_ADVICE}; {function.__qualname__} lacks the decorator")
        self._owner: Final = owner
        self._function: Final = function
        self._entered = False
        self._values: Final[list[object]] = []
        """The value, while it is there."""

    @property
    def gives(self) -> type | None:
        """The class of its value: as the function is annotated, `object` where that says nothing, None without one."""
        if self._function is None:
            return None
        # AsyncGenerator[Session], AsyncIterator[Session], AbstractAsyncContextManager[Session].
        first, *_ = *get_args(return_of(self._function)), None
        return class_of(first) or object

    def given_to(
        self, function: Callable[..., Any], parameter: tuple[str, type] | None, who: str
    ) -> Callable[..., Any]:
        """``function`` as one that needs no value for its parameter any more: it is looked up at each call."""
        if parameter is None:
            return function
        name, kind = parameter

        def given(*arguments: Any, **extra: Any) -> Any:
            return function(*arguments, **{name: self._value_for(who, name, kind)}, **extra)

        return given

    def _value_for(self, who: str, name: str, kind: type) -> object:
        if not self._values:
            raise RuntimeError(
                f"{who}: parameter {name!r} takes the value of the lifespan, which is there only under serve() or "
                "run(); open() does not begin it"
            )
        (value,) = self._values
        try:
            fits = isinstance(value, kind)
        except TypeError:
            # A Protocol that is not to be checked at run time: type checkers have.
            fits = True
        if not fits:
            raise TypeError(
                f"{who}: nothing can be passed for parameter {name!r}: it takes a {class_name(kind)}, and the lifespan "
                f"gives a {class_name(type(value))}"
            )
        return value

    @contextlib.asynccontextmanager
    async def entered(self) -> AsyncGenerator[None]:
        """Around a run. Raises RuntimeError inside another one, TypeError where the function gives no such context."""
        if self._entered:
            raise RuntimeError("the gateway is being served already")
        self._entered = True
        try:
            if self._function is None:
                yield
                return
            context: Any = self._function(self._owner)
            if not isinstance(context, AbstractAsyncContextManager):
                raise TypeError(f"{_ADVICE}; this one gave {context!r:.100}")
            async with cast("AbstractAsyncContextManager[object]", context) as value:
                self._values.append(value)
                try:
                    yield
                finally:
                    self._values.clear()
        finally:
            self._entered = False
