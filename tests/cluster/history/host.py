"""A gateway host as `propylon gateway` makes it, with the time-outs of a test. Run by `processes`: options as JSON."""

import json
import logging
import sys
import warnings

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)

from propylon import Backoff, Intents, Timeouts  # noqa: E402
from propylon.cluster import GatewayHost  # noqa: E402

options = json.loads(sys.argv[1])
# It says when it has joined.
logging.basicConfig(level=logging.INFO)
host = GatewayHost(
    "history",
    options["nats"],
    app=options["app"],
    name=options["name"],
    shards=options["shards"],
    replicas=options["replicas"],
    intents=Intents.GUILDS | Intents.GUILD_MESSAGES,
    api_url=options["api_url"],
    proxy=options["proxy"],
    backoff=Backoff(base=0.05, cap=0.5, reset_after=0.5),
    timeouts=Timeouts(connect=5, hello=5, ready=10, close=1),
)
host.run()
