"""Which commands of the clients a test has been given by `Simulator.expect`, so that it gets each once."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Generator, Mapping
from typing import Any, Final

__all__ = ["Expected", "Place"]


class Expected:
    """Counts what was given, by opcode and connection. The commands themselves are in the simulator's record."""

    def __init__(self) -> None:
        """Nothing was given yet."""
        self._waiting: Final[defaultdict[int, list[Place]]] = defaultdict(list)
        # By connection: what one sends is in its order, whichever connection the server hears first.
        self._given: defaultdict[int, Counter[int]] = defaultdict(Counter)

    def count(self, op: int) -> int:
        """How many with this opcode were given."""
        return self._given[op].total()

    @contextlib.contextmanager
    def waiting(self, op: int) -> "Generator[Place]":
        """Stand in the queue for commands with this opcode, behind the calls that wait already."""
        queue = self._waiting[op]
        place = Place(queue)
        queue.append(place)
        try:
            yield place
        finally:
            queue.remove(place)

    def take(self, record: Mapping[str, Any], op: int) -> Any:
        """``d`` of the earliest that was not given. Raises `RuntimeError` where it is not in the record."""
        given = self._given[op]
        waiting: list[tuple[float, int, Any]] = []
        for connection in record["connections"]:
            number: int = connection["number"]
            commands = [command for command in connection["ops"] if command["op"] == op]
            waiting += [(each["ms"], number, each["payload"].get("d")) for each in commands[given[number] :][:1]]
        if not waiting:
            raise RuntimeError(f"no op {op} to give: the simulator keeps the first 10,000 commands of a connection")
        _, number, data = min(waiting, key=lambda command: command[:2])
        given[number] += 1
        return data

    def missing(self, record: Mapping[str, Any], op: int, timeout: float) -> str:
        """What a `TimeoutError` says: which commands came that were not given."""
        came = Counter[int]()
        for connection in record["connections"]:
            came.update({int(each): count for each, count in connection["op_counts"].items()})
        left = {each: count - self.count(each) for each, count in sorted(came.items())}
        instead = ", ".join(f"op {each} ({count})" for each, count in left.items() if count > 0)
        which = "further command" if self.count(op) else "command"
        return f"simulator: no {which} with op {op} within {timeout} s; " + (
            f"not expected so far: {instead}" if instead else "nothing else came"
        )


class Place:
    """One call's place in the queue for commands with an opcode. It moves up when one before it leaves."""

    def __init__(self, queue: "list[Place]") -> None:
        """Made by `Expected.waiting`."""
        self._queue: Final = queue

    @property
    def is_next(self) -> bool:
        """Whether no call before it waits."""
        return self._queue[0] is self
