"""The dashboard of a bot that runs: the engine's own server, page and figures, in a real browser and in a terminal."""

import asyncio
import json
import sys
from typing import Any

import pytest
from playwright.async_api import Browser

from admin.support import ADMIN, get
from face.support import message
from propylon import ShardManager
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps

from .browser import ABSENT, CHROMIUM, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")


def bot(sim: Simulator) -> ShardManager:
    manager = ShardManager("token", api_url=sim.api_url, shards=4, admin=ADMIN)

    @manager.listen
    def on_message(event: MessageCreate) -> None: ...

    return manager


def simulated() -> Simulator:
    return Simulator(guilds=8, rate=0.0, max_concurrency=4, identify_interval=0.0)


@pytest.mark.skipif(CHROMIUM is None, reason=ABSENT)
async def test_a_bots_own_page_shows_its_shards_its_listeners_and_a_cut_connection(browser: Browser) -> None:
    with simulated() as sim:
        async with bot(sim) as manager:
            await manager.wait_guilds_ready(timeout=20)
            address = manager.admin_address
            assert address is not None
            url = f"http://{address[0]}:{address[1]}"
            async with opened(browser, url) as view:
                await view.until("document.querySelectorAll('.map .cell').length === 4")
                assert view.problems == []
                figures = await view.figures()
                snapshot: dict[str, Any] = (await get(manager, "/snapshot")).json
                assert figures["Shards ready"] == "4/4"
                assert figures["Guilds"] == str(sum(shard["guilds"] for shard in snapshot["shards"]))
                asked = {address.removeprefix(url) for address in view.requests}
                assert asked == {"/", "/app.css", "/app.js", "/history", "/stream", "/uplot.css", "/uplot.js"}
                sim.dispatch("MESSAGE_CREATE", message())
                await view.until("document.querySelector('#listeners').textContent.includes('on_message')")
                sim.act(steps.reset(), shard=2)
                await view.until("document.querySelectorAll('#reconnects tbody tr').length === 1")
                assert view.problems == []


async def test_a_bots_figures_in_a_terminal_are_those_of_its_snapshot() -> None:
    with simulated() as sim:
        async with bot(sim) as manager:
            await manager.wait_guilds_ready(timeout=20)
            address = manager.admin_address
            assert address is not None
            top = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "propylon", "top", f"http://{address[0]}:{address[1]}", "--once", "--json"),
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await top.communicate()
            told = json.loads(out)
            snapshot = (await get(manager, "/snapshot")).json
    assert top.returncode == 0
    assert [shard["id"] for shard in told["shards"]] == [0, 1, 2, 3]
    assert told["ready"] == snapshot["ready"] == {"ok": True, "shards": 4, "ready": 4}
    assert told["events"].keys() == snapshot["events"].keys()
