"""What looking costs: processor time of the page in Chromium, or of ``propylon top``, with one snapshot a second.

``.venv/bin/python tests/admin_page/cost.py [--top] [SHARDS] [SECONDS]``. Every figure is another one in each snapshot.
"""

import asyncio
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from admin_page import world
from admin_page.browser import ABSENT, CHROMIUM, opened, running
from admin_page.server import FakeAdmin
from propylon.cli._top_view import Top


class Seconds:
    """A snapshot of each second, made beforehand."""

    def __init__(self, shards: int, seconds: int) -> None:
        """So many of them; then from the first again."""
        self._made = [world.snapshot(shards, float(second)) for second in range(seconds)]
        self._next = 0

    def __call__(self) -> world.Snapshot:
        """The next one."""
        self._next += 1
        return self._made[self._next % len(self._made)]


async def page(shards: int, seconds: int) -> float:
    """Of a core: what Chromium's main thread worked for this page, script, style, layout and painting."""
    with FakeAdmin(Seconds(shards, seconds + 10), shards=shards) as admin:
        async with running() as browser, opened(browser, admin.url) as view:
            await view.protocol.send("Performance.enable", {"timeDomain": "threadTicks"})

            async def worked() -> float:
                found = await view.protocol.send("Performance.getMetrics")
                return next(each["value"] for each in found["metrics"] if each["name"] == "TaskDuration")

            await asyncio.sleep(2.0)  # what it costs to begin is not what it costs to look
            before, begun = await worked(), time.monotonic()
            await asyncio.sleep(seconds)
            return (await worked() - before) / (time.monotonic() - begun)


async def top(shards: int, seconds: int, url: str) -> float:
    """Of a core: this process, which draws into nothing; the stand-in server is another one."""
    app = Top(url)
    async with app.run_test(size=(160, 50)):
        await asyncio.sleep(2.0)
        before, begun = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        return (time.process_time() - before) / (time.monotonic() - begun)


def serve(shards: int, seconds: int) -> None:
    """Be the stand-in server of `top`, until stdin ends."""
    with FakeAdmin(Seconds(shards, seconds + 10), shards=shards) as admin:
        print(admin.url, flush=True)
        sys.stdin.read()


def main(arguments: list[str]) -> int:
    """The exit code."""
    numbers = [int(each) for each in arguments if each.isdecimal()]
    shards, seconds = (numbers + [1000, 30][len(numbers) :])[:2]
    if "--serve" in arguments:
        serve(shards, seconds)
        return 0
    if "--top" in arguments:
        import subprocess

        with subprocess.Popen(
            [sys.executable, __file__, "--serve", str(shards), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdout is not None
            share = asyncio.run(top(shards, seconds, server.stdout.readline().strip()))
            server.communicate()
    elif CHROMIUM is None:
        print(ABSENT, file=sys.stderr)
        return 1
    else:
        share = asyncio.run(page(shards, seconds))
    print(f"{shards:,} shards, one snapshot a second: {share:.1%} of a core")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
