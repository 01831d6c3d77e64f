"""The built site: links, what its pages fetch, how they look in a browser at two widths, and what its search finds.

`make check` builds it and says where it is (``PROPYLON_SITE``); without that there is nothing to look at.
"""

import functools
import os
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from links import broken_in_site, read
from playwright.async_api import Browser, Page

from admin_page.browser import ABSENT, CHROMIUM, running

SITE = Path(os.environ.get("PROPYLON_SITE", ""))
pytestmark = pytest.mark.skipif("PROPYLON_SITE" not in os.environ, reason="no built site given: make check builds it")
browsing = pytest.mark.skipif(CHROMIUM is None, reason=ABSENT)

WIDTHS = (1280, 390)


class Quiet(SimpleHTTPRequestHandler):
    """Logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the site is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running() as browser:
        yield browser


def watched(page: Page, address: str) -> list[str]:
    """What is wrong with the page from now on: errors and warnings, and requests that leave the site."""
    problems: list[str] = []
    page.on("console", lambda said: said.type in ("error", "warning") and problems.append(said.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith((address, "data:")) or problems.append(asked.url))
    page.on("response", lambda answer: answer.status >= 400 and problems.append(f"{answer.status} {answer.url}"))
    return problems


def test_no_link_is_broken() -> None:
    pages = read(SITE)
    assert len(pages) > 30
    assert not [*broken_in_site(pages)]


def test_texts_for_language_models_have_every_page() -> None:
    """But the table of all rules, which the search leaves out too."""
    listed = (SITE / "llms.txt").read_text("utf-8")
    whole = (SITE / "llms-full.txt").read_text("utf-8")
    made = {"genindex.html", "search.html", "py-modindex.html", "protocol-coverage.html"}
    for file in SITE.rglob("*.html"):
        name = file.relative_to(SITE).as_posix()
        assert (f"({name})" in listed) == (f"<!-- {name} -->" in whole) == (name not in made), name


@browsing
@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("width", WIDTHS)
async def test_every_page_fits_and_complains_of_nothing(browser: Browser, address: str, width: int) -> None:
    context = await browser.new_context(viewport={"width": width, "height": 900})
    page = await context.new_page()
    problems = watched(page, address)
    wrong = []
    for file in sorted(SITE.rglob("*.html")):
        name = file.relative_to(SITE).as_posix()
        await page.goto(f"{address}/{name}")
        over = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if over > 0:
            wrong.append(f"{name} is {over} px wider than the window")
    await context.close()
    assert (wrong, problems) == ([], [])


@browsing
@pytest.mark.asyncio(loop_scope="module")
async def test_the_first_page_has_its_pictures_and_doors(browser: Browser, address: str) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    await page.goto(f"{address}/index.html")
    loaded = await page.evaluate(
        "[...document.querySelectorAll('article img')].map(image => image.complete && image.naturalWidth > 0)"
    )
    assert loaded == [True] * 4
    doors = await page.locator("ul.doors a").all_inner_texts()
    assert doors == ["Tutorial", "How-to", "Reference", "Explanation"]
    await context.close()


@browsing
@pytest.mark.asyncio(loop_scope="module")
async def test_an_event_shows_an_example_and_links_its_intents(browser: Browser, address: str) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    await page.goto(f"{address}/reference/events.html#propylon.events.MessageCreate")
    entry = page.locator("dl.py.class", has=page.locator("#propylon\\.events\\.MessageCreate"))
    assert await entry.locator("a[href$='Intents.GUILD_MESSAGES']").count() == 1
    example = entry.locator("details.payload")
    assert await example.count() == 1
    assert not await example.locator("pre").is_visible()
    await example.locator("summary").click()
    assert '"channel_id"' in await example.locator("pre").inner_text()
    await context.close()


@browsing
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("word", ["Docker", "shutdown", "MessageCreate"])
async def test_the_search_finds(browser: Browser, address: str, word: str) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    await page.goto(f"{address}/search.html?q={word}")
    await page.locator("#search-results ul.search li").first.wait_for(timeout=20_000)
    await page.locator("#search-results .search-summary", has_text="found").wait_for(timeout=20_000)
    found = await page.locator("#search-results ul.search li > a").evaluate_all("all => all.map(one => one.href)")
    assert found
    assert not [one for one in found if "protocol-coverage" in one]
    await context.close()
