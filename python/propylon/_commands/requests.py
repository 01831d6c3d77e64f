"""Commands with an answer: who waits for which events, and when the waiting ends.

Answers come as news of the engine, which overtakes events: a listener may await one although no further event is
handed out until it returns. The engine tells only the events that somebody waits for. What is sent, and whether it may
be, is `propylon._commands.commands`'s.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Final, TypeAlias

from propylon import _core
from propylon._base import UNSET, Model, UnsetType
from propylon._commands.answers import Members, VoiceServer
from propylon._core import Dispatch
from propylon.errors import CommandError, ModelError, NotConnected, RateLimited, RequestTimeout
from propylon.events import ChannelInfo, GuildMembersChunk, SoundboardSounds, VoiceServerUpdate
from propylon.snowflake import Snowflake

__all__ = ["ChannelInfoRequest", "MembersRequest", "Pending", "Requests", "SoundboardRequest", "VoiceRequest"]

_log: Final = logging.getLogger("propylon")

_LAST_TURNS: Final = 3
"""Turns of the loop, in which it looks at its descriptors at least once."""


class _ChunkHead(Model):
    """What tells whose a chunk is: its members are skipped, which a storm of foreign chunks pays for."""

    guild_id: Snowflake
    chunk_index: int
    chunk_count: int
    nonce: str | UnsetType = UNSET


class _VoiceStateHead(Model):
    user_id: Snowflake
    session_id: str
    guild_id: Snowflake | UnsetType = UNSET
    channel_id: Snowflake | None = None


class _LimitedHead(Model):
    """RATE_LIMITED, whatever of it came: without it the request would wait for its whole timeout."""

    opcode: int
    retry_after: float | None = None
    meta: dict[str, Any] | None = None

    @property
    def nonce(self) -> str:
        """That of the request; empty where it was not told."""
        nonce = (self.meta or {}).get("nonce")
        return nonce if isinstance(nonce, str) else ""

    @property
    def guild_id(self) -> int:
        """The guild of the request; 0 where it was not told."""
        guild_id = (self.meta or {}).get("guild_id")
        return int(guild_id) if isinstance(guild_id, str | int) and str(guild_id).isdecimal() else 0


_Head: TypeAlias = _ChunkHead | _LimitedHead | _VoiceStateHead | VoiceServerUpdate | SoundboardSounds | ChannelInfo

_HEADS: Final[dict[str, type[_Head]]] = {
    "GUILD_MEMBERS_CHUNK": _ChunkHead,
    "RATE_LIMITED": _LimitedHead,
    "VOICE_STATE_UPDATE": _VoiceStateHead,
    "VOICE_SERVER_UPDATE": VoiceServerUpdate,
    "SOUNDBOARD_SOUNDS": SoundboardSounds,
    "CHANNEL_INFO": ChannelInfo,
}


class Pending:
    """One request that waits for its answer."""

    opcode: ClassVar[int]
    events: ClassVar[tuple[str, ...]]
    """The events that answer it; RATE_LIMITED may answer any."""

    def __init__(self, what: str, timeout: float | None) -> None:
        """``what`` it is, for messages; ``timeout``: seconds without progress."""
        self._what: Final = what
        self._timeout: Final = timeout
        self._error: Exception | None = None
        self._woken: asyncio.Future[None] | None = None
        self.is_written = False

    def written(self) -> None:
        """It has left; answers may come, and a new session will not bring them any more."""
        self.is_written = True

    def takes(self, head: _Head, dispatch: Dispatch[Any]) -> bool:
        """Take an event. Whether it was for this request alone."""
        raise NotImplementedError

    def is_limited(self, limited: _LimitedHead) -> bool:
        """Whether a RATE_LIMITED of its opcode means this request."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """No answer will come."""
        if self._error is None:
            self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _until(self, ready: Callable[[], bool], missing: Callable[[], str]) -> None:
        """Wait until ``ready()``, or fail as the request does."""
        try:
            async with asyncio.timeout(self._timeout):
                while not ready():
                    if self._error is not None:
                        raise self._error
                    self._woken = asyncio.get_running_loop().create_future()
                    await self._woken
        except TimeoutError:
            # A loop that was blocked sees that the time is over before it sees what came meanwhile.
            for _ in range(_LAST_TURNS):
                await asyncio.sleep(0)
            if ready():
                return
            if self._error is not None:
                raise self._error from None
            raise RequestTimeout(f"{self._what}: {missing()} within {self._timeout:g} s") from None
        finally:
            self._woken = None


class Requests:
    """The requests of one shard that wait."""

    def __init__(self, shard: _core.Shard, waiting_bytes: int) -> None:
        """``waiting_bytes``: of chunks that came, but that their reader has not taken yet."""
        self._shard: Final = shard
        self.waiting_bytes: Final = waiting_bytes
        self._pending: Final[dict[Pending, None]] = {}
        self._by_nonce: Final[dict[str, MembersRequest]] = {}
        self._voice: Final[dict[int, tuple[int, VoiceServer]]] = {}
        self._awaited: set[str] = set()
        self._complained = False

    @contextmanager
    def expect(self, pending: Pending) -> Generator[None]:
        """Let ``pending`` have the events that answer it."""
        if isinstance(pending, MembersRequest):
            if pending.nonce in self._by_nonce:
                raise CommandError(f"a request with the nonce {pending.nonce!r} waits already; use another, or none")
            self._by_nonce[pending.nonce] = pending
        self._pending[pending] = None
        self._tell_engine()
        try:
            yield
        finally:
            self._pending.pop(pending, None)
            if isinstance(pending, MembersRequest) and self._by_nonce.get(pending.nonce) is pending:
                del self._by_nonce[pending.nonce]
            self._tell_engine()

    def _tell_engine(self) -> None:
        names = {event for pending in self._pending for event in pending.events}
        if self._pending:
            names.add("RATE_LIMITED")
        if self._voice:
            # Where a voice server changes while the bot is connected to it.
            names.add("VOICE_SERVER_UPDATE")
        if names != self._awaited:
            self._awaited = names
            self._shard.await_replies(sorted(names))

    def reply(self, dispatch: Dispatch[Any]) -> None:
        """An event came that was awaited when it was read."""
        kind = _HEADS.get(dispatch.type)
        if kind is None:
            return
        try:
            head = dispatch.decode(kind)
        except ModelError as error:
            if not self._complained:
                self._complained = True
                _log.warning("an answer cannot be read, further ones are not told: %s", error)
            return
        if isinstance(head, _ChunkHead):
            request = self._by_nonce.get(head.nonce) if isinstance(head.nonce, str) else None
            if request is not None:
                request.takes(head, dispatch)
            return
        if isinstance(head, _LimitedHead):
            self._limited(head)
            return
        if isinstance(head, VoiceServerUpdate):
            self._voice_server_changed(head)
        for pending in list(self._pending):
            if pending.is_written and pending.takes(head, dispatch):
                break

    def _limited(self, limited: _LimitedHead) -> None:
        unnamed = not (limited.nonce or limited.guild_id)
        for pending in self._pending:
            # Where it names none, the oldest one.
            if pending.is_written and pending.opcode == limited.opcode and (unnamed or pending.is_limited(limited)):
                wait = limited.retry_after or 0.0
                pending.fail(RateLimited(f"Discord limits this request; ask again in {wait:g} s", wait))
                return

    # -- voice servers that are known: changing mute or deafen brings no new one --

    def _voice_server_changed(self, update: VoiceServerUpdate) -> None:
        known = self._voice.get(update.guild_id)
        if known is None:
            return
        if not update.endpoint:
            self.forget_voice(update.guild_id)
            return
        channel_id, server = known
        server = VoiceServer(server.session_id, update.token, update.endpoint, update.guild_id)
        self._voice[update.guild_id] = channel_id, server

    def voice(self, guild_id: int, channel_id: int) -> VoiceServer | None:
        """The server of a channel that the bot is in."""
        known = self._voice.get(guild_id)
        return known[1] if known is not None and known[0] == channel_id else None

    def keep_voice(self, channel_id: int, server: VoiceServer) -> None:
        """The bot is in this channel now."""
        self._voice[server.guild_id] = channel_id, server
        self._tell_engine()

    def forget_voice(self, guild_id: int) -> None:
        """It is in no channel of this guild."""
        if self._voice.pop(guild_id, None) is not None:
            self._tell_engine()

    # -- ends --

    def new_session(self) -> None:
        """A new session has begun: what was asked in the one before is answered no more."""
        self._voice.clear()
        for pending in self._pending:
            if pending.is_written:
                pending.fail(NotConnected("the session was lost while the request waited for its answer; ask again"))
        self._tell_engine()

    def fail_all(self) -> None:
        """The gateway has ended."""
        self._voice.clear()
        for pending in self._pending:
            pending.fail(NotConnected("the gateway was closed before the answer came"))
        self._tell_engine()

    def clear(self) -> None:
        """Forget those that wait in a loop that has died."""
        self._pending.clear()
        self._by_nonce.clear()
        self._tell_engine()


Send: TypeAlias = Callable[[Callable[[], None]], Awaitable[None]]
"""Sends the request's payload; calls back when it has left."""


class MembersRequest(Pending):
    """A request for members, from `Gateway.request_members`: await it, or iterate over its chunks. Once.

    Awaited it gives `Members`. ``async for`` gives each `GuildMembersChunk` as it comes, which needs no memory for all
    of a large guild. Nothing is sent before either begins.
    """

    opcode = 8
    events = ("GUILD_MEMBERS_CHUNK",)

    def __init__(self, requests: Requests, send: Send, guild_id: int, nonce: str, timeout: float | None) -> None:
        """Made by `Gateway.request_members`."""
        super().__init__(f"members of guild {guild_id}", timeout)
        self._requests: Final = requests
        self._send: Final = send
        self._guild_id: Final = guild_id
        self.nonce: Final = nonce
        self._begun = False
        self._seen: Final[set[int]] = set()
        self._count: int | None = None
        self._waiting: Final[deque[Dispatch[Any]]] = deque()
        self._waiting_bytes = 0

    def __repr__(self) -> str:
        """Whose members, and how far it is."""
        return f"<MembersRequest guild_id={self._guild_id} nonce={self.nonce!r} chunks={self._progress()}>"

    def _progress(self) -> str:
        return f"{len(self._seen)} of {'?' if self._count is None else self._count}"

    def takes(self, head: _Head, dispatch: Dispatch[Any]) -> bool:
        """Take a chunk with its nonce, unless it came before."""
        if not isinstance(head, _ChunkHead) or head.guild_id != self._guild_id or self._error is not None:
            return False
        if not 0 <= head.chunk_index < head.chunk_count or head.chunk_index in self._seen:
            return True
        self._count = head.chunk_count
        self._seen.add(head.chunk_index)
        self._waiting.append(dispatch)
        self._waiting_bytes += len(dispatch)
        if self._waiting_bytes > self._requests.waiting_bytes:
            self._waiting.clear()
            self.fail(CommandError("the chunks of members are not read as fast as they come; raise queue_bytes="))
        self._wake()
        return True

    def is_limited(self, limited: _LimitedHead) -> bool:
        """By its nonce, else by its guild."""
        if limited.nonce:
            return limited.nonce == self.nonce
        return limited.guild_id == self._guild_id and not self._seen

    @property
    def _complete(self) -> bool:
        return self._count is not None and len(self._seen) >= self._count

    async def _chunks(self) -> AsyncIterator[GuildMembersChunk]:
        if self._begun:
            raise RuntimeError("a request is awaited or iterated over once; call request_members() again")
        self._begun = True
        with self._requests.expect(self):
            await self._send(self.written)
            while True:
                while self._waiting:
                    dispatch = self._waiting.popleft()
                    self._waiting_bytes -= len(dispatch)
                    yield dispatch.decode(GuildMembersChunk)
                if self._complete and self._error is None:
                    return
                await self._until(
                    lambda: bool(self._waiting),
                    lambda: f"no further chunk ({self._progress()} came; is the bot in that guild?)",
                )

    def __aiter__(self) -> AsyncIterator[GuildMembersChunk]:
        """Ask, and give chunk by chunk as they come, each one once, in whatever order."""
        return self._chunks()

    def __await__(self) -> Generator[Any, None, Members]:
        """Ask, and give all members together."""
        return self._gather().__await__()

    async def _gather(self) -> Members:
        chunks: dict[int, GuildMembersChunk] = {}
        async for chunk in self._chunks():
            chunks[chunk.chunk_index] = chunk
            # A thousand members take milliseconds to decode: between two chunks the loop gets its turn.
            await asyncio.sleep(0)
        return Members([chunks[index] for index in sorted(chunks)])


class VoiceRequest(Pending):
    """Waits for what joining a voice channel brings: the bot's own state, and the server to connect to."""

    opcode = 4
    events = ("VOICE_STATE_UPDATE", "VOICE_SERVER_UPDATE")

    def __init__(
        self,
        guild_id: int,
        channel_id: int,
        user_id: int | None,
        known: Callable[[], VoiceServer | None],
        timeout: float | None,
    ) -> None:
        """``user_id``: the bot's own; None: whoever comes into the channel first. ``known`` gives the server there."""
        super().__init__(f"voice channel {channel_id}", timeout)
        self._guild_id: Final = guild_id
        self._channel_id: Final = channel_id
        self._user_id: Final = user_id
        self._known: Final = known
        self._session_id: str | None = None
        self._server: VoiceServerUpdate | None = None

    def takes(self, head: _Head, dispatch: Dispatch[Any]) -> bool:
        """Take either part. Never alone: several may wait for the same."""
        if isinstance(head, _VoiceStateHead):
            ours = self._session_id is None if self._user_id is None else head.user_id == self._user_id
            if ours and head.guild_id == self._guild_id and head.channel_id == self._channel_id:
                self._session_id = head.session_id
        elif isinstance(head, VoiceServerUpdate) and head.guild_id == self._guild_id:
            # Without an endpoint the server is yet to be found: another event follows.
            self._server = head if head.endpoint else None
        self._wake()
        return False

    def is_limited(self, limited: _LimitedHead) -> bool:
        """By its guild."""
        return limited.guild_id == self._guild_id

    def _answer(self) -> VoiceServer | None:
        if self._session_id is None:
            return None
        if self._server is not None and self._server.endpoint:
            return VoiceServer(self._session_id, self._server.token, self._server.endpoint, self._server.guild_id)
        known = self._known()
        return known if known is not None and known.session_id == self._session_id else None

    async def answer(self) -> VoiceServer:
        """Wait for both parts."""
        await self._until(
            lambda: self._answer() is not None,
            lambda: (
                "no voice server"
                if self._session_id is not None
                else "no voice state of the bot (may it see and join that channel?)"
            ),
        )
        answer = self._answer()
        assert answer is not None
        return answer


class SoundboardRequest(Pending):
    """Waits for the sounds of each guild."""

    opcode = 31
    events = ("SOUNDBOARD_SOUNDS",)

    def __init__(self, guild_ids: list[int], timeout: float | None) -> None:
        """In the order in which they are given back."""
        super().__init__("soundboard sounds", timeout)
        self._guild_ids: Final = guild_ids
        self._answers: Final[dict[int, SoundboardSounds]] = {}

    def takes(self, head: _Head, dispatch: Dispatch[Any]) -> bool:
        """Take the sounds of a guild that was asked for and did not answer yet."""
        if not isinstance(head, SoundboardSounds) or head.guild_id not in self._missing():
            return False
        self._answers[head.guild_id] = head
        self._wake()
        return True

    def is_limited(self, limited: _LimitedHead) -> bool:
        """By a guild that is missing; without one it is this request all the same."""
        return not limited.guild_id or limited.guild_id in self._missing()

    def _missing(self) -> list[int]:
        return [guild_id for guild_id in self._guild_ids if guild_id not in self._answers]

    def _answered(self, missing: int) -> bool:
        return len(self._missing()) < missing

    async def answer(self) -> list[SoundboardSounds]:
        """Wait for all of them."""
        while missing := len(self._missing()):
            await self._until(
                partial(self._answered, missing),
                lambda: f"no answer for {', '.join(map(str, self._missing()))} (is the bot in that guild?)",
            )
        return [self._answers[guild_id] for guild_id in self._guild_ids]


class ChannelInfoRequest(Pending):
    """Waits for the channels of one guild."""

    opcode = 43
    events = ("CHANNEL_INFO",)

    def __init__(self, guild_id: int, timeout: float | None) -> None:
        """Answers bear no mark but their guild: they go to requests in the order in which these were made."""
        super().__init__(f"channel info of guild {guild_id}", timeout)
        self._guild_id: Final = guild_id
        self._answer: ChannelInfo | None = None

    def takes(self, head: _Head, dispatch: Dispatch[Any]) -> bool:
        """Take the first answer for its guild."""
        if not isinstance(head, ChannelInfo) or head.guild_id != self._guild_id or self._answer is not None:
            return False
        self._answer = head
        self._wake()
        return True

    def is_limited(self, limited: _LimitedHead) -> bool:
        """By its guild; without one it is this request all the same."""
        return not limited.guild_id or limited.guild_id == self._guild_id

    async def answer(self) -> ChannelInfo:
        """Wait for it."""
        await self._until(lambda: self._answer is not None, lambda: "no answer (is the bot in that guild?)")
        assert self._answer is not None
        return self._answer
