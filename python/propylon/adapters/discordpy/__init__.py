"""Propylon's engine under discord.py 2.7: `install` it before ``run``, and the bot goes on as it was.

Stands on discord.py, which the extra ``discordpy`` brings: ``pip install 'propylon[discordpy]'``.
"""

import os
from collections.abc import Mapping
from typing import Unpack

from propylon._filters.expression import Filter
from propylon._sessions.gates import IdentifyGate
from propylon._sessions.stores import SessionStore
from propylon.adapters._link import EngineOptions
from propylon.adapters._versions import check_version

# Before discord.py itself is imported, so that its absence is told in our words.
check_version("discord.py", (2, 7), "discordpy")

import discord  # noqa: E402

from propylon.adapters.discordpy._engine import (  # noqa: E402
    Engine,
    check_client,
    set_engine,
    take_the_seam,
    warn_of_patches,
)

__all__ = ["Engine", "EngineOptions", "install"]


def install(
    client: discord.Client,
    *,
    sessions: SessionStore | None = None,
    cache: str | os.PathLike[str] | None = None,
    gate: IdentifyGate | None = None,
    where: Mapping[str, Filter] | None = None,
    admin: str | None = None,
    admin_remote: bool = False,
    **options: Unpack[EngineOptions],
) -> Engine:
    """Let Propylon's engine keep the connections of a client, in place of discord.py's WebSocket::

        bot = commands.Bot(command_prefix="!", intents=intents)
        install(bot)
        bot.run(token)

    For `discord.Client`, `commands.Bot` and their auto-sharded kin. Other clients of the process are left as they are.

    Args:
        client: The client, before ``run``, ``start`` or ``connect``.
        sessions: Where sessions outlive the process, such as a `propylon.FileSessionStore`: the next process resumes,
            and begins with the guilds that this one knows. The bot then seems to be online until the session expires.
        cache: Folder where what discord.py's cache holds is kept with the sessions, as secret as they are. None: beside
            the file of a `propylon.FileSessionStore`; for other stores it has to be named.
        gate: Who says when a shard may IDENTIFY where several processes share a token, such as a
            `propylon.FileIdentifyGate`.
        where: Filters by the name of an event on the wire; events that do not pass never reach Python. Such as
            ``{"MESSAGE_CREATE": ~field("author.bot").is_true()}``.
        admin: Address of the admin server, such as ``"127.0.0.1:9464"``; it is there while the client is connected.
        admin_remote: Allow an address that other machines reach.
        options: As for `propylon.Gateway`: ``gateway_url``, ``compression``, ``timeouts``, ``backoff``, ``overflow``,
            ``queue_bytes``, ``max_payload_bytes``, ``wake_interval``, ``proxy``, ``ca_file``, ``native_roots``,
            ``identify_properties``, ``allow_plaintext``. What discord.py knows itself is taken from there.

    Raises:
        RuntimeError: Another version of discord.py is installed, the client is connected already, or has an engine.
        ValueError, TypeError: An option cannot work; the text says what to change.
    """
    check_client(client)
    engine = Engine(
        client,
        sessions=sessions,
        cache=cache,
        gate=gate,
        where=where,
        admin=admin,
        admin_remote=admin_remote,
        options=options,
    )
    warn_of_patches()
    take_the_seam()
    set_engine(client, engine)
    return engine
