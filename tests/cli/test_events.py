"""``propylon events``: events as JSON lines, and how it ends."""

import fcntl
import json
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from typing import Any

import pytest

from propylon import Dispatch
from propylon.cli._events import lines_of
from propylon.testing import Simulator

from .processes import SECONDS, Finish, Start

Simulators = Callable[..., Simulator]
FIELDS = ["type", "shard_id", "sequence", "received_at", "data"]


def read(lines: str) -> list[dict[str, Any]]:
    assert lines.endswith("\n")
    return [json.loads(line) for line in lines.splitlines()]


def test_events_of_a_separate_simulator_come_as_json_lines(propylon: Start, finished: Finish) -> None:
    server = propylon("simulate", "--rate", "200", "--seed", "7")
    assert server.stdout is not None
    url = server.stdout.readline().split()[1]
    assert url.startswith("ws://127.0.0.1:")

    done = finished("events", "--gateway-url", url, "--intents", "all", "--count", "30")
    assert (done.returncode, done.stderr) == (0, "")
    events = read(done.stdout)
    assert len(events) == 30
    assert all(list(event) == FIELDS for event in events)
    assert [event["sequence"] for event in events] == list(range(1, 31))
    assert events[0]["type"] == "READY"
    assert events[0]["data"]["user"]["username"] == "propylon"
    assert {event["type"] for event in events[1:11]} == {"GUILD_CREATE"}

    told = ""
    while "closed" not in told:
        line = server.stdout.readline()
        assert line, told
        told += line
    assert "connection 1: open, compression zstd-stream" in told
    assert "connection 1: identified" in told
    assert "connection 1: closed by client close with 1000" in told
    server.send_signal(signal.SIGTERM)
    _, errors = server.communicate(timeout=SECONDS)
    assert (server.returncode, errors) == (0, "")


def test_a_tls_simulator_needs_its_ca_file(propylon: Start, finished: Finish) -> None:
    server = propylon("simulate", "--tls", "--rate", "50")
    assert server.stdout is not None
    told = dict(server.stdout.readline().split(maxsplit=1) for _ in range(2))
    ca_file = server.stdout.readline().split(maxsplit=2)[2].strip()
    url = told["gateway"].strip()
    assert url.startswith("wss://")

    done = finished("events", "--gateway-url", url, "--ca-file", ca_file, "--count", "1")
    assert (done.returncode, done.stderr) == (0, "")

    refused = finished("events", "--gateway-url", url, "--count", "1")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith("propylon: CertificateError: ")
    assert refused.stderr.count("\n") == 1


def test_verbose_tells_of_each_step(propylon_simulator: Simulators, finished: Finish) -> None:
    done = finished("events", "--gateway-url", propylon_simulator().url, "--count", "1", "--verbose")
    assert done.returncode == 0
    for step in ("connecting to 127.0.0.1", "HELLO: a heartbeat every", "IDENTIFY sent", "READY: a new session"):
        assert f"propylon: {step}" in done.stderr


def test_a_proxy_comes_from_the_option_or_the_environment(propylon_simulator: Simulators, finished: Finish) -> None:
    url = propylon_simulator().url
    for arguments, environment in (
        (("--proxy", "ftp://ada:hush@localhost"), {}),
        ((), {"PROPYLON_PROXY": "ftp://ada:hush@localhost"}),
    ):
        done = finished("events", "--gateway-url", url, "--count", "1", *arguments, **environment)
        assert done.returncode == 1
        assert done.stderr.startswith("propylon: proxy: it must start with http://")
        assert "hush" not in done.stderr + done.stdout


@pytest.mark.parametrize("compression", ["zlib-stream", "payload", "none"])
def test_every_compression_gives_the_same_lines(
    propylon_simulator: Simulators, finished: Finish, compression: str
) -> None:
    simulator = propylon_simulator(rate=1000, seed=3)

    def lines(name: str) -> list[tuple[int, Any]]:
        done = finished(
            "events",
            "--gateway-url",
            simulator.url,
            "--event",
            "MESSAGE_CREATE",
            "--count",
            "40",
            "--compression",
            name,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [(event["sequence"], event["data"]) for event in read(done.stdout)]

    assert lines(compression) == lines("zstd-stream")


@pytest.mark.parametrize(
    ("which", "ids"), [("4", {0, 1, 2, 3}), ("auto", {0, 1}), ("1-2/4", {1, 2}), ("0,3/4", {0, 3})]
)
def test_the_lines_of_several_shards_tell_which(
    propylon_simulator: Simulators, finished: Finish, which: str, ids: set[int]
) -> None:
    simulator = propylon_simulator(guilds=8, shards=2, rate=30, identify_interval=0)
    done = finished(
        *("events", "--shards", which, "--count", "100"), PROPYLON_API_URL=simulator.api_url, PROPYLON_GATEWAY_URL=""
    )
    assert (done.returncode, done.stderr) == (0, "")
    events = read(done.stdout)
    assert len(events) == 100
    assert all(list(event) == FIELDS for event in events)
    assert {event["shard_id"] for event in events} == ids
    for shard_id in ids:
        sequences = [event["sequence"] for event in events if event["shard_id"] == shard_id]
        assert sequences == list(range(1, len(sequences) + 1))
    closed = [connection["closed"]["code"] for connection in simulator.record()["connections"]]
    assert closed == [1000] * len(ids)


def test_shards_are_heard_while_others_still_wait_for_their_turn(
    propylon_simulator: Simulators, finished: Finish
) -> None:
    """Eight of them start one after the other, 5 s each; the first one's events do not wait for the last one."""
    simulator = propylon_simulator(guilds=0, rate=50, shards=8, identify_interval=5)
    done = finished("events", "--shards", "auto", "--count", "20", PROPYLON_API_URL=simulator.api_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert len({event["shard_id"] for event in read(done.stdout)}) == 1
    assert simulator.record()["identifies"] == 1


def test_of_a_fleet_that_cannot_be_opened_the_reason_is_one_line(
    propylon_simulator: Simulators, finished: Finish
) -> None:
    simulator = propylon_simulator(token="the-right-one")
    for url in ({"PROPYLON_API_URL": simulator.api_url}, {"PROPYLON_GATEWAY_URL": simulator.url}):
        done = finished("events", "--shards", "2", DISCORD_TOKEN="the-wrong-one", **url)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("propylon: AuthenticationFailed: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("which", "hint"),
    [
        ("all", "all of how many? write auto, how many there are (4), or which of how many (0-15/64 or 0,5/16)"),
        ("0-15", "0-15 of how many? write auto"),
        ("0,5", "0,5 of how many? write auto"),
        ("", "write auto"),
        ("0", "shards must be 1 to 65,536, not 0"),
        ("0-3/", "'' is no number of shards; write auto"),
        ("0-3/x", "'x' is no number of shards; write auto"),
        ("/4", "'' is neither an id nor a range; write auto"),
        ("a-3/4", "'a-3' is neither an id nor a range; write auto"),
        ("0--3/4", "'0--3' is neither an id nor a range; write auto"),
        ("3-0/4", "3-0 goes down; write 0-3"),
        ("0-4/4", "ids start at 0, so the last one of 4 is 3"),
        ("0-2,1/4", "1 is named twice"),
        ("0/0", "total must be 1 to 65,536 shards, not 0"),
        ("0-99999999999/100000000000", "total must be 1 to 65,536 shards"),
    ],
)
def test_shards_that_are_none_are_told_with_what_to_write(finished: Finish, which: str, hint: str) -> None:
    done = finished("events", "--gateway-url", "ws://127.0.0.1:1", "--shards", which)
    assert (done.returncode, done.stdout) == (2, "")
    assert hint in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--shard", "0/2", "--shards", "2"), "give one of them"),
        (("--shards", "auto"), "with --gateway-url give a number, or that server's --api-url"),
    ],
)
def test_options_that_do_not_go_together(finished: Finish, arguments: tuple[str, ...], hint: str) -> None:
    done = finished("events", "--gateway-url", "ws://127.0.0.1:1", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert hint in " ".join(done.stderr.replace("│", " ").split())


def test_only_the_named_events_are_printed(propylon_simulator: Simulators, finished: Finish) -> None:
    simulator = propylon_simulator(rate=1000)
    done = finished(
        *("events", "--gateway-url", simulator.url, "--count", "20"),
        *("--event", "message_create", "--event", "TYPING_START"),
    )
    assert {event["type"] for event in read(done.stdout)} == {"MESSAGE_CREATE", "TYPING_START"}


def test_an_event_whose_intent_is_not_asked_for_is_told_in_one_line(
    propylon_simulator: Simulators, finished: Finish
) -> None:
    url = propylon_simulator(guilds=0).url
    done = finished(
        "events", "--gateway-url", url, "--intents", "guilds", "--event", "GUILD_MEMBER_ADD", "--seconds", "3"
    )
    assert done.returncode == 0
    assert "GUILD_MEMBER_ADD needs an intent that is not asked for" in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_stops_after_a_time(propylon_simulator: Simulators, finished: Finish) -> None:
    simulator = propylon_simulator(rate=100)
    done = finished("events", "--gateway-url", simulator.url, "--seconds", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert read(done.stdout)[0]["type"] == "READY"
    assert simulator.record()["connections"][0]["closed"]["code"] == 1000


def test_a_time_without_connection_is_an_error(finished: Finish) -> None:
    with Simulator() as simulator:
        url = simulator.url
    done = finished("events", "--gateway-url", url, "--seconds", "0.5")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not connected within 0.5 s" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_ends_it_quietly(propylon_simulator: Simulators, propylon: Start) -> None:
    simulator = propylon_simulator(rate=1000)
    process = propylon("events", "--gateway-url", simulator.url)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith('{"type":"READY"')
    process.stdout.close()
    assert process.wait(SECONDS) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(propylon_simulator: Simulators, propylon: Start, number: signal.Signals) -> None:
    # Little enough for the pipe to hold: a signal into a blocked write may cut a line.
    simulator = propylon_simulator(rate=50)
    process = propylon("events", "--gateway-url", simulator.url, "--event", "MESSAGE_CREATE")
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(number)
    rest, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (128 + number, "")
    assert {event["type"] for event in read(first + rest)} == {"MESSAGE_CREATE"}
    assert simulator.record()["connections"][0]["closed"]["code"] == 1000


def test_a_signal_ends_it_while_nobody_reads(propylon_simulator: Simulators, propylon: Start) -> None:
    simulator = propylon_simulator(rate=None, events=["MESSAGE_CREATE"])
    process = propylon("events", "--gateway-url", simulator.url)
    assert process.stdout is not None
    fd = process.stdout.fileno()

    def waiting() -> int:
        return struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0]

    # The pipe is full, and stays so: it is blocked in its write. Only Linux tells the size.
    size = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) if sys.platform == "linux" else 16_384
    pause = threading.Event()
    while waiting() < size - 4096:
        assert process.poll() is None
        pause.wait(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 130


def test_without_a_token_it_says_what_to_set(finished: Finish) -> None:
    for arguments in ((), ("--gateway-url", "wss://gateway.example")):
        done = finished("events", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert "DISCORD_TOKEN" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_refused_token_is_one_line(propylon_simulator: Simulators, finished: Finish) -> None:
    simulator = propylon_simulator(token="the-right-one")
    done = finished("events", "--gateway-url", simulator.url, DISCORD_TOKEN="the-wrong-one")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("propylon: AuthenticationFailed: ")
    assert done.stderr.count("\n") == 1
    assert "the-wrong-one" not in done.stderr


def test_there_is_no_option_for_the_token(finished: Finish) -> None:
    assert finished("events", "--token", "x").returncode == 2
    assert "DISCORD_TOKEN" in finished("events", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--intents", "gilds"), "did you mean GUILDS?"),
        (("--intents", "-1"), "not negative"),
        (("--event", "MESAGE_CREATE"), "did you mean MESSAGE_CREATE?"),
        (("--gateway-url", "ws://[::1"), "is no URL"),
        (("--compression", "gzip"), "zstd-stream, zlib-stream, payload, none"),
    ],
)
def test_a_wrong_argument_is_explained(finished: Finish, arguments: tuple[str, ...], hint: str) -> None:
    done = finished("events", "--gateway-url", "ws://127.0.0.1:1", *arguments)
    assert done.returncode == 2
    assert hint in done.stderr


def test_a_line_is_the_data_as_it_came() -> None:
    raw = '{ "n": 1.0e2, "text": "\\u00e9 é", "big": 9007199254740993 }'.encode()
    dispatch: Dispatch[Any] = Dispatch("SOME_EVENT", raw, shard_id=2, sequence=5)
    head = f'{{"type":"SOME_EVENT","shard_id":2,"sequence":5,"received_at":{dispatch.received_at!r},"data":'
    assert lines_of([dispatch, dispatch]) == (head.encode() + raw + b"}\n") * 2


def test_an_event_over_several_lines_becomes_one() -> None:
    dispatch: Dispatch[Any] = Dispatch('ODD"NAME', b'{\r\n "a": "\\n"\n}', sequence=None)
    assert lines_of([dispatch]).count(b"\n") == 1
    assert json.loads(lines_of([dispatch])) == {
        "type": 'ODD"NAME',
        "shard_id": 0,
        "sequence": None,
        "received_at": dispatch.received_at,
        "data": {"a": "\n"},
    }


def test_jq_like_readers_get_it_through_a_pipe(propylon_simulator: Simulators, propylon: Start) -> None:
    simulator = propylon_simulator(rate=500)
    process = propylon("events", "--gateway-url", simulator.url)
    assert process.stdout is not None
    head = subprocess.run(["head", "-n", "3"], stdin=process.stdout, capture_output=True, text=True, check=True)
    process.stdout.close()
    assert len(read(head.stdout)) == 3
    assert process.wait(SECONDS) == 0
