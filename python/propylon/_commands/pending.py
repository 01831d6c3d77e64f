"""What a request waits for: the events that answer it, read as far as that needs, and the end of its waiting."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeAlias

from propylon._base import UNSET, Model, UnsetType
from propylon._core import Dispatch
from propylon.errors import RequestTimeout
from propylon.events import ChannelInfo, SoundboardSounds, VoiceServerUpdate
from propylon.snowflake import Snowflake

__all__ = ["HEADS", "ChunkHead", "Head", "LimitedHead", "Pending", "VoiceStateHead"]


_LAST_TURNS: Final = 3
"""Turns of the loop, in which it looks at its descriptors at least once."""


class ChunkHead(Model):
    """What tells whose a chunk is: its members are skipped, which a storm of foreign chunks pays for."""

    guild_id: Snowflake
    chunk_index: int
    chunk_count: int
    nonce: str | UnsetType = UNSET


class VoiceStateHead(Model):
    user_id: Snowflake
    session_id: str
    guild_id: Snowflake | UnsetType = UNSET
    channel_id: Snowflake | None = None


class LimitedHead(Model):
    """RATE_LIMITED, whatever of it came: without it the request would wait for its whole timeout."""

    opcode: int
    retry_after: float | None = None
    meta: dict[str, Any] | None = None

    @property
    def nonce(self) -> str:
        """That of the request; empty where it was not told."""
        nonce = (self.meta or {}).get("nonce")
        return nonce if isinstance(nonce, str) else ""

    @property
    def guild_id(self) -> int:
        """The guild of the request; 0 where it was not told."""
        guild_id = (self.meta or {}).get("guild_id")
        return int(guild_id) if isinstance(guild_id, str | int) and str(guild_id).isdecimal() else 0


Head: TypeAlias = ChunkHead | LimitedHead | VoiceStateHead | VoiceServerUpdate | SoundboardSounds | ChannelInfo

HEADS: Final[dict[str, type[Head]]] = {
    "GUILD_MEMBERS_CHUNK": ChunkHead,
    "RATE_LIMITED": LimitedHead,
    "VOICE_STATE_UPDATE": VoiceStateHead,
    "VOICE_SERVER_UPDATE": VoiceServerUpdate,
    "SOUNDBOARD_SOUNDS": SoundboardSounds,
    "CHANNEL_INFO": ChannelInfo,
}


class Pending:
    """One request that waits for its answer."""

    opcode: ClassVar[int]
    events: ClassVar[tuple[str, ...]]
    """The events that answer it; RATE_LIMITED may answer any."""
    nonce: str | None = None
    """By which chunks are told from those of other requests."""

    def __init__(self, what: str, timeout: float | None) -> None:
        """``what`` it is, for messages; ``timeout``: seconds without progress."""
        self._what: Final = what
        self._timeout: Final = timeout
        self._error: Exception | None = None
        self._woken: asyncio.Future[None] | None = None
        self.is_written: bool = False

    def written(self) -> None:
        """It has left; answers may come, and a new session will not bring them any more."""
        self.is_written = True

    def takes(self, head: Head, dispatch: Dispatch[Any]) -> bool:
        """Take an event. Whether it was for this request alone."""
        raise NotImplementedError

    def is_limited(self, limited: LimitedHead) -> bool:
        """Whether a RATE_LIMITED of its opcode means this request."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """No answer will come."""
        if self._error is None:
            self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _until(self, ready: Callable[[], bool], missing: Callable[[], str]) -> None:
        """Wait until ``ready()``, or fail as the request does."""
        try:
            async with asyncio.timeout(self._timeout):
                while not ready():
                    if self._error is not None:
                        raise self._error
                    self._woken = asyncio.get_running_loop().create_future()
                    await self._woken
        except TimeoutError:
            # A loop that was blocked sees that the time is over before it sees what came meanwhile.
            for _ in range(_LAST_TURNS):
                await asyncio.sleep(0)
            if ready():
                return
            if self._error is not None:
                raise self._error from None
            raise RequestTimeout(f"{self._what}: {missing()} within {self._timeout:g} s") from None
        finally:
            self._woken = None
