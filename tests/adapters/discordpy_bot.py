"""A discord.py bot against the simulator, as it comes ("stock") or with Propylon's engine under it ("adapted")."""

import asyncio
import contextlib
import warnings
from collections.abc import AsyncGenerator, Callable
from itertools import count
from typing import Any

import pytest

from propylon.testing import Simulator

from .waiting import until

with warnings.catch_warnings():
    # audioop, which discord.py imports for voice, is deprecated.
    warnings.simplefilter("ignore")
    discord = pytest.importorskip("discord", reason="discord.py is not installed: pip install 'propylon[discordpy]'")
    import aiohttp
    import yarl
    from discord.ext import commands
    from discord.gateway import DiscordWebSocket
    from discord.http import Route

    from propylon.adapters.discordpy import install

from .api import Api

__all__ = ["DiscordWebSocket", "Running", "aiohttp", "commands", "discord", "install", "running", "until"]

_tokens = (f"NTAzMzE2NDgwMDAwMDAwMDAx.simulator.{number}" for number in count())
"""One for each bot: the engine remembers for a token where the Gateway is."""

_NAMES = (
    "connect",
    "disconnect",
    "ready",
    "resumed",
    "shard_connect",
    "shard_disconnect",
    "shard_ready",
    "shard_resumed",
    "guild_available",
    "guild_unavailable",
    "guild_join",
    "guild_remove",
    "message",
)
"""What every bot of the tests notes."""


class Running:
    """A bot that runs, and what it was told."""

    def __init__(self, client: Any, simulator: Simulator, api: Api, mode: str, options: dict[str, Any]) -> None:
        self.client = client
        self.simulator = simulator
        self.api = api
        self.token = next(_tokens)
        self.told: list[tuple[Any, ...]] = []
        self.hooked: list[tuple[int | None, bool]] = []
        """Calls of before_identify_hook."""
        self.engine = install(client, **options) if mode == "adapted" else None
        self.task: asyncio.Task[None] | None = None
        self.note(*_NAMES)

        async def before_identify_hook(shard_id: int | None, *, initial: bool = False) -> None:
            self.hooked.append((shard_id, initial))

        client.before_identify_hook = before_identify_hook

    def note(self, *names: str) -> None:
        """Note these events from now on."""
        for name in names:

            async def listener(*arguments: Any, name: str = name) -> None:
                self.told.append((name, *arguments))

            listener.__name__ = f"on_{name}"
            self.client.event(listener)

    def names(self, *only: str) -> list[str]:
        """The names of what came, in order."""
        return [name for name, *_ in self.told if not only or name in only]

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each of one name."""
        return [tuple(arguments) for told, *arguments in self.told if told == name]

    async def start(self, *, reconnect: bool = True) -> None:
        await self.client._async_setup_hook()
        self.task = asyncio.create_task(self.client.start(self.token, reconnect=reconnect))

    async def come(self, name: str, count: int = 1, timeout: float = 10.0) -> Any:
        """Wait for the ``count``-th of a name; its first argument, if it has one."""
        await self.alive(lambda: len(self.of(name)) >= count, f"{count} {name}; there were {self.names()}", timeout)
        arguments = self.of(name)[count - 1]
        return arguments[0] if arguments else None

    async def alive(self, condition: Callable[[], object], what: str = "", timeout: float = 10.0) -> None:
        """Wait while the bot runs."""
        assert self.task is not None
        await until(lambda: condition() or self.task.done(), what, timeout)
        if self.task.done() and not condition():
            self.task.result()
            raise AssertionError(f"the bot has ended, and waited for {what}")

    async def ended(self, timeout: float = 10.0) -> BaseException | None:
        """Wait for the end of ``start``; what it raised."""
        assert self.task is not None
        await asyncio.wait([self.task], timeout=timeout)
        assert self.task.done(), "start() has not ended"
        return self.task.exception()

    @property
    def guild(self) -> Any:
        return self.client.guilds[0]

    async def tell(self, event: str, data: object) -> None:
        self.simulator.dispatch(event, data)

    @contextlib.asynccontextmanager
    async def again(self, install: dict[str, Any], kind: Any = None, **options: Any) -> AsyncGenerator["Running"]:
        """Another process's bot, as far as the server sees: the same token, another client."""
        kind = kind or type(self.client)
        client = kind(**{"intents": discord.Intents.all(), "guild_ready_timeout": 0.1, **options})
        bot = Running(client, self.simulator, self.api, "adapted", install)
        bot.token = self.token
        try:
            await bot.start()
            yield bot
        finally:
            await client.close()
            await bot.ended()

    def commands_of(self, op: int) -> list[Any]:
        """What the server received with an opcode, ``d`` alone."""
        found = []
        for connection in self.simulator.record()["connections"]:
            found += [one["payload"]["d"] for one in connection["ops"] if one["op"] == op]
        return found


@contextlib.asynccontextmanager
async def running(
    mode: str,
    kind: Any = None,
    *,
    start: bool = True,
    reconnect: bool = True,
    simulator: dict[str, Any] | None = None,
    install: dict[str, Any] | None = None,
    before: Callable[[Running], Any] | None = None,
    gateway: str | None = None,
    **options: Any,
) -> AsyncGenerator[Running]:
    """A bot that is READY."""
    facts: dict[str, Any] = {"guilds": 2, "members": 5, "identify_interval": 0.0, **(simulator or {})}
    patch = pytest.MonkeyPatch()
    kind = kind or discord.Client
    if issubclass(kind, commands.Bot | commands.AutoShardedBot):
        options.setdefault("command_prefix", "!")
    try:
        async with Simulator(**facts) as sim, Api(sim) as api:
            patch.setattr(Route, "BASE", api.url)
            if mode == "stock" or gateway is not None:
                patch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(gateway or sim.url))
            client = kind(
                **{"intents": discord.Intents.all(), "guild_ready_timeout": 0.1, **options},
            )
            bot = Running(client, sim, api, mode, install or {})
            if before is not None:
                before(bot)
            try:
                if start:
                    await bot.start(reconnect=reconnect)
                    await bot.come("ready")
                yield bot
            finally:
                if client.http._HTTPClient__session is not discord.utils.MISSING:
                    await client.close()
                if bot.task is not None:
                    await asyncio.wait([bot.task], timeout=10)
                    if not bot.task.done():
                        bot.task.cancel()
                    elif not bot.task.cancelled():
                        bot.task.exception()
    finally:
        patch.undo()
