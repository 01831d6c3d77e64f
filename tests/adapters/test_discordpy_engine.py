"""What only the engine gives a discord.py bot: blocked loops, restarts, events left out, the admin server."""

import asyncio
import errno
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from propylon import FileSessionStore, field
from propylon.testing import steps

from . import payloads
from .discordpy_bot import DiscordWebSocket, Running, aiohttp, commands, discord, install, running, until
from .waiting import saved

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("time_of_three", [1, 2, 3])
async def test_a_blocked_loop_costs_no_connection(time_of_three: int) -> None:
    """The fast variant of 10 s at a beat of 2 s: 4 s at 1 s. A heartbeat in the loop would send none in the block."""
    async with running("adapted", simulator={"heartbeat_interval": 1.0}) as bot:
        before = bot.simulator.fleet()["beats"]
        time.sleep(4.0)  # noqa: ASYNC251
        after = bot.simulator.fleet()["beats"]
        channel = bot.guild.text_channels[0].id
        await bot.tell("MESSAGE_CREATE", payloads.message(1, channel, bot.guild.id, "awake"))
        await bot.come("message")
        assert bot.names("disconnect", "resumed") == []
        assert after - before >= 2
        assert bot.simulator.fleet()["connections"]["upgraded"] == 1


async def test_a_restart_resumes_with_its_guilds(tmp_path: Path) -> None:
    store = FileSessionStore(tmp_path / "sessions.json")
    async with running("adapted", install={"sessions": store}) as bot:
        guild = bot.guild.id
        channel = bot.guild.text_channels[0].id
        await bot.tell("CHANNEL_CREATE", payloads.text_channel(555, guild, "one"))
        await bot.tell("CHANNEL_UPDATE", payloads.text_channel(555, guild, "two"))
        await bot.tell("CHANNEL_DELETE", payloads.text_channel(channel, guild, "gone"))
        await bot.tell("GUILD_MEMBER_ADD", {**payloads.member(4242), "guild_id": str(guild)})
        await bot.tell("GUILD_CREATE", payloads.guild(987654321000000000, "new"))
        await bot.come("guild_join")
        await bot.client.close()
        assert (await bot.ended()) is None
        assert all(path.stat().st_mode & 0o77 == 0 for path in tmp_path.iterdir() if "lock" not in path.name)
        await bot.tell("MESSAGE_CREATE", payloads.message(1, 555, guild, "missed", author=4242))

        async with bot.again(install={"sessions": store}) as second:
            await second.come("message")
            await second.come("ready")
            await second.come("resumed")
            assert len(bot.commands_of(2)) == 1
            assert len(bot.commands_of(6)) == 1
            (message,) = second.of("message")[0]
            assert message.content == "missed"
            assert message.channel.name == "two"
            assert message.author.guild.id == guild
            assert isinstance(message.author, discord.Member)
            assert second.client.get_guild(guild).get_channel(channel) is None
            assert len(second.client.guilds) == 3
            assert second.names("connect", "ready") == ["connect", "ready"]
            assert len(second.of("guild_available")) == 3
            assert second.client.get_guild(guild).member_count == 6


async def test_a_restart_without_what_the_cache_held_identifies(tmp_path: Path) -> None:
    """A resumed bot that knows no guilds would be worse than a new session."""
    store = FileSessionStore(tmp_path / "sessions.json")
    async with running("adapted", install={"sessions": store}) as bot:
        await bot.client.close()
        for path in tmp_path.glob("sessions.json.*"):
            path.unlink()
        async with bot.again(install={"sessions": store}) as second:
            await second.come("ready")
            assert len(second.client.guilds) == 2
            assert second.names("resumed") == []
            assert len(bot.commands_of(2)) == 2


async def test_a_restart_resumes_every_shard(tmp_path: Path) -> None:
    store = FileSessionStore(tmp_path / "sessions.json")
    sharded = {"guilds": 8, "members": 3, "shards": 2, "max_concurrency": 2}
    options = {"sessions": store}
    async with running("adapted", discord.AutoShardedClient, simulator=sharded, install=options) as bot:
        await bot.client.close()
        async with bot.again(install=options) as second:
            await second.come("ready")
            await second.come("resumed", 2)
            assert {shard for (shard,) in second.of("shard_ready")} == {0, 1}
            assert len(second.client.guilds) == 8
            assert len(bot.commands_of(2)) == 2


async def test_a_newcomer_takes_the_session_over_and_the_old_bot_closes(tmp_path: Path) -> None:
    store = FileSessionStore(tmp_path / "sessions.json")
    async with running("adapted", install={"sessions": store}) as bot:
        await saved(tmp_path / "sessions.json", bot.simulator)
        async with bot.again(install={"sessions": store}) as second:
            await second.come("ready")
            assert await bot.ended() is None
            assert bot.client.is_closed()
            await bot.tell("MESSAGE_CREATE", payloads.message(1, 5, second.guild.id, "mine"))
            assert (await second.come("message")).content == "mine"
            assert len(bot.commands_of(2)) == 1


async def test_sessions_want_a_place_for_the_cache(tmp_path: Path) -> None:
    class Elsewhere:
        async def load(self, key: str) -> None: ...
        async def save(self, key: str, session: object) -> None: ...
        async def delete(self, key: str) -> None: ...

    client = discord.Client(intents=discord.Intents.default())
    with pytest.raises(ValueError, match="cache='a folder'"):
        install(client, sessions=Elsewhere())
    assert install(client, sessions=Elsewhere(), cache=tmp_path)


async def test_what_nobody_wants_never_reaches_python() -> None:
    async with running(
        "adapted", max_messages=None, member_cache_flags=discord.MemberCacheFlags.none(), chunk_guilds_at_startup=False
    ) as bot:
        assert bot.engine is not None
        channel, guild = bot.guild.text_channels[0].id, bot.guild.id
        typing = {"channel_id": str(channel), "user_id": "77", "guild_id": str(guild), "timestamp": 1}
        presence = {
            "user": {"id": "77"},
            "guild_id": str(guild),
            "status": "dnd",
            "activities": [],
            "client_status": {},
        }
        await bot.tell("TYPING_START", typing)
        await bot.tell("PRESENCE_UPDATE", presence)
        await bot.tell("MESSAGE_REACTION_ADD", payloads.reaction(1, channel, guild, 77))
        await bot.tell("MESSAGE_CREATE", payloads.message(1, channel, guild, "heard"))
        await bot.come("message")
        unheard = bot.engine.metrics().unheard_by_type
        assert unheard == {"TYPING_START": 1, "PRESENCE_UPDATE": 1, "MESSAGE_REACTION_ADD": 1}
        # From now on somebody listens.
        bot.note("raw_typing", "raw_reaction_add")
        await bot.tell("TYPING_START", typing)
        await bot.tell("MESSAGE_REACTION_ADD", payloads.reaction(1, channel, guild, 77))
        await bot.come("raw_typing")
        await bot.come("raw_reaction_add")


async def test_with_a_cache_of_members_presences_reach_python() -> None:
    async with running("adapted") as bot:
        assert bot.engine is not None
        presence = {"user": {"id": "77"}, "guild_id": str(bot.guild.id), "status": "dnd", "activities": []}
        await bot.tell("PRESENCE_UPDATE", {**presence, "client_status": {}})
        await until(lambda: bot.engine.metrics().delivered_by_type.get("PRESENCE_UPDATE") == 1)


async def test_a_filter_leaves_out_in_the_engine() -> None:
    where = {"MESSAGE_CREATE": field("content") != "noise"}
    async with running("adapted", install={"where": where}) as bot:
        assert bot.engine is not None
        channel, guild = bot.guild.text_channels[0].id, bot.guild.id
        for text in ("noise", "noise", "signal"):
            await bot.tell("MESSAGE_CREATE", payloads.message(1, channel, guild, text))
        assert (await bot.come("message")).content == "signal"
        assert bot.engine.metrics().filtered == 2


async def test_chunks_that_are_rate_limited_come_later() -> None:
    """discord.py alone waits for ever."""
    simulator = {"guilds": 1, "members": 60, "guild_create_members": 20, "member_request_interval": 1.5}
    async with running("adapted", simulator=simulator, chunk_guilds_at_startup=False) as bot:
        await asyncio.wait_for(bot.guild.chunk(), 5)
        # Now chunked, it asks again as a bot that wants fresh ones does.
        request = bot.client._connection.chunk_guild(bot.guild, cache=True)
        members = await asyncio.wait_for(request, 10)
        assert len(members) == 60
        assert len(bot.commands_of(8)) == 3


async def test_the_admin_server_is_there_while_the_bot_is() -> None:
    async with running("adapted", install={"admin": "127.0.0.1:0"}) as bot:
        assert bot.engine is not None
        assert bot.engine.admin_address is not None
        host, port = bot.engine.admin_address
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{host}:{port}/readyz") as answer:
                assert answer.status == 200
            async with session.get(f"http://{host}:{port}/metrics") as answer:
                assert "propylon" in await answer.text()
        await bot.client.close()
        await bot.ended()
        assert bot.engine.admin_address is None


async def test_an_admin_address_that_is_taken_ends_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with running("adapted", install={"admin": address}, start=False) as bot:
            await bot.start()
            error = await bot.ended()
            assert isinstance(error, OSError)
            assert error.errno == errno.EADDRINUSE


async def test_another_client_of_the_process_is_left_as_it_is() -> None:
    async with running("adapted") as bot:
        patch = pytest.MonkeyPatch()
        patch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", __import__("yarl").URL(bot.simulator.url))
        other = discord.Client(intents=discord.Intents.default(), guild_ready_timeout=0.1)
        try:
            await other._async_setup_hook()
            task = asyncio.create_task(other.start("other.token.here"))
            await asyncio.wait_for(other.wait_until_ready(), 10)
            assert type(other.ws) is DiscordWebSocket
            assert type(bot.client.ws) is not DiscordWebSocket
            assert isinstance(bot.client.ws, DiscordWebSocket)
        finally:
            await other.close()
            await task
            patch.undo()


async def test_a_parser_that_fails_costs_one_event() -> None:
    async with running("adapted") as bot:
        assert bot.engine is not None
        await bot.tell("MESSAGE_CREATE", {"id": "1"})
        await bot.tell("MESSAGE_CREATE", payloads.message(2, bot.guild.text_channels[0].id, bot.guild.id, "next"))
        assert (await bot.come("message")).content == "next"
        assert bot.engine.metrics().listener_errors == 1


async def test_a_hook_that_fails_ends_the_bot() -> None:
    def before(bot: Running) -> None:
        async def hook(shard_id: int | None, *, initial: bool) -> None:
            raise LookupError("of the test")

        bot.client.before_identify_hook = hook

    async with running("adapted", start=False) as bot:
        before(bot)
        await bot.start()
        assert isinstance(await bot.ended(), LookupError)


async def test_discordpys_own_hook_is_not_waited_for() -> None:
    """It sleeps 5 s for each IDENTIFY but the first; the engine's gate knows when one may leave."""
    sharded = {"guilds": 8, "members": 3, "shards": 4, "max_concurrency": 4}
    async with running("adapted", commands.AutoShardedBot, simulator=sharded, start=False) as bot:
        del bot.client.before_identify_hook
        began = time.monotonic()
        await bot.start()
        await bot.come("ready")
        assert time.monotonic() - began < 4


async def test_what_install_refuses() -> None:
    client = discord.Client(intents=discord.Intents.default())
    with pytest.raises(TypeError, match="takes a discord"):
        install("client")
    with pytest.raises(TypeError, match="no option colour"):
        install(client, colour="red")
    with pytest.raises(ValueError, match="wake_interval"):
        install(client, wake_interval=-1)
    with pytest.raises(TypeError, match="filter for each event"):
        install(client, where={"MESSAGE_CREATE": lambda message: True})
    with pytest.raises(ValueError, match="knows no guilds"):
        install(client, where={"READY": field("v") == 10})
    assert repr(install(client)) == "<Engine of Client with 0 shards>"
    with pytest.raises(RuntimeError, match="once"):
        install(client)


async def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    client = discord.Client(intents=discord.Intents.default())
    monkeypatch.setattr(metadata, "version", lambda _: "2.8.1")
    with pytest.raises(RuntimeError, match=r"for discord\.py 2\.7, and 2\.8\.1 is installed"):
        install(client)


async def test_a_patched_websocket_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async def identify(self: Any) -> None: ...

    monkeypatch.setattr(DiscordWebSocket, "identify", identify)
    client = discord.Client(intents=discord.Intents.default())
    with pytest.warns(UserWarning, match="identify_properties"):
        install(client)


async def test_a_beat_that_is_not_acknowledged_is_noticed_by_the_engine() -> None:
    # Once: with a short interval a busy machine loses a connection by itself.
    async with running("adapted", simulator={"heartbeat_interval": 2.0}) as bot:
        bot.simulator.act(steps.stop_acking())
        bot.simulator.act(steps.request_heartbeats())
        await bot.come("resumed")
        assert bot.names("disconnect", "resumed") == ["disconnect", "resumed"]


async def test_a_bot_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    """SIGKILL: nothing was said or saved at the end, and the cache is as far as the mark in the store."""
    store = tmp_path / "sessions.json"
    async with running("adapted", start=False) as bot:
        script = Path(__file__).with_name("killed_bot.py")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), bot.api.url, str(store), bot.token, stdout=-1, env=environment
        )
        assert process.stdout is not None
        try:
            await bot.simulator.wait_for("ready", timeout=20)
            guild = 671_088_640_000_000_000
            await bot.tell("CHANNEL_CREATE", payloads.text_channel(555, guild, "one"))
            await bot.tell("MESSAGE_CREATE", payloads.message(1, 555, guild, "before"))
            assert (await asyncio.wait_for(process.stdout.readline(), 20)).strip() == b"before"
            await saved(store, bot.simulator)
        finally:
            process.kill()
            await process.wait()
        await bot.tell("MESSAGE_CREATE", payloads.message(2, 555, guild, "missed"))
        async with bot.again(install={"sessions": FileSessionStore(store)}) as second:
            message = await second.come("message")
            await second.come("resumed")
            assert message.content == "missed"
            assert message.channel.name == "one"
            assert len(bot.commands_of(2)) == 1
