"""The command face: what a gateway sends for its user, checked before it leaves, and what comes back.

Waiting until it is written is `propylon._commands.payloads`', waiting for the answer `propylon._commands.requests`'.
"""

import math
import secrets
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, overload

from propylon import _core
from propylon._commands.answers import RateLimit, VoiceServer
from propylon._commands.payloads import Commands, id_of, ids_of, json_of, payload_of, presence_json
from propylon._commands.requests import (
    ChannelInfoRequest,
    MembersRequest,
    Pending,
    Requests,
    SoundboardRequest,
    VoiceRequest,
)
from propylon._listening.waiting import Consuming
from propylon.errors import CommandError
from propylon.events import ChannelInfo, SoundboardSounds
from propylon.intents import Intents
from propylon.presence import Presence

__all__ = ["Commanding"]

_NOT_THE_USERS: Final = {1: "heartbeats", 2: "IDENTIFY", 6: "RESUME"}
_MAX_USER_IDS: Final = 100
_MAX_NONCE_BYTES: Final = 32


class Commanding(Consuming):
    """Base of what takes commands."""

    def __init__(
        self, shard: _core.Shard, max_pending: int, *, intents: Intents, token_user: int | None, waiting_bytes: int
    ) -> None:
        """``token_user``: the bot's own user as its token tells it; ``waiting_bytes``: of chunks that are not read."""
        super().__init__(shard, max_pending)
        self._intents = intents
        self._token_user: Final = token_user
        self._commands: Final = Commands(shard)
        self._requests: Final = Requests(shard, waiting_bytes)

    async def _command(self, submit: Callable[[int], bool], written: Callable[[], None] | None = None) -> None:
        """Hand a command to the engine and wait until it is written, then at once calls ``written``."""
        raise NotImplementedError

    @property
    def intents(self) -> Intents:
        """The intents it asks for; with ``intents="auto"`` those of its last opening, none before the first."""
        return self._intents

    @property
    def rate_limit(self) -> RateLimit:
        """What Discord's limit of 120 payloads in 60 s still takes. From any thread.

        Commands beyond it wait and are sent in their order, so this need not be asked before sending.
        """
        return RateLimit(*self._shard.send_window)

    async def set_presence(self, presence: Presence) -> None:
        """Show another status or activity, from now on and after each new session; returns when it is sent.

        At most 5 in 20 s leave; of those that wait, only the newest is sent.
        https://discord.com/developers/docs/events/gateway-events#update-presence

        Raises:
            NotConnected: The gateway is not open, or was closed meanwhile.
            CommandTooLarge: Over 4,096 bytes.
            CommandError: A value that JSON cannot hold.
        """
        if not isinstance(presence, Presence):  # pyright: ignore[reportUnnecessaryIsInstance]
            kind = type(presence)
            raise CommandError(f"set_presence() takes a propylon.Presence, not a {kind.__module__}.{kind.__qualname__}")
        data = presence_json(presence)
        payload_of(3, data)
        await self._command(lambda number: self._shard.set_presence(number, data))

    async def send(self, op: int, data: Any) -> None:
        """Send a raw payload, in order, within 120 in 60 s; returns when it is written.

        Waits through reconnects. https://discord.com/developers/docs/events/gateway#sending-events

        Args:
            op: An opcode; not 1, 2 or 6, which are the engine's.
            data: What JSON can hold.

        Raises:
            NotConnected: The gateway is not open, or was closed meanwhile.
            CommandTooLarge: Over 4,096 bytes.
            CommandError: The opcode is not the user's, or JSON cannot hold ``data`` (NaN, other types).
        """
        if isinstance(op, bool) or not isinstance(op, int) or not 0 <= op <= 255:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CommandError(f"an opcode is a number from 0 to 255, not {op!r}")
        if op in _NOT_THE_USERS:
            raise CommandError(f"opcode {op} is the engine's: it sends {_NOT_THE_USERS[op]} by itself")
        payload = payload_of(int(op), json_of(data))
        await self._command(lambda number: self._shard.send(number, int(op), payload))

    async def _ask(self, pending: Pending, payload: str) -> None:
        await self._command(
            lambda number: self._shard.send(number, pending.opcode, payload),
            pending.written,
        )

    def _need(self, intent: Intents, what: str) -> None:
        if not intent & self._intents:
            raise CommandError(f"{what} needs Intents.{intent.name}; add it to intents=")

    def request_members(
        self,
        guild_id: int | str,
        *,
        user_ids: Iterable[int | str] | None = None,
        query: str | None = None,
        limit: int | None = None,
        presences: bool = False,
        nonce: str | None = None,
        timeout: float | None = 10,
    ) -> MembersRequest:
        """Ask for members of a guild: await the result, or iterate over the chunks as they come.

        ::

            members = await gateway.request_members(guild_id, query="jo")
            async for chunk in gateway.request_members(guild_id):
                print(len(chunk.members))

        With neither ``query`` nor ``user_ids`` all members are requested, which Discord allows once in 30 s for each
        guild. Answers are told from those to other requests by the nonce. A request outlives a reconnect that resumes;
        when a new session has to begin it fails. Nothing is asked before it is awaited or iterated over. Listeners of
        `GuildMembersChunk` get the chunks too. https://discord.com/developers/docs/events/gateway-events#request-guild-members

        Args:
            guild_id: Of the guild.
            user_ids: At most 100, instead of a query; `Members.not_found` has those who are no members.
            query: What the name or nickname begins with. Empty: everybody.
            limit: How many at most, to 100 with a query (the default there); 0 with an empty query: all.
            presences: Give presences too.
            nonce: A mark of your own in the chunks, at most 32 bytes of UTF-8; made up where none is given.
            timeout: Seconds to wait for a chunk, from the moment the request is sent or the one before came; None: as
                long as it takes.

        Raises:
            CommandError: An argument that Discord would not take, or an intent that is missing. From the call itself.
            RateLimited: Discord wants us to wait: ``retry_after`` seconds. This and the following when awaited.
            RequestTimeout: No chunk came in time. Discord does not answer for a guild that the bot is not in.
            NotConnected: The gateway is not open, was closed meanwhile, or had to begin a new session.
        """
        guild = id_of("guild_id", guild_id)
        data: dict[str, Any] = {"guild_id": guild}
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= 100):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CommandError(f"limit must be a whole number from 0 to 100, not {limit!r}")
        if user_ids is not None:
            if query is not None:
                raise CommandError("query and user_ids exclude each other; make two requests")
            data["user_ids"] = ids_of("user_ids", user_ids, _MAX_USER_IDS)
            if limit is not None:
                data["limit"] = int(limit)
        else:
            if query is not None and not isinstance(query, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise CommandError(f"query must be a str, not {type(query).__name__}")
            data["query"] = query or ""
            data["limit"] = (100 if query else 0) if limit is None else int(limit)
            if not query and not data["limit"]:
                self._need(Intents.GUILD_MEMBERS, "requesting all members")
        if not isinstance(presences, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CommandError(f"presences must be True or False, not {presences!r}")
        if presences:
            self._need(Intents.GUILD_PRESENCES, "requesting presences")
            data["presences"] = True
        data["nonce"] = nonce = _nonce(nonce)
        payload = payload_of(MembersRequest.opcode, json_of(data))

        async def send(written: Callable[[], None]) -> None:
            await self._command(lambda number: self._shard.send(number, MembersRequest.opcode, payload), written)

        return MembersRequest(self._requests, send, int(guild), nonce, _seconds(timeout))

    @overload
    async def update_voice_state(
        self,
        guild_id: int | str,
        channel_id: int | str,
        *,
        self_mute: bool = False,
        self_deaf: bool = False,
        timeout: float | None = 10,
    ) -> VoiceServer: ...
    @overload
    async def update_voice_state(
        self,
        guild_id: int | str,
        channel_id: None,
        *,
        self_mute: bool = False,
        self_deaf: bool = False,
        timeout: float | None = 10,
    ) -> None: ...
    async def update_voice_state(
        self,
        guild_id: int | str,
        channel_id: int | str | None,
        *,
        self_mute: bool = False,
        self_deaf: bool = False,
        timeout: float | None = 10,
    ) -> VoiceServer | None:
        """Join a voice channel, move to it, or change mute and deafen there; None leaves.

        Gives what a voice client connects with, as soon as Discord has told it; nothing, and at once, when leaving.
        https://discord.com/developers/docs/events/gateway-events#update-voice-state

        Args:
            guild_id: Of the guild.
            channel_id: Of the voice channel; None: leave.
            self_mute: Be muted.
            self_deaf: Be deafened.
            timeout: Seconds to wait for the answer once the command is sent; None: as long as it takes.

        Raises:
            CommandError: An argument that Discord would not take, or `Intents.GUILD_VOICE_STATES` is missing, without
                which the answer would not come.
            RequestTimeout: No answer: the bot may not see or join the channel, for one.
            RateLimited: Discord wants us to wait.
            NotConnected: The gateway is not open, was closed meanwhile, or had to begin a new session.
        """
        guild = id_of("guild_id", guild_id)
        channel = None if channel_id is None else id_of("channel_id", channel_id)
        for name, value in (("self_mute", self_mute), ("self_deaf", self_deaf)):
            if not isinstance(value, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise CommandError(f"{name} must be True or False, not {value!r}")
        seconds = _seconds(timeout)
        data = {"guild_id": guild, "channel_id": channel, "self_mute": self_mute, "self_deaf": self_deaf}
        payload = payload_of(VoiceRequest.opcode, json_of(data))
        if channel is None:
            await self._command(
                lambda number: self._shard.send(number, VoiceRequest.opcode, payload),
                lambda: self._requests.forget_voice(int(guild)),
            )
            return None
        self._need(Intents.GUILD_VOICE_STATES, "joining a voice channel")
        # READY tells the bot's own user; in a session that another process began, its token does.
        user = self._shard.user_id or self._token_user
        known = partial(self._requests.voice, int(guild), int(channel))
        request = VoiceRequest(int(guild), int(channel), user, known, seconds)
        with self._requests.expect(request):
            await self._ask(request, payload)
            server = await request.answer()
        self._requests.keep_voice(int(channel), server)
        return server

    async def request_soundboard_sounds(
        self, guild_ids: Iterable[int | str], *, timeout: float | None = 10
    ) -> list[SoundboardSounds]:
        """Ask for the soundboard sounds of guilds; gives one `SoundboardSounds` for each, in their order.

        Listeners of `SoundboardSounds` get them too.
        https://discord.com/developers/docs/events/gateway-events#request-soundboard-sounds

        Args:
            guild_ids: Of the guilds.
            timeout: Seconds to wait for an answer once the request is sent, or since the one before; None: as long as
                it takes.

        Raises:
            CommandError: An argument that Discord would not take.
            CommandTooLarge: More guilds than go into 4,096 bytes.
            RequestTimeout: No answer for some guild, in which the bot may not be.
            RateLimited: Discord wants us to wait.
            NotConnected: The gateway is not open, was closed meanwhile, or had to begin a new session.
        """
        guilds = ids_of("guild_ids", guild_ids)
        payload = payload_of(SoundboardRequest.opcode, json_of({"guild_ids": guilds}))
        request = SoundboardRequest([int(guild) for guild in guilds], _seconds(timeout))
        with self._requests.expect(request):
            await self._ask(request, payload)
            return await request.answer()

    async def request_channel_info(
        self,
        guild_id: int | str,
        fields: Iterable[str] = ("status", "voice_start_time"),
        *,
        timeout: float | None = 10,
    ) -> ChannelInfo:
        """Ask for what Discord tells of a guild's channels only on request.

        Listeners of `ChannelInfo` get the answer too.
        https://discord.com/developers/docs/events/gateway-events#request-channel-info

        Args:
            guild_id: Of the guild.
            fields: ``"status"``, ``"voice_start_time"``, or both; others go to Discord as they are.
            timeout: Seconds to wait for the answer once the request is sent; None: as long as it takes.

        Raises:
            CommandError: An argument that Discord would not take.
            RequestTimeout: No answer; the bot may not be in that guild.
            RateLimited: Discord wants us to wait.
            NotConnected: The gateway is not open, was closed meanwhile, or had to begin a new session.
        """
        guild = id_of("guild_id", guild_id)
        names = [] if isinstance(fields, str) else list(fields)
        if not names or not all(isinstance(name, str) and name for name in names):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CommandError(f'fields must be names such as ["status", "voice_start_time"], not {fields!r}')
        payload = payload_of(ChannelInfoRequest.opcode, json_of({"guild_id": guild, "fields": names}))
        request = ChannelInfoRequest(int(guild), _seconds(timeout))
        with self._requests.expect(request):
            await self._ask(request, payload)
            return await request.answer()


def _seconds(timeout: Any) -> float | None:
    if timeout is None:
        return None
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not (is_number and math.isfinite(timeout) and timeout > 0):
        raise CommandError(f"timeout must be a number of seconds above 0, or None, not {timeout!r}")
    return float(timeout)


def _nonce(nonce: object) -> str:
    """One's own, checked, or one that no other request has: also none of an earlier process in the same session."""
    if nonce is None:
        return secrets.token_hex(8)
    if not isinstance(nonce, str) or not nonce:
        raise CommandError(f"nonce must be a str that is not empty, not {nonce!r}")
    size = len(nonce.encode(errors="surrogatepass"))
    if size > _MAX_NONCE_BYTES:
        raise CommandError(f"nonce is {size} bytes, Discord takes {_MAX_NONCE_BYTES} and ignores longer ones")
    return nonce
