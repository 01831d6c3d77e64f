"""Which shards a manager has: ``shards=`` and ``total=`` in every form, what is recommended, whose a guild is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from fleet.support import guild_on, identified, make_manager
from propylon import CommandError, NotConnected, Presence, ShardManager, WrongShard
from propylon._fleet.spread import Budget, Recommended, named, rounded, shard_of, wanted_shards
from propylon.testing import Simulator, steps

Start = Callable[..., Simulator]
Make = Callable[..., ShardManager]


def told(shards: int, concurrency: int = 1) -> Recommended:
    return Recommended("wss://gateway.discord.gg", shards, Budget(1000, 1000, 1.0, concurrency))


class TestForms:
    @pytest.mark.parametrize(
        ("shards", "total", "ids", "of"),
        [
            ("auto", None, range(3), 3),
            ("auto", 5, range(5), 5),
            (4, None, range(4), 4),
            (4, 4, range(4), 4),
            (range(2), 8, [0, 1], 8),
            (range(6, 8), 8, [6, 7], 8),
            ([5, 0], 8, [0, 5], 8),
            ((7,), 8, [7], 8),
            ({1, 2}, 3, [1, 2], 3),
            (iter([2, 1]), 3, [1, 2], 3),
            (1, None, [0], 1),
        ],
    )
    def test_each_form(self, shards: Any, total: int | None, ids: Any, of: int) -> None:
        assert wanted_shards(shards, total).settled(told(3)) == (tuple(ids), of)

    @pytest.mark.parametrize(
        ("shards", "total", "kind", "text"),
        [
            ("all", None, ValueError, "shards takes \"auto\", a number, a range or ids, not 'all'"),
            ("4", None, ValueError, "not '4'"),
            (None, None, TypeError, 'shards takes "auto", a number, range(0, 16) or ids such as [0, 5], not None'),
            (True, None, TypeError, "not True"),
            (1.5, None, TypeError, "not 1.5"),
            ([0, "1"], 2, TypeError, "not [0, '1']"),
            ([0, True], 2, TypeError, "not [0, True]"),
            (b"\0\1", None, TypeError, "shards takes"),
            (0, None, ValueError, "shards must be 1 to 65,536, not 0"),
            (-1, None, ValueError, "shards must be 1 to 65,536, not -1"),
            (1 << 17, None, ValueError, "not 131072"),
            ("auto", 0, ValueError, "total must be 1 to 65,536 shards, not 0"),
            (range(4), 0, ValueError, "total must be 1 to 65,536 shards, not 0"),
            ("auto", -3, ValueError, "not -3"),
            ("auto", 1 << 17, ValueError, "not 131072"),
            ("auto", True, TypeError, "total takes the number of all shards, of every process, not True"),
            ("auto", "4", TypeError, "not '4'"),
            ("auto", 4.0, TypeError, "not 4.0"),
            (4, 8, ValueError, "shards=4 of total=8: say which, such as shards=range(4)"),
            ([], 4, ValueError, "shards is empty; a manager needs at least one shard"),
            (range(0), 4, ValueError, "shards is empty"),
            ([-1, 0], 4, ValueError, "shards=-1, 0: ids start at 0"),
            ([0, 1, 1], 4, ValueError, "shards=0, 1, 1: 1 is named twice"),
            ([*range(4), *range(2, 6)], 8, ValueError, "2 is named twice"),
            (range(4), None, ValueError, "shards=0 to 3 of how many? Give total=, the number of all shards of every "),
            ([0, 5], None, ValueError, "or shards=6 for all of 0 to 5"),
            (range(8), 4, ValueError, "shards=0 to 7: with total=4 the last one is 3"),
            (range(1 << 60), 4, ValueError, "with total=4 the last one is 3"),
            ([4], 4, ValueError, "shards=4: with total=4 the last one is 3"),
        ],
    )
    def test_each_wrong_form_is_told_when_the_manager_is_made(
        self, shards: Any, total: Any, kind: type[Exception], text: str
    ) -> None:
        with pytest.raises(kind) as raised:
            ShardManager("token", shards=shards, total=total)
        assert text in str(raised.value)

    @pytest.mark.parametrize(
        ("options", "kind", "text"),
        [
            ({"reshard_at": 0}, ValueError, "reshard_at"),
            ({"reshard_at": 1.1}, ValueError, "above 0 and at most 1"),
            ({"reshard_at": "0.8"}, ValueError, "reshard_at"),
            ({"reshard_at": True}, ValueError, "reshard_at"),
            ({"auto_reshard": 1}, TypeError, "auto_reshard takes True or False, not 1"),
            ({"gate": "gate.json"}, TypeError, "gate takes an IdentifyGate, such as FileIdentifyGate"),
            ({"gate": object()}, TypeError, r"it has no acquire\(\)"),
            ({"sessions": "sessions.json"}, TypeError, "sessions takes a SessionStore"),
            ({"queue_bytes": 0}, ValueError, "queue_bytes"),
            ({"shard_queue_bytes": 0}, ValueError, "shard_queue_bytes"),
            ({"max_pending": 0}, ValueError, "max_pending"),
            ({"presence": "online"}, (TypeError, ValueError), "presence"),
            ({"compression": "gzip"}, ValueError, "compression"),
            ({"gateway_url": "http://x"}, ValueError, "gateway_url|ws"),
            ({"shard": (0, 2)}, TypeError, "shard"),
            ({"session": None}, TypeError, "session"),
        ],
    )
    def test_other_options_are_checked_when_it_is_made(self, options: Any, kind: Any, text: str) -> None:
        with pytest.raises(kind, match=text):
            ShardManager("token", **options)

    @pytest.mark.parametrize(
        ("total", "concurrency", "more"), [(1, 1, 1), (1, 16, 16), (16, 16, 16), (17, 16, 32), (5, 0, 5)]
    )
    def test_a_total_is_rounded_up_to_what_large_bots_must_keep(self, total: int, concurrency: int, more: int) -> None:
        assert rounded(total, concurrency) == more

    def test_auto_is_rounded_and_a_total_of_the_users_is_warned_of(self, caplog: pytest.LogCaptureFixture) -> None:
        assert wanted_shards("auto", None).settled(told(17, 16))[1] == 32
        assert not caplog.records
        assert wanted_shards(20, None).settled(told(17, 16))[1] == 20
        assert "closes with 4010; 32 would do" in caplog.text

    def test_how_ids_are_named(self) -> None:
        assert named(range(5)) == "0 to 4"
        assert named([3]) == "3"
        assert named([0, 5]) == "0, 5"
        assert named(range(0, 40, 2)).endswith("18, …")

    def test_auto_without_anybody_to_ask(self) -> None:
        with pytest.raises(ValueError, match=r"give total=, or an api_url to ask"):
            wanted_shards("auto", None).settled(None)


@pytest.mark.asyncio
class TestWithDiscord:
    async def test_auto_takes_what_is_recommended_at_each_opening(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0, shards=3, max_concurrency=2)
        manager = manager_to(sim)
        assert (manager.total, dict(manager.shards), len(manager.shards)) == (None, {}, 0)
        await manager.open(timeout=10)
        assert manager.total == 4
        assert list(manager.shards) == [0, 1, 2, 3]
        await manager.close()
        bot = f'{{"url": "{sim.url}", "shards": 6, "session_start_limit": {{"total": 1000, "remaining": 900, '
        bot += '"reset_after": 1000, "max_concurrency": 2, "identify_interval": 0}}'
        sim.act(steps.api_response(200, body=bot))
        await manager.open(timeout=10)
        assert manager.total == 6
        assert sorted(identified(sim)) == sorted([(number, 4) for number in range(4)] + [(n, 6) for n in range(6)])

    async def test_ids_beyond_what_auto_finds_are_refused(self, propylon_simulator: Start, manager_to: Make) -> None:
        """Another process may have a range of the same total; a range always says its total."""
        sim = propylon_simulator(guilds=0, shards=2)
        manager = manager_to(sim, shards=range(2, 4), total=4)
        await manager.open(timeout=10)
        assert sorted(identified(sim)) == [(2, 4), (3, 4)]
        assert repr(manager) == "<ShardManager READY 2 of 4 shards>"

    async def test_the_number_is_asked_for_until_the_api_answers(
        self, propylon_simulator: Start, manager_to: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("propylon._fleet.asking._FIRST_PAUSE", 0.02)
        sim = propylon_simulator(guilds=0, shards=2)
        sim.act(steps.api_response(503, times=6))
        manager = manager_to(sim)
        await manager.open(timeout=20)
        assert manager.total == 2
        assert len(sim.record()["api"]) >= 7

    async def test_while_it_is_not_known_open_says_so(
        self, propylon_simulator: Start, manager_to: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("propylon._fleet.asking._FIRST_PAUSE", 60.0)
        sim = propylon_simulator(guilds=0)
        sim.act(steps.api_response(500, times=1_000))
        manager = manager_to(sim)
        with pytest.raises(TimeoutError, match="Discord has not said yet how many shards there should be"):
            await manager.open(timeout=0.5)
        assert manager.status.name == "UNCONNECTED"
        await manager.wait_closed()

    async def test_closing_while_it_is_not_known(
        self, propylon_simulator: Start, manager_to: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("propylon._fleet.asking._FIRST_PAUSE", 60.0)
        sim = propylon_simulator(guilds=0)
        sim.act(steps.api_response(500, times=1_000))
        manager = manager_to(sim)
        opening = asyncio.create_task(manager.open())
        await sim.wait_for("api_requests", count=1)
        async with asyncio.timeout(5):
            await manager.close()
            with pytest.raises(NotConnected, match="closed while it was opening"):
                await opening
            await manager.wait_closed()

    async def test_a_gateway_url_and_a_total_make_no_rest_call(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, gateway_url=sim.url, shards=1)
        await manager.open(timeout=10)
        assert sim.record()["api"] == []
        await manager.close()
        asking = manager_to(sim, gateway_url=sim.url)
        await asking.open(timeout=10)
        assert len(sim.record()["api"]) == 1


@pytest.mark.asyncio
class TestWhoseAGuildIs:
    async def test_the_formula(self, propylon_simulator: Start, manager_to: Make) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=[0, 3], total=4)
        with pytest.raises(RuntimeError, match=r"not known before open\(\)"):
            manager.shard_of(1)
        await manager.open(timeout=10)
        for shard_id in range(4):
            assert manager.shard_of(guild_on(shard_id, 4)) == manager.shard_of(str(guild_on(shard_id, 4))) == shard_id
        assert shard_of(197038439483310086, 2) == 197038439483310086 // 4194304 % 2
        with pytest.raises(CommandError, match="guild_id"):
            manager.shard_of("general")

    async def test_a_guild_of_another_process_is_refused_by_each_command(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=0)
        manager = manager_to(sim, shards=range(4, 8), total=16)
        await manager.open(timeout=10)
        theirs, ours = guild_on(9, 16), guild_on(4, 16)
        text = rf"guild {theirs} is on shard 9 of 16, and this process has 4 to 7; ask the process that has it"
        calls: list[Callable[[], Any]] = [
            lambda: manager.update_voice_state(theirs, 1),
            lambda: manager.update_voice_state(theirs, None),
            lambda: manager.request_channel_info(theirs),
            lambda: manager.request_soundboard_sounds([ours, theirs]),
        ]
        for call in calls:
            with pytest.raises(WrongShard, match=text) as raised:
                await call()
            assert raised.value.shard_id == 9
        with pytest.raises(WrongShard, match=text):
            # From the call itself.
            manager.request_members(theirs, query="a")
        with pytest.raises(WrongShard, match="this process has no shard 9; it has 4 to 7"):
            await manager.send(31, {"guild_ids": ["1"]}, shard_id=9)
        with pytest.raises(KeyError):
            manager.shards[9]
        # Nothing was asked for the guilds that are ours.
        assert [set(connection["op_counts"]) - {"1", "2"} for connection in sim.record()["connections"]] == [set()] * 4

    async def test_before_it_is_open(self, propylon_simulator: Start, manager_to: Make) -> None:
        manager = manager_to(propylon_simulator(guilds=0), shards=2)
        calls: list[Callable[[], Any]] = [
            lambda: manager.update_voice_state(1, 1),
            lambda: manager.request_channel_info(1),
            lambda: manager.request_soundboard_sounds([1]),
            lambda: manager.set_presence(Presence()),
            lambda: manager.send(31, {}, shard_id=0),
            lambda: manager.reshard(4),
            lambda: manager.wait_guilds_ready(),
        ]
        for call in calls:
            with pytest.raises(NotConnected, match="open it first"):
                await call()
        with pytest.raises(NotConnected, match="open it first"):
            manager.request_members(1, query="a")

    async def test_after_it_was_closed(self, propylon_simulator: Start, manager_to: Make) -> None:
        manager = manager_to(propylon_simulator(guilds=0), shards=2)
        await manager.open(timeout=10)
        await manager.close()
        calls: list[Callable[[], Any]] = [
            lambda: manager.update_voice_state(1, 1),
            lambda: manager.request_channel_info(1),
            lambda: manager.request_soundboard_sounds([1]),
            lambda: manager.set_presence(Presence()),
            lambda: manager.send(31, {}, shard_id=0),
            lambda: manager.reshard(4),
            lambda: manager.shards[0].restart(),
            lambda: manager.shards[0].resume(),
            lambda: manager.request_members(1, query="a"),
        ]
        for call in calls:
            with pytest.raises(NotConnected, match="not open"):
                await call()
        await manager.shards[0].close()

    async def test_two_processes_have_their_ranges_of_one_total(
        self, propylon_simulator: Start, manager_to: Make
    ) -> None:
        sim = propylon_simulator(guilds=8, shards=4)
        halves = [manager_to(sim, token="one-bot-of-two", shards=ids, total=4) for ids in (range(2), range(2, 4))]
        await asyncio.gather(*[half.open(timeout=10) for half in halves])
        for half in halves:
            await half.wait_guilds_ready(timeout=10)
        assert [half.guild_count for half in halves] == [4, 4]
        await eventually(lambda: len(set(identified(sim))) == 4)


def test_a_manager_is_not_pickled_and_its_repr_has_no_token(propylon_simulator: Start) -> None:
    import pickle

    manager = make_manager(propylon_simulator(), token="secret-token")
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(manager)
    assert repr(manager) == "<ShardManager UNCONNECTED>"
