"""``propylon cluster`` and a real nats-server that is well, away or of no use: what it prints, and the exit code."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import nats
import pytest

from cluster.nats import NatsServer
from propylon.cluster._keys import (
    ACTIVE,
    NEXT,
    PARTITIONS,
    Active,
    HostInfo,
    Lease,
    Next,
    PartitionLease,
    WorkerInfo,
    bucket,
    encode,
    host_key,
    lease_key,
    part_key,
    worker_key,
)
from propylon.cluster._nats import connect

from .processes import SECONDS, Finish, Start, environment


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    """One that stays well."""
    with NatsServer() as server:
        yield server


async def _keep(url: str, app: str, workers: int, partitions: int, coming: Next | None) -> None:
    broker = await connect(url, app)
    keys = {
        ACTIVE: Active(1),
        host_key("ghost-1a"): HostInfo("ghost-1a", 64, time.time()),
        lease_key(1, 0): Lease("ghost-1a", status="READY"),
        **{worker_key(f"w{number}"): WorkerInfo(f"w{number}", time.time()) for number in range(workers)},
        **{part_key(number): PartitionLease("w0") for number in range(partitions)},
        **({} if coming is None else {NEXT: coming}),
    }
    for key, value in keys.items():
        await broker.put(bucket(app), key, encode(value))
    await broker.close()


def keep(
    server: NatsServer, app: str, *, workers: int = 1, partitions: int = PARTITIONS, coming: Next | None = None
) -> list[str]:
    """Write the keys of a cluster with one shard, whose host answers nothing; the options that lead to it."""
    asyncio.run(_keep(server.url, app, workers, partitions, coming))
    return ["--nats", server.url, "--app", app]


# ---------------------------------------------------------------- status


@pytest.mark.parametrize(
    ("app", "workers", "partitions", "code", "says"),
    [
        ("whole", 1, PARTITIONS, 0, "64 of 64 taken by 1 workers"),
        ("idle", 0, 0, 1, "there is no worker"),
        ("gap", 1, PARTITIONS - 1, 1, "nobody has 1 of 64 partitions"),
    ],
)
def test_the_exit_code_of_status_tells_whether_all_of_it_has_somebody(
    finished: Finish, server: NatsServer, app: str, workers: int, partitions: int, code: int, says: str
) -> None:
    done = finished("cluster", "status", *keep(server, app, workers=workers, partitions=partitions))
    assert (done.returncode, done.stderr) == (code, "")
    assert says in done.stdout


def test_status_for_programs_says_in_json_that_there_is_no_cluster(finished: Finish, server: NatsServer) -> None:
    done = finished("cluster", "status", "--json", "--nats", server.url, "--app", "nobody")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"].startswith("there is no cluster 'nobody'")


@pytest.mark.parametrize("command", [["status"], ["dead", "list"]])
def test_where_nobody_answers_programs_are_told_so_in_json(finished: Finish, command: list[str]) -> None:
    done = finished("cluster", *command, "--json", "--nats", "nats://127.0.0.1:9", "--app", "bot")
    assert done.returncode == 3
    [error] = json.loads(done.stdout).values()
    assert "127.0.0.1:9" in error
    assert error in done.stderr


@pytest.mark.parametrize(
    ("jetstream", "settings", "says"),
    [
        (False, "", "has no JetStream; start it with -js"),
        (True, "accounts { plain { users: [ { user: u, password: p } ] } }", "JetStream not enabled for account"),
        (
            True,
            'authorization { users: [ { user: u, password: p, permissions: { publish: { deny: "$JS.API.>" } } } ] }',
            "ermissions",
        ),
    ],
)
def test_a_nats_without_jetstream_for_us_is_told_from_one_that_is_slow(
    finished: Finish, jetstream: bool, settings: str, says: str
) -> None:
    login = {"PROPYLON_NATS_USER": "u", "PROPYLON_NATS_PASSWORD": "p"} if settings else {}
    with NatsServer(settings, jetstream=jetstream) as server:
        done = finished("cluster", "status", "--json", "--nats", server.url, "--app", "bot", **login)
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert says in error
    assert f"127.0.0.1:{server.port}" in error
    assert ("-js" in error) is not jetstream


# ---------------------------------------------------------------- status --watch


def test_watching_goes_on_while_nats_is_away(propylon: Start) -> None:
    with NatsServer() as server:
        process = propylon("cluster", "status", "--watch", "--json", *keep(server, "bot"))
        assert process.stdout is not None
        told = process.stdout
        assert json.loads(told.readline())["app"] == "bot"
        server.stop()
        while "error" not in (line := told.readline()):
            assert line
        assert str(server.port) in json.loads(line)["error"]
        server.start()
        while "error" in (line := told.readline()):
            assert line
        assert json.loads(line)["app"] == "bot"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_shows_that_nats_is_away_and_what_was_before() -> None:
    with NatsServer() as server:
        arguments = keep(server, "bot")
        ours, theirs = os.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "propylon", "cluster", "status", "--watch", *arguments],
            env=environment(TERM="xterm", COLUMNS="150", LINES="50"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = ""

        def show(*words: str) -> None:
            """Read on until all of them have been shown."""
            nonlocal shown
            until = time.monotonic() + SECONDS
            while not all(word in shown for word in words):
                assert select.select([ours], [], [], max(0.0, until - time.monotonic()))[0], shown
                shown += os.read(ours, 1 << 16).decode(errors="replace")

        try:
            show("64 of 64 taken")
            shown = ""
            server.stop()
            show("TimeoutError", "before that:", "64 of 64 taken")
            process.send_signal(signal.SIGINT)
            show("\x1b[?1049l")
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            process.wait()
            os.close(ours)


# ---------------------------------------------------------------- drain and reshard


def test_drain_says_which_host_is_not_there_or_does_not_answer(finished: Finish, server: NatsServer) -> None:
    arguments = keep(server, "drained")
    for host, says in (("other", "no host begins with 'other': ghost-1a"), ("ghost", "ghost-1a does not answer")):
        done = finished("cluster", "drain", host, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert says in done.stderr


def test_a_resharding_that_takes_too_long_says_what_it_waits_for(finished: Finish, server: NatsServer) -> None:
    done = finished("cluster", "reshard", "2", "--timeout", "1", *keep(server, "late"))
    assert done.returncode == 1
    assert "2 shards have not taken over within 1 s: no host coordinates it" in done.stderr
    assert "2 new shards are not READY: 0 (nobody has it), 1 (nobody has it). It was given up" in done.stderr


def test_a_resharding_whose_command_is_gone_is_given_up_by_another(finished: Finish, server: NatsServer) -> None:
    arguments = keep(server, "given-up", coming=Next(2))
    busy = finished("cluster", "reshard", "4", *arguments)
    assert busy.returncode == 1
    assert "resharded to 2 shards already; wait for that, or give it up: `propylon cluster reshard 1`" in busy.stderr
    done = finished("cluster", "reshard", "1", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the resharding to 2 is given up: the 1 shards stay" in done.stdout
    again = finished("cluster", "reshard", "1", *arguments)
    assert again.returncode == 1
    assert "has 1 shards already" in again.stderr


# ---------------------------------------------------------------- dead letters


def test_dead_letters_are_replayed_and_one_that_cannot_be_keeps_no_other(finished: Finish, server: NatsServer) -> None:
    app = "replayed"
    arguments = keep(server, app)
    headers = {"Propylon-Subject": f"propylon.{app}.ev.1", "Propylon-Reason": "5 tries"}

    async def bury() -> None:
        client = await nats.connect(server.url)
        for number in range(1, 6):
            # The second does not say where it belongs.
            told = {} if number == 2 else headers
            await client.jetstream().publish(f"propylon.{app}.dead", b"events", headers=told)
        await client.close()

    asyncio.run(bury())
    some = finished("cluster", "dead", "replay", "7", "2", "4", *arguments)
    assert (some.returncode, some.stdout) == (1, "sent again: 1\n")
    assert "there is no dead letter 7" in some.stderr
    assert "dead letter 2 does not say" in some.stderr
    rest = finished("cluster", "dead", "replay", "--all", *arguments)
    assert (rest.returncode, rest.stdout) == (1, "sent again: 3\n")
    assert rest.stderr == "propylon: dead letter 2 does not say to where it was sent\n"

    async def left() -> tuple[int, int]:
        broker = await connect(server.url, app)
        status = await broker.stream_status()
        assert status is not None
        await broker.close()
        return status.messages, status.dead

    assert asyncio.run(left()) == (4, 1)
