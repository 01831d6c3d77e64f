"""What a user holds of a listener."""

from collections.abc import Callable
from typing import Final, Generic, ParamSpec, TypeVar

from propylon._listening.entry import Entry

__all__ = ["Listener"]

P = ParamSpec("P")
R = TypeVar("R")


class Listener(Generic[P, R]):
    """A function that listens; still callable as itself. `remove` takes it off its gateway."""

    __slots__ = ("__wrapped__", "_entry")

    def __init__(self, function: Callable[P, R], entry: Entry) -> None:
        """Made by `Gateway.listen`."""
        self.__wrapped__: Callable[P, R] = function
        self._entry: Final = entry

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, as in a test."""
        return self.__wrapped__(*args, **kwargs)

    def remove(self) -> None:
        """Take it off the gateway; events that already wait for it are skipped. May be called inside a listener."""
        self._entry.remove()

    @property
    def name(self) -> str:
        """What it is called in logs and errors."""
        return self._entry.name

    @property
    def removed(self) -> bool:
        """Whether it is off its gateway."""
        return self._entry.removed

    def __repr__(self) -> str:
        """Name the function and its events."""
        return f"<Listener {self._entry.name} of {', '.join(wanted.event for wanted in self._entry.wanted)}>"
