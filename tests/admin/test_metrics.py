"""`/metrics` has the names that docs/observability.md lists, and no others; the alert rules use those."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from admin.support import ADMIN, get
from face.support import eventually, message
from propylon import Gateway, NotConnected
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps

Start = Callable[..., Simulator]
Make = Callable[..., Gateway]

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| `(propylon_\w+)` \| (\w+) \| (.+?) \|", re.MULTILINE)
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"

promtool = shutil.which("promtool")
with_promtool = pytest.mark.skipif(promtool is None, reason="needs promtool, of the Debian package prometheus")


def documented(*, cluster: bool | None = False) -> dict[str, tuple[str, set[str]]]:
    """Type and labels by name; those of a cluster, those of any bot, or all of them."""
    bot, _, rest = (DOCS / "observability.md").read_text("utf-8").partition("\n### In a cluster\n")
    members = rest[: rest.index("\n### ")]
    rows = ROW.findall({False: bot, True: members, None: bot + members}[cluster])
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()  # type: ignore[union-attr]
            pairs = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))
            found.setdefault(name, []).append((pairs, float(value)))
    return found


async def lively(sim: Simulator, gateway: Gateway) -> None:
    """Opened, with something in each family that a single gateway can fill."""
    gateway.listen(MessageCreate)(lambda _: None)
    await gateway.open(timeout=10)
    sim.act(steps.request_heartbeats())
    sim.dispatch("MESSAGE_CREATE", message())
    sim.dispatch("NEVER_HEARD_OF", {})
    await gateway.send(31, {"guild_ids": ["1"]})
    # What the consumer tells of listeners, told by hand.
    watch = gateway._life._loop_watch.watch  # type: ignore[union-attr]  # pyright: ignore
    number = watch.listener('odd "name"\\\n')
    watch.record(number, 0.3, calls=2, errors=1)
    await eventually(lambda: gateway.latency is not None)
    await eventually(lambda: gateway.metrics().delivered == 1)


@pytest.mark.asyncio
async def test_each_documented_name_is_there_and_nothing_else(propylon_simulator: Start, gateway_to: Make) -> None:
    sim = propylon_simulator()
    # Without `gateway_url` the API is asked, which tells the budget.
    gateway = gateway_to(sim, admin=ADMIN, gateway_url=None, api_url=sim.api_url)
    await lively(sim, gateway)
    text = (await get(gateway, "/metrics")).text
    names = documented()
    assert len(names) > 35
    families = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    assert families == {name: kind for name, (kind, _) in names.items()}
    assert set(re.findall(r"^# HELP (\w+) \S", text, re.MULTILINE)) == set(names)
    found = samples(text)
    for name, (kind, labels) in names.items():
        sample = f"{name}_count" if kind == "histogram" else name
        assert sample in found, f"{name} has no sample"
        for pairs, _ in found[sample]:
            assert set(pairs) == labels, name
    assert {
        name for name in found if re.sub("_(bucket|count|sum)$", "", name) not in names and name not in names
    } == set()


@pytest.mark.asyncio
async def test_the_values_are_those_of_metrics(propylon_simulator: Start, gateway_to: Make) -> None:
    sim = propylon_simulator()
    gateway = gateway_to(sim, admin=ADMIN, shard=(1, 2))
    await lively(sim, gateway)
    await gateway.close(resumable=True)
    with pytest.raises(NotConnected):
        await gateway.send(4, {})
    await gateway.open(timeout=10)
    found = samples((await get(gateway, "/metrics")).text)
    metrics = gateway.metrics()
    for name, value in (
        ("propylon_identifies_total", metrics.identifies),
        ("propylon_resumes_total", metrics.resumes),
        ("propylon_duplicate_events_total", metrics.duplicates),
        ("propylon_malformed_messages_total", metrics.malformed),
    ):
        assert found[name] == [({"shard": "1"}, value)], name
    assert metrics.resumes == 1
    events = {(pairs["event"], pairs["outcome"]): value for pairs, value in found["propylon_events_total"]}
    assert events["MESSAGE_CREATE", "delivered"] == metrics.delivered_by_type["MESSAGE_CREATE"] == 1
    assert events["UNKNOWN", "unheard"] == 1
    commands = {(pairs["kind"], pairs["result"]): value for pairs, value in found["propylon_commands_total"]}
    assert commands["request_soundboard_sounds", "sent"] == metrics.commands_sent == 1
    assert len(commands) == 30
    shards = {pairs["status"]: value for pairs, value in found["propylon_shards"]}
    assert shards.pop("READY") == 1
    assert set(shards.values()) == {0}
    assert found["propylon_shard_status"] == [({"shard": "1", "status": "READY"}, 1)]


@pytest.mark.asyncio
async def test_open_metrics_is_given_to_who_asks_for_it(propylon_simulator: Start, gateway_to: Make) -> None:
    sim = propylon_simulator()
    gateway = gateway_to(sim, admin=ADMIN)
    await lively(sim, gateway)
    plain = await get(gateway, "/metrics", Accept="*/*")
    answer = await get(gateway, "/metrics", Accept=f"{OPEN_METRICS},text/plain;version=0.0.4;q=0.5")
    assert answer.headers["content-type"] == f"{OPEN_METRICS}; charset=utf-8"
    assert answer.text.endswith("# EOF\n")
    assert "# TYPE propylon_events counter\n" in answer.text
    assert "# UNIT propylon_wire_bytes bytes\n" in answer.text
    assert "# EOF" not in plain.text
    assert "# UNIT" not in plain.text
    # The same samples.
    assert samples(answer.text).keys() == samples(plain.text).keys()
    # The listeners that were called, and the one whose name needs no escaping any more.
    names = [pairs["listener"] for pairs, _ in samples(plain.text)["propylon_listener_errors_total"]]
    assert "odd ?name???" in names
    assert all("lively" in name for name in names if name != "odd ?name???")


def test_the_alert_rules_use_existing_names() -> None:
    names = documented(cluster=None)
    known = names.keys() | {f"{name}_{part}" for name in names for part in ("bucket", "count", "sum")}
    text = (DOCS / "alerts.yml").read_text("utf-8")
    expressions = re.findall(r"^ +expr: (.+)$", text, re.MULTILINE)
    assert len(expressions) == text.count("- alert: ") > 5
    used = {name for expression in expressions for name in re.findall(r"propylon_\w+", expression)}
    assert used
    assert used <= known
    for expression in expressions:
        # Each label that is asked for is one of the metric's.
        for name, labels in re.findall(r"(propylon_\w+)\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)!?=", labels)) <= names[name][1], expression
    assert text.count("summary:") == text.count("action:") == len(expressions)


@with_promtool
def test_promtool_takes_the_rules() -> None:
    assert promtool is not None
    done = subprocess.run([promtool, "check", "rules", DOCS / "alerts.yml"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


@with_promtool
@pytest.mark.asyncio
async def test_promtool_takes_the_metrics(propylon_simulator: Start, gateway_to: Make) -> None:
    assert promtool is not None
    sim = propylon_simulator()
    gateway = gateway_to(sim, admin=ADMIN, gateway_url=None, api_url=sim.api_url)
    await lively(sim, gateway)
    text = (await get(gateway, "/metrics")).text
    done = await asyncio.to_thread(
        subprocess.run, [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
