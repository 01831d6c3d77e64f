"""A worker of a cluster: listeners as in any bot, on as many machines as you like.

``propylon gateway`` holds the connections to Discord; this holds the code. Start it as often as you need, stop it when
you like: the others take over what it had, and what it had not finished comes again.
"""

import logging
import os

from propylon import field
from propylon.cluster import Nats, Worker
from propylon.events import GuildCreate, MessageCreate

log = logging.getLogger("worker")


def given(name: str) -> str | None:
    # By the names that `propylon gateway` and `propylon cluster` read too.
    return os.environ.get(f"PROPYLON_NATS_{name}") or None


nats = Nats(
    given("URL") or "nats://127.0.0.1:4222",
    creds=given("CREDS"),
    user=given("USER"),
    password=given("PASSWORD"),
    token=given("TOKEN"),
    nkey=given("NKEY"),
    ca_file=given("CA_FILE"),
    cert_file=given("CERT_FILE"),
    key_file=given("KEY_FILE"),
)
worker = Worker(
    nats,
    app=os.environ.get("PROPYLON_APP", "mybot"),
    # Such as 127.0.0.1:9464. In a container the scraper comes from outside, which has to be said.
    admin=os.environ.get("PROPYLON_ADMIN"),
    admin_remote="PROPYLON_ADMIN_REMOTE" in os.environ,
)


# Only what some worker hears leaves a gateway host: all other messages are dropped there.
@worker.listen(where=field("content").startswith("!"))
async def on_command(message: MessageCreate) -> None:
    log.info("%s in channel %s: %s", message.author.username, message.channel_id, message.content)


@worker.listen
async def on_guild(guild: GuildCreate) -> None:
    # Reaches the host that has the guild's shard, whichever that is.
    members = await worker.request_members(guild.id, query="a", limit=5)
    log.info("guild %s: %d members begin with an a, of the first five", guild.id, len(members))


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    worker.run()
