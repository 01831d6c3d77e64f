"""Propylon's engine under hikari 2.7: `install` it before ``run``, and the bot goes on as it was.

Stands on hikari, which the extra ``hikari`` brings: ``pip install 'propylon[hikari]'``.
"""

import os
from collections.abc import Mapping
from typing import Unpack

from propylon._filters.expression import Filter
from propylon._sessions.gates import IdentifyGate
from propylon._sessions.stores import SessionStore
from propylon.adapters._link import EngineOptions
from propylon.adapters._versions import check_version

# Before hikari itself is imported, so that its absence is told in our words.
check_version("hikari", (2, 7), "hikari")

import hikari  # noqa: E402

from propylon.adapters.hikari._engine import Engine, check_bot  # noqa: E402

__all__ = ["Engine", "EngineOptions", "install"]


def install(
    bot: hikari.GatewayBot,
    *,
    sessions: SessionStore | None = None,
    cache: str | os.PathLike[str] | None = None,
    gate: IdentifyGate | None = None,
    where: Mapping[str, Filter] | None = None,
    admin: str | None = None,
    admin_remote: bool = False,
    **options: Unpack[EngineOptions],
) -> Engine:
    """Let Propylon's engine keep the connections of a bot, in place of hikari's shards::

        bot = hikari.GatewayBot(token)
        install(bot)
        bot.run()

    Other bots of the process are left as they are.

    Args:
        bot: The bot, before ``run`` or ``start``.
        sessions: Where sessions outlive the process, such as a `propylon.FileSessionStore`: the next process resumes,
            and begins with the guilds that this one knows. The bot then seems to be online until the session expires.
        cache: Folder where what hikari's cache holds is kept with the sessions, as secret as they are. None: beside the
            file of a `propylon.FileSessionStore`; for other stores it has to be named.
        gate: Who says when a shard may IDENTIFY where several processes share a token, such as a
            `propylon.FileIdentifyGate`.
        where: Filters by the name of an event on the wire; events that do not pass never reach Python. Such as
            ``{"MESSAGE_CREATE": ~field("author.bot").is_true()}``.
        admin: Address of the admin server, such as ``"127.0.0.1:9464"``; it is there while the bot is alive.
        admin_remote: Allow an address that other machines reach.
        options: As for `propylon.Gateway`: ``gateway_url``, ``compression``, ``timeouts``, ``backoff``, ``overflow``,
            ``queue_bytes``, ``max_payload_bytes``, ``wake_interval``, ``proxy``, ``ca_file``, ``native_roots``,
            ``identify_properties``, ``allow_plaintext``. What hikari knows itself is taken from there.

    Raises:
        RuntimeError: Another version of hikari is installed, the bot is alive already, or has an engine.
        ValueError, TypeError: An option cannot work, or the bot declares capabilities; the text says what to change.
    """
    check_bot(bot)
    return Engine(
        bot,
        sessions=sessions,
        cache=cache,
        gate=gate,
        where=where,
        admin=admin,
        admin_remote=admin_remote,
        options=options,
    )
