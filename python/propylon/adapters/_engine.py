"""What the engines of all adapters share: options, sessions with their caches, the admin server, counters, who listens.

An engine belongs to one client or bot of another library and has a `Link` for each of its shards.
"""

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from propylon._filters.expression import Filter
from propylon._fleet.counters import none, summed
from propylon._fleet.permits import check_gate
from propylon._gateway.admin import Admin
from propylon._gateway.metrics import Metrics
from propylon._listening.entry import Entry
from propylon._sessions.gates import IdentifyGate
from propylon._sessions.keeping import session_key
from propylon._sessions.session import Session
from propylon._sessions.stores import SessionStore
from propylon._sessions.together import together
from propylon.adapters._cache import Cache, folder_of, guarded
from propylon.adapters._link import EngineOptions, Link, Told, checked_filters

__all__ = ["BaseEngine", "with_login"]

_LOOK: Final = 5.0
"""Seconds between two looks at who listens, for what comes and goes unnoticed."""


def with_login(url: str, user: str, password: str) -> str:
    """The address of a proxy whose login the library keeps beside it."""
    parts = urlsplit(url)
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@"
    return urlunsplit(parts._replace(netloc=login + parts.netloc.rpartition("@")[2]))


class BaseEngine:
    """The engine under one client."""

    def __init__(
        self,
        owner: object,
        *,
        sessions: SessionStore | None,
        cache: str | os.PathLike[str] | None,
        gate: IdentifyGate | None,
        where: Mapping[str, Filter] | None,
        admin: str | None,
        admin_remote: bool,
        options: EngineOptions,
    ) -> None:
        """Made by ``install``. Raises what it says."""
        check_gate(gate)
        self._owner: Final = owner
        self._given: Final = options
        self._filters: Final = checked_filters(where)
        self._gate: Final = gate
        self._beginning: Final = folder_of(sessions, cache)
        self._sessions: Final = None if sessions is None else guarded(together(sessions), self._cache_of)
        self._caches: Final[dict[str, Cache]] = {}
        """By the keys of their sessions."""
        self._admin: Final = Admin(admin, admin_remote)
        self._shows = False
        """Whether the admin server is asked for now."""
        self._links: Final[dict[int | None, Link]] = {}
        """By the ids of their shards."""
        self._on_demand: Final[dict[Link, dict[str, Entry]]] = {}
        """The events that come because somebody listens."""
        self._retired = none()
        self._looked = 0.0

    # ------------------------------------------------------------------ what users look at

    @property
    def admin_address(self) -> tuple[str, int] | None:
        """``(host, port)`` of the admin server; None where there is none, and while the bot is not connected."""
        return self._admin.address

    def metrics(self) -> Metrics:
        """The sum of all counters over the shards, those that have ended among them."""
        return summed([self._retired, *(link.life.metrics() for link in self._links.values())])

    def session(self, shard_id: int | None = None) -> Session | None:
        """The session of a shard as a RESUME would use it; None where there is none. A bot without shards has one."""
        link = self._links.get(shard_id)
        return None if link is None else link.life.session

    def __repr__(self) -> str:
        """Whose it is."""
        return f"<Engine of {type(self._owner).__name__} with {len(self._links)} shards>"

    def _open_admin(self) -> None:
        """Raises OSError where it cannot listen."""
        if not self._shows:
            self._admin.open()
            self._shows = True

    def _close_admin(self) -> None:
        if self._shows:
            self._shows = False
            self._admin.close()

    # ------------------------------------------------------------------ shards

    def _cache_of(self, key: str) -> Cache | None:
        if self._beginning is None:
            return None
        return self._caches.setdefault(key, Cache(self._beginning, key))

    def _new_link(
        self,
        told: Told,
        token: str,
        options: dict[str, Any],
        *,
        name: str,
        intents: int,
        shard: tuple[int, int] | None,
        asks: bool,
        always: Iterable[str],
    ) -> tuple[Link, Cache | None]:
        """A shard that is not started, and what its cache is kept in; ``always``: the events that it wants anyway."""
        key = None if shard is None else shard[0]
        kept = None if self._sessions is None else self._cache_of(session_key(token, shard))
        link = Link(
            self._owner,
            told,
            token,
            options,
            name=name,
            intents=intents,
            shard=shard,
            sessions=self._sessions,
            gate=self._gate,
            asks=asks,
            admin=self._admin,
        )
        earlier = self._links.get(key)
        if earlier is not None:
            self._retired = summed([self._retired, earlier.life.metrics()], of_now=False)
            del self._on_demand[earlier]
        self._links[key] = link
        self._on_demand[link] = {}
        link.want({event: self._filters.get(event) for event in always})
        self.look()
        return link, kept

    # ------------------------------------------------------------------ who listens

    def _demanded(self) -> set[str]:
        """The events that somebody listens to, besides those that are wanted anyway."""
        raise NotImplementedError

    def look(self, *, tidy: bool = True) -> None:
        """Let those events come that somebody listens to; ``tidy``: and no others."""
        if tidy:
            self._looked = time.monotonic()
        wanted = self._demanded()
        for link, entries in self._on_demand.items():
            for event in wanted - entries.keys():
                entries[event] = link.want({event: self._filters.get(event)})
            for event in entries.keys() - wanted if tidy else ():
                link.unwant(entries.pop(event))

    def parsed(self) -> None:
        """An event was: a moment to look."""
        if time.monotonic() - self._looked > _LOOK:
            self.look()
