"""How far a cluster goes: start-up, failover, load and cores up to 10,000 shards and 50 hosts, reckoned from what one
machine measures.

Nothing here runs 10,000 shards. ``--measure`` takes the cost of each single thing (a renewal, a change that a host
hears, a question at the identify gate, a look through the stream) over a nats-server of its own, ``--events`` those of
an event from what ``benches/cluster.py --json`` has written, and both go into
``benches/results/scale.json``. The rest is arithmetic, which ``--write`` puts between the marks of docs/scale.md.

    python benches/cluster.py --json cluster.json
    python benches/scale_model.py --events cluster.json --measure --write
"""

import argparse
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import scale_costs

CONSTANTS: Final = Path(__file__).parent / "results" / "scale.json"
PAGE: Final = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- {}: written by benches/scale_model.py --write -->", "<!-- end of {} -->"

PARTITIONS: Final = 64
TTL: Final = 15.0
RENEWED_EVERY: Final = 5.0
SAVED_EVERY: Final = 1.0
"""Seconds between two writes of a session that goes on."""
RESYNC: Final = 30.0
"""Seconds between two looks at all leases, for what a watch has missed."""
LOOK_EVERY: Final = 1.0
"""Seconds between two reckonings of who should have which shard."""
WINDOW: Final = 5.25
"""Seconds between two IDENTIFYs of a bucket."""
ASKED_EVERY: Final = 1.0
"""Seconds between two questions of who waits at the identify gate; the first of a bucket asks four times as often."""
BEFORE_SAVED: Final = 5.0
"""Seconds before a session was saved from which on the stream is looked through."""
RESUMED: Final = 0.5
"""Seconds for closing, saving, connecting and RESUME, as assumed."""
EPOCH_BYTES: Final = 36
"""Of one shard's epoch in what a worker leaves for the next one, at most."""
CALM: Final = 2_000.0
"""Events a second of a calm process, as `benches/cluster.py` paces them."""
TICK, LONG_TICK, MANY = 0.002, 0.010, 8_000.0
"""Seconds between two messages of a partition; and where a host publishes more than so many events a second."""


# ---------------------------------------------------------------- the model


@dataclass(frozen=True)
class Constants:
    """What was measured. CPU in microseconds, user and system."""

    received_us: float
    """Of a host, for an event that nobody hears."""
    host_us: float
    """Of a host, for an event that is published, flat out."""
    calm_host_us: float
    """The same at `CALM` events a second, which come one by one and each wake the process."""
    worker_us: float
    """Of a worker, for an event, flat out."""
    calm_worker_us: float
    message_us: float
    """Of nats-server, for a message, from publishing to its acknowledgement."""
    calm_message_us: float
    event_bytes: float
    write_us: float
    """Of whoever writes a key."""
    server_write_us: float
    """Of nats-server, for a write of a key."""
    heard_us: float
    """Of a host, for a change of a key that it watches."""
    server_heard_us: float
    """Of nats-server, for a change that it tells one who watches."""
    assigned_us: float
    """Of a host, for one shard each time it reckons who should have which."""
    asked_us: float
    """Of the coordinator, for a question at the identify gate."""
    look_us: float
    """Of nats-server, for one message of the stream that a look goes through."""
    look_rate: float
    """Messages a second that one look goes through."""


@dataclass(frozen=True)
class Bot:
    """A cluster, and what it does."""

    shards: int
    hosts: int
    workers: int
    received: float = 50.0
    """Events a second of a shard."""
    heard: float = 10.0
    """Of these, events that some worker hears."""

    @property
    def shards_of_a_host(self) -> float:
        return self.shards / self.hosts

    @property
    def events(self) -> float:
        """A second, published."""
        return self.shards * self.heard

    @property
    def messages(self) -> float:
        """A second. Of a host and a partition one is under way at a time, and one tick after another."""
        of_a_host = self.events / self.hosts
        lane = of_a_host / PARTITIONS
        tick = LONG_TICK if of_a_host > MANY else TICK
        return self.hosts * PARTITIONS * lane / (1 + lane * tick)

    @property
    def writes(self) -> float:
        """Of keys, a second: leases, sessions, hosts, workers with what they hear, partitions."""
        leases = (self.shards + PARTITIONS + self.hosts + 2 * self.workers + 1) / RENEWED_EVERY
        return leases + self.shards / SAVED_EVERY

    @property
    def told_to_a_host(self) -> float:
        """Changes of keys a second that each host hears: every lease, every host, and what workers hear."""
        told = (self.shards + self.hosts + self.workers) / RENEWED_EVERY
        return told + (self.shards + self.hosts + self.workers) / RESYNC

    @property
    def told_to_a_worker(self) -> float:
        told = (self.workers + PARTITIONS) / RENEWED_EVERY
        return told + (self.workers + PARTITIONS) / RESYNC

    @property
    def told(self) -> float:
        return self.hosts * self.told_to_a_host + self.workers * self.told_to_a_worker


def start_up(shards: int, max_concurrency: int) -> float:
    """Seconds until the last IDENTIFY may leave."""
    return (math.ceil(shards / max_concurrency) - 1) * WINDOW


def questions(bot: Bot, max_concurrency: int) -> float:
    """A second, at the coordinator, while all wait: one of each bucket of each host, four times by the first."""
    buckets = min(max_concurrency, bot.shards)
    waiting = bot.hosts * min(buckets, bot.shards_of_a_host)
    return (max(waiting - buckets, 0) + 4 * min(buckets, waiting)) / ASKED_EVERY


def looked_through(bot: Bot, seconds: float, lookers: float, known: Constants) -> float:
    """Seconds that a look through so much of the stream takes, when so many look at the same time."""
    messages = bot.messages * seconds
    return max(messages / known.look_rate, messages * lookers * known.look_us / 1e6)


def remembered(shards: int) -> float:
    """Bytes that workers write of epochs in a start: in each partition all that is known, once more for each shard."""
    return PARTITIONS * EPOCH_BYTES * shards * shards / 2


def failover(bot: Bot, known: Constants) -> tuple[float, float]:
    """Seconds until the shards of a killed host are resumed: until the leases expire, and for the look."""
    takers = min(bot.hosts - 1, bot.shards_of_a_host)
    return TTL, looked_through(bot, TTL + SAVED_EVERY + BEFORE_SAVED, max(takers, 1), known)


def handed_over(bot: Bot, known: Constants) -> float:
    """Seconds until a shard of a drained host is resumed elsewhere, where every other host takes some."""
    takers = min(bot.hosts - 1, bot.shards_of_a_host)
    return RESUMED + looked_through(bot, BEFORE_SAVED, max(takers, 1), known)


@dataclass(frozen=True)
class Cores:
    """CPU, in cores."""

    host_loop: float
    """Of each host, in Python: one core is all there is."""
    host_engine: float
    """Of each host, in the engine."""
    worker: float
    """Of each worker, most of it in Python."""
    stream: float
    """Of the NATS server that leads the stream."""
    keys: float
    """Of the one that leads the keys."""

    def whole(self, bot: Bot) -> float:
        return (self.host_loop + self.host_engine) * bot.hosts + self.worker * bot.workers + self.stream + self.keys


def _load(rate: float, flat_out: float, calm: float) -> float:
    """Microseconds a second. What a wake-up costs is counted up to the rate at which it was measured: beyond, more and
    more comes together."""
    return rate * flat_out + min(rate, CALM) * max(calm - flat_out, 0.0)


def cores(bot: Bot, known: Constants) -> Cores:
    per_host = 1 / bot.hosts
    loop = (
        bot.told_to_a_host * known.heard_us
        + (bot.shards / RENEWED_EVERY + bot.shards / SAVED_EVERY) * per_host * known.write_us
        + bot.shards / LOOK_EVERY * known.assigned_us
    )
    unheard = bot.shards * (bot.received - bot.heard)
    published = _load(bot.events * per_host, known.host_us, known.calm_host_us)
    return Cores(
        host_loop=loop / 1e6,
        host_engine=(unheard * per_host * known.received_us + published) / 1e6,
        worker=_load(bot.events / bot.workers, known.worker_us, known.calm_worker_us) / 1e6,
        stream=_load(bot.messages, known.message_us, known.calm_message_us) / 1e6,
        keys=(bot.writes * known.server_write_us + bot.told * known.server_heard_us) / 1e6,
    )


BOTS: Final = (Bot(16, 2, 2), Bot(128, 4, 4), Bot(1_000, 8, 16), Bot(4_000, 20, 32), Bot(10_000, 50, 64))
CONCURRENCIES: Final = (1, 16, 64, 160)


def _like(shards: int) -> Bot:
    """A cluster of 200 shards a host and a worker for each 150 shards."""
    return Bot(shards, max(2, math.ceil(shards / 200)), min(PARTITIONS, max(2, math.ceil(shards / 150))))


def _first(reached: Callable[[Bot], bool]) -> int | None:
    """The number of shards, in steps of 200, from which on something is reached; None: not up to 50,000."""
    return next((shards for shards in range(200, 50_001, 200) if reached(_like(shards))), None)


def limits(known: Constants) -> Iterator[tuple[str, str, int | None]]:
    """What ends first: what, its limit, and at how many shards."""
    yield (
        "a killed host's shards are back",
        "20 s",
        _first(lambda bot: sum(failover(bot, known)) + RESUMED > 20),
    )
    yield "a drained shard is back", "2 s", _first(lambda bot: handed_over(bot, known) > 2)
    yield "the stream's leader", "1 core", _first(lambda bot: cores(bot, known).stream > 1)
    yield "the keys' leader", "1 core", _first(lambda bot: cores(bot, known).keys > 1)
    yield "a host's event loop", "half a core", _first(lambda bot: cores(bot, known).host_loop > 0.5)
    yield (
        "the coordinator's event loop at a start, max_concurrency 16",
        "half a core",
        _first(lambda bot: questions(bot, 16) * known.asked_us / 1e6 > 0.5),
    )
    yield (
        "the coordinator's event loop at a start, max_concurrency 160",
        "half a core",
        _first(lambda bot: questions(bot, 160) * known.asked_us / 1e6 > 0.5),
    )
    yield "a worker's event loop", "half a core", _first(lambda bot: cores(bot, known).worker > 0.5)
    yield (
        "the last IDENTIFY of a start, max_concurrency 16",
        "30 minutes",
        _first(lambda bot: start_up(bot.shards, 16) > 1800),
    )


# ---------------------------------------------------------------- the page


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _name(bot: Bot) -> str:
    return f"{bot.shards:,} shards, {bot.hosts} hosts, {bot.workers} workers"


_SAYS: Final = {
    "received_us": ("host, an event that nobody hears", "µs"),
    "host_us": ("host, an event that is published, flat out", "µs"),
    "calm_host_us": ("the same at 2,000 a second", "µs"),
    "worker_us": ("worker, an event in batches, flat out", "µs"),
    "calm_worker_us": ("worker, an event for a listener, at 2,000 a second", "µs"),
    "message_us": ("nats-server, a message: kept, given out, acknowledged; flat out", "µs"),
    "calm_message_us": ("the same at 2,000 a second", "µs"),
    "event_bytes": ("a MESSAGE_CREATE in the stream, compressed", "bytes"),
    "write_us": ("host, a key written", "µs"),
    "server_write_us": ("nats-server, a key written", "µs"),
    "heard_us": ("host, a change of a key heard", "µs"),
    "server_heard_us": ("nats-server, a change told to one who watches", "µs"),
    "assigned_us": ("host, one shard in a reckoning of all", "µs"),
    "asked_us": ("coordinator, a question at the gate", "µs"),
    "look_us": ("nats-server, a message that a look goes through", "µs"),
    "look_rate": ("messages a second that one look goes through", ""),
}


def sections(kept: dict[str, Any]) -> dict[str, str]:
    """The parts of the page that are made here."""
    known = Constants(**{name: value["value"] for name, value in kept["constants"].items()})

    def constants() -> Iterator[list[str]]:
        for name, (what, unit) in _SAYS.items():
            one = kept["constants"][name]
            digits = 0 if one["value"] >= 100 else 1 if one["value"] >= 10 else 2
            yield [what, f"{one['value']:,.{digits}f} {unit}".strip(), one["from"]]

    made = _table(["what", "value", "from"], constants()).replace("|--:|--:|", "|--:|---|", 1)
    made += "\n\n" + "\n".join(f"- {line}" for line in kept["notes"])
    starts = _table(
        ["shards", *(f"max_concurrency {number}" for number in CONCURRENCIES)],
        ([f"{bot.shards:,}", *(_time(start_up(bot.shards, number)) for number in CONCURRENCIES)] for bot in BOTS),
    )
    asks = _table(
        ["questions a second at the coordinator, and its CPU", *(f"max_concurrency {n}" for n in CONCURRENCIES[1:])],
        (
            [
                _name(bot),
                *(
                    f"{questions(bot, n):,.0f}, {questions(bot, n) * known.asked_us / 1e4:.0f} %"
                    for n in CONCURRENCIES[1:]
                ),
            ]
            for bot in BOTS
        ),
    )

    def failing() -> Iterator[list[str]]:
        for bot in BOTS:
            expired, look = failover(bot, known)
            yield [
                _name(bot),
                _time(expired),
                _time(look),
                _time(expired + look + RESUMED),
                _time(handed_over(bot, known)),
            ]

    fails = _table(
        ["", "leases expire", "the look", "a killed host's shards are back", "a drained shard is back"], failing()
    )
    loads = _table(
        ["a second", *(f"{bot.shards:,}" for bot in BOTS)],
        [
            ["events received", *(f"{bot.shards * bot.received:,.0f}" for bot in BOTS)],
            ["events published", *(f"{bot.events:,.0f}" for bot in BOTS)],
            ["messages, and as many acknowledgements", *(f"{bot.messages:,.0f}" for bot in BOTS)],
            ["MB into the stream", *(f"{bot.events * known.event_bytes / 1e6:,.1f}" for bot in BOTS)],
            ["keys written", *(f"{bot.writes:,.0f}" for bot in BOTS)],
            ["of these, sessions", *(f"{bot.shards / SAVED_EVERY:,.0f}" for bot in BOTS)],
            ["changes that one host hears", *(f"{bot.told_to_a_host:,.0f}" for bot in BOTS)],
            ["changes that NATS tells", *(f"{bot.told:,.0f}" for bot in BOTS)],
        ],
    )
    used = [(bot, cores(bot, known)) for bot in BOTS]
    costs = _table(
        ["cores", *(f"{bot.shards:,}" for bot in BOTS)],
        [
            ["a host, its event loop", *(f"{one.host_loop:.2f}" for _, one in used)],
            ["a host, the engine", *(f"{one.host_engine:.2f}" for _, one in used)],
            ["a worker", *(f"{one.worker:.2f}" for _, one in used)],
            ["NATS, the stream's leader", *(f"{one.stream:.2f}" for _, one in used)],
            ["NATS, the keys' leader", *(f"{one.keys:.2f}" for _, one in used)],
            ["all hosts, workers and leaders", *(f"{one.whole(bot):.1f}" for bot, one in used)],
        ],
    )
    ends = sorted(limits(known), key=lambda limit: math.inf if limit[2] is None else limit[2])
    breaks = _table(
        ["what", "limit", "from so many shards on"],
        ([what, limit, "not up to 50,000" if at is None else f"{at:,}"] for what, limit, at in ends),
    )
    remembers = _table(
        ["shards", *(f"{bot.shards:,}" for bot in BOTS)],
        [["MB of epochs that workers write in a start", *(f"{remembered(bot.shards) / 1e6:,.1f}" for bot in BOTS)]],
    )
    return {
        "constants": made,
        "start": f"{starts}\n\n{asks}\n\n{remembers}",
        "failover": fails,
        "load": loads,
        "cores": costs,
        "limits": breaks,
    }


def page(text: str, kept: dict[str, Any]) -> str:
    """The page with its tables made anew."""
    for name, made in sections(kept).items():
        begin, end = BEGIN.format(name), END.format(name)
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise ValueError(f"{PAGE.name} has no place for {name}")
        text = f"{before}{begin}\n\n{made}\n\n{end}{after}"
    return text


# ---------------------------------------------------------------- the script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure the costs of single things anew")
    parser.add_argument("--events", type=Path, metavar="FILE", help="take those of an event from benches/cluster.py")
    parser.add_argument("--note", help="what else is to be said of the run that is taken: how long, how busy")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/scale.md")
    given = parser.parse_args()
    kept: dict[str, Any] = json.loads(CONSTANTS.read_text())
    note = f" ({given.note})" if given.note else ""
    machine = f"{scale_costs.machine()}{note}" if given.measure or given.events else ""
    for found, source in (
        (scale_costs.measured() if given.measure else {}, "`--measure`"),
        (scale_costs.of_events(json.loads(given.events.read_text())) if given.events else {}, "`benches/cluster.py`"),
        (scale_costs.of_benches() if given.measure or given.events else {}, "`make bench`"),
    ):
        for name, value in found.items():
            kept["constants"][name] = {"value": round(value, 3), "from": source}
    if given.measure:
        kept["notes"][0] = f"`--measure` ran on {machine}."
    if given.events:
        kept["notes"][1] = f"`benches/cluster.py` ran on {machine}."
    if given.measure or given.events:
        CONSTANTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    text = page(PAGE.read_text("utf-8"), kept)
    if given.write:
        PAGE.write_text(text, "utf-8")
    else:
        print("\n\n".join(sections(kept).values()))


if __name__ == "__main__":
    main()
