"""``examples/cluster/worker.py`` hears what a gateway host publishes over a real nats-server."""

import signal
import sys

import pytest

from cli.processes import Start
from cluster.nats import NatsServer
from propylon.cli._nats_server import NoNatsServer, find_nats_server
from propylon.events import MessageCreate
from propylon.testing import Simulator, make

from .programs import EXAMPLES, Said, stopped

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def test_a_worker_hears_commands_and_asks_for_members(start: Start) -> None:
    try:
        find_nats_server()
    except NoNatsServer as error:
        pytest.skip(str(error))
    with NatsServer() as nats, Simulator(guilds=2, identify_interval=0.0) as simulator:
        cluster = {"PROPYLON_NATS_URL": nats.url, "PROPYLON_APP": "example"}
        worker = Said(start(str(EXAMPLES / "cluster" / "worker.py"), **cluster))
        worker.until("worker")
        host = Said(
            start(
                *("-m", "propylon", "gateway", "--shards", "1", "--api-url", simulator.api_url),
                *("--intents", "guilds,guild-messages,message-content"),
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
