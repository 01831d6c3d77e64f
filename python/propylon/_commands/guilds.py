"""Asking for what Discord tells of a guild only on request: a voice server, soundboard sounds, facts of channels."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final

from propylon._commands.answers import VoiceServer
from propylon._commands.pending import Head, LimitedHead, Pending, VoiceStateHead
from propylon._core import Dispatch
from propylon.errors import CommandError
from propylon.events import ChannelInfo, SoundboardSounds, VoiceServerUpdate

__all__ = ["ChannelInfoRequest", "SoundboardRequest", "VoiceRequest"]


class VoiceRequest(Pending):
    """Waits for what joining a voice channel brings: the bot's own state, and the server to connect to."""

    opcode: ClassVar[int] = 4
    events: ClassVar[tuple[str, ...]] = ("VOICE_STATE_UPDATE", "VOICE_SERVER_UPDATE")

    def __init__(
        self,
        guild_id: int,
        channel_id: int,
        user_id: int | None,
        known: Callable[[], VoiceServer | None],
        timeout: float | None,
    ) -> None:
        """``user_id``: the bot's own; None: whoever comes into the channel first. ``known`` gives the server there."""
        super().__init__(f"voice channel {channel_id}", timeout)
        self._guild_id: Final = guild_id
        self._channel_id: Final = channel_id
        self._user_id: Final = user_id
        self._known: Final = known
        self._session_id: str | None = None
        self._server: VoiceServerUpdate | None = None

    def takes(self, head: Head, dispatch: Dispatch[Any]) -> bool:
        """Take either part. Never alone: several may wait for the same."""
        if isinstance(head, VoiceStateHead):
            if head.guild_id == self._guild_id and self._is_ours(head):
                self._take_state(head)
        elif isinstance(head, VoiceServerUpdate) and head.guild_id == self._guild_id:
            # Without an endpoint the server is yet to be found: another event follows.
            self._server = head if head.endpoint else None
        self._wake()
        return False

    def _is_ours(self, head: VoiceStateHead) -> bool:
        if self._user_id is not None:
            return head.user_id == self._user_id
        return self._session_id in (None, head.session_id)

    def _take_state(self, head: VoiceStateHead) -> None:
        if head.channel_id == self._channel_id:
            self._session_id = head.session_id
        elif self._session_id is not None:
            # It was there, and is not any more: no server will be told for it. What comes before it was there is of a
            # command or a move before this one.
            self._session_id = None
            where = "disconnected" if head.channel_id is None else f"moved to channel {head.channel_id}"
            self.fail(CommandError(f"{self._what}: the bot was {where} while it joined"))

    def is_limited(self, limited: LimitedHead) -> bool:
        """By its guild."""
        return limited.guild_id == self._guild_id

    def _answer(self) -> VoiceServer | None:
        if self._session_id is None:
            return None
        if self._server is not None and self._server.endpoint:
            return VoiceServer(self._session_id, self._server.token, self._server.endpoint, self._server.guild_id)
        known = self._known()
        return known if known is not None and known.session_id == self._session_id else None

    async def answer(self) -> VoiceServer:
        """Wait for both parts."""
        await self._until(
            lambda: self._answer() is not None,
            lambda: (
                "no voice server"
                if self._session_id is not None
                else "no voice state of the bot (may it see and join that channel?)"
            ),
        )
        answer = self._answer()
        assert answer is not None
        return answer


class SoundboardRequest(Pending):
    """Waits for the sounds of each guild."""

    opcode: ClassVar[int] = 31
    events: ClassVar[tuple[str, ...]] = ("SOUNDBOARD_SOUNDS",)

    def __init__(self, guild_ids: list[int], timeout: float | None) -> None:
        """In the order in which they are given back."""
        super().__init__("soundboard sounds", timeout)
        self._guild_ids: Final = guild_ids
        self._answers: Final[dict[int, SoundboardSounds]] = {}

    def takes(self, head: Head, dispatch: Dispatch[Any]) -> bool:
        """Take the sounds of a guild that was asked for and did not answer yet."""
        if not isinstance(head, SoundboardSounds) or head.guild_id not in self._missing():
            return False
        self._answers[head.guild_id] = head
        self._wake()
        return True

    def is_limited(self, limited: LimitedHead) -> bool:
        """By a guild that is missing; without one it is this request all the same."""
        return not limited.guild_id or limited.guild_id in self._missing()

    def _missing(self) -> list[int]:
        return [guild_id for guild_id in self._guild_ids if guild_id not in self._answers]

    def _answered(self, missing: int) -> bool:
        return len(self._missing()) < missing

    async def answer(self) -> list[SoundboardSounds]:
        """Wait for all of them."""
        while missing := len(self._missing()):
            await self._until(
                partial(self._answered, missing),
                lambda: f"no answer for {', '.join(map(str, self._missing()))} (is the bot in that guild?)",
            )
        return [self._answers[guild_id] for guild_id in self._guild_ids]


class ChannelInfoRequest(Pending):
    """Waits for the channels of one guild."""

    opcode: ClassVar[int] = 43
    events: ClassVar[tuple[str, ...]] = ("CHANNEL_INFO",)

    def __init__(self, guild_id: int, timeout: float | None) -> None:
        """Answers bear no mark but their guild: they go to requests in the order in which these were made."""
        super().__init__(f"channel info of guild {guild_id}", timeout)
        self._guild_id: Final = guild_id
        self._answer: ChannelInfo | None = None

    def takes(self, head: Head, dispatch: Dispatch[Any]) -> bool:
        """Take the first answer for its guild."""
        if not isinstance(head, ChannelInfo) or head.guild_id != self._guild_id or self._answer is not None:
            return False
        self._answer = head
        self._wake()
        return True

    def is_limited(self, limited: LimitedHead) -> bool:
        """By its guild; without one it is this request all the same."""
        return not limited.guild_id or limited.guild_id == self._guild_id

    async def answer(self) -> ChannelInfo:
        """Wait for it."""
        await self._until(lambda: self._answer is not None, lambda: "no answer (is the bot in that guild?)")
        assert self._answer is not None
        return self._answer
