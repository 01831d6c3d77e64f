"""hikari's shard over one of the engine: what `hikari.GatewayBot` sees in place of `hikari.impl.GatewayShardImpl`.

Owns what an event, an end and a command mean to hikari. Which events come, and what becomes of a connection, is
`propylon.adapters._link`'s.
"""

import asyncio
import contextlib
import math
import time
from typing import Any, Final, Protocol

import hikari
import orjson
from hikari.impl.shard import GatewayShardImpl

from propylon._core import Dispatch
from propylon._listening.entry import Entry
from propylon.adapters._cache import Cache
from propylon.adapters._link import Link
from propylon.errors import (
    AuthenticationFailed,
    GatewayClosed,
    HandshakeError,
    NotConnected,
    SessionTakenOver,
)

__all__ = ["EngineShard", "Owner"]

# An adapter stands where its library has no door.
# pyright: reportPrivateUsage=false

_ANSWERS: Final = {
    4: ("VOICE_STATE_UPDATE", "VOICE_SERVER_UPDATE"),
    8: ("GUILD_MEMBERS_CHUNK",),
    31: ("SOUNDBOARD_SOUNDS",),
    43: ("CHANNEL_INFO",),
}
"""What answers a command. hikari begins to wait for it when the command is sent, which may be too late to be heard."""
_ANSWERED: Final = 30.0
"""Seconds for which these events come after a command, whoever listens."""
_GOING_AWAY: Final = 1001
_AUTHENTICATION_FAILED: Final = 4004


class Owner(Protocol):
    """What a shard knows of the bot that has it."""

    def link(self, shard: "EngineShard", token: str, presence: str, url: str) -> tuple[Link, Cache | None]:
        """The engine's side of a shard, not started, and what its cache is kept in."""
        ...

    def parsed(self) -> None:
        """An event was."""

    def silently(self) -> contextlib.AbstractContextManager[None]:
        """Meanwhile nothing is dispatched."""
        ...


class EngineShard(GatewayShardImpl):
    """A `hikari.impl.GatewayShardImpl` whose connection the engine keeps."""

    __slots__ = ("_adapted", "_end", "_expected", "_goes_on", "_has_state", "_kept", "_latency", "_link", "_made_at")

    def __init__(self, owner: Owner, **arguments: Any) -> None:
        """Nothing is sent before `start`; ``arguments`` are hikari's."""
        super().__init__(**arguments)
        self._adapted: Final = owner
        self._link: Link | None = None
        self._kept: Cache | None = None
        self._end: asyncio.Future[BaseException | None] | None = None
        self._has_state = False
        """Whether READY came in this process, or what it brought to an earlier one."""
        self._goes_on = False
        """Whether the session of an earlier process goes on, and RESUMED is still to come."""
        self._made_at = time.perf_counter()
        self._latency = float("nan")
        self._expected: Final[dict[int, tuple[Entry, asyncio.TimerHandle]]] = {}
        """By the opcode of the command, what lets its answers come, and until when."""

    # ------------------------------------------------------------------ what it tells

    @property
    def heartbeat_latency(self) -> float:
        """Seconds from the last acknowledged heartbeat to its ACK; before the first, what it took to get to READY."""
        latency = None if self._link is None else self._link.life.shard.latency
        if latency is not None:
            self._latency = latency
        return self._latency

    @property
    def is_connected(self) -> bool:
        """Whether READY or RESUMED has come."""
        return self._link is not None and self._handshake_event is not None and self._handshake_event.is_set()

    def _check_if_connected(self) -> None:
        if not self._goes_on:
            super()._check_if_connected()

    @property
    def link(self) -> Link | None:
        """The engine's side; None before the start."""
        return self._link

    # ------------------------------------------------------------------ what the link tells

    def event(self, dispatch: Dispatch[Any]) -> None:
        """An event, as `_poll_events` takes it."""
        name = dispatch.type
        raw = dispatch.raw
        data: Any = self._loads(raw)
        self._seq = dispatch.sequence
        if name == "READY":
            self._has_state = True
            self._ready(data)
        elif not self._has_state:
            self._has_state = True
            self._goes_on = True
            self._restore()
        if name == "RESUMED":
            self._goes_on = False
            self._logger.info("resumed session [session:%s, seq:%s]", self._session_id, self._seq)
            self._shake_hands()
        elif name == "RATE_LIMITED":
            self._logger.warning("rate-limited on opcode %s: %s", data.get("opcode"), data)
        try:
            self._consume(name, data)
        finally:
            if self._kept is not None:
                self._kept.add(name, raw)
            self._adapted.parsed()
        if name in ("READY", "RESUMED"):
            self._event_manager.dispatch(self._event_factory.deserialize_connected_event(self))

    def _consume(self, name: str, data: Any) -> None:
        try:
            self._event_manager.consume_raw_event(name, self, data)
        except LookupError:
            self._logger.debug("ignoring unknown event %s:\n    %r", name, data)

    def _ready(self, data: Any) -> None:
        self._know(data)
        if math.isnan(self._latency):
            self._latency = time.perf_counter() - self._made_at
        self._logger.info(
            "shard is ready: %s guilds, %s (%s), session %r on v%s gateway",
            len(data["guilds"]),
            data["user"]["username"],
            self._user_id,
            self._session_id,
            data["v"],
        )
        self._shake_hands()

    def _know(self, ready: Any) -> None:
        self._session_id = ready["session_id"]
        self._resume_gateway_url = ready["resume_gateway_url"]
        self._user_id = hikari.Snowflake(ready["user"]["id"])

    def _shake_hands(self) -> None:
        if self._handshake_event is not None:
            self._handshake_event.set()

    def _restore(self) -> None:
        """A session of an earlier process goes on: begin with what that one knew.

        READY and the guilds are told as after any start; what changed since then listeners have heard of.
        """
        assert self._link is not None
        session = self._link.life.session
        events = [] if self._kept is None or session is None else self._kept.load(session.id)
        if not events:
            self._logger.warning("the session goes on, and none of its guilds is known")
        for event, raw in events:
            data = self._loads(raw)
            if event == "READY" and isinstance(data, dict):
                self._know(data)
            told = event in ("READY", "GUILD_CREATE")
            with contextlib.nullcontext() if told else self._adapted.silently():
                self._consume(event, data)
        self._logger.info("%s events of the earlier process were read again", len(events))

    def lost(self) -> None:
        """A connection has ended, and another one follows."""
        self._goes_on = False
        if self._handshake_event is not None and self._handshake_event.is_set():
            self._handshake_event.clear()
            self._event_manager.dispatch(self._event_factory.deserialize_disconnected_event(self))

    def no_connection(self, message: str) -> None:
        """The engine tries again, as hikari does."""

    def ended(self, error: BaseException | None) -> None:
        """Who joins gets what hikari would have raised."""
        if self._end is not None and not self._end.done():
            self._end.set_result(_error_of(error))

    async def before_identify(self) -> None:
        """hikari has no such hook."""

    # ------------------------------------------------------------------ what hikari asks of it

    async def _keep_alive(self) -> None:
        """In place of hikari's loop of connections. Cancelled by `close`."""
        self._end = asyncio.get_running_loop().create_future()
        presence = self._dumps(self._serialize_and_store_presence_payload()).decode()
        link, self._kept = self._adapted.link(self, self._token, presence, self._gateway_url)
        self._link = link
        try:
            link.start()
            error = await asyncio.shield(self._end)
            if error is not None:
                raise error
        except asyncio.CancelledError:
            self._is_closing = True
        finally:
            for _, timer in self._expected.values():
                timer.cancel()
            self._expected.clear()
            # Where the session is kept the bot goes offline only when it expires.
            await link.close(None if link.keeps else _GOING_AWAY)
            if self._handshake_event is not None and self._handshake_event.is_set():
                event = self._event_factory.deserialize_disconnected_event(self)
                await self._event_manager.dispatch(event, return_tasks=True)

    async def _send_json(self, data: Any, *, priority: bool = False) -> None:
        """Send a payload: at once, or when Discord's limit allows it."""
        link = self._link
        if link is None:
            self._check_if_connected()
            return
        while not priority:
            remaining, seconds = link.life.shard.send_window
            if remaining > 0:
                break
            self._logger.debug("the rate limit is used up; waiting %.2f s", seconds)
            await asyncio.sleep(max(seconds, 0.01))
        payload: Any = orjson.loads(self._dumps(data))
        self._expect(link, payload["op"])
        try:
            link.life.commands.post(payload["op"], orjson.dumps(payload["d"]).decode())
        except NotConnected:
            message = f"shard {self._shard_id} is not connected so it cannot be interacted with"
            raise hikari.ComponentStateConflictError(message) from None

    def _expect(self, link: Link, op: int) -> None:
        """Let the answers of a command come, for a while."""
        events = _ANSWERS.get(op)
        if events is None:
            return
        loop = asyncio.get_running_loop()
        earlier = self._expected.pop(op, None)
        entry = link.want(dict.fromkeys(events)) if earlier is None else earlier[0]
        if earlier is not None:
            earlier[1].cancel()

        def over() -> None:
            self._expected.pop(op, None)
            link.unwant(entry)

        self._expected[op] = entry, loop.call_later(_ANSWERED, over)


def _error_of(error: BaseException | None) -> BaseException | None:
    """As hikari says it."""
    told: BaseException | None
    if error is None or isinstance(error, SessionTakenOver | NotConnected):
        return None
    if isinstance(error, AuthenticationFailed) and error.code is None:
        told = hikari.GatewayServerClosedConnectionError(str(error), _AUTHENTICATION_FAILED, False)
    elif isinstance(error, GatewayClosed) and error.code is not None:
        code: Any = error.code
        with contextlib.suppress(ValueError):
            code = hikari.ShardCloseCode(error.code)
        told = hikari.GatewayServerClosedConnectionError(error.reason, code, False)
    elif isinstance(error, HandshakeError):
        told = hikari.GatewayConnectionError(str(error))
    else:
        return error
    told.__cause__ = error
    return told
