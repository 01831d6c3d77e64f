"""Options: what reaches the server, and what is refused where it is written."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from propylon import Backoff, Gateway, Intents, Session, Timeouts, __version__
from propylon.testing import Simulator

Start = Callable[..., Simulator]


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
    assert "compress" not in identify or identify["compress"] is False
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
        ({"identify_properties": {"$os": "x"}}, "identify_properties"),
        ({"presence": {"status": "dnd"}}, "presence"),
        ({"proxy": "localhost:8080"}, "proxy: it must start with http://"),
        ({"proxy": 8080}, "proxy takes a URL as text"),
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
