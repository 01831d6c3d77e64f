"""`propylon.otel`: what a reader of OpenTelemetry's SDK collects is what `metrics()` says; spans are of the calls."""

import asyncio
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face.support import eventually, message
from propylon import Dispatch, Gateway, Intents, ShardManager
from propylon.events import MessageCreate
from propylon.otel import instrument, trace
from propylon.testing import Simulator, steps

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
    simulator = propylon_simulator(guilds=0)
    gateway = Gateway("token", gateway_url=simulator.url, intents=Intents.GUILD_MESSAGES, shard=(1, 2))
    instrument(gateway, meter_provider=collector.provider)
    instrument(gateway, meter_provider=collector.provider)
    gateway.listen(MessageCreate)(lambda _: None)
    async with gateway:
        simulator.act(steps.request_heartbeats())
        simulator.dispatch("MESSAGE_CREATE", message())
        simulator.dispatch("NEVER_HEARD_OF", {})
        await eventually(lambda: gateway.latency is not None)
        await eventually(lambda: gateway.metrics().received == 3)
        # What nobody hears is counted by the engine, what is delivered once the loop has taken it: in either order.
        await eventually(
            lambda: (
                collector.collect()["propylon.events"].items()
                >= {
                    (("event", "UNKNOWN"), ("outcome", "unheard")): 1,
                    (("event", "MESSAGE_CREATE"), ("outcome", "delivered")): 1,
                }.items()
            )
        )
        # In a thread of its own, as a reader that exports does.
        found = await asyncio.to_thread(collector.collect)
        metrics = gateway.metrics()
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
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(ImportError, match=r"propylon\[otel\]"):
        trace(Gateway("token"))


class Spans:
    """A provider of tracers, and the spans that have ended."""

    def __init__(self) -> None:
        sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="needs opentelemetry-sdk")
        export = pytest.importorskip("opentelemetry.sdk.trace.export")
        memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
        self._exporter = memory.InMemorySpanExporter()
        self.provider = sdk.TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(export.SimpleSpanProcessor(self._exporter))

    @property
    def ended(self) -> list[Any]:
        return list(self._exporter.get_finished_spans())

    def of(self, listener: str) -> list[Any]:
        return [span for span in self.ended if span.attributes.get("listener", "").endswith(listener)]


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.mark.asyncio
async def test_each_listener_call_is_a_span(propylon_simulator: Start, spans: Spans) -> None:
    simulator = propylon_simulator(guilds=0)
    gateway = Gateway("token", gateway_url=simulator.url, intents=Intents.GUILD_MESSAGES, shard=(1, 2))
    tracer = spans.provider.get_tracer("bot")
    gate = asyncio.Event()
    seen: list[tuple[str, int | None]] = []

    @gateway.listen
    def plain(event: MessageCreate) -> None:
        tracer.start_span("child of plain").end()
        seen.append(("plain", None))

    @gateway.listen
    async def waiting(event: MessageCreate, dispatch: Dispatch[MessageCreate]) -> None:
        with tracer.start_as_current_span("child of waiting"):
            await gate.wait()
        seen.append(("waiting", dispatch.sequence))

    trace(gateway, tracer_provider=spans.provider)
    # Again: the new one takes the place of the one before, and no call has two.
    trace(gateway, tracer_provider=spans.provider)

    @gateway.listen(concurrency=1)
    async def later(event: MessageCreate) -> None:
        await asyncio.sleep(0)

    async with gateway:
        before = time.time_ns()
        simulator.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: spans.of("plain") and spans.of("later"))
        assert spans.of("waiting") == []
        gate.set()
        await eventually(lambda: spans.of("waiting"))
    for name in ("plain", "waiting", "later"):
        (span,) = spans.of(name)
        sequence = dict(seen).get("waiting")
        assert span.name == f"test_each_listener_call_is_a_span.<locals>.{name} MESSAGE_CREATE"
        assert span.attributes == {**span.attributes, "event": "MESSAGE_CREATE", "shard": 1, "sequence": sequence}
        assert (span.kind.name, span.parent, span.status.status_code.name) == ("CONSUMER", None, "UNSET")
        (received,) = span.events
        assert received.name == "received"
        assert before - 10_000_000 <= received.timestamp <= span.start_time <= span.end_time
    children = {span.name: span.parent.span_id for span in spans.ended if span.name.startswith("child")}
    (plain_span,), (waiting_span,) = spans.of("plain"), spans.of("waiting")
    assert children == {
        "child of plain": plain_span.context.span_id,
        "child of waiting": waiting_span.context.span_id,
    }


@pytest.mark.asyncio
async def test_what_a_listener_raises_is_in_its_span_and_goes_where_it_went(
    propylon_simulator: Start, spans: Spans
) -> None:
    simulator = propylon_simulator(guilds=0)
    gateway = Gateway("token", gateway_url=simulator.url, intents=Intents.GUILD_MESSAGES)
    trace(gateway, tracer_provider=spans.provider)
    errors: list[str] = []
    gateway.on_error(lambda error: errors.append(str(error)))

    @gateway.listen
    def plain(event: MessageCreate) -> None:
        raise ValueError("plain")

    @gateway.listen
    async def suspended(event: MessageCreate) -> None:
        await asyncio.sleep(0)
        raise ValueError("suspended")

    @gateway.listen
    def passes_on(event: MessageCreate) -> Any:
        return suspended.__wrapped__(event)

    async with gateway:
        simulator.act(steps.request_heartbeats())
        simulator.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: len(errors) == 3)
        assert sorted(errors) == ["plain", "suspended", "suspended"]
        await eventually(lambda: len(spans.ended) == 3)
        assert gateway.metrics().listener_errors == 3
    for span in spans.ended:
        assert span.status.status_code.name == "ERROR"
        assert [event.name for event in span.events] == ["received", "exception"]


@pytest.mark.asyncio
async def test_listeners_may_be_traced_while_events_come(propylon_simulator: Start, spans: Spans) -> None:
    simulator = propylon_simulator(guilds=0)
    gateway = Gateway("token", gateway_url=simulator.url, intents=Intents.GUILD_MESSAGES)
    heard: list[str] = []

    @gateway.listen
    async def on_message(event: MessageCreate) -> None:
        heard.append(event.content)

    async with gateway, gateway.stream(MessageCreate) as stream:
        simulator.dispatch("MESSAGE_CREATE", message("untraced"))
        await anext(stream)
        trace(gateway, tracer_provider=spans.provider)
        simulator.dispatch("MESSAGE_CREATE", message("traced"))
        await anext(stream)
        await eventually(lambda: spans.ended)
    assert heard == ["untraced", "traced"]
    # Streams and waits are no listeners.
    assert [span.attributes["listener"].rpartition(".")[2] for span in spans.ended] == ["on_message"]


def test_it_traces_no_other_thing() -> None:
    with pytest.raises(TypeError, match="takes a Gateway or a ShardManager, not str"):
        trace("gateway")  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_what_a_function_refuses_is_no_call(propylon_simulator: Start, spans: Spans) -> None:
    simulator = propylon_simulator(guilds=0)
    gateway = Gateway("token", gateway_url=simulator.url, intents=Intents.GUILD_MESSAGES)
    trace(gateway, tracer_provider=spans.provider)
    heard: list[str] = []

    @gateway.listen(where=lambda event: event.content == "yes")
    async def wanted(event: MessageCreate) -> None:
        heard.append(event.content)

    async with gateway:
        for content in ("no", "yes", "no", "yes"):
            simulator.dispatch("MESSAGE_CREATE", message(content))
        await eventually(lambda: gateway.metrics().received == 5 and not gateway.metrics().queued)
        await eventually(lambda: len(heard) == 2)
    assert len(spans.of("wanted")) == len(spans.ended) == 2
