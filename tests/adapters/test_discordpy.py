"""What a discord.py bot may expect of its gateway: each passes as discord.py comes, and with the engine under it.

Over 500 lines because it is one list, to be read beside the other library's.
"""

import asyncio
import socket
from typing import Any

import pytest

from propylon.testing import steps

from . import payloads
from .discordpy_bot import Running, aiohttp, commands, discord, running, until

pytestmark = pytest.mark.asyncio

BOTH = pytest.mark.parametrize("mode", ["stock", "adapted"])


# ------------------------------------------------------------------ beginning


@BOTH
async def test_connect_comes_before_the_guilds_and_these_before_ready(mode: str) -> None:
    async with running(mode) as bot:
        assert bot.names() == ["connect", "guild_available", "guild_available", "ready"]
        assert bot.client.is_ready()
        assert bot.hooked == [(None, True)]


@BOTH
async def test_the_cache_knows_user_guilds_channels_and_members(mode: str) -> None:
    async with running(mode) as bot:
        assert bot.client.user.id == 503316480000000001
        assert bot.client.application_id == 503316480000000001
        assert len(bot.client.guilds) == 2
        assert len(bot.guild.text_channels) > 1
        assert len(bot.guild.members) == bot.guild.member_count == 5
        assert bot.client.get_channel(bot.guild.text_channels[0].id) is bot.guild.text_channels[0]


@BOTH
async def test_wait_until_ready_returns(mode: str) -> None:
    async with running(mode, start=False) as bot:
        await bot.start()
        await asyncio.wait_for(bot.client.wait_until_ready(), 10)
        assert bot.client.guilds


@BOTH
async def test_identify_says_who_and_shows_the_first_presence(mode: str) -> None:
    game = discord.Game("with otters")
    async with running(mode, activity=game, status=discord.Status.dnd) as bot:
        (identify,) = bot.commands_of(2)
        assert identify["intents"] == discord.Intents.all().value
        assert identify["large_threshold"] == 250
        assert identify["properties"] == {"os": "linux", "browser": "discord.py", "device": "discord.py"}
        assert identify["presence"]["status"] == "dnd"
        assert "shard" not in identify


# ------------------------------------------------------------------ events


@BOTH
async def test_messages_come_in_their_order(mode: str) -> None:
    async with running(mode) as bot:
        channel = bot.guild.text_channels[0]
        for number in range(300):
            data = payloads.message(1000 + number, channel.id, bot.guild.id, str(number))
            bot.simulator.dispatch("MESSAGE_CREATE", data)
        await bot.come("message", 300)
        assert [message.content for (message,) in bot.of("message")] == [str(number) for number in range(300)]
        assert bot.of("message")[0][0].channel is channel
        assert len(bot.client.cached_messages) == 300


@BOTH
async def test_a_message_is_edited_and_deleted(mode: str) -> None:
    async with running(mode) as bot:
        bot.note("message_edit", "raw_message_edit", "message_delete", "raw_message_delete")
        channel, guild = bot.guild.text_channels[0].id, bot.guild.id
        await bot.tell("MESSAGE_CREATE", payloads.message(1, channel, guild, "before"))
        await bot.tell("MESSAGE_UPDATE", payloads.message(1, channel, guild, "after"))
        await bot.tell("MESSAGE_DELETE", {"id": "1", "channel_id": str(channel), "guild_id": str(guild)})
        await bot.come("message_delete")
        before, after = bot.of("message_edit")[0]
        assert (before.content, after.content) == ("before", "after")
        kinds = "raw_message_edit", "message_edit", "raw_message_delete", "message_delete"
        assert bot.names(*kinds) == list(kinds)


@BOTH
async def test_reactions_come_raw_and_on_cached_messages(mode: str) -> None:
    async with running(mode) as bot:
        bot.note("reaction_add", "raw_reaction_add", "reaction_remove", "raw_reaction_remove")
        channel, guild = bot.guild.text_channels[0].id, bot.guild.id
        by = bot.guild.members[0].id
        await bot.tell("MESSAGE_CREATE", payloads.message(1, channel, guild, "hello"))
        await bot.tell("MESSAGE_REACTION_ADD", payloads.reaction(1, channel, guild, by))
        await bot.tell("MESSAGE_REACTION_ADD", payloads.reaction(2, channel, guild, by))
        await bot.tell("MESSAGE_REACTION_REMOVE", payloads.reaction(1, channel, guild, by))
        await bot.come("reaction_remove")
        assert len(bot.of("raw_reaction_add")) == 2
        assert len(bot.of("reaction_add")) == 1


@BOTH
async def test_members_come_change_and_go(mode: str) -> None:
    async with running(mode) as bot:
        bot.note("member_join", "member_update", "member_remove")
        guild = bot.guild
        await bot.tell("GUILD_MEMBER_ADD", {**payloads.member(4242), "guild_id": str(guild.id)})
        await bot.tell("GUILD_MEMBER_UPDATE", {**payloads.member(4242, nick="ottilie"), "guild_id": str(guild.id)})
        joined = await bot.come("member_join")
        await bot.come("member_update")
        assert joined.id == 4242
        assert guild.get_member(4242).nick == "ottilie"
        await bot.tell("GUILD_MEMBER_REMOVE", {"user": payloads.user(4242), "guild_id": str(guild.id)})
        await bot.come("member_remove")
        assert guild.get_member(4242) is None


@BOTH
async def test_presences_reach_the_cache_and_listeners(mode: str) -> None:
    async with running(mode) as bot:
        bot.note("presence_update")
        member = bot.guild.members[0]
        status = "dnd" if member.status is not discord.Status.dnd else "idle"
        data = {
            "user": {"id": str(member.id)},
            "guild_id": str(bot.guild.id),
            "status": status,
            "activities": [{"name": "otters", "type": 3, "id": "1", "created_at": 1}],
            "client_status": {"desktop": status},
        }
        await bot.tell("PRESENCE_UPDATE", data)
        await bot.come("presence_update")
        assert str(bot.guild.get_member(member.id).status) == status
        assert bot.guild.get_member(member.id).activity.name == "otters"


@BOTH
async def test_presences_reach_the_cache_without_a_listener(mode: str) -> None:
    async with running(mode) as bot:
        member = bot.guild.members[0]
        status = "dnd" if member.status is not discord.Status.dnd else "idle"
        data = {"user": {"id": str(member.id)}, "guild_id": str(bot.guild.id), "status": status, "activities": []}
        await bot.tell("PRESENCE_UPDATE", {**data, "client_status": {"desktop": status}})
        await bot.alive(lambda: str(member.status) == status, "the status")


@BOTH
async def test_typing_is_heard_by_who_begins_to_wait_for_it(mode: str) -> None:
    async with running(mode) as bot:
        waiting = asyncio.create_task(bot.client.wait_for("typing", timeout=5))
        await asyncio.sleep(0)
        who, channel = bot.guild.members[0], bot.guild.text_channels[0]
        data = {"channel_id": str(channel.id), "user_id": str(who.id), "guild_id": str(bot.guild.id), "timestamp": 1}
        await bot.tell("TYPING_START", data)
        told_channel, told_user, _ = await waiting
        assert (told_channel, told_user) == (channel, who)


@BOTH
async def test_guilds_are_joined_and_left(mode: str) -> None:
    async with running(mode, chunk_guilds_at_startup=False) as bot:
        await bot.tell("GUILD_CREATE", payloads.guild(987654321000000000, "new"))
        guild = await bot.come("guild_join")
        assert guild.name == "new"
        assert len(bot.client.guilds) == 3
        await bot.tell("GUILD_DELETE", {"id": str(guild.id)})
        await bot.come("guild_remove")
        assert len(bot.client.guilds) == 2


@BOTH
async def test_a_guild_has_an_outage(mode: str) -> None:
    async with running(mode, chunk_guilds_at_startup=False) as bot:
        number = bot.guild.id
        await bot.tell("GUILD_DELETE", {"id": str(number), "unavailable": True})
        await bot.come("guild_unavailable")
        assert bot.client.get_guild(number).unavailable
        await bot.tell("GUILD_CREATE", payloads.guild(number, "back", unavailable=False))
        await bot.come("guild_available", 3)
        assert bot.client.get_guild(number).name == "back"


@BOTH
async def test_channels_and_roles_come_change_and_go(mode: str) -> None:
    async with running(mode) as bot:
        bot.note("guild_channel_create", "guild_channel_update", "guild_channel_delete")
        bot.note("guild_role_create", "guild_role_update", "guild_role_delete")
        guild = bot.guild
        await bot.tell("CHANNEL_CREATE", payloads.text_channel(555, guild.id, "one"))
        await bot.tell("CHANNEL_UPDATE", payloads.text_channel(555, guild.id, "two"))
        await bot.tell("GUILD_ROLE_CREATE", {"guild_id": str(guild.id), "role": payloads.role(556, "one")})
        await bot.tell("GUILD_ROLE_UPDATE", {"guild_id": str(guild.id), "role": payloads.role(556, "two")})
        await bot.come("guild_role_update")
        assert guild.get_channel(555).name == "two"
        assert guild.get_role(556).name == "two"
        await bot.tell("CHANNEL_DELETE", payloads.text_channel(555, guild.id, "two"))
        await bot.tell("GUILD_ROLE_DELETE", {"guild_id": str(guild.id), "role_id": "556"})
        await bot.come("guild_role_delete")
        assert guild.get_channel(555) is guild.get_role(556) is None


@BOTH
async def test_interactions_reach_listeners(mode: str) -> None:
    async with running(mode) as bot:
        bot.note("interaction")
        data = {
            "id": "1",
            "application_id": str(bot.client.application_id),
            "type": 3,
            "token": "token",
            "version": 1,
            "channel_id": str(bot.guild.text_channels[0].id),
            "guild_id": str(bot.guild.id),
            "member": {**payloads.member(77), "permissions": "0"},
            "data": {"custom_id": "button", "component_type": 2},
            "message": payloads.message(9, bot.guild.text_channels[0].id, None, "press"),
            "attachment_size_limit": 1,
            "entitlements": [],
            "authorizing_integration_owners": {},
            "context": 0,
        }
        await bot.tell("INTERACTION_CREATE", data)
        interaction = await bot.come("interaction")
        assert interaction.data["custom_id"] == "button"


@BOTH
async def test_events_that_nobody_knows_harm_nobody(mode: str) -> None:
    async with running(mode) as bot:
        bot.simulator.act(steps.dispatch("SOMETHING_OF_TOMORROW", {"x": 1}))
        channel = bot.guild.text_channels[0].id
        await bot.tell("MESSAGE_CREATE", payloads.message(1, channel, bot.guild.id, "still here"))
        assert (await bot.come("message")).content == "still here"


@BOTH
async def test_every_type_of_event_is_told_to_who_asks(mode: str) -> None:
    def before(bot: Running) -> None:
        bot.note("socket_event_type")

    async with running(mode, before=before) as bot:
        bot.simulator.act(steps.dispatch("SOMETHING_OF_TOMORROW", {"x": 1}))
        await bot.alive(lambda: ("socket_event_type", "SOMETHING_OF_TOMORROW") in bot.told, "the type")
        types = [name for (name,) in bot.of("socket_event_type")]
        assert types[:3] == ["READY", "GUILD_CREATE", "GUILD_CREATE"]


@BOTH
async def test_raw_payloads_are_told_with_debug_events(mode: str) -> None:
    def before(bot: Running) -> None:
        bot.note("socket_raw_receive", "socket_raw_send")

    async with running(mode, enable_debug_events=True, before=before) as bot:
        bot.simulator.act(steps.dispatch("SOMETHING_OF_TOMORROW", {"x": "otter"}))
        received = lambda: [text for (text,) in bot.of("socket_raw_receive") if "SOMETHING" in text]  # noqa: E731
        await bot.alive(received, "the payload")
        assert '"otter"' in received()[0]
        assert discord.utils._from_json(received()[0])["t"] == "SOMETHING_OF_TOMORROW"
        await bot.client.change_presence(status=discord.Status.idle)
        await bot.alive(lambda: any('"op":3' in text for (text,) in bot.of("socket_raw_send")), "what is sent")


@BOTH
async def test_a_listener_that_fails_is_told_to_on_error(mode: str) -> None:
    async with running(mode) as bot:
        failed: list[tuple[str, str]] = []

        async def on_error(event: str, *arguments: Any) -> None:
            failed.append((event, arguments[0].content))

        async def on_message(message: Any) -> None:
            raise ValueError("of the test")

        bot.client.on_error = on_error
        bot.client.event(on_message)
        channel = bot.guild.text_channels[0].id
        for text in ("one", "two"):
            await bot.tell("MESSAGE_CREATE", payloads.message(1, channel, bot.guild.id, text))
        await bot.alive(lambda: len(failed) == 2, "both failures")
        assert failed == [("on_message", "one"), ("on_message", "two")]


@BOTH
async def test_the_websocket_can_be_waited_on_itself(mode: str) -> None:
    async with running(mode) as bot:
        future = bot.client.ws.wait_for("SOMETHING_OF_TOMORROW", lambda data: data["x"] > 1, lambda data: data["x"])
        for number in (1, 2, 3):
            bot.simulator.act(steps.dispatch("SOMETHING_OF_TOMORROW", {"x": number}))
        assert await asyncio.wait_for(future, 5) == 2


# ------------------------------------------------------------------ commands of the gateway


@BOTH
async def test_presence_goes_out(mode: str) -> None:
    async with running(mode) as bot:
        await bot.client.change_presence(status=discord.Status.idle, activity=discord.Game("chess"))
        presence = await bot.simulator.expect(op=3)
        assert presence["status"] == "idle"
        assert presence["activities"][0]["name"] == "chess"
        assert presence["since"] > 0
        with pytest.raises(TypeError):
            await bot.client.change_presence(activity="chess")


@BOTH
async def test_guilds_are_chunked_at_startup(mode: str) -> None:
    simulator = {"guilds": 1, "members": 300, "guild_create_members": 20}
    async with running(mode, simulator=simulator) as bot:
        assert bot.guild.chunked
        assert len(bot.guild.members) == 300
        assert len(bot.commands_of(8)) == 1


@BOTH
async def test_a_guild_is_chunked_and_queried_when_asked(mode: str) -> None:
    simulator = {"guilds": 1, "members": 300, "guild_create_members": 20}
    async with running(mode, simulator=simulator, chunk_guilds_at_startup=False) as bot:
        assert len(bot.guild.members) == 20
        name = bot.guild.members[0].name
        found = await bot.guild.query_members(name[:4], limit=5)
        assert name in [member.name for member in found] or len(found) == 5
        by_id = await bot.guild.query_members(user_ids=[bot.guild.members[1].id])
        assert [member.id for member in by_id] == [bot.guild.members[1].id]
        await asyncio.wait_for(bot.guild.chunk(), 5)
        assert len(bot.guild.members) == 300


@BOTH
async def test_a_voice_channel_is_joined_as_far_as_the_gateway_goes(mode: str) -> None:
    class Voice(discord.VoiceProtocol):
        def __init__(self, client: Any, channel: Any) -> None:
            super().__init__(client, channel)
            self.states: list[Any] = []
            self.servers: list[Any] = []

        async def on_voice_state_update(self, data: Any) -> None:
            self.states.append(data)

        async def on_voice_server_update(self, data: Any) -> None:
            self.servers.append(data)

        async def connect(self, **_: Any) -> None:
            await self.channel.guild.change_voice_state(channel=self.channel, self_deaf=True)

        async def disconnect(self, *, force: bool) -> None:
            await self.channel.guild.change_voice_state(channel=None)
            self.cleanup()

    async with running(mode) as bot:
        channel = bot.guild.voice_channels[0]
        voice = await channel.connect(cls=Voice)
        sent = await bot.simulator.expect(op=4)
        assert sent == {
            "guild_id": bot.guild.id,
            "channel_id": channel.id,
            "self_mute": False,
            "self_deaf": True,
        }
        await bot.alive(lambda: voice.servers, "the voice server")
        assert voice.states[0]["channel_id"] in (channel.id, str(channel.id))
        assert voice.servers[0]["endpoint"]
        await voice.disconnect(force=False)
        assert (await bot.simulator.expect(op=4))["channel_id"] is None


@BOTH
async def test_any_payload_can_be_sent(mode: str) -> None:
    async with running(mode) as bot:
        await bot.client.ws.send_as_json({"op": 31, "d": {"guild_ids": [str(bot.guild.id)]}})
        assert await bot.simulator.expect(op=31) == {"guild_ids": [str(bot.guild.id)]}


@BOTH
async def test_the_rate_limit_is_told_and_kept(mode: str) -> None:
    async with running(mode) as bot:
        assert not bot.client.is_ws_ratelimited()
        sending = [
            asyncio.create_task(bot.client.ws.voice_state(bot.guild.id, None, self_mute=bool(number % 2)))
            for number in range(140)
        ]
        await bot.alive(bot.client.is_ws_ratelimited, "the limit")
        await bot.alive(lambda: len(bot.commands_of(4)) >= 100, "what the limit allows")
        await asyncio.sleep(0.1)
        assert 100 <= len(bot.commands_of(4)) <= 120
        assert bot.simulator.fleet()["connections"]["open"] == 1
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)


@BOTH
async def test_latency_is_a_number(mode: str) -> None:
    async with running(mode, simulator={"heartbeat_interval": 0.2}) as bot:
        assert 0 <= bot.client.latency < 5
        await asyncio.sleep(0.5)
        assert 0 <= bot.client.latency < 5


# ------------------------------------------------------------------ connections that end


@BOTH
async def test_op_7_is_resumed_from(mode: str) -> None:
    async with running(mode) as bot:
        bot.simulator.act(steps.reconnect())
        await bot.come("resumed")
        assert bot.names()[4:] == ["disconnect", "resumed"]
        assert len(bot.commands_of(2)) == len(bot.commands_of(6)) == 1


@BOTH
async def test_what_was_missed_is_replayed_in_order(mode: str) -> None:
    async with running(mode) as bot:
        channel, guild = bot.guild.text_channels[0].id, bot.guild.id
        for number in range(5):
            await bot.tell("MESSAGE_CREATE", payloads.message(number + 1, channel, guild, str(number)))
        bot.simulator.act(steps.reset())
        for number in range(5, 10):
            await bot.tell("MESSAGE_CREATE", payloads.message(number + 1, channel, guild, str(number)))
        await bot.come("resumed")
        await bot.come("message", 10)
        assert [message.content for (message,) in bot.of("message")] == [str(number) for number in range(10)]
        assert bot.names("disconnect", "resumed") == ["disconnect", "resumed"]


@BOTH
@pytest.mark.parametrize("code", [1000, 4000, 4009])
async def test_a_close_that_allows_it_is_resumed_from(mode: str, code: int) -> None:
    async with running(mode) as bot:
        bot.simulator.act(steps.close(code))
        await bot.alive(lambda: bot.names("resumed") or bot.names("ready").count("ready") == 2, "another connection")
        assert bot.names()[4] == "disconnect"
        assert bot.client.is_ready()


@BOTH
async def test_an_invalid_session_becomes_a_new_one(mode: str) -> None:
    async with running(mode) as bot:
        before = bot.client.ws.session_id
        bot.simulator.act(steps.invalid_session(False))
        await bot.come("ready", 2, timeout=20)
        assert bot.names("connect", "disconnect", "ready") == ["connect", "ready", "disconnect", "connect", "ready"]
        assert bot.client.ws.session_id != before
        assert bot.hooked == [(None, True), (None, False)]
        assert len(bot.client.guilds) == 2


@BOTH
@pytest.mark.parametrize("code", [4004, 4010, 4012, 4013])
async def test_a_fatal_code_is_raised(mode: str, code: int) -> None:
    async with running(mode) as bot:
        bot.simulator.act(steps.close(code))
        error = await bot.ended()
        assert isinstance(error, discord.ConnectionClosed)
        assert error.code == code
        assert bot.client.is_closed()
        assert bot.names()[-1] == "disconnect"


@BOTH
async def test_disallowed_intents_are_raised_as_such(mode: str) -> None:
    async with running(mode, start=False, simulator={"disallowed_intents": 1 << 1}) as bot:
        await bot.start()
        error = await bot.ended()
        assert isinstance(error, discord.PrivilegedIntentsRequired)
        assert error.shard_id is None


@BOTH
async def test_a_gateway_that_is_not_there_is_raised_without_reconnect(mode: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        nowhere = f"ws://127.0.0.1:{nobody.getsockname()[1]}"
    async with running(mode, start=False, gateway=nowhere) as bot:
        await bot.start(reconnect=False)
        error = await bot.ended()
        assert isinstance(error, aiohttp.ClientError)
        assert bot.client.is_closed()


@BOTH
async def test_close_ends_start_and_the_session(mode: str) -> None:
    async with running(mode) as bot:
        await bot.client.close()
        assert await bot.ended() is None
        assert bot.client.is_closed()
        assert bot.names()[4:] == ["disconnect"]
        await until(lambda: bot.simulator.fleet()["connections"]["open"] == 0)
        (connection,) = bot.simulator.record()["connections"]
        # discord.py says one or the other, as its two tasks come to it.
        assert connection["closed"]["code"] in ((1000, 4000) if mode == "stock" else (1000,))


@BOTH
async def test_close_from_a_listener(mode: str) -> None:
    async with running(mode) as bot:

        async def on_message(message: Any) -> None:
            await bot.client.close()

        bot.client.event(on_message)
        channel = bot.guild.text_channels[0].id
        await bot.tell("MESSAGE_CREATE", payloads.message(1, channel, bot.guild.id, "!stop"))
        assert await bot.ended() is None
        assert bot.client.is_closed()


@BOTH
async def test_the_websocket_closed_by_hand_comes_back(mode: str) -> None:
    async with running(mode) as bot:
        await bot.client.ws.close()
        await bot.come("resumed")
        assert bot.names()[4:] == ["disconnect", "resumed"]
        channel = bot.guild.text_channels[0].id
        await bot.tell("MESSAGE_CREATE", payloads.message(1, channel, bot.guild.id, "again"))
        await bot.come("message")


# ------------------------------------------------------------------ bots


@BOTH
async def test_a_bot_runs_its_commands_and_cogs(mode: str) -> None:
    done: list[str] = []

    class Otters(commands.Cog):
        @commands.command()
        async def ping(self, ctx: Any, number: int) -> None:
            done.append(f"ping {number} in {ctx.guild.id}")

        @commands.Cog.listener()
        async def on_typing(self, channel: Any, user: Any, when: Any) -> None:
            done.append(f"typing in {channel.id}")

        @commands.Cog.listener()
        async def on_message(self, message: Any) -> None:
            done.append(f"heard {message.content}")

    async with running(mode, commands.Bot) as bot:
        await bot.client.add_cog(Otters())
        # So that the bot answers commands as it does without a listener of the test.
        del bot.client.on_message
        channel = bot.guild.text_channels[0]
        member = bot.guild.members[0].id
        data = {"channel_id": str(channel.id), "user_id": str(member), "guild_id": str(bot.guild.id), "timestamp": 1}
        await bot.tell("TYPING_START", data)
        await bot.tell("MESSAGE_CREATE", payloads.message(1, channel.id, bot.guild.id, "!ping 7", author=member))
        await bot.alive(lambda: len(done) == 3, f"all three, not {done}")
        assert set(done) == {f"ping 7 in {bot.guild.id}", f"typing in {channel.id}", "heard !ping 7"}


# ------------------------------------------------------------------ shards

SHARDED = {"guilds": 8, "members": 3, "shards": 2, "max_concurrency": 2}


@BOTH
async def test_shards_come_up_and_then_all_is_ready(mode: str) -> None:
    async with running(mode, discord.AutoShardedClient, simulator=SHARDED) as bot:
        assert bot.client.shard_count == 2
        assert bot.names("shard_connect", "shard_ready", "ready")[-1] == "ready"
        assert {shard for (shard,) in bot.of("shard_connect")} == {0, 1}
        assert {shard for (shard,) in bot.of("shard_ready")} == {0, 1}
        assert len(bot.client.guilds) == 8
        assert {guild.shard_id for guild in bot.client.guilds} == {0, 1}
        assert sorted(identify["shard"] for identify in bot.commands_of(2)) == [[0, 2], [1, 2]]
        assert sorted(bot.hooked) == [(0, True), (1, False)]


@BOTH
async def test_each_shard_has_a_latency(mode: str) -> None:
    async with running(mode, discord.AutoShardedClient, simulator=SHARDED) as bot:
        latencies = dict(bot.client.latencies)
        assert latencies.keys() == {0, 1}
        assert all(0 <= latency < 5 for latency in latencies.values())
        assert 0 <= bot.client.latency < 5
        assert not bot.client.is_ws_ratelimited()


@BOTH
async def test_one_shard_is_lost_and_resumed(mode: str) -> None:
    async with running(mode, discord.AutoShardedClient, simulator=SHARDED) as bot:
        bot.simulator.act(steps.reconnect(), shard=1)
        assert await bot.come("shard_resumed") == 1
        assert bot.names("disconnect", "shard_disconnect", "resumed", "shard_resumed") == [
            "disconnect",
            "shard_disconnect",
            "resumed",
            "shard_resumed",
        ]
        assert bot.of("shard_disconnect") == [(1,)]


@BOTH
async def test_a_shard_is_disconnected_and_connected_by_hand(mode: str) -> None:
    async with running(mode, discord.AutoShardedClient, simulator=SHARDED) as bot:
        shard = bot.client.get_shard(1)
        await shard.disconnect()
        assert bot.client.get_shard(1).is_closed()
        await bot.come("shard_disconnect")
        await bot.client.get_shard(1).connect()
        await bot.come("shard_connect", 3)
        await bot.come("shard_ready", 3)
        assert not bot.client.get_shard(1).is_closed()


@BOTH
async def test_a_shard_shows_a_presence_of_its_own(mode: str) -> None:
    async with running(mode, commands.AutoShardedBot, simulator=SHARDED) as bot:
        await bot.client.change_presence(status=discord.Status.idle, shard_id=1)
        assert (await bot.simulator.expect(op=3))["status"] == "idle"
        assert len(bot.commands_of(3)) == 1
        await bot.client.change_presence(status=discord.Status.dnd)
        await until(lambda: len(bot.commands_of(3)) == 3)


@BOTH
async def test_requests_go_to_the_shard_of_the_guild(mode: str) -> None:
    async with running(mode, discord.AutoShardedClient, simulator=SHARDED) as bot:
        guild = next(guild for guild in bot.client.guilds if guild.shard_id == 1)
        found = await guild.query_members(user_ids=[guild.members[0].id])
        assert found[0].id == guild.members[0].id


@BOTH
async def test_a_fatal_code_of_one_shard_ends_all(mode: str) -> None:
    async with running(mode, discord.AutoShardedClient, simulator=SHARDED) as bot:
        bot.simulator.act(steps.close(4013), shard=1)
        error = await bot.ended()
        assert isinstance(error, discord.ConnectionClosed)
        assert (error.code, error.shard_id) == (4013, 1)
        await until(lambda: bot.simulator.fleet()["connections"]["open"] == 0)


@BOTH
async def test_closing_closes_every_shard(mode: str) -> None:
    async with running(mode, discord.AutoShardedClient, simulator=SHARDED) as bot:
        await bot.client.close()
        assert await bot.ended() is None
        await until(lambda: bot.simulator.fleet()["connections"]["open"] == 0)
        codes = {connection["closed"]["code"] for connection in bot.simulator.record()["connections"]}
        assert codes <= ({1000, 4000} if mode == "stock" else {1000})


@BOTH
async def test_run_returns_when_the_bot_closes(mode: str) -> None:
    async with running(mode, start=False) as bot:

        async def on_ready() -> None:
            await bot.client.close()

        bot.client.event(on_ready)
        # Without a handler of its own it leaves the level of discord's logger alone too.
        await asyncio.wait_for(asyncio.to_thread(bot.client.run, "a.b.c", log_handler=None), 20)
        assert bot.client.is_closed()
