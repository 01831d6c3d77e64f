"""Tests of ``moderation_bot.py``: its listeners as functions, and the whole bot on a simulated Discord.

Neither a token nor a network is needed, only pytest and pytest-asyncio::

    pytest examples/test_moderation_bot.py
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from moderation_bot import Moderation, Rest, Written, make_bot
from stand_ins import rest_api

from propylon.testing import Simulator, make, make_event, steps

Call = tuple[str, str, object]


class NoRest(Rest):
    """Notes what it is asked, and asks nobody."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    async def call(self, method: str, path: str, *, reason: str, json: dict[str, Any] | None = None) -> None:
        self.calls.append((method, path))


# ---------------------------------------------------------------- a listener is a function


def written(content: str, **fields: Any) -> Written:
    """A message of user 7 in guild 1."""
    return make_event(Written, id=5, channel_id=2, guild_id=1, content=content, author__id=7, **fields)


@pytest.mark.asyncio
async def test_the_third_forbidden_word_is_one_too_many() -> None:
    moderation, rest = Moderation({"spam"}), NoRest()
    for content in ("good morning", "buy SPAM now", "spam", "spamalot", "spam"):
        await moderation.on_message(written(content), rest)
    delete = ("DELETE", "channels/2/messages/5")
    assert rest.calls == [delete, delete, delete, ("PATCH", "guilds/1/members/7")]
    assert not moderation.strikes


# ---------------------------------------------------------------- the bot as it runs


class World:
    """A simulated Discord with the bot on it, and what the bot does by REST."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self.statuses: list[int] = []
        """What the REST API answers next; 200 when there is nothing more here."""

    def say(self, content: str, **fields: Any) -> None:
        message = make(Written, **{"id": 5, "channel_id": 2, "guild_id": 1, "content": content, **fields})
        self.simulator.dispatch("MESSAGE_CREATE", message)

    async def next_call(self) -> Call:
        async with asyncio.timeout(10):
            return await self.calls.get()


@contextlib.asynccontextmanager
async def world(simulator: Simulator) -> AsyncGenerator[World]:
    """The bot is served, so that it has its lifespan; and ended as SIGTERM ends it."""
    made = World(simulator)

    def note(method: str, path: str, body: object) -> int:
        made.calls.put_nowait((method, path, body))
        return made.statuses.pop(0) if made.statuses else 200

    async with rest_api(note) as api:
        bot = make_bot("token", {"spam"}, api=api, gateway_url=simulator.url)
        serving = asyncio.create_task(bot.serve())
        try:
            await simulator.wait_for("ready", count=1)
            yield made
        finally:
            await bot.close(drain=5)
            await serving


@pytest.mark.asyncio
async def test_only_forbidden_words_of_people_in_guilds_are_deleted(
    propylon_simulator: Callable[..., Simulator],
) -> None:
    async with world(propylon_simulator()) as discord:
        discord.say("good morning")
        discord.say("spam", author__bot=True)
        discord.say("spam", id=6)
        assert await discord.next_call() == ("DELETE", "/channels/2/messages/6", None)
        assert discord.calls.empty()


@pytest.mark.asyncio
async def test_what_is_written_while_the_connection_is_cut_is_deleted_after_it(
    propylon_simulator: Callable[..., Simulator],
) -> None:
    simulator = propylon_simulator()
    async with world(simulator) as discord:
        simulator.act(steps.reset())
        discord.say("spam", id=9)
        assert await discord.next_call() == ("DELETE", "/channels/2/messages/9", None)
        await simulator.expect(op=6)  # RESUME: the session went on


@pytest.mark.asyncio
async def test_where_discord_limits_the_rate_it_is_tried_again(propylon_simulator: Callable[..., Simulator]) -> None:
    async with world(propylon_simulator()) as discord:
        discord.statuses = [429, 200]
        discord.say("spam", id=6)
        delete = ("DELETE", "/channels/2/messages/6", None)
        assert [await discord.next_call(), await discord.next_call()] == [delete, delete]


@pytest.mark.asyncio
async def test_a_message_that_is_gone_already_counts_all_the_same(propylon_simulator: Callable[..., Simulator]) -> None:
    async with world(propylon_simulator()) as discord:
        discord.statuses = [404, 404, 404]
        for number in (1, 2, 3):
            discord.say("spam", id=number)
            assert (await discord.next_call())[:2] == ("DELETE", f"/channels/2/messages/{number}")
        assert (await discord.next_call())[0] == "PATCH"
