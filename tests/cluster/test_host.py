"""Gateway hosts: real connections to a simulator, over the broker in memory.

Over 500 lines because each of a host's cases needs the same few hosts on one simulator.
"""

import asyncio
import base64
import contextlib
import itertools
import re
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from cluster.hosts import APP, CALM, QUICK, STEADY, MemoryHost, new_token
from cluster.memory import MemoryServer
from commands.conftest import guild as guild_of
from face.support import eventually
from propylon import Dispatch, PropylonError
from propylon.cluster._broker import Entry, Watch
from propylon.cluster._control import ClusterError, GivenUp, awaited, drain, purge, reshard, status
from propylon.cluster._keys import (
    ACTIVE,
    NEXT,
    OVERLAP,
    Active,
    Chunk,
    Command,
    CommandAnswer,
    Heard,
    HeardSlot,
    HostInfo,
    Next,
    StoredSession,
    WorkerInfo,
    bucket,
    command_subject,
    encode,
    heard_key,
    host_key,
    host_subject,
    read,
    worker_key,
)
from propylon.events import GuildMembersChunk
from propylon.testing import Simulator

pytestmark = pytest.mark.asyncio

KEYS = bucket(APP)


@contextlib.asynccontextmanager
async def simulator(**options: Any) -> AsyncGenerator[Simulator]:
    # The gate is the cluster's; here it is asked for a bucket of each shard, so that nobody waits for 5 s.
    defaults = {"shards": 4, "max_concurrency": 16, "identify_interval": 0.0, "guilds": 8, "heartbeat_interval": 5.0}
    async with Simulator(**{**defaults, **options}) as sim:
        yield sim


class Cluster:
    """Hosts that share a token, and what the simulator has seen of them."""

    def __init__(self, sim: Simulator, shards: int = 4) -> None:
        self.sim = sim
        self.server = MemoryServer(timeout=1.0)
        self.token = new_token()
        self.shards = shards
        self.hosts: list[MemoryHost] = []
        self._names = itertools.count(1)

    def host(self, **options: Any) -> MemoryHost:
        host = MemoryHost(
            self.server, self.sim, self.token, name=f"h{next(self._names)}", **{"shards": self.shards, **options}
        )
        self.hosts.append(host)
        return host

    async def start(self, count: int = 1, **options: Any) -> list[MemoryHost]:
        return list(await asyncio.gather(*(self.host(**options).open() for _ in range(count))))

    @property
    def ready(self) -> list[int]:
        return sorted(itertools.chain.from_iterable(host.ids for host in self.hosts))

    @property
    def all_are_ready(self) -> bool:
        return self.ready == list(range(self.shards))

    @property
    def all_are_saved(self) -> bool:
        """The session of each shard is where another host finds it."""
        return {f"session.{self.shards}.{number}" for number in range(self.shards)} <= {*self.server.keys(KEYS)}

    @property
    def identifies(self) -> int:
        return self.sim.fleet()["identifies"]

    @property
    def resumes(self) -> int:
        return self.sim.fleet()["resumes"]

    @property
    def presences(self) -> int:
        ops = (op for one in self.sim.record()["connections"] for op in one["ops"])
        return sum(op["op"] == 3 for op in ops)

    async def close(self) -> None:
        for host in self.hosts:
            if host.broker is not None:
                host.connection.restore()
        await asyncio.gather(*(host.close() for host in self.hosts))


@contextlib.asynccontextmanager
async def cluster(shards: int = 4, **options: Any) -> AsyncGenerator[Cluster]:
    async with simulator(shards=shards, **options) as sim:
        made = Cluster(sim, shards)
        try:
            yield made
        finally:
            await made.close()


async def test_one_host_has_all_shards() -> None:
    async with cluster() as c:
        (host,) = await c.start()
        assert host.ids == [0, 1, 2, 3]
        assert c.identifies == 4
        assert read(Active, c.server.keys(KEYS)[ACTIVE].value) == Active(4)
        said = await status(c.server.client(), APP)
        assert [one.shards for one in said.hosts] == [4]
        assert said.hosts[0].coordinator
        await eventually(lambda: {one.status for one in host.life.held.values()} and c.all_are_ready)
        epochs = {held.shard_id: held.lease.epoch for held in host.life.held.values()}
        assert {shard.id: shard.epoch for shard in said.shards} == epochs
        # The outlet has each of them, before it could have an event.
        assert sorted(epoch for _, epoch, _ in host.outlet.added) == sorted(epochs.values())


async def test_two_that_start_together_have_half_each() -> None:
    async with cluster() as c:
        first, second = await c.start(2)
        await eventually(lambda: c.all_are_ready and len(first.ids) == len(second.ids) == 2)
        assert c.identifies == 4


async def test_one_that_joins_gets_its_part_by_resumes() -> None:
    async with cluster() as c:
        (first,) = await c.start()
        (second,) = await c.start()
        await eventually(lambda: c.all_are_ready and len(second.ids) == 2)
        assert len(first.ids) == 2
        assert (c.identifies, c.resumes) == (4, 2)
        # What was published of a session that is taken over is looked up, and told.
        assert len(second.outlet.asked) == 2
        assert [published for _, _, published in second.outlet.added] == [{0: 1}, {0: 1}]
        assert [published for _, _, published in first.outlet.added] == [{}] * 4


async def test_one_that_closes_hands_over_without_identifies() -> None:
    async with cluster() as c:
        first, second = await c.start(2)
        await eventually(lambda: c.all_are_ready and len(first.ids) == len(second.ids) == 2)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await first.close()
        await eventually(lambda: c.all_are_ready)
        assert loop.time() - begun < 5
        assert second.ids == [0, 1, 2, 3]
        assert c.identifies == 4


async def test_a_host_that_comes_back_alone_resumes() -> None:
    async with cluster() as c:
        (first,) = await c.start()
        await first.close()
        assert c.server.keys(KEYS, "lease.>") == {}
        assert c.server.keys(KEYS, "host.>") == {}
        stored = [read(StoredSession, entry.value) for entry in c.server.keys(KEYS, "session.>").values()]
        assert all(one is not None and one.session is not None for one in stored)
        (second,) = await c.start()
        assert second.ids == [0, 1, 2, 3]
        assert (c.identifies, c.resumes) == (4, 4)


async def test_a_host_that_is_cut_off_fences_itself_and_another_resumes() -> None:
    async with cluster() as c:
        first, second = await asyncio.gather(c.host(times=QUICK).open(), c.host(times=CALM).open())
        await eventually(lambda: c.all_are_ready and c.all_are_saved and len(first.ids) == len(second.ids) == 2)
        had = {held.lease.epoch for held in first.life.held.values()}
        keys = {held.life.shard.key for held in first.life.held.values() if held.life}
        first.connection.cut()
        await eventually(lambda: second.ids == [0, 1, 2, 3])
        assert first.ids == []
        assert set(first.outlet.fenced) >= keys
        assert c.identifies == 4
        assert min(held.lease.epoch for held in second.life.held.values() if held.shard_id in (0, 1, 2, 3)) > 0
        later = {held.lease.epoch for held in second.life.held.values()}
        assert max(later) > max(had)
        # Back again it gets its part back.
        first.connection.restore()
        await eventually(lambda: c.all_are_ready and len(first.ids) == 2)
        assert c.identifies == 4


async def test_all_hosts_resume_when_the_broker_was_away() -> None:
    async with cluster() as c:
        first, second = await c.start(2, times=QUICK)
        await eventually(lambda: c.all_are_ready and c.all_are_saved and len(first.ids) == len(second.ids) == 2)
        c.server.away = True
        await eventually(lambda: not first.life.held and not second.life.held)
        assert len(first.life.kept) == len(second.life.kept) == 2
        await asyncio.sleep(QUICK.ttl)
        c.server.away = False
        for host in (first, second):
            host.connection.catch_up()
        await eventually(lambda: c.all_are_ready)
        assert c.identifies == 4


async def test_a_session_that_began_while_nothing_could_be_saved_is_kept() -> None:
    async with cluster(shards=1) as c:
        c.server.now = lambda: time.time() - 3600
        (host,) = await c.start(times=STEADY)
        key = "session.1.0"
        await eventually(lambda: key in c.server.keys(KEYS))
        c.server.away = True
        await eventually(lambda: not host.life.held)
        ours = host.life.kept[1, 0]
        # As if it had never been saved.
        c.server.remove(KEYS, key)
        c.server.away = False
        host.connection.catch_up()
        await eventually(lambda: c.all_are_ready)
        assert (c.identifies, c.resumes) == (1, 1)
        # From when it was left, by the clock of the server.
        session_id, since = host.outlet.asked[-1]
        assert session_id == ours.session.id
        assert time.time() - 3600 - 90 < since < time.time() - 3600 - 30
        assert host.life.kept == {}


async def test_a_drained_host_hands_over_and_ends() -> None:
    async with cluster() as c:
        (first,) = await c.start()
        client = c.server.client()
        with pytest.raises(ClusterError, match="no other host"):
            await drain(client, APP, first.life.id)
        (second,) = await c.start()
        await eventually(lambda: c.all_are_ready and len(second.ids) == 2)
        with pytest.raises(ClusterError, match="more than one host"):
            await drain(client, APP, "h")
        with pytest.raises(ClusterError, match="no host begins"):
            await drain(client, APP, "x")
        drained = await drain(client, APP, first.life.id[:4])
        assert (drained.host, drained.shards) == (first.life.id, 2)
        await first.life.wait_closed()
        await eventually(lambda: second.ids == [0, 1, 2, 3])
        assert c.identifies == 4


async def test_drain_says_that_a_host_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propylon.cluster._control._ASKING", 0.1)
    client = MemoryServer().client()
    await client.put(KEYS, host_key("h1"), encode(HostInfo("h1", 4, 0.0)))
    with pytest.raises(ClusterError, match="h1 does not answer"):
        await drain(client, APP, "h1")
    # It hears the question, and hangs.
    questions = await client.serve(host_subject(APP, "h1"))
    with pytest.raises(ClusterError, match=r"h1 does not answer; .* if it hangs, end its process"):
        await drain(client, APP, "h1")
    questions.stop()


async def test_a_host_without_room_takes_no_more() -> None:
    async with cluster() as c:
        (first,) = await c.start(capacity=3)
        assert len(first.ids) == 3
        (second,) = await c.start(capacity=1)
        await eventually(lambda: c.all_are_ready)
        assert len(second.ids) == 1


async def test_another_number_of_shards_takes_over() -> None:
    async with cluster() as c:
        first, second = await c.start(2)
        await eventually(lambda: c.all_are_ready)
        client = c.server.client()
        phases: list[str] = []
        overlaps: list[str] = []

        async def note(watch: Watch, told: list[str]) -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    told.extend("gone" if one.value is None else one.value.decode() for one in await watch.next())

        # What a worker heard outlives it, and is not waited for.
        await client.put(KEYS, heard_key("gone"), encode(Heard()))
        watches = [await client.watch(KEYS, NEXT), await client.watch(KEYS, OVERLAP)]
        noting = [
            asyncio.create_task(note(watch, told)) for watch, told in zip(watches, (phases, overlaps), strict=True)
        ]
        done = await reshard(client, APP, 6, window=0.2, timeout=30)
        assert (done.before, done.total) == (4, 6)
        await eventually(lambda: c.ready == list(range(6)) and first.life.total == second.life.total == 6)
        assert c.identifies == 4 + 6
        assert any("overlap" in phase for phase in phases)
        await eventually(lambda: phases[-1] == "gone")
        assert '"old":4' in overlaps[0]
        await eventually(lambda: not c.server.keys(KEYS, "session.4.*") and not c.server.keys(KEYS, "lease.4.*"))
        await eventually(lambda: overlaps[-1] == "gone")
        with pytest.raises(ClusterError, match="already"):
            await reshard(client, APP, 6)
        for watch in watches:
            watch.stop()
        await asyncio.gather(*noting)
        c.shards = 6


async def test_a_broker_that_is_away_for_a_moment_ends_no_resharding(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster() as c:
        await c.start(2)
        await eventually(lambda: c.all_are_ready)
        client = c.server.client()
        answers, missed = client.get, 0

        async def get(bucket: str, key: str, /) -> Entry | None:
            nonlocal missed
            if missed < 5 and c.server.keys(KEYS, NEXT):
                missed += 1
                raise TimeoutError("the broker does not answer")
            return await answers(bucket, key)

        monkeypatch.setattr(client, "get", get)
        done = await reshard(client, APP, 6, window=0.2, timeout=30)
        assert (done.total, missed) == (6, 5)
        c.shards = 6


async def test_what_was_given_up_can_be_begun_again() -> None:
    async with cluster() as c:
        (host,) = await c.start()
        await eventually(lambda: c.all_are_ready)
        client = c.server.client()
        # A worker that never says that it knows of the two totals holds it up there.
        await client.put(KEYS, heard_key("w1"), encode(Heard([])))
        asking = asyncio.create_task(reshard(client, APP, 6, window=0.2))
        await eventually(lambda: c.server.keys(KEYS, OVERLAP))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: not c.server.keys(KEYS, OVERLAP) and len(host.life.held) == 4)
        await client.put(KEYS, heard_key("w1"), encode(Heard([], overlap=4)))
        done = await reshard(client, APP, 6, window=0.2, timeout=30)
        assert done.total == 6
        c.shards = 6


async def test_resharding_that_is_given_up_changes_nothing() -> None:
    # More than Discord lets through: the new ones never become READY.
    async with cluster(max_concurrency=1) as c:
        (host,) = await c.start(shards=1)
        client = c.server.client()
        asking = asyncio.create_task(reshard(client, APP, 3))
        await eventually(lambda: len(host.life.held) == 4)
        with pytest.raises(ClusterError, match="being resharded to 3"):
            await reshard(client, APP, 2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: len(host.life.held) == 1)
        assert host.ids == [0]
        assert host.life.total == 1


async def test_a_resharding_that_is_too_late_names_what_it_waited_for() -> None:
    async with cluster(max_concurrency=1) as c:
        (host,) = await c.start(shards=1)
        client = c.server.client()
        # The new ones wait for their IDENTIFYs, 5 s each.
        with pytest.raises(ClusterError) as late:
            await reshard(client, APP, 3, timeout=3)
        text = str(late.value)
        assert "3 shards have not taken over within 3 s" in text
        assert re.search(rf"new shards are not READY: .*2 \(\w+ on {host.life.id}\)", text)
        assert "It was given up, and the 1 shards go on" in text
        assert not c.server.keys(KEYS, NEXT)
        await eventually(lambda: len(host.life.held) == 1)


async def test_a_resharding_names_the_workers_that_do_not_know_of_it() -> None:
    async with cluster() as c:
        (host,) = await c.start()
        client = c.server.client()
        # What a worker heard that has gone is kept, and nobody waits for it.
        for worker in ("w1", "gone"):
            await client.put(KEYS, heard_key(worker), encode(Heard([])))
        await client.put(KEYS, worker_key("w1"), encode(WorkerInfo("w1", 0.0)))
        await client.put(KEYS, NEXT, encode(Next(6)))
        await eventually(lambda: len(host.ids) == 10 and c.server.keys(KEYS, OVERLAP))
        assert await awaited(client, APP, 4, 6) == "these workers do not know of it: w1"
        await reshard(client, APP, 4)


async def test_a_resharding_that_nobody_waits_for_is_given_up_by_the_number_that_counts() -> None:
    async with cluster(max_concurrency=1) as c:
        (host,) = await c.start(shards=1)
        client = c.server.client()
        # What a killed command leaves.
        await client.put(KEYS, NEXT, encode(Next(3)))
        await eventually(lambda: len(host.life.held) == 4)
        assert await reshard(client, APP, 1) == GivenUp(coming=3, total=1)
        await eventually(lambda: len(host.life.held) == 1)
        assert host.ids == [0]
        with pytest.raises(ClusterError, match="has 1 shards already"):
            await reshard(client, APP, 1)
        await client.put(KEYS, NEXT, encode(Next(3, "overlap")))
        with pytest.raises(ClusterError, match="too late to give the resharding up"):
            await reshard(client, APP, 1)
        await client.delete(KEYS, NEXT)


async def test_only_what_is_heard_is_taken() -> None:
    async with cluster(shards=1) as c:
        (host,) = await c.start()
        await eventually(lambda: host.life.metrics().unheard > 0)
        client = c.server.client()
        heard = Heard([HeardSlot(None, ["MESSAGE_CREATE"])])
        await client.put(KEYS, heard_key("w1"), encode(heard))
        await eventually(lambda: list(host.life._hearing) == ["w1"])  # pyright: ignore[reportPrivateUsage]
        c.sim.dispatch("TYPING_START", b"{}")
        c.sim.dispatch("MESSAGE_CREATE", b'{"guild_id":"1"}')
        await eventually(lambda: host.life.metrics().delivered > 0)
        metrics = host.life.metrics()
        assert metrics.unheard_by_type["TYPING_START"] == 1
        assert "MESSAGE_CREATE" not in metrics.unheard_by_type
        assert metrics.delivered_by_type == {"MESSAGE_CREATE": 1}


def token_of(user: int) -> str:
    """As Discord makes them: the user's id comes first."""
    return f"{base64.urlsafe_b64encode(str(user).encode()).decode().rstrip('=')}.{new_token()}"


async def test_a_host_of_another_bot_is_refused() -> None:
    async with cluster(shards=1) as c:
        c.token = token_of(41)
        (first,) = await c.start()
        before = c.server.keys(KEYS, "session.*.*")
        c.token = token_of(42)
        with pytest.raises(PropylonError, match=r"that of bot 41, and this token is that of bot 42; .*--app") as raised:
            await c.start()
        assert c.token not in str(raised.value)
        assert c.server.keys(KEYS, "session.*.*") == before
        assert first.ids == [0]
        # A token that was made anew is the same bot's.
        c.token = token_of(41)
        (second,) = await c.start(capacity=1)
        assert second.life.is_open()


async def test_a_host_says_why_nothing_can_be_published_and_not_each_second(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster(shards=1) as c:
        (host,) = await c.start()
        host.outlet.pending_trouble = "timed out (permissions violation)"
        await eventually(lambda: "sent again until they are: timed out (permissions violation)" in caplog.text)
        host.outlet.pending_trouble = "timed out"
        await eventually(lambda: host.outlet.pending_trouble is None)
    assert caplog.text.count("cannot be published") == 1


async def test_commands_reach_the_shard() -> None:
    async with cluster(shards=1) as c:
        await c.start()
        client = c.server.client()
        subject = command_subject(APP, 1, 0)

        async def ask(command: Command) -> CommandAnswer:
            reply = await client.request(subject, encode(command), 5.0)
            answer = read(CommandAnswer, reply)
            assert answer is not None
            return answer

        assert await ask(
            Command("send", op=3, data={"status": "idle", "afk": False, "since": None, "activities": []})
        ) == (CommandAnswer())
        assert (await ask(Command("send", op=2, data={}))).error == "bad request"
        assert (await ask(Command("send", op=3, data="x" * 5000))).error == "too large"
        shown = {"status": "dnd", "afk": False, "since": None, "activities": []}
        assert await ask(Command("presence", data=shown)) == CommandAnswer()
        await eventually(lambda: c.presences == 2)
        joined = await ask(Command("voice", data={"guild_id": "0"}, timeout=1))
        assert joined.error == "bad request"
        assert await client.request(command_subject(APP, 1, 7), b"{}", 1.0) is None


async def test_members_come_back_chunk_by_chunk() -> None:
    async with cluster(shards=1, members=2500) as c:
        (host,) = await c.start()
        await eventually(lambda: host.life.metrics().unheard > 8)
        client = c.server.client()
        guild = str(guild_of(1))
        inbox = await client.serve(client.inbox())
        command = Command(
            "request_members", data={"guild_id": guild, "query": "", "limit": 0}, timeout=5, inbox=inbox.subject
        )
        answer = read(CommandAnswer, await client.request(command_subject(APP, 1, 0), encode(command), 5.0))
        assert answer == CommandAnswer()
        members = 0
        while True:
            chunk = read(Chunk, (await inbox.next()).data)
            assert chunk is not None
            if chunk.end:
                assert chunk.error is None
                break
            decoded = Dispatch("GUILD_MEMBERS_CHUNK", bytes(chunk.data)).decode(GuildMembersChunk)
            members += len(decoded.members)
        assert members == 2500
        # Discord limits that, and says when to ask again.
        assert read(CommandAnswer, await client.request(command_subject(APP, 1, 0), encode(command), 5.0)) is not None
        last = read(Chunk, (await inbox.next()).data)
        assert last is not None
        assert (last.end, last.error) == (True, "rate limited")
        assert last.retry_after is not None
        wrong = Command("request_members", data={"guild_id": guild, "limit": 1000}, inbox=inbox.subject)
        refused = read(CommandAnswer, await client.request(command_subject(APP, 1, 0), encode(wrong), 5.0))
        assert refused is not None
        assert refused.error == "bad request"


async def test_a_host_ends_although_the_broker_is_away() -> None:
    async with cluster(shards=2) as c:
        (host,) = await c.start(times=QUICK)
        c.server.away = True
        async with asyncio.timeout(20):
            await host.close()
        assert host.outlet.is_closed
        assert not host.life.held
        c.server.away = False


async def test_a_shard_that_may_publish_no_more_is_given_up_and_opened_anew() -> None:
    async with cluster(shards=1) as c:
        (host,) = await c.start(times=STEADY)
        [(key, _, _)] = host.outlet.added
        host.outlet.lapsed.add(key)
        # Nobody has it until the lease expires.
        await eventually(lambda: len(host.outlet.added) == 2 and host.ids == [0], timeout=20)
        assert host.outlet.fenced == [key]
        assert c.identifies == 1


async def test_a_refused_token_ends_the_host() -> None:
    async with simulator(token="right", shards=1) as sim:
        host = MemoryHost(MemoryServer(), sim, "wrong", name="h", shards=1)
        with pytest.raises(Exception, match="token"):
            await host.open()
        assert not host.life.is_open()
        assert host.server.keys(KEYS, "host.>") == {}
        assert host.server.keys(KEYS, "lease.>") == {}


async def test_a_broker_that_does_not_answer_ends_the_opening() -> None:
    async with simulator() as sim:
        server = MemoryServer(timeout=0.1)
        server.away = True
        host = MemoryHost(server, sim, new_token(), name="h")
        with pytest.raises(TimeoutError, match="no answer"):
            await host.open()
        with pytest.raises(TimeoutError, match="not ready within"):
            await MemoryHost(MemoryServer(timeout=60), sim, new_token(), name="h").open(0.0)


async def test_a_cluster_is_purged_when_nobody_lives() -> None:
    async with cluster(shards=1) as c:
        (host,) = await c.start()
        client = c.server.client()
        with pytest.raises(ClusterError, match="these live"):
            await purge(client, APP)
        await host.close()
        assert (await purge(client, APP)).keys > 0
        assert c.server.keys(KEYS) == {}
