"""`sessions=`: when a store is asked, and what a restart makes of what it has."""

import asyncio
import base64
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face.support import SHORT, eventually, message
from propylon import (
    AuthenticationFailed,
    Dispatch,
    FileSessionStore,
    Gateway,
    Intents,
    NotConnected,
    Session,
)
from propylon._sessions import keeping
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps
from sessions.conftest import MemoryStore

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]


def bot(sim: Simulator, store: Any, token: str = "kept", **options: Any) -> Gateway:
    # By the address of the API: it says how IDENTIFYs are spaced, which is five seconds where nobody does.
    options = {"intents": Intents.ALL, "api_url": sim.api_url, **SHORT, **options}
    return Gateway(token, sessions=store, **options)


def ops(sim: Simulator, op: int) -> int:
    return sum(received["op"] == op for connection in sim.record()["connections"] for received in connection["ops"])


async def test_a_restart_goes_on_where_everything_was_finished(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0, identify_interval=0)
    store = MemoryStore()
    heard: list[tuple[int, int | None]] = []
    gate = asyncio.Event()

    def make(run: int) -> Gateway:
        gateway = bot(sim, store)

        @gateway.listen
        async def on(dispatch: Dispatch[MessageCreate]) -> None:
            heard.append((run, dispatch.sequence))
            if dispatch.sequence == 4 and run == 1:
                await gate.wait()

        return gateway

    first = make(1)
    await first.open(timeout=10)
    for _ in range(4):
        sim.dispatch("MESSAGE_CREATE", message())
    await eventually(lambda: len(heard) == 4)
    await first.close()
    assert sim.record()["connections"][0]["closed"]["code"] == 4000
    assert store.only is not None
    assert first.session is not None
    assert (store.only.sequence, first.session.sequence) == (3, 5)
    sim.dispatch("MESSAGE_CREATE", message())
    second = make(2)
    await second.open(timeout=10)
    await eventually(lambda: len(heard) == 7)
    # 4 was under way and 5 came after it: both come again.
    assert heard == [(1, 2), (1, 3), (1, 4), (1, 5), (2, 4), (2, 5), (2, 6)]
    assert second.metrics().identifies == 0
    await second.close()
    gate.set()


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_listener_that_closes_the_gateway_is_not_called_again_by_the_next_process(
    propylon_simulator: Start, monkeypatch: pytest.MonkeyPatch, eager: bool, at_once: bool
) -> None:
    if not eager:
        monkeypatch.setattr("propylon._delivery.consumer._EAGER", False)
    sim = propylon_simulator(guilds=0, identify_interval=0)
    store = MemoryStore()
    heard: list[int | None] = []

    def make() -> Gateway:
        gateway = bot(sim, store)

        @gateway.listen
        async def on(dispatch: Dispatch[MessageCreate]) -> None:
            heard.append(dispatch.sequence)
            if not at_once:
                await asyncio.sleep(0)
            if dispatch.sequence == 2:
                await gateway.close()

        return gateway

    first = make()
    await first.open(timeout=10)
    sim.dispatch("MESSAGE_CREATE", message())
    await first.wait_closed()
    assert store.only is not None
    assert store.only.sequence == 2
    second = make()
    await second.open(timeout=10)
    sim.dispatch("MESSAGE_CREATE", message())
    await eventually(lambda: len(heard) > 1)
    # RESUMED is number 3.
    assert heard == [2, 4]
    await second.close()


async def test_it_is_saved_while_the_gateway_runs_and_only_when_it_moved(
    propylon_simulator: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_INTERVAL", 0.01)
    sim = propylon_simulator(guilds=0, identify_interval=0)
    store = MemoryStore()
    gateway = bot(sim, store)
    await gateway.open(timeout=10)
    await eventually(lambda: store.only is not None and store.only.sequence == 1)
    sim.dispatch("TYPING_START", {})
    await eventually(lambda: store.only is not None and store.only.sequence == 2)
    calls = len(store.calls)
    await asyncio.sleep(0.1)
    assert len(store.calls) == calls
    # A quiet session that lives must not look old.
    monkeypatch.setattr(keeping, "_REFRESH", 0.02)
    await eventually(lambda: len(store.calls) >= calls + 3)
    assert set(store.calls[calls:]) == {("save", 2)}
    await gateway.close()
    assert store.only == gateway.session
    last = len(store.calls)
    await asyncio.sleep(0.05)
    assert len(store.calls) == last


async def test_a_store_that_raises_at_once_is_told_of_and_asked_again(
    propylon_simulator: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Hasty(MemoryStore):
        def save(self, key: str, session: Session, /) -> Any:
            self._fail()
            return super().save(key, session)

    monkeypatch.setattr(keeping, "_INTERVAL", 0.01)
    sim = propylon_simulator(guilds=0, identify_interval=0)
    store = Hasty()
    store.fails = OSError("no disk")
    gateway = bot(sim, store)
    await gateway.open(timeout=10)
    await eventually(lambda: "the session store failed (OSError('no disk'))" in caplog.text.partition("anew")[2])
    store.fails = None
    await eventually(lambda: store.only is not None)
    await gateway.close()


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ("sessions.json", "not 'sessions.json': it has no load and no save and no delete"),
        (FileSessionStore, r"make one: FileSessionStore\(\.\.\.\)"),
    ],
)
async def test_what_is_no_store_is_refused_where_it_is_written(store: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        Gateway("token", sessions=store)


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_close_that_ends_the_session_deletes_it(propylon_simulator: Start, code: int) -> None:
    sim = propylon_simulator(guilds=0, identify_interval=0)
    store = MemoryStore()
    gateway = bot(sim, store)
    await gateway.open(timeout=10)
    await eventually(lambda: store.only is not None)
    await gateway.close(code)
    assert store.only is None
    assert store.calls[-1] == ("delete", None)


async def test_resumable_false_ends_it_too_and_without_a_store_closing_does(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0, identify_interval=0)
    store = MemoryStore()
    gateway = bot(sim, store)
    await gateway.open(timeout=10)
    await gateway.close(resumable=False)
    assert (store.only, gateway.session) == (None, None)
    without = bot(sim, None, "other")
    await without.open(timeout=10)
    await without.close()
    assert without.session is None


async def test_async_with_keeps_it(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0, identify_interval=0)
    store = MemoryStore()
    for _ in range(2):
        async with bot(sim, store):
            pass
    assert (ops(sim, 2), ops(sim, 6)) == (1, 1)


async def test_a_session_that_discord_ended_is_deleted_and_the_new_one_saved(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0, identify_interval=0)
    store = MemoryStore()
    gateway = bot(sim, store)
    await gateway.open(timeout=10)
    await eventually(lambda: store.only is not None)
    old = store.only
    # The next one waits for its READY until it has been seen that there is none: what is looked for might be over.
    sim.script("next", steps.never_ready())
    sim.act(steps.invalid_session(False))
    await eventually(lambda: store.only is None)
    await sim.wait_for("op", op=2, count=2, timeout=20)
    sim.act(steps.close(4000))
    await sim.wait_for("ready", count=2, timeout=20)
    await eventually(lambda: store.only is not None)
    assert store.only is not None
    assert old is not None
    assert store.only.id != old.id
    await gateway.close()


async def test_a_fatal_close_deletes_it(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0, identify_interval=0)
    store = MemoryStore()
    gateway = bot(sim, store)
    await gateway.open(timeout=10)
    await eventually(lambda: store.only is not None)
    sim.act(steps.close(4004))
    with pytest.raises(AuthenticationFailed):
        await gateway.wait_closed()
    assert store.only is None


@pytest.mark.parametrize(
    "other",
    [{"token": "another"}, {"intents": Intents.GUILDS}, {"shard": (0, 2)}, {"shard": (1, 2)}],
    ids=["token", "intents", "shard count", "shard"],
)
async def test_a_session_of_another_bot_or_with_other_facts_is_not_taken(
    propylon_simulator: Start, other: dict[str, Any]
) -> None:
    sim = propylon_simulator(guilds=0, identify_interval=0)
    store = MemoryStore()
    async with bot(sim, store):
        pass
    async with bot(sim, store, **other) as gateway:
        assert gateway.metrics().identifies == 1
    assert ops(sim, 6) == 0
    if "intents" not in other:
        # Those of others leave it alone.
        async with bot(sim, store, token="Bot kept") as gateway:
            assert gateway.metrics().identifies == 0
    assert not any("kept" in key or "another" in key for key in store.sessions)


async def test_several_shards_share_a_file(propylon_simulator: Start, tmp_path: Path) -> None:
    sim = propylon_simulator(guilds=8, max_concurrency=8)
    path = tmp_path / "sessions.json"

    def make() -> list[Gateway]:
        # A store each, and two that share one, over the same file.
        shared = FileSessionStore(path)
        stores = [shared, shared, FileSessionStore(path), FileSessionStore(str(path))]
        return [bot(sim, store, f"token-{number}", shard=(number, 4)) for number, store in enumerate(stores)]

    for identifies in (1, 0):
        gateways = make()
        await asyncio.gather(*[gateway.open(timeout=20) for gateway in gateways])
        for _ in range(20):
            sim.dispatch("TYPING_START", {})
        await asyncio.gather(*[gateway.close() for gateway in gateways])
        assert [gateway.metrics().identifies for gateway in gateways] == [identifies] * 4
    assert sorted(file.name for file in tmp_path.iterdir()) == [".sessions.json.lock", "sessions.json"]


class TestFailures:
    async def test_a_store_that_fails_costs_a_line_in_the_log(
        self, propylon_simulator: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(keeping, "_INTERVAL", 0.005)
        sim = propylon_simulator(guilds=0, identify_interval=0)
        store = MemoryStore()
        store.fails = OSError("disk full")
        gateway = bot(sim, store)
        with caplog.at_level(logging.WARNING, "propylon"):
            await gateway.open(timeout=10)
            await eventually(lambda: len(store.calls) > 5)
        said = [record.getMessage() for record in caplog.records]
        assert [text.split(";")[1] for text in said] == [
            " identifying anew",
            " a restart may identify anew. Trying on, silently",
        ]
        store.fails = None
        await eventually(lambda: store.only is not None)
        await gateway.close()

    async def test_a_store_that_hangs_does_not_hold_the_close(
        self, propylon_simulator: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(keeping, "_PATIENCE", 0.05)
        sim = propylon_simulator(guilds=0, identify_interval=0)

        class Hanging(MemoryStore):
            async def save(self, key: str, session: Session, /) -> None:
                await asyncio.Event().wait()

        gateway = bot(sim, Hanging())
        await gateway.open(timeout=10)
        with caplog.at_level(logging.WARNING, "propylon"):
            await asyncio.wait_for(gateway.close(), 10)
        assert "took too long" in caplog.text
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_a_store_that_does_not_load(self, propylon_simulator: Start) -> None:
        class Hanging(MemoryStore):
            async def load(self, key: str, /) -> Session | None:
                await asyncio.Event().wait()
                return None

        gateway = bot(propylon_simulator(), Hanging())
        with pytest.raises(TimeoutError, match="session store"):
            await gateway.open(timeout=0.05)
        opening = asyncio.create_task(gateway.open())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="open already"):
            await gateway.open()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await gateway.close()

    async def test_closing_while_it_loads(self, propylon_simulator: Start) -> None:
        loading = asyncio.Event()
        gate = asyncio.Event()

        class Slow(MemoryStore):
            async def load(self, key: str, /) -> Session | None:
                loading.set()
                await gate.wait()
                return None

        sim = propylon_simulator()
        gateway = bot(sim, Slow())
        opening = asyncio.create_task(gateway.open())
        await loading.wait()
        closing = asyncio.create_task(gateway.close())
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(NotConnected):
            await opening
        await closing
        assert not sim.record()["connections"]

    async def test_a_session_too_old_for_discord_is_made_anew_and_replaced(self, propylon_simulator: Start) -> None:
        sim = propylon_simulator(guilds=0, identify_interval=0)
        store = MemoryStore()
        async with bot(sim, store):
            pass
        old = store.only
        sim.script("next", steps.refuse_resume())
        async with bot(sim, store) as gateway:
            assert gateway.metrics().identifies == 1
            await eventually(lambda: store.only not in (None, old))


async def test_the_session_given_goes_before_the_store(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0, identify_interval=0)
    store = MemoryStore()
    gateway = bot(sim, None)
    await gateway.open(timeout=10)
    await gateway.close(resumable=True)
    assert gateway.session is not None
    async with bot(sim, store, session=gateway.session) as again:
        assert again.metrics().identifies == 0
        assert ("load", None) not in store.calls
    assert store.only == again.session


async def test_opening_again_in_the_same_process_loses_and_repeats_nothing(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0, identify_interval=0)
    store = MemoryStore()
    gateway = bot(sim, store)
    heard: list[int | None] = []
    gateway.listen(Dispatch[MessageCreate])(lambda dispatch: heard.append(dispatch.sequence))
    for number in range(3):
        await gateway.open(timeout=10)
        sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda number=number: len(heard) == number + 1)
        await gateway.close()
    assert len(set(heard)) == 3
    assert gateway.metrics().identifies == 1


async def test_the_key_tells_bot_and_shard_but_not_the_token() -> None:
    first = base64.b64encode(b"613425648685547541").decode().rstrip("=")
    key = keeping.session_key(f"{first}.Gx.secret", (3, 16))
    assert key.startswith("v10-613425648685547541-3-16-")
    assert keeping.session_key(f"Bot {first}.Gx.secret", (3, 16)) == key
    assert keeping.session_key("secret", None).startswith("v10-bot-0-1-")
    assert "secret" not in key
    others = {keeping.session_key("a", None), keeping.session_key("b", None), keeping.session_key("a", (0, 2))}
    assert len(others) == 3
