"""What only the engine gives a hikari bot: blocked loops, restarts, events left out, the admin server."""

import asyncio
import errno
import socket
import time
from pathlib import Path

import pytest

from propylon import FileSessionStore, field
from propylon.testing import steps

from . import payloads
from .hikari_bot import hikari, install, running, until
from .waiting import saved

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("time_of_three", [1, 2, 3])
async def test_a_blocked_loop_costs_no_connection(time_of_three: int) -> None:
    """The fast variant of 10 s at a beat of 2 s: 4 s at 1 s. A heartbeat in the loop would send none in the block."""
    async with running("adapted", simulator={"heartbeat_interval": 1.0}) as bot:
        before = bot.simulator.fleet()["beats"]
        time.sleep(4.0)  # noqa: ASYNC251
        after = bot.simulator.fleet()["beats"]
        bot.tell("MESSAGE_CREATE", payloads.message(1, bot.channel.id, bot.guild.id, "awake"))
        await bot.come(hikari.MessageCreateEvent)
        assert bot.names(hikari.ShardDisconnectedEvent) == []
        assert after - before >= 2
        assert bot.simulator.fleet()["connections"]["upgraded"] == 1


async def test_a_restart_resumes_with_its_guilds(tmp_path: Path) -> None:
    store = FileSessionStore(tmp_path / "sessions.json")
    async with running("adapted", install={"sessions": store}) as bot:
        guild, channel = bot.guild.id, bot.channel.id
        bot.tell("CHANNEL_CREATE", payloads.text_channel(555, guild, "one"))
        bot.tell("CHANNEL_UPDATE", payloads.text_channel(555, guild, "two"))
        bot.tell("CHANNEL_DELETE", payloads.text_channel(channel, guild, "gone"))
        bot.tell("GUILD_MEMBER_ADD", {**payloads.member(4242), "guild_id": str(guild)})
        bot.tell("GUILD_CREATE", payloads.guild(987654321000000000, "new", me=503316480000000001))
        await bot.come(hikari.GuildJoinEvent)
        await bot.close()
        bot.tell("MESSAGE_CREATE", payloads.message(1, 555, guild, "missed", author=4242))

        async with bot.again(install={"sessions": store}) as second:
            await second.start()
            message = await second.come(hikari.GuildMessageCreateEvent)
            await second.come(hikari.ShardResumedEvent)
            assert len(bot.commands_of(2)) == 1
            assert len(bot.commands_of(6)) == 1
            assert message.content == "missed"
            assert message.get_channel().name == "two"
            cache = second.bot.cache
            assert cache.get_member(guild, 4242) is not None
            assert cache.get_guild_channel(channel) is None
            assert len(cache.get_guilds_view()) == 3
            assert second.names(hikari.ShardReadyEvent, hikari.ShardConnectedEvent) == [
                "ShardReadyEvent",
                "ShardConnectedEvent",
            ]
            assert second.bot.shards[0].get_user_id() == 503316480000000001


async def test_a_restart_chunks_as_any_start_does(tmp_path: Path) -> None:
    store = FileSessionStore(tmp_path / "sessions.json")
    simulator = {"guilds": 1, "members": 300, "guild_create_members": 20, "member_request_interval": 0.0}
    async with running("adapted", install={"sessions": store}, simulator=simulator) as bot:
        await until(lambda: len(bot.bot.cache.get_members_view_for_guild(bot.guild.id)) == 300)
        await bot.close()
        async with bot.again(install={"sessions": store}) as second:
            await second.start()
            await until(lambda: len(second.bot.cache.get_members_view_for_guild(second.guild.id)) == 300)
            assert len(bot.commands_of(2)) == 1


async def test_a_restart_without_what_the_cache_held_identifies(tmp_path: Path) -> None:
    store = FileSessionStore(tmp_path / "sessions.json")
    async with running("adapted", install={"sessions": store}) as bot:
        await bot.close()
        for path in tmp_path.glob("sessions.json.*"):
            path.unlink()
        async with bot.again(install={"sessions": store}) as second:
            await second.start()
            await until(lambda: len(second.bot.cache.get_guilds_view()) == 2)
            assert len(bot.commands_of(2)) == 2


async def test_a_newcomer_takes_the_session_over_and_the_old_bot_ends(tmp_path: Path) -> None:
    store = FileSessionStore(tmp_path / "sessions.json")
    async with running("adapted", install={"sessions": store}) as bot:
        joining = asyncio.create_task(bot.bot.join())
        await saved(tmp_path / "sessions.json", bot.simulator)
        async with bot.again(install={"sessions": store}) as second:
            await second.start()
            await asyncio.wait_for(joining, 10)
            await bot.close()
            second.tell("MESSAGE_CREATE", payloads.message(1, second.channel.id, second.guild.id, "mine"))
            assert (await second.come(hikari.MessageCreateEvent)).content == "mine"
            assert len(bot.commands_of(2)) == 1


async def test_shards_are_not_started_in_windows_of_five_seconds() -> None:
    """hikari waits 5 s after each ``max_concurrency`` shards; the engine's gate knows when one may leave."""
    simulator = {"guilds": 8, "members": 3, "shards": 4, "max_concurrency": 1, "identify_interval": 0.3}
    async with running("adapted", start=False, simulator=simulator) as bot:
        began = time.monotonic()
        await bot.start()
        assert time.monotonic() - began < 4
        assert sorted(bot.bot.shards) == [0, 1, 2, 3]
        assert bot.simulator.fleet()["early_identifies"]["count"] == 0
        info = await bot.bot.rest.fetch_gateway_bot_info()
        assert info.session_start_limit.max_concurrency == 1


async def test_what_nobody_wants_never_reaches_python() -> None:
    settings = hikari.impl.CacheSettings(components=hikari.api.CacheComponents.NONE)
    async with running("adapted", start=False, cache_settings=settings, auto_chunk_members=False) as bot:
        await bot.start()
        await bot.come(hikari.GuildAvailableEvent, 2)
        assert bot.engine is not None
        typing = {"channel_id": "5", "guild_id": "6", "user_id": "7", "timestamp": 1, "member": payloads.member(7)}
        presence = {"user": {"id": "7"}, "guild_id": "6", "status": "dnd", "activities": [], "client_status": {}}
        bot.tell("TYPING_START", typing)
        bot.tell("PRESENCE_UPDATE", presence)
        bot.tell("MESSAGE_CREATE", payloads.message(1, 5, 6, "heard"))
        await bot.come(hikari.MessageCreateEvent)
        assert bot.engine.metrics().unheard_by_type == {"TYPING_START": 1, "PRESENCE_UPDATE": 1}
        # From now on somebody listens.
        bot.note(hikari.GuildTypingEvent)
        bot.tell("TYPING_START", typing)
        await bot.come(hikari.GuildTypingEvent)


async def test_a_filter_leaves_out_in_the_engine() -> None:
    where = {"MESSAGE_CREATE": field("content") != "noise"}
    async with running("adapted", install={"where": where}) as bot:
        assert bot.engine is not None
        for text in ("noise", "noise", "signal"):
            bot.tell("MESSAGE_CREATE", payloads.message(1, bot.channel.id, bot.guild.id, text))
        assert (await bot.come(hikari.MessageCreateEvent)).content == "signal"
        assert bot.engine.metrics().filtered == 2


async def test_the_admin_server_is_there_while_the_bot_is() -> None:
    async with running("adapted", install={"admin": "127.0.0.1:0"}) as bot:
        assert bot.engine is not None
        assert bot.engine.admin_address is not None
        reader, writer = await asyncio.open_connection(*bot.engine.admin_address)
        writer.write(b"GET /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        assert b" 200 " in await reader.readline()
        writer.close()
        await bot.close()
        assert bot.engine.admin_address is None


async def test_an_admin_address_that_is_taken_ends_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with running("adapted", install={"admin": address}, start=False) as bot:
            with pytest.raises(OSError, match=address.partition(":")[2]) as raised:
                await bot.start()
            assert raised.value.errno == errno.EADDRINUSE
            assert not bot.bot.is_alive


async def test_another_bot_of_the_process_is_left_as_it_is() -> None:
    async with running("adapted") as bot:
        other = hikari.GatewayBot(
            "NTAzMzE2NDgwMDAwMDAwMDAx.other.bot",
            banner=None,
            logs=None,
            suppress_optimization_warning=True,
            rest_url=bot.api.url,
        )
        await other.start(check_for_updates=False)
        try:
            assert type(other) is hikari.GatewayBot
            assert type(other.shards[0]) is hikari.impl.GatewayShardImpl
            assert isinstance(bot.bot, hikari.GatewayBot)
            assert isinstance(bot.bot.shards[0], hikari.impl.GatewayShardImpl)
        finally:
            await other.close()


async def test_a_beat_that_is_not_acknowledged_is_noticed_by_the_engine() -> None:
    # Once: with a short interval a busy machine loses a connection by itself.
    async with running("adapted", simulator={"heartbeat_interval": 2.0}) as bot:
        bot.simulator.act(steps.stop_acking())
        bot.simulator.act(steps.request_heartbeats())
        await bot.come(hikari.ShardResumedEvent)
        assert bot.names(hikari.ShardDisconnectedEvent) == ["ShardDisconnectedEvent"]


def _bot(**options: object) -> object:
    token = "NTAzMzE2NDgwMDAwMDAwMDAx.a.b"
    return hikari.GatewayBot(token, banner=None, logs=None, suppress_optimization_warning=True, **options)


async def test_what_install_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    bot = _bot()
    with pytest.raises(TypeError, match="GatewayBot"):
        install("bot")
    with pytest.raises(TypeError, match="no option colour"):
        install(bot, colour="red")
    with pytest.raises(ValueError, match="knows no guilds"):
        install(bot, where={"GUILD_CREATE": field("id") == 10})
    with pytest.raises(ValueError, match="capabilities"):
        install(_bot(capabilities=hikari.GatewayCapabilities.CHANNEL_OBFUSCATION))
    assert repr(install(bot)) == "<Engine of GatewayBot with 0 shards>"
    with pytest.raises(RuntimeError, match="once"):
        install(bot)
    monkeypatch.setattr(metadata, "version", lambda _: "2.8.0")
    with pytest.raises(RuntimeError, match=r"for hikari 2\.7, and 2\.8\.0 is installed"):
        install(_bot())
