"""`propylon.otel`: what a reader of OpenTelemetry's SDK collects is what `metrics()` says."""

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face.support import eventually, message
from propylon import Gateway, Intents, ShardManager
from propylon.events import MessageCreate
from propylon.otel import instrument
from propylon.testing import Simulator

Start = Callable[..., Simulator]
Found = dict[str, dict[tuple[tuple[str, Any], ...], float]]

DOCS = Path(__file__).parents[2] / "docs" / "observability.md"


class Collector:
    """A provider, and what is collected of it."""

    def __init__(self) -> None:
        sdk = pytest.importorskip("opentelemetry.sdk.metrics", reason="needs opentelemetry-sdk")
        export = pytest.importorskip("opentelemetry.sdk.metrics.export")
        self._reader = export.InMemoryMetricReader()
        self.provider = sdk.MeterProvider([self._reader], shutdown_on_exit=False)
        self.units: dict[str, str] = {}

    def collect(self) -> Found:
        data = self._reader.get_metrics_data()
        metrics = [] if data is None else data.resource_metrics[0].scope_metrics[0].metrics
        names = [metric.name for metric in metrics]
        assert len(names) == len({*names})
        self.units |= {metric.name: metric.unit for metric in metrics}
        return {
            metric.name: {tuple(sorted(point.attributes.items())): point.value for point in metric.data.data_points}
            for metric in metrics
        }


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.mark.asyncio
async def test_what_is_collected_is_what_metrics_says(propylon_simulator: Start, collector: Collector) -> None:
    simulator = propylon_simulator(guilds=0, heartbeat_interval=0.1)
    gateway = Gateway("token", gateway_url=simulator.url, intents=Intents.GUILD_MESSAGES, shard=(1, 2))
    instrument(gateway, meter_provider=collector.provider)
    instrument(gateway, meter_provider=collector.provider)
    gateway.listen(MessageCreate)(lambda _: None)
    async with gateway:
        simulator.dispatch("MESSAGE_CREATE", message())
        simulator.dispatch("NEVER_HEARD_OF", {})
        await eventually(lambda: gateway.latency is not None)
        await eventually(lambda: gateway.metrics().received == 3)
        await eventually(
            lambda: collector.collect()["propylon.events"].get((("event", "UNKNOWN"), ("outcome", "unheard"))) == 1
        )
        # In a thread of its own, as a reader that exports does.
        found = await asyncio.to_thread(collector.collect)
        metrics = gateway.metrics()
        assert found["propylon.events"][("event", "MESSAGE_CREATE"), ("outcome", "delivered")] == 1
        assert sum(found["propylon.events"].values()) == metrics.received - metrics.queued
        assert found["propylon.identifies"] == {(): metrics.identifies} == {(): 1}
        assert 0 < found["propylon.wire.io"][()] <= metrics.wire_bytes
        assert found["propylon.shards"][("status", "READY"),] == 1
        assert sum(found["propylon.shards"].values()) == 1
        assert found["propylon.queue.events"] == {(("shard", 1),): 0}
        assert found["propylon.heartbeat.latency"].keys() == {(("shard", 1),)}


@pytest.mark.asyncio
async def test_a_fleet_is_summed_and_its_gauges_are_by_shard(propylon_simulator: Start, collector: Collector) -> None:
    simulator = propylon_simulator(guilds=0, identify_interval=0, shards=3)
    manager = ShardManager("token", shards=3, api_url=simulator.api_url)
    instrument(manager, meter_provider=collector.provider)
    before = collector.collect()
    assert before["propylon.identifies"] == {(): 0}
    assert sum(before["propylon.shards"].values()) == 0
    async with manager:
        await eventually(lambda: collector.collect()["propylon.identifies"] == {(): 3})
        found = collector.collect()
        assert found["propylon.shards"][("status", "READY"),] == 3
        assert found["propylon.queue.events"].keys() == {(("shard", number),) for number in range(3)}


def test_two_gateways_of_one_provider_are_summed(collector: Collector) -> None:
    for number in range(2):
        instrument(Gateway("token", shard=(number, 2)), meter_provider=collector.provider)
    found = collector.collect()
    assert found["propylon.shards"][("status", "UNCONNECTED"),] == 2
    assert found["propylon.loop.blocked"].keys() == {(("shard", 0),), (("shard", 1),)}


def test_the_instruments_are_those_that_are_documented(collector: Collector) -> None:
    instrument(Gateway("token"), meter_provider=collector.provider)
    collector.collect()
    rows = re.findall(r"^\| `(propylon\.[\w.]+)` \| `([^`]+)` \|", DOCS.read_text("utf-8"), re.MULTILINE)
    # Neither has a point before it is connected.
    unseen = {"propylon.events": "{event}", "propylon.heartbeat.latency": "s"}
    assert dict(rows) == {**collector.units, **unseen}
    assert len(rows) > 20


def test_it_refuses_what_is_no_bot() -> None:
    with pytest.raises(TypeError, match="takes a Gateway or a ShardManager, not str"):
        instrument("gateway")  # type: ignore[arg-type]


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    with pytest.raises(ImportError, match=r"propylon\[otel\]"):
        instrument(Gateway("token"))
