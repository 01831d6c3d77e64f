"""A fleet that is run as a process, as its arguments say. Run by test_processes.py."""

import argparse
import asyncio
import logging
import os
import sys
import warnings

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)
# Python warns of threads at a fork since 3.12: that is what is tried here.
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
# A busy machine may stand still in a listener's call; that is told, and right.
logging.getLogger("propylon").addFilter(lambda record: "held the event loop" not in record.msg)

from propylon import FileSessionStore, ForkedError, Intents, Presence, ShardManager  # noqa: E402
from propylon.events import FleetReady, TypingStart  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("api_url")
parser.add_argument("--do", choices=["run", "serve", "leave", "fork", "threads"], default="run")
parser.add_argument("--store")
parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
arguments = parser.parse_args()


def say(text: str) -> None:
    print(text, flush=True)


store = None if arguments.store is None else FileSessionStore(arguments.store)
manager = ShardManager("token", intents=Intents.ALL, api_url=arguments.api_url, shards=3, sessions=store)


@manager.listen
async def on_fleet_ready(event: FleetReady) -> None:
    say(f"fleet of {event.shard_count} ready")


@manager.listen
async def on_typing(event: TypingStart) -> None:
    say("in the listener")
    await asyncio.sleep(0.3)
    say("finished")


async def leave() -> None:
    await manager.open(timeout=20)
    say("left open")


async def serve() -> None:
    await manager.serve()


def child() -> None:
    for name, use in {
        "open": lambda: asyncio.run(manager.open()),
        "close": lambda: asyncio.run(manager.close()),
        "metrics": manager.metrics,
        "set_presence": lambda: asyncio.run(manager.set_presence(Presence())),
        "request": lambda: manager.request_members(1, query="a"),
        "reshard": lambda: asyncio.run(manager.reshard(5)),
        "run": manager.run,
        "listen": lambda: manager.listen(TypingStart)(print),
    }.items():
        try:
            use()
        except ForkedError:
            say(f"refused {name}")
        else:
            say(f"allowed {name}")
    say(repr(manager))


if arguments.do == "run":
    manager.run()
elif arguments.do == "fork":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(manager.open(timeout=20))
    number = os.fork()
    if number == 0:
        child()
        sys.exit(7)
    say(f"child ended with {os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])}")
    say(f"parent {manager.status.name} after {manager.metrics().reconnects} reconnects")
    loop.run_until_complete(manager.close())
    loop.close()
elif arguments.do == "threads":
    asyncio.run(leave())
else:
    main = leave if arguments.do == "leave" else serve
    if arguments.loop == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
say("end")
