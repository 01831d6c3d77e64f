"""What the admin server costs: CPU of a bot under 5,000 events/s, scraped once a second, and not, in turns.

The bot is a process, the simulator another one, and this one scrapes. The answer's time is told too.
"""

import argparse
import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from propylon import Gateway, Intents
from propylon.events import MessageCreate

HERE = Path(__file__).parent
RATE = 5_000.0


async def bot(url: str) -> None:
    """Runs until its input ends; says where its admin server is."""
    gateway = Gateway("token", intents=Intents.ALL, gateway_url=url, admin="127.0.0.1:0")

    @gateway.listen
    def on_message(message: MessageCreate) -> None: ...

    async with gateway:
        print(json.dumps({"address": gateway.admin_address}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


def cpu_of(pid: int) -> float:
    """Seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def scrape(address: tuple[str, int]) -> float:
    begun = time.perf_counter()
    connection = http.client.HTTPConnection(*address, timeout=5)
    connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    connection.getresponse().read()
    connection.close()
    return time.perf_counter() - begun


def measure(seconds: int, turns: int) -> dict[str, float]:
    traffic = {"rate": RATE, "events": ["MESSAGE_CREATE", "PRESENCE_UPDATE", "TYPING_START"]}
    command = [sys.executable, HERE / "server.py", json.dumps({"guilds": 10, **traffic})]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        command = [sys.executable, __file__, "--bot", url]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            address = tuple(json.loads(process.stdout.readline())["address"])
            time.sleep(2)
            with_it: list[float] = []
            without: list[float] = []
            answers: list[float] = []
            for turn in range(2 * turns):
                before = cpu_of(process.pid)
                begun = time.monotonic()
                for second in range(seconds):
                    if turn % 2:
                        answers.append(scrape(address))
                    time.sleep(max(0.0, begun + second + 1 - time.monotonic()))
                used = (cpu_of(process.pid) - before) / (time.monotonic() - begun)
                (with_it if turn % 2 else without).append(used)
            process.communicate("\n")
        server.communicate("\n")
    pairs = [there - gone for there, gone in zip(with_it, without, strict=True)]
    return {
        "cpu without, %": statistics.median(without) * 100,
        "cpu with, %": statistics.median(with_it) * 100,
        "difference of the pairs, %": statistics.median(pairs) * 100,
        "answer, ms": statistics.median(answers) * 1000,
        "slowest answer, ms": max(answers) * 1000,
    }


def cost_of_a_scrape(number: int = 2_000) -> dict[str, float]:
    """CPU of an idle bot for a scrape, from many of them in a row: what a second with one costs more."""
    command = [sys.executable, HERE / "server.py", json.dumps({"guilds": 10, "rate": 100.0})]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        command = [sys.executable, __file__, "--bot", url]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            address = tuple(json.loads(process.stdout.readline())["address"])
            time.sleep(2)
            before = cpu_of(process.pid)
            for _ in range(number):
                scrape(address)
            used = cpu_of(process.pid) - before
            process.communicate("\n")
        server.communicate("\n")
    return {"cpu of a scrape, ms": used / number * 1000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--bot", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bot:
        asyncio.run(bot(arguments.bot))
        return
    for line in (measure(arguments.seconds, arguments.turns), cost_of_a_scrape()):
        for name, value in line.items():
            print(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
