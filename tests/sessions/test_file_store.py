"""`FileSessionStore` and the plain form of a `Session`."""

import asyncio
import json
import logging
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from propylon import FileSessionStore, Session, SessionStore
from propylon._sessions import stores

SESSION = Session("secret-id", 42, "wss://gateway-us-east1-b.discord.gg", (3, 16), 513)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.json"


async def kept(path: Path, key: str = "a", **options: Any) -> Session | None:
    return await FileSessionStore(path, **options).load(key)


@pytest.mark.asyncio
async def test_what_is_saved_is_loaded_by_another_process(path: Path) -> None:
    store: SessionStore = FileSessionStore(path)
    assert await store.load("a") is None
    await store.delete("a")
    assert not path.exists()
    bare = Session("b", 1)
    await store.save("a", SESSION)
    await store.save("b", bare)
    assert (await kept(path), await kept(path, "b"), await kept(path, "c")) == (SESSION, bare, None)
    await store.delete("a")
    assert (await kept(path), await kept(path, "b")) == (None, bare)
    assert os.listdir(path.parent) == ["sessions.json"]
    assert "sessions.json" in repr(store)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
@pytest.mark.asyncio
async def test_only_the_owner_reads_it(path: Path) -> None:
    path.touch(0o644)
    await FileSessionStore(path).save("a", SESSION)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.asyncio
async def test_an_old_session_is_not_tried_and_goes_with_the_next_write(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileSessionStore(path)
    await store.save("a", SESSION)
    now = stores.time.time()
    monkeypatch.setattr(stores.time, "time", lambda: now + 599)
    assert await store.load("a") == SESSION
    assert await kept(path, max_age=10) is None
    monkeypatch.setattr(stores.time, "time", lambda: now + 602)
    assert await store.load("a") is None
    await store.save("b", SESSION)
    assert list(json.loads(path.read_text())["sessions"]) == ["b"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version": 2, "sessions": {}}',
        b'{"version": 1, "sessions": []}',
        b'{"version": 1}',
    ],
)
@pytest.mark.asyncio
async def test_a_corrupt_file_is_told_and_replaced(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    store = FileSessionStore(path)
    with caplog.at_level(logging.WARNING, "propylon"):
        assert await store.load("a") is None
    assert "sessions.json" in caplog.text
    assert "identifying anew" in caplog.text
    await store.save("a", SESSION)
    assert await store.load("a") == SESSION


WRONG: list[Any] = [
    None,
    [],
    {},
    {**SESSION.to_dict(), "id": ""},
    {**SESSION.to_dict(), "id": 5},
    {**SESSION.to_dict(), "sequence": -1},
    {**SESSION.to_dict(), "sequence": "1"},
    {**SESSION.to_dict(), "sequence": 1.5},
    {**SESSION.to_dict(), "shard": [1]},
    {**SESSION.to_dict(), "shard": ["0", "1"]},
    {**SESSION.to_dict(), "intents": None},
    {**SESSION.to_dict(), "resume_url": 1},
    {key: value for key, value in SESSION.to_dict().items() if key != "sequence"},
]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.asyncio
async def test_an_entry_that_is_no_session_costs_that_one_only(
    path: Path, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store = FileSessionStore(path)
    await store.save("b", SESSION)
    content = json.loads(path.read_text())
    content["sessions"]["a"] = {"saved_at": stores.time.time(), "session": wrong}
    path.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING, "propylon"):
        assert await store.load("a") is None
    assert "cannot be read" in caplog.text
    assert "secret-id" not in caplog.text
    assert await store.load("b") == SESSION


@pytest.mark.asyncio
async def test_entries_without_a_time_are_old(path: Path) -> None:
    sessions = {"a": {"session": SESSION.to_dict()}, "b": [], "c": {"saved_at": "now", "session": SESSION.to_dict()}}
    path.write_text(json.dumps({"version": 1, "sessions": sessions}))
    store = FileSessionStore(path)
    assert [await store.load(key) for key in "abc"] == [None, None, None]


@pytest.mark.asyncio
async def test_a_write_that_fails_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileSessionStore(path)
    await store.save("a", SESSION)

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(stores.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        await store.save("a", Session("other", 1))
    assert await store.load("a") == SESSION
    assert os.listdir(path.parent) == ["sessions.json"]
    with pytest.raises(FileNotFoundError):
        await FileSessionStore(path.parent / "nowhere" / "x.json").save("a", SESSION)


@pytest.mark.asyncio
async def test_what_a_killed_process_left_half_written_is_removed(path: Path) -> None:
    old, new, others = (path.parent / name for name in (".sessions.json.a.new", ".sessions.json.b.new", ".x.new"))
    for file in (old, new, others):
        file.touch()
    for file in (old, others):
        os.utime(file, (0, 0))
    assert await kept(path) is None
    assert sorted(os.listdir(path.parent)) == [".sessions.json.b.new", ".x.new"]


@pytest.mark.asyncio
async def test_a_relative_path_stays_where_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    store = FileSessionStore("sessions.json")
    monkeypatch.chdir("/")
    await store.save("a", SESSION)
    assert await kept(path) == SESSION


@pytest.mark.asyncio
async def test_many_at_once_lose_nothing_and_a_reader_sees_whole_files(path: Path) -> None:
    stores_of_one_file = [FileSessionStore(path) for _ in range(8)]
    await stores_of_one_file[0].save("0", SESSION)
    torn: list[Exception] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                assert json.loads(path.read_text())["version"] == 1
            except Exception as error:
                torn.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(5):
            await asyncio.gather(
                *[store.save(str(key), Session("x", turn)) for key, store in enumerate(stores_of_one_file)]
            )
    finally:
        over.set()
        reader.join()
    assert not torn
    assert [await kept(path, str(key)) for key in range(8)] == [Session("x", 4)] * 8


def test_it_works_where_the_loop_has_no_threads_left(path: Path) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().shutdown_default_executor()
        await FileSessionStore(path).save("a", SESSION)
        assert await kept(path) == SESSION

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_child_does_not_wait_for_a_thread_of_its_parent(path: Path) -> None:
    with stores._lock:
        child = os.fork()
        if child == 0:
            stores._lock.acquire(timeout=5) and os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("max_age", [0, -1, True, float("nan"), "1", None])
def test_an_age_that_makes_no_sense(path: Path, max_age: Any) -> None:
    with pytest.raises(ValueError, match="max_age"):
        FileSessionStore(path, max_age=max_age)


@pytest.mark.parametrize("session", [SESSION, Session("x", 0)])
def test_a_session_is_made_again_from_its_plain_form(session: Session) -> None:
    assert Session.from_dict(json.loads(json.dumps(session.to_dict()))) == session
    assert "secret-id" not in repr(session)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_session(wrong: Any) -> None:
    with pytest.raises(ValueError, match="not a session") as caught:
        Session.from_dict(wrong)
    assert "secret-id" not in str(caught.value)
