"""The classes against Discord's tables and examples."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from propylon import models
from propylon.events import EVENTS, Event

# Example objects by section of Discord's documentation.
OBJECTS: dict[str, type[msgspec.Struct]] = {
    "Activity Object": models.ReceivedActivity,
    "Application Object": models.Application,
    "Auto Moderation Rule Object": models.AutoModerationRule,
    "Channel Object": models.Channel,
    "Emoji Object": models.Emoji,
    "Entitlement Object": models.Entitlement,
    "Guild Member Object": models.Member,
    "Guild Object": models.Guild,
    "Incidents Data Object": models.IncidentsData,
    "Message Object": models.Message,
    "Role Object": models.Role,
    "Shared Client Theme Object": models.SharedClientTheme,
    "Soundboard Sound Object": models.SoundboardSound,
    "Stage Instance Object": models.StageInstance,
    "Sticker Object": models.Sticker,
    "Subscription Object": models.Subscription,
    "Unavailable Guild Object": models.UnavailableGuild,
    "User Object": models.User,
    "Voice Server Update": EVENTS["VOICE_SERVER_UPDATE"],
    "Voice State Object": models.VoiceState,
    "Welcome Screen Object": models.WelcomeScreen,
}


def test_every_documented_event_has_a_class_and_no_other_has(documented: dict[str, Any]) -> None:
    assert set(EVENTS) == set(documented)


def test_event_names_are_the_names_of_the_classes() -> None:
    for name, event in EVENTS.items():
        assert event.__name__ == "".join(word.capitalize() for word in name.split("_"))
        assert event.__event_name__ == name


def test_every_event_knows_its_intents(schema: Path, documented: dict[str, Any]) -> None:
    intents = json.loads((schema / "schema" / "objects.json").read_text())["intents"]
    bits = {intent["name"]: intent["value"] for intent in intents}
    for name, event in EVENTS.items():
        assert event.__intents__ == sum(bits[intent] for intent in documented[name]["intents"]), name


def test_docstrings_name_the_intents_and_the_page(schema: Path) -> None:
    intents = json.loads((schema / "schema" / "objects.json").read_text())["intents"]
    for name, event in EVENTS.items():
        doc = event.__doc__ or ""
        assert f"https://discord.com/developers/docs/events/gateway-events#{name.lower().replace('_', '-')}" in doc
        stated = re.search(r"Intents?: (.*?)https", doc, re.DOTALL)
        assert ("Always sent" in doc) == (event.__intents__ == 0), name
        needed = [intent for intent in intents if event.__intents__ & intent["value"]]
        for intent in needed:
            assert stated, name
            assert intent["name"] in stated[1], name
        assert any(intent["privileged"] for intent in needed) == ("privileged" in (stated[1] if stated else "")), name


def test_every_field_of_the_tables_is_there_and_not_stricter(schema: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("check_models", schema / "check_models.py")
    assert spec
    assert spec.loader
    checker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checker)
    different = checker.main(set())
    assert not different, capsys.readouterr().out


def test_every_example_decodes_encodes_and_decodes_to_the_same(schema: Path) -> None:
    folder = schema / "schema" / "examples"
    decoded = 0
    for example in json.loads((folder / "index.json").read_text())["examples"]:
        raw = (folder / example["file"]).read_bytes()
        cls: type[msgspec.Struct] | None
        if example["kind"] == "gateway-payload":
            envelope = json.loads(raw)
            cls = EVENTS.get(envelope.get("t")) if isinstance(envelope, dict) else None
            raw = json.dumps(envelope["d"]).encode() if cls else raw
        else:
            cls = OBJECTS.get(example["section"])
        if cls is not None:
            first = msgspec.json.decode(raw, type=cls, strict=False)
            assert msgspec.json.decode(msgspec.json.encode(first), type=cls, strict=False) == first, example["file"]
            decoded += 1
    assert decoded >= 30


def test_all_event_classes_have_a_docstring_of_their_own() -> None:
    for event in EVENTS.values():
        assert event.__doc__ != Event.__doc__
        assert event.__doc__
