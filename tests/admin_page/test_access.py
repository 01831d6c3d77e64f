"""The dashboard for everybody: by keyboard, on a phone, in both colour schemes, and as a screen reader tells it."""

from typing import Literal

import pytest
from playwright.async_api import Browser

from . import world
from .browser import ABSENT, CHROMIUM, opened
from .conftest import Scene, Serve, lively

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.skipif(CHROMIUM is None, reason=ABSENT)]

CONTRASTS = """() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255).map(
    v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce(
    (sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = node => {
    for (; node; node = node.parentElement) {
      const colour = parts(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !node.checkVisibility() || node.closest(".unseen, .skip")) continue;
    const [high, low] = [luminance(parts(getComputedStyle(node).color)), luminance(ground(node))].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), node.className, walk.currentNode.textContent.trim()]);
  }
  return found;
}"""
"""WCAG's contrast of every text that is shown against what lies behind it."""

LINES = """() => {
  const probe = document.body.appendChild(document.createElement("i"));
  const style = getComputedStyle(probe);
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = name => {
    probe.style.color = `var(--${name})`;
    return parts(style.color).slice(0, 3).map(v => v / 255).map(
      v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce(
      (sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  };
  const surface = luminance("surface");
  return ["series-1", "series-2", "series-3"].map(luminance).map(
    line => (Math.max(line, surface) + 0.05) / (Math.min(line, surface) + 0.05));
}"""
"""The same of the lines of the charts."""


async def test_the_map_is_one_tab_stop_in_which_arrows_move(browser: Browser, admin: Serve) -> None:
    server = admin(Scene(64))
    async with opened(browser, server.url) as view:
        page = view.page
        title = page.locator("#shard-title")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "To the fleet map"
        await page.keyboard.press("Tab")
        per_row = await page.locator(".map .cell").evaluate_all(
            "cells => cells.filter(cell => cell.offsetTop === cells[0].offsetTop).length"
        )
        assert 10 <= per_row < 64
        # (key, shard that is chosen then)
        for key, shard in (
            ("ArrowRight", 1),
            ("ArrowDown", 1 + per_row),
            ("ArrowLeft", per_row),
            ("ArrowUp", 0),
            ("ArrowUp", 0),
            ("ArrowLeft", 0),
            ("End", 63),
            ("ArrowRight", 63),
            ("ArrowDown", 63),
            ("Home", 0),
        ):
            await page.keyboard.press(key)
            assert await title.inner_text() == f"Shard {shard} of 64", key
            chosen = page.locator(".map .cell[aria-selected='true']")
            assert await chosen.evaluate_all("cells => cells.map(cell => cell.ariaLabel)") == [
                f"Shard {shard} of 64: ready"
            ]
            assert await chosen.evaluate("cell => cell === document.activeElement && cell.tabIndex === 0")
        assert await page.locator(".map .cell[tabindex='0']").count() == 1
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.closest('.map')") is None
        await page.keyboard.press("Shift+Tab")
        assert await page.evaluate("document.activeElement.ariaLabel") == "Shard 0 of 64: ready"


async def test_a_heading_sorts_by_keyboard_and_more_rows_can_be_shown(browser: Browser, admin: Serve) -> None:
    server = admin(Scene(64))
    async with opened(browser, server.url) as view:
        page = view.page
        longest = page.get_by_role("button", name="Longest")
        await longest.focus()
        await page.keyboard.press("Enter")
        heading = page.locator("#listeners th", has=longest)
        assert await heading.get_attribute("aria-sort") == "descending"
        names = [row[0] for row in await view.rows("listeners")]
        assert names == [name for name, *_ in sorted(world.LISTENERS, key=lambda listener: -listener[3])]
        await page.keyboard.press("Enter")
        assert await heading.get_attribute("aria-sort") == "ascending"
        assert [row[0] for row in await view.rows("listeners")] == names[::-1]
        assert await page.locator("#listeners th[aria-sort]").count() == 1

        more = page.get_by_role("button", name="Show all 23")
        assert await more.get_attribute("aria-expanded") == "false"
        assert len(await view.rows("events")) == 21
        await more.click()
        assert len(await view.rows("events")) == 23
        await page.get_by_role("button", name="Show the first 20").click()
        assert len(await view.rows("events")) == 21


@pytest.mark.parametrize("shards", [1, 64, 1000])
async def test_on_a_phone_nothing_is_beyond_the_edge(browser: Browser, admin: Serve, shards: int) -> None:
    scene = Scene(shards)
    scene.now = world.block(lively(shards), 12.3, "a_package." * 20 + "listener", alive=False)
    scene.now["listeners"][0]["name"] = "a_package." * 20 + "listener"
    server = admin(scene, shards=shards)
    async with opened(browser, server.url, width=360, height=740) as view:
        await view.page.locator("#chart-queue canvas").wait_for()
        wide = await view.page.evaluate(
            """() => [...document.body.querySelectorAll("*")].filter(node => node.checkVisibility()
                 && !node.closest(".unseen, .skip") && node.getBoundingClientRect().right > 360)
                 .map(node => `${node.tagName} ${node.className} ${node.textContent.slice(0, 40)}`)"""
        )
        assert wide == []
        assert await view.page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_light_and_dark_can_be_read(browser: Browser, admin: Serve, scheme: Literal["light", "dark"]) -> None:
    scene = Scene(64)
    statuses = [
        *("RESUMING", "WAITING_FOR_READY", "IDENTIFYING", "WAITING_FOR_HELLO"),
        *("CONNECTING", "DISCONNECTED", "UNCONNECTED"),
    ]
    scene.now = world.cut(world.snapshot(64), dict(enumerate(statuses)))
    # A banner of each colour: the loop's, and later that of the lost server.
    scene.now = world.block(scene.now, 3.0, "bot.on_message")
    server = admin(scene)
    async with opened(browser, server.url, scheme=scheme) as view:
        server.stop()
        await view.page.locator("#lost").wait_for()
        # A colour on its way to another is neither.
        await view.until("document.getAnimations().length === 0")
        found: list[tuple[float, str, str]] = await view.page.evaluate(CONTRASTS)
        assert [each for each in found if each[0] < 4.5] == []
        assert len(found) > 300
        assert {"R", "S", "W", "I", "H", "C", "D", "U", "lost"} <= {text for _, _, text in found}
        assert min(await view.page.evaluate(LINES)) > 3.0
        ground: str = await view.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(244, 246, 248)", "dark": "rgb(16, 19, 23)"}[scheme]


async def test_the_charts_follow_the_colour_scheme(browser: Browser, admin: Serve) -> None:
    server = admin(Scene(64))
    drawn = "document.querySelector('#chart-events canvas').toDataURL()"
    async with opened(browser, server.url) as view:
        await view.until("document.querySelector('#chart-events').ariaLabel.includes('most')")
        light: str = await view.page.evaluate(drawn)
        await view.page.emulate_media(color_scheme="dark")
        await view.until(f"{drawn} !== {light!r}")
        assert view.problems == []


async def test_a_screen_reader_hears_names(browser: Browser, admin: Serve) -> None:
    server = admin(Scene(64))
    async with opened(browser, server.url) as view:
        await view.page.locator("#chart-queue canvas").wait_for()
        names = await view.names()
        # What can be used, or is to be read as a whole, says what it is.
        spoken = {
            "button",
            "link",
            "option",
            "listbox",
            "region",
            "complementary",
            "table",
            "image",
            "meter",
            "heading",
        }
        assert [pair for pair in names if pair[0] in spoken and not pair[1]] == []
        assert {role for role, _ in names} >= {"banner", "main", "status", *spoken}
        tables = [name for role, name in names if role == "table"]
        assert len(tables) == 3
        assert tables[0].startswith("Events a second by type and outcome")
        assert ("option", "Shard 12 of 64: ready") in names
        charts = [name for role, name in names if role == "image"]
        assert len(charts) == 3
        assert charts[1].startswith("Highest heartbeat latency over the last 15 minutes: now ")
        assert ("columnheader", "") not in names
        live = await view.page.locator("[aria-live]").evaluate_all("all => all.map(node => [node.id, node.ariaLive])")
        assert live == [["announce", "polite"]]
        assert await view.page.locator("[role='alert']").count() == 0


async def test_figures_are_not_spoken(browser: Browser, admin: Serve) -> None:
    second = 0

    def look() -> world.Snapshot:
        nonlocal second
        second += 1
        return world.snapshot(64, float(second))

    server = admin(look, interval=0.02)
    async with opened(browser, server.url) as view:
        await view.page.evaluate(
            """() => {
                 window.spoken = 0;
                 new MutationObserver(all => window.spoken += all.length).observe(
                   document.querySelector("#announce"), {childList: true, characterData: true, subtree: true});
               }"""
        )
        before = await view.figures("shard")
        await view.until(f"!document.querySelector('#shard').textContent.includes('{before['Sequence']}')")
        assert await view.page.evaluate("window.spoken") == 0


async def test_reduced_motion_stands_still(browser: Browser, admin: Serve) -> None:
    server = admin(Scene(64))
    moving = """() => [...document.querySelectorAll("*")].filter(node => {
        const style = getComputedStyle(node);
        return style.transitionDuration !== "0s" || style.animationName !== "none";
      }).length"""
    async with opened(browser, server.url) as view:
        assert await view.page.evaluate(moving) > 0
        await view.page.emulate_media(reduced_motion="reduce")
        assert await view.page.evaluate(moving) == 0
