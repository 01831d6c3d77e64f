"""``propylon simulate``: what it prints, and how it ends."""

import json
import signal
import socket
import urllib.request

import pytest

from propylon.cli._simulate import Watcher
from propylon.testing import Simulator

from .processes import SECONDS, Finish, Start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_its_regular_end(propylon: Start, number: signal.Signals) -> None:
    server = propylon("simulate", "--tls", "--compression", "zlib-stream")
    assert server.stdout is not None
    lines = [server.stdout.readline() for _ in range(4)]
    assert [line.split()[0] for line in lines] == ["gateway", "api", "ca", "try"]
    assert "--compression zlib-stream" in lines[3]
    server.send_signal(number)
    assert server.wait(SECONDS) == 0


def test_a_taken_port_is_one_line(finished: Finish) -> None:
    with Simulator() as taken:
        taken_port = taken.port
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{taken_port}: .*; 0 takes a free one"):
            Simulator(port=taken_port).start()
        done = finished("simulate", "--port", str(taken_port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"propylon: OSError: cannot listen on 127.0.0.1:{taken_port}: ")
    assert "another simulator?), or choose another port; 0 takes a free one" in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_serves_the_named_events_and_points_out_another_compression(propylon: Start, finished: Finish) -> None:
    server = propylon(
        "simulate", "--events", "TYPING_START,MESSAGE_DELETE", "--guilds", "1", "--compression", "payload"
    )
    assert server.stdout is not None
    url = server.stdout.readline().split()[1]
    done = finished("events", "--gateway-url", url, "--count", "12")
    kinds = {line.split('"')[3] for line in done.stdout.splitlines()}
    assert kinds == {"READY", "GUILD_CREATE", "TYPING_START", "MESSAGE_DELETE"}
    while "open" not in (line := server.stdout.readline()):
        assert line
    assert "compression zstd-stream (expected payload)" in line


def test_it_serves_the_shards_that_it_is_told_and_names_them(propylon: Start, finished: Finish) -> None:
    server = propylon(
        "simulate", "--shards", "4", "--max-concurrency", "4", "--guilds", "40", "--guilds-per-shard", "10"
    )
    assert server.stdout is not None
    url, api = [server.stdout.readline().split()[1] for _ in range(2)]
    with urllib.request.urlopen(
        urllib.request.Request(f"{api}/gateway/bot", headers={"authorization": "Bot token"})
    ) as answer:
        asked = json.load(answer)
    assert (asked["shards"], asked["session_start_limit"]["max_concurrency"]) == (4, 4)
    assert asked["session_start_limit"]["identify_interval"] == 5000
    assert finished("events", "--gateway-url", url, "--shard", "3/4", "--count", "11").returncode == 0
    too_many = finished("events", "--gateway-url", url, "--shard", "0/3", "--count", "1")
    assert too_many.returncode != 0
    while "identified" not in (line := server.stdout.readline()):
        assert line
    assert " connection 1: identified shard 3/4, session " in line
    while "closed by server" not in (line := server.stdout.readline()):
        assert line
    assert " connection 2: closed by server with 4011, 0 events sent" in line


def test_very_many_things_are_told_in_one_line() -> None:
    with Simulator(identify_interval=0.0) as simulator:
        watcher = Watcher(simulator, None)
        assert watcher.news() == []
        sockets = [upgraded(simulator.port) for _ in range(21)]
        simulator.wait("connections", count=21)
        assert watcher.news() == ["21 opened; 21 open"]
        assert watcher.news() == []
        sockets.pop().close()
        simulator.wait("open", count=20)
        (line,) = watcher.news()
        assert ": closed by client " in line
        for client in sockets:
            client.close()


def upgraded(port: int) -> socket.socket:
    """A WebSocket on which nothing is said."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(
        b"GET /?v=10&encoding=json HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return client
