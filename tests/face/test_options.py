"""Options: what reaches the server, and what is refused where it is written."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from propylon import (
    Activity,
    Backoff,
    Gateway,
    GatewayStatus,
    Intents,
    Presence,
    Session,
    Timeouts,
    __version__,
    models,
)
from propylon.testing import Simulator

Start = Callable[..., Simulator]

MODEL = models.ReceivedPresence()


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_they_reach_the_server(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(shards=4, require_user_agent=True)
    gateway: Gateway = gateway_to(
        sim,
        intents=Intents.GUILDS | Intents.GUILD_MESSAGES,
        shard=(1, 4),
        large_threshold=123,
        identify_properties={"device": "mine"},
        compression="zlib-stream",
    )
    await gateway.open(timeout=10)
    (connection,) = sim.record()["connections"]
    identify = connection["ops"][0]["payload"]["d"]
    assert identify["intents"] == 513 == gateway.intents
    assert identify["shard"] == [1, 4] == list(gateway.shard or ())
    assert identify["large_threshold"] == 123
    assert identify["properties"] == {"os": os.uname().sysname.lower(), "browser": "propylon", "device": "mine"}
    assert identify["compress"] is False
    assert connection["query"] == {"v": "10", "encoding": "json", "compress": "zlib-stream"}
    headers = {name.lower(): value for name, value in connection["headers"].items()}
    assert headers["user-agent"].startswith("DiscordBot (https://")
    assert __version__ in headers["user-agent"]


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize(("compression", "query"), [("zstd-stream", "zstd-stream"), ("payload", None), (None, None)])
async def test_compression(propylon_simulator: Start, gateway_to: Any, compression: Any, query: str | None) -> None:
    sim = propylon_simulator()
    await gateway_to(sim, compression=compression).open(timeout=10)
    (connection,) = sim.record()["connections"]
    assert connection["query"].get("compress") == query
    assert bool(connection["ops"][0]["payload"]["d"].get("compress")) == (compression == "payload")


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_without_a_url_the_api_is_asked(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim, gateway_url=None, api_url=sim.api_url)
    await gateway.open(timeout=10)
    (request,) = sim.record()["api"]
    assert request["path"].endswith("/gateway/bot")
    assert request["status"] == 200


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_saved_session_is_resumed_by_another_gateway(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0)
    first: Gateway = gateway_to(sim)
    await first.open(timeout=10)
    await first.close(resumable=True)
    saved = first.session
    assert saved is not None
    assert saved.id not in repr(saved)
    sim.dispatch("TYPING_START", {})
    second: Gateway = gateway_to(sim, session=saved)
    assert second.session == saved
    await second.open(timeout=10)
    resume = sim.record()["connections"][1]["ops"][0]["payload"]
    assert resume["op"] == 6
    assert (resume["d"]["session_id"], resume["d"]["seq"]) == (saved.id, 1)
    await eventually(lambda: second.metrics().received_by_type == {"TYPING_START": 1, "RESUMED": 1})
    await second.close()
    assert second.session is None
    second.session = saved
    assert second.session == saved
    await second.open(timeout=20)
    with pytest.raises(RuntimeError, match="while the gateway is closed"):
        second.session = None


@pytest.mark.parametrize("change", [{"shard": (0, 2)}, {"intents": 1}])
def test_a_session_of_other_intents_or_another_shard_is_not_taken(
    change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    session = Session("id", 5, None, None, int(Intents.GUILDS | Intents.GUILD_MESSAGES))
    options = {"intents": Intents.GUILDS | Intents.GUILD_MESSAGES, "shard": None, **change}
    gateway = Gateway("token", session=session, **options)
    assert gateway.session is None
    assert "another shard" in caplog.text
    with pytest.raises(ValueError, match="another shard"):
        gateway.session = session


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"intents": -1}, "intents"),
        ({"intents": 1.5}, "intents"),
        ({"intents": "GUILDS"}, "intents"),
        ({"intents": True}, "intents"),
        ({"compression": "gzip"}, "compression"),
        ({"overflow": "drop"}, "overflow"),
        ({"large_threshold": 49}, "large_threshold"),
        ({"large_threshold": 251}, "large_threshold"),
        ({"shard": (4, 4)}, "shard"),
        ({"queue_bytes": 0}, "queue_bytes"),
        ({"queue_bytes": 1.5}, "queue_bytes"),
        ({"max_pending": 0}, "max_pending"),
        ({"max_pending": True}, "max_pending"),
        ({"max_payload_bytes": 100}, "max_payload_bytes"),
        ({"wake_interval": -0.001}, "wake_interval must be 0 to 1 seconds, such as 0.002, not -0.001"),
        ({"wake_interval": 2}, "wake_interval"),
        ({"wake_interval": float("nan")}, "wake_interval"),
        ({"wake_interval": "2ms"}, "wake_interval"),
        ({"wake_interval": True}, "wake_interval"),
        ({"identify_properties": {"$os": "x"}}, "identify_properties"),
        ({"presence": {"status": "dnd"}}, "presence"),
        ({"proxy": "localhost:8080"}, "proxy: it must start with http://"),
        ({"proxy": 8080}, "proxy takes a URL as text"),
        ({"intents": 1 << 70}, "no intent; combine flags of Intents"),
        ({"intents": None}, 'intents are flags of Intents, or "auto"'),
        ({"session": "x"}, "session takes a Session, as Gateway.session"),
        ({"timeouts": 5}, r"timeouts takes a Timeouts, such as Timeouts\(connect=5\), not 5"),
        ({"timeouts": 0}, "timeouts takes a Timeouts"),
        ({"backoff": 3}, "backoff takes a Backoff, such as Backoff"),
        ({"large_threshold": "x"}, "large_threshold must be a whole number"),
        ({"shard": (0,)}, r"shard takes \(shard_id, shard_count\), such as \(0, 2\), not \(0,\)"),
        ({"shard": "ab"}, "shard takes"),
        ({"shard": (True, 2)}, "shard takes"),
        ({"shard": (-1, 2)}, "the id must be below the count, and starts at 0"),
        ({"shard": (1 << 40, 1 << 41)}, "shard takes"),
        ({"ca_file": "/no/such/file"}, "ca_file /no/such/file: No such file"),
        ({"ca_file": "/"}, "ca_file /: it is a folder"),
        ({"ca_file": 5}, "ca_file takes the path of a PEM file, not 5"),
        ({"auto_reconnect": "no"}, "auto_reconnect takes True or False, not 'no'"),
        ({"compression": 5}, 'compression takes "zstd-stream"'),
        ({"overflow": None}, 'overflow takes "pause" or'),
        ({"queue_bytes": 1 << 70}, "queue_bytes must be at most"),
        ({"identify_properties": {"os": 5}}, "identify_properties: os takes a text"),
        ({"identify_properties": "linux"}, "identify_properties takes a dict"),
        ({"presence": MODEL}, r"takes a propylon\.Presence, not a propylon\.models\.ReceivedPresence"),
        ({"api_url": None}, "api_url takes a URL"),
        ({"gateway_url": "http://localhost"}, "ws"),
        ({"gateway_url": "not a url"}, "url|URL"),
        ({"gateway_url": "ws://gateway.discord.gg"}, "allow_plaintext|wss"),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_written(options: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        Gateway("token", **options)


def test_plaintext_is_for_this_machine_or_on_request() -> None:
    for url in ("ws://127.0.0.1:1", "ws://localhost:1", "ws://[::1]:1", "wss://gateway.discord.gg/?v=10"):
        Gateway("token", gateway_url=url)
    Gateway("token", gateway_url="ws://proxy.internal", allow_plaintext=True)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Presence(afk="x"), "afk of a Presence is True or False, not 'x'"),  # type: ignore[arg-type]
        (lambda: Presence(since="x"), "whole milliseconds, or None, not 'x'"),  # type: ignore[arg-type]
        (lambda: Presence(since=float("nan")), "whole milliseconds"),  # type: ignore[arg-type]
        (lambda: Presence(status="asleep"), r'OnlineStatus \("online", .* not \'asleep\''),  # type: ignore[arg-type]
        (lambda: Presence(["playing"]), r"made by Activity\.playing\(\)"),  # type: ignore[list-item]
        (lambda: Presence(Activity.playing("x")), r"such as \[Activity\.playing"),  # type: ignore[arg-type]
        (lambda: Activity.playing(None), "name of an Activity is a text, not None"),  # type: ignore[arg-type]
        (lambda: Activity("x", "playing"), "type of an Activity is an ActivityType"),  # type: ignore[arg-type]
        (lambda: Gateway("token").batches(size="x"), "size must be a whole number"),  # type: ignore[arg-type]
        (lambda: Gateway("token").batches(size=True), "size must be a whole number"),
        (lambda: Timeouts(connect="5"), "number of seconds"),  # type: ignore[arg-type]
    ],
)
def test_values_that_cannot_work_are_refused_where_they_are_made(make: Callable[[], object], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        make()
    assert Presence(status="idle").payload()["status"] == "idle"  # type: ignore[arg-type]


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("timeout", [float("nan"), -1, "5", True])
async def test_a_timeout_that_is_no_number_of_seconds_is_refused(timeout: Any) -> None:
    gateway = Gateway("token")
    with pytest.raises((TypeError, ValueError), match=r"open\(\): timeout"):
        await gateway.open(timeout=timeout)
    assert gateway.status is GatewayStatus.UNCONNECTED


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_times_are_seconds(seconds: float) -> None:
    for make in (lambda: Timeouts(connect=seconds), lambda: Timeouts(close=seconds), lambda: Backoff(base=seconds)):
        with pytest.raises(ValueError, match="0 or more"):
            make()


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        Gateway("token", intent=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Gateway("token", Intents.GUILDS)  # type: ignore[misc]


FORKED = """
import os
from propylon import Gateway
gateway = Gateway("token")
child = os.fork()
if not child:
    shown = repr(gateway)
    os._exit(shown != "<Gateway of the parent process>")
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_may_show_the_gateway_of_its_parent() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
