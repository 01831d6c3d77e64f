"""Names of events and fields that Propylon does not know: which known one was meant, and the warning that says so.

The names of events are the engine's table; which fields an event has is told by `propylon.events`.
"""

import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

import propylon._core as _core

__all__ = ["UnknownNameWarning", "nearest", "warn_of_event"]

_SURE: Final = 0.88
"""Likeness (`difflib`) of a misspelt event name: a letter or two in a dozen. Below it lie events that Discord has, or
will have, beside those that it documents: names of events are made of the same few words."""


class UnknownNameWarning(UserWarning):
    """A class or a test names an event or a field that this version of Propylon does not know.

    It is no error because Discord adds events and fields without notice. Where the name is right, ignore the warning:
    ``warnings.simplefilter("ignore", UnknownNameWarning)``.
    """


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The known name that was probably meant."""
    return next(iter(get_close_matches(name, known, n=1, cutoff=likeness)), None)


@lru_cache(maxsize=256)
def _meant(event: str) -> str | None:
    """The documented event that was probably meant. Kept: a test sends the same name thousands of times."""
    return nearest(event, _core.event_index(), _SURE)


def warn_of_event(event: str, *, who: str, stacklevel: int) -> None:
    """Warn where a name looks like a misspelt one of an event. ``stacklevel`` 1 is the caller of this."""
    meant = _meant(event)
    if meant not in (None, event):
        warnings.warn(
            f"{who}: Discord documents no event {event!r}; did you mean {meant!r}?",
            UnknownNameWarning,
            stacklevel=stacklevel + 1,
        )
