"""What the bot shows of itself: status and activities, as Discord's op 3 and IDENTIFY take them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Self

__all__ = ["Activity", "ActivityType", "OnlineStatus", "Presence"]


class OnlineStatus(StrEnum):
    """Status of a user, as a bot may set it. https://discord.com/developers/docs/events/gateway-events#update-presence"""

    ONLINE = "online"
    IDLE = "idle"
    DND = "dnd"
    INVISIBLE = "invisible"
    OFFLINE = "offline"


class ActivityType(IntEnum):
    """Kind of an activity. https://discord.com/developers/docs/events/gateway-events#activity-object-activity-types"""

    PLAYING = 0
    STREAMING = 1
    LISTENING = 2
    WATCHING = 3
    CUSTOM = 4
    COMPETING = 5


@dataclass(frozen=True, slots=True)
class Activity:
    """What the bot is doing. Bots may set name, state, type and url; use the constructors named after the kinds."""

    name: str
    type: ActivityType = ActivityType.PLAYING
    url: str | None = None
    state: str | None = None

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for what is none of an activity."""
        for name, value in (("name", self.name), ("url", self.url), ("state", self.state)):
            if not (isinstance(value, str) or (value is None and name != "name")):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"{name} of an Activity is a text, not {value!r:.100}")
        if self.type not in [*ActivityType]:
            raise ValueError(f"type of an Activity is an ActivityType, such as ActivityType.PLAYING, not {self.type!r}")

    @classmethod
    def playing(cls, name: str) -> Self:
        """Show as: Playing {name}."""
        return cls(name, ActivityType.PLAYING)

    @classmethod
    def streaming(cls, name: str, url: str) -> Self:
        """Show as: Streaming {name}; ``url`` on twitch.tv or youtube.com, else Discord shows "Playing"."""
        return cls(name, ActivityType.STREAMING, url=url)

    @classmethod
    def listening(cls, name: str) -> Self:
        """Show as: Listening to {name}."""
        return cls(name, ActivityType.LISTENING)

    @classmethod
    def watching(cls, name: str) -> Self:
        """Show as: Watching {name}."""
        return cls(name, ActivityType.WATCHING)

    @classmethod
    def competing(cls, name: str) -> Self:
        """Show as: Competing in {name}."""
        return cls(name, ActivityType.COMPETING)

    @classmethod
    def custom(cls, text: str) -> Self:
        """A custom status: Discord shows only ``state``, the name is required all the same."""
        return cls("Custom Status", ActivityType.CUSTOM, state=text)

    def payload(self) -> dict[str, Any]:
        """As Discord's activity object."""
        result: dict[str, Any] = {"name": self.name, "type": int(self.type)}
        if self.url is not None:
            result["url"] = self.url
        if self.state is not None:
            result["state"] = self.state
        return result


@dataclass(frozen=True, slots=True)
class Presence:
    """Status and activities of the bot.

    ``since``: Unix time in milliseconds from which the bot is idle, or None.
    https://discord.com/developers/docs/events/gateway-events#update-presence
    """

    activities: list[Activity] = field(default_factory=list[Activity])
    status: OnlineStatus = OnlineStatus.ONLINE
    afk: bool = False
    since: int | None = None

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for what is none of a presence."""
        if isinstance(self.activities, Activity | str) or not isinstance(self.activities, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"activities is a list, such as [Activity.playing('x')], not {self.activities!r:.100}")
        self._check_activities()
        if self.status not in [*OnlineStatus]:
            known = ", ".join(f'"{status}"' for status in OnlineStatus)
            raise ValueError(f"status of a Presence is an OnlineStatus ({known}), not {self.status!r:.100}")
        if not isinstance(self.afk, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"afk of a Presence is True or False, not {self.afk!r:.100}")
        if self.since is not None and (type(self.since) is not int or self.since < 0):
            raise TypeError(f"since of a Presence is Unix time in whole milliseconds, or None, not {self.since!r:.100}")

    def _check_activities(self) -> None:
        for activity in self.activities:
            if not isinstance(activity, Activity):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"activities are made by Activity.playing() and the like, not {activity!r:.100}")

    def payload(self) -> dict[str, Any]:
        """As the data of Discord's op 3."""
        # Again: the list may have been changed.
        self._check_activities()
        return {
            "since": self.since,
            "activities": [activity.payload() for activity in self.activities],
            "status": str(OnlineStatus(self.status)),
            "afk": self.afk,
        }
