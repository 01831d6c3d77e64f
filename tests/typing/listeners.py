"""What type checkers know of listeners: they stay callable with their own types. Never run, only checked."""

from typing import Any, assert_type

from propylon import Dispatch, Gateway, Intents, Listener, Snowflake
from propylon.events import Event, GuildMemberAdd, GuildMemberRemove, MessageCreate, Ready
from propylon.models import UNSET, UnsetType

gateway = Gateway("token", intents="auto")
Gateway("token", intents=Intents.for_events(MessageCreate, Ready) | Intents.MESSAGE_CONTENT)
Gateway("token", intents="everything")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
assert_type(gateway.intents, Intents)


class Ping(Event, event="MESSAGE_CREATE"):
    content: str
    channel_id: Snowflake
    guild_id: Snowflake | UnsetType = UNSET


@gateway.listen
def plain(message: MessageCreate) -> int:
    return len(message.content)


@gateway.listen
async def later(ping: Ping, gateway: Gateway, dispatch: Dispatch[Ping]) -> str:
    return ping.content


@gateway.listen()
async def empty(ready: Ready) -> None: ...


@gateway.listen(priority=1, once=True, concurrency=2)
async def with_options(event: GuildMemberAdd | GuildMemberRemove) -> None: ...


@gateway.listen(where=lambda ping: ping.content == "!")
def with_where(ping: Ping) -> None: ...


@gateway.listen(MessageCreate, Ready)
def named(event: MessageCreate | Ready) -> None: ...


@gateway.listen(MessageCreate | Ready, priority=-1)
def union(event: MessageCreate | Ready) -> None: ...


@gateway.listen(Dispatch[MessageCreate], Dispatch)
def holder(dispatch: Dispatch[MessageCreate]) -> bytes:
    return dispatch.raw


assert_type(plain(MessageCreate.__new__(MessageCreate)), int)
plain("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
plain()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
assert_type(holder(Dispatch("MESSAGE_CREATE", b"{}")), bytes)
assert_type(plain.remove(), None)
gateway.listen("MESSAGE_CREATE")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
gateway.listen(MessageCreate, concurrency="2")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def awaits() -> None:
    coroutine = later(Ping(content="", channel_id=Snowflake(1)), gateway, Dispatch("MESSAGE_CREATE", b"{}"))
    assert_type(await coroutine, str)
    assert_type(await empty(Ready.__new__(Ready)), None)
    listener: Listener[..., Any] = empty
    assert_type(listener.name, str)


@gateway.on_error
def on_error(error: Exception) -> None: ...


assert_type(on_error(ValueError()), None)


def holders(typed: Dispatch[MessageCreate], bare: Dispatch, ping: Ping) -> None:
    assert_type(typed.data, MessageCreate)
    assert_type(bare.data, Any)
    assert_type(typed.decode(Ping), Ping)
    assert_type(typed.model_error, Exception | None)
    # UNSET is left behind by a comparison and by truth.
    assert_type(ping.guild_id, Snowflake | UnsetType)
    if ping.guild_id is not UNSET:
        assert_type(ping.guild_id, Snowflake)
    if ping.guild_id:
        assert_type(ping.guild_id, Snowflake)
