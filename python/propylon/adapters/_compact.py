"""The events that make a library's cache, without those that later ones have made void.

Owns which events are kept and what makes one void. Where they are kept is `propylon.adapters._cache`'s.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

__all__ = ["KEPT", "Kept", "compacted"]

_FAMILIES: Final = {
    "CHANNEL": ("CREATE", "UPDATE", "DELETE"),
    "GUILD_ROLE": ("CREATE", "UPDATE", "DELETE"),
    "GUILD_MEMBER": ("ADD", "UPDATE", "REMOVE"),
    "THREAD": ("CREATE", "UPDATE", "DELETE"),
    "STAGE_INSTANCE": ("CREATE", "UPDATE", "DELETE"),
    "GUILD_SCHEDULED_EVENT": ("CREATE", "UPDATE", "DELETE"),
    "GUILD_SOUNDBOARD_SOUND": ("CREATE", "UPDATE", "DELETE"),
}
"""What comes, changes and goes, and how its events are called."""
_STEPS: Final = {
    f"{family}_{name}": (family, step) for family, names in _FAMILIES.items() for step, name in enumerate(names)
}
_CREATE, _UPDATE, _DELETE = range(3)
_WHOLE: Final = frozenset({"GUILD_UPDATE", "GUILD_EMOJIS_UPDATE", "GUILD_STICKERS_UPDATE", "VOICE_STATE_UPDATE"})
"""Each says all that there is to say, so that only the last one counts."""

KEPT: Final = frozenset({"READY", "GUILD_CREATE", "GUILD_DELETE", "USER_UPDATE", "THREAD_LIST_SYNC", *_WHOLE, *_STEPS})
"""The events that are kept. Presences are not: there are too many, and they pass; nor are messages."""


class Kept(NamedTuple):
    """One event."""

    event: str
    raw: bytes
    """``d``, as it came."""


class _Id(msgspec.Struct):
    id: str = ""


class _Head(msgspec.Struct):
    """Whose an event is, and what it is about."""

    id: str = ""
    guild_id: str = ""
    user_id: str = ""
    role_id: str = ""
    sound_id: str = ""
    user: _Id | None = None
    role: _Id | None = None
    unavailable: bool | None = None


_read: Final = msgspec.json.Decoder(_Head, strict=False).decode


def _about(family: str, head: _Head) -> str:
    match family:
        case "GUILD_ROLE":
            return head.role_id or (head.role.id if head.role is not None else "")
        case "GUILD_MEMBER":
            return head.user.id if head.user is not None else ""
        case "GUILD_SOUNDBOARD_SOUND":
            return head.sound_id
        case _:
            return head.id


class _Guild:
    """What is kept of one guild: events by what they are about, each with its place in the order of all."""

    def __init__(self) -> None:
        self.base: list[tuple[int, Kept]] = []
        """GUILD_CREATE, or what else says whether it is there."""
        self.of: dict[tuple[str, str], list[tuple[int, int, Kept]]] = {}
        self.more: list[tuple[int, Kept]] = []

    def note(self, family: str, about: str, step: int, place: int, kept: Kept) -> None:
        """An object has come, has changed or has gone."""
        said = self.of.setdefault((family, about), [])
        while said and said[-1][1] == _UPDATE:
            said.pop()
        if step == _DELETE and said and said[-1][1] == _CREATE:
            # It came and went in the meantime.
            said.pop()
            if not said:
                del self.of[family, about]
            return
        said.append((place, step, kept))

    def all(self) -> Iterator[tuple[int, Kept]]:
        """In no order."""
        yield from self.base
        yield from self.more
        for said in self.of.values():
            for place, _, kept in said:
                yield place, kept


def compacted(events: Iterable[Kept]) -> list[Kept]:
    """The same cache, by fewer events. What cannot be read is left out, as the library would fail at it too."""
    ready: list[tuple[int, Kept]] = []
    guilds: dict[str, _Guild] = {}
    for place, kept in enumerate(events):
        event, raw = kept
        if event == "READY":
            ready = [(place, kept)]
            guilds.clear()
            continue
        if event == "USER_UPDATE":
            ready = [*ready[:1], (place, kept)]
            continue
        try:
            head = _read(raw)
        except msgspec.DecodeError:
            continue
        if event in ("GUILD_CREATE", "GUILD_DELETE"):
            before = guilds.get(head.id)
            if event == "GUILD_DELETE" and head.unavailable and before is not None:
                # An outage: what is known of it stays.
                before.base = [*before.base[:1], (place, kept)]
            else:
                guild = guilds[head.id] = _Guild()
                guild.base.append((place, kept))
            continue
        guild = guilds.setdefault(head.id if event == "GUILD_UPDATE" else head.guild_id, _Guild())
        if event in _STEPS:
            family, step = _STEPS[event]
            guild.note(family, _about(family, head), step, place, kept)
        elif event in _WHOLE:
            about = head.user_id if event == "VOICE_STATE_UPDATE" else ""
            guild.of[event, about] = [(place, _UPDATE, kept)]
        else:
            guild.more.append((place, kept))
    left = [*ready, *(one for guild in guilds.values() for one in guild.all())]
    return [kept for _, kept in sorted(left, key=lambda one: one[0])]
