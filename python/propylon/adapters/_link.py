"""One shard of another library's client, kept by the engine: its life, its events in order, and what becomes of it.

Owns what all adapters have in common: which events are wanted, when a lost connection is told, who is asked before an
IDENTIFY. Knows no library; what an event means there is the adapter's.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypedDict

from propylon._core import Dispatch, Room
from propylon._delivery.plans import Plans
from propylon._filters.expression import Filter, fitted
from propylon._fleet.permits import Permits
from propylon._gateway.admin import Admin
from propylon._gateway.intents import AskedIntents
from propylon._gateway.life import Life
from propylon._gateway.options import Backoff, Compression, Overflow, Timeouts
from propylon._gateway.settings import engine_options
from propylon._listening.entry import ALL, Entry, Wanted
from propylon._listening.face import ListenerFace
from propylon._listening.lifespan import Lifespan
from propylon._sessions.gates import IdentifyGate, IdentifyPermit
from propylon._sessions.session import Closed, GatewayStatus, Session
from propylon._sessions.stores import SessionStore
from propylon.errors import PropylonError

__all__ = ["ALL", "EngineOptions", "Link", "Told", "checked_filters", "options_of"]

_LOOK: Final = 0.002
"""Seconds between two looks whether the events of a lost connection have been handed out."""
_OF_THE_SESSION: Final = frozenset({"READY", "RESUMED"})
_QUEUE_BYTES: Final = 64 * 1024 * 1024


class EngineOptions(TypedDict, total=False):
    """What the engine may be told besides; all of it is explained at `propylon.Gateway`."""

    gateway_url: str | None
    api_url: str
    compression: Compression
    timeouts: Timeouts | None
    backoff: Backoff | None
    overflow: Overflow
    queue_bytes: int
    max_payload_bytes: int
    wake_interval: float
    proxy: str | None
    ca_file: str | os.PathLike[str] | None
    native_roots: bool
    identify_properties: dict[str, str] | None
    allow_plaintext: bool


def options_of(
    token: str,
    given: EngineOptions,
    *,
    intents: int,
    shard: tuple[int, int] | None,
    large_threshold: int,
    presence: str | None,
) -> dict[str, Any]:
    """The engine's options, checked; ``presence`` is the JSON of a presence update.

    Raises ValueError or TypeError where one cannot work.
    """
    defaults: dict[str, Any] = {
        "gateway_url": None,
        "api_url": "https://discord.com/api/v10",
        "compression": "zstd-stream",
        "timeouts": None,
        "backoff": None,
        "overflow": "pause",
        "queue_bytes": _QUEUE_BYTES,
        "max_payload_bytes": _QUEUE_BYTES,
        "wake_interval": 0.002,
        "proxy": None,
        "ca_file": None,
        "native_roots": False,
        "identify_properties": None,
        "allow_plaintext": False,
    }
    unknown = given.keys() - defaults.keys()
    if unknown:
        raise TypeError(f"install() has no option {', '.join(sorted(unknown))}")
    settings: dict[str, Any] = {**defaults, **given}
    options = engine_options(
        token,
        intents=intents,
        presence=None,
        large_threshold=large_threshold,
        auto_reconnect=True,
        shard=shard,
        session=None,
        **settings,
    )
    return {**options, "presence": presence}


def checked_filters(where: Mapping[str, Filter] | None) -> dict[str, Filter]:
    """The filters of events by their names on the wire. Raises TypeError or ValueError for what is none."""
    filters: dict[str, Filter] = {}
    for event, condition in (where or {}).items():
        if not isinstance(condition, Filter):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"where= takes a filter for each event, as in where={{'MESSAGE_CREATE': field('guild_id') == 7}}, "
                f"not {condition!r:.100}"
            )
        if event in _OF_THE_SESSION or event in ("GUILD_CREATE", "GUILD_DELETE"):
            raise ValueError(f"where= cannot leave out {event}: without it the library knows no guilds")
        filters[event] = fitted(condition, event)
    return filters


class Told(Protocol):
    """What the side of the library hears of its shard, in the event loop."""

    def event(self, dispatch: Dispatch[Any], /) -> None:
        """An event that it wants, in the order in which they came. What it raises is logged and counted."""

    def lost(self) -> None:
        """A connection has ended and another one follows; told behind the events that it brought."""

    def no_connection(self, message: str) -> None:
        """No connection came about; another attempt follows."""

    def ended(self, error: BaseException | None) -> None:
        """No connection follows; None: it was closed by the library itself."""

    async def before_identify(self) -> None:
        """An IDENTIFY waits for this to return. What it raises ends the shard."""


class _NoPermit:
    """Nobody wants it back."""

    def release(self) -> None:
        """Do nothing."""


class _Gate:
    """Asks the library first, and then the gate that processes share, where there is one."""

    def __init__(self, link: "Link", gate: IdentifyGate | None) -> None:
        self._link: Final = link
        self._gate: Final = gate

    async def acquire(self, shard_id: int, max_concurrency: int) -> IdentifyPermit:
        """Wait for both."""
        try:
            await self._link.told.before_identify()
        except Exception as error:
            self._link.fail(error)
            # Given up when the shard has ended.
            await asyncio.get_running_loop().create_future()
        return _NoPermit() if self._gate is None else await self._gate.acquire(shard_id, max_concurrency)


class _ShardLife(Life):
    """A shard that also tells of connections that did not come about."""

    link: "Link"

    def notice(self, kind: str, *facts: Any) -> None:
        """Take news."""
        super().notice(kind, *facts)
        if kind == "connect failed":
            what, message, _ = facts
            self.link.told.no_connection(f"{what}: {message}")


class Link:
    """One shard, from its first connection to its end. To its `Life` it is a fleet of one."""

    def __init__(
        self,
        owner: object,
        told: Told,
        token: str,
        options: dict[str, Any],
        *,
        name: str,
        intents: int,
        shard: tuple[int, int] | None,
        sessions: SessionStore | None,
        gate: IdentifyGate | None,
        asks: bool,
        admin: Admin,
    ) -> None:
        """Nothing is sent before `start`.

        ``name`` is what logs and metrics call the library; ``asks``: `Told.before_identify` has something to say.
        """
        self.told: Final = told
        self._name: Final = name
        self._admin: Final = admin
        lifespan = Lifespan(owner, None)
        self.listening: Final = ListenerFace(owner, lifespan, check_usable=_nothing, adding=_nothing)
        self.plans: Final = Plans(self.listening.registry)
        self.room: Room | None = None
        outside = asks or gate is not None
        self._permits: Final = Permits(_Gate(self, gate)) if outside else None
        self.life: Final = _ShardLife(
            owner,
            {**options, "outside_gate": outside},
            token,
            intents=AskedIntents(intents),
            shard=shard,
            sessions=sessions,
            max_pending=1 << 30,
            queue_bytes=_QUEUE_BYTES,
            mending=False,
            lifespan=lifespan,
            admin=admin,
            fleet=self,
        )
        self.life.link = self
        self._keeps: Final = sessions is not None
        self._last: Dispatch[Any] | None = None
        self._lost: list[int] = []
        """For each connection that was lost and is not told of, the last sequence number that it brought."""
        self._opening: asyncio.Task[None] | None = None
        self._over = False

    # ------------------------------------------------------------------ which events

    def want(self, filters: Mapping[str, Filter | None]) -> Entry:
        """From now on these events come, each where its filter holds; `ALL` stands for every event."""
        wanted = [Wanted(event, None, where) for event, where in filters.items()]
        entry = Entry(self._event, wanted, self.unwant, name=self._name)
        self.listening.registry.add([entry])
        return entry

    def unwant(self, entry: Entry) -> None:
        """They come no more, unless something else wants them; those that wait do not either."""
        self.listening.registry.remove([entry])

    def _event(self, dispatch: Dispatch[Any]) -> None:
        if dispatch is self._last:
            # Wanted twice.
            return
        self._last = dispatch
        if self._lost and (dispatch.type in _OF_THE_SESSION or (dispatch.sequence or 0) > self._lost[0]):
            self._tell_lost()
        self.told.event(dispatch)

    # ------------------------------------------------------------------ life

    def start(self, session: Session | None = None) -> None:
        """Connect, and go on with a session where one is given, or in the store."""
        if session is not None:
            self.life.session = session
        self._admin.show(self.life.shard)
        task = self._opening = asyncio.get_running_loop().create_task(self.life.open(None), name="propylon shard start")
        # A loop that ends without cancelling its tasks needs no word about this one.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.life.under_way:
            # A store that is set up wrong, for one.
            self._end(error)

    def fail(self, error: BaseException) -> None:
        """It ends with this error."""
        self._end(error)
        self.life.hang_up(4000 if self._keeps else 1000)

    async def close(self, code: int | None) -> None:
        """Close the connection and wait until it is closed; None: so that it can be resumed where there is a store."""
        await self.life.close(code)

    @property
    def keeps(self) -> bool:
        """Whether there is a store."""
        return self._keeps

    @property
    def is_open(self) -> bool:
        """Whether it has a connection or makes one."""
        return not self._over and (self.life.under_way or (self._opening is not None and not self._opening.done()))

    @property
    def is_connected(self) -> bool:
        """Whether READY or RESUMED is in."""
        return self.life.status is GatewayStatus.READY

    def _end(self, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = True
        self._lost.clear()
        self._admin.hide(self.life.shard)
        self.told.ended(error)

    # ------------------------------------------------------------------ lost connections

    def shard_closed(self, life: Life, closed: Closed) -> None:
        """A connection has ended. For `Life`."""
        if not closed.reconnect:
            return
        session = life.session
        self._lost.append(0 if session is None else session.sequence)
        self._look()

    def _look(self) -> None:
        if not self._lost:
            return
        if self.life.shard.waiting or next(self.life.consumer.waiting(), None) is not None:
            asyncio.get_running_loop().call_later(_LOOK, self._look)
        else:
            self._tell_lost()

    def _tell_lost(self) -> None:
        while self._lost:
            self._lost.pop(0)
            self.told.lost()

    # ------------------------------------------------------------------ what a shard asks its fleet

    def shard_ready(self, life: Life, *, resumed: bool) -> None:
        """Its READY or RESUMED comes as an event too."""

    def hears(self, life: Life) -> bool:
        """Nobody listens for ends here."""
        return False

    def guilds_ready(self, life: Life) -> None:
        """The library has its own opinion."""

    def shard_ended(self, life: Life, error: PropylonError | None) -> None:
        """It makes no further connection."""
        self._end(error)

    async def left_open(self) -> None:
        """The loop has nothing left to do but this."""
        await self.life.close(None)

    def permit(self, life: Life, kind: str, number: int, max_concurrency: int = 0) -> None:
        """An IDENTIFY waits for leave, or waits no more."""
        assert self._permits is not None
        if kind == "permit wanted":
            self._permits.wanted(life, number, max_concurrency)
        else:
            self._permits.over(life, number)


def _nothing(*_: object) -> None:
    """What is checked for the users of a gateway has nobody to tell here."""
