"""``propylon simulate``: what it prints, and how it ends."""

import signal

import pytest

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
