"""Take the pictures of docs/dashboard.md: ``make screenshots``. The same figures each time; at round
edges Chromium draws a few pixels a shade brighter or darker than the last time.

Fails where there is no Chromium, and where a picture is larger than a document should load.
"""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from admin_page import world
from admin_page.browser import ABSENT, CHROMIUM, opened, running
from admin_page.server import FakeAdmin

IMAGES: Final = Path(__file__).parents[2] / "docs/images"
LARGEST: Final = 150_000
"""Bytes of a picture."""
LAST: Final = 40
"""Seconds of the bot's life that are played before the picture."""


@dataclass(frozen=True)
class Shot:
    """One picture: what is in it, and in which window."""

    name: str
    shards: int
    width: int
    height: int
    scheme: Literal["light", "dark"]
    statuses: dict[int, str]
    blocked: bool = False


TROUBLE: Final = {17: "RESUMING", 41: "DISCONNECTED", 42: "IDENTIFYING"}
RESTART: Final = {
    **dict.fromkeys(range(480, 496), "IDENTIFYING"),
    **dict.fromkeys(range(496, 520), "CONNECTING"),
    **dict.fromkeys((77, 613), "DISCONNECTED"),
}
SHOTS: Final = (
    Shot("light", 64, 1280, 860, "light", TROUBLE),
    Shot("dark", 64, 1280, 860, "dark", TROUBLE, blocked=True),
    Shot("phone", 64, 360, 1300, "dark", TROUBLE),
    Shot("1000-shards", 1000, 1280, 860, "light", RESTART),
)


class Play:
    """A snapshot for each second, up to the last one, which then stays."""

    def __init__(self, shot: Shot) -> None:
        """At its first second."""
        self._shot = shot
        self._second = 0

    def __call__(self) -> world.Snapshot:
        """The next one."""
        self._second = min(self._second + 1, LAST)
        found = world.cut(world.snapshot(self._shot.shards, float(self._second)), self._shot.statuses)
        if self._shot.blocked:
            found = world.block(found, 12.3, "bot.commands.on_interaction")
        return found


async def take() -> list[Path]:
    """All of them, one after the other."""
    taken: list[Path] = []
    async with running() as browser:
        for shot in SHOTS:
            with FakeAdmin(Play(shot), shards=shot.shards, interval=0.03) as admin:
                async with opened(
                    browser, admin.url, width=shot.width, height=shot.height, scheme=shot.scheme, motion="reduce"
                ) as view:
                    # When the last second is on the page, and its charts, nothing changes any more.
                    last = world.snapshot(shot.shards, float(LAST))["shards"][0]["sequence"]
                    await view.page.locator("#shard").get_by_text(f"{last:,}").first.wait_for()
                    if view.problems:
                        raise RuntimeError(f"the page complains: {view.problems}")
                    path = IMAGES / f"dashboard-{shot.name}.png"
                    await view.page.screenshot(path=path)
                    taken.append(path)
    return taken


def main() -> int:
    """The exit code."""
    if CHROMIUM is None:
        print(f"{ABSENT}; on Debian: apt install chromium", file=sys.stderr)
        return 1
    failed = 0
    for path in asyncio.run(take()):
        size = path.stat().st_size
        print(f"{path.name}: {size / 1000:.0f} kB{'' if size < LARGEST else ': too large'}")
        failed |= size >= LARGEST
    return failed


if __name__ == "__main__":
    sys.exit(main())
