"""`request_members`: what leaves, whose the chunks are, and the ways in which it fails (protocol.md §7)."""

import asyncio
import gc
import linecache
import random
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from commands.conftest import NOBODYS, guild, nothing_waits, sent
from face.support import eventually, message, open_and_quiet
from propylon import CommandError, CommandTooLarge, Gateway, Intents, Members, NotConnected, RateLimited, RequestTimeout
from propylon.events import GuildMembersChunk, MessageCreate
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]


def member(number: int) -> dict[str, Any]:
    user = {"id": str(number), "username": f"u{number}", "discriminator": "0", "global_name": None, "avatar": None}
    return {
        "user": user,
        "roles": [],
        "joined_at": "2026-01-02T03:04:05.678000+00:00",
        "deaf": False,
        "mute": False,
        "flags": 0,
    }


def chunk(index: int, count: int, nonce: str | None, **fields: Any) -> dict[str, Any]:
    """One chunk with one member, whose id tells the chunk."""
    marked = {} if nonce is None else {"nonce": nonce}
    data = {"guild_id": str(NOBODYS), "members": [member(1000 + index)], "chunk_index": index, "chunk_count": count}
    return {**data, **marked, **fields}


async def begin(sim: Simulator, gateway: Gateway, **options: Any) -> asyncio.Task[Members]:
    """A request that the simulator does not answer, once it has got there."""
    before = len(sent(sim, 8))
    # Requests for all members are limited, even those for a guild that is not there.
    options.setdefault("query", "u")
    task = asyncio.create_task(gather(gateway, **options))
    await sim.wait_for("op", op=8, count=before + 1)
    return task


def arrived(gateway: Gateway) -> int:
    return gateway.metrics().unheard_by_type.get("GUILD_MEMBERS_CHUNK", 0)


def block(seconds: float, until: Callable[[], bool]) -> None:
    """What a listener does that does not know of asyncio."""
    end = time.monotonic() + seconds
    while time.monotonic() < end or not until():
        time.sleep(0.001)


async def gather(gateway: Gateway, **options: Any) -> Members:
    return await gateway.request_members(NOBODYS, **options)


@pytest.fixture
def traced() -> Iterator[None]:
    """What Python allocates is counted."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


async def test_all_members_of_a_guild_come_together(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(members=2_500)
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    members = await gateway.request_members(guild(1), presences=True)
    assert len(members) == len({member.user.id for member in members}) == 2_500
    assert len(members.presences) == 2_500
    assert members.not_found == ()
    assert members[0] == next(iter(members))
    assert members[-2:] == tuple(members)[-2:]
    assert repr(members) == "<Members 2500, not_found=0, presences=2500>"
    (request,) = sent(sim, 8)
    assert {key: request[key] for key in request if key != "nonce"} == {
        "guild_id": str(guild(1)),
        "query": "",
        "limit": 0,
        "presences": True,
    }
    assert request["nonce"]
    assert nothing_waits(gateway)


async def test_chunk_by_chunk_in_the_order_in_which_they_come(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(members=2_500)
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    sizes = [len(chunk.members) async for chunk in gateway.request_members(str(guild(2)))]
    assert sizes == [1000, 1000, 500]
    assert nothing_waits(gateway)


async def test_by_ids_and_by_query(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim, intents=Intents.GUILDS)
    await gateway.open(timeout=10)
    some = await gateway.request_members(guild(0), query="a", limit=100)
    known = some[0]
    assert known.user
    found = await gateway.request_members(guild(0), user_ids=[known.user.id, "5", 6, 5])
    assert ([member.user.id for member in found if member.user], found.not_found) == ([known.user.id], (5, 6))
    first = await gateway.request_members(guild(0), query=known.user.username[:1])
    assert known.user.id in [member.user.id for member in first if member.user]
    data = [{key: value for key, value in request.items() if key != "nonce"} for request in sent(sim, 8)]
    assert data == [
        {"guild_id": str(guild(0)), "query": "a", "limit": 100},
        {"guild_id": str(guild(0)), "user_ids": [str(known.user.id), "5", "6"]},
        {"guild_id": str(guild(0)), "query": known.user.username[:1], "limit": 100},
    ]


async def test_a_listener_with_one_call_allowed_may_ask(propylon_simulator: Start, gateway_to: Any) -> None:
    """The answer overtakes the events that wait for the listener to return."""
    sim = propylon_simulator(members=3_000)
    gateway: Gateway = gateway_to(sim, max_pending=1)
    found: list[int] = []
    chunks: list[int] = []

    @gateway.listen
    async def on_message(_: MessageCreate) -> None:
        found.append(len(await gateway.request_members(guild(len(found)))))

    @gateway.listen
    async def on_chunk(chunk: GuildMembersChunk) -> None:
        chunks.append(chunk.chunk_index)

    await gateway.open(timeout=10)
    for _ in range(2):
        sim.dispatch("MESSAGE_CREATE", message())
    await eventually(lambda: found == [3_000, 3_000] and chunks == [0, 1, 2, 0, 1, 2])
    metrics = gateway.metrics()
    assert metrics.received == metrics.delivered + metrics.unheard


async def test_without_a_request_chunks_do_not_touch_python(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(guilds=0)
    gateway: Gateway = gateway_to(sim)
    await open_and_quiet(sim, gateway)
    wakeups = gateway.metrics().wakeups
    for index in range(100):
        sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(index, 100, "x"))
    await eventually(lambda: arrived(gateway) == 100)
    assert gateway.metrics().wakeups == wakeups


class TestMatching:
    async def test_interleaved_chunks_go_to_their_requests(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        tasks = [await begin(sim, gateway) for _ in range(5)]
        nonces = [request["nonce"] for request in sent(sim, 8)]
        assert len(set(nonces)) == 5
        chunks = [(nonce, index) for nonce in nonces for index in range(7)]
        random.Random(3).shuffle(chunks)
        for nonce, index in chunks:
            sim.dispatch(
                "GUILD_MEMBERS_CHUNK", chunk(index, 7, nonce, members=[member(1000 + index), member(int(nonce, 16))])
            )
        for nonce, members in zip(nonces, await asyncio.gather(*tasks), strict=True):
            ids = [member.user.id for member in members if member.user]
            assert ids == [number for index in range(7) for number in (1000 + index, int(nonce, 16))]

    async def test_foreign_nonces_and_repeats_are_ignored(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        task = await begin(sim, gateway, nonce="ours ä")
        for nonce in ("theirs", None, "", "ours"):
            sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(0, 1, nonce))
        # Another guild, impossible numbers, and what is no chunk at all.
        sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(0, 1, "ours ä", guild_id="5"))
        sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(2, 2, "ours ä"))
        sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(-1, 2, "ours ä"))
        sim.dispatch("GUILD_MEMBERS_CHUNK", {"nonce": "ours ä"})
        for index in (1, 1, 1):
            sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(index, 2, "ours ä"))
        await eventually(lambda: arrived(gateway) == 11)
        done, _ = await asyncio.wait([task], timeout=0.02)
        assert not done
        sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(0, 2, "ours ä", not_found=["9"]))
        members = await task
        assert [member.user.id for member in members if member.user] == [1000, 1001]
        assert members.not_found == (9,)

    async def test_f37_a_storm_of_foreign_chunks_costs_no_memory(
        self, propylon_simulator: Start, gateway_to: Any, traced: None
    ) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        task = await begin(sim, gateway, timeout=2)
        (request,) = sent(sim, 8)
        # 10,000 chunks between which ours come; the last one is missing.
        for number in range(10_000):
            mine = number % 100 == 0 and number < 9_900
            sim.dispatch(
                "GUILD_MEMBERS_CHUNK",
                chunk(number // 100 if mine else number % 50, 100, request["nonce"] if mine else "x"),
            )
        with pytest.raises(RequestTimeout, match="99 of 100 came"):
            await task
        await eventually(lambda: arrived(gateway) == 10_000)
        assert nothing_waits(gateway)
        gc.collect()
        # Kept in Python, the chunks of others would be 7 MB.
        assert tracemalloc.get_traced_memory()[0] < 2 * 1024 * 1024

    async def test_f37_chunks_that_nobody_reads_fail_the_request(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim, queue_bytes=20_000)
        await gateway.open(timeout=10)
        chunks = aiter(gateway.request_members(NOBODYS, nonce="n"))
        first = asyncio.ensure_future(anext(chunks))
        await sim.wait_for("op", op=8)
        for index in range(200):
            sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(index, 1_000, "n"))
            # One by one: the engine's own bound is another one.
            await eventually(lambda index=index: arrived(gateway) == index + 1)
        assert (await first).chunk_index == 0
        with pytest.raises(CommandError, match="not read as fast"):
            assert [chunk async for chunk in chunks] == []
        assert nothing_waits(gateway)


class TestFailures:
    async def test_rate_limited_by_nonce_or_else_by_guild(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        await gateway.request_members(guild(0))
        with pytest.raises(RateLimited, match="ask again") as caught:
            await gateway.request_members(guild(0))
        assert 20 < caught.value.retry_after <= 30
        sim.act(steps.rate_limit_members())
        with pytest.raises(RateLimited) as caught:
            async for _ in gateway.request_members(guild(1)):
                pass
        assert caught.value.retry_after == 29.457
        tasks = [await begin(sim, gateway, query="x", nonce=nonce) for nonce in "abc"]

        def limit(**meta: Any) -> None:
            sim.dispatch("RATE_LIMITED", {"opcode": 8, "retry_after": 7.5, "meta": meta})

        limit(guild_id=str(NOBODYS), nonce="another's")
        limit(guild_id="5")
        sim.dispatch(
            "RATE_LIMITED", {"opcode": 31, "retry_after": 7.5, "meta": {"guild_id": str(NOBODYS), "nonce": "a"}}
        )
        limit(guild_id=str(NOBODYS), nonce="b")
        with pytest.raises(RateLimited):
            await tasks[1]
        assert not tasks[0].done()
        assert not tasks[2].done()
        limit(guild_id=str(NOBODYS))
        with pytest.raises(RateLimited) as caught:
            await tasks[0]
        assert caught.value.retry_after == 7.5
        assert not tasks[2].done()
        await gateway.close()
        with pytest.raises(NotConnected):
            await tasks[2]

    @pytest.mark.parametrize(
        "rest",
        [
            {"retry_after": 7.5, "meta": None},
            {"retry_after": None, "meta": {"guild_id": str(NOBODYS)}},
            {"retry_after": 7.5, "meta": {"guild_id": str(NOBODYS), "nonce": ""}},
            {"meta": {"guild_id": None, "nonce": None}},
            {},
        ],
        ids=str,
    )
    async def test_a_rate_limit_that_tells_little_fails_the_oldest_request(
        self, propylon_simulator: Start, gateway_to: Any, rest: dict[str, Any]
    ) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        first, second = [await begin(sim, gateway, query="x", nonce=nonce) for nonce in "ab"]
        sim.dispatch("RATE_LIMITED", {"opcode": 8, **rest})
        with pytest.raises(RateLimited) as caught:
            async with asyncio.timeout(5):
                await first
        assert caught.value.retry_after == (rest.get("retry_after") or 0)
        assert not second.done()
        second.cancel()

    async def test_no_answer_is_told_with_what_came(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        with pytest.raises(RequestTimeout, match=r"0 of \? came; is the bot in that guild") as caught:
            await gateway.request_members(NOBODYS, timeout=0.05)
        assert isinstance(caught.value, TimeoutError)
        assert nothing_waits(gateway)

    async def test_a_blocked_loop_does_not_take_the_answer_for_late(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        task = await begin(sim, gateway, nonce="n", timeout=2.5)
        sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(0, 1, "n"))
        block(2.6, lambda: arrived(gateway) == 1)
        assert len(await task) == 1

    async def test_the_time_is_that_between_two_chunks(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        task = await begin(sim, gateway, nonce="n", timeout=3)
        began = asyncio.get_running_loop().time()
        for index in range(8):
            await asyncio.sleep(0.45)
            sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(index, 8, "n"))
        assert len(await task) == 8
        assert asyncio.get_running_loop().time() - began > 3

    async def test_a_resumed_session_still_brings_the_chunks(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        task = await begin(sim, gateway, nonce="n")
        sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(0, 3, "n"))
        sim.act(steps.reset())
        sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(1, 3, "n"))
        await sim.wait_for("resumed")
        sim.dispatch("GUILD_MEMBERS_CHUNK", chunk(2, 3, "n"))
        assert len(await task) == 3

    async def test_a_new_session_fails_what_was_asked_before_it_and_no_other(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        before = await begin(sim, gateway, timeout=None)
        sim.act(steps.close(4009))
        await eventually(lambda: gateway.session is None)
        meanwhile = asyncio.create_task(whole(gateway))
        with pytest.raises(NotConnected, match="session was lost"):
            await before
        assert len(await meanwhile) == 50

    async def test_closing_and_not_being_open(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator()
        gateway: Gateway = gateway_to(sim)
        with pytest.raises(NotConnected, match="not open"):
            await gateway.request_members(guild(0))
        await gateway.open(timeout=10)
        task = await begin(sim, gateway)
        await gateway.close()
        with pytest.raises(NotConnected):
            await task
        assert nothing_waits(gateway)

    async def test_giving_up_takes_it_back(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator(members=3_000)
        gateway: Gateway = gateway_to(sim)
        await gateway.open(timeout=10)
        task = await begin(sim, gateway)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert nothing_waits(gateway)
        async for _ in gateway.request_members(guild(0)):
            break
        await eventually(lambda: nothing_waits(gateway))

    async def test_it_is_used_once(self, propylon_simulator: Start, gateway_to: Any) -> None:
        gateway: Gateway = gateway_to(propylon_simulator())
        await gateway.open(timeout=10)
        request = gateway.request_members(guild(0), nonce="n")
        assert "nonce='n'" in repr(request)
        await request
        with pytest.raises(RuntimeError, match="once"):
            await request
        first = asyncio.create_task(gather(gateway, nonce="n", timeout=0.2))
        await asyncio.sleep(0)
        with pytest.raises(CommandError, match="waits already"):
            await gateway.request_members(guild(0), nonce="n")
        with pytest.raises(RequestTimeout):
            await first


async def whole(gateway: Gateway) -> Members:
    return await gateway.request_members(guild(0))


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("exclude each other", {"query": "x", "user_ids": [1]}),
    ("101 ids", {"user_ids": range(1, 102)}),
    ("empty", {"user_ids": []}),
    ("list of ids", {"user_ids": "123"}),
    ("list of ids", {"user_ids": 123}),
    *[
        ("must be an id", {"user_ids": [1, bad]})
        for bad in (True, 1.0, float("nan"), None, "x", "", "-1", -1, 0, 2**64)
    ],
    *[
        ("must be an id", {"guild_id": bad})
        for bad in (True, 1.0, float("nan"), None, "x", "", 0, 2**64, "9" * 5000, "١")
    ],
    *[("limit must be", {"query": "x", "limit": bad}) for bad in (-1, 101, True, 1.0, float("nan"), "1")],
    ("query must be", {"query": 1}),
    ("presences must be", {"presences": 1}),
    ("33 bytes", {"nonce": "x" * 33}),
    ("34 bytes", {"nonce": "ä" * 17}),
    *[("nonce must be", {"nonce": bad}) for bad in ("", 1, b"x")],
    *[("timeout must be", {"timeout": bad}) for bad in (0, -1, float("nan"), float("inf"), True, "1")],
    ("not possible in JSON", {"query": "\ud800"}),
    ("not possible in JSON", {"nonce": "\ud800"}),
]


@pytest.mark.parametrize(("message", "arguments"), WRONG)
async def test_what_discord_would_not_take_is_refused_before_the_wire(
    propylon_simulator: Start, gateway_to: Any, message: str, arguments: dict[str, Any]
) -> None:
    """F38."""
    gateway: Gateway = gateway_to(propylon_simulator())
    arguments = {"guild_id": 1, **arguments}
    with pytest.raises(CommandError, match=message):
        gateway.request_members(arguments.pop("guild_id"), **arguments)


async def test_the_largest_that_discord_takes(propylon_simulator: Start, gateway_to: Any) -> None:
    """F38: 100 ids of 20 digits fit, 32 bytes of nonce do; a query that makes 4,097 bytes does not."""
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    found = await gateway.request_members(guild(0), user_ids=range(2**64 - 100, 2**64), nonce="😀" * 8)
    assert len(found.not_found) == 100
    frame = len('{"op":8,"d":{"guild_id":"1","query":"","limit":100,"nonce":"n"}}')
    with pytest.warns(RuntimeWarning, match="never awaited"):
        gateway.request_members(1, query="x" * (4096 - frame), nonce="n")
    with pytest.raises(CommandTooLarge, match="4097 bytes"):
        gateway.request_members(1, query="x" * (4097 - frame), nonce="n")


async def test_a_missing_intent_is_named(propylon_simulator: Start, gateway_to: Any) -> None:
    gateway: Gateway = gateway_to(propylon_simulator(), intents=Intents.GUILDS)
    with pytest.raises(CommandError, match=r"all members needs Intents\.GUILD_MEMBERS"):
        gateway.request_members(1)
    with pytest.raises(CommandError, match=r"all members needs Intents\.GUILD_MEMBERS"):
        gateway.request_members(1, query="")
    with pytest.raises(CommandError, match=r"presences needs Intents\.GUILD_PRESENCES"):
        gateway.request_members(1, query="x", presences=True)
    with pytest.warns(RuntimeWarning, match="never awaited"):
        gateway.request_members(1, query="", limit=5)


def of_requests(caught: list[warnings.WarningMessage]) -> list[warnings.WarningMessage]:
    """Those that are told of here: what earlier tests left is collected at any moment, and may warn too."""
    return [warning for warning in caught if "request_members" in str(warning.message)]


async def test_a_request_that_nobody_awaits_or_iterates_over_is_warned_of() -> None:
    gateway = Gateway("token")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gateway.request_members(5, query="u")
        gc.collect()
    (warning,) = of_requests(caught)
    assert warning.category is RuntimeWarning
    assert str(warning.message).startswith("request_members(5) was never awaited or iterated over")
    assert warning.filename == __file__
    assert 'gateway.request_members(5, query="u")' in linecache.getline(__file__, warning.lineno)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(NotConnected):
            await gateway.request_members(5, query="u")
        with pytest.raises(NotConnected):
            async for _ in gateway.request_members(5, query="u"):
                pass
        with pytest.raises(CommandError):
            gateway.request_members("five")
        gc.collect()
    assert of_requests(caught) == []
