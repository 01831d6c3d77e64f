"""`update_voice_state`: both halves of the answer, whose they are, and what comes when none does."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

from commands.conftest import NOBODYS, guild, nothing_waits, sent
from face.support import SHORT, eventually
from propylon import CommandError, Gateway, Intents, NotConnected, RequestTimeout, VoiceServer
from propylon.events import VoiceStateUpdate
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]
BOT = 503_316_480_000_000_001


def state(channel: int | None, user: int = BOT, session: str = "theirs", guild_id: int = NOBODYS) -> dict[str, Any]:
    return {
        "guild_id": str(guild_id),
        "channel_id": None if channel is None else str(channel),
        "user_id": str(user),
        "session_id": session,
        "deaf": False,
        "mute": False,
        "self_deaf": False,
        "self_mute": False,
        "self_video": False,
        "suppress": False,
        "request_to_speak_timestamp": None,
    }


def server(endpoint: str | None, token: str = "secret-t", guild_id: int = NOBODYS) -> dict[str, Any]:
    return {"guild_id": str(guild_id), "token": token, "endpoint": endpoint}


async def join(sim: Simulator, gateway: Gateway, channel: int = 5, **options: Any) -> asyncio.Task[VoiceServer]:
    """A request that the test answers, once it has got there."""
    before = len(sent(sim, 4))
    sim.act(steps.manual())

    async def ask() -> VoiceServer:
        return await gateway.update_voice_state(NOBODYS, channel, **options)

    task = asyncio.create_task(ask())
    await sim.wait_for("op", op=4, count=before + 1)
    return task


async def still_waits(task: asyncio.Task[Any], gateway: Gateway, event: str, count: int) -> None:
    await eventually(lambda: gateway.metrics().received_by_type.get(event) == count)
    done, _ = await asyncio.wait([task], timeout=0.02)
    assert not done


async def test_joining_gives_what_a_voice_client_needs_and_leaving_nothing(
    propylon_simulator: Start, gateway_to: Any
) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    voice = await gateway.update_voice_state(guild(1), str(guild(1) + 1), self_mute=True)
    assert voice.guild_id == guild(1)
    assert voice.endpoint == "rotterdam1.discord.example:443"
    assert voice.session_id
    assert voice.token
    assert voice.session_id not in repr(voice)
    assert voice.token not in repr(voice)
    nothing = await gateway.update_voice_state(guild(1), None, self_deaf=True)
    assert nothing is None
    await sim.wait_for("op", op=4, count=2)
    assert sent(sim, 4) == [
        {"guild_id": str(guild(1)), "channel_id": str(guild(1) + 1), "self_mute": True, "self_deaf": False},
        {"guild_id": str(guild(1)), "channel_id": None, "self_mute": False, "self_deaf": True},
    ]
    await eventually(lambda: nothing_waits(gateway))


async def test_a_listener_with_one_call_allowed_may_join(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim, max_pending=1)
    joined: list[VoiceServer] = []

    @gateway.listen
    async def on_state(voice: VoiceStateUpdate) -> None:
        if voice.user_id == 7:
            joined.append(await gateway.update_voice_state(NOBODYS, 5))

    await gateway.open(timeout=10)
    sim.dispatch("VOICE_STATE_UPDATE", state(5, 7))
    await eventually(lambda: joined)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_the_halves_come_in_either_order_and_only_the_bots_own_count(
    propylon_simulator: Start, gateway_to: Any, order: tuple[int, int]
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    task = await join(sim, gateway)
    # Another user, another channel, another guild.
    for other in (state(5, user=7), state(6), state(5, guild_id=9), state(None)):
        sim.dispatch("VOICE_STATE_UPDATE", other)
    sim.dispatch("VOICE_SERVER_UPDATE", server("wrong", guild_id=9))
    # No endpoint: the next one tells it.
    sim.dispatch("VOICE_SERVER_UPDATE", server(None))
    await still_waits(task, gateway, "VOICE_SERVER_UPDATE", 2)
    halves = [("VOICE_STATE_UPDATE", state(5, session="ours")), ("VOICE_SERVER_UPDATE", server("host:443"))]
    for half in order:
        sim.dispatch(*halves[half])
    assert await task == VoiceServer("ours", "secret-t", "host:443", NOBODYS)  # type: ignore[arg-type]


async def test_changing_mute_alone_brings_no_server_and_gives_the_known_one(
    propylon_simulator: Start, gateway_to: Any
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    task = await join(sim, gateway)
    sim.dispatch("VOICE_STATE_UPDATE", state(5, session="ours"))
    sim.dispatch("VOICE_SERVER_UPDATE", server("first:443"))
    await task
    # The server moves while nobody asks.
    sim.dispatch("VOICE_SERVER_UPDATE", server("second:443", token="another"))
    await eventually(lambda: gateway.metrics().received_by_type.get("VOICE_SERVER_UPDATE") == 2)
    task = await join(sim, gateway, self_mute=True)
    sim.dispatch("VOICE_STATE_UPDATE", state(5, session="ours"))
    assert await task == VoiceServer("ours", "another", "second:443", NOBODYS)  # type: ignore[arg-type]
    # In another voice session the old one opens nothing.
    task = await join(sim, gateway, self_mute=True, timeout=2.5)
    sim.dispatch("VOICE_STATE_UPDATE", state(5, session="new"))
    with pytest.raises(RequestTimeout, match="no voice server"):
        await task
    # The server is gone.
    sim.dispatch("VOICE_SERVER_UPDATE", server(None))
    await eventually(lambda: nothing_waits(gateway))


@pytest.mark.parametrize("channel", [None, 6])
async def test_kicked_or_moved_while_joining_it_fails_at_once(
    propylon_simulator: Start, gateway_to: Any, channel: int | None
) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    task = await join(sim, gateway, timeout=None)
    # Of a command or a move before this one, and of somebody else.
    sim.dispatch("VOICE_STATE_UPDATE", state(channel, session="before"))
    sim.dispatch("VOICE_STATE_UPDATE", state(5, session="ours"))
    sim.dispatch("VOICE_STATE_UPDATE", state(channel, user=7))
    await still_waits(task, gateway, "VOICE_STATE_UPDATE", 3)
    sim.dispatch("VOICE_STATE_UPDATE", state(channel, session="ours"))
    how = "disconnected" if channel is None else "moved to channel 6"
    with pytest.raises(CommandError, match=f"^voice channel 5: the bot was {how} while it joined$"):
        await asyncio.wait_for(task, 5)
    await eventually(lambda: nothing_waits(gateway))


async def test_no_answer(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    task = await join(sim, gateway, timeout=0.05)
    with pytest.raises(RequestTimeout, match="no voice state of the bot"):
        await task
    task = await join(sim, gateway)
    await gateway.close()
    with pytest.raises(NotConnected):
        await task
    assert nothing_waits(gateway)


@pytest.mark.parametrize("known", [True, False], ids=["by the token", "by the channel"])
async def test_in_a_session_of_another_process_the_token_tells_the_user(propylon_simulator: Start, known: bool) -> None:
    sim = propylon_simulator(guilds=0)
    first = base64.b64encode(str(BOT).encode()).decode().rstrip("=") if known else "no-id"
    token = f"{first}.X.voice"

    def make(**options: Any) -> Gateway:
        return Gateway(token, intents=Intents.GUILD_VOICE_STATES, gateway_url=sim.url, **SHORT, **options)  # type: ignore[arg-type]

    gateway = make()
    await gateway.open(timeout=10)
    assert gateway._life.shard.user_id == BOT
    await gateway.close(resumable=True)
    gateway = make(session=gateway.session)
    await gateway.open(timeout=10)
    assert gateway.metrics().identifies == 0
    assert gateway._life.shard.user_id is None
    task = await join(sim, gateway)
    sim.dispatch("VOICE_SERVER_UPDATE", server("host:443"))
    if known:
        sim.dispatch("VOICE_STATE_UPDATE", state(5, user=7))
        await still_waits(task, gateway, "VOICE_STATE_UPDATE", 1)
    sim.dispatch("VOICE_STATE_UPDATE", state(5, session="ours"))
    assert (await task).session_id == "ours"
    await gateway.close()


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("guild_id must be an id", {"guild_id": True}),
        ("channel_id must be an id", {"channel_id": 1.5}),
        ("channel_id must be an id", {"channel_id": "general"}),
        ("self_mute must be", {"self_mute": 1}),
        ("self_deaf must be", {"self_deaf": None}),
        ("timeout must be", {"timeout": float("nan")}),
        ("not open", {}),
        ("not open", {"channel_id": None}),
    ],
)
async def test_refused_before_the_wire(
    propylon_simulator: Start, gateway_to: Any, message: str, arguments: dict[str, Any]
) -> None:
    gateway: Gateway = gateway_to(propylon_simulator())
    with pytest.raises(CommandError, match=message):
        await gateway.update_voice_state(**{"guild_id": 1, "channel_id": 2, **arguments})


async def test_without_the_intent_it_fails_at_once(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim, intents=Intents.GUILDS)
    await gateway.open(timeout=10)
    with pytest.raises(CommandError, match=r"needs Intents\.GUILD_VOICE_STATES"):
        await gateway.update_voice_state(1, 2)
    await gateway.update_voice_state(1, None)
    await sim.wait_for("op", op=4)
    assert [data["channel_id"] for data in sent(sim, 4)] == [None]
