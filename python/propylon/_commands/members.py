"""Asking for members of a guild."""

import asyncio
import warnings
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, ClassVar, Final, TypeAlias

from propylon._arguments import frame_of_user
from propylon._commands.answers import Members
from propylon._commands.pending import ChunkHead, Head, LimitedHead, Pending
from propylon._commands.requests import Requests
from propylon._core import Dispatch
from propylon.errors import CommandError
from propylon.events import GuildMembersChunk

__all__ = ["MembersPending", "MembersRequest"]

Send: TypeAlias = Callable[[Callable[[], None]], Awaitable[None]]
"""Sends the request's payload; calls back when it has left."""


class MembersPending(Pending):
    """Members of a guild, chunk by chunk."""

    opcode: ClassVar[int] = 8
    events: ClassVar[tuple[str, ...]] = ("GUILD_MEMBERS_CHUNK",)

    def __init__(self, requests: Requests, send: Send, guild_id: int, nonce: str, timeout: float | None) -> None:
        """``send`` sends the request; nothing is sent before it is read."""
        super().__init__(f"members of guild {guild_id}", timeout)
        self._requests: Final = requests
        self._send: Final = send
        self.guild_id: Final = guild_id
        self.nonce: str | None = nonce
        self._begun = False
        self._seen: Final[set[int]] = set()
        self._count: int | None = None
        self._waiting: Final[deque[Dispatch[Any]]] = deque()
        self._waiting_bytes = 0

    @property
    def progress(self) -> str:
        """How many chunks have come, of how many."""
        return f"{len(self._seen)} of {'?' if self._count is None else self._count}"

    def takes(self, head: Head, dispatch: Dispatch[Any]) -> bool:
        """Take a chunk with its nonce, unless it came before."""
        if not isinstance(head, ChunkHead) or head.guild_id != self.guild_id or self._error is not None:
            return False
        if not 0 <= head.chunk_index < head.chunk_count or head.chunk_index in self._seen:
            return True
        self._count = head.chunk_count
        self._seen.add(head.chunk_index)
        self._waiting.append(dispatch)
        self._waiting_bytes += len(dispatch)
        if self._waiting_bytes > self._requests.waiting_bytes:
            self._waiting.clear()
            self.fail(CommandError("the chunks of members are not read as fast as they come; raise queue_bytes="))
        self._wake()
        return True

    def is_limited(self, limited: LimitedHead) -> bool:
        """By its nonce, else by its guild."""
        if limited.nonce:
            return limited.nonce == self.nonce
        return limited.guild_id == self.guild_id and not self._seen

    @property
    def _complete(self) -> bool:
        return self._count is not None and len(self._seen) >= self._count

    async def chunks(self) -> AsyncIterator[GuildMembersChunk]:
        """Ask, and give chunk by chunk as they come."""
        if self._begun:
            raise RuntimeError("a request is awaited or iterated over once; call request_members() again")
        self._begun = True
        with self._requests.expect(self):
            await self._send(self.written)
            while True:
                while self._waiting:
                    dispatch = self._waiting.popleft()
                    self._waiting_bytes -= len(dispatch)
                    yield dispatch.decode(GuildMembersChunk)
                if self._complete and self._error is None:
                    return
                await self._until(
                    lambda: bool(self._waiting),
                    lambda: f"no further chunk ({self.progress} came; is the bot in that guild?)",
                )


class MembersRequest:
    """A request for members, from `Gateway.request_members`: await it, or iterate over its chunks. Once.

    Awaited it gives `Members`. ``async for`` gives each `GuildMembersChunk` as it comes, which needs no memory for all
    of a large guild. Nothing is sent before either begins; one that is let go before is warned of (RuntimeWarning).
    """

    __slots__ = ("_made_at", "_pending", "_taken")

    def __init__(self, pending: MembersPending) -> None:
        """Made by `Gateway.request_members`."""
        self._pending: Final = pending
        frame, _ = frame_of_user()
        self._made_at: Final = frame.f_code.co_filename, frame.f_lineno
        self._taken = False

    def __del__(self, _warn: Callable[..., None] = warnings.warn_explicit) -> None:
        """Warn where nobody awaited it or iterated over it, as Python does of a coroutine.

        ``_warn`` is bound here because the module may be gone when the interpreter ends.
        """
        if not self._taken:
            file, line = self._made_at
            _warn(
                f"request_members({self._pending.guild_id}) was never awaited or iterated over, so nothing was asked: "
                "write `await gateway.request_members(...)` or `async for chunk in gateway.request_members(...)`",
                RuntimeWarning,
                file,
                line,
            )

    @property
    def nonce(self) -> str:
        """The mark by which its chunks are known."""
        return self._pending.nonce or ""

    def __repr__(self) -> str:
        """Whose members, and how far it is."""
        pending = self._pending
        return f"<MembersRequest guild_id={pending.guild_id} nonce={pending.nonce!r} chunks={pending.progress}>"

    def __aiter__(self) -> AsyncIterator[GuildMembersChunk]:
        """Ask, and give chunk by chunk as they come, each one once, in whatever order."""
        self._taken = True
        return self._pending.chunks()

    def __await__(self) -> Generator[Any, None, Members]:
        """Ask, and give all members together."""
        self._taken = True
        return self._gather().__await__()

    async def _gather(self) -> Members:
        chunks: dict[int, GuildMembersChunk] = {}
        async for chunk in self._pending.chunks():
            chunks[chunk.chunk_index] = chunk
            # A thousand members take milliseconds to decode: between two chunks the loop gets its turn.
            await asyncio.sleep(0)
        return Members([chunks[index] for index in sorted(chunks)])
