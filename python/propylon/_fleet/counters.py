"""The counters of many shards as those of one; of times the latest, of loops the one that is blocked."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from propylon._gateway.metrics import Metrics

__all__ = ["none", "summed"]

_NOW: Final = frozenset({"queued", "queue_bytes", "pending", "queued_by_type", "blocked_seconds", "running"})
"""What is counted at the moment, rather than since the beginning."""


def none() -> Metrics:
    """Nothing yet."""
    return summed([])


def summed(each: Sequence[Metrics], *, of_now: bool = True) -> Metrics:
    """The sums; without ``of_now``, of what remains when the shards are gone."""
    total: dict[str, Any] = {}
    for field in fields(Metrics):
        name = field.name
        values = [getattr(metrics, name) for metrics in each] if of_now or name not in _NOW else []
        if name.startswith("last_"):
            known = [at for at in values if at is not None]
            total[name] = max(known, default=None)
        elif name == "blocked_seconds":
            total[name] = max(values, default=0.0)
        elif name == "running":
            total[name] = next((running for running in values if running is not None), None)
        elif name.endswith("_by_type"):
            by_type: dict[str, int] = {}
            for counts in values:
                for event, count in counts.items():
                    by_type[event] = by_type.get(event, 0) + count
            total[name] = by_type
        else:
            total[name] = sum(values)
    return Metrics(**total)
