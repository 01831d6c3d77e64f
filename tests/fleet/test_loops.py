"""A fleet and its event loop: opened in one after another, abandoned, several in threads."""

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Callable

import pytest

from endurance.facts import settled
from face.support import eventually, loop_factories, message, run_and_abandon
from fleet.support import guild_on, make_manager, say
from propylon import GatewayStatus, ShardManager
from propylon._delivery.loop import Delivery
from propylon.events import MessageCreate
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.timeout(60)

Start = Callable[..., Simulator]
Factory = Callable[[], asyncio.AbstractEventLoop]

READY, CLOSED = GatewayStatus.READY, GatewayStatus.DISCONNECTED
FACTORIES = pytest.mark.parametrize("factory", loop_factories().values(), ids=loop_factories())


def run(main: Callable[[], object], factory: Factory) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())  # type: ignore[arg-type]


@FACTORIES
def test_it_moves_to_the_loop_that_opens_it(propylon_simulator: Start, factory: Factory) -> None:
    sim = propylon_simulator(guilds=0)
    manager = make_manager(sim, shards=2)
    heard: list[asyncio.AbstractEventLoop] = []

    @manager.listen
    async def on(event: MessageCreate) -> None:
        heard.append(asyncio.get_running_loop())

    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await manager.open(timeout=10)
        sim.dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: len(heard) == 2 * len(loops))
        await manager.close(resumable=True)

    for _ in range(3):
        run(main, factory)
    assert heard == [loop for loop in loops for _ in range(2)]
    assert (manager.metrics().identifies, manager.metrics().resumes) == (2, 4)


@FACTORIES
def test_one_left_open_when_its_loop_died_is_used_in_the_next(propylon_simulator: Start, factory: Factory) -> None:
    sim = propylon_simulator(guilds=0)
    manager = make_manager(sim, shards=2)
    heard: list[int] = []
    manager.listen(MessageCreate)(lambda event: heard.append(1))
    run_and_abandon(manager.open(timeout=10), factory)
    assert manager.status is READY

    async def second() -> None:
        async with asyncio.timeout(10):
            with pytest.raises(RuntimeError, match="open already"):
                await manager.open()
            async with manager:
                sim.dispatch("MESSAGE_CREATE", message())
                await eventually(lambda: len(heard) == 2)
            assert manager.status is CLOSED
            await manager.open(timeout=10)
            await manager.close()

    run(second, factory)


@FACTORIES
def test_its_end_in_the_next_loop(
    propylon_simulator: Start, factory: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    from propylon import AuthenticationFailed

    sim = propylon_simulator(guilds=0)
    manager = make_manager(sim, shards=2)
    run_and_abandon(manager.open(timeout=10), factory)

    async def second() -> None:
        async with asyncio.timeout(10):
            ended = asyncio.ensure_future(manager.wait_closed())
            await asyncio.sleep(0)
            sim.act(steps.close(4004), shard=1)
            with pytest.raises(AuthenticationFailed):
                await ended

    run(second, factory)
    gc.collect()
    assert "never retrieved" not in caplog.text


@FACTORIES
def test_an_open_manager_belongs_to_its_loop(propylon_simulator: Start, factory: Factory) -> None:
    manager = make_manager(propylon_simulator(guilds=0), shards=2)

    async def elsewhere() -> None:
        for call in (manager.close, manager.wait_closed, lambda: manager.reshard(3), manager.wait_guilds_ready):
            with pytest.raises(RuntimeError, match="the event loop in which it was opened"):
                await call()

    async def main() -> None:
        async with manager:
            await asyncio.to_thread(asyncio.run, elsewhere())
            # But this may be read from anywhere.
            read = await asyncio.to_thread(lambda: (manager.status, len(manager.shards), manager.metrics().identifies))
            assert read == (READY, 2, 2)

    run(main, factory)


@FACTORIES
def test_several_loops_in_threads(propylon_simulator: Start, factory: Factory) -> None:
    sims = [propylon_simulator(guilds=0, seed=number) for number in range(4)]
    heard: dict[int, list[int]] = {number: [] for number in range(4)}
    deliveries: set[int] = set()

    async def main(numbers: tuple[int, ...]) -> None:
        managers = [make_manager(sims[number], shards=3) for number in numbers]
        for number, manager in zip(numbers, managers, strict=True):
            manager.listen(MessageCreate)(lambda event, number=number: heard[number].append(threading.get_ident()))
        await asyncio.gather(*[manager.open(timeout=10) for manager in managers])
        deliveries.add(id(Delivery.current().hub))
        for number in numbers:
            sims[number].dispatch("MESSAGE_CREATE", message())
        await eventually(lambda: all(len(heard[number]) == 3 for number in numbers))
        for manager in managers:
            await manager.close()

    pairs = ((0, 1), (2, 3))
    workers = [threading.Thread(target=run, args=(lambda pair=pair: main(pair), factory)) for pair in pairs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [len(set(calls)) for calls in heard.values()] == [1] * 4
    assert heard[0][0] == heard[1][0] != heard[2][0]


@FACTORIES
def test_left_open_at_the_end_of_its_loop_is_warned_of_once_and_closed(
    propylon_simulator: Start, factory: Factory
) -> None:
    sim = propylon_simulator(guilds=0)
    manager = make_manager(sim, shards=5)

    async def main() -> None:
        await manager.open(timeout=10)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run(main, factory)
    texts = [str(one.message) for one in told if "ShardManager" in str(one.message)]
    assert len(texts) == 1
    assert "was left open at the end of its event loop: close it by `async with`" in texts[0]
    sim.wait("open", count=0)
    assert manager.status is CLOSED


@FACTORIES
def test_forgotten_while_it_was_open(propylon_simulator: Start, factory: Factory) -> None:
    sim = propylon_simulator(guilds=0)
    manager: ShardManager | None = make_manager(sim, shards=3)
    assert manager is not None
    run_and_abandon(manager.open(timeout=10), factory)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        manager = None
        gc.collect()
    texts = [str(one.message) for one in told if "forgotten while it was open" in str(one.message)]
    assert len(texts) == 1
    sim.wait("open", count=0)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
@FACTORIES
def test_fleets_leave_no_descriptor_behind(lively_simulator: Start, factory: Factory) -> None:
    sim = lively_simulator(guilds=0)

    async def main() -> None:
        async with make_manager(sim, shards=4) as manager:
            await manager.reshard(2, window=0.05)

    run(main, factory)
    sim.wait("open", count=0)
    # Engine and simulator close theirs in threads of their own.
    before = asyncio.run(settled())["descriptors"]
    for _ in range(3):
        run(main, factory)
    sim.wait("open", count=0)
    assert asyncio.run(settled())["descriptors"] <= before


@FACTORIES
def test_a_reader_whose_loop_has_died_holds_no_shard_back(
    propylon_simulator: Start, factory: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    sim = propylon_simulator(guilds=0, max_concurrency=8)
    manager = make_manager(sim, shards=2)
    heard: list[str] = []
    manager.listen(MessageCreate)(lambda event: heard.append(event.content))
    kept: list[asyncio.Task[None]] = []

    async def read(reading: asyncio.Event) -> None:
        async with manager.batches(MessageCreate):
            reading.set()
            await asyncio.Event().wait()

    async def first() -> None:
        reading = asyncio.Event()
        kept.append(asyncio.create_task(read(reading)))
        await reading.wait()
        await manager.open(timeout=10)
        for shard_id in (0, 1):
            for _ in range(600):
                say(sim, guild_on(shard_id, 2), "x")
        await eventually(lambda: manager._listening._full and manager.metrics().received == 1_202)

    async def second() -> None:
        async with manager:
            await eventually(lambda: len(heard) == 1_200)

    run_and_abandon(first(), factory)
    # A task that is destroyed leaves what it was in.
    kept.clear()
    gc.collect()
    run(second, factory)
