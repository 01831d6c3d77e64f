"""What listeners need of the intents: the warning that one will hear nothing, and ``intents="auto"``.

The intents themselves are `propylon.intents`'s; which deliver an event stands at its class.
"""

import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from propylon._listening.entry import ALL, Entry, Wanted
from propylon.events._event import intents_of
from propylon.intents import Intents

__all__ = ["IntentsWarning", "derived", "warn_of_missing"]

_PACKAGE: Final = str(Path(__file__).parents[1]) + os.sep


class IntentsWarning(UserWarning):
    """A listener hears nothing, because its event needs an intent that the gateway does not ask for."""


def _needed(wanted: Wanted) -> int:
    """The intents that deliver an event, any one of which suffices; 0 where it is always sent or unknown."""
    if wanted.event == ALL:
        return 0
    return intents_of(wanted.event) if wanted.kind is None else wanted.kind.__intents__


def derived(entries: Iterable[Entry]) -> Intents:
    """What ``intents="auto"`` asks for.

    Raises:
        ValueError: A listener needs a privileged intent, which is not asked for without being told.
    """
    asked = privileged = Intents.NONE
    needing = ""
    for entry in entries:
        for wanted in entry.wanted:
            if wanted.event == ALL:
                asked |= Intents.NON_PRIVILEGED
                continue
            need = Intents(_needed(wanted))
            asked |= need & Intents.NON_PRIVILEGED
            if need and not need & Intents.NON_PRIVILEGED:
                needing = needing or f"{entry.name} listens to {wanted.event}, which needs the privileged {names(need)}"
                privileged |= need
    if privileged:
        raise ValueError(
            f'{needing}; intents="auto" never asks for one. Enable {names(privileged)} for the application in the '
            f"Developer Portal, and name the intents: Gateway(..., intents={names(asked | privileged)})"
        )
    return asked


def warn_of_missing(entries: Iterable[Entry], asked: Intents, known: set[str], *, auto: bool) -> None:
    """Warn of events that cannot come, once each; ``known`` are those that have been warned of."""
    asked_bits = int(asked)
    for entry in entries:
        for wanted in entry.wanted:
            # As plain numbers: thousands of waits come this way, and flags take microseconds.
            bits = _needed(wanted)
            if not bits or bits & asked_bits or wanted.event in known:
                continue
            need = Intents(bits)
            known.add(wanted.event)
            advice = "add it to Gateway(intents=...)" if need.bit_count() == 1 else "add one to Gateway(intents=...)"
            choice = " or ".join(f"Intents.{flag.name}" for flag in need)
            if auto:
                advice = 'add the listener before open(), where intents="auto" is worked out, or name the intents'
            if not need & ~Intents.PRIVILEGED:
                advice = "enable it for the application in the Developer Portal and add it to Gateway(intents=...)"
            warnings.warn(
                f"{entry.name} listens to {wanted.event}, but no such event will come: it needs {choice}, "
                f"which this gateway does not ask for; {advice}",
                IntentsWarning,
                stacklevel=_level_of_caller(),
            )


def names(intents: Intents) -> str:
    """Intents as they stand in source code."""
    return " | ".join(f"Intents.{flag.name}" for flag in intents) or "Intents.NONE"


def _level_of_caller() -> int:
    """The ``stacklevel`` of the first frame outside this package: where the user's own line stands."""
    level = 1
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    return level
