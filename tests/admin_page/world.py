"""What a bot's admin server would tell: snapshots and a history, the same for the same numbers.

A lively fleet without a bot, for the tests of the page and of ``propylon top``, and for the screenshots. `snapshot` has
every key that the admin server gives; ``test_top.py`` beside this file holds it against what ``propylon top`` reads.
"""

import math
from typing import Any, Final, TypeAlias

Snapshot: TypeAlias = dict[str, Any]

START: Final = 1_764_340_000.0
"""Unix seconds at which the bot of these figures started."""
FIRST: Final = START + 7000.0
"""When the first snapshot was taken."""

RATES: Final = {
    # (events a second for each shard, of them delivered, unheard, filtered)
    "MESSAGE_CREATE": (14.0, 0.71, 0.0, 0.29),
    "PRESENCE_UPDATE": (31.0, 0.0, 1.0, 0.0),
    "TYPING_START": (9.0, 0.0, 1.0, 0.0),
    "GUILD_MEMBER_UPDATE": (5.0, 0.2, 0.0, 0.8),
    "MESSAGE_UPDATE": (3.0, 1.0, 0.0, 0.0),
    "MESSAGE_REACTION_ADD": (6.0, 1.0, 0.0, 0.0),
    "MESSAGE_REACTION_REMOVE": (1.2, 1.0, 0.0, 0.0),
    "VOICE_STATE_UPDATE": (2.5, 0.0, 1.0, 0.0),
    "INTERACTION_CREATE": (1.6, 1.0, 0.0, 0.0),
    "MESSAGE_DELETE": (0.9, 1.0, 0.0, 0.0),
    "GUILD_MEMBER_ADD": (0.7, 1.0, 0.0, 0.0),
    "GUILD_MEMBER_REMOVE": (0.5, 1.0, 0.0, 0.0),
    "CHANNEL_UPDATE": (0.3, 0.0, 1.0, 0.0),
    "THREAD_CREATE": (0.3, 0.0, 1.0, 0.0),
    "THREAD_LIST_SYNC": (0.2, 0.0, 1.0, 0.0),
    "GUILD_CREATE": (0.05, 1.0, 0.0, 0.0),
    "GUILD_UPDATE": (0.04, 0.0, 1.0, 0.0),
    "GUILD_AUDIT_LOG_ENTRY_CREATE": (0.4, 0.5, 0.0, 0.5),
    "INVITE_CREATE": (0.1, 0.0, 1.0, 0.0),
    "MESSAGE_POLL_VOTE_ADD": (0.2, 0.0, 1.0, 0.0),
    "GUILD_SCHEDULED_EVENT_USER_ADD": (0.1, 0.0, 1.0, 0.0),
    "STAGE_INSTANCE_CREATE": (0.01, 0.0, 1.0, 0.0),
    "CHANNEL_PINS_UPDATE": (0.1, 0.0, 1.0, 0.0),
}
LISTENERS: Final = (
    # (name, calls a second for each shard, seconds of a call, longest, over 100 ms, errors a thousand calls)
    ("bot.moderation.check_message", 9.9, 410e-6, 0.318, 7, 0.02),
    ("bot.on_message", 9.9, 38e-6, 0.0021, 0, 0.0),
    ("bot.levels.count_message", 9.9, 22e-6, 0.0014, 0, 0.0),
    ("bot.stars.on_reaction", 7.2, 61e-6, 0.0093, 0, 0.0),
    ("bot.commands.on_interaction", 1.6, 920e-6, 1.204, 3, 0.4),
    ("bot.welcome.on_join", 0.7, 140e-6, 0.044, 0, 0.0),
    ("bot.audit.write", 0.2, 2300e-6, 0.171, 2, 1.1),
)
CUTS: Final = (
    # (seconds before the first snapshot, shard, code, reason, resumed)
    (6821.0, 11, None, "op 7", True),
    (4310.0, 3, 4000, "Unknown error", True),
    (2977.0, 40, None, "the connection was reset", True),
    (1455.0, 22, 4009, "Session timed out", False),
    (388.0, 5, None, "no ACK of the last heartbeat", True),
    (41.0, 17, None, "op 7", True),
)
COUNTERS: Final = ("received", "delivered", "unheard", "filtered", "overflowed", "overlapped")


def _wave(at: float, shard: int) -> float:
    """Between 0 and 1, another one for each shard."""
    return 0.5 + 0.5 * math.sin(at / 37.0 + shard * 1.7) * math.cos(at / 11.0 + shard)


def _event(name: str, lived: float, shards: int) -> dict[str, int]:
    rate, delivered, unheard, filtered = RATES[name]
    # Never falls: its rate is between 0.95 and 1.05 of the mean.
    received = int(rate * shards * (lived + 3.0 * math.sin(lived / 60.0)))
    parts = {
        "delivered": int(received * delivered),
        "unheard": int(received * unheard),
        "filtered": int(received * filtered),
        "overflowed": 0,
        "overlapped": 0,
    }
    # No event is lost on the way between the columns.
    largest = max(parts, key=lambda part: parts[part])
    parts[largest] += received - sum(parts.values())
    return {"received": received, **parts}


def _shares(total: int, shards: int) -> list[int]:
    """A whole number in so many parts, whose sum it is."""
    each, left = divmod(total, shards)
    return [each + (shard < left) for shard in range(shards)]


def _shard(shard: int, count: int, now: float, counters: dict[str, int]) -> dict[str, Any]:
    lived = now - START
    cuts = [cut for cut in CUTS if cut[1] == shard]
    received = counters["received"]
    return {
        "id": shard,
        "count": count,
        "status": "READY",
        "latency_seconds": round(0.028 + 0.05 * _wave(now, shard), 6),
        "guilds": 820 + shard * 7 % 53,
        "queued": 0,
        "queue_bytes": 0,
        **counters,
        "duplicates": 0,
        "ignored": 0,
        "malformed": 0,
        "mended": shard % 3,
        "undecodable": 0,
        "listener_errors": shard % 5,
        "wire_bytes": received * 131,
        "inflated_bytes": received * 844,
        "pauses": 0,
        "paused_seconds": 0.0,
        "wakeups": received // 6,
        "heartbeats": int(lived / 41.25),
        "reconnects": len(cuts),
        "reconnects_by_reason": {f"{code} {reason}" if code else str(reason): 1 for _, _, code, reason, _ in cuts},
        "resumes": sum(resumed for *_, resumed in cuts),
        "identifies": 1 + sum(not resumed for *_, resumed in cuts),
        "commands_sent": 4 + shard % 9,
        "last_frame_at": now - 0.02,
        "last_event_at": now - 0.02,
        "last_ack_at": now - (now + shard) % 41.25,
        "send_window_left": 118,
        "identify_blocked_until": None,
        "sequence": received,
    }


def snapshot(shards: int = 64, second: float = 0.0) -> Snapshot:
    """So many seconds after the first; all is well in it."""
    now = FIRST + second
    lived = now - START
    events = {name: _event(name, lived, shards) for name in RATES}
    parts = {key: _shares(sum(event[key] for event in events.values()), shards) for key in COUNTERS}
    return {
        "version": 1,
        "time": now,
        "process": {
            "pid": 4242,
            "started_at": START,
            "propylon": "0.1.0",
            "python": "3.13.0",
            "rss_bytes": 61_000_000 + shards * 96_000,
        },
        "live": {"ok": True, "blocked_seconds": 0.0, "since": None, "listener": None},
        "ready": {"ok": True, "shards": shards, "ready": shards},
        "loops": [{"last_turn_at": now, "blocked_seconds": 0.0, "lag_seconds": 0.0008, "running": None}],
        "shards": [_shard(shard, shards, now, {key: parts[key][shard] for key in COUNTERS}) for shard in range(shards)],
        "events": events,
        "listeners": [
            {
                "name": name,
                "calls": int(rate * shards * lived),
                "errors": int(rate * shards * lived * errors / 1000),
                "seconds": round(rate * shards * lived * each, 6),
                "slow": slow,
                "longest_seconds": longest,
            }
            for name, rate, each, longest, slow, errors in LISTENERS
        ],
        "reconnects": [
            {"at": FIRST - before, "shard": shard, "code": code, "reason": reason, "resumed": resumed}
            for before, shard, code, reason, resumed in CUTS
            if shard < shards
        ],
        "budget": {"total": 1000, "remaining": 1000 - shards % 1000, "resets_at": FIRST + 41_000.0},
    }


def block(found: Snapshot, seconds: float, listener: str, *, alive: bool = True) -> Snapshot:
    """As it is while a listener holds the loop; ``alive`` as long as that is no reason to restart the process."""
    since = found["time"] - seconds
    return {
        **found,
        "live": {"ok": alive, "blocked_seconds": seconds, "since": since, "listener": listener},
        "loops": [{"last_turn_at": since, "blocked_seconds": seconds, "lag_seconds": seconds, "running": listener}],
    }


def cut(found: Snapshot, statuses: dict[int, str]) -> Snapshot:
    """With these shards in these states, and without latency."""
    shards = [
        {**shard, "status": statuses[shard["id"]], "latency_seconds": None} if shard["id"] in statuses else shard
        for shard in found["shards"]
    ]
    ready = sum(shard["status"] == "READY" for shard in shards)
    return {**found, "shards": shards, "ready": {"ok": ready == len(shards), "shards": len(shards), "ready": ready}}


def history(shards: int = 64, points: int = 180) -> dict[str, Any]:
    """The quarter of an hour before the first snapshot."""
    times = [FIRST - 5.0 * (points - at) for at in range(points)]
    rate = sum(each for each, *_ in RATES.values()) * shards
    delivered = sum(each * part for each, part, *_ in RATES.values()) * shards
    swing = [1.0 + 0.12 * math.sin(time / 90.0) + 0.05 * math.sin(time / 7.0) for time in times]
    return {
        "interval": 5.0,
        "time": times,
        "received": [round(rate * factor, 3) for factor in swing],
        "delivered": [round(delivered * factor, 3) for factor in swing],
        "dropped": [round((rate - delivered) * factor, 3) for factor in swing],
        "latency_seconds": [round(0.062 + 0.02 * _wave(time, 3), 6) for time in times],
        "queued": [int(max(0.0, 240.0 * math.sin(time / 50.0) ** 9)) for time in times],
    }


def cluster(found: Snapshot, role: str = "host", *, free: bool = False) -> Snapshot:
    """As a process of a cluster tells it: three hosts, one of them draining, and two workers, of which one may be gone.

    The host has the shards of ``found``, the worker has none, and hears what their partitions bring.
    """
    now, count = found["time"], len(found["shards"])
    hosts = [f"web-{name}-{mark}" for name, mark in (("a", "1f00c3"), ("b", "77ab09"), ("c", "e3c001"))]
    workers = ["work-a-9d2e55"] if free else ["work-a-9d2e55", "work-b-04b3f8"]
    has = {host: [shard for shard in range(count) if shard % 3 == at] for at, host in enumerate(hosts)}
    owners = [workers[0] if part % 2 == 0 else None if free else workers[1] for part in range(64)]
    common = {"started_at": START, "version": "0.1.0"}
    member = {"host": hosts[0], "worker": workers[0]}[role]
    heard = {key: sum(shard[key] for shard in found["shards"]) for key in (*COUNTERS, "listener_errors", "reconnects")}
    shown: dict[str, Any] = {
        "role": role,
        "id": member,
        "app": "mybot",
        "wanted": count if role == "host" else 32,
        "total": count,
        "next": None,
        "hosts": [
            {
                **common,
                "id": host,
                "capacity": 64,
                "draining": at == 1,
                "admin": f"10.0.0.{at + 1}:9464",
                "coordinator": at == 2,
                "shards": len(has[host]),
            }
            for at, host in enumerate(hosts)
        ],
        "shards": [
            {
                "id": shard,
                "total": count,
                "host": hosts[shard % 3],
                "epoch": 1200 + shard,
                "since": now - 60.0 * shard,
                "status": found["shards"][shard]["status"],
            }
            for shard in range(count)
        ],
        "workers": [
            {
                **common,
                "id": worker,
                "draining": False,
                "admin": None,
                "partitions": sum(owner == worker for owner in owners),
            }
            for worker in workers
        ],
        "partitions": [
            {"id": part, "worker": owner, "lag": None if owner is None else part % 4}
            for part, owner in enumerate(owners)
        ],
        "connected": True,
        "publisher": None,
        "intake": None,
    }
    if role == "host":
        counters = {"events": 81_204, "messages": 9_310, "bytes": 7_400_000, "retries": 2, "known": 11, "fenced": 3}
        shown["publisher"] = {**counters, "lag_seconds": 0.004, "leases": []}
        return {**found, "cluster": shown}
    counters = {"events": 80_998, "messages": 9_301, "redelivered": 4, "dead": 1, "expired": 0, "stale": 2}
    here = {"partitions": 32, "unfinished": 5, "lag": 48, "queued": 17, "queue_bytes": 21_000}
    shown["intake"] = {**counters, "overlapped": 0, "known": 0, **here, "heard": heard}
    ready = {"ok": True, "shards": 0, "ready": 0, "partitions": 32, "taken": 32}
    return {**found, "shards": [], "ready": ready, "budget": None, "reconnects": [], "cluster": shown}
