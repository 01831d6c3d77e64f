"""The simulator in a process of its own: options as JSON on the command line, commands on stdin.

Prints its URLs, then answers each command with a line of JSON: ``go`` starts the traffic and sends the last event when
all of it is on the wire; ``quit`` ends it.
"""

import json
import os
import resource
import sys

from propylon.testing import Simulator

END = {"channel_id": "1", "guild_id": "1", "code": "end"}


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def main() -> None:
    with Simulator(**json.loads(sys.argv[1])) as simulator:
        say(url=simulator.url, api_url=simulator.api_url)
        for line in sys.stdin:
            if line.strip() != "go":
                break
            simulator.flood()
            simulator.wait("traffic_done", timeout=600)
            simulator.dispatch("INVITE_DELETE", END)
            usage = resource.getrusage(resource.RUSAGE_SELF)
            (session,) = simulator.record()["sessions"]
            say(events=session["events"], cpu=usage.ru_utime + usage.ru_stime)
        os._exit(0)


main()
