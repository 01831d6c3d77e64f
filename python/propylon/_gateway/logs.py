"""What goes to `logging`: whose line it is, and payloads without what is secret in them.

Three loggers: ``propylon._gateway.gateway`` tells of connections, ``propylon.payload`` of events as they came (see
`Gateway.log_payloads`), ``propylon`` of everything else. None says anything below WARNING unless the program lets it.
"""

import logging
from collections.abc import Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

if TYPE_CHECKING:
    from propylon._core import Dispatch

__all__ = ["PAYLOAD_LIMIT", "GatewayLog", "one_line", "payload_writer"]

PAYLOAD_LIMIT: Final = 2048
"""Characters of a payload that are logged."""

_HIDDEN: Final = "<hidden>"
_SECRET: Final = frozenset({"token", "session_id", "secrets"})
"""Keys of READY, VOICE_SERVER_UPDATE, voice states, interactions, webhooks and activities."""

_payloads: Final = logging.getLogger("propylon.payload")

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class GatewayLog(_Adapter):
    """The lines of one gateway; those of a shard say of which."""

    def __init__(self, shard: tuple[int, int] | None) -> None:
        """``shard`` is ``(shard_id, shard_count)``."""
        super().__init__(logging.getLogger("propylon._gateway.gateway"), {})
        self._prefix: Final = "" if shard is None else f"shard {shard[0]}: "

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Name the shard."""
        return f"{self._prefix}{msg}", kwargs


def payload_writer() -> Callable[["Dispatch[Any]"], None]:
    """A listener that logs what it gets."""

    def log_payload(dispatch: "Dispatch[Any]") -> None:
        if _payloads.isEnabledFor(logging.DEBUG):
            text = _without_secrets(dispatch.raw)
            more = f"... ({len(text)} characters)" if len(text) > PAYLOAD_LIMIT else ""
            event, shown = one_line(dispatch.type), one_line(text[:PAYLOAD_LIMIT])
            _payloads.debug("shard %d: %s s=%s %s%s", dispatch.shard_id, event, dispatch.sequence, shown, more)

    return log_payload


def one_line(text: str) -> str:
    """What a terminal would obey is spelled out: the name of an event, too, is the server's."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _without_secrets(raw: bytes) -> str:
    # Parsed rather than searched: a key may be spelled with escapes.
    try:
        return orjson.dumps(_hide(orjson.loads(raw))).decode()
    except (ValueError, TypeError, RecursionError) as error:
        # What cannot be read cannot be searched either.
        return f"<{len(raw)} bytes that are not JSON: {error}>"


def _hide(value: Any) -> Any:
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {key: _HIDDEN if key in _SECRET and item is not None else _hide(item) for key, item in fields.items()}
    if isinstance(value, list):
        return [_hide(item) for item in cast("Iterable[Any]", value)]
    return value
