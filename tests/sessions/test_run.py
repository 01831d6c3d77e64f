"""The store at the ends of `Gateway.run`, and where a loop is torn down."""

import asyncio
from pathlib import Path

import pytest

from face.support import SHORT, eventually, message
from propylon import FileSessionStore, Gateway, Intents, Session
from propylon._sessions import keeping
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps

KINDS = [SystemExit, KeyboardInterrupt]


def kept(path: Path, token: str) -> Session | None:
    return asyncio.run(FileSessionStore(path).load(keeping.session_key(token, None)))


def bot(sim: Simulator, path: Path, token: str) -> Gateway:
    store = FileSessionStore(path)
    return Gateway(token, intents=Intents.ALL, gateway_url=sim.url, sessions=store, **SHORT)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_listener_that_ends_the_process_does_not_end_the_next_one_too(
    tmp_path: Path, kind: type[BaseException], is_async: bool
) -> None:
    path, token = tmp_path / "sessions.json", f"end-{kind.__name__}-{is_async}"
    with Simulator(guilds=0, identify_interval=0) as sim:
        gateway = bot(sim, path, token)
        ends = 0

        def end() -> None:
            nonlocal ends
            ends += 1
            raise kind

        async def end_later(_: MessageCreate) -> None:
            await asyncio.sleep(0)
            end()

        def end_now(_: MessageCreate) -> None:
            end()

        gateway.listen(end_later if is_async else end_now)

        sim.script("next", steps.wait_ready(), steps.dispatch("MESSAGE_CREATE", message()))
        with pytest.raises(kind):
            gateway.run()
        session = kept(path, token)
        assert (ends, session and session.sequence) == (1, 2)
        assert sim.record()["connections"][0]["closed"]["code"] == 4000


@pytest.mark.parametrize("context", [True, False], ids=["async with", "left open"])
def test_an_exception_of_the_bots_own(tmp_path: Path, context: bool) -> None:
    path, token = tmp_path / "sessions.json", f"own-{context}"
    with Simulator(guilds=0, identify_interval=0) as sim:

        async def main() -> None:
            gateway = bot(sim, path, token)
            if context:
                async with gateway:
                    raise LookupError
            await gateway.open(timeout=10)
            await eventually(lambda: path.exists() and '"sequence"' in path.read_text())
            raise LookupError

        with pytest.raises(LookupError):
            asyncio.run(main())
        # Left open, what the last look saved is there.
        assert kept(path, token) is not None
