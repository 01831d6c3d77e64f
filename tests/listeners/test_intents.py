"""Intents: what events need, who is warned, and what ``"auto"`` asks for (protocol.md §13)."""

import ast
import asyncio
import inspect
import itertools
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face.support import make_gateway
from propylon import Dispatch, Gateway, GatewayStatus, Intents, IntentsWarning, Listeners, Session, field, listen
from propylon.events import (
    EVENTS,
    Event,
    GuildBanAdd,
    GuildCreate,
    GuildMemberAdd,
    MessageCreate,
    MessageDelete,
    MessageReactionAdd,
    MessageUpdate,
    PresenceUpdate,
    Ready,
    ThreadMembersUpdate,
    TypingStart,
)
from propylon.testing import Simulator

Start = Callable[..., Simulator]
I = Intents  # noqa: E741 - the tables below are read, not pronounced


class Ping(Event, event="MESSAGE_CREATE"):
    content: str


class GuildPing(Event, event="MESSAGE_CREATE", intents=int(I.GUILD_MESSAGES)):
    id: int


class Silent(Event, event="MESSAGE_CREATE"):
    id: int


class FullAndMore(MessageCreate):
    odd: int = 0


class Tomorrow(Event, event="GUILD_TOMORROW_OF_INTENTS", intents=int(I.GUILD_WEBHOOKS)):
    pass


class TestForEvents:
    @pytest.mark.parametrize(
        ("events", "expected"),
        [
            ([], I.NONE),
            ([Ready], I.NONE),
            ([GuildCreate], I.GUILDS),
            ([MessageCreate], I.GUILD_MESSAGES | I.DIRECT_MESSAGES),
            ([Ping], I.GUILD_MESSAGES | I.DIRECT_MESSAGES),
            ([GuildPing], I.GUILD_MESSAGES),
            ([TypingStart], I.GUILD_MESSAGE_TYPING | I.DIRECT_MESSAGE_TYPING),
            ([ThreadMembersUpdate], I.GUILDS),  # GUILD_MEMBERS would do as well, but is privileged
            ([GuildMemberAdd], I.GUILD_MEMBERS),  # nothing else would do
            ([PresenceUpdate, GuildBanAdd, Tomorrow], I.GUILD_PRESENCES | I.GUILD_MODERATION | I.GUILD_WEBHOOKS),
        ],
    )
    def test_it_is_the_smallest_set_that_brings_them_all(self, events: Any, expected: Intents) -> None:
        intents = Intents.for_events(*events)
        assert intents == expected
        assert isinstance(intents, Intents)

    def test_it_never_holds_message_content(self) -> None:
        assert Intents.for_events(*EVENTS.values()) == Intents.ALL & ~Intents.MESSAGE_CONTENT

    @pytest.mark.parametrize("event", [Dispatch, "MESSAGE_CREATE", None])
    def test_what_is_no_event_is_told(self, event: Any) -> None:
        with pytest.raises(TypeError, match=r"for_events\(\) takes classes of events"):
            Intents.for_events(event)


class TestWarning:
    def test_it_names_event_intents_and_listener_and_points_to_the_users_line(self) -> None:
        gateway = Gateway("token", intents=I.GUILDS)
        with pytest.warns(IntentsWarning) as caught:

            @gateway.listen
            def on_reaction(event: MessageReactionAdd) -> None: ...

        (warning,) = caught
        text = str(warning.message)
        assert "on_reaction listens to MESSAGE_REACTION_ADD" in text
        assert "Intents.GUILD_MESSAGE_REACTIONS or Intents.DIRECT_MESSAGE_REACTIONS" in text
        assert "add one to Gateway(intents=...)" in text
        assert warning.filename == __file__
        assert issubclass(IntentsWarning, UserWarning)

    def test_a_privileged_intent_is_said_to_need_enabling(self) -> None:
        with pytest.warns(IntentsWarning, match=r"Intents.GUILD_MEMBERS.*enable it .* in the Developer Portal"):
            Gateway("token").listen(GuildMemberAdd)(lambda event: None)

    def test_once_for_each_event(self) -> None:
        gateway = Gateway("token", intents=0)

        def listen_to_all() -> None:
            for kind in (MessageCreate, Ping, Dispatch[MessageCreate], MessageCreate | MessageDelete):
                gateway.listen(kind)(lambda event: None)

        with pytest.warns(IntentsWarning) as caught:
            listen_to_all()
        assert [str(warning.message).split()[3].rstrip(",") for warning in caught] == [
            "MESSAGE_CREATE",
            "MESSAGE_DELETE",
        ]

    @pytest.mark.parametrize("kind", [Dispatch, Ready, MessageCreate, Ping, Dispatch[Tomorrow]])
    def test_what_can_come_is_not_warned_of(self, kind: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Gateway("token", intents=I.DIRECT_MESSAGES | I.GUILD_WEBHOOKS).listen(kind)(lambda event: None)

    def test_made_an_error_it_leaves_no_half_added_group(self) -> None:
        class Group(Listeners):
            @listen
            def fine(self, event: GuildCreate) -> None: ...

            @listen
            def deaf(self, event: MessageDelete) -> None: ...

        gateway = Gateway("token", intents=I.GUILDS)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(IntentsWarning, match=r"deaf listens to MESSAGE_DELETE"):
                gateway.add(Group())
        assert gateway._listening.registry.entries == []

    @pytest.mark.parametrize(
        ("kind", "where", "words"),
        [
            (Ping, None, "reads content of MESSAGE_CREATE"),
            (Dispatch[MessageCreate], field("embeds").exists(), "reads embeds of MESSAGE_CREATE"),
            (MessageUpdate, (field("author.id") == 7) & ~field("poll").exists(), "reads poll of MESSAGE_UPDATE"),
            (Ping, field("attachments").exists(), "reads attachments and content of MESSAGE_CREATE"),
        ],
    )
    def test_reading_content_without_message_content_is_warned_of(self, kind: Any, where: Any, words: str) -> None:
        gateway = Gateway("token", intents=I.GUILD_MESSAGES)

        def on(event: object) -> None: ...

        with pytest.warns(IntentsWarning, match=words) as caught:
            gateway.listen(kind, where=where)(on)
        (warning,) = caught
        text = str(warning.message)
        assert ".on reads" in text
        assert "Developer Portal" in text
        assert "add it to Gateway(intents=...)" in text
        assert warning.filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # Once for each event of a gateway.
            gateway.listen(kind, where=where)(on)

    @pytest.mark.parametrize(
        ("kind", "where", "intents"),
        [
            # Nobody can tell whether it reads the content, and a bot that never does is left in peace.
            (MessageCreate, None, I.GUILD_MESSAGES),
            (FullAndMore, None, I.GUILD_MESSAGES),
            (Dispatch, None, I.GUILD_MESSAGES),
            (Silent, field("author.id") == 7, I.GUILD_MESSAGES),
            (MessageCreate, lambda message: message.content, I.GUILD_MESSAGES),
            (Ping, field("content") == "hi", I.GUILD_MESSAGES | I.MESSAGE_CONTENT),
            # Direct messages hold their content.
            (Ping, field("content") == "hi", I.DIRECT_MESSAGES),
        ],
    )
    def test_content_that_comes_or_is_not_named_is_not_warned_of(self, kind: Any, where: Any, intents: Intents) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Gateway("token", intents=intents).listen(kind, where=where)(lambda event: None)

    @pytest.mark.asyncio(loop_factories=["asyncio"])
    async def test_reading_content_is_warned_of_under_auto_too(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        gateway: Gateway = gateway_to(propylon_simulator(guilds=0), intents="auto")

        @gateway.listen
        def on(ping: Ping) -> None: ...

        with pytest.warns(IntentsWarning, match=r"auto.* never asks for it.*Intents\.MESSAGE_CONTENT\)") as caught:
            await gateway.open(timeout=10)
        assert len(caught) == 1
        assert caught[0].filename == __file__

    def test_each_intent_says_what_it_brings(self) -> None:
        """Editors show the text that follows a member."""
        module = ast.parse(Path(inspect.getfile(Intents)).read_text())
        (body,) = (node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Intents")
        explained = {
            statement.targets[0].id: after.value.value
            for statement, after in itertools.pairwise(body)
            if isinstance(statement, ast.Assign)
            and isinstance(statement.targets[0], ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        }
        assert explained.keys() == Intents.__members__.keys()
        assert all("Privileged." in explained[flag.name or ""] for flag in Intents.PRIVILEGED)

    @pytest.mark.asyncio(loop_factories=["asyncio"])
    async def test_waiting_for_what_cannot_come_is_warned_of_too(self) -> None:
        gateway = Gateway("token", intents=I.GUILDS)
        with (
            pytest.warns(IntentsWarning, match=r"^wait_for\(\) listens to MESSAGE_CREATE") as caught,
            pytest.raises(TimeoutError),
        ):
            await gateway.wait_for(Ping, timeout=0)
        assert caught[0].filename == __file__


@pytest.mark.asyncio
class TestAuto:
    async def test_it_asks_for_what_the_listeners_need(self, propylon_simulator: Start, gateway_to: Any) -> None:
        sim = propylon_simulator(guilds=0)
        gateway: Gateway = gateway_to(sim, intents="auto")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            gateway.listen(GuildPing)(lambda event: None)
            gateway.listen(ThreadMembersUpdate | Ready)(lambda event: None)
            gateway.listen(Dispatch[Tomorrow])(lambda event: None)
            async with gateway.stream(TypingStart):
                assert gateway.intents == I.NONE
                await gateway.open(timeout=10)
        expected = I.GUILD_MESSAGES | I.GUILDS | I.GUILD_WEBHOOKS | I.GUILD_MESSAGE_TYPING | I.DIRECT_MESSAGE_TYPING
        assert gateway.intents == expected
        assert sim.record()["connections"][0]["ops"][0]["payload"]["d"]["intents"] == expected

    async def test_who_wants_everything_gets_all_that_is_not_privileged(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        gateway: Gateway = gateway_to(propylon_simulator(guilds=0), intents="auto")
        gateway.listen(Dispatch)(lambda event: None)
        await gateway.open(timeout=10)
        assert gateway.intents == I.NON_PRIVILEGED

    async def test_a_privileged_one_is_an_error_that_tells_how_to_ask(self, propylon_simulator: Start) -> None:
        sim = propylon_simulator(guilds=0)
        gateway = make_gateway(sim, intents="auto")
        gateway.listen(GuildCreate)(lambda event: None)

        @gateway.listen
        def on_member(event: GuildMemberAdd) -> None: ...

        with pytest.raises(ValueError, match="on_member listens to GUILD_MEMBER_ADD") as raised:
            await gateway.open(timeout=10)
        assert "needs the privileged Intents.GUILD_MEMBERS" in str(raised.value)
        assert "Gateway(..., intents=Intents.GUILDS | Intents.GUILD_MEMBERS)" in str(raised.value)
        assert gateway.status is GatewayStatus.UNCONNECTED
        assert sim.record()["connections"] == []
        on_member.remove()
        await gateway.open(timeout=10)
        await gateway.close()

    async def test_the_intents_that_it_names_serve_all_listeners(self) -> None:
        gateway = Gateway("token", intents="auto")
        for kind in (GuildMemberAdd, PresenceUpdate, MessageCreate):
            gateway.listen(kind)(lambda event: None)
        with pytest.raises(ValueError, match=r"needs the privileged Intents\.GUILD_MEMBERS;") as raised:
            await gateway.open(timeout=1)
        named = I.GUILD_MEMBERS | I.GUILD_PRESENCES | I.GUILD_MESSAGES | I.DIRECT_MESSAGES
        assert f"intents={' | '.join(f'Intents.{flag.name}' for flag in named)})" in str(raised.value)

    async def test_a_listener_that_comes_too_late_is_warned_of(
        self, propylon_simulator: Start, gateway_to: Any
    ) -> None:
        gateway: Gateway = gateway_to(propylon_simulator(guilds=0), intents="auto")
        await gateway.open(timeout=10)
        with pytest.warns(IntentsWarning, match=r"add the listener before open\(\)"):
            gateway.listen(MessageCreate)(lambda event: None)

    async def test_a_session_is_resumed_with_the_same_listeners_and_given_up_with_others(
        self, propylon_simulator: Start, gateway_to: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        sim = propylon_simulator(guilds=0)
        gateway: Gateway = gateway_to(sim, intents="auto")
        gateway.listen(GuildCreate)(lambda event: None)
        await gateway.open(timeout=10)
        await gateway.close(resumable=True)
        saved = gateway.session
        assert saved is not None
        assert saved.intents == I.GUILDS

        same: Gateway = gateway_to(sim, intents="auto", session=saved)
        same.listen(GuildCreate)(lambda event: None)
        await same.open(timeout=10)
        assert [op["op"] for op in sim.record()["connections"][-1]["ops"] if op["op"] != 1] == [6]
        await same.close(resumable=True)
        assert not caplog.records

        other: Gateway = gateway_to(sim, intents="auto", session=same.session)
        other.listen(GuildBanAdd)(lambda event: None)
        await other.open(timeout=10)
        assert [op["op"] for op in sim.record()["connections"][-1]["ops"] if op["op"] != 1] == [2]
        (record,) = caplog.records
        assert (record.levelno, "identifying anew" in record.getMessage()) == (logging.WARNING, True)

    async def test_a_session_may_be_given_to_it_before_it_knows_its_intents(self, gateway_to: Any) -> None:
        session = Session("id", 1, None, None, I.GUILDS)
        gateway = Gateway("token", intents="auto")
        gateway.session = session
        assert gateway.session == session
        with pytest.raises(ValueError, match="another shard"):
            gateway.session = Session("id", 1, None, (0, 2), I.GUILDS)


def test_another_word_is_told() -> None:
    with pytest.raises(TypeError, match="intents are flags of Intents, or \"auto\", not 'all'"):
        Gateway("token", intents="all")  # type: ignore[arg-type]


def test_run_with_auto_opens_with_what_is_there(propylon_simulator: Start) -> None:
    sim = propylon_simulator(guilds=0)
    gateway = make_gateway(sim, intents="auto")

    @gateway.listen
    async def on_ready(ready: Ready) -> None:
        asyncio.get_running_loop().create_task(gateway.close())

    gateway.listen(MessageDelete)(lambda event: None)
    gateway.run()
    assert gateway.intents == I.GUILD_MESSAGES | I.DIRECT_MESSAGES
