"""Metrics and traces of a bot through OpenTelemetry, for who has a collector. Needs the extra ``otel``.

`instrument` reads `Gateway.metrics` when a reader of the provider collects, in that reader's thread: nothing is on the
way of events. `trace` makes a span of each listener call. What is told how, and what only the admin server has:
docs/observability.md.
"""

import inspect
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from propylon._core import Dispatch
from propylon._fleet.manager import ShardManager
from propylon._gateway.gateway import Gateway
from propylon._gateway.metrics import Metrics
from propylon._listening.entry import Entry
from propylon._sessions.session import GatewayStatus
from propylon._version import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["instrument", "trace"]

_MISSING: Final = 'propylon.otel needs opentelemetry-api: pip install "propylon[otel]"'
_FRESH: Final = 0.1
"""Seconds for which a snapshot serves. One collection asks once for each instrument."""
_OUTCOMES: Final = ("delivered", "unheard", "filtered", "overflowed", "overlapped")

_COUNTERS: Final = (
    ("mended", "propylon.events.mended", "{event}", "Events of which something did not fit and was left out"),
    ("undecodable", "propylon.events.undecodable", "{event}", "Events that did not fit and could not be mended"),
    ("duplicates", "propylon.events.duplicate", "{event}", "Dispatches with a sequence number not above the last"),
    ("ignored", "propylon.payloads.ignored", "{payload}", "Payloads with an opcode that made no sense"),
    ("malformed", "propylon.messages.malformed", "{message}", "Messages that were no JSON or could not be inflated"),
    ("wire_bytes", "propylon.wire.io", "By", "WebSocket messages received, compressed as they came"),
    ("inflated_bytes", "propylon.inflated.io", "By", "JSON that they held"),
    ("wakeups", "propylon.wakeups", "{wakeup}", "How often the event loop was woken"),
    ("pauses", "propylon.pauses", "{pause}", "How often a full queue stopped the reading of the socket"),
    ("paused_seconds", "propylon.paused.time", "s", "Time with the socket unread for that"),
    ("heartbeats", "propylon.heartbeats", "{heartbeat}", "Heartbeats sent"),
    ("reconnects", "propylon.reconnects", "{reconnect}", "Connections made after the first"),
    ("resumes", "propylon.resumes", "{resume}", "RESUMED received"),
    ("identifies", "propylon.identifies", "{identify}", "IDENTIFYs sent"),
    ("commands_sent", "propylon.commands", "{command}", "Commands sent"),
    ("listener_errors", "propylon.listener.errors", "{error}", "Exceptions that listeners raised"),
)
"""Field of `Metrics`, name, unit, description. Sums over shards, which a fleet keeps when it is resharded."""

_GAUGES: Final = (
    ("queued", "propylon.queue.events", "{event}", "Events that wait for the event loop"),
    ("queue_bytes", "propylon.queue.size", "By", "Their bytes, with a fixed overhead each"),
    ("pending", "propylon.listener.pending", "{call}", "Listener calls that have not finished"),
    ("blocked_seconds", "propylon.loop.blocked", "s", "How long the event loop has taken no turn; 0 below 2 s"),
)
"""The same, of each shard."""


class _Source:
    """One gateway or fleet."""

    def __init__(self, bot: Gateway | ShardManager) -> None:
        self.bot: Final = bot
        self._taken_at = float("-inf")
        self._taken: tuple[Metrics, dict[int, Metrics]]

    def read(self) -> tuple[Metrics, dict[int, Metrics]]:
        """The sum, and of each shard."""
        if time.monotonic() - self._taken_at > _FRESH:
            bot = self.bot
            total = bot.metrics()
            if isinstance(bot, ShardManager):
                self._taken = total, bot.metrics(by_shard=True)
            else:
                self._taken = total, {_shard_id(bot): total}
            self._taken_at = time.monotonic()
        return self._taken

    @property
    def is_here(self) -> bool:
        """Whether it belongs to this process: after a fork the parent's gateways are none of the child's."""
        return self.bot._life.is_of_this_process  # pyright: ignore[reportPrivateUsage]

    def statuses(self) -> list[GatewayStatus]:
        if isinstance(self.bot, Gateway):
            return [self.bot.status]
        return [shard.status for shard in list(self.bot.shards.values())]

    def latencies(self) -> list[tuple[int, float | None]]:
        if isinstance(self.bot, Gateway):
            return [(_shard_id(self.bot), self.bot.latency)]
        return [(shard_id, shard.latency) for shard_id, shard in list(self.bot.shards.items())]


def _shard_id(gateway: Gateway) -> int:
    return 0 if gateway.shard is None else gateway.shard[0]


# Instruments are made once for each provider: two of one name would be two series with the same attributes.
_sources: Final[WeakKeyDictionary[object, list[_Source]]] = WeakKeyDictionary()


def _check_bot(bot: object, who: str) -> None:
    if not isinstance(bot, Gateway | ShardManager):
        raise TypeError(f"{who} takes a Gateway or a ShardManager, not {type(bot).__name__}")


def instrument(bot: Gateway | ShardManager, *, meter_provider: "MeterProvider | None" = None) -> None:
    """Tell a meter provider of OpenTelemetry what a gateway or a shard manager counts.

    The provider keeps it from then on; asking twice is once. Several bots of one provider are summed, and gauges are
    those of the shard with that number that was added last. Set the provider up first.

    Args:
        bot: Open or not.
        meter_provider: None: the global one.

    Raises:
        ImportError: The extra ``otel`` is not installed.
        TypeError: It is neither a gateway nor a shard manager.
    """
    _check_bot(bot, "instrument()")
    try:
        from opentelemetry.metrics import get_meter_provider
    except ImportError:
        raise ImportError(_MISSING) from None
    provider = get_meter_provider() if meter_provider is None else meter_provider
    sources = _sources.get(provider)
    if sources is None:
        sources = _sources[provider] = []
        _register(provider, sources)
    if all(source.bot is not bot for source in sources):
        sources.append(_Source(bot))


def trace(bot: Gateway | ShardManager, *, tracer_provider: "TracerProvider | None" = None) -> None:
    """Make a span of each listener call, of those that are there and of those that are added later.

    The span is the current one inside the listener, so that spans of an HTTP client or a database are its children; it
    has no parent. It begins with the call and ends when that has finished, for an async listener with its coroutine:
    with ``concurrency=``, what it waits for its turn is part of it. Its event ``received`` has the time at which the
    payload was read from the socket. What the listener raises is recorded, and goes to `Gateway.on_error` as ever.

    Where nobody asks for it, it costs nothing; else each call costs a span, and async calls have a Task each. Sampling
    is the provider's. Asking again puts the new provider in the place of the one before.

    Args:
        bot: Open or not. Asked for while events come, it holds from the next drain of the queue on.
        tracer_provider: None: the global one. Set it up first.

    Raises:
        ImportError: The extra ``otel`` is not installed.
        TypeError: It is neither a gateway nor a shard manager.
    """
    _check_bot(bot, "trace()")
    try:
        from opentelemetry.trace import SpanKind, get_tracer, use_span
    except ImportError:
        raise ImportError(_MISSING) from None
    tracer = get_tracer("propylon", __version__, tracer_provider)

    def traced(entry: Entry) -> Callable[..., Any]:
        # What a function as ``where=`` refuses is no call.
        call, inject, name = entry.unguarded, entry.inject, entry.tally.name

        def begun(dispatch: Dispatch[Any]) -> "Span":
            attributes: dict[str, str | int] = {"listener": name, "event": dispatch.type, "shard": dispatch.shard_id}
            if dispatch.sequence is not None:
                attributes["sequence"] = dispatch.sequence
            span = tracer.start_span(f"{entry.name} {dispatch.type}", kind=SpanKind.CONSUMER, attributes=attributes)
            span.add_event("received", timestamp=int(dispatch.received_time.timestamp() * 1e9))
            return span

        def called(event: Any, dispatch: Dispatch[Any]) -> Any:
            return call(event) if inject is None else call(event, **{inject: dispatch})

        async def finished(result: Awaitable[Any], span: "Span") -> None:
            with use_span(span, end_on_exit=True):
                await result

        async def call_async(event: Any, *, dispatch: Dispatch[Any]) -> None:
            with use_span(begun(dispatch), end_on_exit=True):
                await called(event, dispatch)

        def call_plain(event: Any, *, dispatch: Dispatch[Any]) -> Any:
            span = begun(dispatch)
            try:
                with use_span(span):
                    result = called(event, dispatch)
            except BaseException:
                span.end()
                raise
            # A plain function may return what an async one gave it.
            if inspect.isawaitable(result):
                return finished(result, span)
            span.end()
            return result

        return entry.guarded(call_plain if entry.isolated else call_async)

    bot._life.listening.trace(traced)  # pyright: ignore[reportPrivateUsage]


def _register(provider: "MeterProvider", sources: list[_Source]) -> None:
    from opentelemetry.metrics import Observation

    meter = provider.get_meter("propylon", __version__)

    def here() -> list[_Source]:
        return [source for source in sources if source.is_here]

    def of_total(field: str) -> "Callable[[CallbackOptions], Iterable[Observation]]":
        return lambda _: [Observation(sum(getattr(source.read()[0], field) for source in here()))]

    def of_shard(field: str) -> "Callable[[CallbackOptions], Iterable[Observation]]":
        def observe(_: "CallbackOptions") -> "Iterable[Observation]":
            found = {number: getattr(each, field) for source in here() for number, each in source.read()[1].items()}
            return [Observation(value, {"shard": number}) for number, value in found.items()]

        return observe

    def events(_: "CallbackOptions") -> "Iterable[Observation]":
        counts: dict[tuple[str, str], int] = {}
        for source in here():
            total = source.read()[0]
            for outcome in _OUTCOMES:
                by_type: dict[str, int] = getattr(total, f"{outcome}_by_type")
                for event, count in by_type.items():
                    counts[event, outcome] = counts.get((event, outcome), 0) + count
        return [Observation(count, {"event": event, "outcome": outcome}) for (event, outcome), count in counts.items()]

    def shards(_: "CallbackOptions") -> "Iterable[Observation]":
        there = [status for source in here() for status in source.statuses()]
        return [Observation(there.count(status), {"status": status.name}) for status in GatewayStatus]

    def latency(_: "CallbackOptions") -> "Iterable[Observation]":
        found = {number: value for source in here() for number, value in source.latencies() if value is not None}
        return [Observation(value, {"shard": number}) for number, value in found.items()]

    meter.create_observable_counter("propylon.events", [events], "{event}", "Dispatches, by what became of them")
    for field, name, unit, description in _COUNTERS:
        meter.create_observable_counter(name, [of_total(field)], unit, description)
    meter.create_observable_up_down_counter("propylon.shards", [shards], "{shard}", "Shards in each status")
    meter.create_observable_gauge(
        "propylon.heartbeat.latency", [latency], "s", "From the last acknowledged heartbeat to its ACK"
    )
    for field, name, unit, description in _GAUGES:
        meter.create_observable_gauge(name, [of_shard(field)], unit, description)
