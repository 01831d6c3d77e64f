"""Everything that can go wrong, as one tree.

::

    PropylonError
    ├── GatewayClosed(code, reason)      the connection is over and is not made anew
    │   ├── AuthenticationFailed         4004, or HTTP 401
    │   ├── InvalidShard                 4010
    │   ├── ShardingRequired             4011
    │   ├── InvalidApiVersion            4012
    │   ├── InvalidIntents               4013
    │   ├── DisallowedIntents(intents)   4014
    │   └── SessionTakenOver             another process has claimed the session
    ├── HandshakeError                   no WebSocket: unreachable host, proxy, TLS, HTTP answer other than 101
    │   └── CertificateError             the server's certificate was refused; the text names the reason
    ├── DecompressionError               what came cannot be inflated
    ├── PayloadTooLarge                  more than ``max_payload_bytes`` after inflating
    ├── ModelError(dispatch)             an event does not fit its class
    ├── CommandError                     a command cannot be sent as it is
    │   ├── CommandTooLarge              over 4,096 bytes
    │   ├── WrongShard(shard_id)         the guild is on a shard of another process
    │   ├── NoOwner(shard_id)            no gateway host of the cluster has the shard at this moment
    │   ├── RequestTimeout               no answer in time
    │   ├── RateLimited(retry_after)     Discord wants us to wait
    │   └── NotConnected                 the gateway is not open, or was closed
    ├── IdentifyBudgetExhausted(resets_at)
    └── ForkedError                      a gateway of the parent process was used after ``fork()``

``str(error)`` says what to do next. No error holds the token.
"""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

from propylon._base import one_line
from propylon.intents import Intents

if TYPE_CHECKING:
    from propylon._core import Dispatch

__all__ = [
    "AuthenticationFailed",
    "CertificateError",
    "CommandError",
    "CommandTooLarge",
    "DecompressionError",
    "DisallowedIntents",
    "ForkedError",
    "GatewayClosed",
    "HandshakeError",
    "IdentifyBudgetExhausted",
    "InvalidApiVersion",
    "InvalidIntents",
    "InvalidShard",
    "ModelError",
    "NoOwner",
    "NotConnected",
    "PayloadTooLarge",
    "PropylonError",
    "RateLimited",
    "RequestTimeout",
    "SessionTakenOver",
    "ShardingRequired",
]


class PropylonError(Exception):
    """Base of every error of this package."""


class GatewayClosed(PropylonError):
    """The connection ended and is not made anew.

    Subclasses are the close codes that no reconnect mends:
    https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
    """

    _without_code: ClassVar[str] = "the connection was lost"

    def __init__(self, code: int | None, reason: str, advice: str = "") -> None:
        """``code`` is the close code received, None for a connection that just dropped; ``reason`` came with it."""
        self.code: Final[int | None] = code
        """The close code; None where there was none: a connection that just dropped, a token that the API refused."""
        self.reason: Final[str] = reason
        """What Discord said with it; may be empty."""
        self.advice: Final[str] = advice
        """What to do next; may be empty."""
        what = self._without_code if code is None else f"the gateway closed the connection with {code}"
        # It goes to logs and terminals, and the reason is the server's.
        said = f" ({one_line(reason)})" if reason else ""
        super().__init__(f"{what}{said}{': ' + advice if advice else ''}")

    def __reduce__(self) -> Any:
        """Pickles with its arguments."""
        return type(self), (self.code, self.reason, self.advice)


class AuthenticationFailed(GatewayClosed):
    """Close code 4004, or HTTP 401 of the REST API (``code`` is then None): the token is wrong."""

    _without_code = "the REST API refused the token"


class InvalidShard(GatewayClosed):
    """Close code 4010: the shard pair is impossible, or not a multiple of a large bot's shard number."""


class ShardingRequired(GatewayClosed):
    """Close code 4011: too many guilds for one shard."""


class InvalidApiVersion(GatewayClosed):
    """Close code 4012: this version of Propylon speaks a Gateway version that Discord has retired."""


class InvalidIntents(GatewayClosed):
    """Close code 4013: the intents hold a bit that Discord does not know."""


class DisallowedIntents(GatewayClosed):
    """Close code 4014: a privileged intent is not enabled for the application; `intents` says which were asked for."""

    def __init__(self, code: int | None, reason: str, advice: str = "", intents: "Intents | int" = 0) -> None:
        """``intents`` are the privileged ones at fault."""
        super().__init__(code, reason, advice)
        self.intents: Final[Intents | int] = intents
        """Those that the application may not use; where Discord could not be asked, all privileged ones of ours."""

    def __reduce__(self) -> Any:
        """Pickles with its arguments."""
        return type(self), (self.code, self.reason, self.advice, self.intents)


class SessionTakenOver(GatewayClosed):
    """Another process has claimed the session in the store that both share, as a new version of a bot does.

    A gateway ends with it, and `Gateway.run` returns. Stores raise it where an epoch is no longer the newest:
    `FencedSessionStore`.
    """

    _without_code = "another process has taken the session over"

    def __init__(
        self,
        code: int | None = None,
        reason: str = "",
        advice: str = "let this one end; or open() the gateway again, which takes the session back",
    ) -> None:
        """A store that raises it needs no argument."""
        super().__init__(code, reason, advice)


class HandshakeError(PropylonError):
    """No WebSocket came about: the host cannot be reached, the proxy or TLS failed, or the answer was not HTTP 101."""


class CertificateError(HandshakeError):
    """The server's certificate was refused. The text names the reason; a private CA goes into ``ca_file=``."""


class DecompressionError(PropylonError):
    """What came cannot be inflated. Survived by a new connection that resumes; seen in `Closed.error`."""


class PayloadTooLarge(PropylonError):
    """A payload would be over ``max_payload_bytes``. Survived by a new connection; seen in `Closed.error`."""


class ModelError(PropylonError):
    """An event's payload does not fit its class, and cannot be without what does not fit (see `Dispatch.mended`).

    The bytes are in ``dispatch.raw``.
    """

    def __init__(self, message: str, dispatch: "Dispatch[Any] | None" = None) -> None:
        """``message`` names the field and what is wrong with it."""
        super().__init__(message)
        self.dispatch: Final[Dispatch[Any] | None] = dispatch
        """The event, for handlers of `Gateway.on_error`; None where its `Dispatch` was asked, and is at hand."""

    def __reduce__(self) -> Any:
        """Pickles with its arguments."""
        return type(self), (str(self), self.dispatch)


class CommandError(PropylonError):
    """A command cannot be sent as it is: wrong type or value, an opcode that is not the user's, a full queue."""


class CommandTooLarge(CommandError):
    """A command is over the 4,096 bytes that Discord takes: https://discord.com/developers/docs/events/gateway#sending-events."""


class RequestTimeout(CommandError, TimeoutError):
    """Discord did not answer a request in time."""


class RateLimited(CommandError):
    """Discord refused a request for now."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        """``retry_after``: seconds to wait."""
        super().__init__(message)
        self.retry_after: Final[float] = retry_after
        """Seconds to wait before asking again."""

    def __reduce__(self) -> Any:
        """Pickles with its arguments."""
        return type(self), (str(self), self.retry_after)


class NotConnected(CommandError):
    """The gateway is not open, or was closed while a command or `Gateway.wait_for` waited."""


class IdentifyBudgetExhausted(PropylonError):
    """So few IDENTIFYs are left today that starting a session would risk a reset of the token."""

    def __init__(self, message: str, resets_at: float = 0.0) -> None:
        """``resets_at``: Unix time in seconds at which the budget is full again."""
        super().__init__(message)
        self.resets_at: Final[float] = resets_at
        """Unix time in seconds at which the budget is full again."""

    def __reduce__(self) -> Any:
        """Pickles with its arguments."""
        return type(self), (str(self), self.resets_at)


class WrongShard(CommandError):
    """A guild is on a shard that another process has."""

    def __init__(self, message: str, shard_id: int = 0) -> None:
        """``shard_id``: of the shard that has the guild."""
        super().__init__(message)
        self.shard_id: Final[int] = shard_id
        """Of the shard that has the guild."""

    def __reduce__(self) -> Any:
        """Pickles with its arguments."""
        return type(self), (str(self), self.shard_id)


class NoOwner(CommandError):
    """No gateway host of the cluster has a shard at this moment: it is between two hosts, or no host is there."""

    def __init__(self, message: str, shard_id: int = 0) -> None:
        """``shard_id``: of the shard that has the guild."""
        super().__init__(message)
        self.shard_id: Final[int] = shard_id
        """Of the shard that nobody has."""

    def __reduce__(self) -> Any:
        """Pickles with its arguments."""
        return type(self), (str(self), self.shard_id)


class ForkedError(PropylonError):
    """A gateway was used in a forked child; its connection belongs to the parent. Make a new one in the child."""


FATAL: Final[dict[int, type[GatewayClosed]]] = {
    4004: AuthenticationFailed,
    4010: InvalidShard,
    4011: ShardingRequired,
    4012: InvalidApiVersion,
    4013: InvalidIntents,
    4014: DisallowedIntents,
}


_NOT_REMADE: Final = (
    "no new connection follows, because of auto_reconnect=False or an on_close handler that returned False; leave that "
    "out, or open() the gateway again"
)

_ALLOWED_BY: Final = {
    Intents.GUILD_PRESENCES: 1 << 12 | 1 << 13,
    Intents.GUILD_MEMBERS: 1 << 14 | 1 << 15,
    Intents.MESSAGE_CONTENT: 1 << 18 | 1 << 19,
}
"""The application's flags either of which allows a privileged intent:
https://discord.com/developers/docs/resources/application#application-object-application-flags"""


def _disallowed(reason: str, advice: str, asked: Intents, flags: int | None) -> DisallowedIntents:
    """Names the intents at fault; ``flags`` are the application's, None where nobody could be asked for them."""
    refused = Intents(0)
    for intent, allowing in _ALLOWED_BY.items():
        if intent & asked and flags is not None and not flags & allowing:
            refused |= intent
    told = "not enabled" if refused else "asked for"
    at_fault = refused or asked
    names = ", ".join(flag.name or "" for flag in at_fault)
    detail = f" ({told}: {names})" if at_fault else " (this gateway asked for no privileged one that is known here)"
    return DisallowedIntents(4014, reason, f"{advice}{detail}", at_fault)


def _handshake_advice(message: str) -> str:
    """What to do about an answer other than HTTP 101, or about none; nothing where the engine has said it."""
    if "refused" in message and "HTTP" not in message:
        return ": nothing listens there; check host and port of gateway_url= or proxy="
    answer = re.search(r"HTTP (\d{3})", message)
    if answer is None:
        return ""
    match int(answer[1]):
        case 401 | 403:
            return ": the server, or what stands before it, keeps this client out; check gateway_url= and the network"
        case 404:
            return ": there is no gateway; check the path of gateway_url="
        case 429:
            return ": too many connections from here; wait, and find out what makes them"
        case status if status >= 500:
            return ": the server is in trouble; try again later, or leave it to auto_reconnect=True"
        case _:
            return ""


def budget_exhausted(resets_at: float) -> IdentifyBudgetExhausted:
    """The exception for an IDENTIFY that is not sent; ``resets_at`` is the Unix time in seconds of the next budget."""
    when = datetime.fromtimestamp(resets_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return IdentifyBudgetExhausted(
        "hardly any IDENTIFY is left of what Discord allows in a day, and using up the rest resets the token: "
        f"wait until {when}, and find out what starts so many sessions",
        resets_at,
    )


def error_of_end(how: tuple[Any, ...] | None, intents: Intents) -> PropylonError | None:
    """The exception for an end of a connection as the engine tells it; ``intents`` are those that were asked for."""
    match how:
        case ("fatal", int(code), str(reason), str(advice), flags):
            if code == 4014:
                return _disallowed(reason, advice, intents & Intents.PRIVILEGED, flags)
            return FATAL[code](code, reason, advice)
        case ("fatal", None, str(reason), str(advice), _):
            return AuthenticationFailed(None, reason, advice)
        case ("budget exhausted", float(resets_at)):
            return budget_exhausted(resets_at)
        case ("taken over",):
            return SessionTakenOver()
        case ("not remade", code, str(reason)):
            return GatewayClosed(code, reason, _NOT_REMADE)
        case ("unreachable", "certificate", str(message)):
            return CertificateError(message)
        case ("unreachable", "rate limited", str(message)):
            return HandshakeError(f"rate limited: {message}{_handshake_advice(message)}")
        case ("unreachable", _, str(message)):
            return HandshakeError(f"{message}{_handshake_advice(message)}")
        case ("decompression", str(message)):
            return DecompressionError(message)
        case ("too large", str(message)):
            return PayloadTooLarge(message)
        case _:
            return None
