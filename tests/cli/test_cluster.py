"""``propylon gateway``, ``propylon cluster`` and ``propylon demo --cluster``: options, answers, exit codes."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from propylon.cli import _cluster as cluster
from propylon.cli import _cluster_status as status
from propylon.cli import _demo_cluster as demo
from propylon.cli import _nats_server as nats_server
from propylon.cli._app import app
from propylon.cli._demo_cluster_records import ClusterTally, Progress, Recorder, read_notes, tally
from propylon.cli._demo_cluster_view import ClusterVerdict
from propylon.cluster._control import ClusterStatus, HostStatus, ShardStatus
from propylon.cluster._keys import Active, HostInfo, Next, PartitionLease, WorkerInfo
from propylon.cluster._nats import ConsumerStatus, StreamStatus, connect
from propylon.testing import Simulator

from .processes import Finish, Start

NOW = 1_000_000.0


@pytest.fixture(scope="module")
def nats() -> Iterator[str]:
    """A nats-server; skipped where there is none."""
    try:
        server = nats_server.LocalNats()
        with server:
            yield server.url
    except nats_server.NoNatsServer as error:
        pytest.skip(str(error))


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(("text", "shards"), [("auto", None), (" AUTO", None), ("16", 16)])
def test_shards_are_auto_or_a_number(text: str, shards: int | None) -> None:
    assert cluster.host_shards(text) == shards


@pytest.mark.parametrize("text", ["0", "0-15/64", "", "many", "-1"])
def test_other_shards_are_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="auto, or how many"):
        cluster.host_shards(text)


def test_the_ways_into_nats_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"USER": "ada", "PASSWORD": "secret", "CA_FILE": "/ca.pem"}.items():
        monkeypatch.setenv(f"PROPYLON_NATS_{name}", value)
    made = cluster.nats_of("nats://a:4222, nats://b:4222", None)
    assert (made.user, made.password, made.ca_file) == ("ada", "secret", "/ca.pem")
    assert (made.token, made.creds) == (None, None)
    assert "secret" not in repr(made)


def test_where_nats_is_has_to_be_said_and_to_make_sense() -> None:
    assert CliRunner().invoke(app, ["cluster", "status", "--app", "a"], env={"PROPYLON_NATS_URL": ""}).exit_code == 2
    done = CliRunner().invoke(app, ["cluster", "status", "--app", "a", "--nats", "ftp://a"])
    assert done.exit_code == 2
    assert "ftp:// is not spoken" in done.stderr
    done = CliRunner().invoke(app, ["cluster", "status", "--app", "a", "--nats", "ftp://a", "--json"])
    assert done.exit_code == 2
    assert "ftp:// is not spoken" in json.loads(done.stdout)["error"]


def test_a_name_of_an_app_that_cannot_be_is_refused() -> None:
    done = CliRunner().invoke(app, ["cluster", "status", "--nats", "nats://127.0.0.1:1", "--app", "a b"])
    assert done.exit_code == 2
    assert "1 to 32 letters" in done.output


@pytest.mark.parametrize(
    "arguments",
    [["--cluster", "--shards"], ["--cluster", "--dashboard"], ["--cluster", "--seconds", "5"], ["--plain"]],
)
def test_the_demo_of_a_cluster_is_one_of_its_own(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["demo", *arguments]).exit_code == 2


def test_the_demo_of_a_cluster_is_a_switch_of_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, int, bool]] = []

    async def run(rate: float, seed: int, *, plain: bool) -> int:
        asked.append((rate, seed, plain))
        return 7

    monkeypatch.setattr(demo, "run_cluster_demo", run)
    done = CliRunner().invoke(app, ["demo", "--cluster", "--plain", "--seed", "3"])
    assert (done.exit_code, asked) == (7, [(2000.0, 3, True)])


# ---------------------------------------------------------------- where nobody answers


def test_without_nats_each_command_says_where_it_looked(propylon: Start) -> None:
    commands = ["status", "drain host-1", "reshard 8", "purge --yes", "dead list", "dead replay 1"]
    where = ["--nats", "nats://127.0.0.1:9", "--app", "nobody"]
    # At once: each waits for its time-out.
    processes = {command: propylon("cluster", *command.split(), *where) for command in commands}
    for command, process in processes.items():
        output, errors = process.communicate(timeout=30)
        assert (process.returncode, output) == (3, ""), command
        assert "127.0.0.1:9" in errors, command
        assert "Traceback" not in errors, command


def test_a_host_without_nats_says_where_it_looked(finished: Finish) -> None:
    arguments = ["--nats", "nats://127.0.0.1:9", "--app", "nobody", "--shards", "1"]
    done = finished("gateway", *arguments, "--api-url", "http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("variable", ["PROPYLON_NATS_NKEY", "PROPYLON_NATS_CREDS", "PROPYLON_NATS_CA_FILE"])
def test_a_host_says_which_file_of_nats_is_of_no_use(finished: Finish, tmp_path: Path, variable: str) -> None:
    path = tmp_path / "bot.file"
    if variable != "PROPYLON_NATS_CA_FILE":
        path.write_text("neither seed nor JWT")
    arguments = ["--nats", "nats://127.0.0.1:9", "--app", "nobody", "--shards", "1"]
    done = finished("gateway", *arguments, "--api-url", "http://127.0.0.1:9", **{variable: str(path)})
    assert (done.returncode, done.stdout) == (1, "")
    assert "bot.file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_host_says_how_much_nats_keeps_for_late_workers(
    propylon: Start, propylon_simulator: Callable[..., Simulator], nats: str
) -> None:
    simulator = propylon_simulator(guilds=0)
    arguments = ["--nats", nats, "--app", "kept", "--shards", "1", "--api-url", simulator.api_url]
    host = propylon("gateway", *arguments, "--max-age", "60", "--max-bytes", "1048576")
    assert host.stderr is not None
    while "has joined the cluster kept" not in (line := host.stderr.readline()):
        assert line

    async def stream() -> StreamStatus | None:
        broker = await connect(nats, "kept", prepare=False)
        status = await broker.stream_status()
        await broker.close()
        return status

    made = asyncio.run(stream())
    assert made is not None
    assert (made.max_age, made.max_bytes) == (60, 1 << 20)


def test_a_host_needs_a_token_for_discord(finished: Finish) -> None:
    done = finished("gateway", "--nats", "nats://127.0.0.1:9", "--app", "nobody")
    assert done.returncode == 1
    assert "DISCORD_TOKEN" in done.stderr


@pytest.mark.parametrize("command", [["status"], ["drain", "host-1"], ["reshard", "8"]])
def test_without_a_cluster_each_command_says_so(finished: Finish, nats: str, command: list[str]) -> None:
    done = finished("cluster", *command, "--nats", nats, "--app", "nobody")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "no " in done.stderr


def test_purge_asks_and_there_is_nobody_to_ask(finished: Finish, nats: str) -> None:
    done = finished("cluster", "purge", "--nats", nats, "--app", "nobody")
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_dead_letters_are_named_or_all_are_meant() -> None:
    for arguments in ([], ["1", "--all"]):
        done = CliRunner().invoke(app, ["cluster", "dead", "replay", "--nats", "nats://a", "--app", "a", *arguments])
        assert done.exit_code == 2


# ---------------------------------------------------------------- a cluster


def cluster_status(**changes: Any) -> ClusterStatus:
    """One host with two shards, one worker with all partitions."""
    fields: dict[str, Any] = {
        "app": "bot",
        "at": NOW,
        "active": Active(2),
        "next": None,
        "overlap": None,
        "hosts": [HostStatus(HostInfo("one-1a", 64, NOW - 60, version="1.2"), 2, coordinator=True)],
        "shards": [ShardStatus(number, 2, "one-1a", 7 + number, "READY", NOW - 50) for number in range(2)],
        "workers": [WorkerInfo("ada-2b", NOW - 30)],
        "partitions": {number: PartitionLease("ada-2b") for number in range(64)},
        "budget": None,
        "stream": StreamStatus(10, 4096, 1, 10, 1, 0, 300.0, 0, [ConsumerStatus("p", 3, 4, 0, 3)]),
        **changes,
    }
    return ClusterStatus(**fields)


def shown(found: ClusterStatus, capsys: pytest.CaptureFixture[str]) -> str:
    status._print(found, as_json=False)  # pyright: ignore[reportPrivateUsage]
    return capsys.readouterr().out


def test_status_shows_who_has_what(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(cluster_status(), capsys)
    assert "2 of 2" in text
    assert "64 of 64 taken by 1 workers" in text
    assert "7 not acknowledged" in text
    assert "one-1a" in text
    assert "coordinator" in text
    assert "0/2" in text
    assert "ada-2b" in text


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        ({}, None),
        ({"shards": [ShardStatus(0, 2, None, 0, "UNCONNECTED", None)]}, "nobody has 1 of 2 shards: 0"),
        ({"partitions": {1: PartitionLease("ada-2b")}}, "nobody has 63 of 64 partitions"),
        ({"workers": [], "partitions": {}}, "there is no worker"),
        ({"stream": StreamStatus(0, 0, 0, 0, 1, 0, 300.0, 3, [])}, "3 dead letters"),
    ],
)
def test_status_says_what_to_look_at(changes: dict[str, Any], trouble: str | None) -> None:
    told = status.troubles(cluster_status(**changes))
    if trouble is None:
        assert told == []
    else:
        assert len(told) == 1
        assert told[0].startswith(trouble)


def test_status_shows_a_reshard_and_of_very_many_shards_those_that_are_not_ready(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shards = [ShardStatus(number, 100, "one-1a", 7, "READY", NOW) for number in range(99)]
    shards += [ShardStatus(99, 100, "one-1a", 7, "RESUMING", NOW)]
    shards += [ShardStatus(0, 200, "one-1a", 9, "READY", NOW)]
    text = shown(cluster_status(active=Active(100), next=Next(200), shards=shards), capsys)
    assert "1 of 200 ready, opening" in text
    assert "99/100" in text
    assert "98/100" not in text
    assert "100 more are READY" in text


# ---------------------------------------------------------------- the demo


def test_the_demo_ends_with_nothing_lost_and_nothing_out_of_order(propylon: Start, nats: str) -> None:
    process = propylon("demo", "--cluster", "--rate", "500")
    output, errors = process.communicate(timeout=110)
    assert process.returncode == 0, f"{output}\n{errors}"
    assert output.endswith("\nlost 0, out of order 0, identifies 4\n")
    assert "kill -9 host-1" in output
    assert "propylon cluster drain host-2" in output
    assert "\x1b" not in output


def test_without_a_nats_server_the_demo_says_where_to_get_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(nats_server.importlib.util, "find_spec", lambda _: None)
    assert CliRunner().invoke(app, ["demo", "--cluster"]).exit_code == 1
    with pytest.raises(nats_server.NoNatsServer, match=r"nats\.io/download"):
        nats_server.find_nats_server()


def test_a_nats_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "nats-server"
    script.write_text("#!/bin/sh\necho no JetStream today\nexit 3\n")
    script.chmod(0o700)
    monkeypatch.setattr(nats_server, "find_nats_server", lambda: script)
    with pytest.raises(nats_server.NoNatsServer, match="no JetStream today"), nats_server.LocalNats():
        pass


def noted(path: Path, *what: str) -> Path:
    recorder = Recorder(path)
    for each in what:
        recorder.write(*each.split())
    return path


def test_records_tell_what_was_lost_late_and_again(tmp_path: Path) -> None:
    first = noted(tmp_path / "worker-1.record", "called 0:1", "done 0:1", "called 0:3", "called 1:1", "done 1:1")
    second = noted(tmp_path / "worker-2.record", "called 0:3", "done 0:3", "called 0:2", "done 0:2")
    second.write_bytes(second.read_bytes() + b"99.5 done 0:")
    assert tally([read_notes(first), read_notes(second)], [3, 2]) == ClusterTally(
        made=5, done=4, lost=1, late=1, again=1
    )
    progress = Progress()
    progress.look([first, second, tmp_path / "worker-3.record"])
    progress.look([first, second])
    assert progress.done == 4
    assert progress.by_worker == {"worker-1": 2, "worker-2": 2}


GOOD = {"made": 4, "done": 4, "lost": 0, "late": 0, "again": 1}


@pytest.mark.parametrize(
    ("change", "identifies", "last"),
    [
        ({}, 4, "lost 0, out of order 0, identifies 4"),
        ({"lost": 1}, 4, "lost 1, out of order 0, identifies 4"),
        ({"late": 1}, 4, "lost 0, out of order 1, identifies 4"),
        ({}, 5, "lost 0, out of order 0, identifies 5"),
        ({"made": 0}, 4, "lost 0, out of order 0, identifies 4"),
    ],
)
def test_the_verdict_needs_all_of_it(change: dict[str, int], identifies: int, last: str) -> None:
    found = ClusterTally(**{**GOOD, **change})
    verdict = ClusterVerdict(tally=found, identifies=identifies, wanted=4, moves={"a host killed": 17.0})
    assert verdict.passed is (not change and identifies == 4)
    assert verdict.lines()[-1] == last
