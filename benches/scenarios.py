"""What is measured: sections of cases, each case a client in a mode on a stream."""

from dataclasses import dataclass, replace

MIX: tuple[str, ...] = ()
MESSAGES = ("MESSAGE_CREATE",)

LOOP = "loop, typed"
"""The case that the others are compared with: the hand-written loop that decodes messages."""


@dataclass(frozen=True)
class Case:
    """One client in one mode."""

    name: str
    client: str
    mode: str
    share: float = 1.0
    """Of the events of the run: a slow client gets a shorter prefix of the same stream."""
    options: tuple[str, ...] = ()
    """Of the client's command line."""


@dataclass(frozen=True)
class Section:
    """One stream and those who read it."""

    name: str
    title: str
    events: tuple[str, ...]
    compression: str
    cases: tuple[Case, ...]
    paced: bool = False
    one_by_one: bool = False
    """Paced events come one by one, not those of 2 ms together."""


FLOOR = (Case("floor, inflate", "floor", "inflate"), Case("floor, inflate and scan", "floor", "scan"))
NOBODY = Case("Propylon, nobody listens", "propylon_bot", "nobody")
FILTERED = Case("Propylon, filtered out", "propylon_bot", "filtered")
"""All events have a listener, whose filter refuses them: against `NOBODY` this is what the filter costs."""
TYPED = Case("Propylon, typed", "propylon_bot", "typed")
ASYNC = Case("Propylon, typed, async def", "propylon_bot", "async")
NARROW = Case("Propylon, narrow class", "propylon_bot", "narrow")
BATCHES = Case("Propylon, raw batches of all", "propylon_bot", "batches")
LOOP_NOBODY = Case("loop, decodes no message", "msgspec_loop", "nobody")
LOOP_TYPED = Case(LOOP, "msgspec_loop", "typed")
LOOP_NARROW = Case("loop, narrow class", "msgspec_loop", "narrow")
DISCORD_PY = Case("discord.py", "discord_py_bot", "typed", share=0.1)
DISCORD_PY_PLAIN = Case("discord.py, without its speed extra", "discord_py_bot", "plain", share=0.1)
TWILIGHT_RAW = Case("twilight, raw", "twilight", "raw")
TWILIGHT = Case("twilight, one event typed", "twilight", "typed")
TWILIGHT_ALL = Case("twilight, all typed", "twilight", "all")
DISGO = Case("DisGo, its client", "disgo", "typed", share=0.1)
DISGO_GATEWAY = Case("DisGo, its gateway alone", "disgo", "all", share=0.1)
HIKARI = Case("hikari, caches off", "hikari_bot", "typed", share=0.2)

_BASIC = (*FLOOR, NOBODY, FILTERED, TYPED, LOOP_NOBODY, LOOP_TYPED)
_ALL = (
    *FLOOR,
    NOBODY,
    FILTERED,
    TYPED,
    ASYNC,
    NARROW,
    BATCHES,
    LOOP_NOBODY,
    LOOP_TYPED,
    LOOP_NARROW,
    TWILIGHT_RAW,
    TWILIGHT,
    TWILIGHT_ALL,
    DISCORD_PY,
    DISCORD_PY_PLAIN,
    HIKARI,
    DISGO,
    DISGO_GATEWAY,
)

UVLOOP = ("--uvloop",)
TYPED_5_MS = Case("Propylon, typed, wake_interval=0.005", "propylon_bot", "typed", options=("--wake-interval=0.005",))
TYPED_AT_ONCE = Case("Propylon, typed, wake_interval=0", "propylon_bot", "typed", options=("--wake-interval=0",))
TYPED_UVLOOP = Case("Propylon, typed, uvloop", "propylon_bot", "typed", options=UVLOOP)
LOOP_UVLOOP = Case("loop, typed, uvloop", "msgspec_loop", "typed", options=UVLOOP)
_ONE_BY_ONE = (NOBODY, TYPED, TYPED_UVLOOP, ASYNC, TYPED_5_MS, TYPED_AT_ONCE, LOOP_TYPED, LOOP_UVLOOP)

SECTIONS = (
    Section("mix/zstd", "Large-bot mix, zstd-stream, flat out", MIX, "zstd-stream", _ALL),
    Section("mix/zlib", "Large-bot mix, zlib-stream, flat out", MIX, "zlib-stream", _BASIC),
    Section("mix/none", "Large-bot mix, no compression, flat out", MIX, "none", _BASIC),
    Section("messages/zstd", "MESSAGE_CREATE only, zstd-stream, flat out", MESSAGES, "zstd-stream", _ALL),
    Section(
        "paced/mix",
        "Large-bot mix, zstd-stream, paced",
        MIX,
        "zstd-stream",
        tuple(
            replace(case, share=1.0) for case in (NOBODY, FILTERED, TYPED, LOOP_NOBODY, LOOP_TYPED, DISCORD_PY, HIKARI)
        ),
        paced=True,
    ),
    Section(
        "paced/messages",
        "MESSAGE_CREATE only, zstd-stream, paced",
        MESSAGES,
        "zstd-stream",
        (NOBODY, FILTERED, TYPED, ASYNC, LOOP_NOBODY, LOOP_TYPED),
        paced=True,
    ),
    Section(
        "one/mix",
        "Large-bot mix, zstd-stream, one by one",
        MIX,
        "zstd-stream",
        _ONE_BY_ONE,
        paced=True,
        one_by_one=True,
    ),
)


@dataclass(frozen=True)
class Target:
    """A figure that the project promises: `case` against `other` in `section`."""

    text: str
    section: str
    case: str
    other: str
    least: float | None = None
    """Events per CPU-second of the case, as a multiple of the other's."""
    most: float | None = None
    """CPU of the case, as a multiple of the other's."""


TARGETS = (
    Target("nobody listens, against twilight raw", "mix/zstd", NOBODY.name, TWILIGHT_RAW.name, least=1.15),
    Target("nobody listens, against inflating alone", "mix/zstd", NOBODY.name, FLOOR[0].name, least=0.87),
    Target("typed, against twilight with one event typed", "mix/zstd", TYPED.name, TWILIGHT.name, least=1.4),
    Target("async def, against twilight with one event typed", "mix/zstd", ASYNC.name, TWILIGHT.name, least=1.25),
    Target("narrow, against twilight with one event typed", "mix/zstd", NARROW.name, TWILIGHT.name, least=1.5),
    Target("typed, against the loop", "mix/zstd", TYPED.name, LOOP, least=1.9),
    Target("async def, against the loop", "mix/zstd", ASYNC.name, LOOP, least=1.75),
    Target("messages, typed, against the loop", "messages/zstd", TYPED.name, LOOP, least=1.65),
    Target("messages, async def, against the loop", "messages/zstd", ASYNC.name, LOOP, least=1.4),
    Target("messages, narrow, against the loop", "messages/zstd", NARROW.name, LOOP, least=1.7),
    Target("messages, raw batches, against the loop", "messages/zstd", BATCHES.name, LOOP, least=2.2),
    Target(
        "one by one, nobody listens, against the loop on uvloop", "one/mix", NOBODY.name, LOOP_UVLOOP.name, most=0.5
    ),
    Target("one by one, typed, against the loop on uvloop", "one/mix", TYPED.name, LOOP_UVLOOP.name, most=0.85),
    Target("the same at 5 ms", "one/mix", TYPED_5_MS.name, LOOP_UVLOOP.name, most=0.75),
    Target("the same at once", "one/mix", TYPED_AT_ONCE.name, LOOP_UVLOOP.name, most=1.25),
    Target("nobody listens, against the loop", "mix/zstd", NOBODY.name, LOOP, least=3.0),
    Target("nobody listens, against inflating and scanning", "mix/zstd", NOBODY.name, FLOOR[1].name, least=0.75),
    Target("filtered out, against nobody listens", "mix/zstd", FILTERED.name, NOBODY.name, least=0.75),
    Target("typed, against discord.py", "mix/zstd", TYPED.name, DISCORD_PY.name, least=13.0),
    Target(
        "typed, against discord.py without its speed extra", "mix/zstd", TYPED.name, DISCORD_PY_PLAIN.name, least=13.0
    ),
    Target("typed, against hikari", "mix/zstd", TYPED.name, HIKARI.name, least=6.0),
    Target("CPU at a steady rate, nobody listens, against the loop", "paced/mix", NOBODY.name, LOOP, most=0.5),
    Target("the same against the loop that decodes no message", "paced/mix", NOBODY.name, LOOP_NOBODY.name, most=0.5),
)
