"""A headless Chromium that looks at a dashboard, and what it saw.

Driven by Playwright over the DevTools protocol: one pip package that waits for states by itself, drives the system's
own Chromium and needs no chromedriver beside it; its own browsers are never downloaded. Works on any address that
serves the page: the stand-in of `server`, or a bot's own.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from playwright.async_api import Browser, CDPSession, ConsoleMessage, Page, Request, async_playwright

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""Where it is; None: not installed, so that nothing can be looked at."""
ABSENT: Final = "no Chromium here (chromium, chromium-browser or google-chrome)"


@dataclass
class View:
    """A page that is open."""

    page: Page
    protocol: CDPSession
    """The DevTools protocol itself, for what Playwright has no call for."""
    problems: list[str] = field(default_factory=list)
    """Errors and warnings of the console, violations of the Content-Security-Policy among them, and exceptions."""
    requests: list[str] = field(default_factory=list)
    """Every address that was asked."""

    async def figures(self, of: str = "figures") -> dict[str, str]:
        """A list of the page by its id: its terms, and their values as they read."""
        found: dict[str, str] = await self.page.evaluate(
            """id => Object.fromEntries([...document.querySelectorAll(`#${id} dt`)].map(
                 term => [term.textContent, term.nextElementSibling.textContent]))""",
            of,
        )
        return found

    async def rows(self, table: str) -> list[list[str]]:
        """The cells of a table's body by its id, those that are shown."""
        found: list[list[str]] = await self.page.evaluate(
            """id => [...document.querySelectorAll(`#${id} tbody tr`)].map(
                 row => [...row.cells].filter(cell => cell.offsetParent).map(cell => cell.textContent))""",
            table,
        )
        return found

    async def until(self, expression: str, *, seconds: float = 20.0) -> None:
        """Wait until this is true in the page. (`Page.wait_for_function` needs what the page's policy forbids.)"""
        async with asyncio.timeout(seconds):
            await self.page.evaluate(
                f"new Promise(done => {{ const look = () => ({expression}) ? done() : setTimeout(look, 20); look(); }})"
            )

    async def names(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader is told of."""
        tree: dict[str, Any] = await self.protocol.send("Accessibility.getFullAXTree")
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree["nodes"]
            if not node["ignored"] and node["role"]["value"] != "InlineTextBox"
        ]


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Browser]:
    """A browser, for as many pages as are wanted."""
    # Chromium refuses its sandbox to root, as which containers run.
    flags = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def opened(
    browser: Browser,
    url: str,
    *,
    width: int = 1280,
    height: int = 900,
    scale: float = 1.0,
    scheme: Literal["light", "dark"] = "light",
    motion: Literal["reduce", "no-preference"] = "no-preference",
) -> AsyncIterator[View]:
    """Open the page, and wait until it shows a first snapshot.

    Args:
        browser: Of `running`.
        url: Where the admin server is, such as ``http://127.0.0.1:9464``.
        width: Of the window, in CSS pixels.
        height: Of the window, in CSS pixels.
        scale: Device pixels for each.
        scheme: What the system prefers.
        motion: What the system prefers.
    """
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        color_scheme=scheme,
        reduced_motion=motion,
        timezone_id="UTC",
        locale="en-GB",
    )
    try:
        page = await context.new_page()
        page.set_default_timeout(20_000)
        view = View(page, await context.new_cdp_session(page))

        def asked(request: Request) -> None:
            view.requests.append(request.url)

        def said(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                view.problems.append(message.text)

        page.on("request", asked)
        page.on("console", said)
        page.on("pageerror", lambda error: view.problems.append(str(error)))
        await page.goto(url)
        await page.locator("#link.live").wait_for()
        yield view
    finally:
        await context.close()
