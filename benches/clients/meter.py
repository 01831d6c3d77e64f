"""What every client of a benchmark measures of itself, and how it tells: JSON lines on stdout.

A client connects, settles, says ``{"ready": ...}`` and from then on counts. The event INVITE_DELETE, which the traffic
does not contain, ends the measurement. CPU is user + system time of the whole process, all threads.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import sys
import time
from array import array

SETTLE = 0.5
"""Seconds from READY to the beginning, for the guilds that follow it."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


def arguments() -> argparse.Namespace:
    """The command line that `run.py` gives to every client."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--api-url", required=True)
    parser.add_argument("--mode", required=True)
    parser.add_argument("--compression", default="zstd-stream")
    parser.add_argument("--stamp", action="store_true", help="MESSAGE_CREATE carries its time in `nonce`")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--wake-interval", type=float, default=0.002, help="Propylon's, in seconds")
    parser.add_argument("--profile", help="write cProfile's figures here")
    return parser.parse_args()


def run(main: object, options: argparse.Namespace) -> None:
    """Run a client's coroutine, on uvloop where that is asked for."""
    factory = None
    if options.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def _threads() -> dict[str, int]:
    """CPU nanoseconds of the event loop's thread and of all others."""
    times = {"loop": 0, "others": 0}
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/schedstat") as schedstat:
            times["loop" if int(thread) == os.getpid() else "others"] += int(schedstat.read().split()[0])
    return times


def _rss() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * _PAGE


class Meter:
    """The measurement of one client."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.messages = 0
        """MESSAGE_CREATEs that the listener read."""
        self.latencies = array("q")
        self._profile = None
        if options.profile:
            import cProfile

            self._profile, self._profile_path = cProfile.Profile(), options.profile

    async def begin(self) -> None:
        """Settle, then count from here."""
        await asyncio.sleep(SETTLE)
        gc.collect()
        self._rss = _rss()
        print(json.dumps({"ready": True}), flush=True)
        if self._profile is not None:
            self._profile.enable()
        self._threads = _threads()
        self._wall = time.monotonic()
        self._usage = resource.getrusage(resource.RUSAGE_SELF)

    def late(self, nonce: object) -> None:
        """Note the age of a stamped message."""
        self.latencies.append(time.time_ns() - int(nonce))

    def end(self, **facts: object) -> None:
        """Stop counting and tell; ends the process."""
        now, was = resource.getrusage(resource.RUSAGE_SELF), self._usage
        wall = time.monotonic() - self._wall
        threads = _threads()
        if self._profile is not None:
            self._profile.disable()
            self._profile.dump_stats(self._profile_path)
        gc.collect()
        latencies = sorted(self.latencies)
        result = {
            "user": now.ru_utime - was.ru_utime,
            "system": now.ru_stime - was.ru_stime,
            "wall": wall,
            "waits": now.ru_nvcsw - was.ru_nvcsw,
            "preemptions": now.ru_nivcsw - was.ru_nivcsw,
            "loop_thread": (threads["loop"] - self._threads["loop"]) / 1e9,
            "other_threads": (threads["others"] - self._threads["others"]) / 1e9,
            "rss_before": self._rss,
            "rss_peak": now.ru_maxrss * 1024,
            "rss_after": _rss(),
            "messages": self.messages,
            "latency_p50": latencies[len(latencies) // 2] / 1e9 if latencies else None,
            "latency_p99": latencies[len(latencies) * 99 // 100] / 1e9 if latencies else None,
            **facts,
        }
        print(json.dumps({"result": result}), flush=True)
        # How a library says goodbye is not measured here.
        sys.stdout.flush()
        os._exit(0)
