"""What a gateway sends for its user, checked before it leaves, and what comes back.

The signatures with their explanations stand at the gateway. Waiting until a command is written is
`propylon._commands.table`'s, waiting for the answer `propylon._commands.requests`'.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Literal

import propylon._core as _core
from propylon._arguments import class_name
from propylon._commands.answers import VoiceServer
from propylon._commands.asked import check_opcode, members_query, seconds_of, voice_state
from propylon._commands.guilds import ChannelInfoRequest, SoundboardRequest, VoiceRequest
from propylon._commands.members import MembersPending, MembersRequest
from propylon._commands.payloads import id_of, ids_of, json_of, payload_of, presence_json
from propylon._commands.pending import Pending
from propylon._commands.requests import Requests
from propylon._commands.table import CommandTable
from propylon._core import Dispatch
from propylon.errors import CommandError, NotConnected
from propylon.events import ChannelInfo, SoundboardSounds
from propylon.intents import Intents
from propylon.presence import Presence

__all__ = ["Commands"]

_PRESENCE: Final = 3


class Commands:
    """The commands of one shard."""

    def __init__(
        self,
        shard: _core.Shard,
        *,
        check_open: Callable[[], None],
        intents: Callable[[], Intents],
        token_user: int | None,
        waiting_bytes: int,
    ) -> None:
        """``check_open`` raises where nothing can be sent; ``intents`` are those that the shard asks for.

        ``token_user``: the bot's own user as its token tells it; ``waiting_bytes``: of chunks that are not read.
        """
        self._shard: Final = shard
        self._check_open: Final = check_open
        self._intents: Final = intents
        self._token_user: Final = token_user
        self._table: Final = CommandTable(shard)
        self._requests: Final = Requests(shard, waiting_bytes)

    @property
    def waits(self) -> bool:
        """Whether somebody waits for a command to be written, or for an answer."""
        return self._table.waits or self._requests.waits

    async def _command(self, submit: Callable[[int], bool], written: Callable[[], None] | None = None) -> None:
        """Hands a command to the engine and waits until it is written, then at once calls ``written``."""
        self._check_open()
        await self._table.carry_out(submit, written)

    async def set_presence(self, presence: Presence) -> None:
        """Show another status or activity."""
        if not isinstance(presence, Presence):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CommandError(f"set_presence() takes a propylon.Presence, not a {class_name(type(presence))}")
        data = presence_json(presence)
        payload_of(_PRESENCE, data)
        await self._command(lambda number: self._shard.set_presence(number, data))

    async def send(self, op: int, data: Any) -> None:
        """Send a raw payload."""
        check_opcode(op)
        payload = payload_of(int(op), json_of(data))
        await self._command(lambda number: self._shard.send(number, int(op), payload))

    def post(self, op: int, data: str) -> None:
        """Hand a payload, ``data`` as JSON, to the engine and wait for nothing: it is sent in its turn.

        For libraries that wait for answers themselves. Raises CommandTooLarge, and NotConnected where it is closed.
        """
        self._check_open()
        payload = payload_of(op, data)
        # Under a number that nobody waits for.
        taken = self._shard.set_presence(0, data) if op == _PRESENCE else self._shard.send(0, op, payload)
        if not taken:
            raise NotConnected("the gateway is closed")

    async def _ask(self, pending: Pending, payload: str) -> None:
        await self._command(
            lambda number: self._shard.send(number, pending.opcode, payload),
            pending.written,
        )

    def _need(self, intent: Intents, what: str) -> None:
        if not intent & self._intents():
            raise CommandError(f"{what} needs Intents.{intent.name}; add it to intents=")

    def request_members(
        self,
        guild_id: int | str,
        *,
        user_ids: Iterable[int | str] | None,
        query: str | None,
        limit: int | None,
        presences: bool,
        nonce: str | None,
        timeout: float | None,
    ) -> MembersRequest:
        """Ask for members of a guild."""
        data = members_query(guild_id, user_ids=user_ids, query=query, limit=limit, presences=presences, nonce=nonce)
        if "query" in data and not data["query"] and not data["limit"]:
            self._need(Intents.GUILD_MEMBERS, "requesting all members")
        if "presences" in data:
            self._need(Intents.GUILD_PRESENCES, "requesting presences")
        payload = payload_of(MembersPending.opcode, json_of(data))

        async def send(written: Callable[[], None]) -> None:
            await self._command(lambda number: self._shard.send(number, MembersPending.opcode, payload), written)

        pending = MembersPending(self._requests, send, int(data["guild_id"]), data["nonce"], seconds_of(timeout))
        return MembersRequest(pending)

    async def update_voice_state(
        self,
        guild_id: int | str,
        channel_id: int | str | None,
        *,
        self_mute: bool,
        self_deaf: bool,
        timeout: float | None,
    ) -> VoiceServer | None:
        """Join, move, change mute and deafen, or leave."""
        data = voice_state(guild_id, channel_id, self_mute=self_mute, self_deaf=self_deaf)
        guild, channel = data["guild_id"], data["channel_id"]
        seconds = seconds_of(timeout)
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
        self, guild_ids: Iterable[int | str], *, timeout: float | None
    ) -> list[SoundboardSounds]:
        """Ask for the soundboard sounds of guilds."""
        guilds = ids_of("guild_ids", guild_ids)
        payload = payload_of(SoundboardRequest.opcode, json_of({"guild_ids": guilds}))
        request = SoundboardRequest([int(guild) for guild in guilds], seconds_of(timeout))
        with self._requests.expect(request):
            await self._ask(request, payload)
            return await request.answer()

    async def request_channel_info(
        self,
        guild_id: int | str,
        fields: Iterable[str],
        *,
        timeout: float | None,
    ) -> ChannelInfo:
        """Ask for what Discord tells of channels only on request."""
        guild = id_of("guild_id", guild_id)
        names = [] if isinstance(fields, str) else list(fields)
        if not names or not all(isinstance(name, str) and name for name in names):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CommandError(f'fields must be names such as ["status", "voice_start_time"], not {fields!r}')
        payload = payload_of(ChannelInfoRequest.opcode, json_of({"guild_id": guild, "fields": names}))
        request = ChannelInfoRequest(int(guild), seconds_of(timeout))
        with self._requests.expect(request):
            await self._ask(request, payload)
            return await request.answer()

    # ------------------------------------------------------------------ news from the engine

    def done(self, number: int, error: Literal["not connected", "queue full"] | None) -> None:
        """A command was written, or never will be."""
        self._table.done(number, error)

    def reply(self, dispatch: Dispatch[Any]) -> None:
        """An event came that somebody awaits."""
        self._requests.reply(dispatch)

    def new_session(self) -> None:
        """READY: what was asked before is answered no more."""
        self._requests.new_session()

    def fail_all(self) -> None:
        """The gateway has ended."""
        self._table.fail_all()
        self._requests.fail_all()

    def clear(self) -> None:
        """Forget those that wait in a loop that has died."""
        self._table.clear()
        self._requests.clear()
