"""What is kept in NATS and what is said over it: the names of keys and subjects, and the values of both, as JSON.

Owns names and shapes only. Who writes a key when is for those who do: `propylon.cluster._leases`,
`propylon.cluster._store`, `propylon.cluster._gate`, `propylon.cluster._partitions`, `propylon.cluster._announcing`.
"""

import hashlib
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec

from propylon._arguments import bare_token
from propylon._sessions.session import Session

__all__ = [
    "ACTIVE",
    "ALL_HEARD",
    "ALL_HOSTS",
    "ALL_PARTS",
    "ALL_SEEN",
    "ALL_WORKERS",
    "BOT",
    "BUDGET",
    "COORDINATOR",
    "GIVEN_UP_AFTER",
    "HEARD_FOR",
    "IDENTIFIED",
    "NEXT",
    "OVERLAP",
    "PARTITIONS",
    "RENEWED_EVERY",
    "TTL",
    "Active",
    "Bot",
    "BudgetKey",
    "Chunk",
    "Command",
    "CommandAnswer",
    "CommandProblem",
    "Coordinator",
    "Heard",
    "HeardSlot",
    "HostAnswer",
    "HostInfo",
    "HostQuestion",
    "Identified",
    "IdentifyAnswer",
    "IdentifyQuestion",
    "Lease",
    "Next",
    "OverlapKey",
    "PartitionLease",
    "SeenKey",
    "SeenOverlap",
    "StoredSession",
    "WorkerInfo",
    "all_leases",
    "bucket",
    "command_subject",
    "encode",
    "heard_key",
    "host_key",
    "host_subject",
    "identify_subject",
    "last_of",
    "lease_key",
    "part_key",
    "read",
    "session_key",
    "session_of",
    "shard_of_key",
    "stored",
    "token_mark",
    "worker_key",
]

PARTITIONS: Final = 64
"""Fixed: a guild's events stay in its partition whatever becomes of shards, hosts and workers."""
TTL: Final = 15.0
"""Seconds for which a key lives that is not renewed."""
RENEWED_EVERY: Final = 5.0
"""Seconds between two renewals."""
GIVEN_UP_AFTER: Final = 10.0
"""Seconds after which who could not renew a lease acts as if it were lost: before it expires, whatever the clocks."""
HEARD_FOR: Final = 60.0
"""Seconds for which the key of what a worker heard outlives it: one that restarts loses nothing, whichever host starts
meanwhile."""

# ---------------------------------------------------------------------- keys

ACTIVE: Final = "active"
NEXT: Final = "next"
OVERLAP: Final = "overlap"
COORDINATOR: Final = "coordinator"
BOT: Final = "bot"
BUDGET: Final = "budget"
IDENTIFIED: Final = "identified"
ALL_HOSTS: Final = "host.*"
ALL_WORKERS: Final = "worker.*"
ALL_HEARD: Final = "heard.*"
ALL_PARTS: Final = "part.*"
ALL_SEEN: Final = "seen.*"


def bucket(app: str) -> str:
    """The bucket of all keys."""
    return f"propylon-{app}"


def host_key(host_id: str) -> str:
    """Of a `HostInfo`."""
    return f"host.{host_id}"


def lease_key(total: int, shard_id: int) -> str:
    """Of a `Lease`."""
    return f"lease.{total}.{shard_id}"


def all_leases(total: int | None = None) -> str:
    """The leases of a total, or all of them."""
    return "lease.>" if total is None else f"lease.{total}.*"


def session_key(total: int, shard_id: int) -> str:
    """Of a `StoredSession`."""
    return f"session.{total}.{shard_id}"


def worker_key(worker_id: str) -> str:
    """Of a `WorkerInfo`."""
    return f"worker.{worker_id}"


def heard_key(worker_id: str) -> str:
    """Of a `Heard`."""
    return f"heard.{worker_id}"


def part_key(partition: int) -> str:
    """Of a `PartitionLease`."""
    return f"part.{partition}"


def last_of(key: str) -> str:
    """What follows the last dot: the id of a host or worker, the number of a shard or partition."""
    return key.rpartition(".")[2]


def shard_of_key(key: str) -> tuple[int, int] | None:
    """``(total, shard id)`` of a lease's or session's key; None where it is none."""
    match key.split("."):
        case ["lease" | "session", total, shard_id] if total.isascii() and shard_id.isascii():
            return (int(total), int(shard_id)) if total.isdigit() and shard_id.isdigit() else None
        case _:
            return None


# ---------------------------------------------------------------------- subjects


def command_subject(app: str, total: int, shard_id: int) -> str:
    """Where a `Command` goes: to whoever has the shard."""
    return f"propylon.{app}.cmd.{total}.{shard_id}"


def identify_subject(app: str) -> str:
    """Where an `IdentifyQuestion` goes: to the coordinator."""
    return f"propylon.{app}.identify"


def host_subject(app: str, host_id: str) -> str:
    """Where a `HostQuestion` goes."""
    return f"propylon.{app}.host.{host_id}"


# ---------------------------------------------------------------------- values of keys


class Active(msgspec.Struct, frozen=True):
    """Of `ACTIVE`: the number of shards that counts. The first host sets it, resharding switches it."""

    total: int
    window: float = 2.0
    """Seconds for which the shards of the total before go on publishing after the switch."""


class Bot(msgspec.Struct, frozen=True):
    """Of `BOT`: whose cluster it is. The first host says so; one of another bot is refused."""

    id: str
    """Of its user."""


class Next(msgspec.Struct, frozen=True):
    """Of `NEXT`, while the fleet is resharded: the number of shards that is to count."""

    total: int
    phase: Literal["opening", "overlap"] = "opening"
    """``"overlap"``: all of them are READY, and both totals publish."""
    window: float = 2.0


class OverlapKey(msgspec.Struct, frozen=True):
    """Of `OVERLAP`, while both totals may publish: workers give out once what both bring."""

    until: float
    """Unix time."""
    old: int
    """The total that is to end: what the other one brings waits until it has."""


class SeenOverlap(msgspec.Struct, frozen=True):
    """Two totals are told apart in what is not finished."""

    old: int
    """The one that is to end."""


class SeenKey(msgspec.Struct, frozen=True):
    """Of ``seen.<partition>``, which the engine writes: what the worker that has it leaves for the next one."""

    overlap: SeenOverlap | None = None


class HostInfo(msgspec.Struct, frozen=True):
    """Of ``host.<id>``: a gateway host that lives."""

    id: str
    capacity: int
    """The most shards that it takes."""
    started_at: float
    """Unix time."""
    draining: bool = False
    version: str = ""
    admin: str | None = None
    """``host:port`` of its admin server."""


class Lease(msgspec.Struct, frozen=True):
    """Of ``lease.<total>.<shard>``: who has a shard."""

    host: str
    """Its id."""
    epoch: int = 0
    """The revision with which the lease was taken. 0 until the first renewal: then it is the entry's revision."""
    since: float = 0.0
    """Unix time at which it was taken."""
    status: str = "UNCONNECTED"
    """The name of a `GatewayStatus`."""
    publishing: bool = True
    """Whether what workers hear of it leaves the host: not so while a new total is being opened."""


class StoredSession(msgspec.Struct, frozen=True):
    """Of ``session.<total>.<shard>``: where a shard goes on."""

    session: dict[str, Any] | None
    """As `Session.to_dict` gives it; None: Discord has ended it."""
    epoch: int
    """Of the lease under which it was written."""
    token: str = ""
    """The `token_mark` of the bot's token: another one cannot resume it."""


class Coordinator(msgspec.Struct, frozen=True):
    """Of `COORDINATOR`: the host that spaces all IDENTIFYs."""

    host: str


class BudgetKey(msgspec.Struct, frozen=True):
    """Of `BUDGET`: IDENTIFYs of the day, less those that have left since Discord told."""

    total: int
    remaining: int
    resets_at: float
    """Unix time."""
    told_at: float = 0.0
    """Unix time at which Discord told it."""


class Identified(msgspec.Struct, frozen=True):
    """Of `IDENTIFIED`, which expires: an IDENTIFY has left lately, so a new coordinator waits one window."""

    host: str


class WorkerInfo(msgspec.Struct, frozen=True):
    """Of ``worker.<id>``: a worker that lives."""

    id: str
    started_at: float
    version: str = ""
    draining: bool = False
    admin: str | None = None
    listens: bool = True
    """Whether anybody listens or waits there: else it takes no partition, whose events nobody would hear."""
    listeners: str | None = None
    """Tells those apart that have different listeners, waits and streams aside."""


class HeardSlot(msgspec.Struct, frozen=True):
    """What a worker hears under one filter, or under none."""

    where: str | None
    """The JSON of the filter, as `_core.Filter` takes it."""
    events: list[str]
    """Names; ``"*"``: all of them."""
    projections: dict[str, dict[str, Any]] = {}
    """By name, the fields that are wanted of an event, as `_core.Projection` takes them; others are wanted whole."""


class Heard(msgspec.Struct, frozen=True):
    """Of ``heard.<worker id>``: all that a worker listens to. It outlives the worker by `HEARD_FOR`: who lives is told
    by `WorkerInfo`."""

    slots: list[HeardSlot] = []
    overlap: int | None = None
    """`OverlapKey.old`, once its partitions know of it. Before all do, the total that is to come publishes nothing."""


class PartitionLease(msgspec.Struct, frozen=True):
    """Of ``part.<p>``: the worker that has a partition."""

    worker: str
    """Its id."""


# ---------------------------------------------------------------------- what is asked and answered


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker has the shard do that owns a guild. It answers with one `CommandAnswer`."""

    kind: Literal["send", "presence", "voice", "request_members"]
    op: int = 0
    """Of ``"send"``: an opcode that users may send."""
    data: Any = None
    """``d`` of the payload; of ``"presence"`` that of opcode 3, of ``"voice"`` of 4, of ``"request_members"`` of 8."""
    timeout: float | None = None
    """Seconds that Discord has to answer, for ``"voice"`` and ``"request_members"``. None: no end."""
    inbox: str = ""
    """Of ``"request_members"``: the subject for a `Chunk` each, after the `CommandAnswer`."""


CommandProblem: TypeAlias = Literal["rate limited", "not connected", "bad request", "too large", "timeout", "failed"]


class CommandAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a `Command`."""

    error: CommandProblem | None = None
    text: str = ""
    """What the error says."""
    retry_after: float | None = None
    """Seconds, where it is ``"rate limited"``."""
    data: Any = None
    """Of ``"voice"``: None, or the voice server, as ``{"token", "guild_id", "endpoint", "session_id"}``."""


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer to ``"request_members"``; the last one has no data."""

    data: msgspec.Raw = msgspec.Raw()
    """``d`` of a GUILD_MEMBERS_CHUNK as JSON; empty in the last one."""
    end: bool = False
    error: CommandProblem | None = None
    """With ``end``: why no more come."""
    text: str = ""
    retry_after: float | None = None


class IdentifyQuestion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A shard waits to IDENTIFY, or its IDENTIFY was answered. Asked again and again until it is granted."""

    shard: int
    max_concurrency: int
    host: str
    ticket: str
    """Of one waiting: the same each time that it asks again."""
    released: bool = False


class IdentifyAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the coordinator says to an `IdentifyQuestion`."""

    granted: bool = False
    wait: float = 0.0
    """Seconds until it is to be asked again."""
    resets_at: float | None = None
    """Refused: hardly any IDENTIFY is left before this Unix time."""


class HostQuestion(msgspec.Struct, frozen=True):
    """Control of one host."""

    kind: Literal["drain", "status"]


class HostAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a host says to a `HostQuestion`."""

    ok: bool = True
    text: str = ""
    shards: dict[str, str] = {}
    """Of ``"status"``: the status of each shard, by ``"<total>.<shard>"``."""
    metrics: dict[str, float] = {}


# ---------------------------------------------------------------------- both ways

_S = TypeVar("_S", bound=msgspec.Struct)


def encode(value: msgspec.Struct) -> bytes:
    """As JSON."""
    return msgspec.json.encode(value)


def read(kind: type[_S], data: bytes | None) -> _S | None:
    """What JSON says; None where there is none, or something else: a version that we do not know wrote it."""
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError):
        return None


def token_mark(token: str) -> str:
    """Tells the tokens of one bucket apart, and tells nothing of them."""
    return hashlib.blake2b(bare_token(token).encode(), key=b"propylon cluster", digest_size=8).hexdigest()


def stored(session: Session | None, epoch: int, mark: str) -> StoredSession:
    """A session as it is kept."""
    return StoredSession(None if session is None else session.to_dict(), epoch, mark)


def session_of(kept: StoredSession | None, mark: str) -> Session | None:
    """The session that is kept, where it is one of this token."""
    if kept is None or kept.session is None or kept.token != mark:
        return None
    try:
        return Session.from_dict(kept.session)
    except ValueError:
        return None
