"""discord.py and hikari as they come beside the same with Propylon's engine under them, in one run.

CPU of an event (user and system time of the whole process, in pairs that take turns), memory, an event loop that is
blocked, and a restart. Prints tables; ``--json`` writes what they are made of.

    python benches/adapters.py --rounds 5 --json benches/results/adapters.json
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from itertools import count
from pathlib import Path
from typing import Any

from propylon import _core
from propylon.testing import Simulator, steps

CLIENT = Path(__file__).with_name("clients") / "adapters_bot.py"
LIBRARIES = ("discord.py", "hikari")
MODES = ("stock", "adapted")
CACHES = {"all": "caches as they come", "none": "caches off"}
MESSAGE: dict[str, Any] = {
    "author": {"id": "77", "username": "otter", "discriminator": "0", "avatar": None, "global_name": None},
    "timestamp": "2026-01-01T00:00:00.000000+00:00",
    "edited_timestamp": None,
    "tts": False,
    "mention_everyone": False,
    "mentions": [],
    "mention_roles": [],
    "attachments": [],
    "embeds": [],
    "pinned": False,
    "type": 0,
    "flags": 0,
    "components": [],
}
MEMBER = {"roles": [], "joined_at": "2024-01-02T03:04:05.000000+00:00", "deaf": False, "mute": False, "flags": 0}
GUILD = 671_088_640_000_000_000
"""The first of the simulated world; its first channel is the next number."""

tokens = (f"NTAzMzE2NDgwMDAwMDAwMDAx.adapters.{number}" for number in count())
numbers = count(1_000_000)


def tell(simulator: Simulator, content: str) -> None:
    """A message to the bot."""
    place = {"id": str(next(numbers)), "channel_id": str(GUILD + 1), "guild_id": str(GUILD), "member": MEMBER}
    simulator.dispatch("MESSAGE_CREATE", {**MESSAGE, **place, "content": content})


class Bot:
    """One process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def hear(self, key: str) -> dict[str, Any]:
        """The next line that has a key."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                facts: dict[str, Any] = json.loads(line)
                if key in facts:
                    return facts
        raise RuntimeError(f"the bot has ended and said no {key}")

    def stop(self) -> None:
        """As an operator does."""
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)


@contextlib.contextmanager
def bot(simulator: Simulator, library: str, mode: str, token: str, **options: object) -> Generator[Bot]:
    """A bot on a simulator, until the block ends."""
    command = [sys.executable, str(CLIENT), "--library", library, "--mode", mode, "--token", token]
    command += ["--url", simulator.url, "--api-url", simulator.api_url]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield Bot(process)
        finally:
            process.kill()


def cost(library: str, mode: str, cache: str, rate: float | None, events: int) -> dict[str, float]:
    """CPU of an event, and memory, with the mix of a large bot; without a rate as fast as the bot takes it."""
    world = {"guilds": 100, "members": 100, "guild_create_members": 50, "heartbeat_interval": 5.0}
    options = {**world, "rate": rate, "count": events, "start": "manual", "identify_interval": 0}
    with (
        Simulator(**options) as simulator,  # type: ignore[arg-type]
        bot(simulator, library, mode, next(tokens), cache=cache) as client,
    ):
        client.hear("ready")
        simulator.flood()
        simulator.wait("traffic_done", timeout=600)
        tell(simulator, "__end__")
        facts = client.hear("cpu")
    return {"us": facts["cpu"] / events * 1e6, "rss": facts["rss"] / 2**20, "disconnects": facts["disconnects"]}


def beats(simulator: Simulator) -> list[float]:
    """When heartbeats came on the first connection, in seconds since the server started."""
    first = simulator.record()["connections"][0]
    return [one["ms"] / 1000 for one in first["ops"] if one["op"] == 1]


def blocked(library: str, mode: str, seconds: float, beat: float) -> dict[str, Any]:
    """Whether the connection outlives an event loop that is blocked for so long.

    The simulator is patient, so what Discord does is done here: whoever is silent for one and a half intervals is cut.
    """
    began = time.monotonic()
    with (
        Simulator(guilds=1, members=5, heartbeat_interval=beat, identify_interval=0) as simulator,
        bot(simulator, library, mode, next(tokens), block=seconds) as client,
    ):
        client.hear("ready")
        time.sleep(beat)
        tell(simulator, "__block__")
        end = time.monotonic() + seconds
        survived = True
        while time.monotonic() < end and survived:
            time.sleep(0.1)
            came = beats(simulator)
            last = came[-1] if came else 0.0
            if time.monotonic() - began - last > 1.5 * beat + 0.5:
                survived = False
                simulator.act(steps.close(4009, "heartbeat missing"))
        return {"survived": survived, "beats": len(beats(simulator))}


def restart(library: str, mode: str, missed: int) -> dict[str, Any]:
    """What a restart costs: IDENTIFYs, and events that came while nobody was there."""
    with tempfile.TemporaryDirectory() as folder, Simulator(guilds=100, members=50, identify_interval=0) as simulator:
        options = {"sessions": Path(folder) / "sessions.json"} if mode == "adapted" else {}
        token = next(tokens)
        with bot(simulator, library, mode, token, **options) as client:
            client.hear("ready")
            time.sleep(1.5)
            client.stop()
        for number in range(missed):
            tell(simulator, f"number {number}")
        came = with_guild = 0
        ready: float | None = None
        with bot(simulator, library, mode, token, **options) as client:
            # What is replayed comes before anything that is sent from now on.
            while ready is None or came <= missed:
                facts = client.hear("after")
                if "ready" in facts:
                    ready = facts["after"]
                    tell(simulator, f"number {missed}")
                elif facts["number"] == missed:
                    break
                else:
                    came += 1
                    with_guild += facts["guild"]
            identifies = simulator.fleet()["identifies"]
        return {"identifies": identifies, "came": came, "with_guild": with_guild, "ready_after": ready}


def spread(values: list[float], digits: int = 1) -> str:
    """The median, and the least and the most."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, help="events per second; without, as fast as the bot takes them")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--block", type=float, default=10.0)
    parser.add_argument("--beat", type=float, default=2.0)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--missed", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if _core.DEBUG_BUILD:
        print("propylon._core is a debug build: these figures say nothing; build with --release", file=sys.stderr)
    results: dict[str, Any] = {"cost": [], "blocked": [], "restart": [], "options": vars(options) | {"json": None}}
    for round_ in range(options.rounds):
        for library in LIBRARIES:
            for cache in CACHES:
                # Each pair begins with another one, so that what the machine does meanwhile favours neither.
                for mode in MODES if round_ % 2 == 0 else reversed(MODES):
                    facts = cost(library, mode, cache, options.rate, options.events)
                    results["cost"].append({"library": library, "mode": mode, "cache": cache, **facts})
                    print(f"{library}, {mode}, {CACHES[cache]}: {facts['us']:.1f} µs", file=sys.stderr)
    for library in LIBRARIES:
        for mode in MODES:
            for _ in range(options.blocks):
                facts = blocked(library, mode, options.block, options.beat)
                results["blocked"].append({"library": library, "mode": mode, **facts})
            facts = restart(library, mode, options.missed)
            results["restart"].append({"library": library, "mode": mode, **facts})
            print(f"{library}, {mode}: {facts}", file=sys.stderr)
    results["run"] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores; {platform.system()}; CPython {platform.python_version()}",
        "build": "debug" if _core.DEBUG_BUILD else "release",
    }
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    show(results)


def show(results: dict[str, Any]) -> None:
    """Print the tables."""
    options = results["options"]

    def of(part: str, **wanted: str) -> list[dict[str, Any]]:
        return [one for one in results[part] if all(one[key] == value for key, value in wanted.items())]

    rows = []
    for library in LIBRARIES:
        for cache, what in CACHES.items():
            stock, adapted = (of("cost", library=library, cache=cache, mode=mode) for mode in MODES)
            ratios = [one["us"] / other["us"] for one, other in zip(adapted, stock, strict=True)]
            memory = [f"{statistics.median(run['rss'] for run in runs):.0f}" for runs in (stock, adapted)]
            each = [spread([run["us"] for run in runs]) for runs in (stock, adapted)]
            rows.append([f"{library}, {what}", *each, spread(ratios, 2), *memory])
    pace = "as fast as they are taken" if options["rate"] is None else f"at {options['rate']:g} a second"
    print(f"\nCPU and memory of {options['events']:,} events {pace}: median (least–most)\n")
    print(table(["bot", "stock µs/event", "adapted µs/event", "adapted/stock", "stock MiB", "adapted MiB"], rows))
    rows = []
    for library in LIBRARIES:
        for mode in MODES:
            runs = of("blocked", library=library, mode=mode)
            survived = sum(run["survived"] for run in runs)
            (again,) = of("restart", library=library, mode=mode)
            missed = f"{again['came']} of {options['missed']}"
            with_guild = str(again["with_guild"])
            facts = [str(again["identifies"]), missed, with_guild, f"{again['ready_after']:.1f} s"]
            rows.append([f"{library}, {mode}", f"{survived} of {len(runs)}", *facts])
    print(f"\nThe loop blocked for {options['block']:g} s at a beat of {options['beat']:g} s, and a restart\n")
    head = ["bot", "connection kept", "IDENTIFYs", "missed events that came", "of known guilds", "start to ready"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
