"""What type checkers know of presences: those that are received and those that are sent are two. Only checked."""

from typing import assert_type

from propylon import Gateway, Presence
from propylon.events import PresenceUpdate
from propylon.models import Presence as Earlier
from propylon.models import ReceivedActivity, ReceivedPresence


async def of(event: PresenceUpdate, gateway: Gateway, earlier: Earlier) -> None:
    assert_type(earlier, ReceivedPresence)
    assert_type(event.activities, tuple[ReceivedActivity, ...])
    await gateway.set_presence(Presence())
    await gateway.set_presence(earlier)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
