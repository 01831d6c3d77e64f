"""The dashboard in a real browser: what it shows, to whom, and that it asks nobody but its own server."""

import asyncio
import time

import pytest
from playwright.async_api import Browser

from . import world
from .browser import ABSENT, CHROMIUM, View, opened
from .conftest import MARKUP, Scene, Serve, lively

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.skipif(CHROMIUM is None, reason=ABSENT)]


async def label_of(view: View, shard: int) -> str | None:
    return await view.page.locator(".map .cell").nth(shard).get_attribute("aria-label")


async def test_it_loads_without_a_word_on_the_console_and_asks_nobody_else(browser: Browser, admin: Serve) -> None:
    server = admin(Scene(64))
    async with opened(browser, server.url) as view:
        await view.page.locator("#chart-queue canvas").wait_for()
        assert view.problems == []
        asked = [address.removeprefix(server.url) for address in view.requests]
        assert sorted(asked) == ["/", "/app.css", "/app.js", "/history", "/stream", "/uplot.css", "/uplot.js"]
        # That a breach of the policy would have been a word on the console:
        await view.page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: '1'}))")
        assert any("Content Security Policy" in problem for problem in view.problems)


async def test_its_figures_are_those_of_the_snapshot(browser: Browser, admin: Serve) -> None:
    first, second = world.snapshot(64), world.snapshot(64, 4.0)
    second["shards"][9]["queued"], second["shards"][9]["queue_bytes"] = 1234, 5_000_000
    second["shards"][9]["latency_seconds"] = 0.4321
    snapshots = iter([first])
    # Two of them, 4 s apart, so that the rates of the page can be worked out here as well.
    server = admin(lambda: next(snapshots, second), interval=0.05)
    async with opened(browser, server.url) as view:
        await view.page.get_by_text("432 ms").first.wait_for()
        figures = await view.figures()

        def rate(key: str) -> float:
            return sum(now[key] - then[key] for now, then in zip(second["shards"], first["shards"], strict=True)) / 4.0

        assert figures == {
            "Shards ready": "64/64",
            "Received/s": f"{rate('received'):,.0f}",
            "Delivered/s": f"{rate('delivered'):,.0f}",
            "Dropped/s": f"{rate('unheard') + rate('filtered') + rate('overflowed'):,.0f}",
            "Latency, highest": "432 ms",
            "Queue": "1,234",
            "Queue size": "5.0 MB",
            "Loop blocked": "0 ms",
            "Loop lag": "1 ms",
            "Guilds": f"{sum(shard['guilds'] for shard in second['shards']):,}",
            "Listener errors": f"{sum(shard['listener_errors'] for shard in second['shards']):,}",
            "Reconnects": f"{sum(shard['reconnects'] for shard in second['shards']):,}",
            "Memory": f"{second['process']['rss_bytes'] / 1e6:,.1f} MB",
            "Session starts left": "936",
        }

        rates = {
            name: {key: (counters[key] - first["events"][name][key]) / 4.0 for key in world.COUNTERS}
            for name, counters in second["events"].items()
        }
        rows = await view.rows("events")
        assert [row[0] for row in rows[:20]] == sorted(rates, key=lambda name: (-rates[name]["received"], name))[:20]
        for name, received, delivered, *_, total in rows[:20]:
            assert float(received.replace(",", "")) == pytest.approx(rates[name]["received"], abs=0.51)
            assert float(delivered.replace(",", "")) == pytest.approx(rates[name]["delivered"], abs=0.51)
            assert total == f"{second['events'][name]['received']:,}"
        assert rows[20][0] == f"{len(rates) - 20} more"
        rest = sum(counters["received"] for counters in second["events"].values()) - sum(
            second["events"][row[0]]["received"] for row in rows[:20]
        )
        assert rows[20][-1] == f"{rest:,}"

        by_time = sorted(second["listeners"], key=lambda listener: -listener["seconds"])
        listeners = await view.rows("listeners")
        assert [row[0] for row in listeners] == [listener["name"] for listener in by_time]
        assert [row[5] for row in listeners] == [f"{listener['calls']:,}" for listener in by_time]
        assert (await view.rows("reconnects"))[0] == ["16:22:39", "17", "op 7", "resumed"]
        assert len(await view.rows("reconnects")) == len(second["reconnects"])
        assert await view.page.locator("#budget").inner_text() == ("936 of 1,000 left, until 29 Nov 2025, 03:46:40")


async def test_the_chosen_shard_shows_all_its_figures(browser: Browser, admin: Serve) -> None:
    scene = Scene(64)
    server = admin(scene)
    async with opened(browser, server.url) as view:
        await view.page.locator(".map .cell").nth(5).click()
        assert await view.page.locator("#shard-title").inner_text() == "Shard 5 of 64"
        shown = await view.figures("shard")
        shard = scene.now["shards"][5]
        assert shown["Status"] == "ready"
        assert shown["Reconnects"] == "1 (no ACK of the last heartbeat: 1)"
        assert shown["Latency"] == f"{shard['latency_seconds'] * 1000:.0f} ms"
        for term, key in (("Received", "received"), ("Filtered", "filtered"), ("Guilds", "guilds")):
            assert shown[term] == f"{shard[key]:,}"
        assert shown["Sequence"] == f"{shard['sequence']:,}"


@pytest.mark.parametrize("shards", [1, 1000])
async def test_every_shard_has_its_cell(browser: Browser, admin: Serve, shards: int) -> None:
    scene = Scene(shards)
    scene.now = lively(shards)
    server = admin(scene, shards=shards)
    async with opened(browser, server.url) as view:
        labels = await view.page.locator(".map .cell").evaluate_all("cells => cells.map(cell => cell.ariaLabel)")
        words = {"READY": "ready", "RESUMING": "resuming", "IDENTIFYING": "identifying", "DISCONNECTED": "disconnected"}
        assert labels == [f"Shard {shard['id']} of {shards}: {words[shard['status']]}" for shard in scene.now["shards"]]
        legend = await view.page.locator("#legend li:visible").evaluate_all("all => all.map(line => line.textContent)")
        assert legend == (["Sresuming 1"] if shards == 1 else ["Rready 998", "Iidentifying 1", "Ddisconnected 1"])
        assert view.problems == []


async def test_another_number_of_shards_takes_over(browser: Browser, admin: Serve) -> None:
    scene = Scene(64)
    server = admin(scene, interval=0.05)
    async with opened(browser, server.url) as view:
        await view.page.locator(".map .cell").nth(63).click()
        scene.now = world.snapshot(16, 1.0)
        await view.page.get_by_text("Shard 15 of 16", exact=True).wait_for()
        assert await view.page.locator(".map .cell").count() == 16
        assert (await view.figures())["Received/s"] == "0"
        scene.now = world.snapshot(128, 2.0)
        await view.page.locator(".map .cell").nth(127).wait_for()
        assert await view.page.locator(".map .cell[tabindex='0']").count() == 1


async def test_a_cut_connection_is_seen_within_two_seconds(browser: Browser, admin: Serve) -> None:
    scene = Scene(64)
    server = admin(scene)
    async with opened(browser, server.url) as view:
        assert await label_of(view, 7) == "Shard 7 of 64: ready"
        gone = world.cut(scene.now, {7: "DISCONNECTED"})

        def last() -> world.Snapshot:
            # No more comes after the snapshot that has it: the page shows it from that one. One comes each second.
            server.interval = 60.0
            return gone

        server.look = last
        await view.page.locator(".map .cell.down[aria-label='Shard 7 of 64: disconnected']").wait_for()
        assert (await view.figures())["Shards ready"] == "63/64"
        assert await view.page.locator("#announce").inner_text() == "63 of 64 shards are ready."
        assert await view.page.title() == "63/64 ready – Propylon"


async def test_a_lost_server_is_told_at_once_and_found_again(browser: Browser, admin: Serve) -> None:
    scene = Scene(64)
    server = admin(scene)
    async with opened(browser, server.url) as view:
        assert await view.page.locator("#lost").is_hidden()
        begun = time.monotonic()
        server.stop()
        await view.page.locator("#lost").wait_for()
        # What is only silent is lost after 5 s.
        assert time.monotonic() - begun < 4
        assert "All figures are from 16:23:20" in await view.page.locator("#lost").inner_text()
        assert await view.page.locator("#announce").inner_text() == "Connection to the bot's admin server lost."
        assert await view.page.locator("body.stale").count() == 1
        assert await view.page.title() == "LOST – Propylon"
        scene.now = world.snapshot(64, 30.0)
        server.start()
        await view.page.locator("#lost").wait_for(state="hidden")
        # What the charts have missed; it is asked for when that is hidden.
        async with asyncio.timeout(20):
            while server.asked.count("/history") < 2:  # noqa: ASYNC110  # a thread of the server counts
                await asyncio.sleep(0.01)
        assert server.asked.count("/history") == 2
        assert await view.page.title() == "64/64 ready – Propylon"


async def test_a_silent_server_is_lost_as_well(browser: Browser, admin: Serve) -> None:
    """Nothing ends the connection where a machine has gone away or stands still."""
    server = admin(Scene(64), interval=60.0)
    async with opened(browser, server.url) as view:
        assert await view.page.locator("#lost").is_hidden()
        await view.page.locator("#lost").wait_for()


@pytest.mark.parametrize("alive", [True, False])
async def test_a_blocked_loop_is_told_loudly_with_its_listener(browser: Browser, admin: Serve, alive: bool) -> None:
    scene = Scene(64)
    server = admin(scene, interval=0.05)
    async with opened(browser, server.url) as view:
        assert await view.page.locator("#blocked").is_hidden()
        scene.now = world.block(scene.now, 0.9, "bot.on_message")
        await view.page.get_by_text("900 ms").first.wait_for()
        assert await view.page.locator("#blocked").is_hidden()
        scene.now = world.block(scene.now, 12.3, "bot.on_message", alive=alive)
        await view.page.locator("#blocked").wait_for()
        assert await view.page.locator("#blocked").inner_text() == (
            "The event loop has been blocked for 12.3 s. Since 16:23:07, in bot.on_message. "
            "No listener is called meanwhile; the shards look READY, for the engine goes on beating."
        )
        assert await view.page.locator("#blocked.critical").count() == (0 if alive else 1)
        assert await view.page.locator("#announce").inner_text() == "The event loop is blocked in bot.on_message."
        assert (await view.page.title()).startswith("BLOCKED, ")
        scene.now = world.snapshot(64, 13.0)
        await view.page.locator("#blocked").wait_for(state="hidden")
        assert await view.page.locator("#announce").inner_text() == "The event loop runs again."


async def test_what_is_not_known_is_a_dash(browser: Browser, admin: Serve) -> None:
    scene = Scene(1)
    scene.now = world.cut(scene.now, {0: "CONNECTING"})
    shard = scene.now["shards"][0]
    shard["last_frame_at"] = shard["last_event_at"] = shard["last_ack_at"] = shard["sequence"] = None
    scene.now = {**scene.now, "budget": None, "events": {}, "listeners": [], "reconnects": []}
    scene.now["process"]["rss_bytes"] = None
    scene.now["loops"] = []
    server = admin(scene)
    async with opened(browser, server.url) as view:
        figures = await view.figures()
        dashes = ("Latency, highest", "Loop lag", "Memory", "Session starts left", "Received/s")
        assert [figures[term] for term in dashes] == ["–"] * 5
        shown = await view.figures("shard")
        assert [shown[term] for term in ("Latency", "Last event", "Last ACK", "Sequence")] == ["–"] * 4
        for table in ("events", "listeners", "reconnects"):
            assert await view.rows(table) == [["Nothing yet"]]
        assert "not told yet" in await view.page.locator("#budget").inner_text()
        assert view.problems == []
        # And rows come where there were none.
        scene.now = world.snapshot(1, 1.0)
        scene.now["reconnects"] = [{"at": world.FIRST, "shard": 0, "code": None, "reason": None, "resumed": None}]
        await view.page.locator("#events tbody th").first.wait_for()
        assert len((await view.rows("listeners"))[0]) == 7
        assert await view.rows("reconnects") == [["16:23:20", "0", "–", "under way"]]


async def test_names_and_reasons_stay_text(browser: Browser, admin: Serve) -> None:
    scene = Scene(64)
    found = lively()
    found["listeners"][0]["name"] = found["shards"][0]["status"] = MARKUP
    found["events"][MARKUP] = found["events"]["MESSAGE_CREATE"]
    found["shards"][0]["reconnects_by_reason"] = {MARKUP: 1}
    found["process"]["python"] = MARKUP
    scene.now = world.block(found, 12.3, MARKUP, alive=False)
    server = admin(scene)
    async with opened(browser, server.url) as view:
        await view.page.get_by_text("Show all 24").click()
        assert (await view.rows("listeners"))[0][0] == MARKUP
        assert MARKUP in [row[0] for row in await view.rows("events")]
        assert (await view.rows("reconnects"))[0][2] == f"4000 {MARKUP}"
        assert MARKUP in await view.page.locator("#blocked").inner_text()
        assert (await view.figures("shard"))["Status"] == MARKUP
        assert await view.page.evaluate("[window.taken, document.scripts.length, document.images.length]") == [
            None,
            2,
            0,
        ]
        assert view.problems == []


async def test_the_charts_go_on_from_the_history(browser: Browser, admin: Serve) -> None:
    second = 0

    def look() -> world.Snapshot:
        nonlocal second
        second += 1
        found = world.snapshot(64, float(second))
        found["shards"][0]["latency_seconds"] = 9.0 if second >= 12 else 0.02
        return found

    server = admin(look, interval=0.05)
    async with opened(browser, server.url) as view:
        chart = view.page.locator("#chart-latency")
        await view.until("document.querySelector('#chart-latency').ariaLabel.includes('most 9,000 ms')")
        assert "now 9,000 ms" in str(await chart.get_attribute("aria-label"))
        await chart.hover(position={"x": 100, "y": 60})
        at = view.page.locator("#at-latency")
        await view.until("document.querySelector('#at-latency').textContent.includes(' ms')")
        assert await at.inner_text() < "16:23:20", "the pointer is at the left, where the history is"


async def test_of_a_thousand_shards_only_what_has_changed_is_touched(browser: Browser, admin: Serve) -> None:
    scene = Scene(1000)
    server = admin(scene, shards=1000, interval=0.05)
    async with opened(browser, server.url) as view:
        await view.page.evaluate(
            """() => {
                 window.touched = [];
                 new MutationObserver(all => window.touched.push(...all.map(
                   one => (one.target.closest ? one.target : one.target.parentElement).closest(".cell").title)))
                   .observe(document.querySelector("#map"),
                     {childList: true, attributes: true, characterData: true, subtree: true});
               }"""
        )
        scene.now = world.snapshot(1000, 1.0)
        guilds = scene.now["shards"][0]["guilds"] = 4321
        await view.page.locator("#shard").get_by_text(f"{guilds:,}").wait_for()
        assert await view.page.evaluate("window.touched") == []
        scene.now = world.cut(world.snapshot(1000, 2.0), {777: "DISCONNECTED"})
        await view.page.locator(".map .cell.down").wait_for()
        assert set(await view.page.evaluate("window.touched")) == {"Shard 777: disconnected"}
