"""One store for the keepers of a fleet: what is joined, who is told what, and what a loop leaves behind."""

import asyncio
import gc
import json
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from face.support import eventually
from propylon import FileSessionStore, Session, SessionTakenOver
from propylon._sessions import keeping, together
from propylon._sessions.together import FencedStoreTogether, StoreTogether
from sessions.conftest import FencedStore, MemoryStore

KEYS = [str(number) for number in range(1000)]


class FleetStore(FencedStore):
    """A store that takes many keys in one call, and writes down which."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[list[str]] = []
        self.claims: list[list[str]] = []
        self.writes: list[dict[str, tuple[Session | None, int | None]]] = []
        self.pause: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)

    async def load_all(self, keys: Sequence[str], /) -> dict[str, Session]:
        self.loads.append(list(keys))
        await self.pause()
        self._fail()
        return {key: self.sessions[key] for key in keys if key in self.sessions}

    async def claim_all(self, keys: Sequence[str], /) -> dict[str, int]:
        self.claims.append(list(keys))
        await self.pause()
        return {key: await self.claim(key) for key in keys}

    async def save_all(self, changes: Mapping[str, tuple[Session | None, int | None]], /) -> set[str]:
        self.writes.append(dict(changes))
        await self.pause()
        self._fail()
        refused: set[str] = set()
        for key, (session, epoch) in changes.items():
            if epoch is not None and epoch != self.epochs.get(key):
                refused.add(key)
            elif session is None:
                self.sessions.pop(key, None)
            else:
                self.sessions[key] = session
        return refused


class TestJoined:
    @pytest.mark.asyncio
    async def test_a_thousand_shards_are_loaded_claimed_and_saved_by_a_handful_of_calls(self) -> None:
        inner = FleetStore()
        inner.sessions["7"] = Session("seven", 7)
        store = together.together(inner)
        assert isinstance(store, FencedStoreTogether)
        loaded = await asyncio.gather(*(store.load(key) for key in KEYS))
        assert [session for session in loaded if session is not None] == [Session("seven", 7)]
        assert loaded[7] is not None
        epochs = await asyncio.gather(*(store.claim(key) for key in KEYS))
        for turn in range(3):
            changes = [store.save(key, Session(key, turn), epoch) for key, epoch in zip(KEYS, epochs, strict=True)]
            await asyncio.gather(*changes)
        assert inner.sessions == {key: Session(key, 2) for key in KEYS}
        await asyncio.gather(*(store.delete(key, epoch) for key, epoch in zip(KEYS, epochs, strict=True)))
        assert inner.sessions == {}
        assert (inner.loads, inner.claims, len(inner.writes)) == ([KEYS], [KEYS], 4)

    @pytest.mark.asyncio
    async def test_what_comes_one_after_the_other_is_joined_while_a_write_rests(self) -> None:
        inner = FleetStore()
        store = together.together(inner)
        saves: list[asyncio.Task[None]] = []
        began = time.monotonic()
        for key in KEYS:
            saves.append(asyncio.create_task(store.save(key, Session(key, 1))))
            await asyncio.sleep(0)
        await asyncio.gather(*saves)
        assert len(inner.sessions) == 1000
        # One in 20 ms, however long this takes, and the first at once.
        assert len(inner.writes) < 3 + (time.monotonic() - began) / 0.02

    @pytest.mark.asyncio
    async def test_no_more_than_a_tenth_of_the_time_is_writing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 0.0
        monkeypatch.setattr(together.time, "monotonic", lambda: now)
        rest = together._Rest()
        assert rest.left() == 0
        for took, least in ((0.0, 0.02), (0.001, 0.02), (0.03, 0.3), (5.0, 1.0)):
            rest.begin(took)
            assert rest.left() == pytest.approx(least)
            now += least
            assert rest.left() == pytest.approx(0)

    @pytest.mark.asyncio
    async def test_the_first_write_begins_at_once_and_there_is_never_a_second_beside_it(self) -> None:
        inner = FleetStore()
        go_on = asyncio.Event()
        inner.pause = go_on.wait
        store = together.together(inner)
        first = asyncio.create_task(store.save("a", Session("a", 1)))
        await eventually(lambda: inner.writes)
        others = [asyncio.create_task(store.save(key, Session(key, 1))) for key in "bcd"]
        await asyncio.sleep(0.05)
        assert [list(write) for write in inner.writes] == [["a"]]
        assert not first.done()
        go_on.set()
        await asyncio.gather(first, *others)
        assert [list(write) for write in inner.writes] == [["a"], ["b", "c", "d"]]

    @pytest.mark.asyncio
    async def test_a_later_change_replaces_one_that_waits_and_both_are_told(self) -> None:
        inner = FleetStore()
        store = together.together(inner)
        changes = [store.save("a", Session("a", 1)), store.save("a", Session("a", 2)), store.delete("b")]
        await asyncio.gather(*changes)
        assert inner.writes == [{"a": (Session("a", 2), None), "b": (None, None)}]
        inner.fails = OSError("disk full")
        results = await asyncio.gather(
            store.save("a", Session("a", 3)), store.delete("a"), store.load("a"), return_exceptions=True
        )
        assert results == [inner.fails] * 3

    @pytest.mark.asyncio
    async def test_one_write_of_a_real_file(self, tmp_path: Path) -> None:
        path = tmp_path / "sessions.json"
        store = together.together(FileSessionStore(path))
        assert isinstance(store, FencedStoreTogether)
        epochs = await asyncio.gather(*(store.claim(key) for key in KEYS))
        await asyncio.gather(*(store.save(key, Session(key, 5), epochs[int(key)]) for key in KEYS))
        assert len(json.loads(path.read_text())["sessions"]) == 1000
        newer = await FileSessionStore(path).claim("3")
        changes = [store.save(key, Session(key, 6), epochs[int(key)]) for key in ("2", "3", "4")]
        results = await asyncio.gather(*changes, return_exceptions=True)
        assert [type(result) for result in results] == [type(None), SessionTakenOver, type(None)]
        await store.save("3", Session("3", 7), newer)
        loaded = await asyncio.gather(*(store.load(key) for key in ("1", "2", "3")))
        assert loaded == [Session("1", 5), Session("2", 6), Session("3", 7)]


class TestEpochs:
    @pytest.mark.asyncio
    async def test_who_is_taken_over_is_told_and_nobody_else(self) -> None:
        inner = FleetStore()
        store = together.together(inner)
        assert isinstance(store, FencedStoreTogether)
        old = [await store.claim(key) for key in "abc"]
        await inner.claim("b")
        changes = [store.save(key, Session(key, 1), epoch) for key, epoch in zip("abc", old, strict=True)]
        results = await asyncio.gather(*changes, return_exceptions=True)
        assert [isinstance(result, SessionTakenOver) for result in results] == [False, True, False]
        assert set(inner.sessions) == {"a", "c"}
        assert len(inner.writes) == 1

    @pytest.mark.asyncio
    async def test_two_claims_of_one_key_are_two(self) -> None:
        for inner in (FleetStore(), FencedStore()):
            store = together.together(inner)
            assert isinstance(store, FencedStoreTogether)
            first, second, other = await asyncio.gather(store.claim("a"), store.claim("a"), store.claim("b"))
            assert sorted([first, second]) == [1, 2]
            assert other == 1

    @pytest.mark.asyncio
    async def test_one_with_an_old_epoch_does_not_replace_the_one_with_the_new(self) -> None:
        inner = FleetStore()
        store = together.together(inner)
        assert isinstance(store, FencedStoreTogether)
        old, new = await store.claim("a"), await store.claim("a")
        changes = [store.save("a", Session("new", 1), new), store.save("a", Session("old", 1), old)]
        results = await asyncio.gather(*changes, return_exceptions=True)
        assert [isinstance(result, SessionTakenOver) for result in results] == [False, True]
        assert inner.only == Session("new", 1)

    @pytest.mark.asyncio
    async def test_a_claim_that_fails_is_told_to_all(self) -> None:
        inner = FleetStore()
        inner.fails = PermissionError("no")
        store = together.together(inner)
        assert isinstance(store, FencedStoreTogether)
        assert await asyncio.gather(*(store.claim(key) for key in "ab"), return_exceptions=True) == [inner.fails] * 2

    def test_it_is_fenced_where_the_store_is(self) -> None:
        for inner in (FleetStore(), FencedStore(), MemoryStore()):
            store = together.together(inner)
            assert keeping.is_fenced(store) == keeping.is_fenced(inner)
            assert repr(inner) in repr(store)
        with pytest.raises(TypeError, match="sessions takes a SessionStore"):
            together.together("sessions.json")  # type: ignore[arg-type]


class TestCancelled:
    @pytest.mark.parametrize("inner", [FleetStore, FencedStore, MemoryStore])
    @pytest.mark.asyncio
    async def test_who_is_cancelled_leaves_the_others(self, inner: type[Any]) -> None:
        store = together.together(inner())
        for ask in (store.load, store.delete, lambda key: store.save(key, Session(key, 1))):
            tasks = [asyncio.ensure_future(ask(key)) for key in "abca"]
            await asyncio.sleep(0)
            tasks[0].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False, False, False]
        assert set(store._store.sessions) == set("abc")  # type: ignore[attr-defined]

    @pytest.mark.asyncio
    async def test_a_write_that_has_begun_ends_although_nobody_waits(self) -> None:
        inner = FleetStore()
        go_on = asyncio.Event()
        inner.pause = go_on.wait
        store = together.together(inner)
        task = asyncio.create_task(store.save("a", Session("a", 1)))
        await eventually(lambda: inner.writes)
        task.cancel()
        await asyncio.wait([task])
        go_on.set()
        await eventually(lambda: inner.sessions)
        await store.save("b", Session("b", 1))

    @pytest.mark.asyncio
    async def test_what_nobody_waits_for_is_not_begun(self) -> None:
        inner = FleetStore()
        store = together.together(inner)
        await store.save("a", Session("a", 1))
        task = asyncio.create_task(store.save("b", Session("b", 1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await store.save("c", Session("c", 1))
        assert set(inner.sessions) == {"a", "c"}

    @pytest.mark.parametrize("inner", [FleetStore, FencedStore])
    def test_one_who_saves_when_all_are_cancelled_at_the_end_of_the_loop(self, inner: type[Any]) -> None:
        kept = inner()
        store = together.together(kept)

        async def keep() -> None:
            try:
                while True:
                    await store.save("a", Session("a", 1))
            finally:
                await store.save("last", Session("last", 2))

        async def main() -> None:
            main.task = asyncio.create_task(keep())  # type: ignore[attr-defined]
            await eventually(lambda: kept.sessions)

        asyncio.run(main())
        assert kept.sessions["last"] == Session("last", 2)


class TestKeyByKey:
    @pytest.mark.parametrize("inner", [MemoryStore, FencedStore])
    @pytest.mark.asyncio
    async def test_a_store_without_the_methods_for_many_gets_16_calls_at_a_time(self, inner: type[Any]) -> None:
        running = most = 0

        class Slow(inner):  # type: ignore[misc]
            async def save(self, *arguments: Any) -> None:
                nonlocal running, most
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                await super().save(*arguments)
                running -= 1

        kept = Slow()
        store = together.together(kept)
        await asyncio.gather(*(store.save(key, Session(key, 1)) for key in KEYS))
        assert (len(kept.sessions), most) == (1000, 16)
        assert await asyncio.gather(*(store.load(key) for key in KEYS)) == [Session(key, 1) for key in KEYS]

    @pytest.mark.asyncio
    async def test_one_that_hangs_holds_up_no_other_and_errors_are_of_their_key(self) -> None:
        go_on = asyncio.Event()

        class Hanging(FencedStore):
            async def save(self, key: str, session: Session, epoch: int | None = None, /) -> None:
                if key == "slow" and session.sequence == 1:
                    await go_on.wait()
                if key == "bad":
                    raise OSError("bad")
                await super().save(key, session, epoch)

        inner = Hanging()
        store = together.together(inner)
        slow = [asyncio.create_task(store.save("slow", Session("slow", 1)))]
        await asyncio.sleep(0)
        # These wait for the first, and the last of them is saved.
        slow += [asyncio.create_task(store.save("slow", Session("slow", turn))) for turn in (2, 3)]
        for turn in range(3):
            changes = [store.save(key, Session(key, turn)) for key in ("a", "bad", "b")]
            results = await asyncio.gather(*changes, return_exceptions=True)
            assert [type(result) for result in results] == [type(None), OSError, type(None)]
        assert not any(task.done() for task in slow)
        go_on.set()
        await asyncio.gather(*slow)
        assert [call for call in inner.calls if call[0] == "save"][-2:] == [("save", 1), ("save", 3)]

    @pytest.mark.asyncio
    async def test_a_store_that_raises_before_there_is_anything_to_await(self) -> None:
        class Plain(MemoryStore):
            def save(self, key: str, session: Session, /) -> Any:
                raise LookupError(key)

        class Fleet(FleetStore):
            def save_all(self, changes: Any, /) -> Any:
                raise LookupError

        for inner in (Plain(), Fleet()):
            with pytest.raises(LookupError):
                await together.together(inner).save("a", Session("a", 1))


@pytest.mark.parametrize("inner", [FleetStore, FencedStore])
def test_it_goes_from_loop_to_loop_and_keeps_none(inner: type[Any]) -> None:
    store: StoreTogether = together.together(inner())
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def main(sequence: int) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        for _ in range(2):
            await asyncio.gather(*(store.save(key, Session(key, sequence)) for key in "abc"))
        assert await store.load("a") == Session("a", sequence)
        # Not answered when the loop ends.
        left = asyncio.ensure_future(store.save("left", Session("left", 1)))
        await asyncio.sleep(0)
        assert not left.done()

    for sequence in (1, 2):
        asyncio.run(main(sequence))
    gc.collect()
    assert [loop() for loop in loops] == [None, None]


def test_it_serves_a_loop_after_one_that_was_abandoned() -> None:
    inner = FleetStore()
    store = together.together(inner)

    async def abandoned() -> None:
        inner.pause = asyncio.Event().wait
        for key in "ab":
            tasks.append(asyncio.create_task(store.save(key, Session(key, 1))))
            await asyncio.sleep(0.01)

    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    loop.run_until_complete(abandoned())
    loop.close()
    inner.pause = lambda: asyncio.sleep(0)
    asyncio.run(store.save("c", Session("c", 1)))
    assert inner.only == Session("c", 1)
    # Nobody is told of tasks that are still pending.
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
