"""Groups: classes whose methods listen."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from face.support import eventually, message
from listeners.conftest import Stage
from propylon import Closed, Dispatch, Gateway, Listeners, listen
from propylon.events import Event, MessageCreate, MessageDelete, Ready


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


class Talk(Listeners):
    def __init__(self) -> None:
        # Without super().__init__(): none is needed.
        self.heard: list[str] = []

    @listen
    async def first(self, ping: Ping, gateway: Gateway, dispatch: Dispatch) -> None:
        assert isinstance(gateway, Gateway)
        self.heard.append(f"first {ping.content} {dispatch.type}")

    @listen(MessageCreate, MessageDelete, priority=1)
    def second(self, event: Any) -> None:
        self.heard.append(f"second {type(event).__name__}")

    @listen(once=True, concurrency=1, where=lambda ping: ping.content != "nobody")
    async def third(self, ping: Ping) -> None:
        self.heard.append(f"third {ping.content}")

    def helper(self, ping: Ping) -> None:
        self.heard.append("helper")


def heard_by(gateway: Gateway) -> list[str]:
    return [listener.name.rpartition(".")[2] for listener in gateway._listening.registry.entries]


@pytest.mark.asyncio
async def test_all_marked_methods_listen_as_their_options_say(stage: Stage, gateway: Gateway) -> None:
    talk = gateway.add(Talk())
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("nobody"), message("1"), message("2"))
    await stage.say("MESSAGE_DELETE", {"id": "1", "channel_id": "2"})
    assert talk.heard == [
        "second MessageCreate",
        "first nobody MESSAGE_CREATE",
        "second MessageCreate",
        "first 1 MESSAGE_CREATE",
        "third 1",
        "second MessageCreate",
        "first 2 MESSAGE_CREATE",
        "second MessageDelete",
    ]


@pytest.mark.asyncio
async def test_methods_stay_methods() -> None:
    talk = Talk()
    talk.second(MessageDelete(id=1, channel_id=2))  # type: ignore[arg-type]
    await talk.third(Ping(content="by hand"))
    assert talk.heard == ["second MessageDelete", "third by hand"]


@pytest.mark.asyncio
async def test_the_methods_of_a_group_come_and_go_at_once(stage: Stage, gateway: Gateway) -> None:
    registry = gateway._listening.registry
    talk = gateway.add(Talk())
    # Events that were matched before are for none of them, later ones for all.
    assert [entry.since for entry in registry.entries] == [registry.generation] * 3
    await stage.open()
    talk.remove()
    assert len(registry.entries) == 1  # the mark's
    generation = registry.generation
    talk.remove()  # nothing the second time
    assert registry.generation == generation
    await stage.say("MESSAGE_CREATE", message())
    assert talk.heard == []
    gateway.add(talk)
    await stage.say("MESSAGE_CREATE", message("again"))
    assert "third again" in talk.heard


@pytest.mark.asyncio
async def test_a_group_that_removes_itself_is_skipped_at_once(stage: Stage, gateway: Gateway) -> None:
    heard: list[str] = []

    class Leaves(Listeners):
        @listen
        def first(self, ping: Ping) -> None:
            heard.append(f"first {ping.content}")
            self.remove()

        @listen
        def second(self, ping: Ping) -> None:
            heard.append("second")

    gateway.add(Leaves())
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("1"), message("2"))
    assert heard == ["first 1"]


def test_after_an_error_nothing_is_added() -> None:
    gateway = Gateway("token")

    class Broken(Listeners):
        @listen
        def fine(self, ping: Ping) -> None: ...

        @listen
        def broken(self, ping: int) -> None: ...

        def on_close(self, closed: Closed) -> None: ...

    group = Broken()
    with pytest.raises(TypeError, match=r"Broken.broken: <class 'int'> is no event"):
        gateway.add(group)
    assert gateway._listening.registry.entries == []
    assert gateway._listening.handlers._of_ends == []
    group.remove()  # it is nowhere


@pytest.mark.asyncio
async def test_one_group_serves_several_gateways_and_leaves_one_or_all(stage: Stage, gateway: Gateway) -> None:
    others = [Stage(stage.sim), Stage(stage.sim)]
    seen: list[Gateway] = []

    class Counts(Listeners):
        @listen
        def on(self, ready: Ready, bot: Gateway) -> None:
            seen.append(bot)

    group = Counts()
    for one in (stage, *others):
        assert one.gateway.add(group) is group
        await one.open()
    gateways = [gateway, *[other.gateway for other in others]]
    assert seen == gateways
    group.remove(gateway)
    assert [heard_by(one) for one in gateways] == [["_mark"], ["on", "_mark"], ["on", "_mark"]]
    group.remove()
    assert [heard_by(one) for one in gateways] == [["_mark"]] * 3
    for other in others:
        await other.gateway.close()


def test_a_group_is_added_once() -> None:
    gateway = Gateway("token")
    group = gateway.add(Talk())
    with pytest.raises(ValueError, match="has been added already"):
        gateway.add(group)
    gateway.add(Talk())
    assert len(gateway._listening.registry.entries) == 6


def test_inherited_methods_listen_those_of_the_base_first() -> None:
    class More(Talk):
        @listen
        def fourth(self, ping: Ping) -> None: ...

    gateway = Gateway("token")
    gateway.add(More())
    assert heard_by(gateway) == ["second", "first", "third", "fourth"]


@pytest.mark.asyncio
async def test_an_overriding_method_listens_if_it_is_marked(stage: Stage, gateway: Gateway) -> None:
    class Other(Talk):
        @listen  # other options than the base's
        async def third(self, ping: Ping) -> None:
            await super().third(ping)
            self.heard.append(f"other {ping.content}")

        def second(self, event: Any) -> None:
            raise AssertionError("not marked")

        first = None  # type: ignore[assignment]

    talk = gateway.add(Other())
    await stage.open()
    await stage.say("MESSAGE_CREATE", message("1"), message("2"))
    assert talk.heard == ["third 1", "other 1", "third 2", "other 2"]


def test_a_mixin_need_not_be_a_group() -> None:
    class Mixin:
        @listen
        def mixed(self, ping: Ping) -> None: ...

    class Mixed(Mixin, Listeners): ...

    gateway = Gateway("token")
    gateway.add(Mixed())
    assert heard_by(gateway) == ["mixed"]


@pytest.mark.asyncio
async def test_static_and_class_methods_and_dataclasses_can_be_groups(stage: Stage, gateway: Gateway) -> None:
    heard: list[Any] = []

    @dataclass(frozen=True)
    class Odd(Listeners):
        name: str
        unhashable: list[int] = field(default_factory=list)

        @staticmethod
        @listen
        def static(ping: Ping) -> None:
            heard.append("static")

        @classmethod
        @listen
        def of_class(cls, ping: Ping) -> None:
            heard.append(cls.__name__)

        @listen
        @staticmethod
        def outside(ping: Ping) -> None:
            heard.append("outside")

        @listen
        def method(self, ping: Ping) -> None:
            heard.append(self.name)

    group = gateway.add(Odd("odd"))
    equal = gateway.add(Odd("odd"))
    await stage.open()
    await stage.say("MESSAGE_CREATE", message())
    assert heard == ["static", "Odd", "outside", "odd"] * 2
    equal.remove()
    await stage.say("MESSAGE_CREATE", message())
    assert len(heard) == 12
    group.remove()


def test_postponed_annotations_may_name_what_is_local_to_the_class_and_around_it() -> None:
    class Local(Event, event="MESSAGE_UPDATE"):
        pass

    class Group(Listeners):
        class Inner(Event, event="MESSAGE_DELETE"):
            pass

        @listen
        def one(self, event: "Local") -> None: ...

        @listen
        def two(self, event: "Inner", gateway: "Gateway") -> None: ...

    gateway = Gateway("token")
    gateway.add(Group())
    assert [listener.wanted[0].kind for listener in gateway._listening.registry.entries] == [Local, Group.Inner]
    # Only what the annotations name is kept.
    mark = vars(vars(Group)["one"])["__propylon_listen__"]
    assert mark.names == {"Local": Local}


@pytest.mark.asyncio
@pytest.mark.parametrize("later", [True, False])
async def test_on_error_hears_the_groups_own_errors_in_place_of_the_gateways(
    stage: Stage, gateway: Gateway, later: bool
) -> None:
    errors: list[str] = []

    class Careful(Listeners):
        @listen
        async def on(self, ping: Ping) -> None:
            if later:
                await asyncio.sleep(0)
            raise ValueError("of the group")

        async def on_error(self, error: Exception, gateway: Gateway, dispatch: Dispatch) -> None:
            errors.append(f"group: {error} {dispatch.type}")

    @gateway.listen
    def raises(ping: Ping) -> None:
        raise ValueError("of the gateway")

    gateway.on_error(lambda error: errors.append(f"gateway: {error}"))
    gateway.add(Careful())
    await stage.open()
    await stage.say("MESSAGE_CREATE", message())
    await eventually(lambda: len(errors) == 2)
    assert sorted(errors) == ["gateway: of the gateway", "group: of the group MESSAGE_CREATE"]
    assert gateway.metrics().listener_errors == 2


@pytest.mark.asyncio
async def test_on_close_hears_ends_until_the_group_is_removed(stage: Stage, gateway: Gateway) -> None:
    codes: list[Any] = []

    class Watches(Listeners):
        def on_close(self, closed: Closed, gateway: Gateway) -> None:
            codes.append(closed.code)

    group = gateway.add(Watches())
    await gateway.open(timeout=10)
    await gateway.close(4321)
    assert len(codes) == 1
    group.remove()
    await gateway.open(timeout=10)
    await gateway.close()
    assert len(codes) == 1


def test_an_on_close_that_is_marked_listens() -> None:
    class Odd(Listeners):
        @listen
        def on_close(self, message: MessageDelete) -> None: ...

    gateway = Gateway("token")
    gateway.add(Odd())
    assert heard_by(gateway) == ["on_close"]
    assert gateway._listening.handlers._of_ends == []


def test_what_is_no_group_is_told() -> None:
    gateway = Gateway("token")
    with pytest.raises(TypeError, match=r"make one: add\(Talk\(\)\)"):
        gateway.add(Talk)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="derive its class from Listeners"):
        gateway.add(object())  # type: ignore[type-var]
    with pytest.raises(ValueError, match="Listeners has no method that is marked with @listen"):
        gateway.add(Listeners())


def test_marks_that_cannot_work_are_told_where_they_stand() -> None:
    with pytest.raises(TypeError, match=r"plain: concurrency= is for async listeners"):

        class One(Listeners):
            @listen(concurrency=1)
            def plain(self, ping: Ping) -> None: ...

    with pytest.raises(TypeError, match=r"twice: @listen stands there twice"):

        class Two(Listeners):
            @listen(Ping)
            @listen(MessageDelete)
            def twice(self, event: Any) -> None: ...

    with pytest.raises(TypeError, match=r"listen\(\): Event is no event by itself"):

        class Three(Listeners):
            @listen(Event)
            def on(self, event: Any) -> None: ...

    with pytest.raises(TypeError, match=r"on: `listen` marks methods of a Listeners class.*use @gateway.listen"):
        exec("@listen\ndef on(ping): ...", {"listen": listen})
