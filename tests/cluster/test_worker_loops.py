"""A worker and the event loops that come and go around it."""

import asyncio
import gc
from typing import Any

import pytest

from cluster.memory import MemoryServer
from cluster.test_worker import KEYS, Cluster, listening
from face.support import eventually, loop_factories

LOOPS = pytest.mark.parametrize("factory", loop_factories().values(), ids=loop_factories().keys())


@LOOPS
def test_one_that_is_left_open_is_closed_with_its_loop(factory: Any) -> None:
    cluster = Cluster()
    worker = cluster.worker()
    listening(worker, [])

    async def main() -> None:
        await worker.open()

    with pytest.warns(ResourceWarning, match="left open"), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert worker.partitions == ()
    assert cluster.stream.intakes == []
    assert cluster.server.keys(KEYS, "part.*") == {}


@LOOPS
def test_one_loop_after_the_other_can_open_it(factory: Any) -> None:
    cluster = Cluster()
    worker = cluster.worker()
    heard: list[str] = []
    listening(worker, heard)

    async def main(content: str) -> None:
        # It belongs to the loop in which it is first used.
        cluster.server = MemoryServer()
        async with worker:
            cluster.say(content)
            await eventually(lambda: content in heard)

    for content in ("one", "two"):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main(content))
    assert heard == ["one", "two"]


@LOOPS
def test_one_whose_loop_died_open_can_be_opened_in_another(factory: Any) -> None:
    cluster = Cluster()
    worker = cluster.worker()
    listening(worker, [])
    told: list[Any] = []
    loop = factory()
    loop.set_exception_handler(lambda _, context: told.append(context))
    loop.run_until_complete(worker.open())
    loop.close()

    async def main() -> None:
        cluster.server = MemoryServer()
        async with worker:
            assert len(worker.partitions) == 64

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert worker.partitions == ()
    # A line for each of its tasks, wherever their garbage is collected, would be told by nobody's fault.
    del loop
    gc.collect()
    assert told == []
