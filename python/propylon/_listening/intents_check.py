"""What listeners need of the intents: the warnings that one will hear or read nothing, and ``intents="auto"``.

The intents themselves are `propylon.intents`'s; which deliver an event stands at its class.
"""

import warnings
from collections.abc import Iterable
from typing import Final

from propylon._arguments import frame_of_user
from propylon._filters.expression import paths
from propylon._listening.entry import ALL, Entry, Wanted
from propylon.events._event import intents_of
from propylon.intents import Intents
from propylon.models._message import PartialMessage

__all__ = ["IntentsWarning", "derived", "warn_of_content", "warn_of_missing"]


_CONTENT: Final = frozenset({"attachments", "components", "content", "embeds", "poll"})
"""Fields of a message that MESSAGE_CONTENT fills: https://discord.com/developers/docs/events/gateway#message-content-intent."""
_MESSAGES: Final = frozenset({"MESSAGE_CREATE", "MESSAGE_UPDATE"})
_CONTENT_BIT: Final = int(Intents.MESSAGE_CONTENT)
_GUILD_MESSAGES_BIT: Final = int(Intents.GUILD_MESSAGES)


class IntentsWarning(UserWarning):
    """A listener hears nothing, or reads what comes empty, for want of an intent that the gateway does not ask for."""


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
                stacklevel=frame_of_user()[1],
            )


def warn_of_content(entries: Iterable[Entry], asked: Intents, known: set[str], *, auto: bool) -> None:
    """Warn of what reads the content of messages without MESSAGE_CONTENT, once for each event.

    Only what names such a field is warned of: a narrow class, or a filter. Whether a listener of the full class reads
    its content nobody can tell. Direct messages hold their content all the same.
    """
    asked_bits = int(asked)
    if asked_bits & _CONTENT_BIT or not asked_bits & _GUILD_MESSAGES_BIT:
        return
    for entry in entries:
        for wanted in entry.wanted:
            if wanted.event not in _MESSAGES or (key := f"content of {wanted.event}") in known:
                continue
            read = _content_read(wanted)
            if not read:
                continue
            known.add(key)
            advice = "enable it for the application in the Developer Portal and "
            if auto:
                advice += (
                    'name the intents: intents="auto" never asks for it, so write '
                    f"Gateway(..., intents={names(asked | Intents.MESSAGE_CONTENT)})"
                )
            else:
                advice += "add it to Gateway(intents=...)"
            warnings.warn(
                f"{entry.name} reads {' and '.join(sorted(read))} of {wanted.event}, but without "
                "Intents.MESSAGE_CONTENT that is empty in messages of guilds, unless they mention the bot or are its "
                f"own; {advice}",
                IntentsWarning,
                stacklevel=frame_of_user()[1],
            )


def _content_read(wanted: Wanted) -> set[str]:
    """The fields by the names on the wire. What a class derived from the full one inherits need not be read."""
    named: set[str] = set()
    if wanted.kind is not None and not issubclass(wanted.kind, PartialMessage):
        named.update(wanted.kind.__struct_encode_fields__)
    if wanted.where is not None:
        named.update(path.partition(".")[0] for path in paths(wanted.where))
    return named & _CONTENT


def names(intents: Intents) -> str:
    """Intents as they stand in source code."""
    return " | ".join(f"Intents.{flag.name}" for flag in intents) or "Intents.NONE"
