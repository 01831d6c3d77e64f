"""Payloads of events, as Discord sends them, as far as the libraries read them."""

from typing import Any

EPOCH = 1_420_070_400_000


def user(number: int, name: str = "otter") -> dict[str, Any]:
    return {
        "id": str(number),
        "username": name,
        "discriminator": "0",
        "global_name": None,
        "avatar": None,
        "bot": False,
        "public_flags": 0,
    }


def member(number: int, name: str = "otter", **more: Any) -> dict[str, Any]:
    return {
        "user": user(number, name),
        "nick": None,
        "avatar": None,
        "roles": [],
        "joined_at": "2024-01-02T03:04:05.000000+00:00",
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "flags": 0,
        "pending": False,
        "communication_disabled_until": None,
        **more,
    }


def message(number: int, channel: int, guild: int | None, text: str, author: int = 77, **more: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": str(number),
        "channel_id": str(channel),
        "author": user(author),
        "content": text,
        "timestamp": "2024-01-02T03:04:05.000000+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
        "type": 0,
        "flags": 0,
        "components": [],
        "nonce": None,
        **more,
    }
    if guild is not None:
        data["guild_id"] = str(guild)
        data["member"] = {key: value for key, value in member(author).items() if key != "user"}
    return data


def reaction(message_id: int, channel: int, guild: int, by: int, emoji: str = "🦦") -> dict[str, Any]:
    return {
        "user_id": str(by),
        "message_id": str(message_id),
        "channel_id": str(channel),
        "guild_id": str(guild),
        "member": member(by),
        "emoji": {"id": None, "name": emoji},
        "message_author_id": "77",
        "burst": False,
        "type": 0,
    }


def text_channel(number: int, guild: int, name: str) -> dict[str, Any]:
    return {
        "id": str(number),
        "guild_id": str(guild),
        "type": 0,
        "name": name,
        "position": 3,
        "permission_overwrites": [],
        "nsfw": False,
        "topic": None,
        "last_message_id": None,
        "rate_limit_per_user": 0,
        "parent_id": None,
        "flags": 0,
    }


def role(number: int, name: str) -> dict[str, Any]:
    return {
        "id": str(number),
        "name": name,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "icon": None,
        "unicode_emoji": None,
        "position": 1,
        "permissions": "0",
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }


def guild(number: int, name: str, owner: int = 77, me: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "name": name,
        "icon": None,
        "splash": None,
        "discovery_splash": None,
        "banner": None,
        "description": None,
        "owner_id": str(owner),
        "afk_channel_id": None,
        "afk_timeout": 300,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "roles": [role(number, "@everyone")],
        "emojis": [],
        "features": [],
        "mfa_level": 0,
        "application_id": None,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "vanity_url_code": None,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "preferred_locale": "en-US",
        "public_updates_channel_id": None,
        "safety_alerts_channel_id": None,
        "nsfw_level": 0,
        "stickers": [],
        "premium_progress_bar_enabled": False,
        "joined_at": "2024-01-02T03:04:05.000000+00:00",
        "large": False,
        "member_count": 2,
        "voice_states": [],
        "members": [member(owner), *([member(me, "propylon")] if me else [])],
        "channels": [text_channel(number + 1, number, "general")],
        "threads": [],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
        **more,
    }
