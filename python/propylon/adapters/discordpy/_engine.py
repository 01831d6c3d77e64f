"""The engine of one discord.py client: its options, its shards, and what of the client it stands in for.

Owns the seam, `DiscordWebSocket.from_client`, and who of the process's clients goes through it.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

import discord
import orjson
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from propylon._filters.expression import Filter
from propylon._sessions.gates import IdentifyGate
from propylon._sessions.session import Session
from propylon._sessions.stores import SessionStore
from propylon.adapters._engine import BaseEngine, with_login
from propylon.adapters._link import ALL, EngineOptions, options_of
from propylon.adapters._versions import check_version
from propylon.adapters.discordpy._socket import EngineWebSocket
from propylon.adapters.discordpy._wanted import EVERY_EVENT, demanded, listens, of_listeners
from propylon.errors import SessionTakenOver

__all__ = ["Engine", "check_client", "engine_of", "set_engine", "take_the_seam", "warn_of_patches"]

# An adapter stands where its library has no door.
# pyright: reportPrivateUsage=false

_log: Final = logging.getLogger("propylon.gateway")

_DISCORDS: Final = "wss://gateway.discord.gg/"
_ATTRIBUTE: Final = "_propylon_engine"

_stock: Final[Any] = DiscordWebSocket.__dict__["from_client"]


def engine_of(client: object) -> "Engine | None":
    """The engine of a client; None where discord.py keeps its connection itself."""
    return vars(client).get(_ATTRIBUTE)


def set_engine(client: discord.Client, engine: "Engine") -> None:
    """Give a client its engine."""
    setattr(client, _ATTRIBUTE, engine)


def take_the_seam() -> None:
    """From now on `DiscordWebSocket.from_client` looks whether the client has an engine; once for the process."""
    if DiscordWebSocket.__dict__["from_client"] is not _stock:
        return

    async def from_client(cls: type[Any], /, client: discord.Client, **arguments: Any) -> DiscordWebSocket:
        engine = engine_of(client)
        if engine is None:
            socket: DiscordWebSocket = await _stock.__func__(cls, client, **arguments)
            return socket
        return engine.socket(**arguments)

    from_client.__doc__ = _stock.__func__.__doc__
    DiscordWebSocket.from_client = classmethod(from_client)  # type: ignore[method-assign,assignment]


def _proxy_of(client: discord.Client) -> str | None:
    """The client's own proxy, with its password."""
    proxy = client.http.proxy
    # aiohttp's, of which type checkers know only where it is installed.
    auth: Any = client.http.proxy_auth
    if not proxy or auth is None:
        return proxy
    return with_login(proxy, auth.login, auth.password)


class Engine(BaseEngine):
    """What `install` gives: the engine under one client, to look at while it runs."""

    def __init__(
        self,
        client: discord.Client,
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
            client,
            sessions=sessions,
            cache=cache,
            gate=gate,
            where=where,
            admin=admin,
            admin_remote=admin_remote,
            options=options,
        )
        self.client: Final = client
        self.reconnects = True
        """As `connect` was told."""
        self.tells_types: bool = False
        # A bad option is told here and not when the bot starts.
        self._engine_options("token", None)
        self._wrap()

    # ------------------------------------------------------------------ the client's side

    def _wrap(self) -> None:
        """Stand between the client and some of its methods, on this object alone."""
        client: Any = self.client
        connect: Callable[..., Any] = client.connect

        async def connecting(*, reconnect: bool = True) -> None:
            self.reconnects = reconnect
            # Here, because discord.py's loop would take its failure for that of a connection.
            self._open_admin()
            try:
                await connect(reconnect=reconnect)
            except SessionTakenOver:
                # Not a failure: the new version of the bot goes on with the session.
                _log.info("another process has taken the session over; this bot closes")
                await client.close()
            finally:
                self._close_admin()

        client.connect = connecting
        for name in ("wait_for", "event", "add_listener"):
            if hasattr(client, name):
                setattr(client, name, self._looking(getattr(client, name)))

    def _looking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def then_look(*arguments: Any, **named: Any) -> Any:
            result = method(*arguments, **named)
            self.look()
            return result

        then_look.__doc__ = method.__doc__
        return then_look

    def _engine_options(self, token: str, shard: tuple[int, int] | None) -> dict[str, Any]:
        state = self.client._connection
        given: EngineOptions = {
            "api_url": Route.BASE,
            "proxy": _proxy_of(self.client),
            "identify_properties": {"os": sys.platform, "browser": "discord.py", "device": "discord.py"},
        }
        if str(DiscordWebSocket.DEFAULT_GATEWAY) != _DISCORDS:
            # Somebody has pointed discord.py to another gateway.
            given["gateway_url"] = str(DiscordWebSocket.DEFAULT_GATEWAY)
        presence: str | None = None
        if state._activity is not None or state._status is not None:
            activities = [] if state._activity is None else [state._activity]
            status = state._status or "online"
            presence = orjson.dumps({"status": status, "activities": activities, "since": 0, "afk": False}).decode()
        return options_of(
            token,
            {**given, **self._given},
            intents=state._intents.value,
            shard=shard,
            large_threshold=250,
            presence=presence,
        )

    def _has_hook(self) -> bool:
        """Whether the hook is the user's: discord.py's own only waits 5 s, and the engine knows better how long."""
        hook = getattr(self.client.before_identify_hook, "__func__", None)
        return hook is not discord.Client.before_identify_hook

    def socket(
        self,
        *,
        initial: bool = False,
        gateway: yarl.URL | None = None,
        shard_id: int | None = None,
        session: str | None = None,
        sequence: int | None = None,
        resume: bool = False,
        **_: Any,
    ) -> EngineWebSocket:
        """In place of `DiscordWebSocket.from_client`; it connects while discord.py goes on."""
        client = self.client
        state = client._connection
        token = client.http.token or ""
        pair = None if shard_id is None or state.shard_count is None else (shard_id, state.shard_count)
        options = self._engine_options(token, pair)
        socket = EngineWebSocket(
            self, shard_id=shard_id, initial=initial, default_gateway=DiscordWebSocket.DEFAULT_GATEWAY
        )
        always, _on_demand = demanded(client)
        link, kept = self._new_link(
            socket,
            token,
            options,
            name=f"discord.py's {type(client).__name__}",
            intents=state._intents.value,
            shard=pair,
            asks=self._has_hook(),
            always=always,
        )
        socket.begin(link, kept)
        if gateway is not None and not resume and str(gateway) != _DISCORDS:
            # Discord has told it just now.
            link.life.shard.set_known_url(str(gateway))
        state._update_references(socket)
        goes_on = None
        if resume and session is not None and sequence is not None:
            socket.has_state = True
            url = None if gateway is None else str(gateway)
            goes_on = Session(session, sequence, url, pair, state._intents.value)
        link.start(goes_on)
        return socket

    def _demanded(self) -> set[str]:
        client = self.client
        self.tells_types = listens(client, "socket_event_type")
        _, on_demand = demanded(client)
        wanted = {event for event, names in on_demand.items() if of_listeners(client, names)}
        if self.tells_types or (client._enable_debug_events and of_listeners(client, EVERY_EVENT)):
            wanted.add(ALL)
        return wanted


def warn_of_patches() -> None:
    """Tell of what is changed in discord.py's WebSocket and will have no effect."""
    for name in ("identify", "resume", "received_message", "poll_event"):
        method = getattr(DiscordWebSocket, name)
        if getattr(method, "__module__", "discord.gateway") != "discord.gateway":
            advice = "; give install() identify_properties= instead" if name == "identify" else ""
            warnings.warn(
                f"DiscordWebSocket.{name} has been replaced by {method.__module__}, and Propylon's engine does not "
                f"use it{advice}",
                UserWarning,
                stacklevel=3,
            )


def check_client(client: object) -> None:
    """Raise where there is nothing to install under."""
    check_version("discord.py", (2, 7), "discordpy")
    if not isinstance(client, discord.Client):
        raise TypeError(f"install() takes a discord.Client or commands.Bot, not {client!r:.100}")
    if engine_of(client) is not None:
        raise RuntimeError(f"{type(client).__name__} has Propylon's engine already; call install() once")
    if vars(client).get("ws") is not None:
        raise RuntimeError("install() comes before run(), start() and connect(): this client is connected already")
