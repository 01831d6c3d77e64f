"""What type checkers know of groups: methods stay methods. Never run, only checked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_type

from propylon import Dispatch, Gateway, Listeners, listen
from propylon.events import MessageCreate, MessageDelete, Ready


@dataclass
class Moderation(Listeners):
    words: set[str]

    @listen
    async def on_message(self, message: MessageCreate, gateway: Gateway) -> int:
        return len(self.words)

    @listen(MessageCreate, MessageDelete)
    def named(self, event: MessageCreate | MessageDelete) -> str:
        return ""

    @listen(MessageCreate | Ready, priority=1)
    def union(self, event: MessageCreate | Ready) -> str:
        return ""

    @listen(once=True, concurrency=1)
    async def with_options(self, dispatch: Dispatch[MessageCreate]) -> bytes:
        return dispatch.raw

    @staticmethod
    @listen
    def static(ready: Ready) -> bool:
        return True

    def on_error(self, error: Exception) -> None: ...


class Stricter(Moderation):
    @listen
    async def on_message(self, message: MessageCreate, gateway: Gateway) -> int:
        return await super().on_message(message, gateway)


gateway = Gateway("token")
moderation = gateway.add(Stricter({"spam"}))
assert_type(moderation, Stricter)
moderation.remove()
moderation.remove(gateway)
gateway.add(Moderation)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


async def calls(message: MessageCreate, dispatch: Dispatch[MessageCreate], ready: Ready) -> None:
    assert_type(await moderation.on_message(message, gateway), int)
    assert_type(moderation.named(message), str)
    bound: Callable[[MessageCreate | Ready], str] = moderation.union
    assert_type(bound(message), str)
    assert_type(await moderation.with_options(dispatch), bytes)
    assert_type(Moderation.static(ready), bool)
    moderation.named(ready)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    words: Any = moderation.words
    del words
