"""A hikari bot against the simulator, as it comes ("stock") or with Propylon's engine under it ("adapted")."""

import contextlib
import warnings
from collections.abc import AsyncGenerator, Callable
from itertools import count
from typing import Any

import pytest

from propylon.testing import Simulator

from .waiting import until

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    hikari = pytest.importorskip("hikari", reason="hikari is not installed: pip install 'propylon[hikari]'")

    from propylon.adapters.hikari import install

from .api import Api

__all__ = ["Running", "hikari", "install", "running", "until"]

_tokens = (f"NTAzMzE2NDgwMDAwMDAwMDAx.simulator.h{number}" for number in count())
"""One for each bot: the engine remembers for a token where the Gateway is."""


class Running:
    """A bot that runs, and the events that it was told."""

    def __init__(
        self,
        simulator: Simulator,
        api: Api,
        mode: str,
        install_options: dict[str, Any],
        token: str | None = None,
        **options: Any,
    ) -> None:
        self.simulator = simulator
        self.api = api
        self.token = token or next(_tokens)
        options = {"intents": hikari.Intents.ALL, **options}
        self.bot: Any = hikari.GatewayBot(
            self.token, banner=None, logs=None, suppress_optimization_warning=True, rest_url=api.url, **options
        )
        self.told: list[Any] = []
        self.engine = install(self.bot, **install_options) if mode == "adapted" else None
        self.note(
            hikari.ShardReadyEvent,
            hikari.ShardResumedEvent,
            hikari.ShardConnectedEvent,
            hikari.ShardDisconnectedEvent,
            hikari.GuildAvailableEvent,
            hikari.GuildJoinEvent,
            hikari.GuildLeaveEvent,
            hikari.GuildUnavailableEvent,
            hikari.StartingEvent,
            hikari.StartedEvent,
            hikari.StoppingEvent,
            hikari.StoppedEvent,
            hikari.MessageCreateEvent,
        )

    def note(self, *kinds: Any) -> None:
        """Note these events from now on."""

        async def listener(event: Any) -> None:
            self.told.append(event)

        for kind in kinds:
            self.bot.subscribe(kind, listener)

    def names(self, *only: Any) -> list[str]:
        """The names of what came, in order."""
        return [type(event).__name__ for event in self.told if not only or isinstance(event, only)]

    def of(self, kind: Any) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]

    async def start(self, **options: Any) -> None:
        await self.bot.start(check_for_updates=False, **options)

    async def come(self, kind: Any, number: int = 1, timeout: float = 15.0) -> Any:
        """Wait for the ``number``-th of a kind."""
        await until(
            lambda: len(self.of(kind)) >= number, f"{number} {kind.__name__}; there were {self.names()}", timeout
        )
        return self.of(kind)[number - 1]

    @property
    def guild(self) -> Any:
        return next(iter(self.bot.cache.get_guilds_view().values()))

    @property
    def channel(self) -> Any:
        return next(iter(self.bot.cache.get_guild_channels_view_for_guild(self.guild.id).values()))

    def tell(self, event: str, data: object) -> None:
        self.simulator.dispatch(event, data)

    def commands_of(self, op: int) -> list[Any]:
        """What the server received with an opcode, ``d`` alone."""
        found = []
        for connection in self.simulator.record()["connections"]:
            found += [one["payload"]["d"] for one in connection["ops"] if one["op"] == op]
        return found

    async def close(self) -> None:
        if self.bot.is_alive:
            await self.bot.close()

    @contextlib.asynccontextmanager
    async def again(self, install: dict[str, Any], **options: Any) -> AsyncGenerator["Running"]:
        """Another process's bot, as far as the server sees: the same token, another object."""
        bot = Running(self.simulator, self.api, "adapted", install, self.token, **options)
        try:
            yield bot
        finally:
            await bot.close()


@contextlib.asynccontextmanager
async def running(
    mode: str,
    *,
    start: bool = True,
    simulator: dict[str, Any] | None = None,
    install: dict[str, Any] | None = None,
    before: Callable[[Running], Any] | None = None,
    starting: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncGenerator[Running]:
    """A bot that has started, and knows its guilds."""
    facts: dict[str, Any] = {"guilds": 2, "members": 5, "identify_interval": 0.0, **(simulator or {})}
    async with Simulator(**facts) as sim, Api(sim) as api:
        bot = Running(sim, api, mode, install or {}, **options)
        if before is not None:
            before(bot)
        try:
            if start:
                await bot.start(**(starting or {}))
                await until(lambda: len(bot.bot.cache.get_guilds_view()) == facts["guilds"], "the guilds")
            yield bot
        finally:
            await bot.close()
