"""A process that has control calls in flight when it ends. Run by test_broker_exit.py."""

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
import time
import warnings
from typing import Any

warnings.filterwarnings("ignore", message="propylon._core is a debug build", category=RuntimeWarning)

from propylon.cluster._nats import NatsBroker, connect  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("app")
parser.add_argument("--way", required=True)
parser.add_argument("--loop", default="asyncio")
arguments = parser.parse_args()

BUCKET = f"propylon-{arguments.app}"
kept: list[Any] = []


async def in_flight(broker: NatsBroker) -> None:
    """Leave calls that end soon, calls that end later, and some that never do; of each some that nobody awaits."""
    watch, questions = await broker.watch(BUCKET, ">"), await broker.serve(broker.inbox())
    silent = await broker.serve("silent")
    await watch.next()
    kept.extend([broker, watch, questions, silent])
    # Futures of the engine itself, in no task: nobody cancels them when the loop ends.
    kept.extend([broker.core.get(BUCKET, f"k.{n}") for n in range(50)])
    kept.extend([broker.core.put(BUCKET, f"k.{n}", b"v" * 1000) for n in range(50)])
    if arguments.way != "fork":
        # That one lives on, and would hear from asyncio that nobody took the time-out.
        kept.append(broker.core.request("silent", b"", 0.2))
    kept.append(broker.core.request("silent", b"", 60.0))
    if arguments.way == "abandoned":
        # Nothing but futures: of tasks asyncio itself says that they were left.
        return
    for call in (
        watch.next,
        questions.next,
        lambda: broker.request("silent", b"", 60),
        lambda: broker.get(BUCKET, "k"),
    ):
        kept.extend([asyncio.ensure_future(call()) for _ in range(3)])
    await asyncio.sleep(0)


async def joined() -> NatsBroker:
    return await connect(arguments.url, arguments.app)


async def main() -> None:
    match arguments.way:
        case "return":
            await in_flight(await joined())
        case "closed":
            broker = await joined()
            await in_flight(broker)
            waiting = [one for one in kept if asyncio.isfuture(one)]
            await broker.close()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            # The questions and the requests, which nobody could answer.
            assert all(isinstance(end, ConnectionError) for end in ended[-9:-3]), ended[-12:]
        case "exit":
            await in_flight(await joined())
            sys.exit(3)
        case "exit-in-task":
            await in_flight(await joined())
            asyncio.get_running_loop().call_soon(sys.exit, 3)
            await asyncio.Event().wait()
        case "interrupt":
            await in_flight(await joined())
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        case "connecting":
            # To a place that takes the connection and says nothing.
            kept.append(asyncio.ensure_future(connect(arguments.url, arguments.app)))
            await asyncio.sleep(0.05)
        case "cancelled":
            broker = await joined()
            for _ in range(200):
                call = asyncio.ensure_future(broker.get(BUCKET, "k"))
                await asyncio.sleep(0)
                call.cancel()
        case "fork":
            broker = await joined()
            await in_flight(broker)
            await forked(broker)
        case _:
            raise AssertionError(arguments.way)


async def forked(broker: NatsBroker) -> None:
    # Ours go on while there are children.
    children: list[int] = []
    for way in ("leave", "use", "loop", "exit"):
        child = os.fork()
        if child == 0:
            in_the_child(broker, way)
        children.append(child)
    await broker.put(BUCKET, "after", b"v")
    for child in children:
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, (child, status)
    found = await broker.get(BUCKET, "after")
    assert found is not None
    assert found.value == b"v"


def in_the_child(broker: NatsBroker, way: str) -> None:
    status = 1
    try:
        if way == "use":
            with contextlib.suppress(Exception):
                broker.core.get(BUCKET, "k")
                os._exit(1)
            kept.clear()
            gc.collect()
        if way == "loop":
            asyncio.events._set_running_loop(None)

            async def anew() -> None:
                ours = await joined()
                assert await ours.put(BUCKET, "child", b"v") > 0
                await ours.close()

            asyncio.run(anew())
        if way == "exit":
            # As multiprocessing's fork does: no hook of the parent's runs, and nothing is finalised.
            asyncio.events._set_running_loop(None)
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def stubborn() -> None:
    """A thread that nobody waits for calls on, also while the process ends."""

    async def calling() -> None:
        broker = await joined()
        while True:
            await broker.get(BUCKET, "k")

    with contextlib.suppress(RuntimeError, ConnectionError):
        asyncio.run(calling())


if arguments.way == "daemon-thread":
    threading.Thread(target=stubborn, daemon=True).start()
    time.sleep(0.3)
elif arguments.way == "abandoned":
    # The loop is closed as asyncio.run does not: nobody is told, and calls complete after it.
    loop = asyncio.new_event_loop()
    loop.run_until_complete(in_flight(loop.run_until_complete(joined())))
    loop.close()
    time.sleep(0.4)
elif arguments.loop == "uvloop":
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
print("ended", flush=True)
