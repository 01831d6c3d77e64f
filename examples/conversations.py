"""Conversations: listeners that ask, and wait for what a user says or does next.

``!order`` asks two questions, ``!poll`` counts reactions, ``!when <user id>`` waits for somebody to write. With
``DISCORD_TOKEN`` in the environment it runs against Discord; without, against a simulated Discord of its own::

    python examples/conversations.py

It needs aiohttp, and the Message Content intent.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager

from aiohttp import ClientSession, ClientTimeout

from propylon import Gateway, GatewayClosed, Intents, field
from propylon.events import MessageCreate, MessageReactionAdd
from propylon.testing import Simulator, make

log = logging.getLogger("conversations")

API = "https://discord.com/api/v10/"
# Discord wants to know who calls: your site, and the version of your bot.
USER_AGENT = "DiscordBot (https://bot.example, 1.0)"

PEOPLE = ~field("author.bot").is_true()


class Chat:
    """Says something in a channel, by REST."""

    def __init__(self, http: ClientSession) -> None:
        """``http`` knows the base URL and the token."""
        self.http = http

    async def say(self, channel_id: int, content: str) -> int:
        """Send a message; gives its id."""
        async with self.http.post(f"channels/{channel_id}/messages", json={"content": content}) as response:
            response.raise_for_status()
            return int((await response.json())["id"])


async def ask(bot: Gateway, chat: Chat, asked: MessageCreate, question: str, *, timeout: float = 60) -> str:
    """Ask the author of a message something; gives what they write next in the channel.

    The stream is entered before the question leaves: no answer can come too early. Another command is no answer.
    """
    same = (field("author.id") == asked.author.id) & (field("channel_id") == asked.channel_id)
    async with bot.stream(MessageCreate, where=same & ~field("content").startswith("!")) as answers:
        await chat.say(asked.channel_id, question)
        async with asyncio.timeout(timeout):
            return (await anext(answers)).content


def make_bot(token: str, *, api: str = API, gateway_url: str | None = None, votes: float = 60) -> Gateway:
    """The gateway with its listeners. A poll ends after ``votes`` seconds, or after half of that without a vote."""
    bot = Gateway(
        token,
        intents=Intents.for_events(MessageCreate, MessageReactionAdd) | Intents.MESSAGE_CONTENT,
        lifespan=with_chat(token, api),
        gateway_url=gateway_url,
        # A conversation is an unfinished call. More than so many, and no further event is handed out.
        max_pending=10_000,
    )

    @bot.listen(where=PEOPLE & (field("content") == "!order"))
    async def on_order(message: MessageCreate, chat: Chat) -> None:
        try:
            what = await ask(bot, chat, message, "What would you like?")
            size = await ask(bot, chat, message, f"How large a {what}?")
        except TimeoutError:
            await chat.say(message.channel_id, "Another time, then.")
        else:
            await chat.say(message.channel_id, f"A {size} {what} for {message.author.username}.")

    @bot.listen(where=PEOPLE & (field("content") == "!poll"))
    async def on_poll(message: MessageCreate, chat: Chat) -> None:
        poll = await chat.say(message.channel_id, "Tea or coffee? React to this.")
        reactions = await bot.collect(
            MessageReactionAdd, where=field("message_id") == poll, count=1000, timeout=votes, idle=votes / 2
        )
        people = {reaction.user_id for reaction in reactions}
        await chat.say(message.channel_id, f"{len(reactions)} votes of {len(people)} people.")

    @bot.listen(where=PEOPLE & field("content").startswith("!when "))
    async def on_when(message: MessageCreate, chat: Chat) -> None:
        user = message.content.removeprefix("!when ")
        if not user.isdecimal():
            await chat.say(message.channel_id, "Say whose id: !when 123")
            return
        # Waiting costs no thread and no polling: Rust compares the id, and drops what is of others.
        try:
            seen = await bot.wait_for(MessageCreate, where=field("author.id") == int(user), timeout=3600)
        except TimeoutError:
            await chat.say(message.channel_id, f"<@{user}> has not written for an hour.")
        else:
            await chat.say(message.channel_id, f"<@{user}> is here: {seen.content}")

    # Pyright takes functions that nobody calls by name for mistakes; the decorators have registered them.
    _ = on_order, on_poll, on_when
    return bot


def with_chat(token: str, api: str) -> Callable[[Gateway], AbstractAsyncContextManager[Chat]]:
    """A lifespan: the HTTP client is there before the first event, and closed after the last call of a listener."""

    @contextlib.asynccontextmanager
    async def lifespan(gateway: Gateway) -> AsyncGenerator[Chat]:
        headers = {"Authorization": f"Bot {token}", "User-Agent": USER_AGENT}
        async with ClientSession(api, headers=headers, timeout=ClientTimeout(total=30)) as http:
            yield Chat(http)

    return lifespan


class People:
    """Simulated ones: they order, vote and chat, and answer when they are asked."""

    def __init__(self, simulator: Simulator) -> None:
        """They write into one channel of it."""
        self.simulator = simulator
        self.messages = 0

    def write(self, user: int, content: str) -> None:
        """A message of a user."""
        self.messages += 1
        user_fields = {"author__id": user, "author__username": f"user{user}"}
        message = make(MessageCreate, id=self.messages, channel_id=2, guild_id=1, content=content, **user_fields)
        self.simulator.dispatch("MESSAGE_CREATE", message)

    def hear(self, method: str, path: str, body: object) -> None:
        """What the bot has said."""
        if "What would you like?" in str(body):
            self.write(7, "tea")
        elif "How large" in str(body):
            self.write(7, "big")

    async def live(self) -> None:
        """Until it is cancelled."""
        await self.simulator.wait_for("ready", count=1, timeout=60)
        # All three of one person: while the bot waits for an answer to the first, the next ones are none.
        for command in ("!order", "!poll", "!when 8"):
            self.write(7, command)
            await asyncio.sleep(0.001)
        while True:
            await asyncio.sleep(0.2)
            self.write(8, "good morning")
            # Of the last messages that the bot can have written, one is the poll.
            for message_id in range(1000, 1010):
                reaction = make(MessageReactionAdd, message_id=message_id, channel_id=2, user_id=9)
                self.simulator.dispatch("MESSAGE_REACTION_ADD", reaction)


async def main() -> None:
    """Against Discord, or against the simulator."""
    token = os.environ.get("DISCORD_TOKEN")
    if token:
        await make_bot(token).serve()
        return
    from stand_ins import rest_api

    log.info("DISCORD_TOKEN is not set: this is a simulated Discord")
    async with Simulator() as simulator:
        people = People(simulator)
        async with rest_api(people.hear) as api:
            living = asyncio.create_task(people.live())
            try:
                await make_bot("simulated", api=api, gateway_url=simulator.url, votes=4).serve()
            finally:
                living.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        asyncio.run(main())
    except GatewayClosed as error:
        raise SystemExit(str(error)) from None
