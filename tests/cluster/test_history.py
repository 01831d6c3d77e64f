"""A history check of the cluster: numbered events through hosts and workers that are killed, stopped and cut off.

What workers wrote down is held against what the simulator made: each event handled, each guild in order, as few
IDENTIFYs as there must be. ``PROPYLON_HISTORY_SECONDS`` makes it longer, ``PROPYLON_HISTORY_SEED`` repeats a run.
"""

import os
import random
from pathlib import Path

import nats
import pytest

from .history.kept import Kept
from .history.mutants import MUTANTS, ROOT, Mutant
from .history.nemesis import FAULTS, RARE
from .history.processes import troubles_in
from .history.records import Call, Verdict, check, read
from .nats import NatsServer

SECONDS = float(os.environ.get("PROPYLON_HISTORY_SECONDS", "60"))


@pytest.mark.asyncio
@pytest.mark.timeout(150 + 2 * SECONDS)
async def test_nothing_is_lost_reordered_or_doubled(tmp_path: Path) -> None:
    from .history.run import history

    seed = int(os.environ.get("PROPYLON_HISTORY_SEED", random.randrange(2**32)))
    print(f"seed {seed}")
    outcome = await history(seed, tmp_path, seconds=SECONDS, faults=tuple(FAULTS))
    assert outcome.passed, "\n".join([str(outcome), *outcome.told])
    # Some faults last for half a minute, in each of two lanes.
    assert sum(outcome.done.values()) >= SECONDS / 20, f"the nemesis slept: {outcome}"


def calls(process: str, *numbers: int, at: float = 0.0, done: bool = True, tenure: int = 0) -> list[Call]:
    """One guild's events, called one after the other and done at once."""
    made: list[Call] = []
    for place, number in enumerate(numbers, 1):
        made.append(Call(at + place, process, 0, number, tenure + place))
        if done:
            made.append(Call(at + place + 0.5, process, 0, number, 0))
    return made


def checked(*records: list[Call], made: int = 3, redelivers: bool = True) -> Verdict:
    return check(records, [made], redelivers=redelivers)


def test_all_in_order_passes() -> None:
    verdict = checked(calls("a", 1, 2, 3))
    assert verdict.passed
    assert (verdict.handled, verdict.called, verdict.again) == (3, 3, 0)


def test_what_is_not_called_for_or_not_done_is_lost() -> None:
    assert checked(calls("a", 1, 3)).faults == {"lost": 1}
    assert checked(calls("a", 1, 2)).faults == {"lost": 1}
    assert checked(calls("a", 1, 2), calls("b", 3, at=9, done=False)).faults == {"lost": 1}


def test_nothing_at_all_does_not_pass() -> None:
    assert not checked(made=0).passed


def test_what_comes_after_a_later_one_is_out_of_order() -> None:
    assert checked(calls("a", 1, 3, 2)).faults == {"out of order": 1}
    assert checked(calls("a", 1, 3), calls("b", 2, 3, at=9)).faults == {"out of order": 1}


def test_a_redelivery_begins_a_tenure_and_nothing_else_comes_twice() -> None:
    again = checked(calls("a", 1, 2, done=False), calls("b", 1, 2, 3, at=9))
    assert again.passed
    assert again.again == 2
    assert checked(calls("a", 1, 2), calls("a", 2, 3, at=9)).passed
    assert checked(calls("a", 1, 2, 2, 3)).faults == {"twice within a tenure": 1}
    assert checked(calls("a", 1, 2, 3, 1)).faults == {"twice within a tenure": 1}


def test_what_a_lost_acknowledgement_was_for_comes_again_within_a_tenure() -> None:
    again = check([calls("a", 1, 2, 1, 3)], [3], lost_acks=lambda process, at: process == "a" and at < 9)
    assert again.passed
    assert again.again == 1


def test_where_no_worker_was_touched_nothing_may_come_twice() -> None:
    verdict = checked(calls("a", 1, 2), calls("b", 2, 3, at=9), redelivers=False)
    assert list(verdict.faults) == ["twice, and no worker was ended or cut off"]


def test_what_was_acknowledged_long_ago_does_not_come_again() -> None:
    verdict = checked(calls("a", *range(1, 70)), calls("b", 1, 70, at=69), made=70)
    assert list(verdict.faults) == ["again, long after it was handled"]
    # While nobody had it, nobody could acknowledge it.
    verdict = checked(calls("a", 1, 2), calls("b", 1, 2, 3, at=99))
    assert verdict.passed
    assert verdict.oldest < 10


def test_more_than_was_made_is_a_fault() -> None:
    assert checked(calls("a", 1, 2, 3, 4)).faults == {"never made": 1}


def test_lines_that_the_end_of_a_process_cut_off_and_remarks_are_no_calls(tmp_path: Path) -> None:
    file = tmp_path / "worker-1.record"
    file.write_text("# 7\n1.5 4 17 1\n1.75 4 17 0\n2.0 4 1")
    assert list(read(file)) == [Call(1.5, "worker-1", 4, 17, 1), Call(1.75, "worker-1", 4, 17, 0)]


def test_a_process_that_does_not_reach_nats_at_its_start_is_no_trouble() -> None:
    opening = "Traceback (most recent call last):\n  File a\n    await life.open(None)\n"
    unreached = opening + "ConnectionError: no NATS server could be reached at a:1\n"
    assert troubles_in("a shard is READY\n") == ""
    assert troubles_in(unreached) == ""
    # It was killed between two questions of the opening.
    away = "TimeoutError: there was no connection to NATS at a:1 within 5 s\n"
    assert troubles_in(opening + away) == ""
    assert troubles_in(opening.replace("open", "close") + away).startswith("Traceback")
    assert troubles_in(unreached + "more\n").startswith("Traceback")
    assert troubles_in("x\nTraceback (most recent call last):\n  File a\nKeyError: 1\n" + unreached).startswith(
        "Traceback"
    )


@pytest.mark.asyncio
async def test_a_message_that_nats_has_twice_is_seen_whichever_look_comes_upon_it() -> None:
    with NatsServer() as server:
        client = await nats.connect(server.url)
        try:
            jetstream = client.jetstream()
            await jetstream.add_stream(name="propylon-history", subjects=["propylon.history.ev.*"])

            async def publish(partition: int, ranges: str | None) -> None:
                headers = None if ranges is None else {"Propylon-Ranges": ranges}
                await jetstream.publish(f"propylon.history.ev.{partition}", b"body", headers=headers)

            kept = Kept([server.url], "history")
            for partition, ranges in [(1, "a-1-4"), (1, "a-5-5"), (2, "a-1-4"), (1, None), (1, None)]:
                await publish(partition, ranges)
            await kept.look()
            assert (kept.messages, kept.faults) == (5, [])
            await publish(1, "a-5-5")
            await kept.look()
            assert kept.messages == 6
            assert [fault.partition(" s later")[0].rsplit(",", 1)[0] for fault in kept.faults] == [
                "NATS has a message twice: propylon.history.ev.1 with a-5-5 at 2, and again at 6"
            ]
            await jetstream.purge_stream("propylon-history")
            await publish(1, "a-6-6")
            await publish(1, "a-7-7")
            await jetstream.purge_stream("propylon-history", keep=1)
            await kept.look()
            assert kept.faults[1:] == ["7 to 7 were gone from the stream before they were read"]
        finally:
            await client.close()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.change)
def test_each_mutant_is_a_change_of_our_code_and_has_faults_under_which_it_shows(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert {name.strip() for name in mutant.faults.split(",")} <= (FAULTS | RARE).keys()
