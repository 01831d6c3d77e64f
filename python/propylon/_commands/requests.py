"""Commands with an answer: who waits for which events, and when the waiting ends.

Answers come as news of the engine, which overtakes events: a listener may await one although no further event is
handed out until it returns. The engine tells only the events that somebody waits for. What is sent, and whether it may
be, is `propylon._commands.commands`'.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import propylon._core as _core
from propylon._commands.answers import VoiceServer
from propylon._commands.pending import HEADS, ChunkHead, LimitedHead, Pending
from propylon._core import Dispatch
from propylon.errors import CommandError, ModelError, NotConnected, RateLimited
from propylon.events import VoiceServerUpdate

__all__ = ["Requests"]

_log: Final = logging.getLogger("propylon")


class Requests:
    """The requests of one shard that wait."""

    def __init__(self, shard: _core.Shard, waiting_bytes: int) -> None:
        """``waiting_bytes``: of chunks that came, but that their reader has not taken yet."""
        self._shard: Final = shard
        self.waiting_bytes: Final = waiting_bytes
        self._pending: Final[dict[Pending, None]] = {}
        self._by_nonce: Final[dict[str, Pending]] = {}
        self._voice: Final[dict[int, tuple[int, VoiceServer]]] = {}
        self._awaited: set[str] = set()
        self._complained = False

    @property
    def waits(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._pending)

    @contextmanager
    def expect(self, pending: Pending) -> Generator[None]:
        """Let ``pending`` have the events that answer it."""
        if pending.nonce is not None:
            if pending.nonce in self._by_nonce:
                raise CommandError(f"a request with the nonce {pending.nonce!r} waits already; use another, or none")
            self._by_nonce[pending.nonce] = pending
        self._pending[pending] = None
        self._tell_engine()
        try:
            yield
        finally:
            self._pending.pop(pending, None)
            if pending.nonce is not None and self._by_nonce.get(pending.nonce) is pending:
                del self._by_nonce[pending.nonce]
            self._tell_engine()

    def _tell_engine(self) -> None:
        names = {event for pending in self._pending for event in pending.events}
        if self._pending:
            names.add("RATE_LIMITED")
        if self._voice:
            # Where a voice server changes while the bot is connected to it.
            names.add("VOICE_SERVER_UPDATE")
        if names != self._awaited:
            self._awaited = names
            self._shard.await_replies(sorted(names))

    def reply(self, dispatch: Dispatch[Any]) -> None:
        """An event came that was awaited when it was read."""
        kind = HEADS.get(dispatch.type)
        if kind is None:
            return
        try:
            head = dispatch.decode(kind)
        except ModelError as error:
            if not self._complained:
                self._complained = True
                _log.warning("an answer cannot be read, further ones are not told: %s", error)
            return
        if isinstance(head, ChunkHead):
            request = self._by_nonce.get(head.nonce) if isinstance(head.nonce, str) else None
            if request is not None:
                request.takes(head, dispatch)
            return
        if isinstance(head, LimitedHead):
            self._limited(head)
            return
        if isinstance(head, VoiceServerUpdate):
            self._voice_server_changed(head)
        for pending in list(self._pending):
            if pending.is_written and pending.takes(head, dispatch):
                break

    def _limited(self, limited: LimitedHead) -> None:
        unnamed = not (limited.nonce or limited.guild_id)
        for pending in self._pending:
            # Where it names none, the oldest one.
            if pending.is_written and pending.opcode == limited.opcode and (unnamed or pending.is_limited(limited)):
                wait = limited.retry_after or 0.0
                pending.fail(RateLimited(f"Discord limits this request; ask again in {wait:g} s", wait))
                return

    # -- voice servers that are known: changing mute or deafen brings no new one --

    def _voice_server_changed(self, update: VoiceServerUpdate) -> None:
        known = self._voice.get(update.guild_id)
        if known is None:
            return
        if not update.endpoint:
            self.forget_voice(update.guild_id)
            return
        channel_id, server = known
        server = VoiceServer(server.session_id, update.token, update.endpoint, update.guild_id)
        self._voice[update.guild_id] = channel_id, server

    def voice(self, guild_id: int, channel_id: int) -> VoiceServer | None:
        """The server of a channel that the bot is in."""
        known = self._voice.get(guild_id)
        return known[1] if known is not None and known[0] == channel_id else None

    def keep_voice(self, channel_id: int, server: VoiceServer) -> None:
        """The bot is in this channel now."""
        self._voice[server.guild_id] = channel_id, server
        self._tell_engine()

    def forget_voice(self, guild_id: int) -> None:
        """It is in no channel of this guild."""
        if self._voice.pop(guild_id, None) is not None:
            self._tell_engine()

    # -- ends --

    def new_session(self) -> None:
        """A new session has begun: what was asked in the one before is answered no more."""
        self._voice.clear()
        for pending in self._pending:
            if pending.is_written:
                pending.fail(NotConnected("the session was lost while the request waited for its answer; ask again"))
        self._tell_engine()

    def fail_all(self) -> None:
        """The gateway has ended."""
        self._voice.clear()
        for pending in self._pending:
            pending.fail(NotConnected("the gateway was closed before the answer came"))
        self._tell_engine()

    def clear(self) -> None:
        """Forget those that wait in a loop that has died."""
        self._pending.clear()
        self._by_nonce.clear()
        self._tell_engine()
