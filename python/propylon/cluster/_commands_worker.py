"""Commands of a worker: to whichever gateway host has the shard, and what comes back.

Owns what is checked here, the way of the answers, and which errors they become. What Discord takes is checked by the
host that has the shard, `propylon.cluster._commands_host`.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import Any, Final, cast

import msgspec

import propylon._core as _core
from propylon._arguments import class_name
from propylon._commands.answers import VoiceServer
from propylon._commands.asked import check_opcode, members_query, seconds_of, voice_state
from propylon._commands.members import MembersPending, MembersRequest, Send
from propylon._commands.payloads import json_of, payload_of, presence_json
from propylon._commands.pending import ChunkHead
from propylon._commands.requests import Requests
from propylon._core import Dispatch
from propylon._fleet.spread import shard_of
from propylon.cluster._broker import Broker, Questions
from propylon.cluster._feeding import unstarted
from propylon.cluster._keys import Chunk, Command, CommandAnswer, CommandProblem, command_subject, encode, read
from propylon.cluster._tasks import spawn
from propylon.errors import (
    CommandError,
    CommandTooLarge,
    ModelError,
    NoOwner,
    NotConnected,
    RateLimited,
    RequestTimeout,
)
from propylon.events import GuildMembersChunk
from propylon.presence import Presence
from propylon.snowflake import Snowflake

__all__ = ["WorkerCommands"]

_PATIENCE: Final = 65.0
"""Seconds that a host has to send a command: a little more than the 60 s in which Discord counts them."""
_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Of chunks of members that came, but that their reader has not taken yet."""
_LONG: Final = 24 * 3600.0
"""Seconds that stand for no end."""


class _Voice(msgspec.Struct, frozen=True):
    token: str
    guild_id: int
    endpoint: str
    session_id: str


def _error_of(error: CommandProblem, text: str, retry_after: float | None, *, what: str) -> CommandError:
    said = text or what
    if error == "rate limited":
        return RateLimited(said, retry_after or 0.0)
    kinds: dict[str, type[CommandError]] = {
        "not connected": NotConnected,
        "too large": CommandTooLarge,
        "timeout": RequestTimeout,
    }
    return kinds.get(error, CommandError)(said)


class WorkerCommands:
    """The commands of one worker."""

    def __init__(self, app: str, *, broker: Callable[[], Broker], total: Callable[[], int]) -> None:
        """``broker`` gives the one to ask, ``total`` the number of shards; both raise NotConnected without one."""
        self._app: Final = app
        self._broker: Final = broker
        self._total: Final = total
        # It wants a shard to tell what it waits for; one that is never started takes no notice.
        self._requests: Final = Requests(unstarted(_core.Subscriptions()), _WAITING_BYTES)

    # ------------------------------------------------------------------ the commands

    async def send(self, op: int, data: Any, shard_id: int) -> None:
        """Send a raw payload on a shard."""
        check_opcode(op)
        payload_of(op, json_of(data))
        self._broker()
        self._check_shard(shard_id)
        await self._ask(shard_id, Command("send", op=int(op), data=data))

    async def set_presence(self, presence: Presence | Callable[[int], Presence], shard_id: int | None) -> None:
        """Show another status on a shard, or on all."""
        self._broker()
        if shard_id is not None:
            self._check_shard(shard_id)
        chosen = {one: presence(one) if callable(presence) else presence for one in self._shards(shard_id)}
        commands: dict[int, Command] = {}
        for one, shown in chosen.items():
            if not isinstance(shown, Presence):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise CommandError(f"set_presence() takes a propylon.Presence, not a {class_name(type(shown))}")
            commands[one] = Command("presence", data=msgspec.json.decode(presence_json(shown)))
        await asyncio.gather(*(self._ask(one, command) for one, command in commands.items()))

    def _shards(self, shard_id: int | None) -> Iterable[int]:
        return range(self._total()) if shard_id is None else (shard_id,)

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
        seconds_of(timeout)
        command = Command("voice", data=data, timeout=timeout)
        # The host's time runs from when it has sent it.
        patience = None if timeout is None else _PATIENCE + timeout
        answer = await self._ask(self._shard_of(data["guild_id"]), command, patience)
        if answer.data is None:
            return None
        try:
            voice = msgspec.convert(answer.data, _Voice, strict=False)
        except msgspec.ValidationError as error:
            raise CommandError(f"the host's answer cannot be read: {error}; let both run the same version") from None
        return VoiceServer(voice.session_id, voice.token, voice.endpoint, Snowflake(voice.guild_id))

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
        payload_of(MembersPending.opcode, json_of(data))
        patience = seconds_of(timeout)
        guild, shard_id = int(data["guild_id"]), self._shard_of(data["guild_id"])
        return MembersRequest(_RemoteMembers(self, self._requests, shard_id, data, guild, data["nonce"], patience))

    # ------------------------------------------------------------------ on the way

    def broker(self) -> Broker:
        """The one to ask. Raises NotConnected where there is none."""
        return self._broker()

    def _shard_of(self, guild_id: str) -> int:
        self._broker()
        return shard_of(int(guild_id), self._total())

    def _check_shard(self, shard_id: int) -> None:
        total = self._total()
        if isinstance(shard_id, bool) or not isinstance(shard_id, int) or not 0 <= shard_id < total:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CommandError(f"shard_id must be a number below {total}, the number of shards, not {shard_id!r:.100}")

    async def ask(self, shard_id: int, command: Command) -> None:
        """Have a host send it; return when it has."""
        await self._ask(shard_id, command)

    async def _ask(self, shard_id: int, command: Command, patience: float | None = _PATIENCE) -> CommandAnswer:
        """What the host says that has the shard; raises what it says went wrong."""
        broker, total = self._broker(), self._total()
        subject = command_subject(self._app, total, shard_id)
        try:
            reply = await broker.request(subject, encode(command), _LONG if patience is None else patience)
        except TimeoutError:
            raise RequestTimeout(
                f"the host of shard {shard_id} of {total} did not answer; whether it has sent the command is unknown"
            ) from None
        except ConnectionError as error:
            raise NotConnected(f"the command did not reach the host of shard {shard_id}: {error}") from None
        if reply is None:
            raise NoOwner(
                f"no gateway host has shard {shard_id} of {total} at this moment: it is between two hosts, or no host "
                "runs; ask again in a moment",
                shard_id,
            )
        answer = read(CommandAnswer, reply)
        if answer is None:
            raise CommandError("the host's answer cannot be read; let hosts and workers run the same version")
        if answer.error is not None:
            raise _error_of(answer.error, answer.text, answer.retry_after, what=f"shard {shard_id}: {answer.error}")
        return answer


class _RemoteMembers(MembersPending):
    """Members of a guild whose chunks come from a host, on an inbox."""

    def __init__(
        self,
        commands: WorkerCommands,
        requests: Requests,
        shard_id: int,
        data: dict[str, Any],
        guild_id: int,
        nonce: str,
        timeout: float | None,
    ) -> None:
        send: Send = self._send_it
        super().__init__(requests, send, guild_id, nonce, timeout)
        self._commands: Final = commands
        self._shard_id: Final = shard_id
        self._data: Final = data
        self._patience: Final = timeout
        self._inbox: Questions | None = None
        self._reading: asyncio.Task[None] | None = None

    async def chunks(self) -> AsyncIterator[GuildMembersChunk]:
        """Ask, and give chunk by chunk as they come."""
        try:
            async with contextlib.aclosing(cast("AsyncGenerator[GuildMembersChunk]", super().chunks())) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            if self._inbox is not None:
                self._inbox.stop()
            if self._reading is not None:
                self._reading.cancel()

    async def _send_it(self, written: Callable[[], None]) -> None:
        broker = self._commands.broker()
        inbox = broker.inbox()
        # Before it is asked: the first chunk may overtake the answer.
        self._inbox = await broker.serve(inbox)
        self._reading = spawn(self._read(self._inbox), "propylon members")
        command = Command("request_members", data=self._data, timeout=self._patience, inbox=inbox)
        await self._commands.ask(self._shard_id, command)
        written()

    async def _read(self, inbox: Questions) -> None:
        try:
            while not self._take(read(Chunk, (await inbox.next()).data)):
                pass
        except ConnectionError:
            self.fail(NotConnected("the worker was closed before the answer came"))

    def _take(self, chunk: Chunk | None) -> bool:
        """Take what came; whether it was the last."""
        if chunk is None:
            return False
        data = bytes(chunk.data)
        if data:
            dispatch: Dispatch[Any] = Dispatch("GUILD_MEMBERS_CHUNK", data, shard_id=self._shard_id)
            try:
                self.takes(dispatch.decode(ChunkHead), dispatch)
            except ModelError as error:
                self.fail(error)
        if chunk.error is not None:
            what = f"members of guild {self.guild_id}: {chunk.error}"
            self.fail(_error_of(chunk.error, chunk.text, chunk.retry_after, what=what))
        elif chunk.end and not self._complete:
            self.fail(
                NotConnected(f"members of guild {self.guild_id}: the host gave {self.progress} chunks; ask again")
            )
        return chunk.end
