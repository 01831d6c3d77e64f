"""The engine of one hikari bot: its options, its shards, and what of the bot it stands in for.

hikari's classes have slots, so what stands in is a subclass which the one object is given; other bots keep theirs.
"""

import asyncio
import contextlib
import os
from collections.abc import Generator, Mapping
from typing import Any, Final

import hikari
from hikari.impl import config

from propylon._filters.expression import Filter
from propylon._sessions.gates import IdentifyGate
from propylon._sessions.stores import SessionStore
from propylon.adapters._cache import Cache
from propylon.adapters._engine import BaseEngine, with_login
from propylon.adapters._link import ALL, EngineOptions, Link, options_of
from propylon.adapters._versions import check_version
from propylon.adapters.hikari._shard import EngineShard

__all__ = ["Engine", "check_bot", "engine_of"]

# An adapter stands where its library has no door.
# pyright: reportPrivateUsage=false

_ATTRIBUTE: Final = "_propylon_engine"
_ALWAYS: Final = ("READY", "RESUMED", "RATE_LIMITED")
"""What the shard itself looks at."""
_AT_ONCE: Final = 1 << 20
"""Shards in one window of hikari's: when each may IDENTIFY, the engine's gate says."""


def engine_of(bot: object) -> "Engine | None":
    """The engine of a bot; None where hikari keeps its connections itself."""
    return getattr(type(bot), _ATTRIBUTE, None)


def check_bot(bot: object) -> None:
    """Raise where there is nothing to install under."""
    check_version("hikari", (2, 7), "hikari")
    if not isinstance(bot, hikari.GatewayBot):
        raise TypeError(f"install() takes a hikari.GatewayBot, not {bot!r:.100}")
    if engine_of(bot) is not None:
        raise RuntimeError(f"{type(bot).__name__} has Propylon's engine already; call install() once")
    if bot.is_alive:
        raise RuntimeError("install() comes before run() and start(): this bot is alive already")
    if bot.capabilities:
        raise ValueError(
            f"{bot.capabilities!r}: the engine cannot declare capabilities in its IDENTIFY yet; leave capabilities= out"
        )


def _class_of(thing: Any) -> Any:
    """Of no known type, because what is done with it no type checker follows."""
    return thing.__class__


def _stand_in(thing: Any, members: dict[str, Any]) -> None:
    """Give an object a class of its own, with these members before its own class's."""
    kind = _class_of(thing)
    make = _class_of(kind)
    names = {"__slots__": (), "__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    thing.__class__ = make(kind.__name__, (kind,), {**names, **members})


def _proxy_of(settings: config.ProxySettings) -> str | None:
    """The bot's own proxy, with its password."""
    if settings.url is None:
        return "env" if settings.trust_env else None
    auth = settings.auth
    if not isinstance(auth, config.BasicAuthHeader):
        return settings.url
    return with_login(settings.url, auth.username, auth.password)


class Engine(BaseEngine):
    """What `install` gives: the engine under one bot, to look at while it runs."""

    def __init__(
        self,
        bot: hikari.GatewayBot,
        *,
        sessions: SessionStore | None,
        cache: str | os.PathLike[str] | None,
        gate: IdentifyGate | None,
        where: Mapping[str, Filter] | None,
        admin: str | None,
        admin_remote: bool,
        options: EngineOptions,
    ) -> None:
        """Made by `install`. Raises what it says."""
        super().__init__(
            bot,
            sessions=sessions,
            cache=cache,
            gate=gate,
            where=where,
            admin=admin,
            admin_remote=admin_remote,
            options=options,
        )
        self.bot: Final[Any] = bot
        self._manager: Final[Any] = bot.event_manager
        self._starting: asyncio.Task[Any] | None = None
        # A bad option is told here and not when the bot starts.
        self._engine_options("token", (0, 1), 50, None)
        self._stand_between()

    # ------------------------------------------------------------------ the bot's side

    def _stand_between(self) -> None:
        engine = self
        bot_class = _class_of(self.bot)
        manager_class = _class_of(self._manager)
        rest_class = _class_of(self.bot.rest)

        async def start(bot: Any, **arguments: Any) -> None:
            engine._open_admin()
            engine._starting = asyncio.current_task()
            try:
                await bot_class.start(bot, **arguments)
            except BaseException:
                engine._close_admin()
                raise
            finally:
                engine._starting = None

        async def close(bot: Any) -> None:
            try:
                await bot_class.close(bot)
            finally:
                engine._close_admin()

        async def _start_one_shard(
            bot: Any,
            *,
            activity: Any,
            afk: bool,
            idle_since: Any,
            status: Any,
            large_threshold: int,
            shard_id: int,
            shard_count: int,
            url: str,
        ) -> None:
            shard = EngineShard(
                engine,
                http_settings=bot._http_settings,
                proxy_settings=bot._proxy_settings,
                event_manager=bot._event_manager,
                event_factory=bot._event_factory,
                intents=bot._intents,
                capabilities=bot._capabilities,
                dumps=bot._dumps,
                loads=bot._loads,
                initial_activity=activity,
                initial_is_afk=afk,
                initial_idle_since=idle_since,
                initial_status=status,
                large_threshold=large_threshold,
                shard_id=shard_id,
                shard_count=shard_count,
                token=bot._token,
                url=url,
            )
            try:
                await shard.start()
            except Exception:
                if shard.is_alive:
                    await shard.close()
                raise
            if not shard.is_alive:
                raise RuntimeError(f"shard {shard_id} shut down immediately when starting")
            bot._shards[shard_id] = shard

        _stand_in(self.bot, {_ATTRIBUTE: self, "start": start, "close": close, "_start_one_shard": _start_one_shard})

        def _increment_listener_group_count(manager: Any, event_type: Any, count: int) -> None:
            manager_class._increment_listener_group_count(manager, event_type, count)
            engine._heard(count)

        def _increment_waiter_group_count(manager: Any, event_type: Any, count: int) -> None:
            manager_class._increment_waiter_group_count(manager, event_type, count)
            engine._heard(count)

        _stand_in(
            self._manager,
            {
                "_increment_listener_group_count": _increment_listener_group_count,
                "_increment_waiter_group_count": _increment_waiter_group_count,
            },
        )

        async def fetch_gateway_bot_info(rest: Any) -> Any:
            info: Any = await rest_class.fetch_gateway_bot_info(rest)
            if asyncio.current_task() is engine._starting:
                # Asked by `start`, which would wait 5 s after so many shards.
                info.session_start_limit.max_concurrency = _AT_ONCE
            return info

        _stand_in(self.bot.rest, {"fetch_gateway_bot_info": fetch_gateway_bot_info})

    def _engine_options(
        self, token: str, shard: tuple[int, int], large_threshold: int, presence: str | None
    ) -> dict[str, Any]:
        bot = self.bot
        library = f"hikari {hikari.__version__}"
        given: EngineOptions = {
            "api_url": bot.rest._rest_url,
            "proxy": _proxy_of(bot.proxy_settings),
            "identify_properties": {"browser": library, "device": library},
        }
        return options_of(
            token,
            {**given, **self._given},
            intents=int(bot.intents),
            shard=shard,
            large_threshold=large_threshold,
            presence=presence,
        )

    # ------------------------------------------------------------------ who listens

    def _heard(self, count: int) -> None:
        """A first listener came, or the last one went."""
        if count > 0:
            self.look(tidy=False)

    def _cached(self) -> list[str]:
        """The events that hikari's cache wants."""
        return [name.upper() for name, consumer in self._manager._consumers.items() if consumer.is_caching]

    def _demanded(self) -> set[str]:
        manager = self._manager
        wanted = {
            name.upper()
            for name, consumer in manager._consumers.items()
            if consumer.is_enabled and not consumer.is_caching
        }
        if manager._enabled_for_event(hikari.ShardPayloadEvent):
            wanted.add(ALL)
        return wanted

    # ------------------------------------------------------------------ the shard's side

    def link(self, shard: EngineShard, token: str, presence: str, url: str) -> tuple[Link, Cache | None]:
        """The engine's side of a shard, and what its cache is kept in."""
        pair = shard.id, shard.shard_count
        options = self._engine_options(token, pair, shard._large_threshold, presence)
        link, kept = self._new_link(
            shard,
            token,
            options,
            name=f"hikari's {type(self.bot).__name__}",
            intents=int(shard.intents),
            shard=pair,
            asks=False,
            always=dict.fromkeys([*_ALWAYS, *self._cached()]),
        )
        link.life.shard.set_known_url(url)
        return link, kept

    @contextlib.contextmanager
    def silently(self) -> Generator[None]:
        """Meanwhile nothing is dispatched."""
        # On the stand-in, which no other bot has, and only meanwhile: it is on the way of every event.
        stand_in = _class_of(self._manager)
        stand_in.dispatch = _nothing
        try:
            yield
        finally:
            del stand_in.dispatch


def _nothing(_manager: Any, _event: Any, *, return_tasks: bool = False) -> Any:
    """In place of `dispatch`."""
    return None
