"""More than one machine: gateway hosts that hold the shards, and workers that hear their events, over NATS.

::

    from propylon.cluster import Worker

    worker = Worker("nats://127.0.0.1:4222", app="mybot")

Nothing of it is loaded before it is asked for: `propylon` itself needs no broker.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from propylon.errors import NoOwner

if TYPE_CHECKING:
    from propylon.cluster._host import GatewayHost, HostedShard, HostMetrics
    from propylon.cluster._nats import Nats
    from propylon.cluster._worker import Worker, WorkerMetrics

__all__ = ["GatewayHost", "HostMetrics", "HostedShard", "Nats", "NoOwner", "Worker", "WorkerMetrics"]

_WHERE: Final = {
    "GatewayHost": "_host",
    "HostMetrics": "_host",
    "HostedShard": "_host",
    "Nats": "_nats",
    "Worker": "_worker",
    "WorkerMetrics": "_worker",
}


def __getattr__(name: str) -> Any:
    """Import a class when it is first asked for: a worker needs nothing of a host."""
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value


def __dir__() -> list[str]:
    """Those that were not asked for yet too."""
    return sorted({*globals(), *__all__})
