"""Members of large guilds, chunk by chunk, and kept up to date: a cache of exactly what this bot needs.

With ``DISCORD_TOKEN`` in the environment it runs against Discord; without, against a simulated Discord of its own::

    python examples/member_chunks.py

It needs the Server Members intent, to be switched on for the application in the Developer Portal.
"""

import asyncio
import logging
import os

from propylon import (
    Gateway,
    GatewayClosed,
    Intents,
    Listeners,
    NotConnected,
    RateLimited,
    RequestTimeout,
    Snowflake,
    listen,
)
from propylon.events import Event, GuildMemberAdd, GuildMemberRemove, GuildMemberUpdate, GuildRemoved
from propylon.testing import Simulator

log = logging.getLogger("member_chunks")


class Guild(Event, event="GUILD_CREATE"):
    """Only what this bot reads of a guild, which is a hundredth of what Discord sends."""

    id: Snowflake
    name: str = ""
    member_count: int = 0


class Directory(Listeners):
    """Who is in which guild, by display name."""

    def __init__(self) -> None:
        """Nobody is known yet."""
        self.members: dict[int, dict[int, str]] = {}

    @listen(concurrency=5)
    async def on_guild(self, guild: Guild, gateway: Gateway) -> None:
        """A guild of the bot, or one that it was added to: ask for everybody, for at most five guilds at once."""
        known = self.members[guild.id] = {}
        while True:
            try:
                # Chunks overtake the events that wait, so a listener may await them.
                async for chunk in gateway.request_members(guild.id, timeout=30):
                    # What came meanwhile by the listeners below is newer.
                    for member in chunk.members:
                        known.setdefault(member.user.id, member.display_name)
                    log.info("guild %s: chunk %d of %d", guild.name, chunk.chunk_index + 1, chunk.chunk_count)
            except RateLimited as error:
                # All members of a guild may be asked for once in 30 s.
                log.info("guild %s: again in %.0f s", guild.name, error.retry_after)
                await asyncio.sleep(error.retry_after)
            except RequestTimeout as error:
                log.warning("guild %s: %s", guild.name, error)
                return
            except NotConnected:
                # A new session has begun, which brings the guild again; or this is the end.
                return
            else:
                log.info("guild %s: %d members, Discord says %d", guild.name, len(known), guild.member_count)
                return

    @listen
    def on_member(self, member: GuildMemberAdd | GuildMemberUpdate) -> None:
        """One who has come, or has another name."""
        self.members.setdefault(member.guild_id, {})[member.user.id] = member.display_name

    @listen
    def on_member_gone(self, event: GuildMemberRemove) -> None:
        """One who has left."""
        self.members.get(event.guild_id, {}).pop(event.user.id, None)

    @listen
    def on_guild_gone(self, guild: GuildRemoved) -> None:
        """A guild that the bot was removed from."""
        self.members.pop(guild.id, None)


def make_bot(token: str, directory: Directory, *, gateway_url: str | None = None) -> Gateway:
    """The gateway. It has no session store: a resumed session would bring no guilds, and this keeps them in memory."""
    bot = Gateway(token, intents=Intents.GUILDS | Intents.GUILD_MEMBERS, gateway_url=gateway_url)
    bot.add(directory)
    return bot


async def main() -> None:
    """Against Discord, or against the simulator."""
    directory = Directory()
    token = os.environ.get("DISCORD_TOKEN")
    if token:
        await make_bot(token, directory).serve()
        return
    log.info("DISCORD_TOKEN is not set: this is a simulated Discord with 3 guilds of 2,500 members")
    async with Simulator(guilds=3, members=2500) as simulator:
        await make_bot("simulated", directory, gateway_url=simulator.url).serve()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        asyncio.run(main())
    except GatewayClosed as error:
        raise SystemExit(str(error)) from None
