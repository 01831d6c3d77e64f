"""The file in which a library's cache outlives the process: what is kept, what is void, and what a torn end costs."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from propylon import FileSessionStore, Session
from propylon.adapters._cache import Cache, folder_of, guarded
from propylon.adapters._compact import Kept, compacted


def kept(event: str, **data: Any) -> Kept:
    return Kept(event, json.dumps(data).encode())


READY = kept("READY", session_id="s1", guilds=[])
GUILD = kept("GUILD_CREATE", id="1", name="one")


def channel(step: str, name: str, number: str = "7", guild: str = "1") -> Kept:
    return kept(f"CHANNEL_{step}", id=number, guild_id=guild, name=name)


def test_what_later_events_make_void_is_left_out() -> None:
    old = channel("UPDATE", "a")
    last = channel("UPDATE", "c")
    assert compacted([READY, GUILD, old, channel("UPDATE", "b"), last]) == [READY, GUILD, last]


def test_what_came_and_changed_keeps_both() -> None:
    events = [READY, GUILD, channel("CREATE", "a"), channel("UPDATE", "b")]
    assert compacted([*events[:3], channel("UPDATE", "x"), events[3]]) == events


def test_what_came_and_went_leaves_nothing() -> None:
    events = [READY, GUILD, channel("CREATE", "a"), channel("UPDATE", "b"), channel("DELETE", "b")]
    assert compacted(events) == [READY, GUILD]


def test_what_was_there_and_went_stays_gone() -> None:
    gone = channel("DELETE", "b")
    assert compacted([READY, GUILD, channel("UPDATE", "b"), gone]) == [READY, GUILD, gone]


def test_a_guild_that_comes_anew_makes_void_what_was_known_of_it() -> None:
    again = kept("GUILD_CREATE", id="1", name="two")
    other = channel("CREATE", "a", guild="2")
    assert compacted([READY, GUILD, channel("CREATE", "a"), other, again]) == [READY, other, again]


def test_a_guild_that_is_left_and_one_that_has_an_outage() -> None:
    left = kept("GUILD_DELETE", id="1")
    outage = kept("GUILD_DELETE", id="1", unavailable=True)
    assert compacted([READY, GUILD, channel("CREATE", "a"), left]) == [READY, left]
    assert compacted([READY, GUILD, channel("CREATE", "a"), outage]) == [READY, GUILD, channel("CREATE", "a"), outage]


def test_ready_begins_anew_and_rubbish_is_left_out() -> None:
    again = kept("READY", session_id="s2")
    assert compacted([READY, GUILD, Kept("CHANNEL_UPDATE", b"{"), again]) == [again]
    assert compacted([READY, GUILD, Kept("CHANNEL_UPDATE", b"[]")]) == [READY, GUILD]


def test_members_voice_states_and_roles_are_told_apart() -> None:
    events = [
        READY,
        GUILD,
        kept("GUILD_MEMBER_ADD", guild_id="1", user={"id": "5"}),
        kept("GUILD_MEMBER_ADD", guild_id="1", user={"id": "6"}),
        kept("GUILD_ROLE_CREATE", guild_id="1", role={"id": "5"}),
        kept("VOICE_STATE_UPDATE", guild_id="1", user_id="5", channel_id="9"),
        kept("VOICE_STATE_UPDATE", guild_id="1", user_id="5", channel_id=None),
        kept("GUILD_ROLE_DELETE", guild_id="1", role_id="5"),
        kept("GUILD_MEMBER_REMOVE", guild_id="1", user={"id": "5"}),
    ]
    assert compacted(events) == [READY, GUILD, events[3], events[6]]


def written(cache: Cache, *events: Kept) -> None:
    for event, raw in events:
        cache.add(event, raw)
    asyncio.run(cache.flush())


def test_another_process_goes_on_with_what_was_written(tmp_path: Path) -> None:
    first = Cache(tmp_path / "propylon", "key")
    written(first, READY, GUILD, kept("MESSAGE_CREATE", id="3"))
    written(first, channel("CREATE", "a"))
    second = Cache(tmp_path / "propylon", "key")
    assert second.has("s1")
    assert not second.has("s2")
    assert not Cache(tmp_path / "propylon", "other").has("s1")
    assert second.load("s1") == [READY, GUILD, channel("CREATE", "a")]
    written(second, channel("DELETE", "a"))
    assert Cache(tmp_path / "propylon", "key").load("s1") == [READY, GUILD]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_torn_end_costs_what_was_not_written(tmp_path: Path) -> None:
    first = Cache(tmp_path / "propylon", "key")
    written(first, READY, GUILD)
    written(first, channel("CREATE", "a"))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    assert Cache(tmp_path / "propylon", "key").load("s1") == [READY, GUILD]


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    written(Cache(tmp_path / "propylon", "key"), READY)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_grows_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propylon.adapters._cache._LEAST", 2000)
    cache = Cache(tmp_path / "propylon", "key")
    written(cache, READY, GUILD)
    for number in range(200):
        written(cache, channel("UPDATE", str(number)))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3000
    assert Cache(tmp_path / "propylon", "key").load("s1") == [READY, GUILD, channel("UPDATE", "199")]


def test_whoever_was_replaced_writes_no_more(tmp_path: Path) -> None:
    old = Cache(tmp_path / "propylon", "key")
    written(old, READY, GUILD)
    new = Cache(tmp_path / "propylon", "key")
    new.load("s1")
    with pytest.raises(OSError, match="No such file"):
        written(old, channel("CREATE", "stale"))
    # And it says so from then on, so that its store keeps no session that has a hole.
    with pytest.raises(OSError, match="No such file"):
        asyncio.run(old.flush())
    assert new.has("s1")


async def _session(store: Any, cache: Cache) -> Session | None:
    guard = guarded(store, lambda _: cache)
    return await guard.load("key")


def test_a_session_is_given_only_with_its_cache(tmp_path: Path) -> None:
    store = FileSessionStore(tmp_path / "sessions.json")
    beginning = folder_of(store, None)
    assert beginning is not None
    cache = Cache(beginning, "key")
    session = Session("s1", 5)

    async def save() -> None:
        guard: Any = guarded(store, lambda _: cache)
        epoch = await guard.claim("key")
        cache.add(*READY)
        await guard.save("key", session, epoch)

    asyncio.run(save())
    assert asyncio.run(_session(store, cache)) == session
    assert asyncio.run(_session(store, Cache(tmp_path / "elsewhere", "key"))) is None

    async def delete() -> None:
        guard: Any = guarded(store, lambda _: cache)
        await guard.delete("key")

    asyncio.run(delete())
    assert not cache.has("s1")
    assert asyncio.run(_session(store, cache)) is None
