"""discord.py's WebSocket over a shard of the engine: what `discord.client` and `discord.shard` see in place of theirs.

Owns what an event, a close and a command mean to discord.py. Which events come, and what becomes of a connection, is
`propylon.adapters._link`'s.
"""

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import aiohttp
import discord
import orjson
import yarl
from discord.gateway import DiscordWebSocket, EventListener, ReconnectWebSocket

from propylon._core import Dispatch
from propylon._listening.entry import Entry
from propylon.adapters._cache import Cache
from propylon.adapters._link import Link
from propylon.errors import (
    AuthenticationFailed,
    CertificateError,
    GatewayClosed,
    HandshakeError,
    NotConnected,
)

__all__ = ["EngineWebSocket", "Owner"]

# An adapter stands where its library has no door.
# pyright: reportPrivateUsage=false

# discord.py's own, so that who filters its log finds these lines where they always were.
_log: Final = logging.getLogger("discord.gateway")

_MEMBERS: Final = 8
_ENGINES_OWN: Final = frozenset({1, 2, 6})
"""Heartbeat, IDENTIFY and RESUME."""
_LEAST_WAIT: Final = 1.0
"""Seconds before a request for members is sent again."""


class Owner(Protocol):
    """What a WebSocket knows of the client that has it."""

    @property
    def client(self) -> discord.Client:
        """The client."""
        ...

    reconnects: bool
    """As `connect` was told."""
    tells_types: bool
    """Whether somebody wants `socket_event_type`, for each event."""

    def parsed(self) -> None:
        """An event was."""


class _Socket:
    """The place of aiohttp's socket: who looks at it learns whether it is closed, and how."""

    def __init__(self, is_open: Callable[[], bool]) -> None:
        self._is_open: Final = is_open
        self.close_code: int | None = None

    @property
    def closed(self) -> bool:
        """Whether no connection is there or made."""
        return not self._is_open()


class _Beat:
    """The place of the keep-alive thread, which the engine has."""

    def __init__(self, latency: Callable[[], float]) -> None:
        self._latency: Final = latency

    @property
    def latency(self) -> float:
        """Seconds from the last acknowledged heartbeat to its ACK."""
        return self._latency()

    def is_alive(self) -> bool:
        """It beats as long as there is a connection."""
        return True

    def stop(self) -> None:
        """Do nothing: it ends with the connection."""


class EngineWebSocket(DiscordWebSocket):
    """A `discord.gateway.DiscordWebSocket` whose connection the engine keeps, over any number of reconnects."""

    def __init__(self, owner: Owner, *, shard_id: int | None, initial: bool, default_gateway: yarl.URL) -> None:
        """Of no use before `begin`."""
        client = owner.client
        state = client._connection
        # Not the base's: it wants a socket, and makes a decompressor and a rate limiter of its own.
        self.loop: asyncio.AbstractEventLoop = client.loop
        self._owner: Final = owner
        self._kept: Cache | None = None
        self._dispatch = client.dispatch
        self._dispatch_listeners: list[EventListener] = []
        self._waited: Final[dict[str, Entry]] = {}
        """Events that somebody waits for by `wait_for`."""
        self.thread_id: int = threading.get_ident()
        self.token: str | None = client.http.token
        self._connection = state
        self._discord_parsers = state.parsers
        self.call_hooks: Callable[..., Any] = state.call_hooks
        self._initial_identify = initial
        self.shard_id = shard_id
        self.shard_count: int | None = state.shard_count
        self._max_heartbeat_timeout = state.heartbeat_timeout
        self._default_gateway: Final = default_gateway
        self._close_code: int | None = None
        self.socket: aiohttp.ClientWebSocketResponse[Any] = _Socket(lambda: self.open)  # type: ignore[assignment]
        self._keep_alive = _Beat(lambda: self.latency)  # type: ignore[assignment]
        self._debug: Final = client._enable_debug_events
        self._asked: Final[dict[str, Any]] = {}
        """Requests for members that may be refused, by their nonce."""
        self._end: Final[asyncio.Future[BaseException]] = asyncio.get_running_loop().create_future()
        self.has_state: bool = False
        """Whether READY came in this process, or what it brought to an earlier one."""
        self.link: Link
        """The engine's side, from `begin` on."""
        self._made_at: Final = time.perf_counter()
        self._latency = float("inf")
        """The last that was known. Before the first heartbeat's ACK, which may be most of a minute away, what it took
        to get to READY: bots show it as a whole number, which infinity is not."""

    def begin(self, link: Link, kept: Cache | None) -> None:
        """``kept`` is what its cache is kept in, where the session outlives the process."""
        self.link = link
        self._kept = kept

    # ------------------------------------------------------------------ what it tells

    @property
    def open(self) -> bool:
        """Whether there is a connection, or the engine makes one."""
        return self.link.is_open

    @property
    def latency(self) -> float:
        """Seconds from the last acknowledged heartbeat to its ACK."""
        latency = self.link.life.shard.latency
        if latency is None:
            return self._latency
        self._latency = latency
        return latency

    @property
    def session_id(self) -> str | None:  # type: ignore[override]
        """The session's, as a RESUME would use it."""
        session = self.link.life.session
        return None if session is None else session.id

    @property
    def sequence(self) -> int | None:  # type: ignore[override]
        """The last number that was accepted."""
        session = self.link.life.session
        return None if session is None else session.sequence

    @property
    def gateway(self) -> yarl.URL:  # type: ignore[override]
        """Where a RESUME would go."""
        session = self.link.life.session
        return self._default_gateway if session is None or session.resume_url is None else yarl.URL(session.resume_url)

    def is_ratelimited(self) -> bool:
        """Whether Discord would take no more payloads now."""
        remaining, _ = self.link.life.shard.send_window
        return remaining <= 0

    def _can_handle_close(self) -> bool:
        return self._close_code not in (1000, 4004, 4010, 4011, 4012, 4013, 4014)

    # ------------------------------------------------------------------ what the link tells

    def event(self, dispatch: Dispatch[Any]) -> None:
        """An event, as `received_message` takes it."""
        name = dispatch.type
        raw = dispatch.raw
        if self._debug:
            number = "null" if dispatch.sequence is None else dispatch.sequence
            head = orjson.dumps(name).decode()
            text = raw.decode(errors="replace")
            self._dispatch("socket_raw_receive", f'{{"t":{head},"s":{number},"op":0,"d":{text}}}')
        data: Any = orjson.loads(raw)
        if self._owner.tells_types:
            self._dispatch("socket_event_type", name)
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("For Shard ID %s: WebSocket Event: %s", self.shard_id, {"t": name, "s": dispatch.sequence})
        if name == "READY":
            self.has_state = True
            self._asked.clear()
            if math.isinf(self._latency):
                self._latency = time.perf_counter() - self._made_at
            _log.info("Shard ID %s has connected to Gateway (Session ID: %s).", self.shard_id, data.get("session_id"))
        elif not self.has_state:
            self.has_state = True
            self._restore()
        if name == "RESUMED":
            if not isinstance(data, dict):
                data = {}
            data["__shard_id__"] = self.shard_id
            _log.info("Shard ID %s has successfully RESUMED session %s.", self.shard_id, self.session_id)
        elif name == "RATE_LIMITED":
            self._ask_again(data)
        elif (
            name == "GUILD_MEMBERS_CHUNK" and self._asked and data.get("chunk_index", 0) + 1 == data.get("chunk_count")
        ):
            self._asked.pop(data.get("nonce"), None)
        parser = self._discord_parsers.get(name)
        try:
            if parser is not None:
                parser(data)
        finally:
            if self._kept is not None:
                self._kept.add(name, raw)
            self._owner.parsed()
            if self._dispatch_listeners:
                self._tell_waiting(name, data)

    def _restore(self) -> None:
        """A session of an earlier process goes on: begin with what that one knew.

        READY and the guilds are told as after any start; what changed since then listeners have heard of.
        """
        session_id = self.session_id
        events = [] if self._kept is None or session_id is None else self._kept.load(session_id)
        if not events:
            _log.warning("Shard ID %s goes on with a session of which no guilds are known.", self.shard_id)
            return
        state = self._connection
        dispatch = state.dispatch
        for event, raw in events:
            parser = self._discord_parsers.get(event)
            if parser is None:
                continue
            if event not in ("READY", "GUILD_CREATE"):
                state.dispatch = _silent
            try:
                parser(orjson.loads(raw))
            except Exception:
                _log.exception("Shard ID %s: a kept %s could not be read.", self.shard_id, event)
            finally:
                state.dispatch = dispatch
        _log.info("Shard ID %s: %d events of the earlier process were read again.", self.shard_id, len(events))

    def _tell_waiting(self, name: str, data: Any) -> None:
        for entry in [entry for entry in self._dispatch_listeners if entry.event == name]:
            if entry.future.done():
                self._dispatch_listeners.remove(entry)
                continue
            try:
                if entry.predicate(data):
                    entry.future.set_result(data if entry.result is None else entry.result(data))
            except Exception as error:
                entry.future.set_exception(error)
            if entry.future.done():
                self._dispatch_listeners.remove(entry)
        if name in self._waited and not any(entry.event == name for entry in self._dispatch_listeners):
            self.link.unwant(self._waited.pop(name))

    def lost(self) -> None:
        """As where discord.py's own loop reconnects."""
        self._initial_identify = False
        self._dispatch("disconnect")
        if isinstance(self._owner.client, discord.AutoShardedClient):
            self._dispatch("shard_disconnect", self.shard_id)

    def no_connection(self, message: str) -> None:
        """With ``reconnect=False`` that is the end, as it is without the engine."""
        if not self._owner.reconnects:
            self.link.fail(aiohttp.ClientConnectionError(message))

    def ended(self, error: BaseException | None) -> None:
        """Who polls gets what discord.py would have raised."""
        self._raise(self._error_of(error))

    def _raise(self, error: BaseException) -> None:
        if not self._end.done():
            self._end.set_result(error)

    def _closed(self, code: int | None, reason: str = "") -> discord.ConnectionClosed:
        self.socket.close_code = code  # type: ignore[misc]
        closed = discord.ConnectionClosed(self.socket, shard_id=self.shard_id, code=code)
        closed.reason = reason
        return closed

    def _error_of(self, error: BaseException | None) -> BaseException:
        closing = self._close_code
        if error is None or isinstance(error, NotConnected):
            if closing is not None and self._can_handle_close() and not self._owner.client.is_closed():
                # Closed so that it connects anew, as `close()` without a code means.
                return ReconnectWebSocket(self.shard_id)
            return self._closed(1000 if closing is None else closing)
        if isinstance(error, AuthenticationFailed) and error.code is None:
            return discord.LoginFailure("Improper token has been passed.")
        if isinstance(error, GatewayClosed) and error.code is not None:
            self._close_code = error.code
            closed = self._closed(error.code, error.reason)
            closed.__cause__ = error
            return closed
        if isinstance(error, HandshakeError) and not isinstance(error, CertificateError):
            failure = aiohttp.ClientConnectionError(str(error))
            failure.__cause__ = error
            return failure
        return error

    async def before_identify(self) -> None:
        """The client's hook."""
        await self.call_hooks("before_identify", self.shard_id, initial=self._initial_identify)
        self._initial_identify = False

    # ------------------------------------------------------------------ what discord.py asks of it

    async def poll_event(self) -> None:
        """Wait for the end: events come by themselves. Raises what `DiscordWebSocket.poll_event` would."""
        raise await asyncio.shield(self._end)

    def wait_for(
        self, event: str, predicate: Callable[[Any], bool], result: Callable[[Any], Any] | None = None
    ) -> asyncio.Future[Any]:
        """As the base's, and let the event come."""
        if event not in self._waited:
            self._waited[event] = self.link.want({event: None})
        return super().wait_for(event, predicate, result)

    async def identify(self) -> None:
        """Do nothing: the engine has."""

    async def resume(self) -> None:
        """Do nothing: the engine does."""

    async def send_heartbeat(self, data: Any) -> None:
        """Do nothing: the engine beats."""

    async def send(self, data: str, /) -> None:
        """Send a payload that is text already."""
        await self._send(orjson.loads(data))

    async def debug_send(self, data: str, /) -> None:
        """As `send`, which tells listeners by itself."""
        await self.send(data)

    async def send_as_json(self, data: Any) -> None:
        """Send a payload: at once, when Discord's limit allows it, or when there is a connection again."""
        await self._send(data)

    async def _send(self, payload: Any) -> None:
        op, data = payload["op"], payload.get("d")
        if op in _ENGINES_OWN:
            _log.debug("Shard ID %s: opcode %s is sent by the engine alone.", self.shard_id, op)
            return
        text = orjson.dumps(data).decode()
        nonce: Any = data.get("nonce") if op == _MEMBERS else None
        if nonce:
            self._asked[nonce] = data
        if self._debug:
            self._dispatch("socket_raw_send", orjson.dumps(payload).decode())
        while self.is_ratelimited():
            _, seconds = self.link.life.shard.send_window
            _log.warning("WebSocket in shard ID %s is ratelimited, waiting %.2f seconds", self.shard_id, seconds)
            await asyncio.sleep(max(seconds, 0.01))
        try:
            # Not awaited until it is written: the answer may come in the same moment, before who asked waits for it.
            self.link.life.commands.post(op, text)
        except NotConnected as error:
            raise self._closed(self._close_code) from error

    def _ask_again(self, data: Any) -> None:
        """Discord refused a request for members: without another one, who waits for the chunks would for ever."""
        meta: dict[str, Any] = data.get("meta") or {}
        nonce = meta.get("nonce", "")
        request = self._asked.get(nonce)
        if data.get("opcode") != _MEMBERS or request is None:
            return
        wait = max(float(data.get("retry_after") or 0), _LEAST_WAIT)
        _log.warning("Shard ID %s: a request for members is rate limited; asking again in %.1f s", self.shard_id, wait)

        def again() -> None:
            if self._asked.get(nonce) is request and self.open:
                with contextlib.suppress(NotConnected):
                    self.link.life.commands.post(_MEMBERS, orjson.dumps(request).decode())

        self.loop.call_later(wait, again)

    async def close(self, code: int = 4000) -> None:
        """Close the connection. When the client closes and its session is kept, so that it can be resumed."""
        self._close_code = code
        keeps = self.link.keeps and self._owner.client.is_closed() and code in (1000, 1001)
        await self.link.close(None if keeps else code)


def _silent(*_: Any, **__: Any) -> None:
    """In place of `dispatch`."""
