"""The dashboard of a gateway host and of a worker: the whole cluster, from either."""

from typing import Literal

import pytest
from playwright.async_api import Browser

from admin.support import get
from cluster.hosts import new_token
from cluster.nats import NatsServer, free_ports
from face.support import SHORT
from propylon.cluster import GatewayHost, Worker
from propylon.events import MessageCreate
from propylon.testing import Simulator

from . import world
from .browser import ABSENT, CHROMIUM, View, opened
from .conftest import MARKUP, Scene, Serve
from .test_access import CONTRASTS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.skipif(CHROMIUM is None, reason=ABSENT)]

HOSTS = ["web-a-1f00c3", "web-b-77ab09", "web-c-e3c001"]
WORKERS = ["work-a-9d2e55", "work-b-04b3f8"]


async def said(view: View) -> str:
    return await view.page.locator("#announce").inner_text()


async def test_a_bot_of_one_process_has_no_cluster(browser: Browser, admin: Serve) -> None:
    server = admin(Scene(64))
    async with opened(browser, server.url) as view:
        await view.page.locator(".map .cell").nth(63).wait_for()
        assert await view.page.locator("#cluster").is_hidden()
        assert "Cluster" not in [name for _, name in await view.names()]


async def test_a_hosts_page_shows_hosts_workers_shards_and_partitions(browser: Browser, admin: Serve) -> None:
    scene = Scene(8)
    scene.now = world.cluster(world.cut(world.snapshot(8), {5: "RESUMING"}))
    server = admin(scene, shards=8)
    async with opened(browser, server.url) as view:
        await view.page.locator("#cluster").wait_for()
        assert await view.page.locator("#cluster-self").inner_text() == "mybot, as host web-a-1f00c3 sees it"
        assert await view.figures("cluster-figures") == {
            "Hosts": "3",
            "Workers": "2",
            "Shards held": "8/8",
            "Partitions held": "64/64",
            "Lag": "96",
            "NATS here": "connected",
            "Published here": "81,204",
            "Publish lag here": "4 ms",
            "Fenced here": "3",
        }
        assert await view.page.locator("#cluster-figures .bad").count() == 0
        assert await view.rows("hosts") == [
            [HOSTS[0], "3", "64", "serving", "1 h 56 min", "10.0.0.1:9464", "0.1.0"],
            [HOSTS[1], "3", "64", "draining", "1 h 56 min", "10.0.0.2:9464", "0.1.0"],
            [HOSTS[2], "2", "64", "serving, coordinator", "1 h 56 min", "10.0.0.3:9464", "0.1.0"],
        ]
        assert await view.rows("workers") == [
            [WORKERS[0], "32", "32", "serving", "1 h 56 min", "–", "0.1.0"],
            [WORKERS[1], "32", "64", "serving", "1 h 56 min", "–", "0.1.0"],
        ]
        # By host, and in it by number.
        leases = await view.rows("leases")
        assert [row[:2] for row in leases] == [
            [f"{shard} of 8", HOSTS[shard % 3]] for shard in (0, 3, 6, 1, 4, 7, 2, 5)
        ]
        assert leases[1] == ["3 of 8", HOSTS[0], "ready", "1,203", "3 min 0 s"]
        assert leases[7] == ["5 of 8", HOSTS[2], "resuming", "1,205", "5 min 0 s"]
        partitions = await view.rows("partitions")
        assert partitions[:3] == [["0", WORKERS[0], "0"], ["2", WORKERS[0], "2"], ["4", WORKERS[0], "0"]]
        assert len(partitions) == 20
        await view.page.locator("#all-partitions").click()
        assert (await view.rows("partitions"))[63] == ["63", WORKERS[1], "3"]
        # Its own shards are where they ever are.
        assert await view.page.locator(".map .cell").count() == 8
        assert view.problems == []


async def test_a_workers_page_has_its_partitions_for_shards(browser: Browser, admin: Serve) -> None:
    first, second = world.snapshot(16), world.snapshot(16, 4.0)
    snapshots = iter([world.cluster(first, "worker")])
    server = admin(lambda: next(snapshots, world.cluster(second, "worker")), interval=0.05)
    async with opened(browser, server.url) as view:
        await view.until("document.querySelector('#figures').textContent.match(/Received.s[1-9]/)")
        assert await view.page.locator("#fleet").is_hidden()
        figures = await view.figures()

        def rate(key: str) -> str:
            passed = sum(now[key] - then[key] for now, then in zip(second["shards"], first["shards"], strict=True)) / 4
            return f"{passed:,.0f}"

        assert figures["Partitions read"] == "32/32"
        assert (figures["Received/s"], figures["Delivered/s"]) == (rate("received"), rate("delivered"))
        assert figures["Queue"] == "17"
        assert await view.page.title() == "32/32 read – Propylon"
        shown = await view.figures("cluster-figures")
        assert shown["Unfinished here"] == "5"
        assert (shown["Redelivered here"], shown["Expired here"]) == ("4", "0")
        assert await view.page.locator("#cluster-figures .bad").all_inner_texts() == ["1"], "the dead letter"
        # What comes first by keyboard leads to what is there.
        await view.page.keyboard.press("Tab")
        await view.page.keyboard.press("Enter")
        assert await view.page.evaluate("document.activeElement.id") == "cluster"
        assert view.problems == []


async def test_what_nobody_has_is_marked_and_spoken(browser: Browser, admin: Serve) -> None:
    scene = Scene(8)
    scene.now = world.cluster(world.snapshot(8))
    server = admin(scene, shards=8, interval=0.05)
    async with opened(browser, server.url) as view:
        assert await view.page.locator("#cluster-figures .bad").count() == 0
        scene.now = world.cluster(world.snapshot(8, 1.0), free=True)
        await view.until("document.querySelector('#cluster-figures .bad')?.textContent === '32/64'")
        assert await said(view) == "Nobody has some of the partitions or shards."
        assert (await view.rows("partitions"))[0] == ["1", "nobody", "–"]
        scene.now = world.cluster(world.snapshot(8, 2.0))
        scene.now["cluster"]["connected"] = False
        await view.until("document.querySelector('#cluster-figures .bad')?.textContent === 'away'")
        assert await said(view) == "The connection to NATS is lost. All shards and partitions are held."
        scene.now = world.cluster(world.snapshot(8, 3.0))
        await view.until("!document.querySelector('#cluster-figures .bad')")
        assert await said(view) == "Connected to NATS again."


async def test_a_heading_sorts_by_keyboard(browser: Browser, admin: Serve) -> None:
    scene = Scene(12)
    scene.now = world.cluster(world.snapshot(12))
    server = admin(scene, shards=12)
    async with opened(browser, server.url) as view:
        epoch = view.page.get_by_role("button", name="Epoch")
        await epoch.focus()
        await view.page.keyboard.press("Enter")
        assert [row[0] for row in await view.rows("leases")] == [f"{shard} of 12" for shard in reversed(range(12))]
        await view.page.locator("#leases").get_by_role("button", name="Shard").press("Enter")
        names = [row[0] for row in await view.rows("leases")]
        assert names == [f"{shard} of 12" for shard in range(12)], "2 is before 10"


@pytest.mark.parametrize("role", ["host", "worker"])
async def test_a_screen_reader_hears_names(browser: Browser, admin: Serve, role: str) -> None:
    scene = Scene(8)
    scene.now = world.cluster(world.snapshot(8), role)
    server = admin(scene, shards=8)
    async with opened(browser, server.url) as view:
        await view.page.locator("#cluster").wait_for()
        names = await view.names()
        spoken = {"button", "link", "region", "table", "heading", "columnheader"}
        assert [pair for pair in names if pair[0] in spoken and not pair[1]] == []
        assert ("region", "Cluster") in names
        assert len([role for role, _ in names if role == "table"]) == 7
        assert await view.page.locator("[aria-live]").count() == 1


@pytest.mark.parametrize("role", ["host", "worker"])
async def test_on_a_phone_nothing_is_beyond_the_edge(browser: Browser, admin: Serve, role: str) -> None:
    scene = Scene(64)
    scene.now = world.cluster(world.snapshot(64), role)
    for row in (*scene.now["cluster"]["shards"], *scene.now["cluster"]["hosts"]):
        row["host" if "host" in row else "id"] = "a-host-with-a-name-of-32-letters-00ffaa"
    scene.now["cluster"]["partitions"][0]["worker"] = scene.now["cluster"]["workers"][0]["id"] = "w" * 39
    server = admin(scene)
    async with opened(browser, server.url, width=360, height=740) as view:
        await view.page.locator("#cluster").wait_for()
        wide = await view.page.evaluate(
            """() => [...document.body.querySelectorAll("*")].filter(node => node.checkVisibility()
                 && !node.closest(".unseen, .skip") && node.getBoundingClientRect().right > 360)
                 .map(node => `${node.tagName} ${node.className} ${node.textContent.slice(0, 40)}`)"""
        )
        assert wide == []
        assert await view.page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_light_and_dark_can_be_read(browser: Browser, admin: Serve, scheme: Literal["light", "dark"]) -> None:
    scene = Scene(8)
    scene.now = world.cluster(world.snapshot(8), free=True)
    server = admin(scene, shards=8)
    async with opened(browser, server.url, scheme=scheme) as view:
        await view.page.locator("#cluster").wait_for()
        await view.until("document.getAnimations().length === 0")
        found: list[tuple[float, str, str]] = await view.page.evaluate(CONTRASTS)
        assert [each for each in found if each[0] < 4.5] == []
        assert {"nobody", "32/64"} <= {text for _, _, text in found}


async def test_names_stay_text(browser: Browser, admin: Serve) -> None:
    scene = Scene(4)
    scene.now = world.cluster(world.snapshot(4))
    told = scene.now["cluster"]
    told["app"] = told["hosts"][0]["id"] = told["hosts"][0]["admin"] = told["shards"][0]["status"] = MARKUP
    told["partitions"][0]["worker"] = told["workers"][0]["version"] = MARKUP
    server = admin(scene, shards=4)
    async with opened(browser, server.url) as view:
        await view.page.locator("#cluster").wait_for()
        assert (await view.rows("hosts"))[0][0] == MARKUP
        assert (await view.rows("leases"))[0][2] == MARKUP
        assert await view.page.evaluate("[window.taken, document.scripts.length, document.images.length]") == [
            None,
            2,
            0,
        ]
        assert view.problems == []


async def test_a_real_host_and_worker_show_the_same_cluster(browser: Browser) -> None:
    ports = free_ports(2)
    with NatsServer() as nats, Simulator(shards=2, max_concurrency=16, identify_interval=0.0, guilds=4) as sim:
        worker = Worker(nats.url, app="mybot", admin=f"127.0.0.1:{ports[0]}")
        worker.listen(MessageCreate)(lambda _: None)
        options = {"shards": 2, "api_url": sim.api_url, "ca_file": sim.ca_file, **SHORT}
        host = GatewayHost(new_token(), nats.url, app="mybot", admin=f"127.0.0.1:{ports[1]}", **options)
        async with worker, host:
            shown: list[list[list[list[str]]]] = []
            for member, port in ((worker, ports[0]), (host, ports[1])):
                async with opened(browser, f"http://127.0.0.1:{port}") as view:
                    # Lags of another's partitions come when somebody looks.
                    await view.until(
                        "document.querySelectorAll('#leases tbody tr').length === 2 "
                        "&& !document.querySelector('#leases').textContent.includes('nobody') "
                        "&& document.querySelector('#leases tbody').textContent.match(/ready.*ready/) "
                        "&& !document.querySelector('#workers tbody').textContent.includes('–')"
                    )
                    assert await view.page.locator("#cluster-figures .bad").count() == 0
                    rows = [await view.rows(table) for table in ("hosts", "workers", "leases", "partitions")]
                    # All but for how long.
                    shown.append([[[*row[:4], *row[5:]] for row in table] for table in rows])
                    assert view.problems == []
                    assert (await get(member, "/snapshot")).json["cluster"]["app"] == "mybot"
            assert shown[0] == shown[1]
            assert shown[0][0][0][:2] == [host.id, "2"]
            assert shown[0][1][0][:3] == [worker.id, "64", "0"]
