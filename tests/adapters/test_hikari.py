"""What a hikari bot may expect of its gateway: each passes as hikari comes, and with the engine under it.

Over 500 lines because it is one list, to be read beside the other library's.
"""

import asyncio
from typing import Any

import pytest

from propylon.testing import steps

from . import payloads
from .hikari_bot import hikari, running, until

pytestmark = pytest.mark.asyncio

BOTH = pytest.mark.parametrize("mode", ["stock", "adapted"])


# ------------------------------------------------------------------ beginning


@BOTH
async def test_start_returns_when_the_shard_is_ready(mode: str) -> None:
    async with running(mode) as bot:
        assert bot.names()[:2] == ["StartingEvent", "ShardReadyEvent"]
        assert bot.names(hikari.ShardReadyEvent, hikari.ShardConnectedEvent) == [
            "ShardReadyEvent",
            "ShardConnectedEvent",
        ]
        assert len(bot.of(hikari.GuildAvailableEvent)) == 2
        assert bot.names(hikari.StartedEvent)
        shard = bot.bot.shards[0]
        assert shard.is_alive
        assert shard.is_connected
        assert shard.get_user_id() == 503316480000000001


@BOTH
async def test_the_cache_knows_the_bot_its_guilds_channels_and_members(mode: str) -> None:
    async with running(mode) as bot:
        assert bot.bot.get_me().id == 503316480000000001
        guild = bot.guild
        assert len(bot.bot.cache.get_guild_channels_view_for_guild(guild.id)) > 1
        await until(lambda: len(bot.bot.cache.get_members_view_for_guild(guild.id)) == 5)


@BOTH
async def test_ready_says_what_hikari_reads(mode: str) -> None:
    async with running(mode) as bot:
        (ready,) = bot.of(hikari.ShardReadyEvent)
        assert ready.shard is bot.bot.shards[0] or ready.shard.id == 0
        assert len(ready.unavailable_guilds) == 2
        assert ready.session_id
        assert ready.my_user.id == 503316480000000001


@BOTH
async def test_identify_says_who_and_shows_the_first_presence(mode: str) -> None:
    starting = {"activity": hikari.Activity(name="otters"), "status": hikari.Status.DO_NOT_DISTURB}
    async with running(mode, starting=starting) as bot:
        (identify,) = bot.commands_of(2)
        assert identify["intents"] == int(hikari.Intents.ALL)
        assert identify["shard"] == [0, 1]
        assert identify["large_threshold"] == 250
        assert identify["presence"]["status"] == "dnd"
        assert identify["presence"]["game"]["name"] == "otters"
        assert identify["properties"]["browser"].startswith("hikari")


# ------------------------------------------------------------------ events


@BOTH
async def test_messages_come_in_their_order(mode: str) -> None:
    async with running(mode) as bot:
        channel, guild = bot.channel.id, bot.guild.id
        for number in range(300):
            bot.tell("MESSAGE_CREATE", payloads.message(1000 + number, channel, guild, str(number)))
        await bot.come(hikari.GuildMessageCreateEvent, 300)
        assert [event.content for event in bot.of(hikari.GuildMessageCreateEvent)] == [str(n) for n in range(300)]
        assert bot.of(hikari.GuildMessageCreateEvent)[0].guild_id == guild


@BOTH
async def test_a_message_is_edited_and_deleted(mode: str) -> None:
    async with running(mode) as bot:
        bot.note(hikari.GuildMessageUpdateEvent, hikari.GuildMessageDeleteEvent)
        channel, guild = bot.channel.id, bot.guild.id
        bot.tell("MESSAGE_CREATE", payloads.message(1, channel, guild, "before"))
        bot.tell("MESSAGE_UPDATE", payloads.message(1, channel, guild, "after"))
        bot.tell("MESSAGE_DELETE", {"id": "1", "channel_id": str(channel), "guild_id": str(guild)})
        await bot.come(hikari.GuildMessageDeleteEvent)
        (update,) = bot.of(hikari.GuildMessageUpdateEvent)
        assert (update.old_message.content, update.message.content) == ("before", "after")
        assert bot.of(hikari.GuildMessageDeleteEvent)[0].old_message.content == "after"


@BOTH
async def test_reactions_come(mode: str) -> None:
    async with running(mode) as bot:
        bot.note(hikari.GuildReactionAddEvent)
        bot.tell("MESSAGE_REACTION_ADD", payloads.reaction(1, bot.channel.id, bot.guild.id, 77))
        event = await bot.come(hikari.GuildReactionAddEvent)
        assert (event.message_id, event.emoji_name) == (1, "🦦")


@BOTH
async def test_members_come_change_and_go(mode: str) -> None:
    async with running(mode) as bot:
        bot.note(hikari.MemberCreateEvent, hikari.MemberUpdateEvent, hikari.MemberDeleteEvent)
        guild = bot.guild.id
        bot.tell("GUILD_MEMBER_ADD", {**payloads.member(4242), "guild_id": str(guild)})
        bot.tell("GUILD_MEMBER_UPDATE", {**payloads.member(4242, nick="ottilie"), "guild_id": str(guild)})
        await bot.come(hikari.MemberUpdateEvent)
        assert bot.bot.cache.get_member(guild, 4242).nickname == "ottilie"
        bot.tell("GUILD_MEMBER_REMOVE", {"user": payloads.user(4242), "guild_id": str(guild)})
        await bot.come(hikari.MemberDeleteEvent)
        assert bot.bot.cache.get_member(guild, 4242) is None


@BOTH
@pytest.mark.parametrize("listened", [True, False])
async def test_presences_reach_the_cache(mode: str, listened: bool) -> None:
    async with running(mode) as bot:
        guild = bot.guild.id
        if listened:
            bot.note(hikari.PresenceUpdateEvent)
        data = {
            "user": {"id": "4242"},
            "guild_id": str(guild),
            "status": "dnd",
            "activities": [],
            "client_status": {"desktop": "dnd"},
        }
        bot.tell("PRESENCE_UPDATE", data)
        await until(lambda: bot.bot.cache.get_presence(guild, 4242) is not None, "the presence")
        assert bot.bot.cache.get_presence(guild, 4242).visible_status is hikari.Status.DO_NOT_DISTURB
        assert len(bot.of(hikari.PresenceUpdateEvent)) == listened


@BOTH
async def test_typing_is_heard_by_who_begins_to_wait_for_it(mode: str) -> None:
    async with running(mode) as bot:
        waiting = asyncio.create_task(bot.bot.wait_for(hikari.GuildTypingEvent, timeout=5))
        await asyncio.sleep(0)
        data = {
            "channel_id": str(bot.channel.id),
            "guild_id": str(bot.guild.id),
            "user_id": "77",
            "timestamp": 1_700_000_000,
            "member": payloads.member(77),
        }
        bot.tell("TYPING_START", data)
        assert (await waiting).user_id == 77


@BOTH
async def test_a_stream_gets_what_comes_while_it_is_open(mode: str) -> None:
    async with running(mode) as bot:
        with bot.bot.stream(hikari.GuildTypingEvent, timeout=5) as stream:
            for number in (77, 78):
                data = {
                    "channel_id": str(bot.channel.id),
                    "guild_id": str(bot.guild.id),
                    "user_id": str(number),
                    "timestamp": 1_700_000_000,
                    "member": payloads.member(number),
                }
                bot.tell("TYPING_START", data)
            assert [event.user_id async for event in stream.limit(2)] == [77, 78]


@BOTH
async def test_guilds_are_joined_and_left(mode: str) -> None:
    async with running(mode, auto_chunk_members=False) as bot:
        me = 503316480000000001
        bot.tell("GUILD_CREATE", payloads.guild(987654321000000000, "new", me=me))
        event = await bot.come(hikari.GuildJoinEvent)
        assert event.guild.name == "new"
        assert len(bot.bot.cache.get_guilds_view()) == 3
        bot.tell("GUILD_DELETE", {"id": str(event.guild.id)})
        await bot.come(hikari.GuildLeaveEvent)
        assert len(bot.bot.cache.get_guilds_view()) == 2


@BOTH
async def test_a_guild_has_an_outage(mode: str) -> None:
    async with running(mode, auto_chunk_members=False) as bot:
        number = bot.guild.id
        bot.tell("GUILD_DELETE", {"id": str(number), "unavailable": True})
        await bot.come(hikari.GuildUnavailableEvent)
        bot.tell("GUILD_CREATE", payloads.guild(number, "back", me=503316480000000001, unavailable=False))
        await bot.come(hikari.GuildAvailableEvent, 3)
        assert bot.bot.cache.get_guild(number).name == "back"


@BOTH
async def test_channels_and_roles_come_change_and_go(mode: str) -> None:
    async with running(mode) as bot:
        bot.note(hikari.RoleUpdateEvent, hikari.RoleDeleteEvent)
        guild, cache = bot.guild.id, bot.bot.cache
        bot.tell("CHANNEL_CREATE", payloads.text_channel(555, guild, "one"))
        bot.tell("CHANNEL_UPDATE", payloads.text_channel(555, guild, "two"))
        bot.tell("GUILD_ROLE_CREATE", {"guild_id": str(guild), "role": payloads.role(556, "one")})
        bot.tell("GUILD_ROLE_UPDATE", {"guild_id": str(guild), "role": payloads.role(556, "two")})
        await bot.come(hikari.RoleUpdateEvent)
        assert cache.get_guild_channel(555).name == "two"
        assert cache.get_role(556).name == "two"
        bot.tell("CHANNEL_DELETE", payloads.text_channel(555, guild, "two"))
        bot.tell("GUILD_ROLE_DELETE", {"guild_id": str(guild), "role_id": "556"})
        await bot.come(hikari.RoleDeleteEvent)
        assert cache.get_guild_channel(555) is cache.get_role(556) is None


@BOTH
async def test_events_that_nobody_knows_harm_nobody(mode: str) -> None:
    async with running(mode) as bot:
        bot.simulator.act(steps.dispatch("SOMETHING_OF_TOMORROW", {"x": 1}))
        bot.tell("MESSAGE_CREATE", payloads.message(1, bot.channel.id, bot.guild.id, "still here"))
        assert (await bot.come(hikari.MessageCreateEvent)).content == "still here"


@BOTH
async def test_raw_payloads_are_told_to_who_asks(mode: str) -> None:
    async with running(mode, before=lambda bot: bot.note(hikari.ShardPayloadEvent)) as bot:
        bot.simulator.act(steps.dispatch("SOMETHING_OF_TOMORROW", {"x": "otter"}))
        await bot.come(hikari.ShardPayloadEvent, 4)
        names = [event.name for event in bot.of(hikari.ShardPayloadEvent)]
        assert names[0] == "READY"
        await until(lambda: "SOMETHING_OF_TOMORROW" in [event.name for event in bot.of(hikari.ShardPayloadEvent)])
        last = next(event for event in bot.of(hikari.ShardPayloadEvent) if event.name == "SOMETHING_OF_TOMORROW")
        assert last.payload == {"x": "otter"}


@BOTH
async def test_a_listener_that_fails_is_told_as_an_exception_event(mode: str) -> None:
    async with running(mode) as bot:
        bot.note(hikari.ExceptionEvent)

        async def failing(event: Any) -> None:
            raise ValueError("of the test")

        bot.bot.subscribe(hikari.GuildMessageCreateEvent, failing)
        for text in ("one", "two"):
            bot.tell("MESSAGE_CREATE", payloads.message(1, bot.channel.id, bot.guild.id, text))
        await bot.come(hikari.ExceptionEvent, 2)
        assert [event.failed_event.content for event in bot.of(hikari.ExceptionEvent)] == ["one", "two"]


@BOTH
async def test_interactions_reach_listeners(mode: str) -> None:
    async with running(mode) as bot:
        bot.note(hikari.InteractionCreateEvent)
        data = {
            "id": "1",
            "application_id": "503316480000000001",
            "type": 2,
            "token": "token",
            "version": 1,
            "channel_id": str(bot.channel.id),
            "channel": {**payloads.text_channel(bot.channel.id, bot.guild.id, "general"), "permissions": "0"},
            "guild_id": str(bot.guild.id),
            "guild": {"id": str(bot.guild.id), "locale": "en-US", "features": []},
            "guild_locale": "en-US",
            "locale": "en-US",
            "app_permissions": "0",
            "member": {**payloads.member(77), "permissions": "0"},
            "data": {"id": "5", "name": "ping", "type": 1},
            "attachment_size_limit": 1,
            "entitlements": [],
            "authorizing_integration_owners": {},
            "context": 0,
        }
        bot.tell("INTERACTION_CREATE", data)
        assert (await bot.come(hikari.InteractionCreateEvent)).interaction.command_name == "ping"


# ------------------------------------------------------------------ commands of the gateway


@BOTH
async def test_presence_goes_out(mode: str) -> None:
    async with running(mode) as bot:
        await bot.bot.update_presence(status=hikari.Status.IDLE, activity=hikari.Activity(name="chess"))
        presence = await bot.simulator.expect(op=3)
        assert presence["status"] == "idle"
        assert presence["game"]["name"] == "chess"
        await bot.bot.update_presence(afk=True)
        presence = await bot.simulator.expect(op=3)
        assert presence["status"] == "idle"
        assert presence["afk"] is True


@BOTH
async def test_guilds_are_chunked_by_themselves(mode: str) -> None:
    simulator = {"guilds": 1, "members": 300, "guild_create_members": 20}
    async with running(mode, simulator=simulator) as bot:
        await until(lambda: len(bot.bot.cache.get_members_view_for_guild(bot.guild.id)) == 300, "the members")
        assert len(bot.commands_of(8)) == 1


@BOTH
async def test_members_are_requested(mode: str) -> None:
    simulator = {"guilds": 1, "members": 300, "guild_create_members": 20}
    async with running(mode, simulator=simulator, auto_chunk_members=False) as bot:
        bot.note(hikari.MemberChunkEvent)
        await bot.bot.request_guild_members(bot.guild.id, query="", limit=5, nonce="mine")
        chunk = await bot.come(hikari.MemberChunkEvent)
        assert (len(chunk.members), chunk.nonce) == (5, "mine")
        with pytest.raises(ValueError, match="nonce"):
            await bot.bot.request_guild_members(bot.guild.id, nonce="n" * 33)


@BOTH
async def test_a_voice_channel_is_joined_as_far_as_the_gateway_goes(mode: str) -> None:
    async with running(mode) as bot:
        bot.note(hikari.VoiceStateUpdateEvent, hikari.VoiceServerUpdateEvent)
        channels = bot.bot.cache.get_guild_channels_view_for_guild(bot.guild.id).values()
        channel = next(channel for channel in channels if isinstance(channel, hikari.GuildVoiceChannel))
        await bot.bot.update_voice_state(bot.guild.id, channel.id, self_deaf=True)
        sent = await bot.simulator.expect(op=4)
        assert sent == {"guild_id": str(bot.guild.id), "channel_id": str(channel.id), "self_deaf": True}
        assert (await bot.come(hikari.VoiceServerUpdateEvent)).raw_endpoint
        await bot.bot.update_voice_state(bot.guild.id, None)
        assert (await bot.simulator.expect(op=4))["channel_id"] is None


@BOTH
async def test_a_voice_connection_is_made_of_both_events(mode: str) -> None:
    made: list[Any] = []

    class Connection(hikari.api.VoiceConnection):
        channel_id = guild_id = shard_id = owner = is_alive = None

        def __init__(self, **facts: Any) -> None:
            self.facts = facts

        @classmethod
        async def initialize(cls, **facts: Any) -> "Connection":
            made.append(facts)
            return cls(**facts)

        async def disconnect(self) -> None: ...

        async def join(self) -> None: ...

        async def notify(self, event: Any) -> None: ...

    async with running(mode) as bot:
        channels = bot.bot.cache.get_guild_channels_view_for_guild(bot.guild.id).values()
        channel = next(channel for channel in channels if isinstance(channel, hikari.GuildVoiceChannel))
        await asyncio.wait_for(bot.bot.voice.connect_to(bot.guild.id, channel.id, Connection), 10)
        assert made[0]["channel_id"] == channel.id
        assert made[0]["token"]


@BOTH
async def test_the_rate_limit_is_kept(mode: str) -> None:
    async with running(mode) as bot:
        shard = bot.bot.shards[0]
        sending = [asyncio.create_task(shard.update_voice_state(bot.guild.id, None)) for _ in range(140)]
        await until(lambda: len(bot.commands_of(4)) >= 100, "what the limit allows")
        await asyncio.sleep(0.2)
        assert 100 <= len(bot.commands_of(4)) <= 120
        assert bot.simulator.fleet()["connections"]["open"] == 1
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)


@BOTH
async def test_latency_is_a_number(mode: str) -> None:
    async with running(mode, simulator={"heartbeat_interval": 0.2}) as bot:
        await until(lambda: 0 <= bot.bot.heartbeat_latency < 5, "a latency")
        await asyncio.sleep(0.5)
        assert 0 <= bot.bot.heartbeat_latency < 5
        assert bot.bot.heartbeat_latencies.keys() == {0}


# ------------------------------------------------------------------ connections that end


@BOTH
async def test_op_7_is_resumed_from(mode: str) -> None:
    async with running(mode) as bot:
        bot.told.clear()
        bot.simulator.act(steps.reconnect())
        await bot.come(hikari.ShardConnectedEvent)
        assert bot.names() == ["ShardDisconnectedEvent", "ShardResumedEvent", "ShardConnectedEvent"]
        assert len(bot.commands_of(2)) == len(bot.commands_of(6)) == 1


@BOTH
async def test_what_was_missed_is_replayed_in_order(mode: str) -> None:
    async with running(mode) as bot:
        channel, guild = bot.channel.id, bot.guild.id
        for number in range(5):
            bot.tell("MESSAGE_CREATE", payloads.message(number + 1, channel, guild, str(number)))
        bot.simulator.act(steps.reset())
        for number in range(5, 10):
            bot.tell("MESSAGE_CREATE", payloads.message(number + 1, channel, guild, str(number)))
        await bot.come(hikari.ShardResumedEvent)
        await bot.come(hikari.MessageCreateEvent, 10)
        assert [event.content for event in bot.of(hikari.MessageCreateEvent)] == [str(n) for n in range(10)]


@BOTH
@pytest.mark.parametrize("code", [4000, 4009])
async def test_a_close_that_allows_it_is_resumed_from(mode: str, code: int) -> None:
    async with running(mode) as bot:
        bot.simulator.act(steps.close(code))
        await bot.come(hikari.ShardConnectedEvent, 2)
        assert bot.names(hikari.ShardDisconnectedEvent)
        assert bot.bot.shards[0].is_connected


@BOTH
async def test_an_invalid_session_becomes_a_new_one(mode: str) -> None:
    async with running(mode) as bot:
        bot.simulator.act(steps.invalid_session(False))
        await bot.come(hikari.ShardReadyEvent, 2, timeout=20)
        first, second = bot.of(hikari.ShardReadyEvent)
        assert first.session_id != second.session_id
        assert len(bot.bot.cache.get_guilds_view()) == 2


@BOTH
async def test_commands_without_a_connection_are_refused(mode: str) -> None:
    async with running(mode) as bot:
        bot.simulator.act(steps.stop_listening(), "every")
        bot.simulator.act(steps.reset(), "every")
        await bot.come(hikari.ShardDisconnectedEvent)
        assert not bot.bot.shards[0].is_connected
        with pytest.raises(hikari.ComponentStateConflictError):
            await bot.bot.shards[0].update_voice_state(bot.guild.id, None)


@BOTH
@pytest.mark.parametrize("code", [4004, 4013])
async def test_a_fatal_code_is_raised_to_who_joins(mode: str, code: int) -> None:
    async with running(mode) as bot:
        joining = asyncio.create_task(bot.bot.join())
        await asyncio.sleep(0)
        bot.simulator.act(steps.close(code, "of the test"))
        with pytest.raises(hikari.GatewayServerClosedConnectionError) as raised:
            await asyncio.wait_for(joining, 10)
        assert raised.value.code == code
        assert raised.value.reason == "of the test"
        assert not raised.value.can_reconnect
        # hikari's own close() fails at a shard that has failed; that is the same under the engine.
        bot.bot._shards.clear()


@BOTH
async def test_disallowed_intents_end_start(mode: str) -> None:
    async with running(mode, start=False, simulator={"disallowed_intents": 1 << 1}) as bot:
        with pytest.raises(hikari.GatewayServerClosedConnectionError) as raised:
            await bot.start()
        assert raised.value.code == 4014


@BOTH
async def test_close_tells_and_ends_the_session(mode: str) -> None:
    async with running(mode) as bot:
        bot.told.clear()
        joining = asyncio.create_task(bot.bot.join())
        await asyncio.sleep(0)
        await bot.bot.close()
        await asyncio.wait_for(joining, 5)
        assert bot.names() == ["StoppingEvent", "ShardDisconnectedEvent", "StoppedEvent"]
        await until(lambda: bot.simulator.fleet()["connections"]["open"] == 0)
        (connection,) = bot.simulator.record()["connections"]
        assert connection["closed"]["code"] == 1001
        assert not bot.bot.is_alive


@BOTH
async def test_a_bot_starts_again_after_its_close(mode: str) -> None:
    async with running(mode) as bot:
        await bot.bot.close()
        await bot.start()
        await bot.come(hikari.ShardReadyEvent, 2)
        await until(lambda: len(bot.bot.cache.get_guilds_view()) == 2)


@BOTH
async def test_run_returns_when_the_bot_closes(mode: str) -> None:
    async with running(mode, start=False) as bot:

        async def stop(event: Any) -> None:
            asyncio.get_running_loop().create_task(bot.bot.close())

        bot.bot.subscribe(hikari.GuildAvailableEvent, stop)

        def run() -> None:
            asyncio.set_event_loop(asyncio.new_event_loop())
            bot.bot.run(check_for_updates=False, enable_signal_handlers=False, close_loop=False)
            # hikari's run() may return while close() is at work.
            loop = asyncio.get_event_loop()
            loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop), return_exceptions=True))
            loop.close()

        await asyncio.wait_for(asyncio.to_thread(run), 20)
        assert not bot.bot.is_alive


# ------------------------------------------------------------------ shards

SHARDED = {"guilds": 8, "members": 3, "shards": 2, "max_concurrency": 2}


@BOTH
async def test_shards_come_up(mode: str) -> None:
    async with running(mode, simulator=SHARDED) as bot:
        assert bot.bot.shard_count == 2
        assert sorted(bot.bot.shards) == [0, 1]
        assert sorted(event.shard.id for event in bot.of(hikari.ShardReadyEvent)) == [0, 1]
        assert sorted(identify["shard"] for identify in bot.commands_of(2)) == [[0, 2], [1, 2]]
        assert bot.bot.heartbeat_latencies.keys() == {0, 1}


@BOTH
async def test_one_shard_is_lost_and_resumed(mode: str) -> None:
    async with running(mode, simulator=SHARDED) as bot:
        bot.simulator.act(steps.reconnect(), shard=1)
        assert (await bot.come(hikari.ShardResumedEvent)).shard.id == 1
        assert [event.shard.id for event in bot.of(hikari.ShardDisconnectedEvent)] == [1]


@BOTH
async def test_a_shard_is_closed_and_started_by_hand(mode: str) -> None:
    async with running(mode, simulator=SHARDED) as bot:
        shard = bot.bot.shards[1]
        await shard.close()
        assert not shard.is_alive
        with pytest.raises(hikari.ComponentStateConflictError):
            await shard.close()
        await until(lambda: bot.simulator.fleet()["connections"]["open"] == 1)


@BOTH
async def test_requests_go_to_the_shard_of_the_guild(mode: str) -> None:
    async with running(mode, simulator=SHARDED) as bot:
        bot.note(hikari.MemberChunkEvent)
        guild = next(guild for guild in bot.bot.cache.get_guilds_view() if (guild >> 22) % 2 == 1)
        await bot.bot.request_guild_members(guild, query="", limit=1, nonce="mine")
        await until(lambda: any(chunk.nonce == "mine" for chunk in bot.of(hikari.MemberChunkEvent)))
        chunk = next(chunk for chunk in bot.of(hikari.MemberChunkEvent) if chunk.nonce == "mine")
        assert chunk.shard.id == 1


@BOTH
async def test_some_shards_of_many(mode: str) -> None:
    async with running(mode, start=False, simulator={**SHARDED, "shards": 4, "max_concurrency": 4}) as bot:
        await bot.start(shard_ids=[1, 3], shard_count=4)
        assert sorted(bot.bot.shards) == [1, 3]
        assert sorted(identify["shard"] for identify in bot.commands_of(2)) == [[1, 4], [3, 4]]
