"""``propylon run`` with a bot of the user's, and ``propylon doctor``, which says why it would not come up."""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from propylon import Intents
from propylon.testing import Simulator

from .processes import SECONDS, Finish, Start

BOT = """
import asyncio
from contextlib import asynccontextmanager
from propylon import Gateway, Intents
from propylon.events import Ready

class Database: ...

@asynccontextmanager
async def lifespan(gateway):
    yield Database()
    print("closed", flush=True)

{name} = Gateway("token", gateway_url={url!r}, intents=Intents.GUILDS, lifespan=lifespan)

@{name}.listen
async def on_ready(ready: Ready) -> None:
    print("ready", {mark!r}, flush=True)
"""


def write(folder: Path, simulator: Simulator, *, name: str = "gateway", mark: str = "1") -> Path:
    bot = folder / "bot.py"
    bot.write_text(BOT.format(url=simulator.url, name=name, mark=mark))
    return bot


def write_fleet(folder: Path, simulator: Simulator, *, name: str = "manager", mark: str = "1") -> Path:
    """The same with two shards; it says so when all of them are ready."""
    text = BOT.format(url=simulator.url, name=name, mark=mark)
    for one, many in (
        ("Gateway", "ShardManager"),
        ("Ready", "FleetReady"),
        (f"gateway_url={simulator.url!r}", f"shards=2, api_url={simulator.api_url!r}"),
    ):
        assert one in text
        text = text.replace(one, many)
    bot = folder / "bot.py"
    bot.write_text(text)
    return bot


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


@pytest.mark.parametrize("target", ["bot:gateway", "bot"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_gateway_runs_until_a_signal_with_its_lifespan_around_it(
    propylon: Start, propylon_simulator: Callable[..., Simulator], tmp_path: Path, target: str, number: signal.Signals
) -> None:
    simulator = propylon_simulator(guilds=0)
    write(tmp_path, simulator)
    process = propylon("run", target, cwd=tmp_path)
    assert line(process.stdout) == "ready 1\n"
    process.send_signal(number)
    output, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (0, "closed\n")
    assert simulator.record()["connections"][0]["closed"]["code"] == 1000


@pytest.mark.parametrize(("name", "target"), [("manager", "bot"), ("gateway", "bot"), ("fleet", "bot:fleet")])
def test_a_shard_manager_is_found_and_runs_in_the_same_way(
    propylon: Start, propylon_simulator: Callable[..., Simulator], tmp_path: Path, name: str, target: str
) -> None:
    simulator = propylon_simulator(guilds=2, identify_interval=0)
    write_fleet(tmp_path, simulator, name=name)
    process = propylon("run", target, cwd=tmp_path)
    assert line(process.stdout) == "ready 1\n"
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (0, "closed\n")
    assert "Traceback" not in errors
    connections = simulator.record()["connections"]
    assert [connection["closed"]["code"] for connection in connections] == [1000, 1000]


def test_where_both_are_there_the_name_gateway_comes_first(
    propylon: Start, propylon_simulator: Callable[..., Simulator], tmp_path: Path
) -> None:
    simulator = propylon_simulator(guilds=0)
    bot = write(tmp_path, simulator)
    bot.write_text(bot.read_text() + "\nfrom propylon import ShardManager\nmanager = ShardManager('token')\n")
    process = propylon("run", "bot", cwd=tmp_path)
    assert line(process.stdout) == "ready 1\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0


def test_a_shard_manager_that_runs_itself_runs_once(
    propylon: Start, propylon_simulator: Callable[..., Simulator], tmp_path: Path
) -> None:
    simulator = propylon_simulator(guilds=2, identify_interval=0)
    bot = write_fleet(tmp_path, simulator)
    bot.write_text(bot.read_text() + "\nmanager.run()\n")
    process = propylon("run", "bot", cwd=tmp_path)
    assert line(process.stdout) == "ready 1\n"
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (0, "closed\n")
    assert len(simulator.record()["connections"]) == 2


def test_a_bot_that_runs_itself_runs_once(
    propylon: Start, propylon_simulator: Callable[..., Simulator], tmp_path: Path
) -> None:
    """As those of the README do, in their last line; and its logging is its own."""
    simulator = propylon_simulator(guilds=0)
    bot = write(tmp_path, simulator)
    own = "import logging\nlogging.basicConfig(level=logging.INFO, format='own %(message)s')\n"
    bot.write_text(own + bot.read_text() + "\ngateway.run()\n")
    process = propylon("run", "bot", cwd=tmp_path)
    assert line(process.stdout) == "ready 1\n"
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (0, "closed\n")
    assert len(simulator.record()["connections"]) == 1
    assert all(row.startswith("own ") for row in errors.splitlines())


def test_ctrl_c_under_reload_lets_listeners_finish(
    start: Start, propylon_simulator: Callable[..., Simulator], tmp_path: Path
) -> None:
    """A terminal sends it to the whole group; to the bot it is the first one all the same."""
    simulator = propylon_simulator(guilds=0)
    bot = write(tmp_path, simulator)
    slow = "    try:\n        await asyncio.sleep(1)\n    finally:\n        print('finished', flush=True)\n"
    bot.write_text(bot.read_text() + slow)
    group = "import os, runpy, sys; os.setsid(); sys.argv = ['propylon', 'run', 'bot', '--reload']; "
    process = start("-c", group + "runpy.run_module('propylon', run_name='__main__')", cwd=tmp_path)
    assert line(process.stdout) == "ready 1\n"
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (0, "finished\nclosed\n")


@pytest.mark.parametrize("written", [write, write_fleet])
def test_a_change_starts_it_anew(
    propylon: Start, propylon_simulator: Callable[..., Simulator], tmp_path: Path, written: Callable[..., Path]
) -> None:
    simulator = propylon_simulator(guilds=2, identify_interval=0)
    written(tmp_path, simulator, name="gateway")
    process = propylon("run", "bot:gateway", "--reload", cwd=tmp_path)
    assert line(process.stdout) == "ready 1\n"
    written(tmp_path, simulator, name="gateway", mark="2")
    assert [line(process.stdout), line(process.stdout)] == ["closed\n", "ready 2\n"]
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=SECONDS)
    assert output == "closed\n"
    assert "changed, starting anew: bot:gateway" in errors
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("nobot:gateway", "there is no module 'nobot'; be in the folder where it is"),
        ("bot.py", "it is a module that is named, not a file: bot:gateway"),
        ("src/bot.py:gateway", "it is a module that is named, not a file: src.bot:gateway"),
        (":gateway", "'' is no module; give it as MODULE:NAME"),
        ("bot:gatewya", "bot has no 'gatewya'; did you mean bot:gateway?"),
        ("bot:lifespan", "bot:lifespan is no Gateway or ShardManager but function; did you mean bot:gateway?"),
    ],
)
def test_what_is_not_there_is_told(
    finished: Finish, propylon_simulator: Callable[..., Simulator], tmp_path: Path, target: str, text: str
) -> None:
    write(tmp_path, propylon_simulator(guilds=0))
    done = finished("run", target, cwd=tmp_path)
    assert done.returncode == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("bot", "bot has no 'gateway'; did you mean bot:fleet?"),
        ("bot:flet", "bot has no 'flet'; did you mean bot:fleet?"),
        ("json", "json has no 'gateway'; it has no Gateway or ShardManager at its top level"),
    ],
)
def test_a_shard_manager_of_another_name_is_suggested(
    finished: Finish, propylon_simulator: Callable[..., Simulator], tmp_path: Path, target: str, text: str
) -> None:
    write_fleet(tmp_path, propylon_simulator(guilds=0), name="fleet")
    done = finished("run", target, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"propylon: {text}\n")


def test_the_old_spelling_prints_events_and_says_the_new_one(
    finished: Finish, propylon_simulator: Callable[..., Simulator]
) -> None:
    simulator = propylon_simulator(guilds=0)
    done = finished("run", "--gateway-url", simulator.url, "--count", "1")
    assert done.returncode == 0
    assert json.loads(done.stdout)["type"] == "READY"
    assert "use `propylon events`" in done.stderr


def test_the_gateway_of_the_environment_and_a_shard(
    finished: Finish, propylon_simulator: Callable[..., Simulator]
) -> None:
    simulator = propylon_simulator(guilds=0, shards=4)
    done = finished("events", "--count", "1", "--shard", "1/4", PROPYLON_GATEWAY_URL=simulator.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["shard_id"] == 1
    for wrong in ("4/4", "1", "a/b"):
        done = finished("events", "--shard", wrong, PROPYLON_GATEWAY_URL=simulator.url)
        assert done.returncode == 2
        assert "write its id and how many there are" in done.stderr


def test_shells_can_complete_it(finished: Finish) -> None:
    """As the script that --install-completion puts into bash asks."""
    asking = {"_PROPYLON_COMPLETE": "complete_bash", "COMP_WORDS": "propylon e", "COMP_CWORD": "1"}
    done = finished(**asking)
    assert (done.returncode, done.stdout.split()) == (0, ["events"])


def examined(done: "subprocess.CompletedProcess[str]") -> dict[str, tuple[str, str]]:
    """What was found, by what was looked at."""
    rows = [row.split(None, 2) for row in done.stdout.splitlines() if row[:1].strip()]
    return {what: (mark, text) for mark, what, text in rows}


def test_the_doctor_finds_nothing_wrong(finished: Finish, propylon_simulator: Callable[..., Simulator]) -> None:
    simulator = propylon_simulator(guilds=0)
    done = finished("doctor", "--intents", "all", PROPYLON_API_URL=simulator.api_url, DISCORD_TOKEN="token\n")
    found = examined(done)
    assert done.returncode == 0, done.stdout
    assert found["token"][0] == found["intents"][0] == found["DNS"][0] == "ok"
    assert simulator.record()["connections"] == []


def test_the_doctor_never_shows_the_token_and_knows_a_wrong_certificate_file(
    finished: Finish, propylon_simulator: Callable[..., Simulator], tmp_path: Path
) -> None:
    simulator = propylon_simulator(guilds=0)
    done = finished("doctor", PROPYLON_API_URL=simulator.api_url, DISCORD_TOKEN="SECRET.1\nSECRET.2")
    assert done.returncode == 1
    assert "copy the token alone" in " ".join(done.stdout.split())
    assert "SECRET" not in done.stdout + done.stderr
    done = finished("doctor", "--ca-file", str(tmp_path / "none.pem"), DISCORD_TOKEN="token")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("fault", ["no token", "wrong token", "intents", "unreachable", "certificate"])
def test_the_doctor_says_what_is_wrong_and_what_to_do(
    finished: Finish, propylon_simulator: Callable[..., Simulator], fault: str
) -> None:
    simulator = propylon_simulator(
        guilds=0,
        token="right" if fault == "wrong token" else None,
        disallowed_intents=Intents.MESSAGE_CONTENT if fault == "intents" else Intents.NONE,
        tls=fault == "certificate",
    )
    environment = {"PROPYLON_API_URL": simulator.api_url, "DISCORD_TOKEN": "token"}
    if fault == "no token":
        del environment["DISCORD_TOKEN"]
    if fault == "unreachable":
        simulator.close()
    done = finished("doctor", "--intents", "all", **environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    words = {
        "no token": "DISCORD_TOKEN is not set",
        "wrong token": "refused (HTTP 401)",
        "intents": "not enabled: MESSAGE_CONTENT",
        "unreachable": "does not answer",
        "certificate": "certificate verify failed",
    }
    assert words[fault] in " ".join(done.stdout.split())


def test_no_proxy_of_the_environment_stands_between(
    finished: Finish, propylon_simulator: Callable[..., Simulator]
) -> None:
    simulator = propylon_simulator(guilds=0)
    done = finished(
        "doctor", PROPYLON_API_URL=simulator.api_url, DISCORD_TOKEN="token", HTTP_PROXY="http://127.0.0.1:1"
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", ["gateway", "manager"])
def test_admin_makes_the_bot_serve_what_it_does(propylon: Start, tmp_path: Path, kind: str) -> None:
    with Simulator() as simulator:
        (write if kind == "gateway" else write_fleet)(tmp_path, simulator)
        process = propylon("run", f"bot:{kind}", "--admin", "127.0.0.1:0", cwd=tmp_path)
        assert process.stderr is not None
        told = ""
        while "admin server: http://" not in told:
            told = process.stderr.readline()
            assert told, "it has ended"
        url = told.split("admin server: ")[1].strip()
        assert line(process.stdout).startswith("ready")
        with urllib.request.urlopen(f"{url}/readyz", timeout=SECONDS) as answer:
            assert json.load(answer)["ok"] is True
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0


def test_an_admin_address_that_cannot_be_is_told_in_a_line(finished: Finish, tmp_path: Path) -> None:
    with Simulator() as simulator:
        write(tmp_path, simulator)
        done = finished("run", "bot:gateway", "--admin", "0.0.0.0:9464", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "--admin-remote" in done.stderr
        done = finished("events", "--gateway-url", simulator.url, "--admin", "nowhere")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "admin takes an IP address and a port" in done.stderr
