"""What a worker listens to, as hosts read it; and when it is written."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cluster.hosts import virtually
from cluster.memory import MemoryBroker, MemoryServer
from face.support import eventually
from propylon import Dispatch, Listener, events, field
from propylon._filters.expression import description
from propylon._listening.face import ListenerFace
from propylon._listening.lifespan import Lifespan
from propylon.cluster._announcing import Announcer, covers, heard_of
from propylon.cluster._keys import Heard, HeardSlot, bucket, heard_key, read
from propylon.cluster._membership import Times
from propylon.events import Event, GuildJoined, MessageCreate, Ready, TypingStart
from propylon.events._projection import Fields


class Narrow(Event, event="MESSAGE_CREATE"):
    content: str


class Author(Event, event="MESSAGE_CREATE"):
    content: str
    channel_id: int


class Invented(Event, event="INVENTED"):
    name: str


MANY = [
    kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
][:20]


def face() -> ListenerFace:
    owner = object()
    return ListenerFace(owner, Lifespan(owner, None), check_usable=lambda: None, adding=lambda _: None)


def listen(of: ListenerFace, *events: object, where: object = None) -> "Listener[..., None]":
    from propylon._listening.entry import Options

    def listener(event: object) -> None: ...

    return of.listen(events, Options(where=where), {})(listener)  # type: ignore[no-any-return, arg-type]


@pytest.mark.asyncio
async def test_each_filter_is_a_slot_with_its_events_and_what_is_wanted_of_them() -> None:
    one = face()
    listen(one, Narrow)
    listen(one, Ready)
    listen(one, Author, TypingStart, where=field("guild_id") == 7)
    guild = description(field("guild_id") == 7)
    assert heard_of(one.registry) == Heard(
        [
            HeardSlot(None, ["MESSAGE_CREATE", "READY"], {"MESSAGE_CREATE": {"content": None}}),
            HeardSlot(
                guild,
                ["MESSAGE_CREATE", "TYPING_START"],
                {"MESSAGE_CREATE": {"content": None, "channel_id": None}},
            ),
        ]
    )


@pytest.mark.asyncio
async def test_whoever_wants_all_of_an_event_takes_the_projection_away() -> None:
    one = face()
    listen(one, Narrow)
    whole = listen(one, MessageCreate)
    assert heard_of(one.registry).slots[0].projections == {}
    whole.remove()
    assert heard_of(one.registry).slots[0].projections == {"MESSAGE_CREATE": {"content": None}}


@pytest.mark.asyncio
async def test_everything_is_a_star_and_names_of_no_table_are_one() -> None:
    one = face()
    listen(one, Invented)
    listen(one, GuildJoined)
    assert heard_of(one.registry) == Heard([HeardSlot(None, ["GUILD_CREATE", "UNKNOWN"])])
    listen(one, Dispatch)
    assert heard_of(one.registry) == Heard([HeardSlot(None, ["*"])])


@pytest.mark.asyncio
async def test_nothing_is_heard_where_nobody_listens() -> None:
    one = face()
    listen(one, Ready).remove()
    assert heard_of(one.registry) == Heard()


@pytest.mark.asyncio
async def test_more_conditions_than_a_key_may_hold_are_left_out() -> None:
    one = face()
    for number in range(20):
        listen(one, MessageCreate, where=field("guild_id") == number + 1)
    assert len(heard_of(one.registry).slots) == 20
    assert heard_of(one.registry, most=500) == Heard([HeardSlot(None, ["MESSAGE_CREATE"])])


@pytest.mark.asyncio
async def test_what_covers_what() -> None:
    part = {"MESSAGE_CREATE": {"content": None, "author": {"id": None}}}
    wide = Heard([HeardSlot(None, ["MESSAGE_CREATE", "READY"], part), HeardSlot("w", ["*"])])
    assert covers(wide, wide)
    assert covers(wide, Heard())
    assert not covers(Heard(), wide)
    assert covers(wide, Heard([HeardSlot(None, ["MESSAGE_CREATE"], {"MESSAGE_CREATE": {"author": {"id": None}}})]))
    assert not covers(wide, Heard([HeardSlot(None, ["MESSAGE_CREATE"])]))
    assert not covers(wide, Heard([HeardSlot(None, ["MESSAGE_CREATE"], {"MESSAGE_CREATE": {"tts": None}})]))
    assert not covers(wide, Heard([HeardSlot(None, ["MESSAGE_CREATE"], {"MESSAGE_CREATE": {"author": None}})]))
    assert covers(wide, Heard([HeardSlot("w", ["TYPING_START"])]))
    # What a filter reads is in no part as long as hosts do not know of it.
    author, tts = description(field("author.id") == 5), description(field("tts").is_true())
    ids: dict[str, Fields] = {"MESSAGE_CREATE": {"author": {"id": None}}}
    assert covers(wide, Heard([HeardSlot(author, ["MESSAGE_CREATE"], ids)]))
    assert not covers(wide, Heard([HeardSlot(tts, ["MESSAGE_CREATE"], ids)]))
    assert not covers(wide, Heard([HeardSlot("of a later version", ["MESSAGE_CREATE"], ids)]))
    # Heard under no condition is heard under each.
    assert covers(wide, Heard([HeardSlot("x", ["READY"])]))
    assert not covers(wide, Heard([HeardSlot("x", ["TYPING_START"])]))


@pytest_asyncio.fixture
async def server() -> AsyncIterator[MemoryServer]:
    yield MemoryServer(timeout=0.05)


def written(server: MemoryServer) -> list[HeardSlot] | None:
    entry = server.keys(bucket("app")).get(heard_key("me"))
    heard = read(Heard, None if entry is None else entry.value)
    return None if heard is None else heard.slots


def puts(server: MemoryServer) -> int:
    return server.log.count(("put", heard_key("me")))


async def begun(server: MemoryServer, one: ListenerFace, times: Times | None = None) -> tuple[Announcer, MemoryBroker]:
    broker = server.client()
    announcer = Announcer(broker, "app", "me", one.registry, times=times)
    one.registry.watch(lambda slot, event: announcer.changed())
    await announcer.begin()
    return announcer, broker


@pytest.mark.asyncio
async def test_it_is_written_at_the_beginning_and_when_more_is_heard(server: MemoryServer) -> None:
    one = face()
    listen(one, Ready)
    announcer, _ = await begun(server, one)
    assert written(server) == [HeardSlot(None, ["READY"])]
    listen(one, MessageCreate)
    listen(one, TypingStart)
    await eventually(lambda: written(server) == [HeardSlot(None, ["MESSAGE_CREATE", "READY", "TYPING_START"])])
    # Both in one write.
    assert puts(server) == 2
    await announcer.end()


def test_what_is_heard_no_longer_is_told_with_the_next_renewal() -> None:
    async def main() -> None:
        # In virtual time: on a busy machine the renewal would come before the changes.
        server = MemoryServer()
        one = face()
        listen(one, Ready)
        announcer, _ = await begun(server, one, Times(every=0.2))
        listener = listen(one, MessageCreate)
        await eventually(lambda: puts(server) == 2)
        listener.remove()
        # Heard again before anybody was told that it was not.
        listen(one, MessageCreate).remove()
        await eventually(lambda: written(server) == [HeardSlot(None, ["READY"])])
        assert puts(server) == 3
        await announcer.end()

    virtually(main)


def test_it_is_renewed_before_it_expires() -> None:
    async def main() -> None:
        server = MemoryServer()
        announcer, _ = await begun(server, face(), Times(ttl=1, every=5))
        # Unrenewed it expires within 61 s.
        await asyncio.sleep(200)
        assert ("expire", heard_key("me")) not in server.log
        assert written(server) == []
        await announcer.stop()

    virtually(main)


@pytest.mark.asyncio
async def test_what_the_server_does_not_take_is_told_once_and_what_was_heard_before_stays(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = face()
    listen(one, Ready)
    announcer, broker = await begun(server, one, Times(every=0.05))
    put = broker.put

    async def small(bucket: str, key: str, value: bytes, /, *, ttl: float | None = None) -> int:
        if len(value) > 200:
            raise ValueError("maximum payload exceeded")
        return await put(bucket, key, value, ttl=ttl)

    monkeypatch.setattr(broker, "put", small)
    listener = listen(one, *MANY)
    before = puts(server)
    await eventually(lambda: puts(server) >= before + 3)
    assert written(server) == [HeardSlot(None, ["READY"])]
    assert caplog.text.count("give the server a larger max_payload") == 1
    listener.remove()
    listen(one, MessageCreate)
    await eventually(lambda: written(server) == [HeardSlot(None, ["MESSAGE_CREATE", "READY"])])
    await announcer.end()
    other = face()
    listen(other, *MANY)
    with pytest.raises(ValueError, match="larger max_payload"):
        await Announcer(broker, "app", "other", other.registry).begin()


def test_what_a_worker_heard_outlives_it_for_a_minute() -> None:
    async def main() -> None:
        server = MemoryServer()
        one = face()
        listen(one, Ready)
        told = [HeardSlot(None, ["READY"])]
        for ends, seconds in (("end", 60), ("stop", 75)):
            announcer, _ = await begun(server, one)
            await asyncio.sleep(20)
            # In order, or as one that is killed.
            await getattr(announcer, ends)()
            await asyncio.sleep(seconds - 6)
            assert written(server) == told
            await asyncio.sleep(7)
            assert written(server) is None

    virtually(main)


@pytest.mark.asyncio
async def test_a_write_that_failed_is_made_again(server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propylon.cluster._announcing._AGAIN", 0.01)
    one = face()
    announcer, broker = await begun(server, one)
    broker.cut()
    listen(one, Ready)
    await asyncio.sleep(0.1)
    assert written(server) == []
    broker.restore()
    await eventually(lambda: written(server) == [HeardSlot(None, ["READY"])])
    await announcer.end()
