"""``propylon top``: what it reads, what it works out of that, and how it is drawn, under Textual's pilot."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from propylon.cli._top_snapshot import Snapshot, Unanswered, base_of, fetch
from propylon.cli._top_tables import EVENTS, Rates, figures, reconnect_rows, sorted_rows
from propylon.cli._top_view import Fleet, Rows, Top

from . import world
from .conftest import Scene, Serve


def decoded(found: world.Snapshot) -> Snapshot:
    return msgspec.json.decode(json.dumps(found), type=Snapshot)


# ---------------------------------------------------------------- what is read


def test_it_reads_every_key_of_a_snapshot() -> None:
    """Nothing that the admin server gives is unknown here, and nothing is asked for that it does not give."""
    found = world.snapshot(3)
    found["reconnects"].append({"at": world.FIRST, "shard": 0, "code": None, "reason": None, "resumed": None})
    assert msgspec.to_builtins(decoded(found)) == found
    assert reconnect_rows(decoded(found))[0][1:] == ["0", "under way", "-"]


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:9464", "http://127.0.0.1:9464"),
        ("127.0.0.1:9464/", "http://127.0.0.1:9464"),
        ("localhost:80", "http://localhost:80"),
        ("https://bot.example/admin/", "https://bot.example/admin"),
        ("[::1]:9464", "http://[::1]:9464"),
    ],
)
def test_an_address_may_be_short(url: str, base: str) -> None:
    assert base_of(url) == base


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1", "file:///etc/passwd", "http://", "", "127.0.0.1:port", "http://a:b@bot"]
)
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|[Pp]ort"):
        base_of(url)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<!doctype html>", "is not what this version of propylon reads"),
        (b"{}", "missing required field"),
        (b'"\xff"', "is not what this version of propylon reads"),
        (json.dumps({**world.snapshot(1), "version": 2}).encode(), "has version 2, this propylon reads 1"),
    ],
)
def test_another_server_is_told(admin: Serve, body: bytes, message: str) -> None:
    server = admin(Scene(1))
    server.body = body
    with pytest.raises(Unanswered, match=message):
        fetch(server.url)


def test_a_wrong_path_and_a_port_where_nobody_listens_are_told(admin: Serve) -> None:
    server = admin(Scene(1))
    with pytest.raises(Unanswered, match="answers HTTP 404"):
        fetch(f"{server.url}/elsewhere")
    server.stop()
    with pytest.raises(Unanswered, match=r"does not answer \(Connection refused\); is the bot running"):
        fetch(server.url)


def test_a_server_that_never_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propylon.cli._top_snapshot._TOGETHER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.05)

        dripping = threading.Thread(target=drip)
        dripping.start()
        with pytest.raises(Unanswered, match="it takes too long"):
            fetch(f"http://127.0.0.1:{server.getsockname()[1]}")
        dripping.join()


def test_no_proxy_of_the_environment_is_asked(admin: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = admin(Scene(2))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert len(fetch(server.url)[0].shards) == 2


# ---------------------------------------------------------------- what is worked out


def test_rates_are_of_the_last_seconds() -> None:
    rates = Rates()
    rates.add(decoded(world.snapshot(4)))
    assert rates.totals() == [None, None, None]
    for second in range(1, 31):
        rates.add(decoded(world.snapshot(4, float(second))))
    # The window is 5 s: what was before is forgotten.
    before, now = world.snapshot(4, 25.0), world.snapshot(4, 30.0)
    received = sum(shard["received"] for shard in now["shards"]) - sum(shard["received"] for shard in before["shards"])
    assert rates.totals()[0] == received / 5.0
    row = next(row for row in rates.events() if row.name == "TYPING_START")
    assert row.dropped == row.received == (
        now["events"]["TYPING_START"]["received"] - before["events"]["TYPING_START"]["received"]
    ) / 5.0  # fmt: skip


def test_another_process_and_fewer_shards_give_no_negative_rates() -> None:
    rates = Rates()
    rates.add(decoded(world.snapshot(64)))
    rates.add(decoded(world.snapshot(16, 1.0)))
    assert rates.totals() == [0.0, 0.0, 0.0]
    restarted = world.snapshot(64, 2.0)
    restarted["process"]["started_at"] += 7001.0
    rates.add(decoded(restarted))
    assert rates.totals() == [None, None, None]
    assert dict(figures(decoded(restarted), rates))["received/s"] == "-"


def test_rows_are_sorted_by_any_column() -> None:
    rates = Rates()
    for second in (0.0, 2.0):
        rates.add(decoded(world.snapshot(8, second)))
    assert sorted_rows(rates.events(), EVENTS, 0)[0][-1] == "PRESENCE_UPDATE"
    assert sorted_rows(rates.events(), EVENTS, 1)[0][-1] == "MESSAGE_CREATE"
    names = [row[-1] for row in sorted_rows(rates.events(), EVENTS, 4)]
    assert names == sorted(world.RATES)


# ---------------------------------------------------------------- in a terminal


def text_of(app: Top, name: str) -> str:
    return str(app.query_one(f"#{name}", Static).content).replace("\N{NO-BREAK SPACE}", " ")


def rows_of(app: Top, name: str) -> list[list[str]]:
    table = app.query_one(f"#{name}", Rows)
    return [[str(cell) for cell in table.get_row_at(at)] for at in range(table.row_count)]


def letters_of(app: Top) -> str:
    return str(app.query_one(Fleet).content).replace("\n", " ").replace(" ", "")


@asynccontextmanager
async def drawn(
    url: str, *, size: tuple[int, int] = (160, 50), every: float = 0.05
) -> AsyncIterator[tuple[Top, Pilot[Any]]]:
    """Asks twenty times a second, so that tests need not wait."""
    app = Top(url, every=every)
    async with app.run_test(size=size) as pilot:
        await until(lambda: "shards ready" in text_of(app, "figures"))
        yield app, pilot


async def until(state: Callable[[], bool]) -> None:
    async with asyncio.timeout(20.0):
        while not state():  # noqa: ASYNC110 - what is drawn sets no event
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_it_shows_what_the_snapshot_says(admin: Serve) -> None:
    first, second = world.snapshot(64), world.cut(world.snapshot(64, 4.0), {5: "DISCONNECTED", 6: "RESUMING"})
    snapshots = iter([first])
    server = admin(lambda: next(snapshots, second))
    async with drawn(server.url) as (app, pilot):
        await until(lambda: "shards ready 62/64" in text_of(app, "figures"))
        await pilot.pause()
        told = text_of(app, "figures")
        received = sum(now["received"] - then["received"] for now, then in zip(
            second["shards"], first["shards"], strict=True)) / 4.0  # fmt: skip
        assert f"received/s {received:,.0f}  " in told
        assert f"guilds {sum(shard['guilds'] for shard in second['shards']):,}  " in told
        assert "starts left 936/1,000" in told
        assert letters_of(app) == "RRRRRDS" + "R" * 57
        assert rows_of(app, "events")[0][-1] == "PRESENCE_UPDATE"
        assert len(rows_of(app, "events")) == len(world.RATES)
        by_time = sorted(second["listeners"], key=lambda listener: -listener["seconds"])
        assert [row[-1] for row in rows_of(app, "listeners")] == [listener["name"] for listener in by_time]
        assert [row[3] for row in rows_of(app, "listeners")] == [f"{listener['calls']:,}" for listener in by_time]
        assert [row[1] for row in rows_of(app, "reconnects")] == ["17", "5", "22", "40", "3", "11"]
        assert not app.query_one("#alarm").display
        assert not app.query_one("#lost").display


@pytest.mark.asyncio
async def test_arrows_choose_a_shard(admin: Serve) -> None:
    server = admin(Scene(64))
    async with drawn(server.url, size=(80, 50)) as (app, pilot):
        fleet = app.query_one(Fleet)
        per_row = fleet.per_row
        assert 20 < per_row < 64
        assert text_of(app, "shard").startswith("shard 0 of 64: READY")
        for key, shard in (
            ("right", 1),
            ("down", 1 + per_row),
            ("left", per_row),
            ("up", 0),
            ("up", 0),
            ("left", 0),
            ("end", 63),
            ("right", 63),
            ("down", 63),
            ("home", 0),
        ):
            await pilot.press(key)
            await pilot.pause()
            assert fleet.chosen == shard, key
            assert text_of(app, "shard").startswith(f"shard {shard} of 64: READY"), key


@pytest.mark.asyncio
async def test_of_a_thousand_shards_the_chosen_one_is_in_view(admin: Serve) -> None:
    scene = Scene(1000)
    server = admin(scene)
    async with drawn(server.url, size=(100, 40)) as (app, pilot):
        await pilot.pause()
        view = app.query_one("#map")
        assert view.max_scroll_y > 0
        await pilot.press("end")
        await until(lambda: view.scroll_y == view.max_scroll_y)
        assert text_of(app, "shard").startswith("shard 999 of 1000")
        # Another fleet is smaller: the last shard is chosen.
        scene.now = world.snapshot(16, 1.0)
        await until(lambda: text_of(app, "shard").startswith("shard 15 of 16"))


@pytest.mark.asyncio
async def test_s_sorts_the_table_that_has_the_focus(admin: Serve) -> None:
    seconds = iter(range(10**6))
    server = admin(lambda: world.snapshot(64, float(next(seconds))))
    # Every figure is another one each time, and much to draw.
    async with drawn(server.url, every=0.5) as (app, pilot):
        await until(lambda: rows_of(app, "events")[0][0] not in ("-", "0"))
        assert rows_of(app, "events")[0][-1] == "PRESENCE_UPDATE"
        await pilot.press("s")
        assert rows_of(app, "events")[0][-1] == "MESSAGE_CREATE"
        assert [str(column.label) for column in app.query_one("#events", Rows).ordered_columns][:2] == [
            "received/s",
            "delivered/s ▾",
        ]
        await pilot.press("tab", "tab")
        assert app.focused is app.query_one("#listeners")
        await pilot.press("s")
        assert rows_of(app, "listeners")[0][-1] == "bot.commands.on_interaction"
        assert rows_of(app, "events")[0][-1] == "MESSAGE_CREATE"
        # Round and round.
        for _ in range(5):
            await pilot.press("s")
        assert rows_of(app, "listeners")[0][-1] == "bot.moderation.check_message"


@pytest.mark.asyncio
async def test_p_lets_it_stand_still(admin: Serve) -> None:
    scene = Scene(64)
    server = admin(scene)
    async with drawn(server.url) as (app, pilot):
        await pilot.press("p")
        assert text_of(app, "figures").startswith("PAUSED")
        scene.now = world.cut(world.snapshot(64, 1.0), {0: "RESUMING"})
        asked = len(server.asked)
        await until(lambda: len(server.asked) > asked + 2)
        assert letters_of(app) == "R" * 64
        await pilot.press("p")
        await until(lambda: letters_of(app).startswith("SR"))
        assert not text_of(app, "figures").startswith("PAUSED")


@pytest.mark.asyncio
async def test_a_lost_server_is_told_and_found_again(admin: Serve) -> None:
    scene = Scene(64)
    server = admin(scene)
    async with drawn(server.url) as (app, _):
        server.stop()
        await until(lambda: bool(app.query_one("#lost").display))
        assert "does not answer" in text_of(app, "lost")
        assert "shards ready 64/64" in text_of(app, "figures")
        scene.now = world.cut(world.snapshot(64, 1.0), {0: "RESUMING"})
        server.start()
        await until(lambda: not app.query_one("#lost").display)
        await until(lambda: "shards ready 63/64" in text_of(app, "figures"))


@pytest.mark.asyncio
async def test_it_waits_for_a_bot_that_is_not_there_yet(admin: Serve) -> None:
    server = admin(Scene(1))
    server.stop()
    app = Top(server.url, every=0.05)
    async with app.run_test() as pilot:
        await until(lambda: bool(app.query_one("#lost").display))
        # Keys have nothing to work on.
        await pilot.press("right", "s", "p", "p")
        server.start()
        await until(lambda: "shards ready 1/1" in text_of(app, "figures"))


@pytest.mark.asyncio
async def test_a_blocked_loop_is_told_with_its_listener(admin: Serve) -> None:
    scene = Scene(4)
    server = admin(scene)
    async with drawn(server.url) as (app, _):
        # Names are text: neither the markup of Textual nor a command of the terminal.
        scene.now = world.block(scene.now, 12.3, "[red]bot\x1b]0;title\x07", alive=False)
        await until(lambda: bool(app.query_one("#alarm").display))
        told = text_of(app, "alarm")
        assert told.startswith("ALARM: the event loop has been blocked for 12.3 s, since ")
        assert told.endswith(", in [red]bot\N{REPLACEMENT CHARACTER}]0;title\N{REPLACEMENT CHARACTER}")
        scene.now = world.snapshot(4, 13.0)
        await until(lambda: not app.query_one("#alarm").display)


@pytest.mark.asyncio
@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_q_ends_it(admin: Serve, key: str) -> None:
    server = admin(Scene(4))
    async with drawn(server.url) as (app, pilot):
        await pilot.press(key)
        await until(lambda: not app.is_running)
        assert app.return_code == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [(160, 50), (80, 24), (40, 12)])
async def test_it_is_drawn_in_terminals_of_any_size(admin: Serve, size: tuple[int, int]) -> None:
    scene = Scene(64)
    scene.now = {**world.snapshot(64), "events": {}, "listeners": [], "reconnects": [], "budget": None}
    server = admin(scene)
    async with drawn(server.url, size=size) as (app, pilot):
        await pilot.pause()
        assert rows_of(app, "events") == []
        assert (app.query_one("#tables").has_class("narrow") or app.screen.has_class("narrow")) == (size[0] < 150)
        scene.now = world.snapshot(64, 1.0)
        await until(lambda: len(rows_of(app, "events")) == len(world.RATES))
