"""A moderation bot: a group of listeners that share what they know, and Discord's REST API for what they do.

It deletes messages that hold a forbidden word, and gives whoever wrote three of them ten minutes to think it over. With
``DISCORD_TOKEN`` in the environment it runs against Discord; without, against a simulated Discord of its own::

    python examples/moderation_bot.py

It needs aiohttp, the Message Content intent, and the permissions Manage Messages and Moderate Members.
"""

import asyncio
import contextlib
import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from aiohttp import ClientSession, ClientTimeout

from propylon import Gateway, GatewayClosed, Intents, Listeners, Snowflake, field, listen
from propylon.events import Event, GuildAuditLogEntryCreate
from propylon.models import Model
from propylon.testing import Simulator, make

log = logging.getLogger("moderation_bot")

API = "https://discord.com/api/v10/"
# Discord wants to know who calls: your site, and the version of your bot.
USER_AGENT = "DiscordBot (https://bot.example, 1.0)"


class Rest:
    """As much of Discord's REST API as this bot needs: one call, which waits where Discord says so."""

    def __init__(self, http: ClientSession) -> None:
        """``http`` knows the base URL and the token."""
        self.http = http

    async def call(self, method: str, path: str, *, reason: str, json: dict[str, Any] | None = None) -> None:
        """Do something; the reason stands in the guild's audit log."""
        for _ in range(5):
            headers = {"X-Audit-Log-Reason": quote(reason)}
            async with self.http.request(method, path, json=json, headers=headers) as response:
                if response.status == 404:
                    return  # A moderator was quicker, or the member has left.
                if response.status != 429:
                    response.raise_for_status()
                    return
                delay = float(response.headers.get("Retry-After", "1"))
            await asyncio.sleep(delay)
        raise RuntimeError(f"{method} {path} was rate limited five times; do less at once")


class Author(Model):
    """Only what this bot reads of a user."""

    id: Snowflake
    username: str
    bot: bool = False


class Written(Event, event="MESSAGE_CREATE"):
    """Only what this bot reads of a message; the rest is skipped in Rust."""

    id: Snowflake
    channel_id: Snowflake
    guild_id: Snowflake
    content: str
    author: Author


class Moderation(Listeners):
    """Listeners that share the words and the strikes. A test calls its methods like any others."""

    def __init__(self, words: set[str], *, strikes: int = 3) -> None:
        """``words``: the forbidden ones, in small letters. ``strikes``: so many, and the author has a break."""
        self.words = words
        self.limit = strikes
        self.strikes = Counter[tuple[int, int]]()

    # Messages of bots, and private ones, never touch Python.
    @listen(where=field("guild_id").exists() & ~field("author.bot").is_true())
    async def on_message(self, message: Written, rest: Rest) -> None:
        """Delete it, and count."""
        if not self.words & set(message.content.lower().split()):
            return
        key = message.guild_id, message.author.id
        # Counted before the first await: two messages at once are two strikes.
        self.strikes[key] += 1
        strikes = self.strikes[key]
        await rest.call("DELETE", f"channels/{message.channel_id}/messages/{message.id}", reason="a forbidden word")
        log.info("deleted a message of %s: strike %d", message.author.username, strikes)
        if strikes == self.limit:
            until = datetime.now(UTC) + timedelta(minutes=10)
            await rest.call(
                "PATCH",
                f"guilds/{message.guild_id}/members/{message.author.id}",
                reason=f"{strikes} forbidden words",
                json={"communication_disabled_until": until.isoformat()},
            )
            log.info("%s has a break", message.author.username)
            del self.strikes[key]

    @listen
    def on_audit_log(self, entry: GuildAuditLogEntryCreate) -> None:
        """What moderators do; what this bot does comes here too."""
        log.info("audit log of guild %s: %s by %s", entry.guild_id, entry.action_type, entry.user_id)

    def on_error(self, error: Exception) -> None:
        """What its own listeners raise: one message that cannot be deleted must not stop the others."""
        log.error("moderation failed", exc_info=error)


def with_rest(token: str, api: str) -> Callable[[Gateway], AbstractAsyncContextManager[Rest]]:
    """A lifespan: the HTTP client is there before the first event, and closed after the last call of a listener."""

    @contextlib.asynccontextmanager
    async def lifespan(gateway: Gateway) -> AsyncGenerator[Rest]:
        headers = {"Authorization": f"Bot {token}", "User-Agent": USER_AGENT}
        async with ClientSession(api, headers=headers, timeout=ClientTimeout(total=30)) as http:
            yield Rest(http)

    return lifespan


def make_bot(token: str, words: set[str], *, api: str = API, gateway_url: str | None = None) -> Gateway:
    """The gateway with its group; nothing is sent before it is opened."""
    intents = Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT | Intents.GUILD_MODERATION
    bot = Gateway(token, intents=intents, lifespan=with_rest(token, api), gateway_url=gateway_url)
    bot.add(Moderation(words))
    return bot


async def people(simulator: Simulator) -> None:
    """Simulated ones: every fourth message is about spam."""
    await simulator.wait_for("ready", count=1, timeout=60)
    for number in range(1_000_000):
        content = "buy spam now" if number % 4 == 3 else "good morning"
        author = {"author__id": 7 + number % 8, "author__username": f"user{number % 8}"}
        message = make(Written, id=number + 1, channel_id=2, guild_id=1, content=content, **author)
        simulator.dispatch("MESSAGE_CREATE", message)
        await asyncio.sleep(0.1)


async def main() -> None:
    """Against Discord, or against the simulator."""
    words = {"spam"}
    token = os.environ.get("DISCORD_TOKEN")
    if token:
        await make_bot(token, words).serve()
        return
    from stand_ins import rest_api

    log.info("DISCORD_TOKEN is not set: this is a simulated Discord")
    async with Simulator() as simulator, rest_api() as api:
        talking = asyncio.create_task(people(simulator))
        try:
            await make_bot("simulated", words, api=api, gateway_url=simulator.url).serve()
        finally:
            talking.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        asyncio.run(main())
    except GatewayClosed as error:
        # The text says what to do: another token, an intent to switch on.
        raise SystemExit(str(error)) from None
