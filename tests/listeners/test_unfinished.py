"""The account of what a reader has not finished with, against one that looks at every event each time."""

from collections import deque
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propylon import Dispatch
from propylon._listening import unfinished as module
from propylon._listening.unfinished import Unfinished

SHARDS = 3
# What happens: an event comes, some are taken, some acknowledged, a shard asks, a shard has a new session.
STEP = st.one_of(
    st.tuples(st.just("come"), st.integers(0, SHARDS - 1)),
    st.tuples(st.just("news"), st.integers(0, SHARDS - 1)),
    st.tuples(st.just("take"), st.integers(1, 6)),
    st.tuples(st.just("finish"), st.integers(1, 6)),
    st.tuples(st.just("ask"), st.integers(0, SHARDS - 1)),
    st.tuples(st.just("session"), st.integers(0, SHARDS - 1)),
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEP, max_size=60), acknowledges=st.booleans())
def test_each_shard_is_told_its_first_event(
    monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, int]], acknowledges: bool
) -> None:
    looked: list[Dispatch[Any]] = []

    def owner(dispatch: Dispatch[Any]) -> int:
        looked.append(dispatch)
        return dispatch.shard_id

    monkeypatch.setattr(module, "owner", owner)
    buffer: deque[Dispatch[Any]] = deque()
    account = Unfinished(buffer)
    given_out: list[Dispatch[Any]] = []
    """Taken and not finished with."""
    since, sequence, time = [0.0] * SHARDS, [0] * SHARDS, 0.0

    def first(shard: int) -> int | None:
        for dispatch in [*given_out, *buffer]:
            its_own = dispatch.shard_id == shard and dispatch.received_at >= since[shard]
            if its_own and dispatch.sequence is not None:
                return dispatch.sequence
        return None

    for what, number in steps:
        time += 1
        if what == "come":
            sequence[number] += 1
            buffer.append(Dispatch("X", b"", shard_id=number, sequence=sequence[number], received_at=time))
        elif what == "news":
            buffer.append(Dispatch("X", b"", shard_id=number, received_at=time))
        elif what == "take":
            count = min(number, len(buffer))
            if acknowledges:
                account.look(count)
            taken = [buffer.popleft() for _ in range(count)]
            account.taken += count
            if acknowledges:
                given_out += taken
            else:
                account.finished = account.taken
        elif what == "finish" and acknowledges:
            count = min(number, len(given_out))
            del given_out[:count]
            account.finish(account.finished + count)
        elif what == "session":
            since[number], sequence[number] = time, 0
        for shard in range(SHARDS) if what == "ask" and number == 0 else [number] if what == "ask" else []:
            assert account.first(shard, since[shard]) == first(shard)
    assert len(looked) == len({id(dispatch) for dispatch in looked}), "each once"
    for shard in range(SHARDS):
        assert account.first(shard, since[shard]) == first(shard)
    account.clear()
    buffer.clear()
    assert [account.first(shard, 0.0) for shard in range(SHARDS)] == [None] * SHARDS
