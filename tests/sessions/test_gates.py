"""`FileIdentifyGate`: what the processes of a machine share of the right to IDENTIFY.

Over 500 lines because it is one class, whose few rules hold in a loop, in threads and in processes.
"""

import asyncio
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from face.support import eventually
from propylon import IdentifyBudgetExhausted
from propylon._sessions import gates, locks
from propylon._sessions.gates import FileIdentifyGate, IdentifyGate, IdentifyPermit
from propylon.errors import error_of_end
from propylon.intents import Intents

Grant = tuple[int, float, float, float]
"""Bucket, the time in the file, when acquire returned, and when the permit was released."""

PROGRAM = """
import asyncio, json, os, random, sys, time, warnings
warnings.simplefilter("ignore")
from propylon._sessions.gates import FileIdentifyGate

path, log, spacing, turns, hang = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]

async def visit(shard):
    permit = await FileIdentifyGate(path, spacing=spacing).acquire(shard, 4)
    granted = time.monotonic()
    at = json.loads(open(path).read())["buckets"][str(shard % 4)]
    if hang == "hang":
        print("held", flush=True)
        await asyncio.sleep(60)
    await asyncio.sleep(random.random() * 0.02)
    with open(log, "a") as file:
        file.write(json.dumps([shard % 4, at, granted, time.monotonic()]) + "\\n")
    permit.release()

async def main():
    await asyncio.gather(*(visit(shard) for shard in range(4 * turns)))

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gate.json"


def process(path: Path, spacing: float, turns: int, *, hang: bool = False) -> subprocess.Popen[str]:
    log = path.with_name("log")
    arguments = [str(path), str(log), str(spacing), str(turns), "hang" if hang else ""]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)


def check(grants: list[Grant], spacing: float) -> None:
    """No IDENTIFY leaves sooner than it may, and no bucket has two owners."""
    grants = sorted(grants)
    for bucket, at, granted, _ in grants:
        assert at <= granted, bucket
    for (bucket, at, _, released), (other, later, _, _) in itertools.pairwise(grants):
        assert bucket != other or later >= max(at + spacing, released) - 1e-6, grants


def content(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes())


async def visit(gate: FileIdentifyGate, shard: int, concurrency: int, hold: float = 0.0) -> Grant:
    permit = await gate.acquire(shard, concurrency)
    granted = time.monotonic()
    bucket = shard % concurrency
    at = content(gate._file.path)["buckets"][str(bucket)]
    await asyncio.sleep(hold)
    released = time.monotonic()
    permit.release()
    return bucket, at, granted, released


async def is_held(path: Path) -> bool:
    """Whether another gate, as of another process, gets no permit."""
    try:
        async with asyncio.timeout(0.1):
            (await FileIdentifyGate(path, spacing=0).acquire(0, 1)).release()
    except TimeoutError:
        return True
    return False


async def is_free(path: Path) -> bool:
    """Whether another gate gets one, however long that takes a busy machine."""
    async with asyncio.timeout(10):
        (await FileIdentifyGate(path, spacing=0).acquire(0, 1)).release()
    return True


class TestSpacing:
    @pytest.mark.asyncio
    async def test_a_bucket_has_one_identify_at_a_time_and_its_next_one_later(self, path: Path) -> None:
        # A spacing of which no stall takes a part for the whole: neither of the first two waits for it.
        patient: IdentifyGate = FileIdentifyGate(path, spacing=5)
        begin = time.monotonic()
        permit: IdentifyPermit = await patient.acquire(2, 2)
        waiting = asyncio.create_task(visit(FileIdentifyGate(path, spacing=0.1), 0, 2))
        # Another bucket does not wait for this one.
        (await patient.acquire(1, 2)).release()
        assert time.monotonic() - begin < 5
        await asyncio.sleep(0.2)
        assert not waiting.done()
        permit.release()
        await waiting
        before = time.monotonic()
        await visit(FileIdentifyGate(path, spacing=0.1), 4, 2)
        assert time.monotonic() - before > 0.05
        assert sorted(os.listdir(path.parent)) == [
            ".gate.json.bucket-0.lock",
            ".gate.json.bucket-1.lock",
            ".gate.json.lock",
            "gate.json",
        ]

    @pytest.mark.asyncio
    async def test_a_permit_is_let_go_of_once_or_when_it_is_forgotten(self, path: Path) -> None:
        gate = FileIdentifyGate(path, spacing=0)
        permit = await gate.acquire(0, 1)
        permit.release()
        second = await gate.acquire(0, 1)
        # Not the second one's.
        permit.release()
        assert await is_held(path)
        del second
        assert await is_free(path)

    @pytest.mark.parametrize("ahead", [1e9, 100.0, 5.0])
    @pytest.mark.asyncio
    async def test_a_time_of_before_a_reboot_costs_no_more_than_the_spacing(self, path: Path, ahead: float) -> None:
        path.write_text(json.dumps({"version": 1, "buckets": {"0": time.monotonic() + ahead}}))
        begin = time.monotonic()
        await visit(FileIdentifyGate(path, spacing=0.15), 0, 1)
        assert 0.15 <= time.monotonic() - begin < 4
        assert content(path)["buckets"]["0"] <= time.monotonic()

    @pytest.mark.asyncio
    async def test_a_sleep_that_ends_too_soon_is_no_grant(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        gate = FileIdentifyGate(path, spacing=0.1)
        grants = [await visit(gate, 0, 1)]
        sleep = asyncio.sleep
        monkeypatch.setattr(gates.asyncio, "sleep", lambda seconds: sleep(seconds / 3))
        grants.append(await visit(gate, 0, 1))
        check(grants, 0.1)

    @pytest.mark.asyncio
    async def test_those_of_a_process_are_served_in_their_order(self, path: Path) -> None:
        gate = FileIdentifyGate(path, spacing=0.01)
        served: list[int] = []

        async def one(shard: int) -> None:
            await visit(gate, shard, 1)
            served.append(shard)

        await asyncio.gather(*(one(shard) for shard in range(20)))
        assert served == list(range(20))

    @pytest.mark.asyncio
    async def test_the_file_being_changed_by_another_is_waited_for(self, path: Path) -> None:
        gate = FileIdentifyGate(path, spacing=0)
        lock = gate._file.try_lock()
        assert lock is not None
        waiting = asyncio.create_task(gate.acquire(0, 1))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        lock.release()
        (await waiting).release()

    @pytest.mark.asyncio
    async def test_one_that_another_process_has_had_meanwhile_waits_anew(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between its look at the file and the lock of the bucket."""
        gate, other = FileIdentifyGate(path, spacing=0.1), FileIdentifyGate(path, spacing=0.1)
        grants: list[Grant] = []
        take = gate._file.try_lock

        def late(part: str = "") -> Any:
            if part and not grants:
                permit = other._try(0, gates._Pace(0.1))
                assert isinstance(permit, locks.FileLock)
                at = content(path)["buckets"]["0"]
                grants.append((0, at, at, time.monotonic()))
                permit.release()
            return take(part)

        monkeypatch.setattr(gate._file, "try_lock", late)
        grants.append(await visit(gate, 0, 1))
        check(grants, 0.1)

    @settings(max_examples=15, deadline=None)
    @given(
        st.integers(1, 4),
        st.lists(st.tuples(st.integers(0, 7), st.integers(0, 30), st.integers(0, 60), st.integers(0, 20)), max_size=8),
    )
    def test_random_visits(self, concurrency: int, visits: list[tuple[int, int, int, int]]) -> None:
        """Each has a shard, and in milliseconds: when it asks, how long it has patience, how long READY takes."""
        spacing = 0.01

        async def one(gate: FileIdentifyGate, shard: int, arrives: int, patience: int, ready: int) -> Grant | None:
            await asyncio.sleep(arrives / 1000)
            asking = asyncio.ensure_future(visit(gate, shard, concurrency, ready / 1000))
            if patience > 40:
                return await asking
            # Cancelled at any point, also with the permit: then it is forgotten.
            await asyncio.wait([asking], timeout=patience / 1000)
            asking.cancel()
            await asyncio.wait([asking])
            return None if asking.cancelled() else asking.result()

        async def main(path: Path) -> list[Grant]:
            two = [FileIdentifyGate(path, spacing=spacing) for _ in range(2)]
            results = await asyncio.gather(*(one(two[index % 2], *args) for index, args in enumerate(visits)))
            # Nothing is held any more.
            for bucket in range(concurrency):
                await asyncio.wait_for(visit(two[0], bucket, concurrency), 10)
            return [grant for grant in results if grant is not None]

        with tempfile.TemporaryDirectory() as folder:
            check(asyncio.run(main(Path(folder) / "gate.json")), spacing)


class TestCancelled:
    @pytest.mark.asyncio
    async def test_while_it_waits_for_the_spacing_or_for_the_bucket_or_in_the_line(self, path: Path) -> None:
        gate = FileIdentifyGate(path, spacing=0.2)
        held = await gate.acquire(0, 1)
        tasks = [asyncio.create_task(gate.acquire(0, 1)) for _ in range(3)]
        for pause in (0.02, 0.3):
            # The first waits for the spacing, and the next then for the lock.
            await asyncio.sleep(pause)
            task = tasks.pop(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        held.release()
        (await asyncio.wait_for(tasks.pop(), 5)).release()
        assert await is_free(path)

    @pytest.mark.asyncio
    async def test_all_at_once(self, path: Path) -> None:
        gate = FileIdentifyGate(path, spacing=0)
        held = await gate.acquire(0, 1)
        tasks = [asyncio.create_task(gate.acquire(0, 1)) for _ in range(100)]
        await asyncio.sleep(0.03)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        held.release()
        assert await is_free(path)

    @pytest.mark.asyncio
    async def test_when_its_turn_has_just_come(self, path: Path) -> None:
        gate = FileIdentifyGate(path, spacing=0)
        for turns in range(6):
            first, second = (asyncio.create_task(gate.acquire(0, 1)) for _ in range(2))
            for _ in range(turns):
                await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
            if not first.cancelled():
                first.result().release()
            (await asyncio.wait_for(second, 5)).release()


class TestLoops:
    def test_several_loops_in_several_threads_exclude_each_other_and_none_starves(self, path: Path) -> None:
        grants: list[Grant] = []
        gate = FileIdentifyGate(path, spacing=0.02)

        async def main() -> None:
            grants.extend(await asyncio.gather(*(visit(gate, shard, 2, 0.005) for shard in range(6))))

        threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(grants) == 24
        check(grants, 0.02)

    def test_a_loop_that_was_abandoned_holds_nobody_up(self, path: Path) -> None:
        gate = FileIdentifyGate(path, spacing=0.1)
        tasks: list[asyncio.Task[Any]] = []

        async def abandoned() -> None:
            (await gate.acquire(0, 1)).release()
            tasks.extend(asyncio.create_task(gate.acquire(0, 1)) for _ in range(3))
            await asyncio.sleep(0.01)

        loop = asyncio.new_event_loop()
        loop.run_until_complete(abandoned())
        loop.close()
        asyncio.run(asyncio.wait_for(visit(gate, 0, 1), 5))
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]


class TestProcesses:
    def test_processes_keep_to_the_spacing_also_when_one_is_killed_with_a_permit(self, path: Path) -> None:
        spacing, turns = 0.2, 3
        with process(path, spacing, 1, hang=True) as killed:
            assert killed.stdout is not None
            # All four buckets are its own, and nobody else gets one.
            assert [killed.stdout.readline() for _ in range(4)] == ["held\n"] * 4
            held = {int(bucket): at for bucket, at in content(path)["buckets"].items()}
            others = [process(path, spacing, turns) for _ in range(2)]
            time.sleep(0.6)
            assert not path.with_name("log").exists()
            released = time.monotonic()
            killed.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
        for other in others:
            other.communicate(timeout=30)
            assert other.returncode == 0
        lines = path.with_name("log").read_text().splitlines()
        grants: list[Grant] = [(bucket, at, at, released) for bucket, at in held.items()]
        grants += [tuple(json.loads(line)) for line in lines]  # type: ignore[misc]
        assert len(grants) == 4 + 2 * 4 * turns
        check(grants, spacing)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
    def test_a_forked_child_neither_lets_go_of_a_permit_nor_keeps_it(self, path: Path) -> None:
        permit = asyncio.run(FileIdentifyGate(path, spacing=0).acquire(0, 1))
        go_on, wait = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(wait)
            permit.release()
            os.read(go_on, 1)
            os._exit(0)
        os.close(go_on)
        try:
            assert asyncio.run(is_held(path))
            permit.release()
            assert asyncio.run(is_free(path))
        finally:
            os.close(wait)
            os.waitpid(child, 0)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
    def test_a_killed_process_whose_child_lives_holds_nothing(self, path: Path) -> None:
        program = (
            "import asyncio, os, sys, time, warnings; warnings.simplefilter('ignore')\n"
            "from propylon._sessions.gates import FileIdentifyGate\n"
            "async def main():\n"
            "    permit = await FileIdentifyGate(sys.argv[1], spacing=0).acquire(0, 1)\n"
            "    child = os.fork()\n"
            "    if child: print(child, flush=True)\n"
            "    time.sleep(60)\n"
            "asyncio.run(main())"
        )
        with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            try:
                assert asyncio.run(is_held(path))
                parent.kill()
                parent.wait()
                os.kill(child, 0)
                assert asyncio.run(is_free(path))
            finally:
                os.kill(child, signal.SIGKILL)


class TestBudget:
    @pytest.mark.asyncio
    async def test_without_being_told_there_is_none_to_keep(self, path: Path) -> None:
        gate = FileIdentifyGate(path, spacing=0)
        for _ in range(20):
            (await gate.acquire(0, 1)).release()
        assert content(path)["budget"] is None

    @pytest.mark.asyncio
    async def test_each_identify_of_any_process_takes_one_until_the_floor(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = FileIdentifyGate(path, spacing=0), FileIdentifyGate(path, spacing=0)
        begin = time.time()
        one.learn(total=1000, remaining=52, reset_after=3600)
        (await one.acquire(0, 1)).release()
        (await other.acquire(1, 16)).release()
        for gate in (one, other):
            with pytest.raises(IdentifyBudgetExhausted) as caught:
                await gate.acquire(0, 1)
            assert begin + 3600 <= caught.value.resets_at <= time.time() + 3600
            same = error_of_end(("budget exhausted", caught.value.resets_at), Intents.ALL)
            assert str(caught.value) == str(same)
        assert not list(path.parent.glob("*.new"))
        resets_at = caught.value.resets_at
        monkeypatch.setattr(gates.time, "time", lambda: resets_at + 1)
        (await one.acquire(0, 1)).release()

    @pytest.mark.asyncio
    async def test_what_was_told_last_counts(self, path: Path) -> None:
        one, other = FileIdentifyGate(path, spacing=0), FileIdentifyGate(path, spacing=0)
        one.learn(total=1000, remaining=0, reset_after=3600)
        with pytest.raises(IdentifyBudgetExhausted):
            await other.acquire(0, 1)
        other.learn(total=1000, remaining=1000, reset_after=86400)
        (await one.acquire(0, 1)).release()
        assert content(path)["budget"]["remaining"] == 999

    @pytest.mark.asyncio
    async def test_those_in_the_line_are_told_when_it_is_down_to_the_floor(self, path: Path) -> None:
        gate = FileIdentifyGate(path, spacing=0.01)
        gate.learn(total=100, remaining=12, reset_after=60)
        results = await asyncio.gather(*(visit(gate, 0, 1) for _ in range(6)), return_exceptions=True)
        assert [isinstance(result, IdentifyBudgetExhausted) for result in results] == [False] * 2 + [True] * 4
        assert content(path)["budget"]["remaining"] == 10
        # Those who were refused hold nothing.
        lock = gate._file.try_lock("bucket-0")
        assert lock is not None
        lock.release()

    @pytest.mark.asyncio
    async def test_what_is_told_while_another_changes_the_file_is_written_by_the_next_identify(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate = FileIdentifyGate(path, spacing=0)
        lock = gate._file.try_lock()
        assert lock is not None
        naps: list[float] = []
        with monkeypatch.context() as patch:
            patch.setattr(gates.time, "sleep", naps.append)
            gate.learn(total=1000, remaining=900, reset_after=60)
        assert sum(naps) < 0.1, "the loop stands still for so long"
        assert not path.exists()
        lock.release()
        (await gate.acquire(0, 1)).release()
        assert content(path)["budget"]["remaining"] == 899
        assert gate._told is None

    @pytest.mark.asyncio
    async def test_times_of_a_clock_that_was_wrong_block_nobody(self, path: Path) -> None:
        budget = {"total": 1000, "remaining": 0, "resets_at": 1e11, "told_at": 1e11}
        path.write_text(json.dumps({"version": 1, "buckets": {}, "budget": budget}))
        gate = FileIdentifyGate(path, spacing=0)
        (await gate.acquire(0, 1)).release()
        gate.learn(total=1000, remaining=500, reset_after=60)
        assert content(path)["budget"]["remaining"] == 500

    def test_the_floor_is_5_percent_or_ten_and_never_all(self) -> None:
        assert [gates._floor(total) for total in (0, 1, 10, 100, 200, 1000, 2000)] == [0, 0, 1, 10, 10, 50, 100]


class TestTheFile:
    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"{",
            b"\xff",
            b"[" * 100_000,
            b"[]",
            b'{"version": 2, "buckets": {}}',
            b'{"version": 1, "sessions": {}, "epochs": {}}',
            b'{"version": 1, "buckets": {"a": 1}}',
            b'{"version": 1, "buckets": {"0": "1"}}',
            b'{"version": 1, "buckets": {}, "budget": {"total": 5}}',
        ],
    )
    @pytest.mark.asyncio
    async def test_one_that_is_damaged_or_foreign_is_told_once_and_replaced(
        self, path: Path, text: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        path.write_bytes(text)
        gate = FileIdentifyGate(path, spacing=0)
        with caplog.at_level(logging.WARNING, "propylon"):
            (await gate.acquire(0, 1)).release()
        assert [record.getMessage().count("gate.json is no file of an identify gate") for record in caplog.records] == [
            1
        ]
        assert set(content(path)) == {"version", "buckets", "budget"}

    @pytest.mark.asyncio
    async def test_a_folder_that_is_not_there(self, path: Path) -> None:
        gate = FileIdentifyGate(path.parent / "nowhere" / "gate.json")
        for act in (lambda: gate.acquire(0, 1), lambda: asyncio.to_thread(learn, gate)):
            with pytest.raises(
                FileNotFoundError, match=r"FileIdentifyGate writes .* make it, or name another: .*nowhere"
            ):
                await act()
        path.touch()
        with pytest.raises(NotADirectoryError, match="make it, or name another"):
            await FileIdentifyGate(path / "gate.json").acquire(0, 1)

    @pytest.mark.asyncio
    async def test_what_a_killed_process_left_half_written_is_removed(self, path: Path) -> None:
        left = path.with_name(".gate.json.a.new")
        left.touch()
        os.utime(left, (0, 0))
        (await FileIdentifyGate(path).acquire(0, 1)).release()
        assert not left.exists()

    @pytest.mark.parametrize("spacing", [-1, True, float("nan"), float("inf"), "1", None])
    def test_a_spacing_that_makes_no_sense(self, path: Path, spacing: Any) -> None:
        with pytest.raises(ValueError, match="spacing"):
            FileIdentifyGate(path, spacing=spacing)

    @pytest.mark.parametrize(("shard", "concurrency"), [(-1, 1), (0, 0), (0, -1), (True, 1), (0, "1")])
    @pytest.mark.asyncio
    async def test_shards_that_are_none(self, path: Path, shard: Any, concurrency: Any) -> None:
        with pytest.raises(ValueError, match="must be a whole number of at least"):
            await FileIdentifyGate(path).acquire(shard, concurrency)

    @pytest.mark.parametrize(
        "numbers", [{"total": -1}, {"remaining": "5"}, {"reset_after": -1}, {"reset_after": float("nan")}]
    )
    def test_numbers_that_are_none(self, path: Path, numbers: Any) -> None:
        with pytest.raises(ValueError, match=next(iter(numbers))):
            FileIdentifyGate(path).learn(**{"total": 1, "remaining": 1, "reset_after": 1, **numbers})

    def test_its_repr(self, path: Path) -> None:
        assert repr(FileIdentifyGate(path)) == f"FileIdentifyGate({str(path)!r})"


def learn(gate: FileIdentifyGate) -> None:
    gate.learn(total=1000, remaining=1000, reset_after=60)


@pytest.mark.asyncio
async def test_of_a_thousand_who_wait_only_the_first_of_each_bucket_looks_at_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = FileIdentifyGate(path, spacing=60)
    permits = [await gate.acquire(shard, 16) for shard in range(16)]
    tasks = [asyncio.create_task(gate.acquire(shard, 16)) for shard in range(1000)]
    await eventually(lambda: sum(len(line._places) for line in gates._lines.values()) == 1000)
    tries = 0
    attempt = gate._try

    def counted(*arguments: Any) -> Any:
        nonlocal tries
        tries += 1
        return attempt(*arguments)

    monkeypatch.setattr(gate, "_try", counted)
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for permit in permits:
        permit.release()
    assert tries <= 16
    assert not any(line._places for line in gates._lines.values())
