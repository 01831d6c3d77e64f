"""A store that hands out epochs: the gateway that claimed the session last has it, and the one before ends."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face.support import SHORT, eventually, message
from propylon import Dispatch, FileSessionStore, Gateway, GatewayClosed, Intents, NotConnected, SessionTakenOver
from propylon._sessions import keeping
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps
from sessions.conftest import FencedStore, MemoryStore

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]


def bot(sim: Simulator, store: Any, **options: Any) -> Gateway:
    return Gateway("kept", sessions=store, intents=Intents.ALL, gateway_url=sim.url, **{**SHORT, **options})


def facts(sim: Simulator) -> tuple[int, int, int]:
    """IDENTIFYs, RESUMEs, and connections."""
    record = sim.record()
    return record["identifies"], sum(session["resumes"] for session in record["sessions"]), len(record["connections"])


async def test_the_newcomer_wins_once_and_the_old_one_ends(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0)
    store = FencedStore()
    old, new = bot(sim, store), bot(sim, store)
    await old.open(timeout=10)
    await eventually(lambda: store.only is not None)
    await new.open(timeout=10)
    with pytest.raises(SessionTakenOver, match="another process has taken the session over") as caught:
        await asyncio.wait_for(old.wait_closed(), 3)
    assert isinstance(caught.value, GatewayClosed)
    assert old.session is None
    # Nothing comes after it: the newcomer keeps its one connection.
    sim.dispatch("TYPING_START", {})
    await eventually(lambda: new.metrics().received_by_type.get("TYPING_START") == 1)
    identifies, resumes, _ = facts(sim)
    assert (identifies, resumes) == (1, 1)
    assert (new.metrics().reconnects, new.status.name) == (0, "READY")
    saved = store.only
    await old.close()
    assert store.only is saved
    await new.close()
    # The one that ended by itself saved and deleted nothing of the newcomer's.
    assert store.only is not None
    assert store.only == new.session


async def test_opened_again_it_takes_the_session_back(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0)
    store = FencedStore()
    first, second = bot(sim, store), bot(sim, store)
    await first.open(timeout=10)
    await eventually(lambda: store.only is not None)
    for winner, loser in ((second, first), (first, second), (second, first)):
        await winner.open(timeout=10)
        with pytest.raises(SessionTakenOver):
            await asyncio.wait_for(loser.wait_closed(), 3)
    assert facts(sim)[:2] == (1, 3)
    await second.close()


async def eventually_closed(sim: Simulator) -> Any:
    """What the server has noted of the end of its first connection, once it has."""
    await eventually(lambda: sim.record()["connections"][0]["closed"])
    return sim.record()["connections"][0]["closed"]


async def test_a_claim_alone_ends_it_by_the_next_save_with_4000(
    propylon_simulator: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_INTERVAL", 0.01)
    sim = propylon_simulator(guilds=0)
    store = FencedStore()
    gateway = bot(sim, store)
    await gateway.open(timeout=10)
    await eventually(lambda: store.only is not None)
    before = store.only
    (key,) = store.epochs
    await store.claim(key)
    sim.dispatch("TYPING_START", {})
    with pytest.raises(SessionTakenOver):
        await asyncio.wait_for(gateway.wait_closed(), 3)
    # Who has lost the session does not wait for the server's answer.
    closed = await eventually_closed(sim)
    assert closed["code"] == 4000
    assert store.only == before
    assert [call for call in store.calls if call[0] == "refused"] == [("refused", 1)]


async def test_it_neither_resumes_nor_identifies_after_a_lost_connection(propylon_simulator: Start) -> None:
    for end in (steps.drop(), steps.close(4009), steps.reconnect(), steps.invalid_session(False)):
        sim = propylon_simulator(guilds=0)
        store = FencedStore()
        gateway = bot(sim, store)
        await gateway.open(timeout=10)
        await eventually(lambda store=store: store.only is not None)
        (key,) = store.epochs
        await store.claim(key)
        sim.act(end)
        with pytest.raises(SessionTakenOver):
            await asyncio.wait_for(gateway.wait_closed(), 10)
        assert facts(sim)[:2] == (1, 0), end


async def test_its_running_listeners_finish_and_no_other_begins(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0)
    store = FencedStore()
    gateway = bot(sim, store, max_pending=1)
    gate = asyncio.Event()
    heard: list[tuple[str, int | None]] = []

    @gateway.listen
    async def on(dispatch: Dispatch[MessageCreate]) -> None:
        heard.append(("begun", dispatch.sequence))
        # What it awaits of the gateway does not keep it.
        with pytest.raises(NotConnected):
            await gateway.wait_for(MessageCreate)
        await gate.wait()
        heard.append(("done", dispatch.sequence))

    await gateway.open(timeout=10)
    await eventually(lambda: store.only is not None)
    (key,) = store.epochs
    await store.claim(key)
    sim.dispatch("MESSAGE_CREATE", message())
    await eventually(lambda: len(heard) == 1)
    sim.dispatch("MESSAGE_CREATE", message())
    ending = asyncio.create_task(gateway.wait_closed())
    sim.act(steps.drop())
    await eventually(lambda: any(call[0] == "refused" for call in store.calls))
    await asyncio.sleep(0.05)
    assert not ending.done()
    gate.set()
    with pytest.raises(SessionTakenOver):
        await asyncio.wait_for(ending, 3)
    assert heard == [("begun", 2), ("done", 2)]


async def test_a_listener_that_hangs_does_not_hold_the_end(
    propylon_simulator: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("propylon._gateway.life._DRAIN_PATIENCE", 0.05)
    sim = propylon_simulator(guilds=0)
    store = FencedStore()
    gateway = bot(sim, store)
    begun = asyncio.Event()

    @gateway.listen
    async def on(_: MessageCreate) -> None:
        begun.set()
        await asyncio.Event().wait()

    await gateway.open(timeout=10)
    sim.dispatch("MESSAGE_CREATE", message())
    await begun.wait()
    (key,) = store.epochs
    await store.claim(key)
    sim.act(steps.drop())
    with pytest.raises(SessionTakenOver), caplog.at_level(logging.WARNING, "propylon"):
        await asyncio.wait_for(gateway.wait_closed(), 5)
    assert "1 listener calls have not finished" in caplog.text


async def test_taken_over_while_it_opens(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0)
    store = FencedStore()

    class Late(FencedStore):
        async def delete(self, key: str, epoch: int | None = None, /) -> None:
            await store.claim(key)
            await store.delete(key, epoch)

    late = Late()
    late.epochs = store.epochs
    with pytest.raises(SessionTakenOver):
        await bot(sim, late).open(timeout=10)
    assert facts(sim)[:2] == (0, 0)


async def test_a_store_that_fails_or_hangs_costs_no_session(
    propylon_simulator: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeping, "_CHECK_PATIENCE", 0.1)
    monkeypatch.setattr(keeping, "_PATIENCE", 0.1)

    class Hanging(FencedStore):
        hangs = False

        async def save(self, key: str, session: Any, epoch: int | None = None, /) -> None:
            if self.hangs:
                await asyncio.Event().wait()
            await super().save(key, session, epoch)

    sim = propylon_simulator(guilds=0)
    store = Hanging()
    store.fails = ConnectionError("no database")
    gateway = bot(sim, store)
    with caplog.at_level(logging.WARNING, "propylon"):
        await gateway.open(timeout=10)
        assert "no database" in caplog.text
    sim.act(steps.drop())
    await eventually(lambda: gateway.metrics().resumes == 1)
    # Claimed when it can be.
    store.fails = None
    await eventually(lambda: store.only is not None)
    assert list(store.epochs.values()) == [1]
    store.hangs = True
    sim.act(steps.drop())
    await eventually(lambda: gateway.metrics().resumes == 2)
    await gateway.close()


async def test_a_store_without_claim_is_asked_what_it_was_asked_before(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0)
    store = MemoryStore()
    gateway = bot(sim, store)
    await gateway.open(timeout=10)
    await eventually(lambda: store.only is not None)
    calls = len(store.calls)
    sim.act(steps.drop())
    await eventually(lambda: gateway.metrics().resumes == 1)
    # The number of RESUMED is saved, and nothing is asked before.
    await eventually(lambda: store.calls[calls:] == [("save", 2)])
    await gateway.close()


@pytest.mark.parametrize("is_file", [False, True])
async def test_a_folder_that_is_not_there_is_told_at_open(
    propylon_simulator: Start, tmp_path: Path, is_file: bool
) -> None:
    sim = propylon_simulator(guilds=0)
    folder = tmp_path / "nowhere"
    if is_file:
        folder.touch()
    gateway = bot(sim, FileSessionStore(folder / "sessions.json"))
    with pytest.raises(NotADirectoryError if is_file else FileNotFoundError, match="make it, or name another"):
        await gateway.open(timeout=10)
    assert not sim.record()["connections"]
    # The gateway is as before: mended, it opens.
    if is_file:
        folder.unlink()
    folder.mkdir()
    await gateway.open(timeout=10)
    await gateway.close()


async def test_a_time_out_says_that_the_store_did_not_answer(
    propylon_simulator: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HELLO is in by then: it is not the server that is slow."""
    monkeypatch.setattr(keeping, "_PATIENCE", 0.1)

    class Silent(FencedStore):
        async def save(self, key: str, session: Any, epoch: int | None = None, /) -> None:
            await asyncio.Event().wait()

        async def delete(self, key: str, epoch: int | None = None, /) -> None:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match="the session store did not say whose the session is"):
        await bot(propylon_simulator(guilds=0), Silent()).open(timeout=3)
