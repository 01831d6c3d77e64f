"""Benchmarks of Propylon beside its peers: one command, a process for each client. See README.md for the method."""

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import report
from scenarios import SECTIONS, Case, Section

HERE = Path(__file__).parent
FLOOR = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent / "target", "release", "examples", "floor")
BINARIES = {
    "twilight": HERE / "twilight" / "target" / "release" / "twilight-bot",
    "disgo": HERE / "disgo" / "target" / "disgo-bot",
}
"""Clients in other languages; the Makefile builds them, DisGo's only where Go is installed."""
DEADLINE = 300.0
"""Seconds after which a run has failed."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="each case once per round, in an order that changes (5)")
    parser.add_argument("--events", type=int, default=300_000, help="events of a flat-out run (300,000)")
    parser.add_argument("--rate", type=float, default=2_000.0, help="events per second of a paced run (2,000)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a paced run (8)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--scenario", action="append", help="only cases whose 'section: name' contains this; repeatable"
    )
    parser.add_argument("--compression", choices=["zstd-stream", "zlib-stream", "none"], help="only this one")
    parser.add_argument("--quick", action="store_true", help="one short round: does it work?")
    parser.add_argument("--uvloop", action="store_true", help="all clients on uvloop")
    parser.add_argument("--floor", type=Path, default=FLOOR, help="the floor's binary")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every run's figures here")
    parser.add_argument("--profile", type=Path, metavar="DIR", help="cProfile each client into this directory")
    parser.add_argument("--write-readme", action="store_true", help="write the tables into README.md")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rounds, chosen.events, chosen.seconds = 1, min(chosen.events, 50_000), min(chosen.seconds, 2.0)
    return chosen


def floor(section: Section, chosen: argparse.Namespace, cache: dict[str, Any]) -> dict[str, Any]:
    """The floor's two figures come from one process; the second case of a round takes them from the cache."""
    if section.name not in cache:
        command = [chosen.floor, section.compression, str(chosen.events), str(chosen.seed), *section.events]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE)
        cache[section.name] = json.loads(done.stdout)
    return cache[section.name]


class Failed(Exception):
    """A run gave no figure, or a wrong one."""


def run(section: Section, case: Case, chosen: argparse.Namespace) -> dict[str, Any]:
    """One client against one simulator."""
    count = int(chosen.rate * chosen.seconds) if section.paced else max(1000, int(chosen.events * case.share))
    config: dict[str, Any] = {"seed": chosen.seed, "events": section.events, "count": count, "start": "manual"}
    if section.paced:
        config |= {"rate": chosen.rate, "stamp": True}
        if section.one_by_one:
            config["tick"] = min(1 / chosen.rate, 0.002)
    else:
        config |= {"rate": None, "preload": True}
    if case.client == "twilight":
        # It sends the prefix of the REST API too, which the simulator takes where it is told so.
        config["token"] = "Bot token"
    with tempfile.TemporaryFile("w+") as errors:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": errors, "text": True}
        server = subprocess.Popen(
            [sys.executable, HERE / "server.py", json.dumps(config)], stdin=subprocess.PIPE, **pipes
        )
        client = None
        alarm = threading.Timer(DEADLINE, server.kill)
        alarm.start()
        try:
            where = json.loads(server.stdout.readline())
            # -O, because hikari asks for it; the others don't mind.
            program = [sys.executable, "-O", HERE / "clients" / f"{case.client}.py"]
            if case.client in BINARIES:
                program = [BINARIES[case.client]]
            command = [*program, "--mode", case.mode]
            command += ["--url", where["url"], "--api-url", where["api_url"], "--compression", section.compression]
            if section.paced:
                command.append("--stamp")
            command += case.options
            if chosen.uvloop:
                command.append("--uvloop")
            if chosen.profile:
                name = f"{section.name}, {case.name}.prof".replace("/", "-").replace(" ", "_")
                command += ["--profile", chosen.profile / name]
            client = subprocess.Popen(command, **pipes)
            json.loads(client.stdout.readline())
            server.stdin.write("go\n")
            server.stdin.flush()
            result = json.loads(client.stdout.readline())["result"]
            sent = json.loads(server.stdout.readline())
        except (json.JSONDecodeError, OSError) as error:
            errors.seek(0)
            raise Failed(f"{error}\n{errors.read()[-2000:]}") from None
        finally:
            alarm.cancel()
            for process in (client, server):
                if process is not None:
                    process.kill()
                    process.communicate()
    events = sent["events"]
    heard = {"nobody": 0, "filtered": 0, "raw": 0, "batches": sum(events.values())}.get(
        case.mode, events.get("MESSAGE_CREATE", 0)
    )
    if result["messages"] != heard:
        raise Failed(f"{result['messages']} events heard, {heard} sent")
    if result.get("dispatches", sum(events.values())) != sum(events.values()):
        raise Failed(f"{result['dispatches']} events decoded, {sum(events.values())} sent")
    cpu = result["user"] + result["system"]
    result |= {"events": count, "cpu_us": cpu / count * 1e6, "waits_per_event": result["waits"] / count}
    if result["loop_thread"] is not None:
        result["loop_thread_us"] = result["loop_thread"] / count * 1e6
    result["server_cpu_us"] = sent["cpu"] / count * 1e6
    if "wakeups" in result:
        result["wakeups_per_event"] = result["wakeups"] / count
    return result


def main() -> int:
    chosen = options()
    from propylon import _core

    if _core.DEBUG_BUILD:
        print("propylon._core is a debug build; benchmark a release build", file=sys.stderr)
        return 2
    facts = report.machine()
    cases = [
        (section, case)
        for section in SECTIONS
        for case in section.cases
        if chosen.compression in (None, section.compression)
        and (not chosen.scenario or any(part in f"{section.name}: {case.name}" for part in chosen.scenario))
    ]
    if not chosen.floor.exists():
        print(f"no floor: {chosen.floor.name} is not built", file=sys.stderr)
        cases = [(section, case) for section, case in cases if case.client != "floor"]
    for client, binary in BINARIES.items():
        if not binary.exists():
            print(f"no {client}: {binary} is not built", file=sys.stderr)
            cases = [(section, case) for section, case in cases if case.client != client]
    if chosen.profile:
        chosen.profile.mkdir(parents=True, exist_ok=True)
    runs: report.Runs = {(section.name, case.name): [] for section, case in cases}
    failures = 0
    for number in range(1, chosen.rounds + 1):
        # In a new order, but the cases of a section stay together: a ratio is of runs that are seconds apart.
        shuffle = random.Random(number)
        keys = {section.name: shuffle.random() for section, _ in cases}
        order = sorted(cases, key=lambda each: (keys[each[0].name], shuffle.random()))
        floors: dict[str, Any] = {}
        for section, case in order:
            try:
                if case.client == "floor":
                    result = {"cpu_us": floor(section, chosen, floors)[f"{case.mode}_ns"] / 1000}
                else:
                    result = run(section, case, chosen)
                print(
                    f"[{number}/{chosen.rounds}] {section.name}: {case.name}: {result['cpu_us']:.2f} µs/event",
                    flush=True,
                )
            except (Failed, subprocess.SubprocessError) as error:
                failures += 1
                result = None
                print(f"[{number}/{chosen.rounds}] {section.name}: {case.name}: FAILED: {error}", file=sys.stderr)
            runs[section.name, case.name].append(result)
        if chosen.json:
            chosen.json.write_text(
                json.dumps([{"section": s, "case": c, "runs": r} for (s, c), r in runs.items()], indent=1)
            )
    text = report.tables(runs, chosen.rate)
    print(f"\n{facts}\n\n{text}")
    if chosen.write_readme:
        shown = [
            f"--{name.replace('_', '-')}={getattr(chosen, name)}"
            for name in ("rounds", "events", "rate", "seconds", "seed")
        ]
        command = shlex.join(["benches/run.py", *shown, *(["--uvloop"] if chosen.uvloop else []), "--write-readme"])
        size = f"{chosen.rounds} rounds; flat out {chosen.events:,} events, "
        size += "discord.py and DisGo a tenth, hikari a fifth of them"
        report.write_results(runs)
        report.write_readme(f"Made by `{command}` ({size}).\n\n{facts}\n\n{text}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
