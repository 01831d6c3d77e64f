"""Commands of workers, as the host answers them that has the shard: while it does, and nobody else.

What may be sent and what comes back is `propylon._commands`'; here is what becomes of it on its way over NATS. The
worker's end is `propylon.cluster._commands_worker`.
"""

import asyncio
import contextlib
import logging
from typing import Any, Final, cast

import msgspec

import propylon._core as _core
from propylon._commands.commands import Commands
from propylon._commands.members import MembersRequest
from propylon._commands.payloads import json_of, payload_of
from propylon.cluster._broker import Asked, Broker, Questions
from propylon.cluster._keys import Chunk, Command, CommandAnswer, CommandProblem, command_subject, encode, read
from propylon.cluster._membership import AWAY, Times
from propylon.cluster._tasks import spawn
from propylon.errors import CommandError, CommandTooLarge, NotConnected, RateLimited, RequestTimeout

__all__ = ["CommandServer", "problem_of"]

_log: Final = logging.getLogger("propylon.cluster")

_MOST: Final = 1000
"""Commands of one shard that are under way. Discord takes 120 in a minute: more than that wait for nothing."""


def problem_of(error: Exception) -> tuple[CommandProblem, str, float | None]:
    """An error as a worker is told of it: what, its text, and the seconds after which to ask again."""
    for kind, what in _PROBLEMS:
        if isinstance(error, kind):
            return what, str(error), error.retry_after if isinstance(error, RateLimited) else None
    return "failed", str(error), None


_PROBLEMS: Final[tuple[tuple[type[Exception], CommandProblem], ...]] = (
    (RateLimited, "rate limited"),
    (NotConnected, "not connected"),
    (RequestTimeout, "timeout"),
    (CommandTooLarge, "too large"),
    (CommandError, "bad request"),
    (TypeError, "bad request"),
)


class CommandServer:
    """Answers the commands of one shard."""

    def __init__(
        self, broker: Broker, app: str, total: int, shard_id: int, commands: Commands, shard: _core.Shard
    ) -> None:
        """``commands`` are those of ``shard``, which has this id and total."""
        self._broker: Final = broker
        self._subject: Final = command_subject(app, total, shard_id)
        self._commands: Final = commands
        self._shard: Final = shard
        self._questions: Questions | None = None
        self._task: asyncio.Task[None] | None = None
        self._under_way: Final[set[asyncio.Task[None]]] = set()

    def start(self) -> None:
        """Answer from now on, as soon as the broker takes it."""
        self._task = spawn(self._run(), "propylon commands")

    def stop(self) -> None:
        """Answer no more: who asks hears that nobody has the shard. Those that are under way are told so, too."""
        if self._task is not None:
            self._task.cancel()
        if self._questions is not None:
            self._questions.stop()
        for task in self._under_way:
            task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                self._questions = await self._broker.serve(self._subject)
                while True:
                    self._take(await self._questions.next())
            except AWAY:
                await asyncio.sleep(Times().retry)

    def _take(self, asked: Asked) -> None:
        if len(self._under_way) >= _MOST:
            busy = CommandAnswer("rate limited", "too many commands of this shard are under way", 1.0)
            task = spawn(self._say(asked.reply, busy), "propylon command")
        else:
            task = spawn(self._answer(asked), "propylon command")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _say(self, subject: str, answer: CommandAnswer | Chunk) -> None:
        if not subject:
            return
        try:
            await self._broker.publish(subject, encode(answer))
        except AWAY as error:
            # Whoever asked hears of it by the end of the time.
            _log.debug("a command was not answered: %s", error)

    async def _answer(self, asked: Asked) -> None:
        command = read(Command, asked.data)
        try:
            if command is None:
                raise CommandError("this version of the host does not know the command; are host and worker as new?")
            data = await self._carry_out(command, asked.reply)
        except asyncio.CancelledError:
            gone = CommandAnswer("not connected", "the shard has gone to another host meanwhile; ask again")
            with contextlib.suppress(asyncio.CancelledError):
                await self._say(asked.reply, gone)
            raise
        except Exception as error:
            what, text, retry_after = problem_of(error)
            if what == "failed":
                _log.exception("a command failed")
            await self._say(asked.reply, CommandAnswer(what, text, retry_after))
            return
        if data is not _ANSWERED:
            await self._say(asked.reply, CommandAnswer(data=data))

    async def _carry_out(self, command: Command, reply: str) -> Any:
        match command.kind:
            case "send":
                await self._commands.send(command.op, command.data)
                return None
            case "presence":
                self._show(_dict_of(command.data))
                return None
            case "voice":
                return await self._voice(_dict_of(command.data), command.timeout)
            case "request_members":
                request = self._request(_dict_of(command.data), command.timeout)
                # Taken, so that what it does not do is told here and not as its last chunk.
                await self._say(reply, CommandAnswer())
                await self._chunks(request, command.inbox)
                return _ANSWERED

    def _show(self, presence: dict[str, Any]) -> None:
        data = json_of(presence)
        payload_of(3, data)
        # Under a number that nobody waits for: the engine keeps the last one, and sends it as soon as it may.
        if not self._shard.set_presence(0, data):
            raise NotConnected("the shard is not connected")

    async def _voice(self, data: dict[str, Any], timeout: float | None) -> Any:
        server = await self._commands.update_voice_state(
            data.get("guild_id", 0),
            data.get("channel_id"),
            self_mute=data.get("self_mute", False),
            self_deaf=data.get("self_deaf", False),
            timeout=timeout,
        )
        if server is None:
            return None
        return {
            "session_id": server.session_id,
            "token": server.token,
            "endpoint": server.endpoint,
            "guild_id": str(server.guild_id),
        }

    def _request(self, data: dict[str, Any], timeout: float | None) -> MembersRequest:
        # The worker has worked the defaults out: an empty query asks for all members, by whatever limit it names.
        return self._commands.request_members(
            data.get("guild_id", 0),
            user_ids=data.get("user_ids"),
            query=None if "user_ids" in data else data.get("query"),
            limit=data.get("limit"),
            presences=data.get("presences", False),
            nonce=data.get("nonce"),
            timeout=timeout,
        )

    async def _chunks(self, request: MembersRequest, inbox: str) -> None:
        try:
            async for chunk in request:
                await self._say(inbox, Chunk(msgspec.Raw(msgspec.json.encode(chunk))))
        except asyncio.CancelledError:
            gone = Chunk(
                end=True, error="not connected", text="the shard has gone to another host meanwhile; ask again"
            )
            with contextlib.suppress(asyncio.CancelledError):
                await self._say(inbox, gone)
            raise
        except Exception as error:
            what, text, retry_after = problem_of(error)
            await self._say(inbox, Chunk(end=True, error=what, text=text, retry_after=retry_after))
        else:
            await self._say(inbox, Chunk(end=True))


_ANSWERED: Final = object()


def _dict_of(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise CommandError("the data of this command must be an object")
    return cast("dict[str, Any]", data)
