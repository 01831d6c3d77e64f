"""What workers wrote down beside what the simulator made: the rules of a cluster, as a verdict.

The simulator numbers the events of each guild. A worker writes a line when a listener is called, and one when its work
is done, each in one write: what is in the file has happened, however the process ended. The clock is the machine's, so
the lines of all processes can be put in order.

A *tenure* is the time for which one process has a guild's partition: within one, events are counted from 1 (the
``sequence`` of their `Dispatch`), so a count that does not go up begins another. What was not acknowledged at the end
of a tenure comes again in the next one, at its beginning. So in every tenure the numbers of a guild follow each other
without a gap or a step back, and each tenure begins at or before what comes next for the first time. That leaves no
room for an event of an older epoch after one of a newer, nor for one that comes twice without a redelivery.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["SHOWN", "Call", "Verdict", "check", "read"]

SHOWN: Final = 5
"""Of each kind of fault, so many are told one by one."""
OLDEST: Final = 60.0
"""Seconds. What was handled longer ago than this does not come again: it was acknowledged."""
PAUSE: Final = 2.0
"""Seconds without a call for a guild that count. After them nobody has it: one worker after the other was ended."""


class Call(NamedTuple):
    """A call of a listener, or the end of its work."""

    at: float
    process: str
    guild: int
    number: int
    sequence: int
    """Of the dispatch; 0: its work is done."""


def read(file: Path) -> Iterator[Call]:
    """The calls that one process wrote down; a line that was cut off by its end is none, nor is a remark."""
    process = file.stem
    with file.open() as lines:
        for line in lines:
            if not line.endswith("\n"):
                return
            if line.startswith("#"):
                continue
            at, guild, number, sequence = line.split()
            yield Call(float(at), process, int(guild), int(number), int(sequence))


@dataclass
class Verdict:
    """What became of the events."""

    made: int = 0
    called: int = 0
    handled: int = 0
    """Events whose work was done at least once."""
    again: int = 0
    """Calls for an event that had been handed out before."""
    faults: Counter[str] = field(default_factory=Counter[str])
    shown: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    oldest: float = 0.0
    """The longest time, in seconds, after which an event came again; without what passed while nobody had its guild."""

    def blame(self, what: str, example: str) -> None:
        """One fault."""
        self.faults[what] += 1
        if len(self.shown[what]) < SHOWN:
            self.shown[what].append(example)

    @property
    def passed(self) -> bool:
        """Whether all rules held, for more than nothing."""
        return not self.faults and self.made > 0

    def __str__(self) -> str:
        """For people; begins with what is wrong."""
        faults = [f"{count} x {what}: {'; '.join(self.shown[what])}" for what, count in self.faults.items()]
        rest = (
            f"made {self.made:,}, handled {self.handled:,} of them, called {self.called:,} times, "
            f"{self.again:,} of these again (at most {self.oldest:.1f} s of work later)"
        )
        return "\n".join([*faults, rest])


class _Guild:
    """What is known of one guild's events."""

    __slots__ = ("called_at", "clock", "done", "highest", "last", "missing", "tenure")

    def __init__(self) -> None:
        self.highest = 0
        self.missing: set[int] = set()
        """Below the highest, and not called for yet."""
        self.done = bytearray()
        self.last = float("inf")
        """When the last call was."""
        self.clock = 0.0
        """Seconds in which somebody was at work: while nobody is, nothing is acknowledged."""
        self.called_at: dict[int, float] = {}
        """Of each event, by that clock."""
        self.tenure: dict[str, tuple[int, int]] = {}
        """Of each process the last sequence and number."""

    def finish(self, number: int) -> None:
        if number >= len(self.done):
            self.done.extend(bytes(max(1024, number + 1 - len(self.done))))
        self.done[number] = 1

    def undone(self, made: int) -> list[int]:
        done = self.done
        return [number for number in range(1, made + 1) if number >= len(done) or not done[number]]


def check(
    records: Iterable[Iterable[Call]],
    made: Sequence[int],
    *,
    redelivers: bool = True,
    lost_acks: Callable[[str, float], bool] = lambda _process, _at: False,
) -> Verdict:
    """Hold what was called and done against how many events were made for each guild, by number.

    Args:
        records: Of each process, in the order of time.
        made: How many, by guild.
        redelivers: Whether a worker was ended, stopped or cut off, or joined: without that nothing may come again.
        lost_acks: Whether acknowledgements of a process may have been lost a while before that time, because the server
            was killed or the process cut off from it: what they were for comes again, within the tenure too.
    """
    verdict = Verdict(made=sum(made))
    guilds = [_Guild() for _ in made]
    for call in heapq.merge(*records):
        guild = guilds[call.guild]
        if call.sequence == 0:
            guild.finish(call.number)
            continue
        verdict.called += 1
        guild.clock += min(max(0.0, call.at - guild.last), PAUSE)
        guild.last = call.at
        where = f"{call.guild}:{call.number} in {call.process} at {call.at:.3f}"
        number, first = call.number, True
        if number > guild.highest:
            guild.missing.update(range(guild.highest + 1, number))
            guild.highest = number
        elif number in guild.missing:
            guild.missing.discard(number)
            verdict.blame("out of order", f"{where}, after {guild.highest}")
        else:
            first = False
            verdict.again += 1
        before = guild.tenure.get(call.process)
        same = before is not None and call.sequence > before[0]
        late = number if before is None or not same else max(number, before[1])
        guild.tenure[call.process] = call.sequence, late
        if first:
            guild.called_at[number] = guild.clock
            # What is older cannot come again, or it is blamed as too old.
            guild.called_at.pop(number - 100_000, None)
            continue
        if same and before is not None and number <= before[1] and not lost_acks(call.process, call.at):
            verdict.blame("twice within a tenure", f"{where}, after {before[1]}")
        if not redelivers:
            verdict.blame("twice, and no worker was ended or cut off", where)
        passed = guild.clock - guild.called_at.get(number, float("-inf"))
        if passed > OLDEST:
            verdict.blame("again, long after it was handled", f"{where}, {passed:.0f} s later")
        else:
            verdict.oldest = max(verdict.oldest, passed)
    for place, (guild, count) in enumerate(zip(guilds, made, strict=True)):
        undone = guild.undone(count)
        verdict.handled += count - len(undone)
        for number in undone:
            how = "never called for" if number > guild.highest or number in guild.missing else "called for, not done"
            verdict.blame("lost", f"{place}:{number} ({how})")
        if guild.highest > count:
            verdict.blame("never made", f"{place}:{guild.highest}")
    return verdict
