"""The files of docs/production.md: each alert is explained, and the dashboard asks for metrics that there are."""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FILES = ROOT / "examples" / "production"
METRIC = re.compile(r"propylon_\w+")
SECONDS = 30

systemd_analyze = shutil.which("systemd-analyze")
promtool = shutil.which("promtool")


def documented() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each metric."""
    rows = re.findall(
        r"^\| `(propylon_\w+)` \| (\w+) \| (.+?) \|", (DOCS / "observability.md").read_text("utf-8"), re.MULTILINE
    )
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def samples() -> dict[str, set[str]]:
    """Labels by the names that queries use."""
    found: dict[str, set[str]] = {}
    for name, (kind, labels) in documented().items():
        if kind == "histogram":
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_count": labels, f"{name}_sum": labels}
        else:
            found[name] = labels
    return found


def test_each_alert_has_its_section_in_the_runbook_and_no_other_has() -> None:
    alerts = re.findall(r"- alert: (\w+)", (DOCS / "alerts.yml").read_text("utf-8"))
    page = (DOCS / "production.md").read_text("utf-8")
    runbook = page[page.index("\n## Runbook\n") :]
    sections = re.findall(r"^### (\w+)\n\n(.+?)(?=\n### |\n## |\Z)", runbook, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in sections] == alerts
    assert len(alerts) > 5
    severities = re.findall(r"severity: (\w+)", (DOCS / "alerts.yml").read_text("utf-8"))
    said = {"page": "*Page.*", "warn": "*Warning.*"}
    for (name, text), severity in zip(sections, severities, strict=True):
        assert text.startswith(said[severity]), name
        assert "\n1. " in text, name


def test_the_page_names_files_that_are_there_and_metrics_that_are_documented() -> None:
    page = (DOCS / "production.md").read_text("utf-8")
    named = re.findall(r"\]\((?:\.\./)?(examples/production/[\w.-]+)\)", page)
    assert {*named} == {path.relative_to(ROOT).as_posix() for path in FILES.iterdir()}
    used = set(METRIC.findall(page))
    assert used
    assert used <= documented().keys()


# ---------------------------------------------------------------- the dashboard


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FILES / "grafana.json").read_text("utf-8"))
    return loaded


def panels() -> Iterator[dict[str, Any]]:
    for panel in dashboard()["panels"]:
        yield panel
        yield from panel.get("panels", [])


def test_the_dashboard_has_its_rows_and_each_panel_one_id_and_a_place() -> None:
    rows = [panel["title"] for panel in panels() if panel["type"] == "row"]
    assert rows == ["Health", "Events", "Latency and queue", "Reconnects", "Listeners", "Budget", "Cluster"]
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len({*ids}) > len(rows)
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {(place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])}
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, f"{panel['title']} lies on another"
        taken |= cells


def test_each_query_uses_metrics_and_labels_that_are_documented() -> None:
    known = samples()
    used: set[str] = set()
    for panel in panels():
        for target in panel.get("targets", []):
            query = target["expr"]
            names = set(METRIC.findall(query))
            assert names, panel["title"]
            assert names <= known.keys(), panel["title"]
            used |= names
            # Of the instance that is looked at, and labels that the metric has.
            for name in METRIC.finditer(query):
                labels = re.match(r"\{([^}]*)\}", query[name.end() :])
                assert labels is not None, query
                asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", labels[1]))
                assert "instance" in asked, query
                assert asked - {"instance"} <= known[name[0]], query
            for group in re.findall(r"\bby \(([^)]*)\)", query):
                given = set[str]().union(*(known[name] for name in names)) | {"instance"}
                assert {label.strip() for label in group.split(",")} <= given, query
    assert len(used) > 15


@pytest.mark.skipif(promtool is None, reason="needs promtool, of the Debian package prometheus")
def test_promtool_takes_the_queries(tmp_path: Path) -> None:
    """As the expressions of rules, which JSON can hold too."""
    assert promtool is not None
    queries = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    filled = [query.replace("$__rate_interval", "5m").replace("$instance", ".*") for query in queries]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(filled)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_data_source_is_wired_into_the_dashboard() -> None:
    sources: list[object] = []

    def look(value: object) -> None:
        if isinstance(value, dict):
            sources.extend(value[key] for key in value if key == "datasource")
            for each in value.values():
                look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)

    loaded = dashboard()
    look(loaded)
    assert sources
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    variables = {variable["name"]: variable for variable in loaded["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for panel in panels():
        assert panel["type"] == "row" or "datasource" in panel, panel["title"]


# ---------------------------------------------------------------- what runs it


@pytest.mark.skipif(systemd_analyze is None, reason="needs systemd-analyze, of the Debian package systemd")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    assert systemd_analyze is not None
    text = (FILES / "bot.service").read_text("utf-8")
    command = re.search(r"^ExecStart=(\S+)", text, re.MULTILINE)
    assert command is not None
    unit = tmp_path / "bot.service"
    unit.write_text(text.replace(command[1], "/bin/true"))
    done = subprocess.run([systemd_analyze, "verify", unit], capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "bot.service" in line]) == (0, [])


def start(script: str) -> "subprocess.Popen[str]":
    """`script` in the place of the bot."""
    command = [FILES / "until-replaced.sh", "sh", "-c", script]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_a_bot_that_was_replaced_is_not_started_anew_and_a_failure_is_passed_on() -> None:
    process = start("exit 0")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("replaced")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    process = start("exit 3")
    process.communicate(timeout=SECONDS)
    assert process.returncode == 3


@pytest.mark.parametrize("code", [0, 4])
def test_sigterm_reaches_the_bot_and_its_exit_code_kubernetes(code: int) -> None:
    process = start(f"trap 'echo closing; exit {code}' TERM; echo ready; while :; do sleep 0.05; done")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (code, "closing\n")
