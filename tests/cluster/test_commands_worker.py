"""Commands of a worker: to the host that has the shard, and back; over a broker in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from cluster.memory import MemoryBroker, MemoryServer
from propylon import (
    CommandError,
    CommandTooLarge,
    MembersRequest,
    NotConnected,
    OnlineStatus,
    Presence,
    RateLimited,
    RequestTimeout,
)
from propylon.cluster import NoOwner
from propylon.cluster._broker import Questions
from propylon.cluster._commands_worker import WorkerCommands
from propylon.cluster._keys import Chunk, Command, CommandAnswer, command_subject, encode, read

pytestmark = pytest.mark.asyncio

TOTAL = 4
GUILD = (TOTAL * 1_000 + 3) << 22
"""Of shard 3."""


class Host:
    """Answers the commands of shards as it is told."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.asked: list[tuple[int, Command]] = []
        self.answer: Callable[[Command], CommandAnswer | None] = lambda _: CommandAnswer()
        self.chunks: list[Chunk] = []
        self.services: list[Questions] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def serve(self, *shard_ids: int) -> None:
        for shard_id in shard_ids:
            questions = await self.broker.serve(command_subject("app", TOTAL, shard_id))
            self.services.append(questions)
            self.tasks.append(asyncio.ensure_future(self.run(shard_id, questions)))

    async def run(self, shard_id: int, questions: Questions) -> None:
        while True:
            asked = await questions.next()
            command = read(Command, asked.data)
            assert command is not None
            self.asked.append((shard_id, command))
            answer = self.answer(command)
            if answer is None:
                continue
            await self.broker.publish(asked.reply, encode(answer))
            for chunk in self.chunks if command.inbox else ():
                await self.broker.publish(command.inbox, encode(chunk))


class World:
    def __init__(self) -> None:
        self.server = MemoryServer(timeout=0.1)
        self.host = Host(self.server.client("host"))
        self.broker: MemoryBroker | None = self.server.client("worker")
        self.total: int | None = TOTAL

        def broker() -> MemoryBroker:
            if self.broker is None:
                raise NotConnected("the worker is not open; open it first")
            return self.broker

        def total() -> int:
            if self.total is None:
                raise NotConnected("no gateway host has said yet how many shards there are")
            return self.total

        self.commands = WorkerCommands("app", broker=broker, total=total)

    def members(self, **options: Any) -> MembersRequest:
        asked: dict[str, Any] = {
            "user_ids": None,
            "query": "jo",
            "limit": 10,
            "presences": False,
            "nonce": None,
            "timeout": 10,
            **options,
        }
        return self.commands.request_members(GUILD, **asked)

    async def voice(self, channel_id: int | None, timeout: float | None = 10) -> Any:
        return await self.commands.update_voice_state(
            GUILD, channel_id, self_mute=True, self_deaf=False, timeout=timeout
        )


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    one = World()
    await one.host.serve(*range(TOTAL))
    yield one
    for task in one.host.tasks:
        task.cancel()


def chunk(index: int, count: int, *user_ids: int, **fields: Any) -> Chunk:
    members = [
        {
            "user": {"id": str(user_id), "username": "jo", "discriminator": "0", "avatar": None, "global_name": None},
            "roles": [],
            "joined_at": "2026-01-02T03:04:05.678000+00:00",
            "deaf": False,
            "mute": False,
            "flags": 0,
        }
        for user_id in user_ids
    ]
    data = {"guild_id": str(GUILD), "members": members, "chunk_index": index, "chunk_count": count, **fields}
    return Chunk(msgspec.Raw(msgspec.json.encode(data)))


async def test_a_payload_goes_to_its_shard(world: World) -> None:
    await world.commands.send(31, {"guild_ids": ["1"]}, 2)
    assert world.host.asked == [(2, Command("send", op=31, data={"guild_ids": ["1"]}))]


async def test_a_presence_goes_to_all_shards_or_to_one(world: World) -> None:
    await world.commands.set_presence(Presence(status=OnlineStatus.IDLE), None)
    assert sorted(shard_id for shard_id, _ in world.host.asked) == [0, 1, 2, 3]
    assert {command.kind for _, command in world.host.asked} == {"presence"}
    assert world.host.asked[0][1].data["status"] == "idle"
    world.host.asked.clear()
    await world.commands.set_presence(lambda shard_id: Presence(status=OnlineStatus.DND), 1)
    ((shard_id, command),) = world.host.asked
    assert (shard_id, command.data["status"]) == (1, "dnd")


async def test_a_shard_that_nobody_has_is_told_by_its_number(world: World) -> None:
    world.host.services[3].stop()
    with pytest.raises(NoOwner, match=r"shard 3 of 4 .* between two hosts") as raised:
        await world.members()
    assert raised.value.shard_id == 3
    with pytest.raises(NoOwner):
        await world.commands.send(3, {}, 3)


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (CommandAnswer("rate limited", "wait", 2.5), RateLimited, "wait"),
        (CommandAnswer("not connected"), NotConnected, "shard 0: not connected"),
        (CommandAnswer("bad request", "no opcode"), CommandError, "no opcode"),
        (CommandAnswer("too large", "5,000 bytes"), CommandTooLarge, "5,000 bytes"),
        (CommandAnswer("timeout", "no voice server"), RequestTimeout, "no voice server"),
        (CommandAnswer("failed", "oh"), CommandError, "oh"),
    ],
)
async def test_what_a_host_refuses_is_a_typed_error(
    world: World, answer: CommandAnswer, kind: type[CommandError], text: str
) -> None:
    world.host.answer = lambda _: answer
    with pytest.raises(kind, match=text) as raised:
        await world.commands.send(3, {}, 0)
    assert type(raised.value) is kind
    if isinstance(raised.value, RateLimited):
        assert raised.value.retry_after == 2.5


async def test_a_host_that_dies_before_it_answers_costs_the_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propylon.cluster._commands_worker._PATIENCE", 0.05)
    world.host.answer = lambda _: None
    with pytest.raises(RequestTimeout, match="whether it has sent the command is unknown"):
        await world.voice(7, timeout=0.01)


async def test_a_worker_that_is_not_open_says_so(world: World) -> None:
    world.total = None
    with pytest.raises(NotConnected, match="how many shards"):
        await world.commands.send(3, {}, 0)
    world.broker = None
    with pytest.raises(NotConnected, match="not open"):
        await world.commands.send(3, {}, 0)
    with pytest.raises(NotConnected, match="not open"):
        world.members()
    with pytest.raises(NotConnected, match="not open"):
        await world.commands.set_presence(Presence(), None)


@pytest.mark.parametrize(
    ("op", "data", "shard_id", "what"),
    [
        (2, {}, 0, "engine's"),
        (True, {}, 0, "opcode"),
        (3, float("nan"), 0, "JSON"),
        (3, {}, TOTAL, "shard_id"),
        (3, "x" * 5000, 0, "4,096|4096"),
    ],
)
async def test_what_cannot_be_sent_does_not_leave(world: World, op: int, data: Any, shard_id: int, what: str) -> None:
    with pytest.raises(CommandError, match=what):
        await world.commands.send(op, data, shard_id)
    assert world.host.asked == []


async def test_a_voice_server_comes_back(world: World) -> None:
    found = {"token": "secret", "guild_id": str(GUILD), "endpoint": "voice.invalid:443", "session_id": "s"}
    world.host.answer = lambda command: CommandAnswer(data=found if command.data["channel_id"] else None)
    server = await world.voice(7)
    assert (server.token, server.guild_id, server.endpoint, server.session_id) == (
        "secret",
        GUILD,
        "voice.invalid:443",
        "s",
    )
    assert world.host.asked[0][1].data == {
        "guild_id": str(GUILD),
        "channel_id": "7",
        "self_mute": True,
        "self_deaf": False,
    }
    assert await world.voice(None) is None
    world.host.answer = lambda _: CommandAnswer(data={"token": 1})
    with pytest.raises(CommandError, match="cannot be read"):
        await world.voice(7)


async def test_members_come_together(world: World) -> None:
    world.host.chunks = [chunk(0, 2, 1, 2), chunk(1, 2, 3, not_found=["9"]), Chunk(end=True)]
    members = await world.members()
    assert [member.user.id for member in members if member.user] == [1, 2, 3]
    assert members.not_found == (9,)
    ((shard_id, command),) = world.host.asked
    assert shard_id == 3
    assert command.data == {
        "guild_id": str(GUILD),
        "query": "jo",
        "limit": 10,
        "nonce": command.data["nonce"],
    }
    assert command.timeout == 10


async def test_members_come_chunk_by_chunk_and_the_inbox_is_given_back(world: World) -> None:
    world.host.chunks = [chunk(0, 3, 1), chunk(1, 3, 2), chunk(2, 3, 3), Chunk(end=True)]
    request = world.members(nonce="mine")
    assert request.nonce == "mine"
    seen = [each.chunk_index async for each in request]
    assert seen == [0, 1, 2]
    assert len(world.server.services) == TOTAL


async def test_what_ends_a_request_early_is_its_error(world: World) -> None:
    world.host.chunks = [
        chunk(0, 2, 1),
        Chunk(end=True, error="rate limited", text="Discord limits", retry_after=7.0),
    ]
    with pytest.raises(RateLimited, match="Discord limits") as raised:
        await world.members()
    assert raised.value.retry_after == 7
    world.host.chunks = [chunk(0, 2, 1), Chunk(end=True)]
    with pytest.raises(NotConnected, match="1 of 2"):
        await world.members()
    world.host.chunks = []
    with pytest.raises(RequestTimeout, match="no further chunk"):
        await world.members(timeout=0.05)
    world.host.chunks = [Chunk(msgspec.Raw(b"[]"))]
    with pytest.raises(Exception, match="GUILD_MEMBERS_CHUNK"):
        await world.members()
    assert len(world.server.services) == TOTAL


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"limit": 101}, "limit"),
        ({"user_ids": [1]}, "exclude each other"),
        ({"query": 7}, "query"),
        ({"presences": 1}, "presences"),
        ({"nonce": "x" * 33}, "nonce"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "1"}, "timeout"),
    ],
)
async def test_arguments_are_checked_where_they_are_given(world: World, options: dict[str, Any], what: str) -> None:
    with pytest.raises(CommandError, match=what):
        world.members(**options)
