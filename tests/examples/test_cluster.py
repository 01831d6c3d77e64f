"""``examples/cluster``: its worker hears what a gateway host publishes over a real nats-server, with the permissions
of ``nats.conf`` too; and the files for Docker, Kubernetes and systemd fit together."""

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cli.processes import SECONDS, Start
from cluster.nats import NatsServer
from propylon import Intents
from propylon.cli import _arguments as arguments
from propylon.cli._nats_server import NoNatsServer, find_nats_server
from propylon.cluster._nats import Nats, connect
from propylon.events import MessageCreate
from propylon.testing import Simulator, make

from .programs import EXAMPLES, Said, stopped

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

FILES = EXAMPLES / "cluster"
CONF = (FILES / "nats.conf").read_text("utf-8")
UNITS = ["nats.service", "propylon-gateway.service", "propylon-worker@.service"]
INTENTS = ("--intents", "guilds,guild-messages,message-content")

systemd_analyze = shutil.which("systemd-analyze")


def nats_server() -> Path:
    """Skips where there is none."""
    try:
        return find_nats_server()
    except NoNatsServer as error:
        pytest.skip(str(error))


@pytest.fixture
def passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment of the server, as ``nats.conf`` wants them."""
    for who in ("host", "worker", "operator", "route"):
        monkeypatch.setenv(f"NATS_{who.upper()}_PASSWORD", f"p-{who}")


def login(who: str) -> dict[str, str]:
    return {"PROPYLON_NATS_USER": who, "PROPYLON_NATS_PASSWORD": f"p-{who}"}


def test_a_worker_hears_commands_and_asks_for_members(start: Start) -> None:
    nats_server()
    with NatsServer() as nats, Simulator(guilds=2, identify_interval=0.0) as simulator:
        cluster = {"PROPYLON_NATS_URL": nats.url, "PROPYLON_APP": "example"}
        worker = Said(start(str(EXAMPLES / "cluster" / "worker.py"), **cluster))
        worker.until("worker")
        host = Said(
            start(
                *("-m", "propylon", "gateway", "--shards", "1", "--api-url", simulator.api_url),
                *INTENTS,
                DISCORD_TOKEN="simulated",
                **cluster,
            )
        )
        worker.until("members begin with an a", count=2)
        simulator.dispatch("MESSAGE_CREATE", make(MessageCreate, content="nothing", guild_id=1))
        simulator.dispatch("MESSAGE_CREATE", make(MessageCreate, content="!help", guild_id=1, channel_id=2))
        worker.until("in channel 2: !help")
        text = stopped(worker, signal.SIGTERM)
        assert "nothing" not in text
        assert "Traceback" not in text
        stopped(host, signal.SIGTERM)


def test_each_part_works_with_the_permissions_that_it_has(start: Start, passwords: None) -> None:
    nats_server()
    # The same for one server as for three.
    permissions = CONF[CONF.index("\nauthorization {") :]
    with NatsServer(permissions) as nats, Simulator(guilds=2, identify_interval=0.0) as simulator:
        cluster = {"PROPYLON_NATS_URL": nats.url, "PROPYLON_APP": "mybot"}

        def host(name: str) -> Said:
            command = ("-m", "propylon", "gateway", "--shards", "1", "--name", name, "--api-url", simulator.api_url)
            said = Said(
                start(*command, *INTENTS, "--replicas", "1", DISCORD_TOKEN="simulated", **cluster, **login("host"))
            )
            said.until("has joined the cluster")
            return said

        def told(who: str, *command: str) -> str:
            process = start("-m", "propylon", "cluster", *command, **cluster, **login(who))
            output, errors = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, (command, output, errors)
            return output

        worker = Said(start(str(FILES / "worker.py"), **cluster, **login("worker")))
        worker.until("worker")
        first = host("first")
        worker.until("members begin with an a", count=2)
        for who in ("host", "worker", "operator"):
            assert "shards ready" in told(who, "status")
        second = host("second")
        assert "has handed over" in told("operator", "drain", "first")
        assert first.process.wait(SECONDS) == 0
        simulator.dispatch("MESSAGE_CREATE", make(MessageCreate, content="!help", guild_id=1, channel_id=2))
        worker.until("in channel 2: !help")
        assert "have taken over from 1" in told("operator", "reshard", "2", "--window", "0.2")

        async def unreadable() -> None:
            broker = await connect(Nats(nats.url, user="operator", password="p-operator"), "mybot", prepare=False)
            await broker.publish("propylon.mybot.ev.7", b"no events")
            await broker.close()

        asyncio.run(unreadable())
        worker.until("dead letter")
        assert "propylon.mybot.ev.7" in told("worker", "dead", "list")
        assert told("operator", "dead", "replay", "--all") == "sent again: 1\n"
        worker.until("dead letter", count=2)
        stopped(worker, signal.SIGTERM)
        stopped(second, signal.SIGTERM)
        assert told("operator", "purge", "--yes").startswith("removed")
        assert "Violation" not in nats.log

        async def a_session_of_a_worker() -> None:
            # The host makes what there is to be, and has patience. The other one waits for its time-out.
            for who, may, timeout in (("host", True, 20.0), ("worker", False, 2.5)):
                options = Nats(nats.url, user=who, password=f"p-{who}", timeout=timeout)
                broker = await connect(options, "mybot", prepare=may)
                try:
                    await broker.put("propylon-mybot", "session.2.0", b"{}")
                    assert may
                except TimeoutError:
                    assert not may
                await broker.close()

        asyncio.run(a_session_of_a_worker())
        assert 'user:worker" - Publish Violation - Subject "$KV.propylon-mybot.session.2.0"' in nats.log


def test_nats_takes_its_configuration(monkeypatch: pytest.MonkeyPatch, passwords: None, tmp_path: Path) -> None:
    for name, value in {
        "NAME": "nats-1",
        "STORE": str(tmp_path),
        "ROUTES": "[nats-route://a:6222,nats-route://b:6222]",
    }.items():
        monkeypatch.setenv(name, value)
    command = [nats_server(), "-t", "-c", FILES / "nats.conf"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr


def test_kubernetes_has_the_same_configuration_of_nats() -> None:
    text = (FILES / "kubernetes.yaml").read_text("utf-8")
    block = text[text.index("  nats.conf: |\n") :].partition("\n")[2].partition("\n---\n")[0]
    assert textwrap.dedent(block) + "\n" == CONF


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml", "propylon-gateway.service"])
def test_hosts_ask_for_what_the_worker_listens_to(name: str) -> None:
    found = re.findall(r"--intents[= ]([\w,-]+)", (FILES / name).read_text("utf-8"))
    assert [arguments.intents_of(text) & Intents.MESSAGE_CONTENT for text in found] == [Intents.MESSAGE_CONTENT]


@pytest.mark.skipif(systemd_analyze is None, reason="needs systemd-analyze, of the Debian package systemd")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_the_units(name: str, tmp_path: Path) -> None:
    assert systemd_analyze is not None
    text = (FILES / name).read_text("utf-8")
    # Also with what is to be switched on.
    text = re.sub(r"^#(?=\w+=)", "", text, flags=re.MULTILINE)
    unit = tmp_path / name.replace("@", "@1")
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    done = subprocess.run([systemd_analyze, "verify", unit], capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (0, [])
