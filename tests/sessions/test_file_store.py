"""`FileSessionStore` and the plain form of a `Session`."""

import asyncio
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from propylon import FencedSessionStore, FileSessionStore, Session, SessionStore, SessionTakenOver
from propylon._sessions import files, stores
from propylon._sessions.stores import FleetSessionStore

FILES = [".sessions.json.lock", "sessions.json"]
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
    assert not stat.S_IMODE((path.parent / FILES[0]).stat().st_mode) & 0o077 or sys.platform == "win32"
    bare = Session("b", 1)
    await store.save("a", SESSION)
    await store.save("b", bare)
    assert (await kept(path), await kept(path, "b"), await kept(path, "c")) == (SESSION, bare, None)
    await store.delete("a")
    assert (await kept(path), await kept(path, "b")) == (None, bare)
    assert sorted(os.listdir(path.parent)) == FILES
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

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        await store.save("a", Session("other", 1))
    assert await store.load("a") == SESSION
    assert sorted(os.listdir(path.parent)) == FILES
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


class TestEpochs:
    @pytest.mark.asyncio
    async def test_the_newest_claim_wins_and_the_others_change_nothing(self, path: Path) -> None:
        old: FencedSessionStore = FileSessionStore(path)
        new = FileSessionStore(path)
        first = await old.claim("a")
        await old.save("a", SESSION, first)
        other = await old.claim("b")
        second = await new.claim("a")
        assert second > first
        with pytest.raises(SessionTakenOver):
            await old.save("a", Session("x", 1), first)
        with pytest.raises(SessionTakenOver):
            await old.delete("a", first)
        assert await kept(path) == SESSION
        await new.save("a", Session("y", 2), second)
        # Each key has its own.
        await old.save("b", SESSION, other)
        assert (await kept(path), await kept(path, "b")) == (Session("y", 2), SESSION)

    @pytest.mark.asyncio
    async def test_an_epoch_outlives_its_session(self, path: Path) -> None:
        store = FileSessionStore(path)
        first = await store.claim("a")
        second = await store.claim("a")
        await store.save("a", SESSION, second)
        await store.delete("a", second)
        with pytest.raises(SessionTakenOver):
            await store.save("a", SESSION, first)
        with pytest.raises(SessionTakenOver):
            await store.delete("a", first)
        assert await kept(path) is None

    @pytest.mark.asyncio
    async def test_a_file_that_was_removed_costs_nobody_the_session(self, path: Path) -> None:
        store = FileSessionStore(path)
        epoch = await store.claim("a")
        path.unlink()
        await store.save("a", SESSION, epoch)
        assert await kept(path) == SESSION
        later = await store.claim("a")
        assert later > epoch
        path.unlink()
        # Not one that somebody may have.
        assert await store.claim("a") > epoch

    @pytest.mark.asyncio
    async def test_epochs_without_a_session_go_in_time(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = FileSessionStore(path)
        epochs = {key: await store.claim(key) for key in "abc"}
        await store.save("b", SESSION, epochs["b"])
        now = stores.time.time()
        monkeypatch.setattr(stores.time, "time", lambda: now + 599)
        await store.save("b", SESSION, epochs["b"])
        assert set(json.loads(path.read_text())["epochs"]) == {"a", "b", "c"}
        monkeypatch.setattr(stores.time, "time", lambda: now + 602)
        await store.save("b", SESSION, epochs["b"])
        assert set(json.loads(path.read_text())["epochs"]) == {"b"}
        # Whoever still lives with one of them goes on.
        await store.save("a", SESSION, epochs["a"])
        assert await store.load("a") == SESSION

    @pytest.mark.parametrize("epochs", [None, [], {"a": "1"}])
    @pytest.mark.asyncio
    async def test_epochs_that_are_none(self, path: Path, epochs: Any) -> None:
        path.write_text(json.dumps({"version": 1, "sessions": {}, "epochs": epochs}))
        store = FileSessionStore(path)
        await store.save("a", SESSION, await store.claim("a"))
        assert await kept(path) == SESSION

    def test_processes_that_claim_at_once_get_different_ones(self, path: Path) -> None:
        program = (
            "import asyncio, sys, warnings; warnings.simplefilter('ignore'); from propylon import FileSessionStore\n"
            "async def main():\n"
            "    store = FileSessionStore(sys.argv[1])\n"
            "    print(*[await store.claim('a') for _ in range(50)])\n"
            "asyncio.run(main())"
        )
        processes = [
            subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        epochs = [[int(word) for word in process.communicate(timeout=60)[0].split()] for process in processes]
        assert len({epoch for of_one in epochs for epoch in of_one}) == 4 * 50
        assert all(of_one == sorted(of_one) for of_one in epochs)

    @pytest.mark.skipif(sys.platform == "win32", reason="fcntl")
    def test_a_process_that_hangs_with_the_lock_is_told_of(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "_LOCK_PATIENCE", 0.05)
        store = FileSessionStore(path)
        asyncio.run(store.save("a", SESSION))
        program = (
            "import fcntl, os, sys\n"
            "lock = os.open(sys.argv[1], os.O_RDWR)\n"
            "fcntl.flock(lock, fcntl.LOCK_EX)\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()"
        )
        arguments = [sys.executable, "-c", program, str(path.parent / FILES[0])]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            with pytest.raises(TimeoutError, match="has held the lock"):
                asyncio.run(store.save("a", Session("x", 1)))
            # What is there can be read all the same.
            assert asyncio.run(store.load("a")) == SESSION
            process.kill()
        asyncio.run(store.save("a", Session("x", 1)))
        assert asyncio.run(kept(path)) == Session("x", 1)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
    def test_a_child_that_was_forked_under_the_lock_does_not_keep_it(self, path: Path) -> None:
        store = FileSessionStore(path)
        go_on, wait = os.pipe()
        with store._file.locked():
            child = os.fork()
            if child == 0:
                os.close(wait)
                os.read(go_on, 1)
                os._exit(0)
        os.close(go_on)
        begin = time.monotonic()
        asyncio.run(store.save("a", SESSION))
        assert time.monotonic() - begin < files._LOCK_PATIENCE
        os.close(wait)
        os.waitpid(child, 0)

    @pytest.mark.asyncio
    async def test_a_folder_that_is_not_there(self, path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"make it, or name another: .*nowhere"):
            await FileSessionStore(path.parent / "nowhere" / "x.json").claim("a")
        path.touch()
        with pytest.raises(NotADirectoryError, match="make it, or name another"):
            await FileSessionStore(path / "x.json").claim("a")


def test_it_works_where_the_loop_has_no_threads_left(path: Path) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().shutdown_default_executor()
        await FileSessionStore(path).save("a", SESSION)
        assert await kept(path) == SESSION

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_child_does_not_wait_for_a_thread_of_its_parent(path: Path) -> None:
    with files._lock:
        child = os.fork()
        if child == 0:
            files._lock.acquire(timeout=5) and os._exit(0)
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


class TestManyAtOnce:
    @pytest.mark.asyncio
    async def test_each_call_is_one_write(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        writes = 0
        fsync = os.fsync

        def counted(descriptor: int) -> None:
            nonlocal writes
            writes += 1
            fsync(descriptor)

        monkeypatch.setattr(files.os, "fsync", counted)
        store: FleetSessionStore = FileSessionStore(path)
        keys = [str(number) for number in range(1000)]
        assert await store.load_all(keys) == {}
        epochs = await store.claim_all(keys)
        assert set(epochs) == set(keys)
        assert await store.save_all({key: (Session(key, 1), epochs[key]) for key in keys}) == set()
        assert await store.load_all([*keys, "x"]) == {key: Session(key, 1) for key in keys}
        assert await store.save_all({"0": (None, epochs["0"]), "1": (Session("one", 2), None), "x": (None, 5)}) == set()
        assert await store.load_all(["0", "1", "2"]) == {"1": Session("one", 2), "2": Session("2", 1)}
        assert writes == 3
        # Nothing to do is no write.
        assert (await store.save_all({}), await store.claim_all([]), await store.load_all([])) == (set(), {}, {})
        assert await store.save_all({"0": (None, epochs["0"])}) == set()
        assert writes == 3

    @pytest.mark.asyncio
    async def test_keys_that_were_taken_over_are_told_and_left_as_they_are(self, path: Path) -> None:
        old, new = FileSessionStore(path), FileSessionStore(path)
        first = await old.claim_all(["a", "b", "c", "d"])
        await old.save_all({key: (Session(key, 1), epoch) for key, epoch in first.items()})
        second = await new.claim_all(["b", "c"])
        assert all(second[key] > first[key] for key in second)
        changes: dict[str, tuple[Session | None, int | None]] = {
            "a": (Session("a", 2), first["a"]),
            "b": (Session("b", 2), first["b"]),
            "c": (None, first["c"]),
            "d": (None, first["d"]),
        }
        assert await old.save_all(changes) == {"b", "c"}
        sessions = await new.load_all(["a", "b", "c", "d"])
        assert {key: session.sequence for key, session in sessions.items()} == {"a": 2, "b": 1, "c": 1}
        # All refused: nothing is written.
        before = path.stat().st_ino
        assert await old.save_all({"b": changes["b"]}) == {"b"}
        assert path.stat().st_ino == before

    @pytest.mark.asyncio
    async def test_an_entry_that_is_no_session_costs_that_one_only(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = FileSessionStore(path)
        await store.save("b", SESSION)
        content = json.loads(path.read_text())
        content["sessions"]["a"] = {"saved_at": stores.time.time(), "session": {}}
        path.write_text(json.dumps(content))
        assert await store.load_all(["a", "b"]) == {"b": SESSION}
        assert "cannot be read" in caplog.text

    @pytest.mark.asyncio
    async def test_a_file_of_an_earlier_version_is_read_and_its_epochs_hold(self, path: Path) -> None:
        """As it was written before: with indents, and in the order of `json.dumps`."""
        now = stores.time.time()
        epoch = int(now * 1000)
        old = {
            "version": 1,
            "sessions": {"a": {"saved_at": now, "session": SESSION.to_dict()}},
            "epochs": {"a": epoch, "b": epoch},
        }
        path.write_text(json.dumps(old, indent=1))
        store = FileSessionStore(path)
        assert await store.load("a") == SESSION
        with pytest.raises(SessionTakenOver):
            await store.save("a", SESSION, epoch - 1)
        await store.save("b", Session("é☃", 1), epoch)
        content = json.loads(path.read_bytes())
        assert content["sessions"]["a"] == old["sessions"]["a"]  # type: ignore[index]
        assert content["epochs"] == old["epochs"]
        assert await store.load("b") == Session("é☃", 1)
