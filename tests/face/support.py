"""What the tests of the face share: gateways with short deadlines, bounded waiting, both event loops."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

from propylon import Backoff, Gateway, Intents, Timeouts
from propylon.events import InviteDelete
from propylon.testing import Simulator

SHORT = {
    "timeouts": Timeouts(connect=5, hello=5, ready=5, close=5),
    "backoff": Backoff(base=0.01, cap=0.05, reset_after=0.05),
}

_numbers = itertools.count(1)


def make_gateway(sim: Simulator, **options: Any) -> Gateway:
    """A gateway for a simulator. Each has a token of its own: the identify gate spaces those that share one."""
    options = {"intents": Intents.ALL, "gateway_url": sim.url, "ca_file": sim.ca_file, **SHORT, **options}
    return Gateway(f"token-{next(_numbers)}", **options)


def asking(sim: Simulator) -> dict[str, Any]:
    """Options of a gateway that asks the simulated API how IDENTIFYs are spaced; unasked it waits five seconds."""
    return {"gateway_url": None, "api_url": sim.api_url}


async def eventually(condition: Callable[[], Any], timeout: float = 10.0) -> None:
    """Return as soon as ``condition()`` holds."""
    pause = 0.0
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(pause)
            pause = min(pause + 0.001, 0.01)


async def open_and_quiet(sim: Simulator, gateway: Gateway) -> None:
    """Open it; all that the opening woke the loop for has been taken. One INVITE_DELETE more than it sends has come."""
    async with gateway.stream(InviteDelete) as marks:
        await gateway.open(timeout=10)
        await gateway.wait_guilds_ready(timeout=10)
        # What the I/O thread tells of the opening comes before this.
        sim.dispatch("INVITE_DELETE", {"channel_id": "1", "code": "mark"})
        await anext(marks)


def run_and_abandon(
    main: Coroutine[Any, Any, None], factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
) -> None:
    """Run it in a loop that ends as `asyncio.run` does not: nobody is told, and what is open stays open."""
    loop = factory()
    loop.run_until_complete(main)
    loop.close()


def loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loops on which every asynchronous test runs."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    try:
        import uvloop
    except ImportError:  # Windows
        return factories
    return {**factories, "uvloop": uvloop.new_event_loop}


def message(content: str = "hi", **fields: Any) -> dict[str, Any]:
    """A small MESSAGE_CREATE that fits its class."""
    author = {"id": "7", "username": "ada", "discriminator": "0", "global_name": None, "avatar": None}
    return {
        "type": 0,
        "tts": False,
        "timestamp": "2026-01-02T03:04:05.678000+00:00",
        "pinned": False,
        "mentions": [],
        "mention_roles": [],
        "mention_everyone": False,
        "id": "1234567890123456789",
        "flags": 0,
        "embeds": [],
        "edited_timestamp": None,
        "content": content,
        "components": [],
        "channel_id": "42",
        "author": author,
        "attachments": [],
        "guild_id": "41",
        **fields,
    }
