"""Narrow classes are checked when they are made: against what is known, and no further."""

import warnings
from typing import Any

import pytest

from propylon import Dispatch, Gateway, UnknownNameWarning
from propylon.events import EVENTS, Event, MessageCreate
from propylon.models import UNSET, UnsetType
from propylon.testing import Simulator


def test_a_misspelt_field_is_warned_of_with_the_nearest() -> None:
    words = r"Ping: MESSAGE_CREATE has no field 'contnt'; did you mean 'content'\?.* never comes"
    with pytest.warns(UnknownNameWarning, match=words) as caught:

        class Ping(Event, event="MESSAGE_CREATE"):
            contnt: str

    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UnknownNameWarning, match=r"did you mean 'content'\?$"):

        class Careful(Event, event="MESSAGE_CREATE"):
            contnt: str = ""

    with pytest.warns(UnknownNameWarning, match="no field 'contnt'"):

        class Renamed(Event, event="MESSAGE_CREATE", rename={"content": "contnt"}):
            content: str = ""


def test_an_unknown_field_that_is_required_is_warned_of_with_those_that_there_are() -> None:
    with pytest.warns(UnknownNameWarning, match=r"no field 'zzz'; it has channel_id, guild_id, id\. Without a default"):

        class Deleted(Event, event="MESSAGE_DELETE"):
            zzz: int


@pytest.mark.parametrize("event", ["MESAGE_CREATE", "MESSAGE_CREATED", "GUILD_MEMBERS_ADD", "TYPING_STRAT"])
def test_a_misspelt_event_is_warned_of_with_the_nearest(event: str) -> None:
    meant = {"MESAGE_CREATE": "MESSAGE_CREATE", "MESSAGE_CREATED": "MESSAGE_CREATE"}
    meant |= {"GUILD_MEMBERS_ADD": "GUILD_MEMBER_ADD", "TYPING_STRAT": "TYPING_START"}
    words = f"no event '{event}'; did you mean '{meant[event]}'"
    with pytest.warns(UnknownNameWarning, match=words) as caught:

        class Misspelt(Event, event=event):
            pass

    with pytest.warns(UnknownNameWarning, match=f"log_payloads.*{words}") as caught_too:
        Gateway("token").log_payloads(event)
    with Simulator() as sim, pytest.warns(UnknownNameWarning, match=rf"dispatch\(\): .*{words}") as caught_as_well:
        sim.dispatch(event, {})
    files = {warning.filename for warning in [*caught, *caught_too, *caught_as_well]}
    assert files == {__file__}


def test_what_discord_may_have_added_is_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class New(Event, event="MESSAGE_CREATE"):
            superlike_count: int | UnsetType = UNSET

        class NewToo(MessageCreate):
            superlike_count: int | UnsetType = UNSET

        class Inherits(New):
            content: str

        # Names that Discord uses without documenting them, and others of the same words.
        for event in (
            "MESSAGE_ACK",
            "GUILD_TOMORROW",
            "PRESENCES_REPLACE",
            "GUILD_ROLE_MEMBER_ADD",
            "USER_NOTE_UPDATE",
        ):

            class Undocumented(Event, event=event):
                whatever: int


def test_every_field_of_every_documented_event_may_be_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for event, kind in EVENTS.items():
            for field in kind.__struct_encode_fields__:
                namespace: dict[str, Any] = {"__annotations__": {field: Any}, "__module__": __name__}
                type(Event)("Narrow", (Event,), namespace, event=event)


def test_the_warning_can_be_ignored() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UnknownNameWarning)

        class Ping(Event, event="MESSAGE_CREATE"):
            contnt: str

    assert Dispatch("MESSAGE_CREATE", b'{"contnt":"x"}').decode(Ping).contnt == "x"
