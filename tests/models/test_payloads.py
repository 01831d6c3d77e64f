"""Payloads as Discord really sends them, where they differ from what it documents (protocol.md §15)."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from propylon import Dispatch, events, models
from propylon.models import NO_ID, UNSET, ChannelType, Permissions, ReceivedActivityType, ReceivedOnlineStatus


def decode(cls: type[Any], payload: Any) -> Any:
    value = Dispatch("TEST", json.dumps(payload).encode()).decode(cls)
    assert Dispatch("TEST", msgspec.json.encode(value)).decode(cls) == value
    return value


AUTHOR = {"id": "80351110224678912", "username": "nelly", "discriminator": "0", "global_name": "Nelly", "avatar": None}
MESSAGE = {
    "type": 0,
    "timestamp": "2024-05-06T07:08:09.123000+00:00",
    "id": "1237123871238712399",
    "content": "hello",
    "channel_id": "1034567890123456789",
    "author": AUTHOR,
}


def test_a_message() -> None:
    message = decode(events.MessageCreate, {**MESSAGE, "guild_id": "5", "member": {"roles": ["6"], "joined_at": None}})
    assert message.author.username == "nelly"
    assert message.author.created_at == datetime(2015, 8, 10, 17, 26, 37, 529000, UTC)
    assert message.guild_id == 5
    assert message.member.roles == (6,)
    assert message.timestamp == datetime(2024, 5, 6, 7, 8, 9, 123000, UTC)
    assert message.created_at.year == 2024
    assert message.jump_url == "https://discord.com/channels/5/1034567890123456789/1237123871238712399"
    assert isinstance(message, models.Message)


def test_absent_and_null_differ() -> None:
    assert decode(events.MessageCreate, MESSAGE).referenced_message is UNSET
    assert decode(events.MessageCreate, {**MESSAGE, "referenced_message": None}).referenced_message is None
    answer = decode(events.MessageCreate, {**MESSAGE, "referenced_message": MESSAGE})
    assert answer.referenced_message.author.id == 80351110224678912


@pytest.mark.parametrize(("nonce", "kept"), [(12, 12), ("12", "12"), ("0012", "0012"), ("x", "x")])
def test_a_nonce_stays_what_it_was(nonce: Any, kept: Any) -> None:
    assert decode(events.MessageCreate, {**MESSAGE, "nonce": nonce}).nonce == kept


def test_strings_that_look_like_something_else_stay_strings() -> None:
    for text in ("123", "null", "true", "1.5"):
        message = decode(events.MessageCreate, {**MESSAGE, "content": text, "embeds": [{"title": text}]})
        assert message.content == message.embeds[0].title == text
    member = decode(models.Member, {"nick": "null", "user": AUTHOR})
    assert member.nick == "null"
    assert member.display_name == "null"


def test_a_partial_message_update_decodes() -> None:
    update = decode(events.MessageUpdate, {"id": "1", "channel_id": "2", "embeds": [], "guild_id": "3"})
    assert (update.id, update.channel_id, update.embeds, update.content) == (1, 2, (), UNSET)
    assert decode(events.MessageUpdate, MESSAGE).content == "hello"


def test_a_stub_of_a_guild_decodes() -> None:
    stub = decode(events.GuildCreate, {"id": "41771983423143937", "unavailable": True})
    assert stub.id == 41771983423143937
    assert stub.is_stub
    assert (stub.name, stub.members, stub.member_count) == ("", (), 0)
    joined = decode(events.GuildCreate, {"id": "1", "name": "g", "owner_id": "2"})
    assert not joined.is_stub
    assert joined.unavailable is UNSET


def test_a_deleted_guild_may_be_an_id_alone() -> None:
    assert decode(events.GuildDelete, {"id": "1"}).unavailable is UNSET
    assert decode(events.GuildDelete, {"id": "1", "unavailable": True}).unavailable is True


def test_objects_inside_a_guild_lack_its_id() -> None:
    guild = decode(
        events.GuildCreate,
        {
            "id": "1",
            "voice_states": [{"user_id": "2", "channel_id": "3", "session_id": "x"}],
            "presences": [{"user": {"id": "2"}, "status": "dnd", "activities": [], "client_status": {"vr": "dnd"}}],
            "channels": [{"id": "3", "type": 2, "bitrate": 64000}],
            "threads": [{"id": "4", "type": 11, "member": {"flags": 0, "join_timestamp": "2024-01-01T00:00:00+00:00"}}],
        },
    )
    assert guild.voice_states[0].guild_id is UNSET
    assert guild.presences[0].client_status.vr == ReceivedOnlineStatus.DND
    assert guild.channels[0].is_voice
    assert guild.threads[0].is_thread


def test_a_member_update_may_be_short() -> None:
    update = decode(events.GuildMemberUpdate, {"guild_id": "1", "user": AUTHOR, "roles": []})
    assert update.deaf is UNSET
    assert update.display_name == "Nelly"


def test_a_presence_of_only_a_user_decodes() -> None:
    presence = decode(events.PresenceUpdate, {"user": {"id": "1"}})
    assert presence.user.id == 1
    assert presence.status is UNSET
    assert presence.activities == ()
    assert presence.guild_id == NO_ID


ODD: list[Any] = [None, True, 0, -1, 1.5, "", "text", "12", [], [1, None], {}, {"x": 1}, 2**70]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_presence_decodes_whatever_its_fields_hold(odd: Any) -> None:
    """Discord: "no fields are required, and the types of the fields are not validated"."""
    activity = {f.encode_name: odd for f in msgspec.structs.fields(models.ReceivedActivity)}
    user = {f.encode_name: odd for f in msgspec.structs.fields(models.PresenceUser) if f.encode_name != "id"}
    decode(events.PresenceUpdate, {"user": {"id": "1"}, "status": odd, "activities": odd, "client_status": odd})
    decode(events.PresenceUpdate, {"user": {"id": "1", **user}, "activities": [odd, activity]})
    decode(
        events.PresenceUpdate,
        {
            "user": {"id": "1"},
            "client_status": {"desktop": odd},
            "activities": [
                {
                    "timestamps": {"start": odd, "end": odd},
                    "party": {"id": odd, "size": [odd, odd]},
                    "assets": {"large_image": odd},
                    "secrets": {"join": odd},
                    "emoji": {"name": odd, "animated": odd, "id": odd},
                    "buttons": ["Watch", odd, {"label": odd, "url": odd}],
                }
            ],
        },
    )


def test_an_ordinary_presence_is_typed() -> None:
    activity = {"type": 2, "name": "Spotify", "created_at": 1714979100123, "timestamps": {"start": 1714979100000}}
    presence = decode(
        events.PresenceUpdate, {"user": {"id": "1"}, "guild_id": "2", "status": "idle", "activities": [activity]}
    )
    assert presence.status is ReceivedOnlineStatus.IDLE
    assert presence.activities[0].type is ReceivedActivityType.LISTENING
    assert presence.activities[0].timestamps.start == 1714979100000


def test_permissions_and_flags_are_ints_with_a_typed_property() -> None:
    role = decode(models.Role, {"id": "1", "name": "r", "permissions": "2251799813685256", "flags": 1})
    assert role.permissions == 2251799813685256
    assert role.role_permissions == Permissions.PIN_MESSAGES | Permissions.ADMINISTRATOR
    assert role.role_flags == models.RoleFlags.IN_PROMPT
    user = decode(models.User, {"id": "1", "username": "x", "public_flags": 1 << 16 | 1 << 50})
    assert models.UserFlags.VERIFIED_BOT in user.user_flags
    assert int(user.user_flags) == 1 << 16 | 1 << 50


def test_role_tags_tell_null_from_absent() -> None:
    tags = decode(models.RoleTags, {"premium_subscriber": None})
    assert tags.is_premium_subscriber
    assert not tags.is_guild_connections


def test_a_message_with_an_unknown_component_decodes() -> None:
    row = {"type": 1, "components": [{"type": 2, "style": 1, "label": "Go", "custom_id": "go"}, {"type": 99, "x": 1}]}
    section = {"type": 9, "components": [{"type": 10, "content": "text"}], "accessory": {"type": 2, "style": 5}}
    message = decode(events.MessageCreate, {**MESSAGE, "components": [row, section]})
    button = message.components[0].children[0]
    assert button.is_button
    assert button.button_style is models.ButtonStyle.PRIMARY
    assert [c.type for c in message.components[1].walk()] == [9, 10, 2]
    assert message.components[0].children[1].type == 99


def test_a_snapshot_has_neither_author_nor_id() -> None:
    snapshot = {"message": {"content": "old", "timestamp": "2024-01-01T00:00:00+00:00", "type": 0, "mentions": []}}
    message = decode(events.MessageCreate, {**MESSAGE, "message_snapshots": [snapshot]})
    assert message.message_snapshots[0].message.content == "old"


INTERACTION = {"id": "1", "application_id": "2", "type": 2, "token": "secret", "version": 1, "app_permissions": "8"}


def test_a_command_is_usable_without_casts() -> None:
    options = [{"name": "add", "type": 1, "options": [
        {"name": "who", "type": 6, "value": "7"},
        {"name": "days", "type": 4, "value": 3},
        {"name": "rate", "type": 10, "value": 1},
        {"name": "silent", "type": 5, "value": True},
        {"name": "why", "type": 3, "value": "12", "focused": True},
    ]}]  # fmt: skip
    resolved = {"users": {"7": AUTHOR}, "members": {"7": {"roles": [], "permissions": "8"}}}
    data = {"id": "3", "name": "ban", "type": 1, "options": options, "resolved": resolved}
    interaction = decode(
        events.InteractionCreate, {**INTERACTION, "data": data, "member": {"user": AUTHOR, "permissions": "8"}}
    )
    command = interaction.command
    assert command.path == ("ban", "add")
    given = command.arguments
    assert command.user(given["who"].snowflake).username == "nelly"
    assert (given["days"].integer, given["rate"].number, given["silent"].boolean, given["why"].string) == (
        3,
        1.0,
        True,
        "12",
    )
    assert given["silent"].integer is None
    assert given["why"].snowflake is None
    assert command.focused is given["why"]
    assert interaction.invoker.username == "nelly"
    assert interaction.application_permissions == Permissions.ADMINISTRATOR
    assert interaction.component is None
    assert interaction.modal is None


def test_a_select_and_a_modal_are_usable_without_casts() -> None:
    select = decode(
        events.InteractionCreate,
        {
            **INTERACTION,
            "type": 3,
            "user": AUTHOR,
            "data": {"custom_id": "c", "component_type": 6, "values": ["8", "9"]},
        },
    )
    assert select.component.snowflakes == (8, 9)
    assert select.invoker.id == 80351110224678912
    answers = [
        {"type": 18, "id": 1, "component": {"type": 4, "id": 2, "custom_id": "text", "value": "true"}},
        {"type": 18, "id": 3, "component": {"type": 23, "id": 4, "custom_id": "tick", "value": True}},
        {"type": 1, "id": 5, "components": [{"type": 4, "id": 6, "custom_id": "old", "value": "null"}]},
        {"type": 18, "id": 7, "component": {"type": 21, "id": 8, "custom_id": "radio", "value": None}},
    ]
    modal = decode(
        events.InteractionCreate, {**INTERACTION, "type": 5, "data": {"custom_id": "m", "components": answers}}
    )
    assert {name: answer.value for name, answer in modal.modal.answers.items()} == {
        "text": "true",
        "tick": True,
        "old": "null",
        "radio": None,
    }


@pytest.mark.parametrize("view", [models.CommandData, models.ComponentData, models.ModalData])
def test_the_narrowed_views_name_only_what_the_wide_class_has(view: type[Any]) -> None:
    named = {name for cls in view.__mro__ for name in vars(cls) if not name.startswith("_")}
    assert named
    assert named <= set(dir(models.InteractionData))


def test_a_partial_channel_of_an_interaction() -> None:
    channel = decode(events.InteractionCreate, {**INTERACTION, "channel": {"id": "4", "type": 0}}).channel
    assert channel.id == 4
    assert channel.type is ChannelType.GUILD_TEXT
    assert channel.is_text


def test_ready() -> None:
    ready = decode(
        events.Ready,
        {
            "v": 10, "user": AUTHOR, "guilds": [{"id": "1", "unavailable": True}], "session_id": "s",
            "resume_gateway_url": "wss://x", "shard": [0, 2], "application": {"id": "9", "flags": 1 << 18},
        },
    )  # fmt: skip
    assert ready.shard == (0, 2)
    assert ready.application.id == 9
    assert models.ApplicationFlags.GATEWAY_MESSAGE_CONTENT in ready.application.application_flags


def test_resumed_ignores_what_it_holds() -> None:
    assert decode(events.Resumed, {"_trace": ["x"]}) == events.Resumed()


def test_audit_log_values_are_any_json() -> None:
    entry = decode(
        events.GuildAuditLogEntryCreate,
        {
            "guild_id": "1", "id": "2", "user_id": None, "target_id": "3", "action_type": 25,
            "changes": [{"key": "$add", "new_value": [{"id": "4", "name": "r"}]}, {"key": "nick", "old_value": None}],
            "options": {"count": "3", "type": "0", "members_removed": "2"},
        },
    )  # fmt: skip
    assert entry.changes[0].new_value == [{"id": "4", "name": "r"}]
    assert entry.changes[1].old_value is None
    assert entry.changes[1].new_value is UNSET
    assert entry.options.count == 3
