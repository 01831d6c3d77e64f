"""No repr shows what opens a session, a voice connection or an interaction."""

import pickle
from typing import Any

import msgspec
import pytest

from propylon import events, models
from propylon.events import Event
from propylon.models import NO_ID, NO_USER, Model
from propylon.snowflake import Snowflake

SECRET = "xoxo-hush"


class NarrowVoice(Event, event="VOICE_SERVER_UPDATE", rename={"key": "token"}):
    key: str


class Webhook(Model):
    id: Snowflake
    token: str


READY = events.Ready(v=10, user=NO_USER, session_id=SECRET, resume_gateway_url="wss://x")
INTERACTION = events.InteractionCreate(id=NO_ID, application_id=NO_ID, type=models.InteractionType.PING, token=SECRET)
HOLDERS: list[Any] = [
    READY,
    INTERACTION,
    events.VoiceStateUpdate(user_id=NO_ID, session_id=SECRET),
    events.VoiceServerUpdate(token=SECRET, guild_id=NO_ID),
    models.VoiceState(session_id=SECRET),
    models.ActivitySecrets(join=SECRET, spectate=SECRET, match=SECRET),
    NarrowVoice(key=SECRET),
    Webhook(id=NO_ID, token=SECRET),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_no_repr_shows_a_secret_and_everything_else_keeps_it(holder: Any) -> None:
    for shown in (repr(holder), str(holder), f"{holder}", repr(holder.__rich_repr__()), repr([holder])):
        assert SECRET not in shown
    assert type(holder).__name__ in repr(holder)
    assert SECRET.encode() in msgspec.json.encode(holder)
    assert pickle.loads(pickle.dumps(holder)) == holder


def test_a_secret_deep_inside_is_hidden_too() -> None:
    guild = events.GuildCreate(id=NO_ID, voice_states=(models.VoiceState(session_id=SECRET),))
    activity = models.ReceivedActivity(secrets=models.ActivitySecrets(join=SECRET))
    presence = events.PresenceUpdate(user=models.PresenceUser(), activities=(activity,))
    assert SECRET not in repr(guild) + repr(presence)


def test_the_fields_stay_readable() -> None:
    assert READY.session_id == INTERACTION.token == SECRET
    assert NarrowVoice(key=SECRET).key == SECRET


def test_the_rest_of_the_repr_is_that_of_any_struct() -> None:
    assert repr(events.VoiceServerUpdate(token=SECRET, guild_id=Snowflake(1), endpoint="x")) == (
        "VoiceServerUpdate(token=<hidden>, guild_id=1, endpoint='x')"
    )


def test_validation_errors_do_not_quote_the_payload() -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(
            f'{{"token":"{SECRET}","guild_id":"{SECRET}"}}', type=events.VoiceServerUpdate, strict=False
        )
    assert SECRET not in str(error.value)
