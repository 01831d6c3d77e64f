"""What it costs to count a listener's call: the statements of the consumer's loop beside the same loop without them.

ns of CPU a call, the two in turn; for calls in a row of one listener, and where several share an event.
"""

import argparse
import statistics
import sys
from time import perf_counter, process_time

from propylon._delivery.timing import NOTABLE, Run, Timing
from propylon._listening.entry import Entry, Wanted


def entry() -> Entry:
    return Entry(lambda event: None, [Wanted("MESSAGE_CREATE", None)], lambda entry: None, name="on_message")


def without(calls: int, end: float) -> None:
    for _ in range(calls):
        if perf_counter() > end:
            return


def counted(calls_to_make: int, end: float, timing: Timing, run: Run, entry: Entry, sole: Entry | None) -> None:
    calls, then = 0, run.then
    for _ in range(calls_to_make):
        now = perf_counter()
        if now - then > NOTABLE:
            timing.notable(run, entry.tally, now - then)
        elif sole is not None:
            calls += 1
        else:
            tally = entry.tally
            if not (tally.calls or tally.errors):
                timing.called.append(tally)
            tally.calls += 1
            tally.seconds += now - then
        then = now
        if then > end:
            return
    run.calls, run.then = calls, then


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=500_000)
    parser.add_argument("--turns", type=int, default=21)
    chosen = parser.parse_args()
    timing, end = Timing(), perf_counter() + 3600
    for name, alone in (("in a row", True), ("shared", False)):
        costs = []
        for _ in range(chosen.turns):
            who = entry()
            run = Run(perf_counter())
            before = process_time()
            without(chosen.calls, end)
            between = process_time()
            counted(chosen.calls, end, timing, run, who, who if alone else None)
            costs.append((process_time() - between - (between - before)) * 1e9 / chosen.calls)
        low, *_, high = statistics.quantiles(costs, n=4)
        print(f"{sys.version.split()[0]} {name}: {statistics.median(costs):.0f} ns a call ({low:.0f}–{high:.0f})")


if __name__ == "__main__":
    main()
