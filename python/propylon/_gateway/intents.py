"""The intents that a gateway, or a fleet of shards, asks for: given, or worked out from who listens."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from propylon._listening.entry import Entry
from propylon._listening.intents_check import derived, warn_of_content, warn_of_missing
from propylon.events._fleet import FLEET_EVENTS
from propylon.intents import Intents

__all__ = ["AskedIntents", "refuse_of_fleets"]


class AskedIntents:
    """The intents of one owner."""

    def __init__(self, intents: Intents | int | Literal["auto"]) -> None:
        """``"auto"``: none, until they are worked out."""
        self.auto: Final = intents == "auto"
        """Whether they are worked out."""
        self.asked: Intents = Intents.NONE if isinstance(intents, str) else Intents(int(intents))
        """What is asked for now."""
        self._warned_of: Final[set[str]] = set()

    def heard(self, entries: Sequence[Entry], *, running: bool) -> None:
        """Warn of what these would hear or read in vain."""
        # Worked out only when it is opened, "auto" has nothing to say before.
        if not self.auto or running:
            warn_of_missing(entries, self.asked, self._warned_of, auto=self.auto)
            warn_of_content(entries, self.asked, self._warned_of, auto=self.auto)

    def derive(self, entries: Iterable[Entry]) -> None:
        """Work them out, where they are not given. Raises ValueError where a privileged one is needed."""
        if self.auto:
            entries = list(entries)
            self.asked = derived(entries)
            warn_of_content(entries, self.asked, self._warned_of, auto=True)


def refuse_of_fleets(entries: Iterable[Entry]) -> None:
    """Raise TypeError where something listens to what only a fleet of shards has."""
    for entry in entries:
        for wanted in entry.wanted:
            if wanted.event in FLEET_EVENTS:
                kind = wanted.event if wanted.kind is None else wanted.kind.__qualname__
                raise TypeError(f"{entry.name}: {kind} comes from a ShardManager only; a Gateway is one shard")
