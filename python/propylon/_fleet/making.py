"""Making the shards of a fleet, all alike but for their ids."""

from collections.abc import Callable
from typing import Any, Final

import propylon._core as _core
from propylon._fleet.team import Team
from propylon._gateway.admin import Admin
from propylon._gateway.intents import AskedIntents
from propylon._gateway.life import Fleet, Life
from propylon._listening.lifespan import Lifespan
from propylon._sessions.stores import SessionStore

__all__ = ["Maker"]

_BETWEEN_STARTS: Final = 0.005
"""Seconds between two shards that start, or come back, together: a TLS handshake and a RESUME cost us one or two
milliseconds."""
_LONGEST_SPREAD: Final = 5.0


class Maker:
    """Makes the shards of one manager, of whatever total."""

    def __init__(
        self,
        owner: object,
        options: dict[str, Any],
        token: str,
        *,
        intents: AskedIntents,
        sessions: SessionStore | None,
        presence_of: Callable[[int], str | None],
        outside_gate: bool,
        max_pending: int,
        queue_bytes: int,
        shard_queue_bytes: int,
        mending: bool,
        lifespan: Lifespan,
        admin: Admin,
    ) -> None:
        """``owner`` is what listeners are given; ``options`` are the engine's, checked, without a shard.

        ``presence_of`` gives the presence of a shard's IDENTIFY as JSON.
        """
        self._owner: Final = owner
        self._options: Final = options
        self._token: Final = token
        self._intents: Final = intents
        self._sessions: Final = sessions
        self.presence_of = presence_of
        self._outside_gate: Final = outside_gate
        self._max_pending: Final = max_pending
        self._queue_bytes: Final = queue_bytes
        self._shard_queue_bytes: Final = shard_queue_bytes
        self._mending: Final = mending
        self._lifespan: Final = lifespan
        self._admin: Final = admin

    def room(self, shards: int) -> _core.Room:
        """What the queues of so many shards share."""
        return _core.Room(self._queue_bytes, shards)

    def team(self, ids: tuple[int, ...], total: int, fleet: Fleet) -> Team:
        """Shards that are not opened yet."""
        lives: dict[int, Life] = {}
        try:
            for shard_id in ids:
                lives[shard_id] = self._life(shard_id, total, fleet)
        except BaseException:
            # A presence that its function could not give, for one.
            for life in lives.values():
                fleet.listening.unbind(life.consumer)
            raise
        return Team(lives, total)

    def _life(self, shard_id: int, total: int, fleet: Fleet) -> Life:
        options = {
            **self._options,
            "shard": (shard_id, total),
            "intents": int(self._intents.asked),
            "presence": self.presence_of(shard_id),
            "outside_gate": self._outside_gate,
            "spread": min(total * _BETWEEN_STARTS, _LONGEST_SPREAD) if total > 1 else 0.0,
            "queue_bytes": self._shard_queue_bytes,
        }
        return Life(
            self._owner,
            options,
            self._token,
            intents=self._intents,
            shard=(shard_id, total),
            sessions=self._sessions,
            max_pending=self._max_pending,
            queue_bytes=self._shard_queue_bytes,
            mending=self._mending,
            lifespan=self._lifespan,
            admin=self._admin,
            fleet=fleet,
        )
