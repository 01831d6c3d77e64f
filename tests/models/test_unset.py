"""Fields that are left out: `or_none`, and those that never are."""

from typing import Any

import msgspec
import pytest

import propylon
from propylon import Dispatch, or_none
from propylon.events import (
    ChannelCreate,
    ChannelDelete,
    ChannelUpdate,
    Event,
    GuildSoundboardSoundCreate,
    GuildSoundboardSoundUpdate,
    InviteCreate,
    InviteDelete,
    MessageDelete,
    MessageDeleteBulk,
    ThreadCreate,
    ThreadDelete,
    ThreadUpdate,
    VoiceStateUpdate,
)
from propylon.models import NO_ID, UNSET
from propylon.snowflake import Snowflake

IN_GUILDS: list[tuple[type[Event], dict[str, Any]]] = [
    (ChannelCreate, {"id": "1", "type": 0}),
    (ChannelUpdate, {"id": "1", "type": 0}),
    (ChannelDelete, {"id": "1", "type": 0}),
    (ThreadCreate, {"id": "1", "type": 11}),
    (ThreadUpdate, {"id": "1", "type": 11}),
    (ThreadDelete, {"id": "1", "type": 11}),
    (InviteCreate, {"channel_id": "1", "code": "x", "created_at": "2026-01-02T03:04:05+00:00"}),
    (InviteDelete, {"channel_id": "1", "code": "x"}),
    (GuildSoundboardSoundCreate, {"sound_id": "1", "name": "x"}),
    (GuildSoundboardSoundUpdate, {"sound_id": "1", "name": "x"}),
    (MessageDeleteBulk, {"ids": ["1"], "channel_id": "2"}),
    (VoiceStateUpdate, {"user_id": "1", "session_id": "x"}),
]


def test_or_none_turns_unset_into_none_and_nothing_else() -> None:
    assert or_none(UNSET) is None
    for value in (None, 0, "", (), False, Snowflake(7), "text"):
        assert or_none(value) is value
    assert or_none(Dispatch("", b'{"id":"1","channel_id":"2"}').decode(MessageDelete).guild_id) is None
    assert propylon.models.or_none is or_none


@pytest.mark.parametrize(("kind", "payload"), IN_GUILDS, ids=[kind.__name__ for kind, _ in IN_GUILDS])
def test_the_guild_of_what_happens_in_guilds_only_is_never_unset(kind: type[Event], payload: dict[str, Any]) -> None:
    guilds: list[Any] = []
    for told in ({"guild_id": "41"}, {}, {"guild_id": None}):
        event: Any = Dispatch(kind.__event_name__, msgspec.json.encode({**payload, **told})).decode(kind)
        guilds.append(event.guild_id)
    assert guilds == [41, NO_ID, NO_ID]
